"""Of which sites an agent's pages are: asked once, again after a move, and again where nobody answered."""

from __future__ import annotations

import asyncio

from nodes.gateway.page_origins import Origins

SHOP, BANK = "https://shop.example.org", "https://bank.example.org"


def page(session: str, home: str) -> dict[str, str]:
    return {"session": f"handle of {session}", "space": f"{home}/{session}"}


def test_each_is_asked_for_once_and_told_and_forgotten_with_its_page() -> None:
    async def story() -> None:
        asked: list[tuple[str, str]] = []
        told: list[tuple[str, str]] = []

        async def origin(session: str, home: str) -> str | None:
            asked.append((session, home))
            return SHOP

        origins = Origins(origin, lambda *each: told.append(each))
        for _ in range(3):
            origins.look_up([page("s1", "h1"), {"session": "s2"}])
            await asyncio.sleep(0)
        assert (asked, told) == ([("s1", "h1")], [("handle of s1", SHOP)]) and origins.known == {"handle of s1": SHOP}
        origins.look_up([])
        assert origins.known == {}

    asyncio.run(story())


def test_a_page_that_moved_is_asked_for_again_and_an_old_answer_is_none() -> None:
    async def story() -> None:
        answers = {"h1": asyncio.Event(), "h2": asyncio.Event()}
        told: list[tuple[str, str]] = []

        async def origin(session: str, home: str) -> str | None:
            await answers[home].wait()
            return SHOP if home == "h1" else BANK

        origins = Origins(origin, lambda *each: told.append(each))
        origins.look_up([page("s1", "h1")])
        await asyncio.sleep(0)
        origins.look_up([])
        origins.look_up([page("s1", "h2")])
        answers["h1"].set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == [] and origins.known == {}, "of where it is no more"
        origins.look_up([page("s1", "h2")])
        answers["h2"].set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert told == [("handle of s1", BANK)]

    asyncio.run(story())


def test_where_nobody_answers_it_is_asked_for_again() -> None:
    async def story() -> None:
        answers = iter([None, None, SHOP])
        told: list[tuple[str, str]] = []

        async def origin(session: str, home: str) -> str | None:
            return next(answers)

        origins = Origins(origin, lambda *each: told.append(each))
        for _ in range(3):
            assert told == []
            origins.look_up([page("s1", "h1")])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert told == [("handle of s1", SHOP)]

    asyncio.run(story())

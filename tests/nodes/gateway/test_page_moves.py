"""Sessions that move to another gateway: let go by one that lives, taken over from one that died."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from fabric.errors import RequestTimeout
from nodes.gateway import page_moves
from nodes.gateway.gateways import Gateways
from nodes.gateway.page_moves import MAX_MOVED, MAX_MOVES, SILENT_S, Moves
from tests.support.gateways import SHOP, Browser, GatewayProcess, agents_file, console, secret_file, start_gateway
from tests.support.site import Site, site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site"), proxies=2) as found:
        yield found


def start(world: Site, at: int = 0) -> GatewayProcess:
    secret, agents = secret_file(world.folder), agents_file(world.folder, "ada", "bob")
    public = ("--public-subscribe", "news/#", "--public-publish", "news/+")
    return start_gateway(world, "--secret-file", secret, "--agents", agents, "--resume", "2", *public, at=at)


@pytest.fixture(scope="module")
def pair(world: Site) -> list[GatewayProcess]:
    """Two gateways, at different proxies, that share a secret."""
    return [start(world, at) for at in (0, 1)]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def code_of(browser: Browser) -> str:
    return str((await browser.told("~/site_connect/ready"))["code"])


def test_another_gateway_takes_a_session_over_with_its_co_browse(pair: list[GatewayProcess]) -> None:
    here, there = (gateway.url for gateway in pair)

    async def story() -> None:
        async with Browser(here) as browser, await console(here, "bob") as agent:
            first = await browser.hello()
            code = await code_of(browser)
            await browser.ws.close()
            async with browser.comes_back(there) as again:
                welcome = await again.hello(seen=3)
                assert welcome["resumed"] and welcome["missed"] and welcome["session"] == first["session"]
                assert await code_of(again) == code
                await agent.send("join", id=1, code=code)
                session = (await agent.get("reply", id=1, ok=True))["state"]["session"]
                await agent.had("origin", session=session, origin=SHOP)  # which the agent's gateway asks the other
                await again.told("~pagesession/cobrowsing/snapshot_request")
                await again.send("update", epoch=1, event='{"here": 1}', snapshot=True)
                await agent.get("event", event="update")
                await again.ws.close()
                async with again.comes_back(here, same_document=False) as back:
                    assert (await back.hello())["resumed"]
                    await back.told("~pagesession/cobrowsing/start")
                    await back.told("~pagesession/cobrowsing/snapshot_request")
                    await back.send("update", epoch=1, event='{"back": 1}', snapshot=True)
                    assert (await agent.get("event", event="update"))["update"] == '{"back": 1}'
                    async with browser.comes_back(there) as late:
                        late.token = first["token"]
                        assert (await late.hello())["resumed"] is False, "the first token is expired by now"
                    await back.send("bye")

    play(story())


@pytest.mark.parametrize("how", ["rolling", "killed"])
def test_a_gateway_that_ends_loses_no_session(world: Site, how: str) -> None:
    with world.scene():
        first, second = start(world, 0), start(world, 1)
        before: list[tuple[str, str]] = []

        async def story() -> None:
            browsers = [Browser(first.url) for _ in range(5)]
            for browser in browsers:
                await browser.__aenter__()
                welcome = await browser.hello()
                before.append((welcome["session"], await code_of(browser)))
            if how == "rolling":
                first.signal(signal.SIGTERM)
                for browser in browsers:
                    await browser.get("drain")
                    assert await browser.until_closed() == 1012
                await asyncio.to_thread(first.wait)
                third = first.again()
                world.started.append(third)
                await asyncio.to_thread(third.wait_ready)
                assert third.url == first.url
            else:
                await asyncio.to_thread(first.kill)
            urls = [first.url, second.url] if how == "rolling" else [second.url]
            await asyncio.gather(*(come_back(n, browsers[n], urls[n % len(urls)]) for n in range(5)))

        async def come_back(number: int, browser: Browser, url: str) -> None:
            await browser.__aexit__()
            async with browser.comes_back(url) as again:
                welcome = await again.hello(seen=1)
                assert (welcome["resumed"], (welcome["session"], await code_of(again))) == (True, before[number])

        play(story())


class Others:
    """The other gateways, by their homes."""

    def __init__(self, answers: dict[str, dict[str, Any] | Exception]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def answer(self, what: str, answer: object) -> None:
        """They ask nothing."""

    async def ask(self, home: str, what: str, body: dict[str, Any], deadline_s: float) -> dict[str, Any]:
        self.asked.append(home)
        answer = self.answers[home]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def is_alive(self, home: str) -> bool:
        return home in self.answers


def moves(monkeypatch: pytest.MonkeyPatch, answers: dict[str, dict[str, Any] | Exception]) -> tuple[Moves, Others]:
    others = Others(answers)
    monkeypatch.setattr(page_moves, "Watcher", Mock())
    own: Any = Mock(node=Mock(home="own"))
    return Moves(own, cast(Gateways, others), AsyncMock(), {"s" * 16: "https://own.example"}.get), others


def test_of_which_site_a_page_is_says_the_gateway_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, dict[str, Any] | Exception]
    answers = {"a": {"origin": "https://a.example"}, "b": {}, "c": RequestTimeout("no answer")}
    found, others = moves(monkeypatch, {**answers, "d": {"origin": 7}})
    origins = [asyncio.run(found.origin("s" * 16, home)) for home in ("own", "a", "b", "c", "d", "dead")]
    assert origins == ["https://own.example", "https://a.example", None, None, None, None]
    assert others.asked == ["a", "b", "c", "d"], "and nobody who is not announced"
    assert asyncio.run(found.origin("t" * 16, "own")) is None


def fetch(found: Moves, home: str) -> str | None:
    return asyncio.run(found.fetch("s" * 16, 1, "i" * 16, home))


def test_it_follows_a_session_from_gateway_to_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go: dict[str, Any] = {"moved_to": None, "why": None}
    answers = {"a": {"moved_to": "b", "why": None}, "b": let_go, "c": {"moved_to": "own"}}
    found, others = moves(monkeypatch, {**answers, "d": {"moved_to": None, "why": "in_use"}})
    assert fetch(found, "a") is None and others.asked == ["a", "b"]
    assert fetch(found, "c") is None, "it is here by now"
    assert fetch(found, "d") == "in_use"


def test_gateways_that_send_it_in_a_circle_are_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    found, others = moves(monkeypatch, {"a": {"moved_to": "b"}, "b": {"moved_to": "a"}})
    assert fetch(found, "a") == "unknown" and len(others.asked) == MAX_MOVES


def test_one_that_is_gone_or_silent_is_not_waited_for_again_and_its_session_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, others = moves(monkeypatch, {"a": RequestTimeout("no answer")})
    clock = Mock(return_value=100.0)
    monkeypatch.setattr(page_moves, "time", Mock(monotonic=clock))
    assert fetch(found, "gone") is None and others.asked == []
    assert [fetch(found, "a"), fetch(found, "a")] == [None, None] and others.asked == ["a"]
    clock.return_value += SILENT_S + 0.1
    others.answers["a"] = {"moved_to": None, "why": "in_use"}
    assert fetch(found, "a") == "in_use"


def test_where_sessions_went_is_remembered_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = moves(monkeypatch, {})
    for number in range(MAX_MOVED + 1):
        found.went(f"s{number}", "b")
    assert (found.home_of("s0"), found.home_of("s1")) == (None, "b")
    found.came("s1")
    assert found.home_of("s1") is None

"""Queues for what is heavy: one by one, so many at most, and few of one owner."""

from __future__ import annotations

import asyncio

import pytest

from nodes.gateway.lanes import Full, Lane, Places


def test_one_after_the_other_in_their_order_and_so_many_at_most() -> None:
    async def story() -> None:
        lane, order = Lane(3), []

        async def one(number: int) -> None:
            async with lane.turn():
                order.append(number)
                await asyncio.sleep(0)
                order.append(number)

        done = await asyncio.gather(*(one(number) for number in range(5)), return_exceptions=True)
        assert [type(each) for each in done] == [type(None)] * 3 + [Full] * 2
        assert order == [0, 0, 1, 1, 2, 2] and not lane.is_full
        async with lane.turn():
            pass

    asyncio.run(story())


def test_to_pass_takes_no_place_and_waits_for_those_before() -> None:
    async def story() -> None:
        lane, order = Lane(1), []

        async def one() -> None:
            async with lane.turn():
                assert lane.is_full
                await asyncio.sleep(0)
                order.append("one")

        async def passing() -> None:
            await lane.passed()
            order.append("passed")

        await asyncio.gather(one(), passing(), passing())
        assert order == ["one", "passed", "passed"]

    asyncio.run(story())


def test_who_gives_up_waiting_takes_no_place_any_more() -> None:
    async def story() -> None:
        lane = Lane(2)
        async with lane.turn():
            waiting = asyncio.create_task(lane.turn().__aenter__())
            await asyncio.sleep(0)
            assert lane.is_full
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert not lane.is_full

    asyncio.run(story())


def test_an_owner_has_so_many_places_and_others_have_theirs() -> None:
    async def story() -> None:
        places = Places(2)
        async with places.place("a"), places.place("a"), places.place("b"):
            with pytest.raises(Full):
                async with places.place("a"):
                    pass
        async with places.place("a"):
            pass

    asyncio.run(story())

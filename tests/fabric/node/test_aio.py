"""AsyncNode: what its docstrings promise, against a proxy in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import AsyncNode, AsyncSubscription, Gap, Message, Node
from fabric.errors import InvalidFilter, InvalidTopic, NotConnected, ScopeError, StateError
from fabric.node.aio import Dropped
from fabric.protocol.histories import Kept, pack
from tests.support.fake_keeper import FakeKeeper
from tests.support.processes import ProxyProcess, free_base
from tests.support.waiting import PATIENCE_S, Box, mesh, until

STOP, CONTINUE = 19, 18


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with mesh(tmp_path_factory.mktemp("proxy"), 1) as proxies:
        yield proxies[0]


async def take(subscription: AsyncSubscription, count: int) -> list[Message]:
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(subscription) for _ in range(count)]


async def eventually(true: Any, what: str) -> None:
    """Wait in the loop until `true()`."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, f"waited in vain until {what}"
        await asyncio.sleep(0.005)


def test_messages_come_by_async_for(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base, name="loop") as node:
            assert node.name == "loop" and node.state.state == "connected" and len(node.home) == 32
            subscription = await node.subscribe("truck/+/temperature")
            ack = await subscription.ack()
            assert ack.ok and len(ack.covered) == 1
            for number in range(500):
                assert await node.publish("truck/1/temperature", number) == number + 1
            await node.publish("truck/1/speed", 0)
            got: list[Message] = []
            async for message in subscription:
                got.append(message)
                if len(got) == 500:
                    break
            assert [message.payload for message in got] == list(range(500))
            assert subscription.queued == 0 and subscription.dropped == 0
            stats = node.stats()
            assert stats["published"] >= 501 and stats["dropped"] == 0 and stats["waited_publishes"] == 0

    asyncio.run(main())


def test_local_topics_and_several_subscriptions(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            local, wide = await node.subscribe("~/page/#"), await node.subscribe("~/#")
            assert (await local.ack()).ok and (await wide.ack()).ok
            await node.publish("~/page/ready", {"code": "123"})
            assert [m.payload for m in await take(local, 1) + await take(wide, 1)] == [{"code": "123"}] * 2

    asyncio.run(main())


def test_errors_are_those_of_the_node(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            with pytest.raises(InvalidFilter):
                await node.subscribe("a/#/b")
            with pytest.raises(InvalidTopic):
                await node.publish("a/+", 1)
            with pytest.raises(ScopeError):
                await node.publish("$fabric/proxy/x", 1)
            with pytest.raises(ValueError, match="at least 1"):
                await node.subscribe("a", max_queued_msgs=0)
            with pytest.raises(StateError):
                await node.open()

    asyncio.run(main())


def test_before_open_and_after_close(proxy: ProxyProcess) -> None:
    async def main() -> None:
        node = AsyncNode(proxy.base)
        with pytest.raises(StateError):
            await node.publish("a", 1)
        assert await node.close() == 0, "nothing to close"
        await node.open()
        assert list(await asyncio.gather(node.close(), node.close())) == [0, 0]
        assert await node.close() == 0
        with pytest.raises(StateError):
            await node.subscribe("a")
        with pytest.raises(StateError):
            await node.publish("a", 1)

    asyncio.run(main())


def test_nobody_there() -> None:
    async def main() -> None:
        with pytest.raises(NotConnected):
            async with AsyncNode(free_base(), connect_timeout_s=0.2):
                pass

    asyncio.run(main())


def test_what_does_not_fit_is_dropped_counted_and_told(proxy: ProxyProcess) -> None:
    async def main() -> None:
        dropped: list[Dropped] = []
        async with AsyncNode(proxy.base) as node:
            node.on_drop(dropped.append)
            small, large = await node.subscribe("q/#", max_queued_msgs=10), await node.subscribe("q/#")
            await small.ack()
            await large.ack()
            for number in range(1_000):
                await node.publish("q/x", number)
            await eventually(lambda: large.queued == 1_000, "all have come")
            await eventually(lambda: sum(event.dropped for event in dropped) == 990, "all that was dropped is told")
            assert {(event.subscription, event.topic_filter) for event in dropped} == {(small.id, "q/#")}
            assert small.dropped == 990 and large.dropped == 0
            assert [m.payload for m in await take(small, 10)] == list(range(10)), "the newest are dropped"
            assert [m.payload for m in await take(large, 1_000)] == list(range(1_000)), "another's queue is its own"

    asyncio.run(main())


def test_the_loop_is_woken_once_for_many(proxy: ProxyProcess) -> None:
    """Many messages, of several subscriptions, while the loop stands still."""

    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscriptions = [await node.subscribe("w/#") for _ in range(5)]
            for subscription in subscriptions:
                await subscription.ack()
            loop, wakes = asyncio.get_running_loop(), 0
            original = loop.call_soon_threadsafe

            def counted(*args: Any, **kwargs: Any) -> Any:
                nonlocal wakes
                wakes += 1
                return original(*args, **kwargs)

            loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
            for number in range(2_000):
                node.node.publish("w/x", number)
            until(lambda: all(each.queued == 2_000 for each in subscriptions), "all have come")
            assert wakes == 1
            loop.call_soon_threadsafe = original  # type: ignore[method-assign]
            assert [len(await take(each, 2_000)) for each in subscriptions] == [2_000] * 5

    asyncio.run(main())


def test_a_full_queue_does_not_starve_other_tasks(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription = await node.subscribe("s/#")
            await subscription.ack()
            for number in range(5_000):
                await node.publish("s/x", number)
            await eventually(lambda: subscription.queued == 5_000, "all have come")
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(other())
            await take(subscription, 5_000)
            took = turns
            for number in range(5_000):
                await node.publish("s/y", number)
            assert took >= 45 and turns - took >= 45, "a turn for each hundred messages"
            task.cancel()

    asyncio.run(main())


def test_unsubscribe_ends_the_iterator(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription = await node.subscribe("u/#")
            await subscription.ack()
            got: list[Any] = []

            async def consume() -> None:
                async for message in subscription:
                    got.append(message.payload)

            waiting = asyncio.create_task(consume())
            await node.publish("u/x", 1)
            await eventually(lambda: got, "one was taken")
            await node.unsubscribe(subscription)
            await asyncio.wait_for(waiting, PATIENCE_S)
            assert got == [1]
            with pytest.raises(KeyError):
                await node.unsubscribe(subscription)
            fresh = await node.subscribe("u/y")
            await node.unsubscribe(fresh)
            assert not (await fresh.ack()).ok, "whoever waits for its ack is told"

    asyncio.run(main())


async def _all(subscription: AsyncSubscription) -> list[Message]:
    return [message async for message in subscription]


def test_close_ends_iterators_behind_what_has_come(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription, idle = await node.subscribe("c/#"), await node.subscribe("d/#")
            await subscription.ack()
            waiting = asyncio.create_task(_all(idle))
            for number in range(3):
                await node.publish("c/x", number)
            await eventually(lambda: subscription.queued == 3, "they have come")
        assert [message.payload async for message in subscription] == [0, 1, 2]
        assert await asyncio.wait_for(waiting, PATIENCE_S) == []

    asyncio.run(main())


def test_a_cancelled_wait_loses_no_message(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription = await node.subscribe("x/#")
            await subscription.ack()
            got: list[Any] = []
            sender = asyncio.create_task(_publish_slowly(node, 300))
            while len(got) < 300:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.001):
                        while True:
                            got.append((await anext(subscription)).payload)
            assert got == list(range(300))
            await sender

    asyncio.run(main())


async def _publish_slowly(node: AsyncNode, count: int) -> None:
    for number in range(count):
        await node.publish("x/y", number)
        await asyncio.sleep(0.001)


def test_two_tasks_share_one_subscription(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription = await node.subscribe("t/#")
            await subscription.ack()
            tasks = [asyncio.create_task(take(subscription, 50)) for _ in range(2)]
            for number in range(100):
                await node.publish("t/x", number)
            parts = await asyncio.gather(*tasks)
            assert sorted(m.payload for part in parts for m in part) == list(range(100)), "each message to one of them"

    asyncio.run(main())


def test_events_come_in_the_loop_and_one_that_raises_harms_no_other(fresh: ProxyProcess) -> None:
    async def main(running: ProxyProcess, started: list[ProxyProcess]) -> None:
        loop_thread = threading.current_thread()
        states: list[str] = []
        coverage: list[Any] = []
        problems: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))

        def on_state(state: Any) -> None:
            assert threading.current_thread() is loop_thread
            states.append(state.state)

        def broken(state: Any) -> None:
            raise RuntimeError("boom")

        async with AsyncNode(running.base) as node:
            node.on_state(broken)
            node.on_state(on_state)
            node.on_coverage(coverage.append)
            subscription = await node.subscribe("e/#")
            await subscription.ack()
            running.kill()
            await eventually(lambda: "connecting" in states, "the loss is told")
            running = running.again()
            started.append(running)
            await eventually(lambda: "connected" in states, "it is back")
            await eventually(lambda: any(event.gained for event in coverage[1:]), "it covers again")
            assert node.stats()["failed_loop_callbacks"] == len(problems) >= 2

    started: list[ProxyProcess] = []
    try:
        asyncio.run(main(fresh, started))
    finally:
        for process in started:
            process.stop()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ProxyProcess]:
    """A proxy that the test may do anything to."""
    with mesh(tmp_path, 1) as proxies:
        yield proxies[0]


def test_gaps_are_told_in_the_loop(proxy: ProxyProcess) -> None:
    async def main() -> None:
        gaps: list[Gap] = []
        async with AsyncNode(proxy.base) as node:
            node.on_gap(gaps.append)
            subscription = await node.subscribe("g/#")
            await subscription.ack()
            up = node.node._engine.up
            await node.publish("g/x", 1)
            up._numbering.next(b"g/x\0")  # a number that never was a message
            await node.publish("g/x", 3)
            assert [m.number for m in await take(subscription, 2)] == [1, 3]
            await eventually(lambda: gaps, "the gap is told")
            assert (gaps[0].topic, gaps[0].first, gaps[0].lost) == ("g/x", 2, 1)

    asyncio.run(main())


def test_publish_never_blocks_the_loop_and_keeps_the_order(fresh: ProxyProcess) -> None:
    """The proxy stands still, so that the queue to it fills; then it goes on, and all arrives in order."""

    async def main() -> None:
        async with AsyncNode(fresh.base, hwm_msgs=1_000, silence_s=60.0, send_timeout_s=60.0) as node:
            box = Box()
            with Node(fresh.base, silence_s=60.0) as other:
                assert other.wait_ack(other.subscribe("p/#", box), PATIENCE_S).ok
                fresh.signal(STOP)
                payload, sent, longest = "x" * 10_000, 0, 0.0
                tasks: list[asyncio.Task[int]] = []
                while node.stats()["waited_publishes"] < 50:
                    assert sent < 20_000, "the queue must be full before that"
                    began = time.perf_counter()
                    tasks.append(asyncio.create_task(node.publish("p/x", [sent, payload])))
                    await asyncio.sleep(0)
                    longest = max(longest, time.perf_counter() - began)
                    sent += 1
                assert not all(task.done() for task in tasks), "some wait"
                fresh.signal(CONTINUE)
                numbers = await asyncio.wait_for(asyncio.gather(*tasks), 4 * PATIENCE_S)
                assert numbers == list(range(1, sent + 1)), "accepted in the order they were published"
                await eventually(lambda: len(box) == sent, "all have come")
                assert [payload[0] for payload in box.payloads()] == list(range(sent))
                assert longest < 10.0, "a blocked loop would have stood until the proxy went on: for ever"

    try:
        asyncio.run(main())
    finally:
        fresh.signal(CONTINUE)


def test_many_are_published_in_one_call_and_other_tasks_have_their_turn(proxy: ProxyProcess) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            subscription = await node.subscribe("many/#")
            await subscription.ack()
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            task = asyncio.create_task(other())
            assert await node.publish_many((f"many/{number % 2}", number) for number in range(2_000)) == 2_000
            assert turns >= 20
            task.cancel()
            assert [m.payload for m in await take(subscription, 2_000)] == list(range(2_000))
            with pytest.raises(InvalidTopic) as raised:
                await node.publish_many([("many/0", 1)] * 250 + [("a/+", 1)])
            assert raised.value.accepted == 250

    asyncio.run(main())


def test_many_wait_for_room_in_their_order(fresh: ProxyProcess) -> None:
    """The proxy stands still, so that the queue to it fills; then it goes on, and all arrives in order."""

    async def main() -> None:
        async with AsyncNode(fresh.base, hwm_msgs=1_000, silence_s=60.0, send_timeout_s=60.0) as node:
            box = Box()
            with Node(fresh.base, silence_s=60.0) as other:
                assert other.wait_ack(other.subscribe("p/#", box), PATIENCE_S).ok
                fresh.signal(STOP)
                tasks = []
                while node.stats()["waited_publishes"] < 5:
                    tasks.append(asyncio.create_task(node.publish_many([("p/x", "x" * 10_000)] * 50)))
                    await asyncio.sleep(0.001)
                fresh.signal(CONTINUE)
                assert set(await asyncio.wait_for(asyncio.gather(*tasks), 4 * PATIENCE_S)) == {50}
                await eventually(lambda: len(box) == 50 * len(tasks), "all have come")
                assert [m.number for m in box.items] == list(range(1, len(box) + 1))

    try:
        asyncio.run(main())
    finally:
        fresh.signal(CONTINUE)


def test_one_that_is_cancelled_while_it_waits_slows_nobody_down(fresh: ProxyProcess) -> None:
    """It was never counted as done: everything after it waited for its turn in a thread, for good."""

    async def main() -> None:
        async with AsyncNode(fresh.base, send_timeout_s=PATIENCE_S, hwm_msgs=10) as node:
            await node.publish("a", 0)
            await asyncio.to_thread(until, lambda: node.stats()["unconfirmed"] == 0, "it has a connection to publish")
            fresh.signal(STOP)
            waiting = [asyncio.create_task(node.publish("a", bytes(1_000_000))) for _ in range(200)]
            await asyncio.to_thread(until, lambda: node._begun - node._done > 100, "those to be cancelled wait")
            for each in waiting[100:]:
                each.cancel()
            fresh.signal(CONTINUE)
            await asyncio.gather(*waiting, return_exceptions=True)
            await asyncio.to_thread(until, lambda: node._begun == node._done, "all have had their turn")
            assert await node.publish("b", 1) == 1
            begun = node._begun
            await node.publish("b", 2)
            assert node._begun == begun, "it went at once"
        with pytest.raises(StateError):
            await node.publish("b", 3)

    asyncio.run(main())


def test_close_ends_what_waits_to_be_sent(fresh: ProxyProcess) -> None:
    async def main() -> None:
        node = await AsyncNode(fresh.base, send_timeout_s=60.0).open()
        fresh.kill()
        await eventually(lambda: node.state.state == "connecting", "the proxy is gone")
        waiting = asyncio.create_task(node.publish("a", 1))
        await eventually(lambda: node.stats()["waited_publishes"] == 1, "it waits")
        await node.close(0.1)
        with pytest.raises(StateError):
            await asyncio.wait_for(waiting, PATIENCE_S)

    asyncio.run(main())


def test_cancelled_while_connecting(proxy: ProxyProcess) -> None:
    """Whether the node is made a moment before or after: `nothing_left_behind` would see it."""

    async def main() -> None:
        for delay_s in (0.0, 0.001, 0.01, 0.05):
            opening = asyncio.create_task(AsyncNode(proxy.base).open())
            await asyncio.sleep(delay_s)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await opening).close()

    asyncio.run(main())


def test_a_cancelled_close_goes_on(proxy: ProxyProcess) -> None:
    async def main() -> None:
        node = await AsyncNode(proxy.base).open()
        closing = asyncio.create_task(node.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert await node.close() == 0

    asyncio.run(main())


def test_a_loop_that_was_closed_early(proxy: ProxyProcess) -> None:
    """Nobody closed the node. With the next message it ends by itself."""

    async def main() -> AsyncNode:
        node = await AsyncNode(proxy.base).open()
        await (await node.subscribe("early/#")).ack()
        return node

    node = asyncio.run(main())
    with Node(proxy.base) as other:
        until(lambda: other.publish("early/x", 1) and not node.node._engine.thread.is_alive(), "the node has ended")


def test_close_from_another_loop(proxy: ProxyProcess) -> None:
    async def main() -> tuple[AsyncNode, AsyncSubscription]:
        node = await AsyncNode(proxy.base).open()
        return node, await node.subscribe("a/#")

    node, _ = asyncio.run(main())
    assert asyncio.run(node.close()) == 0
    assert not node.node._engine.thread.is_alive()


def test_a_history_and_a_subscription_that_begins_with_it(proxy: ProxyProcess) -> None:
    """More than the queue takes: the history waits for room."""

    async def main() -> None:
        with Node(proxy.base) as other:
            keeper = FakeKeeper(other, per_page=10)
            for number in range(1, 31):
                keeper.log.append(Kept("t9", 1, number, number, pack(number), None))
            async with AsyncNode(proxy.base, max_queued_msgs=5) as node:
                assert [message.payload async for message in node.history("t9", limit=7)] == list(range(1, 8))
                subscription = await node.subscribe("t9", since="1h")
                assert [(await anext(subscription)).payload for _ in range(30)] == list(range(1, 31))
                assert (await subscription.ack(PATIENCE_S)).ok and subscription.dropped == 0
                await node.publish("t9", "live")
                assert (await anext(subscription)).payload == "live"
            keeper.close()

    asyncio.run(main())

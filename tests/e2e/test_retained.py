"""Retained values over a mesh: whoever subscribes later ends with what counts now, through deaths and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Ack, AsyncNode, Message, Node
from fabric.protocol.retained import NotKept
from tests.support.keys import KeyFolder
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, mesh, until

Proxies = list[ProxyProcess]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Proxies]:
    with mesh(tmp_path, 2) as proxies:
        yield proxies


def values(node: Node, topic_filter: str) -> dict[str, Any]:
    """What a subscriber that comes now is told before its ack: each topic once, each marked."""
    got: list[Message | Ack] = []
    ident = node.subscribe(topic_filter, got.append, got.append, retained=True)
    assert node.wait_ack(ident, PATIENCE_S).ok
    node.unsubscribe(ident)
    before_ack = got[: next(place for place, each in enumerate(got) if isinstance(each, Ack))]
    messages = [each for each in before_ack if isinstance(each, Message)]
    assert all(message.headers == {"retained": True} for message in messages)
    assert len({message.topic for message in messages}) == len(messages)
    return {message.topic: message.payload for message in messages}


@contextlib.contextmanager
def restarted(proxy: ProxyProcess) -> Iterator[None]:
    """The same proxy, once more, until the end."""
    again = proxy.again()
    try:
        again.wait_ready()
        yield
    finally:
        again.stop()


def settled(node: Node) -> bool:
    return bool(node.stats()["unconfirmed"] == 0)


def test_who_comes_later_is_told_the_newest_of_all_ingresses_and_nothing_that_was_cleared(two: Proxies) -> None:
    with Node(two[0].base) as here, Node(two[1].base) as there, Node(two[1].base) as late:
        heard: list[Message] = []
        here.wait_ack(here.subscribe("t/#", heard.append), PATIENCE_S)
        here.publish("t/1", "first", retain=True)
        here.publish("t/2", "short", retain=True, expires_s=1)
        here.publish("t/3", "x", retain=True)
        until(lambda: len(heard) == 3 and settled(here), "all live")
        there.publish("t/1", {"second": b"\0"}, retain=True)
        there.publish("t/3", None, retain=True)
        there.publish("t/plain", 5)
        until(lambda: len(heard) == 6 and settled(there), "all live")
        assert not any(message.headers for message in heard), "what comes live is not marked"
        assert values(late, "t/#") == values(here, "t/#") == {"t/1": {"second": b"\0"}, "t/2": "short"}
        assert values(late, "t/+/x") == {} and values(late, "$x/#") == {}
        until(lambda: "t/2" not in values(late, "t/+"), "the end of the short one")


def test_what_is_set_after_the_marker_comes_live_whatever_the_moment(two: Proxies) -> None:
    """A publisher never stops setting: each subscriber that comes meanwhile has a value with its ack, and from there on
    every one.
    """
    with Node(two[0].base) as publisher, Node(two[1].base) as subscriber:
        publisher.publish("t", 0, retain=True)
        until(lambda: settled(publisher), "confirmed")
        last = 0
        for _ in range(100):
            got: list[Message | Ack] = []
            ident = subscriber.subscribe("t", got.append, got.append, retained=True)
            for _ in range(5):
                last += 1
                publisher.publish("t", last, retain=True)
            assert subscriber.wait_ack(ident, PATIENCE_S).ok
            _wait_for(got, last)
            at = next(place for place, each in enumerate(got) if isinstance(each, Ack))
            before, after = _payloads(got[:at]), _payloads(got[at:])
            assert before, got
            # The filter is an old one: what is missing since its last subscription is repaired, in order.
            assert [each for each in after if each > max(before)] == list(range(max(before) + 1, last + 1)), got
            assert before == sorted(set(before)), got
            subscriber.unsubscribe(ident)


def _wait_for(got: list[Message | Ack], payload: int) -> None:
    until(lambda: _payloads(got)[-1:] == [payload], "the last one")


def _payloads(got: list[Message | Ack]) -> list[Any]:
    return [each.payload for each in got if isinstance(each, Message)]


def test_who_sets_values_with_a_clock_that_is_ahead_is_told_and_stands_in_nobodys_way(
    two: Proxies, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead_ns = 3_600 * 10**9
    right_ns = time.time_ns
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time_ns", lambda: right_ns() + ahead_ns)
        publisher = Node(two[0].base)
    with publisher, Node(two[1].base) as other:
        told: list[NotKept] = []
        heard: list[Message] = []
        publisher.on_not_retained(told.append)
        other.wait_ack(other.subscribe("t", heard.append), PATIENCE_S)
        other.publish("t", "right", retain=True)
        until(lambda: settled(other), "it is kept")
        publisher.publish("t", "ahead", retain=True)
        until(lambda: [each.payload for each in heard] == ["right", "ahead"], "both are delivered")
        until(lambda: publisher.stats()["held"] == 0, "it is not to come back")
        # Said once for what was set, and once for what was sent again when it could hear that.
        until(lambda: publisher.stats()["not_retained"] > 0, "it is told")
        assert {(each.topic, each.why) for each in told} == {("t", "clock")}
        assert values(other, "t") == {"t": "right"}
        other.publish("t", "next", retain=True)
        until(lambda: len(heard) == 3 and settled(other), "it is kept")
        assert values(other, "t") == {"t": "next"}
        ahead_ns = 0
        publisher.publish("t", "corrected", retain=True)
        until(lambda: len(heard) == 4 and settled(publisher), "it is kept, too")
        assert values(other, "t") == {"t": "corrected"}


def test_a_value_outlives_its_publisher(two: Proxies) -> None:
    with Node(two[0].base) as publisher:
        publisher.publish("t", 1, retain=True)
    with Node(two[1].base) as late:
        assert values(late, "#") == {"t": 1}


def test_a_proxy_that_was_killed_is_given_the_values_again(two: Proxies) -> None:
    with Node(two[1].base) as publisher, Node(two[0].base) as late:
        publisher.publish("t/1", 1, retain=True)
        publisher.publish("t/2", 1, retain=True)
        publisher.publish("t/2", None, retain=True)
        publisher.publish("t/3", 1, retain=True, expires_s=3600)
        until(lambda: settled(publisher), "confirmed")
        got: list[Message] = []
        late.wait_ack(late.subscribe("t/#", got.append, retained=True), PATIENCE_S)
        assert [message.topic for message in got] == ["t/1", "t/3"]
        two[1].kill()
        with restarted(two[1]):
            until(lambda: publisher.stats()["held_again"] >= 3, "held again")
            until(lambda: values(late, "t/#") == {"t/1": 1, "t/3": 1}, "the values")
            assert [message.topic for message in got] == ["t/1", "t/3"], "those who know it are not told again"
            assert late.stats()["gaps"] == 0


def test_what_another_publisher_has_set_since_does_not_come_back_with_a_restart(two: Proxies) -> None:
    with Node(two[1].base) as first, Node(two[0].base) as second:
        first.publish("t", "old", retain=True)
        until(lambda: settled(first), "confirmed")
        second.publish("t", "new", retain=True)
        second.publish("u", "short", retain=True)
        until(lambda: first.stats()["held"] == 0, "the word that it is old")
        two[1].kill()
        with restarted(two[1]):
            until(lambda: values(first, "#") == {"t": "new", "u": "short"}, "the values")


def test_local_values_follow_the_same_rules(two: Proxies) -> None:
    with Node(two[0].base) as node, Node(two[0].base) as other:
        heard: list[Message] = []
        node.wait_ack(node.subscribe("~/#", heard.append), PATIENCE_S)
        node.publish("~/a", {"n": 1}, retain=True)
        node.publish("~/a", {"n": 2}, retain=True)
        node.publish("~/b", 1, retain=True)
        node.publish("~/b", None, retain=True)
        node.publish("~/c", 1, retain=True, expires_s=1)
        until(lambda: len(heard) == 5, "all live")
        assert values(node, "~/#") == {"~/a": {"n": 2}, "~/c": 1}
        assert values(other, "~/#") == {}
        until(lambda: values(node, "~/+") == {"~/a": {"n": 2}}, "expired")


def test_an_async_subscriber_has_them_before_its_ack(two: Proxies) -> None:
    async def run() -> None:
        async with AsyncNode(two[0].base) as node:
            await node.publish("t/1", 1, retain=True)
            await node.publish("t/2", 2, retain=True, expires_s=60)
            while node.stats()["unconfirmed"]:
                await asyncio.sleep(0.01)
            subscription = await node.subscribe("t/#", retained=True)
            assert (await subscription.ack(PATIENCE_S)).ok
            assert subscription.queued == 2
            found = [await anext(subscription) for _ in range(2)]
            assert [(each.payload, each.headers) for each in found] == [
                (1, {"retained": True}),
                (2, {"retained": True}),
            ]

    asyncio.run(run())


def test_ten_thousand_come_at_once_and_in_order_of_time(two: Proxies) -> None:
    with Node(two[0].base) as publisher, Node(two[1].base) as late:
        for number in range(10_000):
            publisher.publish(f"t/{number % 100}/{number}", number, retain=True)
        until(lambda: settled(publisher), "confirmed")
        since = time.monotonic()
        found = values(late, "t/#")
        assert list(found.values()) == list(range(10_000))
        assert time.monotonic() - since < PATIENCE_S


def test_with_keys_each_is_given_what_it_may_read(tmp_path: Path) -> None:
    roles = {
        "setter": {"publish": ["open/#", "shut/#"]},
        "reader": {"subscribe": ["open/#"]},
        "other": {"publish": ["open/#"], "subscribe": ["#"]},
    }
    folder = KeyFolder(tmp_path / "keys", {"p1": "proxy", "a": "setter", "b": "reader", "c": "other"}, roles)
    with folder.proxy("p1") as proxy, folder.node(proxy, "a") as setter, folder.node(proxy, "b") as reader:
        setter.publish("open/1", 1, retain=True)
        setter.publish("open/2", 1, retain=True)
        setter.publish("shut/1", 1, retain=True)
        until(lambda: settled(setter), "confirmed")
        assert values(reader, "open/#") == {"open/1": 1, "open/2": 1}
        refused = reader.wait_ack(reader.subscribe("shut/#", print, retained=True), PATIENCE_S)
        assert refused.denied
        with folder.node(proxy, "c") as other:
            assert values(other, "#") == {"open/1": 1, "open/2": 1, "shut/1": 1}
            other.publish("open/1", "newer", retain=True)
            until(lambda: setter.stats()["held"] == 2, "the setter hears that its value is old")
            assert values(reader, "open/1") == {"open/1": "newer"}

"""Retained values of whole proxies: who holds one, who gives way, and what is handed over. Plain sockets are nodes."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

import pytest
import zmq

from fabric import Proxy
from fabric.core.retained import address_of
from fabric.protocol.markers import answer_topic, encode_marker, not_kept_topic, retained_topic
from fabric.proxy.retaining import Retaining, figures
from fabric.wire import decode
from tests.support.processes import free_base
from tests.support.retained import retained_part
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.plain_sockets


class Peers:
    """Proxies in this process, and plain sockets at them."""

    def __init__(self) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.proxies: list[Proxy] = []
        self.serial = 0

    def proxy(self, name: str, *join: Proxy, **options: Any) -> Proxy:
        bases = [each.endpoints.base for each in join]
        proxy = Proxy(free_base(), name=name, join=bases, settle_s=0.05, drain_s=1.0, **options)
        self.proxies.append(proxy)
        proxy.start()
        assert proxy.wait_ready(PATIENCE_S)
        return proxy

    def set(self, proxy: Proxy, topic: str, publisher: int, sent_ns: int, payload: Any) -> None:
        """Returns when it is there, or has been told that it is not kept."""
        before = judged(proxy)
        with self.socket(zmq.PUSH, proxy.endpoints.ingress) as push:
            push.send(retained_part(topic, publisher, sent_ns, payload))
            until(lambda: judged(proxy) > before, "it is judged")

    def kept(self, proxy: Proxy) -> dict[str, Any]:
        """What a marker at this proxy, and at no other, is given for `#`."""
        with self.socket(zmq.XSUB, proxy.endpoints.link) as sub:
            self.serial += 1
            token = f"test-{self.serial}"
            sub.send(b"\x01$ack/" + token.encode())
            sub.send(encode_marker(token, b"n", None, wanted=[b""]))
            found: dict[str, Any] = {}
            while (message := decode(sub.recv())).topic == retained_topic(token):
                found |= {each.topic: each.payload for each in map(decode, message.payload["parts"])}
            assert message.topic == answer_topic(token)
            return found

    @contextlib.contextmanager
    def socket(self, kind: int, endpoint: str) -> Iterator[zmq.Socket[bytes]]:
        with self.context.socket(kind) as socket:
            socket.linger, socket.rcvtimeo = 2_000, int(PATIENCE_S * 1_000)
            socket.connect(endpoint)
            yield socket

    def close(self) -> None:
        for proxy in reversed(self.proxies):
            proxy.close()
        self.context.term()


def judged(proxy: Proxy) -> int:
    counted = proxy._plumbing.counts().retained
    return sum(counted[each] for each in ("kept", "older", "topics", "bytes", "clock"))


@pytest.fixture
def peers() -> Iterator[Peers]:
    found = Peers()
    yield found
    found.close()


def test_of_a_value_set_at_two_proxies_the_older_goes(peers: Peers) -> None:
    one = peers.proxy("p1")
    two = peers.proxy("p2", one)
    peers.set(one, "a", 1, 10, "old")
    peers.set(two, "a", 2, 11, "new")
    until(lambda: peers.kept(one) == {}, "it gives way")
    assert peers.kept(two) == {"a": "new"}
    peers.set(one, "a", 1, 12, None)
    until(lambda: peers.kept(two) == {}, "it gives way to a tombstone, too")
    assert peers.kept(one) == {"a": None}
    peers.set(two, "a", 2, 11, "late")
    until(lambda: peers.kept(two) == {}, "and again, when it comes late")


def test_who_is_linked_later_hears_of_all_that_was_set_before(peers: Peers) -> None:
    """Both are alone while the values are set: `first` lets the second one begin without the first."""
    base = free_base()
    one = peers.proxy("p1")
    two = Proxy(free_base(), name="p2", join=[base], first=True, settle_s=0.05)
    peers.proxies.append(two)
    two.start()
    assert two.wait_ready(PATIENCE_S)
    for topic, here, there in (("a", 10, 11), ("b", 11, 10), ("c", 10, 10)):
        peers.set(one, topic, 1, here, "one")
        peers.set(two, topic, 2 if topic != "c" else 1, there, "two" if topic != "c" else "one")
    third = peers.proxy("p3", one, two)
    until(lambda: all(len(each.stats()["peers"]) == 2 for each in (one, two, third)), "all are one mesh")
    until(lambda: peers.kept(one).keys() == {"b", "c"} and peers.kept(two).keys() == {"a", "c"}, "each gives way")
    peers.set(one, "c", 1, 12, "newer")
    until(lambda: peers.kept(two).keys() == {"a"}, "what two held is claimed when it changes")


def test_one_that_ends_hands_over_what_it_holds(peers: Peers) -> None:
    one = peers.proxy("p1")
    two = peers.proxy("p2", one)
    peers.set(two, "a", 1, 10, "x" * 1_000)
    peers.set(two, "b", 1, 10, "gone")
    peers.set(two, "b", 1, 11, None)
    peers.set(two, "$site_connect/x", 1, 10, "a system topic")
    two.drain()
    until(lambda: peers.kept(one) == {"a": "x" * 1_000, "b": None}, "it has them")
    assert figures(one._plumbing.counts().retained)["now"]["topics"] == 2
    until(lambda: not two._thread or not two._thread.is_alive(), "the other one has ended")
    assert peers.kept(one) == {"a": "x" * 1_000, "b": None}


class Scripted:
    """Stands for the plumbing of a proxy that holds one value."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.retained = Counter(values=1)

    def counts(self) -> Scripted:
        return self

    def hand_over(self, address: bytes, back: bytes) -> None:
        assert back == address_of("own")
        self.given.append(address)


def test_another_one_is_given_the_values_when_the_first_one_leaves() -> None:
    plumbing = Scripted()
    heirs = ["first", "first", "second", "second"]

    def heir() -> str | None:
        if len(heirs) == 1:
            plumbing.retained["confirmed"] += 1
        return heirs.pop(0)

    assert Retaining(cast("Any", plumbing), "own").hand_over(heir)
    assert plumbing.given == [address_of("first"), address_of("second")] and not heirs


def test_who_is_alone_or_holds_nothing_waits_for_nobody() -> None:
    plumbing = Scripted()
    assert Retaining(cast("Any", plumbing), "own").hand_over(lambda: None)
    plumbing.retained["values"] = 0
    assert Retaining(cast("Any", plumbing), "own").hand_over(lambda: "somebody")
    assert plumbing.given == []


def test_what_is_over_the_bound_is_told_to_its_publisher_and_counted(peers: Peers) -> None:
    proxy = peers.proxy("p1", retained_topics=1)
    with peers.socket(zmq.XSUB, proxy.endpoints.out) as sub:
        sub.send(b"\x01$ack/0000000000000007/")
        sub.send(b"\x01ready\0")
        until(lambda: proxy._plumbing.counts().prefixes["out"] == 2, "it has subscribed")
        peers.set(proxy, "a", 7, 10, "x")
        peers.set(proxy, "b", 7, 10, "y")
        told = decode(sub.recv())
    assert told.topic == not_kept_topic(7) and told.payload == {"topic": "b", "sent_ns": 10, "why": "topics"}
    until(lambda: proxy.stats().get("retained", {}).get("now", {}).get("topics") == 1, "it is announced")
    told_by = proxy.stats()["retained"]
    assert told_by["now"]["tombstones"] == 1 and told_by["since"]["over_topics"] == 1
    assert told_by["since"]["kept"] == 1 and "values" not in told_by["since"]


@pytest.mark.parametrize("sent_ns", [2**63, 2**64 - 1])
def test_no_value_from_the_future_stands_in_the_way_of_others(peers: Peers, sent_ns: int) -> None:
    one = peers.proxy("p1")
    two = peers.proxy("p2", one)
    peers.set(one, "a", 1, time.time_ns(), "one")
    peers.set(two, "a", 2, sent_ns, "ahead")
    peers.set(two, "b", 2, sent_ns, None)
    peers.set(two, "b", 1, time.time_ns(), "two")
    assert peers.kept(one) == {"a": "one"} and peers.kept(two) == {"b": "two"}
    peers.set(one, "a", 1, time.time_ns(), None)
    peers.set(two, "b", 1, time.time_ns(), "three")
    assert peers.kept(one) == {"a": None} and peers.kept(two) == {"b": "three"}
    until(lambda: two.stats().get("retained", {}).get("since", {}).get("clock") == 2, "it is announced")


def test_what_runs_out_goes_by_itself(peers: Peers) -> None:
    proxy = peers.proxy("p1")
    with peers.socket(zmq.PUSH, proxy.endpoints.ingress) as push:
        push.send(retained_part("a", 1, time.time_ns(), "x", expires_s=1))
        until(lambda: judged(proxy) == 1, "it is there")
        until(lambda: proxy._plumbing.counts().retained["values"] == 0, "it has run out")
    assert proxy._plumbing.counts().retained["tombstones"] == 1

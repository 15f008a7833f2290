"""Receiver: from raw parts to handlers, with no network: parts are built by hand."""

from __future__ import annotations

import random
import threading
import time
from functools import partial
from typing import Any

import pytest

from fabric.node.numbering import Gap
from fabric.node.receiver import Receiver
from fabric.wire import Encoder, Message, encode

PRIVATE = b"$ack/0123"
SIZES = [None, b"x" * 2_000]
"""Payloads on either side of what the receiving loop takes by itself."""


class Node:
    """A receiver and all that it calls."""

    def __init__(self, **options: Any) -> None:
        self.private: list[tuple[bytes, bytes]] = []
        self.gaps: list[Gap] = []
        self.notices: list[object] = []
        limits = {"max_payload_bytes": 10_000, "reorder_window_s": 0.5, "max_entries": 1_000}
        self.receiver = Receiver(
            threading.RLock(),
            PRIVATE,
            lambda raw, body: self.private.append((raw, body)),
            self.gaps.append,
            self.notices.append,
            **{**limits, **options},
        )
        self.broker = self.receiver.broker
        self.take = self.receiver.take

    def listen(self, topic_filter: str) -> list[Message]:
        heard: list[Message] = []
        self.broker.subscribe(topic_filter, heard.append)
        return heard

    def send(self, topic: str, number: int, payload: Any = None, publisher: int = 1, **headers: Any) -> None:
        self.take(Encoder(publisher).part(topic.encode() + b"\0", number, 1, payload, headers or None))


def numbers(messages: list[Message]) -> list[int]:
    return [message.number for message in messages]


def test_a_message_goes_to_all_who_match_in_the_order_they_subscribed() -> None:
    node = Node()
    order: list[str] = []
    for topic_filter in ("a/#", "a/b", "a/+", "b"):
        node.broker.subscribe(topic_filter, partial(lambda name, message: order.append(name), topic_filter))
    node.send("a/b", 1)
    node.send("a/b", 2)
    assert order == ["a/#", "a/b", "a/+"] * 2
    assert node.receiver.received == 2 and node.receiver.unmatched == 0


def test_all_fields_arrive() -> None:
    node = Node()
    heard = node.listen("a")
    node.take(encode("a", 2**64 - 1, 1, 12345, {"k": [1, 2.5, b"x", None]}, {"id": "7"}))
    assert heard == [Message("a", {"k": [1, 2.5, b"x", None]}, 2**64 - 1, 1, 12345, {"id": "7"})]


def test_what_matches_nobody_is_counted() -> None:
    node = Node()
    node.listen("a")
    for number in (1, 2):
        node.send("b", number)
    assert node.receiver.unmatched == 2 and not node.gaps


def test_a_new_subscription_takes_effect_on_known_topics() -> None:
    node = Node()
    first = node.listen("a")
    node.send("a", 1)
    second = node.listen("+")
    node.send("a", 2)
    assert numbers(first) == [1, 2] and numbers(second) == [2]


@pytest.mark.parametrize("payload", SIZES)
def test_duplicates_are_dropped_and_gaps_are_told(payload: Any) -> None:
    node = Node()
    heard = node.listen("a")
    for number in (1, 2, 2, 1, 5, 3, 6):
        node.send("a", number, payload)
    assert all(message.payload == payload for message in heard)
    assert numbers(heard) == [1, 2, 5, 6]
    assert node.gaps == [Gap("a", 1, 3, 4, 2)]
    assert node.receiver.detector.duplicates == 3


def test_publishers_are_counted_apart() -> None:
    node = Node()
    heard = node.listen("a")
    for number in (1, 2):
        for publisher in (1, 2):
            node.send("a", number, publisher=publisher)
    assert len(heard) == 4 and not node.gaps


def test_after_a_move_what_is_missing_is_waited_for() -> None:
    node = Node()
    heard = node.listen("a")
    node.send("a", 1)
    node.send("a", 3, moved=True)
    assert numbers(heard) == [1] and not node.gaps
    node.send("a", 2)
    assert numbers(heard) == [1, 2, 3] and not node.gaps
    node.receiver.hold = True
    node.send("a", 5)
    node.receiver.tick(time.monotonic())
    assert numbers(heard) == [1, 2, 3]
    node.receiver.tick(time.monotonic() + 1)
    assert numbers(heard) == [1, 2, 3, 5] and node.gaps == [Gap("a", 1, 4, 4, 1)]


def test_a_tail_shows_the_loss_of_the_last_and_is_not_delivered() -> None:
    node = Node()
    heard = node.listen("a")
    node.send("a", 1)
    node.send("a", 1, tail=True)
    node.send("a", 3, tail=True)
    assert numbers(heard) == [1] and node.gaps == [Gap("a", 1, 2, 3, 2)]


@pytest.mark.parametrize("payload", SIZES)
def test_a_handler_that_raises_harms_no_other(payload: Any, caplog: pytest.LogCaptureFixture) -> None:
    node = Node()
    first = node.listen("a")

    def bad(message: Message) -> None:
        raise ValueError("deliberately")

    node.broker.subscribe("a", bad)
    last = node.listen("a")
    for number in (1, 2, 4):  # the usual way, and by the gap
        node.send("a", number, payload)
    assert numbers(first) == numbers(last) == [1, 2, 4]
    assert node.receiver.failed_callbacks == 3 and "deliberately" in caplog.text


@pytest.mark.parametrize("payload", SIZES)
def test_a_handler_that_unsubscribes_another_silences_it_at_once(payload: Any) -> None:
    node = Node()
    idents: list[int] = []
    node.broker.subscribe("a", lambda message: node.broker.unsubscribe(idents.pop()) if idents else None)
    heard: list[Message] = []
    idents.append(node.broker.subscribe("a", heard.append))
    node.send("a", 1, payload)
    node.send("a", 2, payload)
    assert not heard


def test_what_is_for_the_node_itself_goes_there() -> None:
    node = Node()
    everything = node.listen("#")
    node.take(PRIVATE + b"/b\0")
    node.take(PRIVATE + b"-1/m\0body")
    assert node.private == [(PRIVATE + b"/b", b""), (PRIVATE + b"-1/m", b"body")] and not everything


def test_notices_of_stray_cancels_go_to_the_node_and_to_no_handler() -> None:
    node = Node()
    heard = node.listen("a/#")
    node.send("a/b", 1, payload=b"a/b\0", cancelled=True)
    node.take(Encoder(1).part(b"a/#\0", 1, 1, b"a/", {"cancelled": True}))
    assert node.notices == [b"a/b\0", b"a/"] and not heard


GARBAGE: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "no_topic"),
    "no NUL": (b"abc", "no_topic"),
    "empty topic": (b"\0\x95\1\1\1\1\1", "bad_topic"),
    "not UTF-8": (b"\xff\xfe\0\x95\1\1\1\1\1", "bad_topic"),
    "wildcard": (b"a/+\0\x95\1\1\1\1\1", "bad_topic"),
    "ends like a notice": (b"a/#\0\x95\1\1\1\1\1", "bad_topic"),
    "local": (b"~/a\0\x95\1\1\1\1\1", "local_scope"),
    "unknown scope": (b"~x/a\0\x95\1\1\1\1\1", "local_scope"),
    "empty body": (b"a\0", "bad_body"),
    "cut short": (encode("a", 1, 1, 1, "payload")[:-3], "bad_body"),
    "goes on": (encode("a", 1, 1, 1, "payload") + b"\0", "bad_body"),
    "no array": (b"a\0\x01", "bad_body"),
    "number 0": (b"a\0\x95\1\1\0\1\1", "bad_body"),
    "bool as a number": (b"a\0\x95\1\1\xc3\1\1", "bad_body"),
    "another version": (b"a\0\x95\2\1\1\1\1", "version"),
    "extension type": (b"a\0\x95\1\1\1\1\xd4\1\1", "bad_payload"),
    "int as a key": (b"a\0\x95\1\1\1\1\x81\1\1", "bad_payload"),
    "nested too deep": (b"a\0\x95\1\1\1\1" + b"\x91" * 100 + b"\1", "bad_payload"),
    "too large": (encode("a", 1, 1, 1, bytes(20_000)), "too_large"),
    "headers that are none": (b"a\0\x96\1\1\1\1\1\1", "bad_body"),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_counted_by_kind_and_harms_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    part, kind = GARBAGE[name]
    node = Node()
    heard = node.listen("#")
    for _ in range(3):
        node.take(part)
    node.send("a", 1)
    assert dict(node.receiver.refused) == {kind: 3} and numbers(heard) == [1] and not node.gaps
    assert len(caplog.records) == 1, "logged once for each kind"


def test_whatever_the_bytes_it_returns() -> None:
    node = Node()
    node.listen("#")
    rng = random.Random(1)
    good = encode("a/b", 1, 1, 1, {"k": [1, "x", b"y"]}, {"moved": True})
    for _ in range(20_000):
        part = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            part[rng.randrange(len(part))] = rng.randrange(256)
        node.take(bytes(part[: rng.randrange(len(part) + 1)] if rng.random() < 0.3 else part))
    assert sum(node.receiver.refused.values()) > 5_000 and node.receiver.received == 20_000


@pytest.mark.parametrize(
    ("released", "forgotten", "kept"),
    [
        (["a/b"], {"a/b"}, {"a", "a/c", "a/b/c", "ab"}),
        (["a/#"], {"a", "a/b", "a/c", "a/b/c"}, {"ab"}),
        (["a/+"], {"a/b", "a/c"}, set()),
        (["+/b", "ab"], {"a/b", "ab"}, set()),
        (["nothing/seen"], set(), {"a", "a/b", "a/c", "a/b/c", "ab"}),
    ],
)
def test_what_nobody_wants_any_more_is_forgotten(released: list[str], forgotten: set[str], kept: set[str]) -> None:
    """So that what is published meanwhile is no gap when somebody wants it again."""
    node = Node()
    topics = ("a", "a/b", "a/c", "a/b/c", "ab")
    idents = [node.broker.subscribe(topic, print) for topic in topics]
    for topic in topics:
        node.send(topic, 1, tail=True)
        node.send(topic, 1)
    for topic, ident in zip(topics, idents, strict=True):
        if topic in forgotten:
            node.broker.unsubscribe(ident)
    node.receiver.forget(released)
    node.listen("#")
    for topic in topics:
        node.send(topic, 3)
    assert {gap.topic for gap in node.gaps} == set(topics) - forgotten
    assert kept <= {gap.topic for gap in node.gaps}


def test_giving_up_many_filters_walks_the_topics_once() -> None:
    """20,000 filters with a message on each; one by one it would be 400 million looks."""
    node = Node(max_entries=100_000)
    topics = [f"t/{number}" for number in range(20_000)]
    idents = [node.broker.subscribe(topic, len) for topic in topics]
    for topic in topics:
        node.send(topic, 1)
    for ident in idents:
        node.broker.unsubscribe(ident)
    start = time.process_time()
    node.receiver.forget(topics)
    assert time.process_time() - start < 5, "0.1 s on a quiet machine"
    assert not node.receiver.detector.knows_any(topics)


def test_delivering_by_hand_is_for_local_messages() -> None:
    node = Node()
    heard = node.listen("~/#")
    node.receiver.deliver(Message("~/a", 1, 1, 1, 1))
    assert [message.topic for message in heard] == ["~/a"]

"""Receiver: from raw parts to handlers, with no network: parts are built by hand. All over both intakes.

The last tests hold it against `Plain`, which knows only `wire.decode` and `GapDetector.observe`.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from functools import partial
from typing import Any
from unittest import mock

import msgpack  # type: ignore[import-untyped]
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.core.intake import PLAIN_BYTES, PLAIN_NS
from fabric.errors import RemoteWireError
from fabric.node.gaps import Forged, Gap, GapDetector
from fabric.node.receiver import Receiver
from fabric.node.retained import LastKnown
from fabric.topics import matches
from fabric.wire import ENVELOPE_BYTES, Encoder, Message, decode, decode_body, decode_topic, encode
from tests.support.payload_strategies import PAYLOADS, nested
from tests.support.twins import twins

PRIVATE = b"$ack/0123"
NOW_NS = 1_700_000_000_000_000_000
SIZES = [None, b"x" * 2_000]
"""Payloads on either side of what the receiving loop takes by itself."""


class Node:
    """A receiver and all that it calls."""

    intake: Any
    """The kind of intake of all that are made now."""

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
            intake=self.intake,
            **{**limits, **options},
        )
        self.broker = self.receiver.broker
        self.take = self.receiver.intake.take

    def listen(self, topic_filter: str) -> list[Message]:
        heard: list[Message] = []
        self.broker.subscribe(topic_filter, heard.append)
        return heard

    def send(self, topic: str, number: int, payload: Any = None, publisher: int = 1, **headers: Any) -> None:
        self.take(Encoder(publisher).part(topic.encode() + b"\0", number, NOW_NS, payload, headers or None))


def numbers(messages: list[Message]) -> list[int]:
    return [message.number for message in messages]


@pytest.fixture(scope="module", params=twins("intake", "Intake"), autouse=True)
def intake(request: pytest.FixtureRequest) -> None:
    Node.intake = request.param


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


def test_how_a_live_message_is_kept_is_not_shown() -> None:
    node = Node()
    heard = node.listen("a")
    node.send("a", 1, "x", retain=0)
    node.send("a", 2, "y", by="me", retain=5)
    node.send("a", 3, "z", retained=True)
    assert [dict(message.headers) for message in heard] == [{}, {"by": "me"}, {}]
    assert numbers(heard) == [1, 2, 3]


def test_nor_of_one_that_was_repaired() -> None:
    node = Node()
    heard = node.listen("a")
    node.receiver.awaits = True
    node.send("a", 1)
    node.send("a", 3)
    part = Encoder(1).part(b"a\0", 2, NOW_NS, "x", {"by": "me", "retain": 5})
    assert node.receiver.take_repaired("a", 1, part, 0.0)
    assert [(message.number, dict(message.headers)) for message in heard] == [(1, {}), (2, {"by": "me"}), (3, {})]


def test_who_asked_for_it_sees_what_is_to_be_retained_and_all_others_see_the_same_as_ever() -> None:
    node = Node()
    plain, keeping, wanting = node.listen("a"), list[Message](), list[Message]()
    node.broker.subscribe("a", LastKnown(keeping.append, as_published=True))
    node.broker.subscribe("a", LastKnown(wanting.append))
    node.send("a", 1, "first", retain=9)
    node.send("a", 2, b"x" * 2_000, retain=0, by="me")
    node.send("a", 3, "plain", by="me")
    node.send("a", 4, "forged", retained=True, held=True)
    node.send("a", 6, "waits", retain=7)
    node.send("a", 5, "late", retain=8)
    shown: list[dict[str, Any]] = [{}, {"by": "me"}, {"by": "me"}, {}]
    assert [dict(message.headers) for message in plain][:4] == shown
    assert [dict(message.headers) for message in wanting][:4] == shown
    assert [dict(message.headers) for message in keeping][:4] == [
        {"retain": 9}, {"by": "me", "retain": 0}, {"by": "me"}, {}
    ]  # fmt: skip
    later = {message.number: message.headers.get("retain") for message in keeping[4:]}
    assert later.items() <= {5: 8, 6: 7}.items() and later


def test_what_is_sent_again_to_be_kept_is_for_those_who_want_what_is_retained_and_its_number_says_nothing() -> None:
    node = Node()
    plain, wanting = node.listen("a"), list[Message]()
    node.broker.subscribe("a", LastKnown(wanting.append))
    node.send("a", 5, "five")
    node.send("a", 2, "two", held=True, retain=0)  # as old as the first: the same moment, the same publisher
    node.take(encode("a", 1, 9, NOW_NS + 1, "nine", {"held": True, "retain": 0}))
    node.send("a", 6, "six")
    assert [message.payload for message in plain] == ["five", "six"]
    assert [message.payload for message in wanting] == ["five", "nine", "six"]
    assert [dict(message.headers) for message in wanting] == [{}, {"retained": True}, {}]
    assert not node.gaps and node.receiver.detector.duplicates == 0


def test_a_value_that_comes_twice_is_told_to_who_wants_it_and_subscribed_between() -> None:
    """Behind a kill: the proxy that it is sent to again had kept nothing when the second one subscribed."""
    node = Node()
    heard = {"first": [], "second": [], "live alone": []}  # type: dict[str, list[Message]]
    node.broker.subscribe("#", LastKnown(heard["first"].append))
    node.send("a", 1, "one", retain=0)
    node.broker.subscribe("#", LastKnown(heard["second"].append))
    node.broker.subscribe("#", heard["live alone"].append)
    node.send("a", 1, "one", retain=0)
    node.send("a", 1, "one", retain=0)
    node.send("b", 1, "plain")
    node.send("b", 1, "plain")
    told = {name: [(m.payload, dict(m.headers)) for m in messages] for name, messages in heard.items()}
    assert told == {
        "first": [("one", {}), ("plain", {})],
        "second": [("one", {"retained": True}), ("plain", {})],
        "live alone": [("plain", {})],
    }
    assert node.receiver.detector.duplicates == 3


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


def test_after_forged_numbers_the_true_stream_is_heard_again(caplog: pytest.LogCaptureFixture) -> None:
    """One part with a number far ahead is refused; a thousand in order are believed until the true ones go on."""
    now = 0.0
    node = Node(clock=lambda: now)
    heard = node.listen("a")
    node.send("a", 1)
    node.send("a", 2**62)
    assert node.receiver.refused == {"number": 1} and "expected one that this publisher can be at" in caplog.text
    for number in range(2, 1_002):
        node.send("a", number, "forged")
    for number in range(2, 30):
        now += 1.0
        node.take(Encoder(1).part(b"a\0", number, NOW_NS + int(now * 1e9), "true"))
    believed = [message.number for message in heard if message.payload == "true"]
    assert believed == list(range(12, 30)) and node.gaps == [Gap("a", 1, 2, 11, 10)]
    assert node.receiver.refused == {"number": 2} and node.receiver.detector.duplicates == 10


def test_after_a_move_what_is_missing_is_waited_for() -> None:
    node = Node()
    heard = node.listen("a")
    node.send("a", 1)
    node.send("a", 3, moved=True)
    assert numbers(heard) == [1] and not node.gaps
    node.send("a", 2)
    assert numbers(heard) == [1, 2, 3] and not node.gaps
    node.receiver.awaits = True
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


# --- the hot path against the plain one -------------------------------------------------------------------------------

FILTERS = ("a/#", "+/x", "b", "a/x", "~pagesession/+")
RAW_TOPICS = (b"a/x", b"a/y", b"b", b"~pagesession/1", b"nobody/here")
TOPICS = tuple(raw.decode() for raw in RAW_TOPICS)
ODD_TOPICS = (b"", b"a/+", b"a/#", b"a/\xff", b"~/a", b"~x/a", b"$sys/a", PRIVATE, PRIVATE + b"/w", b"a/" * 300)
PUBLISHERS = (1, 7, 7, 0, 2**64 - 1)
WINDOW_S = 0.5


def fails_on_boom(message: Message) -> None:
    if message.payload == "boom":
        raise ValueError("deliberately")


class Plain:
    """What a receiver does, said without a hot path: every part is decoded in full, every number goes to the detector.

    heard:  (filter, message) in the order of the calls
    """

    def __init__(self, max_payload_bytes: int, max_entries: int) -> None:
        self.detector: GapDetector[Message] = GapDetector(WINDOW_S, max_entries)
        self.max_payload_bytes = max_payload_bytes
        self.filters = list(FILTERS)
        self.awaits = False
        self.heard: list[tuple[str, Message]] = []
        self.private: list[tuple[bytes, bytes]] = []
        self.gaps: list[Gap] = []
        self.notices: list[object] = []
        self.traces: list[tuple[str, object]] = []
        self.refused: Counter[str] = Counter()
        self.received = self.unmatched = self.failed_callbacks = 0

    def take(self, part: bytes, now: float) -> None:
        self.received += 1
        try:
            self._take(part, now)
        except RemoteWireError as error:
            self.refused[error.kind] += 1

    def _take(self, part: bytes, now: float) -> None:
        raw, nul, body = part.partition(b"\0")
        if nul and raw.endswith(b"#"):
            payload, headers = decode_body(body, self.max_payload_bytes)[3:]
            if (headers or {}).get("cancelled") is not True:
                decode_topic(raw)
            self.notices.append(payload)
            return
        if nul and raw.startswith(PRIVATE):
            self.private.append((raw, body))
            return
        if nul and not self.matching(decode_topic(raw)):
            self.unmatched += 1
            return
        message = decode(part, max_payload_bytes=self.max_payload_bytes)
        topic, payload, publisher, number, sent_ns, headers = message
        if headers.get("cancelled") is True:
            self.notices.append(payload)
            return
        awaits = self.awaits or headers.get("moved") is True
        if headers.get("tail") is True:
            if "trace" in headers:
                self.traces.append((topic, headers["trace"]))
            self.carry_out(self.detector.tail(topic, publisher, number, now, awaits))
        else:
            self.carry_out(
                self.detector.observe(topic, publisher, number, now, item=message, awaits=awaits, sent_ns=sent_ns)
            )

    def matching(self, topic: str) -> list[str]:
        return [each for each in self.filters if matches(each, topic)]

    def carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Gap):
                self.gaps.append(effect)
                continue
            if isinstance(effect, Forged):
                self.refused["number"] += 1
                continue
            for topic_filter in self.matching(effect.item.topic):
                self.heard.append((topic_filter, effect.item))
                self.failed_callbacks += effect.item.payload == "boom" and type(effect.item.payload) is str

    def drop(self, topic_filter: str) -> None:
        self.filters.remove(topic_filter)
        self.detector.forget(lambda topic: matches(topic_filter, topic) and not self.matching(topic))


class Both:
    """A receiver and its plain twin, which get the same; `compare` after each step."""

    def __init__(self, max_payload_bytes: int = 10_000, max_entries: int = 1_000) -> None:
        self.now = 100.0
        self.node = Node(
            max_payload_bytes=max_payload_bytes,
            reorder_window_s=WINDOW_S,
            max_entries=max_entries,
            clock=lambda: self.now,
        )
        self.plain = Plain(max_payload_bytes, max_entries)
        self.heard: list[tuple[str, Message]] = []
        self.traces: list[tuple[str, object]] = []
        self.node.receiver.on_trace = lambda topic, trace: self.traces.append((topic, trace))
        self.idents = {each: self.node.broker.subscribe(each, partial(self._hear, each)) for each in FILTERS}

    def _hear(self, topic_filter: str, message: Message) -> None:
        self.heard.append((topic_filter, message))
        fails_on_boom(message)

    def take(self, *parts: bytes) -> None:
        for part in parts:
            self.node.take(part)
            self.plain.take(part, self.now)
        self.compare()

    def message(
        self, raw: bytes, fields: list[Any], number: tuple[str, int], forms: dict[int, Any], shape: Any
    ) -> None:
        """Take a body of `fields` and a number.

        number: counted from the last number, or from the detector's entry, which is another one while something waits
        forms:  what to put in some places instead
        """
        entry = self.plain.detector.lasts(raw.decode()).get(fields[1], 0) if raw in RAW_TOPICS else 0
        start, offset = number
        last = -1 - entry if entry < 0 and start == "last" else entry
        fields = [*fields[:2], min(max(last + offset, -(2**63)), 2**64 - 1), *fields[2:]]
        for place, form in forms.items():
            if place < len(fields):
                fields[place] = form(fields[place])
        self.take(raw + b"\0" + shape(fields))

    def live(self, first: int, step_s: float, count: int) -> None:
        """A publisher sends so many from this number on, one every `step_s`."""
        for number in range(first, first + count):
            self.wait(step_s)
            self.take(b"a/x\0" + pack([1, 7, number, NOW_NS + int(self.now * 1e9), "x"]))

    def wait(self, passed_s: float) -> None:
        self.now += passed_s
        self.node.receiver.tick(self.now)
        self.plain.carry_out(self.plain.detector.expire(self.now))
        self.compare()

    def set_awaits(self, awaits: bool) -> None:
        self.node.receiver.awaits = self.plain.awaits = awaits

    def drop(self, topic_filter: str) -> None:
        if topic_filter in self.idents:
            self.node.broker.unsubscribe(self.idents.pop(topic_filter))
            self.node.receiver.forget([topic_filter])
            self.plain.drop(topic_filter)
        self.compare()

    def compare(self) -> None:
        """Same messages, same counters, same state. Compared as text, in which 7.0 is not 7 and nan is nan."""
        ours, plain = self.node.receiver, self.plain
        assert repr(self.heard) == repr(plain.heard)
        assert repr((self.node.gaps, self.node.private)) == repr((plain.gaps, plain.private))
        assert repr((self.node.notices, self.traces)) == repr((plain.notices, plain.traces))
        for name in ("refused", "received", "unmatched", "failed_callbacks"):
            assert getattr(ours, name) == getattr(plain, name), name
        for name in ("duplicates", "gaps", "lost", "started_late", "evicted", "is_awaiting"):
            assert getattr(ours.detector, name) == getattr(plain.detector, name), name
        for topic in TOPICS:
            assert repr(ours.detector.lasts(topic)) == repr(plain.detector.lasts(topic)), topic


class Batches(Both):
    """The receiver gets its parts from a socket, as many at once as came between two other steps."""

    def __init__(self, *limits: int) -> None:
        super().__init__(*limits)
        self.waiting: list[bytes] = []

    def take(self, *parts: bytes) -> None:
        for part in parts:
            self.waiting.append(part)
            self.plain.take(part, self.now)

    def compare(self) -> None:
        with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
            pull.bind("inproc://parts")
            push.connect("inproc://parts")
            for part in self.waiting:
                push.send(part)
            self.waiting.clear()
            self.node.receiver.intake.drain(pull, 1_000)
        super().compare()

    def wait(self, passed_s: float) -> None:
        self.compare()
        super().wait(passed_s)

    def set_awaits(self, awaits: bool) -> None:
        self.compare()
        super().set_awaits(awaits)

    def drop(self, topic_filter: str) -> None:
        self.compare()
        super().drop(topic_filter)


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def wide(fields: list[Any]) -> bytes:
    """Pack with no small form: array 32, and 64 bits for every int from 0."""
    items = (
        b"\xcf" + each.to_bytes(8, "big") if type(each) is int and 0 <= each < 2**64 else pack(each) for each in fields
    )
    return b"\xdd" + len(fields).to_bytes(4, "big") + b"".join(items)


def as_bin(fields: list[Any]) -> bytes:
    """Five bytes, which unpack into five ints as an array of five does."""
    return pack(bytes(each if type(each) is int and 0 <= each < 256 else 9 for each in fields))


def as_map(fields: list[Any]) -> bytes:
    return b"\x85" + b"".join(pack(each) + b"\1" for each in fields[:5])


def flipped(place: int, byte: int) -> Any:
    def shape(fields: list[Any]) -> bytes:
        body = bytearray(pack(fields))
        body[place % len(body)] = byte
        return bytes(body)

    return shape


def with_raw(extra: bytes) -> Any:
    """Put raw msgpack in the place of the payload."""
    return lambda fields: b"\x95" + b"".join(map(pack, fields[:4])) + extra


RAW_PAYLOADS = (
    b"\xd4\5\0",  # an extension
    b"\xd6\xff\0\0\0\1",  # a timestamp
    b"\xc7\1\xff\0",  # a timestamp of no known size
    b"\xd4\xfb\0",  # an extension that msgpack keeps for itself
    b"\x82\xa1a\1\xa1a\2",  # a key that is there twice
    b"\x81\1\1",
    b"\x81\xc4\1k\1",  # bytes as a key
    b"\xa2\xff\xfe",  # text that is not UTF-8
    b"\xa3\xed\xa0\x80",  # half a surrogate pair
    b"\x91" * 64 + b"\1",
    b"\x91" * 65 + b"\1",
    b"\x91" * 900 + b"\1",
    b"\xdc\xff\xff",  # cut short
    b"\xc1",
    b"",
)
EQUALS: Any = st.sampled_from([float, bool])
"""What equals an int to Python, and finds its entry in a dict."""
FORMS: Any = st.one_of(
    EQUALS.map(lambda kind: lambda value: kind(value) if type(value) is int else value),
    st.sampled_from([-5, -1, 0, True, False, 1.0, None, "x", [], {}, 2**63, -(2**63), 2**64 - 1, b"k"]).map(
        lambda value: lambda _: value
    ),
    st.integers(-8, 8).map(lambda value: lambda _: value),
    st.just(lambda value: 1 - value if type(value) is int and value < 2**63 else value),
)
SHAPES: Any = st.one_of(
    st.just(pack),
    st.just(pack),
    st.just(pack),
    st.sampled_from([wide, as_bin, as_map]),
    st.sampled_from(RAW_PAYLOADS).map(with_raw),
    st.integers(0, 3).map(lambda cut: lambda fields: pack(fields)[: -1 - cut]),
    st.binary(min_size=1, max_size=2).map(lambda more: lambda fields: pack(fields) + more),
    st.builds(flipped, st.integers(0, 40), st.integers(0, 255)),
    st.sampled_from([2, 4, 7]).map(lambda size: lambda fields: pack([*fields, None, None][:size])),
)
TIMES = st.sampled_from([NOW_NS, NOW_NS, NOW_NS, 0, 1, PLAIN_NS - 1, PLAIN_NS, 2**64 - 1])
MESSAGE_PAYLOADS = st.one_of(
    PAYLOADS,
    st.sampled_from(["boom", float("nan"), bytes(PLAIN_BYTES), "é" * 40, bytes(90), nested(64), nested(65)]),
)
HEADERS = st.one_of(
    st.fixed_dictionaries({}, optional=dict.fromkeys(["moved", "tail", "cancelled"], st.sampled_from([True, 1, "x"]))),
    st.sampled_from([{"moved": True}, {"moved": True}, {"tail": True}, {"tail": True, "trace": [1]}, {"k": {"a": []}}]),
)
FIELDS = st.builds(
    lambda publisher, sent_ns, payload, headers: [1, publisher, sent_ns, payload, *headers],
    st.sampled_from(PUBLISHERS),
    TIMES,
    MESSAGE_PAYLOADS,
    st.one_of(st.just([]), st.just([]), st.just([]), HEADERS.map(lambda headers: [headers])),
)
NEXT = st.just(("last", 1))
NUMBERS = st.one_of(
    NEXT,
    NEXT,
    st.tuples(st.just("last"), st.sampled_from([2, 2, 3, 0, -1])),
    st.tuples(st.just("entry"), st.sampled_from([1, 1, 0, 2, -1])),
)
NO_FORMS: Any = st.just({})
ONE_FORM = st.dictionaries(st.sampled_from([0, 1, 2, 2, 3, 4, 5]), FORMS, min_size=1, max_size=1)
FEW = st.sampled_from(RAW_TOPICS[:2])


PACKED: Any = st.just(pack)


def messages(
    raw: Any = FEW, fields: Any = FIELDS, number: Any = NUMBERS, forms: Any = NO_FORMS, shape: Any = PACKED
) -> Any:
    return st.tuples(st.just("message"), raw, fields, number, forms, shape)


STEPS = st.one_of(
    messages(fields=st.builds(lambda publisher: [1, publisher, NOW_NS, "x"], st.sampled_from([1, 7]))),
    messages(
        fields=st.sampled_from([1, 7]).map(lambda publisher: [1, publisher, NOW_NS, "x", {"moved": True}]),
        number=st.just(("last", 2)),
    ),
    messages(),
    messages(raw=st.sampled_from(RAW_TOPICS)),
    messages(forms=ONE_FORM, number=NEXT),
    messages(forms=ONE_FORM),
    messages(shape=SHAPES, number=NEXT),
    messages(raw=st.sampled_from(RAW_TOPICS + ODD_TOPICS), shape=SHAPES),
    st.tuples(st.just("take"), st.one_of(st.binary(max_size=40), st.sampled_from(RAW_TOPICS + ODD_TOPICS))),
    st.tuples(st.just("take"), st.builds(lambda raw, body: raw + b"\0" + body, FEW, st.binary(max_size=40))),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.3, 0.6])),
    st.tuples(st.just("live"), st.integers(1, 30), st.sampled_from([0.1, 4.0, 6.0]), st.integers(1, 6)),
    st.tuples(st.just("set_awaits"), st.booleans()),
)
ENDS = st.lists(st.tuples(st.just("drop"), st.sampled_from(FILTERS)) | STEPS, max_size=15)


@pytest.mark.parametrize("way", [Both, Batches])
@settings(max_examples=100, deadline=None)
@given(
    st.lists(STEPS, min_size=15, max_size=60),
    ENDS,
    st.sampled_from([10_000, 10_000, 100, 0]),
    st.sampled_from([1_000, 1_000, 2]),
)
def test_whatever_comes_it_does_what_decoding_and_numbering_in_full_do(
    way: Any, steps: list[tuple[Any, ...]], ends: list[tuple[Any, ...]], max_payload_bytes: int, max_entries: int
) -> None:
    both = way(max_payload_bytes, max_entries)
    for name, *arguments in steps + ends:
        getattr(both, name)(*arguments)
    both.wait(10.0)


def body_of(*fields: Any) -> bytes:
    return b"a/x\0" + pack(list(fields))


SEEN = [body_of(1, 7, number, NOW_NS, None) for number in (1, 2)]
WAITING = [*SEEN, b"a/x\0" + pack([1, 7, 4, NOW_NS, "waits", {"moved": True}])]
UNLIKE: dict[str, tuple[list[bytes], bytes, str]] = {
    "a bool as version": (SEEN, body_of(True, 7, 3, NOW_NS, "x"), "bad_body"),
    "a float as version": (SEEN, body_of(1.0, 7, 3, NOW_NS, "x"), "bad_body"),
    "a float as publisher": (SEEN, body_of(1, 7.0, 3, NOW_NS, "x"), "bad_body"),
    "a bool as publisher": ([body_of(1, 1, 1, NOW_NS, "x")], body_of(1, True, 2, NOW_NS, "x"), "bad_body"),
    "a float as number": (SEEN, body_of(1, 7, 3.0, NOW_NS, "x"), "bad_body"),
    "a float as time": (SEEN, body_of(1, 7, 3, 1e18, "x"), "bad_body"),
    "a bool as time": (SEEN, body_of(1, 7, 3, True, "x"), "bad_body"),
    "a time before 1970": (SEEN, body_of(1, 7, 3, -5, "x"), "bad_body"),
    "a negative number while another waits": (WAITING, body_of(1, 7, -2, NOW_NS, "evil"), "bad_body"),
    "five bytes in the place of an array": (SEEN, b"a/x\0" + as_bin([1, 7, 3, 200, 5]), "bad_body"),
    "no NUL behind a topic that is known": (SEEN, b"a/x", "no_topic"),
    "no NUL behind a topic that nobody wants": ([b"nobody/here\0"], b"nobody/here", "no_topic"),
    "too large for a limit below that of the hot path": (SEEN, body_of(1, 7, 3, NOW_NS, bytes(600)), "too_large"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_what_decoding_refuses_is_refused_on_a_topic_already_seen(name: str) -> None:
    before, part, kind = UNLIKE[name]
    both = Both(max_payload_bytes=500)
    both.take(*before)
    heard = len(both.heard)
    both.take(part)
    assert both.node.receiver.refused == {kind: 1} and len(both.heard) == heard
    both.take(body_of(1, 7, 3, NOW_NS, "next"))
    both.wait(10.0)
    assert not both.node.gaps, "nothing is missing"


WIDE_HEADS = (b"\xc4", b"\xc5", b"\xc6", b"\xd9", b"\xda", b"\xdb", b"\xdc", b"\xdd", b"\xde", b"\xdf")
CUT = [
    *(head + bytes([255]) * size + b"x" for head in WIDE_HEADS for size in (1, 2, 4)),
    *(
        pack(each)
        for each in ("x" * 20, "x" * 40, "x" * 300, bytes(20), bytes(300), 1.5, 2**16, 2**32, 2**63, -200, -(2**40))
    ),
    *(pack(each) for each in (["x", 1], {"k": b"v"}, [[b"x"], {"a": [2.5]}])),
    *(
        head + bytes(8)
        for head in (b"\xca", b"\xcb", b"\xcc", b"\xcd", b"\xce", b"\xcf", b"\xd0", b"\xd1", b"\xd2", b"\xd3")
    ),
]


def test_payloads_that_are_cut_short_or_declare_more_than_there_is_are_refused_at_every_byte() -> None:
    """Also what would be read beyond the part's end shows, under a sanitizer."""
    both = Both()
    both.take(*SEEN)
    number = 3
    for raw in CUT:
        for size in range(len(raw) + 1):
            both.take(b"a/x\0" + with_raw(raw[:size])([1, 7, number, NOW_NS]))
            number = both.plain.detector.lasts("a/x")[7] + 1
    assert both.node.receiver.refused["bad_body"] > 100


@pytest.mark.parametrize("over", [0, 1])
def test_a_body_is_taken_up_to_the_limit_and_no_further(over: int) -> None:
    both = Both(max_payload_bytes=200)
    empty = len(pack([1, 7, 3, NOW_NS, bytes(200)])) - 200
    both.take(*SEEN, body_of(1, 7, 3, NOW_NS, bytes(200 + ENVELOPE_BYTES - empty + over)))
    assert both.node.receiver.refused == ({"too_large": 1} if over else {})


@pytest.mark.parametrize("payload", [None, True, 7, 1.5, "x", b"x", [1], {"k": "v"}])
def test_a_plain_message_in_order_takes_the_hot_path(payload: Any) -> None:
    """Or the comparison above would compare the careful way with itself."""
    node = Node()
    heard = node.listen("a")
    node.send("a", 1)
    with mock.patch.object(node.receiver, "take_carefully", side_effect=AssertionError):
        node.send("a", 2, payload)
    assert numbers(heard) == [1, 2] and heard[1].payload == payload

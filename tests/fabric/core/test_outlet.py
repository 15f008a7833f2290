"""Outlet: which messages take the short way, what they look like, and what is left to the careful way.

What an uplink makes of it, with real sockets: `test_uplink`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from fabric import sockets
from fabric.core.outlet import SMALL
from fabric.errors import HighWaterMarkReached, LocalWireError, NotConnected
from fabric.node.numbering import Numbering
from fabric.node.unconfirmed import Unconfirmed
from fabric.payloads import FLAT
from fabric.wire import ENVELOPE_BYTES, Encoder, decode
from tests.support.payload_strategies import NO_PAYLOADS, PAYLOADS, nested, shared_many_times
from tests.support.twins import twins
from tests.support.waiting import until

PUBLISHER = 2**63 + 5
TOPIC = b"a/b\0"
FRESH_PARTS = 8


class Wire:
    """In the place of a socket: keeps what it is given, or raises `error`, before that or behind it."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.error: BaseException | None = None
        self.behind = False

    def send(self, part: bytes, *_: Any) -> None:
        if self.error is not None and not self.behind:
            raise self.error
        self.parts.append(part)
        if self.error is not None:
            raise self.error


class Side:
    """An outlet that may send at once, on a `Wire`, and what came to the careful way."""

    def __init__(self, kind: Any, max_payload_bytes: int = 100_000) -> None:
        self.lock = kind.new_lock()
        self.numbering = Numbering(PUBLISHER)
        self.kept = Unconfirmed()
        self.careful: list[tuple[Any, ...]] = []
        self.careful_error: Exception | None = None
        self.now_ns = 10**18
        self.outlet = kind(
            self.lock, self.numbering, self.kept, FRESH_PARTS, self.carefully, max_payload_bytes, lambda: self.now_ns
        )
        self.wire = Wire()
        self.connect(self.wire)
        self.outlet.plain = True
        self.numbering.next(TOPIC)

    def connect(self, socket: Any) -> None:
        with mock.patch("fabric.core.outlet.fast_send", lambda wire: wire.send):
            self.outlet.connect(socket)

    def carefully(self, *arguments: Any) -> int:
        self.careful.append(arguments)
        if self.careful_error is not None:
            raise self.careful_error
        return 0

    def publish(self, payload: Any) -> Any:
        return self.outlet.publish(TOPIC, payload)


@pytest.fixture(params=twins("outlet", "Outlet"))
def side(request: pytest.FixtureRequest) -> Side:
    return Side(request.param)


@pytest.mark.parametrize("payload", [None, True, False, 0, -1, 2**64 - 1, -(2**63), 1.5, "é", b"x", "x" * SMALL])
def test_a_flat_payload_on_a_known_topic_is_numbered_sent_and_kept(side: Side, payload: Any) -> None:
    assert side.publish(payload) == 2 and not side.careful
    part = Encoder(PUBLISHER).part(TOPIC, 2, side.now_ns, payload)
    assert side.wire.parts == side.kept.fresh == [part] and side.kept.kept() == [part]
    assert side.numbering.numbers == side.numbering.recent == {TOPIC: 2}
    assert decode(part).payload == payload


def test_what_is_kept_is_counted_in_time(side: Side) -> None:
    for _ in range(FRESH_PARTS - 1):
        side.publish(1)
    assert len(side.kept.fresh) == FRESH_PARTS - 1
    side.publish(1)
    assert not side.kept.fresh and side.kept.sent == FRESH_PARTS


def test_what_is_out_of_the_way_changes_nothing(side: Side) -> None:
    before = dict(side.numbering.numbers)
    tries: list[tuple[Any, ...]] = [(b"new\0", 1), (TOPIC, 1, {"k": 1}), (TOPIC, 1, {}), (TOPIC, object())]
    for arguments in tries:
        assert side.outlet.publish(*arguments) == 0
    side.outlet.plain = False
    side.publish(1)
    side.outlet.plain = True
    side.connect(None)
    side.publish(1)
    side.connect(side.wire)
    side.wire.error = zmq.Again()
    assert side.outlet.publish(TOPIC, 1, None, 0.5) == 0
    assert side.careful[-1] == (TOPIC, 1, None, 0.5) and len(side.careful) == len(tries) + 3
    assert side.numbering.numbers == before and not side.wire.parts and not side.kept.sent
    side.wire.error = None
    assert side.publish(1) == 2


def test_a_number_that_may_be_on_its_way_stays_taken(side: Side) -> None:
    side.wire.error, side.wire.behind = KeyboardInterrupt(), True
    with pytest.raises(KeyboardInterrupt):
        side.publish("first")
    side.wire.error = None
    assert side.publish("second") == 3 and [decode(part).number for part in side.wire.parts] == [2, 3]


def test_nothing_overtakes_who_holds_the_lock(side: Side) -> None:
    """Whoever holds it has taken a number, perhaps, and has not sent yet."""
    published: list[Any] = []
    other = threading.Thread(target=lambda: published.append(side.publish("later")), daemon=True)
    with side.lock:
        other.start()
        other.join(0.05)
        assert not side.wire.parts
        assert published == [0] * len(side.careful), "it waits, here or in the careful way"
    other.join(10)
    assert published in ([2], [0])


def test_publishing_many_counts_them(side: Side) -> None:
    others: list[tuple[Any, ...]] = []

    def otherwise(*call: Any) -> int:
        others.append(call)
        return 7

    messages = [("a/b", 1), ("new", 2), ("a/b", [3]), ("a/b", object())]
    assert side.outlet.publish_many(iter(messages), {"a/b": TOPIC}, otherwise, 0.5) == 4
    assert others == [("new", 2, 0.5)] and side.careful[-1] == (TOPIC, messages[3][1], None, 0.5)
    assert side.outlet.publish_many([], {}, print) == 0
    assert side.outlet.publish_many([("a/b", n) for n in range(1_000)], {"a/b": TOPIC}, print) == 1_000


@pytest.mark.parametrize("error", [HighWaterMarkReached("full"), NotConnected("no"), LocalWireError("bad")])
def test_of_many_an_error_tells_how_many_were_accepted(side: Side, error: Any) -> None:
    side.careful_error = error
    left = iter([("a/b", 1), ("a/b", 2), ("a/b", object()), ("a/b", 4)])
    with pytest.raises(type(error)) as raised:
        side.outlet.publish_many(left, {"a/b": TOPIC}, print)
    assert raised.value.accepted == 2 and list(left) == [("a/b", 4)]


def test_what_the_messages_themselves_raise_comes_through(side: Side) -> None:
    def messages() -> Iterator[tuple[str, Any]]:
        yield "a/b", 1
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        side.outlet.publish_many(messages(), {"a/b": TOPIC}, print)
    for wrong in ([("a/b",)], [1], 7):
        with pytest.raises((ValueError, TypeError)):
            side.outlet.publish_many(wrong, {"a/b": TOPIC}, print)
    assert len(side.wire.parts) == 1


def test_other_threads_have_their_turn_while_many_are_published(side: Side) -> None:
    turns = 0
    ended = threading.Event()

    def other() -> None:
        nonlocal turns
        while not ended.is_set():
            turns += 1

    thread = threading.Thread(target=other)
    thread.start()
    side.outlet.publish_many([("a/b", 1)] * 200_000, {"a/b": TOPIC}, print)
    during = turns
    ended.set()
    thread.join()
    assert during > 0


@pytest.mark.parametrize("transport", ["inproc://outlet", "ipc://*"])
@pytest.mark.parametrize("size", [1, 25, 60, 5_000, 90_000])
def test_on_a_socket_each_part_arrives_as_it_is_kept(side: Side, transport: str, size: int) -> None:
    """Sizes on both sides of those from which libzmq shares a message instead of copying it."""
    context = sockets.new_context()
    pull, push = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    try:
        pull.bind(transport)
        push.connect(pull.getsockopt_string(zmq.LAST_ENDPOINT))
        push.sndtimeo, pull.rcvtimeo = 0, 10_000
        side.outlet.connect(push)
        until(lambda: side.publish(0) == 2, "the connection is there")
        for number in range(500):
            side.publish(number)
            side.publish(bytes(size))
        kept = side.kept.kept()
        assert len(kept) == 1_001 - sum(call[1] == bytes(size) for call in side.careful)
        assert [pull.recv() for _ in kept] == kept
        side.outlet.connect(None)
        assert side.publish(1) == 0
    finally:
        context.destroy(0)


class Two:
    """Both outlets, where both are there; the careful way of each is the encoder's."""

    def __init__(self, max_payload_bytes: int) -> None:
        self.kinds = [Side(each.values[0], max_payload_bytes) for each in twins("outlet", "Outlet") if each.values[0]]
        self.encoder = Encoder(PUBLISHER, max_payload_bytes)

    def compare(self, payload: Any, now_ns: int) -> None:
        """What the encoder refuses is left to it, and what is sent is what it makes."""
        try:
            part = self.encoder.part(TOPIC, 2, now_ns, payload)
        except LocalWireError:
            part = None
        for side in self.kinds:
            side.now_ns = now_ns
            short = side.publish(payload) != 0
            assert not short or side.wire.parts == [part]
            if part is not None and type(payload) in FLAT and len(part) < SMALL:
                assert short or self.encoder.max_payload_bytes < 4 * SMALL, "it takes the short way"


LARGE = st.sampled_from([15, 16, 17, 31, 32, 255, 256, 257, 65_535, 65_536])
SHAPES = st.one_of(
    PAYLOADS,
    LARGE.map(lambda size: "x" * size),
    LARGE.map(bytes),
    LARGE.map(lambda size: [1] * size),
    LARGE.map(lambda size: {str(number): None for number in range(size)}),
    st.integers(-(2**64), 2**65),
    st.sampled_from([-32, -33, -128, -129, -32768, -32769, -(2**31), -(2**31) - 1, 127, 128, 2**32, 2**63]),
    st.floats(),
    st.integers(60, 66).map(nested),
    st.sampled_from(list(NO_PAYLOADS.values())),
    st.sampled_from(["\ud800", ["\ud800"], {"\ud800": 1}, (1, (2,)), [(), {}], bytearray(b"x"), ["é" * 5]]),
)


@given(SHAPES, st.sampled_from([10**6, 10_000, 100, 16, 0]), st.sampled_from([0, 1, 255, 10**18, 2**64 - 1]))
def test_whatever_the_payload_what_is_sent_is_what_the_encoder_makes(
    payload: Any, max_payload_bytes: int, now_ns: int
) -> None:
    Two(max_payload_bytes).compare(payload, now_ns)


def test_around_the_limit_both_accept_what_the_encoder_accepts() -> None:
    payloads = [each for size in range(90, 170) for each in (bytes(size), "é" * (size // 2), "x" * size, [1] * size)]
    for payload in payloads:
        Two(100 + ENVELOPE_BYTES // 2).compare(payload, 10**18)


def test_what_is_shared_a_million_times_ends(side: Side) -> None:
    assert side.publish(shared_many_times()) == 0 and len(side.careful) == 1

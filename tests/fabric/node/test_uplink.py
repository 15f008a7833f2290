"""Uplink: numbers, order and what is sent again, against a PULL socket in the place of a proxy's ingress.

All over both outlets. The last tests hold `publish` against its careful way alone, with no socket.
"""

from __future__ import annotations

import enum
import itertools
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric import sockets
from fabric.core.outlet import SMALL
from fabric.errors import HighWaterMarkReached, LocalWireError, NotConnected, StateError, TransportError
from fabric.node.numbering import GENERATION_S
from fabric.node.reholding import PARTS_PER_TURN
from fabric.node.ring import Ring
from fabric.node.uplink import REMARK_S, REPEAT_TAILS_S, Uplink
from fabric.wire import ENVELOPE_BYTES, Message, decode
from tests.support.interrupts import struck
from tests.support.payload_strategies import NO_PAYLOADS, PAYLOADS, nested
from tests.support.twins import twins
from tests.support.waiting import until

TOKEN = "0123"
TOPIC, OTHER = b"a/b\0", b"c\0"


class Kind:
    """The kind of outlet of all uplinks that are made now."""

    outlet: Any


@pytest.fixture(scope="module", params=twins("outlet", "Outlet"), autouse=True)
def outlet(request: pytest.FixtureRequest) -> None:
    Kind.outlet = request.param


class Ingress:
    """The receiving end: what came, and the watermarks' way back."""

    def __init__(self, context: sockets.Context, *, recv_hwm: int = 1_000) -> None:
        self.socket = sockets.pull(context, recv_hwm=recv_hwm)
        self.socket.bind("ipc://*")
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.messages: list[Message] = []
        self.marks: list[Any] = []
        self.parts: list[bytes] = []

    def read(self, wait_ms: int = 0) -> list[Message]:
        """Return all messages so far; watermarks go to `marks`."""
        while self.socket.poll(wait_ms):
            self.parts.append(self.socket.recv())
            message = decode(self.parts[-1])
            (self.marks.append(message.payload) if message.topic.startswith("$") else self.messages.append(message))
            wait_ms = 0
        return self.messages

    def close(self) -> None:
        self.socket.close(0)


class Link:
    """An uplink and the part of a node's I/O thread that it needs, in this thread."""

    def __init__(self, context: sockets.Context, ingress: Ingress, **options: Any) -> None:
        self.context, self.ingress = context, ingress
        numbers = itertools.count(7)
        limits = {"hwm_msgs": 100, "max_payload_bytes": 1_000_000, "max_unconfirmed_bytes": 1_000_000}
        options = {**limits, "send_timeout_s": 0.3, "outlet": Kind.outlet, **options}
        opened = options.pop("opened", True)
        self.up = Uplink(context, TOKEN, lambda: next(numbers), **options)
        self.now = 100.0
        if opened:
            self.connect()

    def connect(self, ingress: Ingress | None = None) -> None:
        """Open a connection and prove it, as the node does. A probe's watermark confirms nothing."""
        self.ingress = ingress or self.ingress
        assert self.up.open(self.ingress.endpoint)
        until(lambda: "opened" in self.up.events(), "the connection is open")
        marks = len(self.ingress.marks)
        self.up.probe()
        until(lambda: self.ingress.read(5) is not None and len(self.ingress.marks) > marks, "the probe has arrived")
        assert self.up.watermark_returned(self.ingress.marks[-1], self.now)
        self.up.proven(self.now, 0.5)

    def tick(self, passed: float = 0.01) -> None:
        self.now += passed
        self.up.tick(self.now)

    def confirm(self) -> None:
        """Let the last watermark come back."""
        marks = len(self.ingress.marks)
        self.tick()
        until(lambda: self.ingress.read(5) is not None and len(self.ingress.marks) > marks, "a watermark")
        assert self.up.watermark_returned(self.ingress.marks[-1], self.now)


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    found = sockets.new_context()
    yield found
    found.destroy(linger=0)  # with all its sockets


@pytest.fixture
def make(context: sockets.Context) -> Iterator[Callable[..., Link]]:
    found: list[Link] = []

    def link(**options: Any) -> Link:
        found.append(Link(context, Ingress(context, recv_hwm=options.pop("recv_hwm", 1_000)), **options))
        return found[-1]

    yield link
    for each in found:
        each.up.close()


def numbers(messages: list[Message]) -> list[int]:
    return [message.number for message in messages]


def test_messages_are_numbered_for_each_topic_under_one_publisher(make: Callable[..., Link]) -> None:
    link = make()
    assert [link.up.publish(TOPIC, n) for n in range(3)] == [1, 2, 3] and link.up.publish(OTHER, None) == 1
    until(lambda: len(link.ingress.read(5)) == 4, "all have arrived")
    assert [(m.topic, m.number) for m in link.ingress.messages] == [("a/b", 1), ("a/b", 2), ("a/b", 3), ("c", 1)]
    assert {m.publisher for m in link.ingress.messages} == {link.up.publisher}
    assert link.up.published == link.up.unconfirmed == 4


def test_a_watermark_confirms_what_was_sent_before_it(make: Callable[..., Link]) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    link.confirm()
    assert link.up.unconfirmed == 0
    marks = len(link.ingress.marks)
    for _ in range(5):
        link.tick()
    link.ingress.read(20)
    assert len(link.ingress.marks) == marks, "no traffic, no watermark"


def test_a_watermark_that_is_lost_is_sent_again(make: Callable[..., Link]) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    link.tick()
    link.tick(REMARK_S + 0.1)
    until(lambda: link.ingress.read(5) and [mark[:2] for mark in link.ingress.marks[-2:]] == [[1, 1]] * 2, "twice")
    assert link.up.watermark_returned(link.ingress.marks[-1], link.now) and link.up.unconfirmed == 0


@pytest.mark.parametrize("payload", [None, 1, [], [1], [1, 1], [1, 1, 1], [1, 1, b""], [1, 1, bytes(8)], {"a": 1}])
def test_what_is_no_watermark_of_this_connection_confirms_nothing(make: Callable[..., Link], payload: Any) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    assert not link.up.watermark_returned(payload, link.now) and link.up.unconfirmed == 1


def test_one_that_somebody_else_made_confirms_nothing(make: Callable[..., Link]) -> None:
    """Who has heard one knows the topic, the serial, and the seal of that count; not of another."""
    link, other = make(), make()
    link.up.publish(TOPIC, 1)
    link.confirm()
    heard = link.ingress.marks[-1]
    link.up.publish(TOPIC, 2)
    other.up.publish(TOPIC, 1)
    other.up.publish(TOPIC, 2)
    other.confirm()
    wrong: list[Any] = [[1, 2, heard[2]], [True, 2, heard[2]], [1, -1, heard[2]], [1, 2**64, heard[2]], ["1", 2, b""]]
    for payload in (*wrong, other.ingress.marks[-1]):
        assert not link.up.watermark_returned(payload, link.now)
    assert link.up.watermark_returned(heard, link.now) and link.up.unconfirmed == 1


def test_what_is_not_confirmed_is_sent_again_in_order_before_anything_new(make: Callable[..., Link]) -> None:
    link = make()
    for n in range(3):
        link.up.publish(TOPIC, n)
    link.confirm()
    link.tick(1.0)  # beyond the time that confirmed parts are kept
    for n in range(3, 6):
        link.up.publish(TOPIC, n)
    link.ingress.close()
    until(lambda: "closed" in link.up.events(), "the loss")
    assert link.up.close_gate() == 0
    second = Ingress(link.context)
    link.connect(second)
    link.up.publish(TOPIC, "new")
    until(lambda: len(second.read(5)) == 4, "three again, and one new")
    assert numbers(second.messages) == [4, 5, 6, 7]
    assert not second.messages[0].headers and second.messages[3].headers == {"moved": True}
    assert link.up.resent == 3 and link.up.uncertain == 0


def test_a_connection_that_breaks_while_sending_again_begins_anew(make: Callable[..., Link]) -> None:
    """Nothing new is let through on the third connection before everything kept has gone over it, from the first on."""
    link = make(hwm_msgs=10, recv_hwm=10)
    link.ingress.read()
    for n in range(10):
        link.up.publish(TOPIC, bytes(100_000) if n else b"first")
        link.ingress.read(5)
    narrow = Ingress(link.context, recv_hwm=1)
    link.connect(narrow)
    assert link.up.resent == 10
    link.up.close_gate()
    third = Ingress(link.context)
    assert link.up.open(third.endpoint)
    link.tick()
    with pytest.raises(NotConnected):
        link.up.publish(TOPIC, "too early", timeout_s=0)
    link.connect(third)
    for _ in range(20):
        link.tick()
        third.read(5)
    link.up.publish(TOPIC, "new")
    until(lambda: len(third.read(5)) == 11, "all of them")
    assert numbers(third.messages) == list(range(1, 12))


def test_what_was_sent_before_the_connection_broke_is_not_confirmed_by_the_probe_of_the_next(
    make: Callable[..., Link],
) -> None:
    """It would be let go of after a while, though it waits in a queue that a second break empties."""
    link = make(hwm_msgs=10, recv_hwm=10)
    for n in range(10):
        link.up.publish(TOPIC, bytes(100_000) if n else b"first")
        link.ingress.read(5)
    link.connect(Ingress(link.context, recv_hwm=1))
    assert link.up.unconfirmed == 10
    link.tick(1.0)
    link.tick(1.0)
    link.up.close_gate()
    third = Ingress(link.context)
    link.connect(third)

    def come() -> bool:
        link.tick()
        return len(third.read(5)) == 10

    until(come, "all of them")
    assert numbers(third.messages) == list(range(1, 11))


def test_the_first_who_publishes_wants_a_connection_and_is_kept_waiting_without_a_proxy(
    make: Callable[..., Link],
) -> None:
    wanted: list[int] = []
    link = make(opened=False, on_wanted=lambda: wanted.append(1))
    assert link.up.is_settled is False
    for _ in range(2):
        with pytest.raises(NotConnected, match=r"no proxy for 0\.3 s"):
            link.up.publish(TOPIC, 1)
    assert wanted == [1] and link.up.published == 0


def test_what_is_published_before_there_is_a_connection_is_kept_and_goes_first(make: Callable[..., Link]) -> None:
    link = make(opened=False)
    link.up.io_thread = threading.get_ident()
    link.up.answered()
    assert link.up.is_settled
    assert [link.up.publish(TOPIC, n, timeout_s=0) for n in range(3)] == [1, 2, 3]
    assert (link.up.published, link.up.unconfirmed, link.up.is_settled) == (3, 3, False)
    assert link.up.open("ipc:///nowhere/at/all"), "it may have to be tried several times"
    assert link.up.publish(TOPIC, 3) == 4
    link.connect()
    assert link.up.publish(TOPIC, "new") == 5
    until(lambda: len(link.ingress.read(5)) == 5, "what was kept, and the new one")
    assert numbers(link.ingress.messages) == [1, 2, 3, 4, 5]
    link.confirm()
    assert link.up.unconfirmed == 0 and link.up.uncertain == 0


def test_a_part_that_is_encoded_while_the_proxy_is_lost_waits_behind_what_was_kept(make: Callable[..., Link]) -> None:
    """It was sent over the connection that was not proven yet, ahead of the others: receivers dropped these as old."""
    link: Link
    armed: list[Any] = []

    def clock() -> int:
        if armed:
            armed.pop()()  # the I/O thread, which needs no lock for this
        return time.time_ns()

    link = make(opened=False, time_ns=clock)
    link.up.answered()
    assert link.up.publish(TOPIC, 1) == 1
    assert link.up.open(link.ingress.endpoint)
    until(lambda: "opened" in link.up.events(), "the connection is open")
    armed.append(link.up.close_gate)
    assert link.up.publish(TOPIC, [2]) == 2
    link.ingress.read(50)
    assert not link.ingress.messages, "nothing goes before there is proof"
    with pytest.raises(NotConnected):
        link.up.publish(TOPIC, 3)
    link.connect()
    assert link.up.publish(TOPIC, "next") == 3
    until(lambda: len(link.ingress.read(5)) == 3, "all")
    assert numbers(link.ingress.messages) == [1, 2, 3]


def test_who_is_interrupted_while_it_asks_for_a_connection_leaves_that_to_the_next(make: Callable[..., Link]) -> None:
    asked: list[int] = []

    def ask() -> None:
        asked.append(1)
        if len(asked) == 1:
            raise Interrupted

    link = make(opened=False, on_wanted=ask)
    link.up.answered()
    with pytest.raises(Interrupted):
        link.up.publish(TOPIC, 1)
    for _ in range(2):
        link.up.publish(TOPIC, 1)
    assert len(asked) == 2


def test_a_connection_that_cannot_be_begun_is_tried_again(
    make: Callable[..., Link], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For lack of files, say: it ended the node."""
    link = make(opened=False)
    link.up.answered()
    link.up.publish(TOPIC, 1)
    with monkeypatch.context() as without:
        without.setattr(sockets, "push", mock.Mock(side_effect=TransportError("too many files")))
        assert not link.up.open(link.ingress.endpoint) and not link.up.open(link.ingress.endpoint)
    with monkeypatch.context() as without:
        without.setattr(sockets, "monitor", mock.Mock(side_effect=TransportError("cannot watch a socket")))
        assert not link.up.open(link.ingress.endpoint)
    assert link.up.not_opened == 3 and caplog.text.count("which is tried again") == 1
    link.connect()
    until(lambda: len(link.ingress.read(5)) == 1, "what was kept")


def test_topics_beyond_the_limit_leave_their_tails_behind_what_is_kept(
    make: Callable[..., Link], monkeypatch: pytest.MonkeyPatch
) -> None:
    link = make(opened=False)
    link.up.answered()
    link.up.publish(TOPIC, 1)
    monkeypatch.setattr(link.up._numbering, "next", mock.Mock(side_effect=StateError("numbering", "full", "use")))
    monkeypatch.setattr(link.up._numbering, "restart", lambda publisher: [(TOPIC, 1)])
    with pytest.raises(StateError):
        link.up.publish(OTHER, 2)
    monkeypatch.undo()
    link.connect()
    until(lambda: len(link.ingress.read(5)) == 2, "the message and its tail")
    assert [(each.number, each.headers) for each in link.ingress.messages] == [(1, {}), (1, {"tail": True})]
    assert link.up.published == 1


def test_what_is_kept_has_a_bound_and_who_meets_it_waits(make: Callable[..., Link]) -> None:
    link = make(opened=False, max_unconfirmed_bytes=1_000)
    link.up.answered()
    accepted = 0
    with pytest.raises(NotConnected, match="was not accepted"):
        while True:
            link.up.publish(TOPIC, bytes(200))
            accepted += 1
    assert link.up.published == accepted == 3
    link.up.close_gate()
    with pytest.raises(NotConnected):
        link.up.publish(TOPIC, 1)
    link.connect()
    assert link.up.publish(TOPIC, "next") == 4, "no number was taken by what was refused"
    until(lambda: len(link.ingress.read(5)) == 4, "all")
    assert link.up.uncertain == 0


# ── what is retained ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_is_to_be_retained_says_so_and_its_publisher_is_told_once(make: Callable[..., Link]) -> None:
    clock, told = iter([1000, 2000, 1500, 1500, 9000, 9000, 9000]), list[int]()
    link = make(time_ns=lambda: next(clock), on_retains=told.append)  # the first one is the probe's
    for payload, expires_s in ((1, 0), (2, 60), (None, 0)):
        link.up.publish_carefully(TOPIC, payload, {"x": 1}, None, expires_s)
    until(lambda: len(link.ingress.read(5)) == 3, "all have arrived")
    assert [m.payload for m in link.ingress.messages] == [1, 2, None]
    assert [dict(m.headers) for m in link.ingress.messages] == [{"x": 1, "retain": each} for each in (0, 60, 0)]
    assert [m.sent_ns for m in link.ingress.messages] == [2000, 2001, 2002], "also where the clock goes back"
    assert told == [link.up.publisher]


def test_what_another_publisher_set_is_held_with_its_time_and_sent_with_the_next_tick(
    make: Callable[..., Link],
) -> None:
    told: list[int] = []
    link = make(on_retains=told.append)
    assert link.up.hold(TOPIC, "lost", {"x": 1}, sent_ns=500, expires_s=0)
    assert not link.up.hold(TOPIC, "older", None, sent_ns=499, expires_s=0)
    assert not link.up.is_settled and told == [link.up.publisher]
    link.tick()
    until(lambda: len(link.ingress.read(5)) == 1, "it has come")
    [message] = link.ingress.messages
    assert (message.payload, message.publisher, message.sent_ns) == ("lost", link.up.publisher, 500)
    assert dict(message.headers) == {"x": 1, "held": True, "retain": 0}
    assert link.up.published == 0 and link.up.publish(TOPIC, "first") == 1, "it is no message"
    link.up.finish()
    with pytest.raises(StateError):
        link.up.hold(OTHER, "x", None, sent_ns=1, expires_s=0)


def test_on_another_connection_values_are_sent_again_behind_what_is_not_confirmed(
    make: Callable[..., Link], context: sockets.Context
) -> None:
    link = make()
    for topic, payload in ((TOPIC, "old"), (TOPIC, "new"), (OTHER, "x")):
        link.up.publish_carefully(topic, payload, None, None, 0)
    link.confirm()
    for _ in range(100):
        link.tick()  # past the time for which what is confirmed is kept
    link.up.publish(TOPIC, "live")
    published = link.up.published
    other = Ingress(context)
    link.up.close_gate()
    link.connect(other)
    for _ in range(5):
        link.tick()
    until(lambda: len(other.read(5)) == 3 and other.marks[-1][1] > 0, "all have come, and the watermark behind them")
    found = [(m.topic, m.payload, m.number, bool(m.headers.get("held"))) for m in other.messages]
    assert found[0] == ("a/b", "live", 3, False)
    assert sorted(found[1:]) == [("a/b", "new", 2, True), ("c", "x", 1, True)]
    assert link.up.published == published, "they are no messages"
    assert not link.up.is_settled and link.up.reholding.sent == 2
    assert link.up.watermark_returned(other.marks[-1], link.now) and link.up.is_settled
    other.close()


def test_values_go_out_a_bounded_number_at_a_time_and_closing_waits_for_them(
    make: Callable[..., Link], context: sockets.Context
) -> None:
    link = make(hwm_msgs=10_000)
    count = 2 * PARTS_PER_TURN + 1
    for number in range(count):
        link.up.publish_carefully(b"t/%d\0" % number, number, None, None, 0)
    link.ingress.read(5)
    link.confirm()
    for _ in range(100):
        link.tick()
    other = Ingress(context, recv_hwm=10_000)
    link.up.close_gate()
    link.connect(other)
    sent = [link.up.reholding.sent]
    while link.up.reholding.is_due:
        assert not link.up.is_settled and link.up.wait_confirmed(0.0) >= 0
        link.tick()
        sent.append(link.up.reholding.sent)
    assert sent[-1] == count and all(more - before <= PARTS_PER_TURN for before, more in itertools.pairwise(sent))
    assert link.up.unconfirmed == 1, "once the last has arrived all have"
    link.up.superseded("t/5", 2**63)
    link.up.rehold()
    link.tick()
    assert link.up.reholding.is_due
    other.close()


def test_what_does_not_fit_the_bound_is_uncertain_when_the_connection_breaks(make: Callable[..., Link]) -> None:
    link = make(max_unconfirmed_bytes=1_000, forgets_unconfirmed=True)
    for _ in range(10):
        link.up.publish(TOPIC, bytes(200))
    assert link.up.close_gate() == link.up.uncertain > 3
    assert link.up.close_gate() == 0, "told once"


LARGE = bytes(100_000)


def filled(link: Link) -> int:
    """Publish until it is refused; return how many were accepted."""
    accepted = 0
    with pytest.raises(HighWaterMarkReached, match="max_unconfirmed_bytes wait for that"):
        while accepted < 1_000:
            link.up.publish(TOPIC, LARGE)
            accepted += 1
    return accepted


def test_who_meets_the_bound_of_what_is_unconfirmed_waits_and_is_refused(make: Callable[..., Link]) -> None:
    link = make()
    accepted = filled(link)
    assert accepted == 10, "a million bytes"
    assert link.up.waits == 1 and link.up.waited_s >= 0.3
    assert link.up.close_gate() == 0, "nothing was given up for it"


def test_a_watermark_is_sent_at_once_for_who_waits_and_its_return_lets_him_go_on(make: Callable[..., Link]) -> None:
    link = make(send_timeout_s=20)
    done: list[int] = []
    publisher = threading.Thread(target=lambda: done.extend(link.up.publish(TOPIC, LARGE) for _ in range(30)))
    publisher.start()
    while publisher.is_alive():  # no tick comes: only who waits sends watermarks
        marks = len(link.ingress.marks)
        link.ingress.read(5)
        if len(link.ingress.marks) > marks:
            link.up.watermark_returned(link.ingress.marks[-1], link.now)
    assert done == list(range(1, 31))
    until(lambda: len(link.ingress.read(5)) == 30, "the last of them arrived")
    assert numbers(link.ingress.messages) == done
    assert link.up.waits >= 2


def test_small_messages_meet_the_bound_too(make: Callable[..., Link]) -> None:
    link = make(hwm_msgs=100_000)
    with pytest.raises(HighWaterMarkReached):
        for _ in range(100_000):
            link.up.publish(TOPIC, "x" * 100)
    assert 5_000 < link.up.published < 8_000, "at 100 bytes and what each costs, and 256 are counted together"


def test_the_io_thread_does_not_wait_for_what_only_itself_would_hear(make: Callable[..., Link]) -> None:
    link = make(send_timeout_s=3600)
    link.up.io_thread = threading.get_ident()
    assert filled(link) == 10


# --- a Ctrl-C in the middle


RING = 1_200
"""Bytes of the ring, and of what is kept: a few parts, so that old ones go while others come."""


def sums(link: Link, ring: Ring) -> None:
    """What is counted is what is there."""
    kept = link.up._unconfirmed
    assert kept._held == sum(len(batch) for batch, _ in kept._batches)
    assert kept._bytes == sum(len(part) + 60 for batch, _ in kept._batches for part in batch)
    assert ring._bytes == sum(chunk.size for chunk in ring._chunks)
    values = link.up.reholding._values
    assert values._bytes == sum(held.size for held in values._held.values())


STRUCK: dict[str, Callable[[Link, bytes, int], object]] = {
    "number": lambda link, topic, n: link.up.publish(topic, n),
    "map": lambda link, topic, n: link.up.publish(topic, {"n": n}),
    "headers": lambda link, topic, n: link.up.publish(topic, {"n": n}, {"by": "me"}),
    "retained": lambda link, topic, n: link.up.publish_carefully(topic, n, None, None, 60),
    "cleared": lambda link, topic, n: link.up.publish_carefully(topic, None, None, None, 0),
    "many": lambda link, topic, n: link.up.outlet.publish_many([("a", n)] * 3, {"a": topic}, lambda *_: 0),
}


def messages_in(parts: Iterable[bytes]) -> list[tuple[str, int]]:
    """(topic, number) of those that are messages."""
    found = [decode(part) for part in parts]
    return [(m.topic, m.number) for m in found if not {"tail", "held"} & m.headers.keys() and m.topic[0] != "$"]


def without_a_hole(messages: list[tuple[str, int]]) -> bool:
    """Whether each topic has all its numbers once, in order."""
    last = Counter[str]()
    for topic, number in messages:
        last[topic] += 1
        if number != last[topic]:
            return False
    return True


def comes(link: Link, topic: bytes, number: int) -> None:
    last = [(topic[:-1].decode(), number)]
    until(lambda: link.ingress.read(5) and messages_in(link.ingress.parts[-2:])[-1:] == last, "the next")


def twice(fun: Callable[..., object], *args: object) -> None:
    fun(*args)
    fun(*args)


@pytest.mark.parametrize("is_first", [False, True], ids=["known", "first"])
@pytest.mark.parametrize("what", STRUCK)
def test_wherever_an_interrupt_strikes_nothing_is_lost_told_as_lost_or_sent_twice(
    make: Callable[..., Link], monkeypatch: pytest.MonkeyPatch, what: str, is_first: bool
) -> None:
    monkeypatch.setattr("fabric.node.uplink.FRESH_PARTS", 2)
    ring = Ring(max_bytes=RING)
    link = make(ring=ring, max_unconfirmed_bytes=RING, forgets_unconfirmed=True)
    topic, at = TOPIC, 1
    if not is_first:
        link.up.publish(topic, 0)
    while struck(at, twice, STRUCK[what], link, topic, at):
        comes(link, topic, link.up.publish(topic, "next"))
        sums(link, ring)
        in_ring = [n for n, _ in ring.find(topic, link.up.publisher, [(1, 10**6)])]
        assert in_ring == sorted(set(in_ring)), "each once"
        if at % 3 == 0:
            kept = messages_in(link.up._unconfirmed.kept())
            assert kept == messages_in(link.ingress.parts)[-len(kept) :], "in the order in which they went"
            link.tick()
        at += 1
        if is_first:
            topic = b"t/%d\0" % at
    assert at > 15, "it has struck somewhere"
    assert without_a_hole(messages_in(link.ingress.parts))


@pytest.mark.parametrize("what", STRUCK)
def test_wherever_an_interrupt_strikes_what_is_kept_goes_once_there_is_a_connection(
    make: Callable[..., Link], what: str
) -> None:
    at, struck_somewhere = 1, True
    while struck_somewhere:
        link = make(opened=False, max_unconfirmed_bytes=2_000)
        link.up.answered()
        link.up.publish(TOPIC, 0)
        struck_somewhere = struck(at, STRUCK[what], link, TOPIC, 1)
        last = link.up.publish(TOPIC, "next")
        link.connect()
        link.tick()
        comes(link, TOPIC, last)
        assert without_a_hole(messages_in(link.ingress.parts))
        link.up.close()
        at += 1
    assert at > 15, "it has struck somewhere"


def test_wherever_an_interrupt_strikes_who_waits_for_room_nobody_waits_for_ever() -> None:
    side, at = Side(10**6, careful=False), 1
    side.send(TOPIC, 0, None)
    side.wire.refusals = 2
    while struck(at, side.publish, TOPIC, {"n": at}, None, 5.0):
        side.wire.refusals = 0
        assert not side.up.is_within and side.up._stalled is None
        assert side.publish(TOPIC, "next", None, 0.0) == messages_in(side.wire.parts)[-1][1]
        side.wire.refusals = 2
        at += 1
    assert at > 50 and without_a_hole(messages_in(side.wire.parts))
    assert side.up.published == len(messages_in(side.wire.parts))


def test_wherever_an_interrupt_strikes_a_nested_message_goes_once(make: Callable[..., Link]) -> None:
    link, at = make(), 1
    link.up.publish(TOPIC, 0)
    while True:
        link.up._nested.keep(OTHER, at, None)
        link.up.outlet.plain = False
        if not struck(at, link.up.publish, TOPIC, {"n": at}):
            break
        link.up.publish(TOPIC, "next")
        at += 1
    until(lambda: [m.payload for m in link.ingress.read(5) if m.topic == "c"] == list(range(1, at + 1)), "each once")
    assert at > 50 and without_a_hole(messages_in(link.ingress.parts))


# --- nested: what interrupts a publish of its own thread


class Interrupting:
    """A clock that calls back, once for each function given: within the publish that asks for the time."""

    def __init__(self) -> None:
        self.armed: list[Callable[[], object]] = []

    def __call__(self) -> int:
        if self.armed:
            self.armed.pop()()
        return 10**18


@pytest.mark.parametrize("outer", ["first", "known", "with headers"])
def test_a_nested_message_is_sent_behind_the_one_it_interrupts(make: Callable[..., Link], outer: str) -> None:
    clock, returned, payload = Interrupting(), list[int](), {"a": [1]}
    link = make(time_ns=clock)
    if outer == "known":
        link.up.publish(TOPIC, {"n": 0})

    def interrupt() -> None:
        if link.up.is_within:  # the compiled short way is not interrupted: it asks no clock of Python's by itself
            returned.append(link.up.publish(TOPIC, payload))
            returned.append(link.up.publish(OTHER, 2, {"by": "me"}))
            payload["a"].append(2)

    clock.armed.append(interrupt)
    headers = {"by": "you"} if outer == "with headers" else None
    outermost = link.up.publish(TOPIC, {"n": 1}, headers)
    if not returned:
        assert outer == "known"
        return
    assert returned == [0, 0]
    link.tick()
    until(lambda: len(link.ingress.read(5)) >= outermost + 2, "all")
    assert [(each.topic, each.number, each.payload) for each in link.ingress.messages[-3:]] == [
        ("a/b", outermost, {"n": 1}), ("a/b", outermost + 1, {"a": [1]}), ("c", 1, 2)
    ]  # fmt: skip


def test_nothing_overtakes_a_nested_message(make: Callable[..., Link]) -> None:
    clock = Interrupting()
    link = make(time_ns=clock)
    clock.armed.append(lambda: link.up.publish(TOPIC, "nested"))
    link.up.publish(TOPIC, "first")
    assert link.up.publish(TOPIC, "behind") == 3
    until(lambda: len(link.ingress.read(5)) == 3, "all")
    assert [each.payload for each in link.ingress.messages] == ["first", "nested", "behind"]


def test_what_cannot_be_sent_is_refused_to_who_interrupts(make: Callable[..., Link]) -> None:
    clock, refused = Interrupting(), list[str]()
    link = make(time_ns=clock)

    def interrupt() -> None:
        with pytest.raises(LocalWireError) as error:
            link.up.publish(TOPIC, object())
        refused.append(str(error.value))

    clock.armed.append(interrupt)
    assert link.up.publish(TOPIC, "first") == 1 and refused
    assert link.up.publish(TOPIC, "second") == 2


def test_who_is_closed_within_a_publish_sends_what_was_nested(make: Callable[..., Link]) -> None:
    clock = Interrupting()
    link = make(time_ns=clock)
    clock.armed.append(lambda: link.up.publish(TOPIC, "nested"))
    link.up.publish(TOPIC, "first")
    assert not link.up.is_settled
    link.up.finish()
    until(lambda: len(link.ingress.read(5)) == 2, "both")


def test_what_cannot_be_sent_takes_no_number(make: Callable[..., Link]) -> None:
    link = make(max_payload_bytes=100)
    for payload in (object(), bytes(1_000)):
        with pytest.raises(LocalWireError):
            link.up.publish(TOPIC, payload)
    assert link.up.publish(TOPIC, 1) == 1 and link.up.published == 1


def test_a_full_queue_refuses_after_the_time_out_and_takes_no_number(make: Callable[..., Link]) -> None:
    link = make(hwm_msgs=5, recv_hwm=5, max_unconfirmed_bytes=10**9)
    accepted = 0
    with pytest.raises(HighWaterMarkReached, match=r"took nothing for 0\.3 s"):
        while True:
            link.up.publish(TOPIC, bytes(900_000))
            accepted += 1
    with pytest.raises(HighWaterMarkReached, match="for 0 s"):
        link.up.publish(TOPIC, bytes(900_000), timeout_s=0)
    until(lambda: len(link.ingress.read(5)) == accepted, "the queue has emptied")
    assert link.up.waits >= 2 and 0.3 <= link.up.waited_s < 20, "one before may have waited for a moment"
    assert link.up.publish(TOPIC, "next") == accepted + 1


def test_publishers_wait_for_room_and_keep_their_order(make: Callable[..., Link]) -> None:
    link = make(hwm_msgs=5, recv_hwm=5, send_timeout_s=20, max_unconfirmed_bytes=10**9)
    threads = [
        threading.Thread(target=lambda: [link.up.publish(TOPIC, bytes(100_000)) for _ in range(50)]) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(link.ingress.read(5)) == 150, "all have come through the eye of the needle")
    for thread in threads:
        thread.join()
    assert numbers(link.ingress.messages) == list(range(1, 151))


def test_without_a_connection_publishers_wait_and_are_refused(make: Callable[..., Link]) -> None:
    link = make()
    link.up.close_gate()
    start = time.monotonic()
    with pytest.raises(NotConnected, match=r"no proxy for 0\.3 s; the message was not accepted"):
        link.up.publish(TOPIC, 1)
    assert time.monotonic() - start >= 0.29
    link.connect()
    assert (link.up.publish(TOPIC, 2), link.up.waits) == (1, 1) and link.up.waited_s >= 0.29


def test_a_publisher_that_waits_goes_on_when_the_connection_is_there(make: Callable[..., Link]) -> None:
    link = make(send_timeout_s=20)
    link.up.close_gate()
    published: list[int] = []
    waiter = threading.Thread(target=lambda: published.append(link.up.publish(TOPIC, 1)))
    waiter.start()
    link.connect()
    waiter.join(10)
    assert published == [1]


def test_the_io_thread_never_waits_for_a_connection_that_only_it_can_make(make: Callable[..., Link]) -> None:
    link = make(send_timeout_s=20)
    link.up.io_thread = threading.get_ident()
    link.up.close_gate()
    start = time.monotonic()
    with pytest.raises(NotConnected):
        link.up.publish(TOPIC, 1)
    assert time.monotonic() - start < 5


def test_a_quiet_topic_gets_its_tail_once(make: Callable[..., Link]) -> None:
    link = make()
    for n in range(3):
        link.up.publish(TOPIC, n)
    for _ in range(300):
        link.tick()
    until(lambda: len(link.ingress.read(5)) == 4, "three messages and a tail")
    tail = link.ingress.messages[-1]
    assert (tail.number, tail.payload, tail.headers) == (3, None, {"tail": True})


def test_it_says_when_a_tick_is_due_though_all_is_settled(make: Callable[..., Link]) -> None:
    link = make()
    link.tick(1.0)
    assert link.up.is_settled and link.up.due_at == math.inf
    link.up.publish(TOPIC, 1)
    link.confirm()
    assert link.up.is_settled and link.up.due_at <= link.now + GENERATION_S, "its tail is still to come"
    for _ in range(300):
        link.tick()
    link.confirm()
    link.tick(0.6)
    assert link.up.is_settled and 1.0 < link.up.due_at - link.now <= REPEAT_TAILS_S[0], "and to be repeated"


def test_finish_sends_the_tails_and_waits_for_what_is_not_confirmed(make: Callable[..., Link]) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    link.up.finish()
    with pytest.raises(StateError, match="closed"):
        link.up.publish(TOPIC, 2)
    assert link.up.wait_confirmed(0.05) == 1
    link.tick()
    link.tick()
    until(lambda: link.ingress.read(5) and link.ingress.marks[-1][:2] == [1, 2], "a watermark behind the tail")
    assert link.ingress.messages[-1].headers == {"tail": True}
    assert link.up.watermark_returned(link.ingress.marks[-1], link.now) and link.up.wait_confirmed(5) == 0


def test_abandoned_it_raises_what_it_was_given(make: Callable[..., Link]) -> None:
    link = make()
    link.up.abandon(StateError("node", "forked", "use"))
    with pytest.raises(StateError, match="forked"):
        link.up.publish(TOPIC, 1)


def test_a_connection_that_cannot_be_made_is_told_as_closed(
    context: sockets.Context, make: Callable[..., Link]
) -> None:
    link = make()
    assert link.up.open("ipc:///nowhere/at/all")
    until(lambda: link.up.events() == ["closed"], "it cannot be made")


# --- the hot path against the careful one -----------------------------------------------------------------------------


class Interrupted(BaseException):
    """A Ctrl-C that strikes in the middle of sending."""


class Wire:
    """A PUSH socket that keeps what it is given. `state` says what happens to the next parts.

    full:     refused for want of room
    broken:   refused for good
    struck:   accepted, and then interrupted
    narrow:   refused once, then accepted and interrupted

    refusals: so many more are refused for want of room
    """

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.state = "open"
        self.refusals = 0

    def send(self, part: bytes, flags: int = 0) -> None:
        if self.refusals:
            self.refusals -= 1
            raise zmq.Again()
        if self.state == "narrow":
            self.state = "struck"
            raise zmq.Again()
        if self.state == "full":
            raise zmq.Again()
        if self.state == "broken":
            raise zmq.ZMQError(zmq.ETERM)
        self.parts.append(part)
        if self.state == "struck":
            raise Interrupted

    def disable_monitor(self) -> None: ...

    def close(self, linger: int = 0) -> None: ...


class Side:
    """An uplink over a `Wire`, and the publishing function that is tried."""

    def __init__(self, max_payload_bytes: int, *, careful: bool) -> None:
        ids = itertools.count(7)
        self.up = Uplink(
            None,  # type: ignore[arg-type]
            TOKEN,
            lambda: next(ids),
            hwm_msgs=100,
            max_payload_bytes=max_payload_bytes,
            max_unconfirmed_bytes=2_000,
            forgets_unconfirmed=True,  # else the two ways notice at different messages that it is full
            send_timeout_s=0.0,
            time_ns=self.time_ns,
            outlet=Kind.outlet,
        )
        self.up._numbering.max_topics = 3
        self.up._seal_key = bytes(16)  # else no two send the same
        self.publish = self.up.publish_carefully if careful else self.up.publish
        self.now = 100.0
        self.wire = Wire()
        self.connect()

    def time_ns(self) -> int:
        """Return the same for the same number of messages sent, in whatever number of calls."""
        return 10**18 + len(self.wire.parts)

    def connect(self) -> None:
        self.wire, old = Wire(), self.wire
        self.wire.parts = old.parts
        fakes: dict[str, Any] = {
            "push": lambda *_, **__: self.wire,
            "fast_send": lambda wire: wire.send,
            "monitor": lambda *_: SimpleNamespace(close=lambda: None),
            "connect": lambda *_: None,
        }
        with mock.patch.multiple(sockets, **fakes), mock.patch("fabric.core.outlet.fast_send", lambda wire: wire.send):
            assert self.up.open("anywhere")
        self.up.proven(self.now, 0.5)

    def disconnect(self) -> None:
        self.up.close_gate()

    def set_state(self, state: str) -> None:
        self.wire.state = state

    def tick(self, passed_s: float) -> None:
        self.now += passed_s
        try:
            self.up.tick(self.now)
        except Interrupted:
            self.wire.state = "open"

    def confirm(self) -> None:
        self.up.watermark_returned(self.up._watermark(self.up._unconfirmed.sent), self.now)

    def send(self, prefix: bytes, payload: Any, headers: Any) -> Any:
        """Return the number, or the error as text."""
        try:
            return self.publish(prefix, payload, headers, 0.0)
        except Interrupted:
            self.wire.state = "open"
            return "interrupted"
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    def told(self) -> dict[str, Any]:
        up = self.up
        counted = ("publisher", "published", "unconfirmed", "uncertain", "resent")
        return {
            "parts": self.wire.parts,
            "numbers": up._numbering.numbers,
            "kept": up._unconfirmed.kept(),
            **{name: getattr(up, name) for name in counted},
        }


class Colour(enum.IntEnum):
    RED = 3


class Text(str):
    __slots__ = ()


class Real(float): ...


class Whole(int): ...


class Blob(bytes): ...


PREFIXES = (b"a/b\0", b"c\0", b"d\0", b"e\0")
ODD_PAYLOADS = (
    *(Colour.RED, Text("x"), Real(1.5), Whole(7), Blob(b"x"), bytearray(b"x"), True, False),
    *(2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, Whole(2**64), float("nan")),
    *("\ud800", ["\ud800"], {"\ud800": 1}, "é" * 40, nested(64), nested(65)),
    *("x" * size for size in (SMALL - 1, SMALL, SMALL + 1, 99, 100, 101, 4 * SMALL, 4 * SMALL + 1)),
    *(bytes(size) for size in (SMALL, SMALL + 1, 100, 101, 4 * SMALL, 4 * SMALL + 1, 4 * SMALL + ENVELOPE_BYTES)),
    *("é" * size for size in (SMALL, 50, 51, 100, 4 * SMALL)),
    *NO_PAYLOADS.values(),
)
ANY_PAYLOADS = st.one_of(st.sampled_from([None, 1, "x", 1.5, b"x"]), PAYLOADS, st.sampled_from(ODD_PAYLOADS))
ANY_HEADERS: Any = st.one_of(
    st.none(),
    st.none(),
    st.none(),
    st.sampled_from([{}, {"k": "v"}, {"moved": False}, {1: 2}, {"k": object()}, [], [1], "x", 7, 0]),
    st.just(MappingProxyType({"k": "v"})),
)
PUBLISH_STEPS = st.one_of(
    st.tuples(st.just("send"), st.sampled_from(PREFIXES[:2]), ANY_PAYLOADS, st.none()),
    st.tuples(st.just("send"), st.sampled_from(PREFIXES[:2]), ANY_PAYLOADS, st.none()),
    st.tuples(st.just("send"), st.sampled_from(PREFIXES), ANY_PAYLOADS, ANY_HEADERS),
    st.tuples(st.just("set_state"), st.sampled_from(["open", "open", "full", "broken", "struck"])),
    st.tuples(st.just("tick"), st.sampled_from([0.01, 0.3, 1.0, 2.0])),
    st.tuples(st.sampled_from(["confirm", "connect", "disconnect"])),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PUBLISH_STEPS, min_size=15, max_size=60), st.sampled_from([4 * SMALL, 4 * SMALL - 1, 100, 16, 10**6]))
def test_publishing_does_what_its_careful_way_alone_does(steps: list[tuple[Any, ...]], max_payload_bytes: int) -> None:
    sides = [Side(max_payload_bytes, careful=careful) for careful in (False, True)]
    for name, *arguments in steps:
        ours, careful = (getattr(side, name)(*arguments) for side in sides)
        assert ours == careful
        ours, careful = (side.told() for side in sides)
        assert ours == careful


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("headers", [[1], "x", 7, MappingProxyType({"k": "v"}), {"k": object()}, {1: 2}])
def test_headers_that_are_none_are_refused_after_a_move_as_before_it_and_take_no_number(
    moved: bool, headers: Any
) -> None:
    side = Side(10**6, careful=False)
    if moved:
        side.connect()
    assert side.send(TOPIC, 1, headers).startswith("LocalWireError: ")
    assert side.send(TOPIC, 2, None) == 1


@pytest.mark.parametrize("state", ["struck", "narrow"])
@pytest.mark.parametrize("payload", ["small", ["nested"]])
@pytest.mark.parametrize("before", [0, 1])
def test_a_number_that_may_be_on_its_way_never_goes_to_another_message(state: str, payload: Any, before: int) -> None:
    """Receivers would drop the other one as a duplicate."""
    side = Side(10**6, careful=False)
    for _ in range(before):
        side.send(TOPIC, 0, None)
    side.set_state(state)
    with pytest.raises(Interrupted):
        side.up.publish(TOPIC, payload, None, 5.0)
    side.set_state("open")
    assert side.send(TOPIC, "next", None) == before + 2
    sent = [decode(part) for part in side.wire.parts if not part.startswith(b"$")]
    assert numbers(sent) == list(range(1, before + 3))


@pytest.mark.parametrize("payload", [None, True, 7, 1.5, "x" * SMALL, bytes(SMALL)])
def test_a_small_payload_on_a_known_topic_takes_the_hot_path(payload: Any) -> None:
    """Or the comparison above would hold the careful way against itself."""
    side = Side(10**6, careful=False)
    side.send(TOPIC, 0, None)
    with mock.patch.object(side.up, "_send_message", side_effect=AssertionError("the careful way")):
        assert side.send(TOPIC, payload, None) == 2
    assert decode(side.wire.parts[-1]).payload == payload

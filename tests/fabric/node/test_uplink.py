"""Uplink: numbers, order and what is sent again, against a PULL socket in the place of a proxy's ingress."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.errors import HighWaterMarkReached, LocalWireError, NotConnected, StateError
from fabric.node.uplink import REMARK_S, Uplink
from fabric.wire import Message, decode
from tests.support.waiting import until

TOKEN = "0123"
TOPIC, OTHER = b"a/b\0", b"c\0"


class Ingress:
    """The receiving end: what came, and the watermarks' way back."""

    def __init__(self, context: sockets.Context, *, recv_hwm: int = 1_000) -> None:
        self.socket = sockets.pull(context, recv_hwm=recv_hwm)
        self.socket.bind("ipc://*")
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.messages: list[Message] = []
        self.marks: list[Any] = []

    def read(self, wait_ms: int = 0) -> list[Message]:
        """Return all messages so far; watermarks go to `marks`."""
        while self.socket.poll(wait_ms):
            message = decode(self.socket.recv())
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
        self.up = Uplink(context, TOKEN, lambda: next(numbers), **{**limits, "send_timeout_s": 0.3, **options})
        self.now = 100.0
        self.connect()

    def connect(self, ingress: Ingress | None = None) -> None:
        """Open a connection and prove it, as the node does."""
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
    until(lambda: link.ingress.read(5) and link.ingress.marks[-2:] == [[1, 1], [1, 1]], "it comes twice")
    assert link.up.watermark_returned([1, 1], link.now) and link.up.unconfirmed == 0


@pytest.mark.parametrize("payload", [None, 1, [], [1], ["1", 1], [1, 1, 1], [2, 1], [True, 1], {"a": 1}])
def test_what_is_no_watermark_of_this_connection_confirms_nothing(make: Callable[..., Link], payload: Any) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    assert not link.up.watermark_returned(payload, link.now) and link.up.unconfirmed == 1


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


def test_what_does_not_fit_the_bound_is_uncertain_when_the_connection_breaks(make: Callable[..., Link]) -> None:
    link = make(max_unconfirmed_bytes=1_000)
    for _ in range(10):
        link.up.publish(TOPIC, bytes(200))
    assert link.up.close_gate() == link.up.uncertain > 3
    assert link.up.close_gate() == 0, "told once"


def test_what_cannot_be_sent_takes_no_number(make: Callable[..., Link]) -> None:
    link = make(max_payload_bytes=100)
    for payload in (object(), bytes(1_000)):
        with pytest.raises(LocalWireError):
            link.up.publish(TOPIC, payload)
    assert link.up.publish(TOPIC, 1) == 1 and link.up.published == 1


def test_a_full_queue_refuses_after_the_time_out_and_takes_no_number(make: Callable[..., Link]) -> None:
    link = make(hwm_msgs=5, recv_hwm=5)
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
    link = make(hwm_msgs=5, recv_hwm=5, send_timeout_s=20)
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


def test_finish_sends_the_tails_and_waits_for_what_is_not_confirmed(make: Callable[..., Link]) -> None:
    link = make()
    link.up.publish(TOPIC, 1)
    link.up.finish()
    with pytest.raises(StateError, match="closed"):
        link.up.publish(TOPIC, 2)
    assert link.up.wait_confirmed(0.05) == 1
    link.tick()
    link.tick()
    until(lambda: link.ingress.read(5) and link.ingress.marks[-1:] == [[1, 2]], "a watermark behind the tail")
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

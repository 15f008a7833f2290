"""Local messages obey the rules of what is sent: checked alike, handed out as copies, bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from fabric.errors import HighWaterMarkReached, LocalWireError
from fabric.node.local import LocalMessages
from fabric.wire import Message, decode, encode


class Desk:
    """A node's I/O thread, turned by hand."""

    def __init__(self, max_msgs: int = 1_000, max_bytes: int = 1 << 20, send_timeout_s: float = 0.05) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.got: list[Message] = []
        self.kept: list[tuple[Message, int, int]] = []
        self.inside = False
        self.local = LocalMessages(
            self.waiting.append,
            self.got.append,
            lambda *kept: self.kept.append(kept),
            lambda: self.inside,
            lambda: 7,
            max_msgs=max_msgs,
            max_bytes=max_bytes,
            max_payload_bytes=100_000,
            send_timeout_s=send_timeout_s,
        )

    def publish(self, topic: str, payload: Any, headers: Any = None, timeout_s: float | None = None) -> int:
        return self.local.publish(topic, payload, headers, timeout_s)

    def turn(self) -> list[Message]:
        while self.waiting:
            self.waiting.pop(0)()
        return self.got


def test_what_is_retained_is_kept_before_it_is_delivered_and_later_is_newer() -> None:
    desk = Desk()
    desk.local.publish("~/a", {"n": 1}, None, None, 5)
    desk.local.publish("~/a", None, None, None, 0)
    desk.publish("~/a", 2)
    assert not desk.kept
    desk.turn()
    assert [(kept.payload, size > 3, keep_s) for kept, size, keep_s in desk.kept] == [
        ({"n": 1}, True, 5),
        (None, True, 0),
    ]
    assert [message.sent_ns for message in desk.got] == sorted({message.sent_ns for message in desk.got})
    assert desk.got[0] is desk.kept[0][0]


def test_numbers_are_counted_for_each_topic() -> None:
    desk = Desk()
    assert [desk.publish(topic, None) for topic in ("~/a", "~/a", "~/b", "~/a")] == [1, 2, 1, 3]
    assert [(message.topic, message.number) for message in desk.turn()] == [
        ("~/a", 1), ("~/a", 2), ("~/b", 1), ("~/a", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "payload", [object(), {1: 2}, 2**64, "\ud800", [[]] * 10_000_000, b"x" * 200_000, {"a": {1, 2}}]
)
def test_what_cannot_be_sent_cannot_be_published_locally_and_takes_no_number(payload: Any) -> None:
    desk = Desk()
    with pytest.raises(LocalWireError):
        desk.publish("~/a", payload)
    with pytest.raises(LocalWireError):
        desk.publish("~/a", 1, {"of": payload})
    assert desk.publish("~/a", 1) == 1


@pytest.mark.parametrize("payload", [(1, [2]), bytearray(b"x"), True, 1.5, {"a": (1,)}])
def test_a_local_handler_gets_what_a_remote_one_would(payload: Any) -> None:
    desk = Desk()
    desk.publish("~/a", payload, {"by": payload})
    (message,) = desk.turn()
    sent = decode(encode("a", 7, 1, 0, payload, {"by": payload}))
    assert (message.payload, dict(message.headers)) == (sent.payload, dict(sent.headers))
    assert type(message.payload) is type(sent.payload)


def test_what_is_changed_after_publishing_changes_nothing() -> None:
    desk, payload = Desk(), {"list": [1]}
    desk.publish("~/a", payload)
    payload["list"].append(2)
    assert desk.turn()[0].payload == {"list": [1]}


@pytest.mark.parametrize("bounds", [{"max_msgs": 3}, {"max_bytes": 3_100}])
def test_when_too_many_wait_a_publisher_waits_and_is_refused(bounds: dict[str, int]) -> None:
    desk = Desk(**bounds)
    for _ in range(3):
        desk.publish("~/a", b"x" * 1_000)
    with pytest.raises(HighWaterMarkReached, match="3 local messages"):
        desk.publish("~/a", b"x" * 1_000)
    desk.turn()
    assert desk.publish("~/a", b"x" * 1_000) == 4, "the one that was refused took no number"


def test_one_that_is_larger_than_the_bound_goes_alone() -> None:
    desk = Desk(max_bytes=10)
    desk.publish("~/a", b"x" * 1_000)
    with pytest.raises(HighWaterMarkReached):
        desk.publish("~/a", 1, timeout_s=0)


def test_who_waits_goes_on_when_there_is_room() -> None:
    desk, numbers = Desk(max_msgs=1, send_timeout_s=30), list[int]()
    desk.publish("~/a", 1)
    waiter = threading.Thread(target=lambda: numbers.append(desk.publish("~/a", 2)))
    waiter.start()
    while waiter.is_alive():
        desk.turn()
        waiter.join(0.001)
    desk.turn()
    assert numbers == [2] and [message.payload for message in desk.got] == [1, 2]


def test_in_the_io_thread_nobody_waits_for_it() -> None:
    desk = Desk(max_msgs=1, send_timeout_s=3600)
    desk.publish("~/a", 1)
    desk.inside = True
    with pytest.raises(HighWaterMarkReached):
        desk.publish("~/a", 2)

"""Local messages: topics that begin with `~/`, which never leave their node. They obey the rules of what is sent.

A payload is checked as it would be for sending, and handlers get what they would have received: a copy. What waits to
be delivered is bounded, in messages and in bytes: then `publish` waits for room, and is refused in the end.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from fabric.errors import HighWaterMarkReached
from fabric.wire import NO_HEADERS, Encoder, Message, decode_body

MAX_TOPICS = 100_000
"""Topics whose messages are counted; beyond, all counts begin again."""


class LocalMessages:
    """Of one node. Any thread publishes.

    deliver:           has a function called in the node's I/O thread, which calls `deliver_now`
    deliver_now:       hands a message to its handlers, in the I/O thread
    keep:              keeps one as the last of its topic, with its bytes and for so many seconds; there, just before
    in_io_thread:      whether the caller is in it: there is no waiting there
    publisher:         the node's id at present
    max_msgs, max_bytes: bounds of what waits; one message may always
    send_timeout_s:    how long `publish` waits for room
    """

    def __init__(
        self,
        deliver: Callable[[Callable[[], None]], None],
        deliver_now: Callable[[Message], None],
        keep: Callable[[Message, int, int], None],
        in_io_thread: Callable[[], bool],
        publisher: Callable[[], int],
        *,
        max_msgs: int,
        max_bytes: int,
        max_payload_bytes: int,
        send_timeout_s: float,
    ) -> None:
        self._deliver, self._deliver_now, self._in_io_thread = deliver, deliver_now, in_io_thread
        self._keep = keep
        self._publisher, self._max_msgs, self._max_bytes = publisher, max_msgs, max_bytes
        self._max_payload_bytes, self._send_timeout_s = max_payload_bytes, send_timeout_s
        self._changed = threading.Condition(threading.RLock())
        """Guards what follows; told when there is room. A signal handler may publish while its thread holds it."""
        self._numbers: Counter[str] = Counter()
        """Last numbers, by topic; emptied at `MAX_TOPICS`."""
        self._waiting = self._waiting_bytes = 0
        """Messages that were accepted and not delivered yet, and their packed bytes."""
        self._sent_ns = 0
        """When the last one was sent; each is later than the one before, also where the clock went back."""

    def publish(
        self,
        topic: str,
        payload: Any,
        headers: dict[str, Any] | None,
        timeout_s: float | None,
        keep_s: int | None = None,
    ) -> int:
        """Have one message delivered, and return its number; the arguments are those of `Node.publish`.

        errors: LocalWireError, HighWaterMarkReached
        """
        body = Encoder(0, self._max_payload_bytes).part(b"", 1, 0, payload, headers)
        _, _, _, payload, read = decode_body(body, self._max_payload_bytes)
        with self._changed:
            self._wait_for_room(len(body), self._send_timeout_s if timeout_s is None else timeout_s)
            if len(self._numbers) >= MAX_TOPICS:
                self._numbers.clear()
            self._numbers[topic] += 1
            self._sent_ns = max(time.time_ns(), self._sent_ns + 1)
            message = Message(
                topic, payload, self._publisher(), self._numbers[topic], self._sent_ns, read or NO_HEADERS
            )
            self._waiting += 1
            self._waiting_bytes += len(body)
            self._deliver(lambda: self._done(message, len(body), keep_s))  # under the lock: they keep their order
            return message.number

    def _wait_for_room(self, size: int, timeout_s: float) -> None:
        if self._has_room(size):
            return
        if self._in_io_thread():
            timeout_s = 0.0
        if not self._changed.wait_for(lambda: self._has_room(size), timeout_s):
            raise HighWaterMarkReached(
                f"the node's callbacks took nothing for {timeout_s:g} s: {self._waiting} local messages of "
                f"{self._waiting_bytes} bytes wait; the message was not accepted"
            )

    def _has_room(self, size: int) -> bool:
        return self._waiting == 0 or (self._waiting < self._max_msgs and self._waiting_bytes + size <= self._max_bytes)

    def _done(self, message: Message, size: int, keep_s: int | None) -> None:
        with self._changed:
            self._waiting -= 1
            self._waiting_bytes -= size
            self._changed.notify_all()
        if keep_s is not None:
            self._keep(message, size, keep_s)
        self._deliver_now(message)

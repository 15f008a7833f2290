"""From a payload to a part that is sent, for every message that needs no care. The plain twin.

What such a message needs is a number, its encoding, and one send that does not wait. Whatever is out of the way (a
topic's first message, headers, a full queue, a connection that is not proven, a payload that has to be looked at) has
changed nothing when it is left to the careful way, which is an uplink's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from time import time_ns
from typing import Any, Protocol

import zmq
from msgpack import Packer  # type: ignore[import-untyped]

from fabric.errors import FabricError
from fabric.payloads import FLAT, NUMERIC
from fabric.sockets import Socket, fast_send, nowhere
from fabric.wire import FORMAT_VERSION, PACKING_ERRORS

SMALL = 1024
"""Characters, or bytes, of a payload that need not be measured once it is packed."""
_OUT_OF_THE_WAY = (*PACKING_ERRORS, zmq.ZMQError)

CarefulFun = Callable[[bytes, Any, dict[str, Any] | None, float | None], int]


class OwnLock(Protocol):
    """What a `threading.RLock` is. Nobody who has it waits for it: `_is_owned` is asked first."""

    def acquire(self, blocking: bool = True) -> bool: ...
    def release(self) -> None: ...
    def _is_owned(self) -> bool: ...
    def __enter__(self) -> bool: ...
    def __exit__(self, *_: Any) -> None: ...


class Numbers(Protocol):
    """What `fabric.node.numbering.Numbering` is to an outlet, which does the work of its `next`."""

    publisher: int
    numbers: dict[bytes, int]
    recent: dict[bytes, int]


class Kept(Protocol):
    """What `fabric.node.unconfirmed.Unconfirmed` is to an outlet, which does the work of its `add`."""

    fresh: list[bytes]

    def count_fresh(self) -> None: ...


class Outlet:
    """The short way of one uplink. Any thread publishes; who holds `lock` changes the fields below.

    lock:              made by `new_lock`. Orders the sends; held by who sends otherwise, or changes what is sent on
    kept:              where the parts are kept that were sent
    fresh_parts:       parts in `kept.fresh` at which they are counted
    careful:           the way of all that this does not send; the arguments are those of `publish`
    max_payload_bytes: larger ones go the careful way, which refuses them
    time_ns:           wall clock, ns since 1970
    """

    new_lock: Callable[[], OwnLock] = threading.RLock  # type: ignore[assignment]

    def __init__(
        self,
        lock: OwnLock,
        numbering: Numbers,
        kept: Kept,
        fresh_parts: int,
        careful: CarefulFun,
        max_payload_bytes: int,
        time_ns: Callable[[], int] = time_ns,
    ) -> None:
        self._lock, self._kept, self._fresh_parts = lock, kept, fresh_parts
        self._careful, self._time_ns = careful, time_ns
        self._small = SMALL if max_payload_bytes >= 4 * SMALL else -1
        """Longest payload for the short way; -1: none. A character has at most four bytes."""
        self._pack: Callable[[Any], bytes] = Packer().pack
        self._send: Callable[[bytes], object] = nowhere
        """`Socket.send` in C, which does not wait: the socket's SNDTIMEO is 0."""
        self.numbering = numbering
        """Whose numbers the messages get."""
        self.plain = False
        """A publisher need not wait, and nothing is added to the headers. May be cleared without the lock."""

    def connect(self, socket: Socket | None) -> None:
        """Send on `socket` from now on, or, with None, nowhere. With the lock held; `plain` is False then."""
        self._send = nowhere if socket is None else fast_send(socket)

    def publish(
        self, prefix: bytes, payload: Any, headers: dict[str, Any] | None = None, timeout_s: float | None = None
    ) -> int:
        """Number, encode and send one message; return its number. See `Node.publish` for the errors.

        timeout_s: instead of `send_timeout_s`; 0: this does not wait, and may be called in the I/O thread
        cost:      1.2 us by the short way, of which sending is a half. Calls are dear in Python
        """
        kind = type(payload)
        if self._lock._is_owned():
            pass  # a signal handler, or a destructor, within a call of this thread
        elif self.plain and headers is None and (kind in NUMERIC or (kind in FLAT and len(payload) <= self._small)):
            with self._lock:
                numbering = self.numbering
                if self.plain and (last := numbering.numbers.get(prefix)):
                    fresh, number = self._kept.fresh, last + 1
                    try:
                        body = self._pack((FORMAT_VERSION, numbering.publisher, number, self._time_ns(), payload))
                        part = prefix + body
                        # Taken before it is sent: whatever interrupts that, the number never goes to another message.
                        numbering.numbers[prefix] = numbering.recent[prefix] = number
                        self._send(part)
                    except _OUT_OF_THE_WAY:
                        numbering.numbers[prefix] = numbering.recent[prefix] = last
                    except BaseException:
                        if numbering.numbers[prefix] == number:
                            fresh += (part,)  # it may be on its way, and is kept for who misses it
                        raise
                    else:
                        fresh += (part,)  # no call since it was sent, and so no interrupt
                        if len(fresh) >= self._fresh_parts:
                            self._kept.count_fresh()
                        return number
        return self._careful(prefix, payload, headers, timeout_s)

    def publish_many(
        self,
        messages: Iterable[tuple[str, Any]],
        prefixes: dict[str, bytes],
        otherwise: Callable[[str, Any, float | None], int],
        timeout_s: float | None = None,
    ) -> int:
        """Publish all, in order; return how many. See `Node.publish_many` for the errors.

        prefixes:  of topics that were checked
        otherwise: publishes what has none; its arguments are topic, payload and `timeout_s`
        """
        accepted = 0
        try:
            for topic, payload in messages:
                prefix = prefixes.get(topic)
                if prefix is None:
                    otherwise(topic, payload, timeout_s)
                else:
                    self.publish(prefix, payload, None, timeout_s)
                accepted += 1
        except FabricError as error:
            error.accepted = accepted
            raise
        return accepted

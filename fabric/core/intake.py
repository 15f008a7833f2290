"""From parts to handlers, for every message that is plainly one in order. The plain twin: what the compiled one does.

The way of such a message is one look-up from the topic's raw bytes to its route, one decoding, one comparison of
numbers, and the calls. Everything rare (a first sight, a gap, a duplicate, headers, garbage) is for `Rare` to judge,
which a receiver is.

What a body may be is said in `fabric.wire`, and what its number means in `fabric.node.gaps`. Neither is said here in
full. This takes what is plainly a message in order, and leaves all else to those who refuse, defer and drop. The tests
hold it, and its twin, against them on any bytes, in any order.
"""

from __future__ import annotations

import time
from typing import Any, Protocol

import zmq
from msgpack import unpackb  # type: ignore[import-untyped]

from fabric.payloads import FLAT, flaw
from fabric.sockets import Socket, something_waits
from fabric.wire import ENVELOPE_BYTES, FORMAT_VERSION, NO_HEADERS, Message

BURST = 16
"""Messages between two looks at the clock, while there is always one to read."""
PLAIN_BYTES = 1024
"""Bodies from this size on go the careful way, which bounds what a hostile one can make msgpack allocate."""
PLAIN_NS = 256
"""Times before this one go the careful way. No clock shows them, but they are all that a bool can be, or an element of
a `bin` of five bytes, which unpacks into five ints as an array does. So one comparison does the work of three."""
_new = tuple.__new__


class Rare(Protocol):
    """What judges all that is rare, and keeps the routes, `fabric.broker.Broker.routes`."""

    routes: dict[bytes, Any]

    def first_sight(self, raw: bytes, body: bytes) -> Any:
        """Return the route of a topic that is not in `routes`, or None when there is nothing more to do."""

    def take_carefully(self, route: Any, body: bytes) -> None:
        """Take a body that is not plainly a message in order."""

    def refuse_part(self, part: bytes) -> None:
        """Count a part that has no NUL."""

    def handler_raised(self, message: Message, subscriptions: Any, place: int) -> None:
        """The handler of `subscriptions[place]` raised, just now: go on with those behind it."""


class Intake:
    """Takes the parts of one node. Only its I/O thread uses it, but for `forget_routes`.

    max_payload_bytes: larger ones go to `rare`, which refuses them
    """

    def __init__(self, rare: Rare, max_payload_bytes: int) -> None:
        self._rare, self._routes = rare, rare.routes
        self._plain_bytes = min(PLAIN_BYTES, max_payload_bytes + ENVELOPE_BYTES + 1)
        """Bodies from this size on go the careful way: none that is too large is below it."""
        self.received = 0
        """Parts, of whatever kind."""
        self.unmatched = 0
        """Messages that a prefix let through and no filter here matches."""
        self.emptied = 0
        """How often nothing was left to be read. The compiled one sees that each time, this one where it waited."""

    def forget_routes(self) -> None:
        """The routes were emptied: by any thread. Nothing to do here, where they are asked each time."""

    def close(self) -> None:
        """Let go of what is kept of the routes: the last call, in the I/O thread. Nothing to do here."""

    def receive(self, socket: Socket, for_s: float, pause_s: float = 0.0) -> bool:
        """Take parts for so long, at least `BURST`; whether there was always one to read.

        A part is waited for as long as `socket` does (RCVTIMEO); when none came, this ends at once.
        pause_s: sleep so long whenever all is read, to find several parts where each would have woken the thread
        """
        clock, recv = time.monotonic, socket.recv
        end = clock() + for_s
        waits = something_waits(socket) if pause_s else None
        try:
            self._take(recv, BURST)
            while clock() < end:
                self._take(recv, BURST)
                if waits is not None and not waits():
                    time.sleep(pause_s)
        except zmq.Again:
            self.emptied += 1
            return False
        return True

    def drain(self, socket: Socket, limit: int) -> None:
        """Take what waits to be read, at most `limit` parts. Waits for nothing."""
        try:
            self._take(lambda: socket.recv(zmq.NOBLOCK), limit)
        except zmq.Again:
            self.emptied += 1

    def take(self, part: bytes) -> None:
        """Take one part."""
        self._take(lambda: part, 1)

    def _take(self, recv: Any, count: int) -> None:
        """Take `count` parts. Whatever the bytes and whatever a handler raises, only `recv` ends it early.

        Everything is here that a message of a known topic, in order and with a flat payload, needs: 0.9 us beside
        `recv`, of which decoding is a third. Calls are dear in Python: each would cost a twentieth.
        """
        find, plain_bytes, rare = self._routes.get, self._plain_bytes, self._rare
        version: Any
        for _ in range(count):
            part = recv()
            self.received += 1
            raw, nul, body = part.partition(b"\0")
            if not nul:
                rare.refuse_part(part)
                continue
            route: Any = find(raw)
            if route is None:
                route = rare.first_sight(raw, body)
                if route is None:
                    continue
            topic, subscriptions, lasts, only = route  # lasts is there: the broker was given the detector's
            if not subscriptions:
                self.unmatched += 1
                continue
            if len(body) < plain_bytes:
                try:
                    version, publisher, number, sent_ns, payload = unpackb(body)
                except (ValueError, TypeError):
                    version = None
                # `is`, because True and 1.0 equal 1; the types, because 7.0 finds the entry of 7 in a dict.
                if (
                    version is FORMAT_VERSION
                    and type(publisher) is int
                    and type(number) is int
                    and type(sent_ns) is int
                    and number > 0
                    and sent_ns >= PLAIN_NS
                    and lasts.get(publisher) == number - 1
                    and (type(payload) in FLAT or flaw(payload, PLAIN_BYTES) is None)
                ):
                    lasts[publisher] = number
                    message: Message = _new(Message, (topic, payload, publisher, number, sent_ns, NO_HEADERS))
                    try:
                        if only is not None:
                            only(message)
                            continue
                        for subscription in subscriptions:
                            if subscription.active:
                                subscription.handler(message)
                    except BaseException:
                        failed = 0 if only is not None else subscriptions.index(subscription)
                        rare.handler_raised(message, subscriptions, failed)
                    continue
            rare.take_carefully(route, body)

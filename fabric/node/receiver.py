"""From parts to handlers: the path of every message that a node receives. No I/O; it calls the handlers.

The hot path is `receive`: one look-up from the topic's raw bytes to its route, one decoding, one comparison of numbers,
and the calls. Everything rare (a first sight, a gap, a duplicate, headers) is behind a branch.

What a body may be is said in `fabric.wire`, and what its number means in `gaps`. The hot path says neither in
full. It takes what is plainly a message in order, and leaves everything else to `decode_body` and the `GapDetector`,
the only ones to refuse, defer or drop. The tests hold it against these two on any bytes, in any order.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from msgpack import unpackb  # type: ignore[import-untyped]

from fabric.broker import Broker
from fabric.errors import RemoteWireError
from fabric.node.gaps import Gap, GapDetector
from fabric.payloads import FLAT, flaw
from fabric.protocol.stray import MARK
from fabric.wire import ENVELOPE_BYTES, FORMAT_VERSION, NO_HEADERS, Message, decode_body, decode_topic, no_topic

MessageFun = Callable[[Message], object]
log = logging.getLogger("fabric.node")
_new = tuple.__new__
PLAIN_BYTES = 1024
"""Bodies from this size on go the careful way, which bounds what a hostile one can make msgpack allocate."""
PLAIN_NS = 256
"""Times before this one go the careful way. No clock shows them, but they are all that a bool can be, or an element of
a `bin` of five bytes, which unpacks into five ints as an array does. So one comparison does the work of three."""


class Receiver:
    """Routes, numbers and handlers of one node.

    lock:     guards the broker, which application threads change
    private:  raw prefix of the topics that are for the node itself, and whom to hand them to
    on_gap:   called with each Gap
    on_notice: called with the payload of a notice, see `fabric.protocol.stray`
    clock:    monotonic time in seconds, asked for whatever is out of order
    """

    def __init__(
        self,
        lock: threading.RLock,
        private: bytes,
        on_private: Callable[[bytes, bytes], None],
        on_gap: Callable[[Gap], None],
        on_notice: Callable[[object], None],
        *,
        max_payload_bytes: int,
        reorder_window_s: float,
        max_entries: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.detector: GapDetector[Message] = GapDetector(reorder_window_s, max_entries)
        """Last numbers, and what waits for what is missing. I/O thread."""
        self.broker: Broker[MessageFun] = Broker(self.detector.lasts)
        """Who wants what. Changed and matched under the lock; `routes` is read without it."""
        self._lock = lock
        self._private, self._on_private, self._on_gap = private, on_private, on_gap
        self._on_notice = on_notice
        self._max_payload_bytes = max_payload_bytes
        self._plain_bytes = min(PLAIN_BYTES, max_payload_bytes + ENVELOPE_BYTES + 1)
        """Bodies from this size on go the careful way: none that is too large is below it."""
        self._clock = clock
        self.awaits = False
        """After a move or a reconnect: what is missing may still come by the other way. Set by the engine."""
        self.on_trace: Callable[[str, object], None] = lambda topic, trace: None
        """Called with the topic and the header of a trace, see `fabric.protocol.questions`."""
        self.refused: Counter[str] = Counter()
        """Parts that could not be read, by the kind of `RemoteWireError`. I/O thread."""
        self.received = 0
        """Parts, of whatever kind. I/O thread."""
        self.unmatched = 0
        """Messages that a prefix let through and no filter here matches. I/O thread."""
        self.failed_callbacks = 0
        """Calls of a user's function that raised. I/O thread."""

    @property
    def is_awaiting(self) -> bool:
        """Whether something waits for what is missing, or may come to, until a later tick."""
        return self.awaits or self.detector.is_awaiting

    def receive(self, recv: Callable[[], bytes], count: int) -> None:
        """Take `count` parts. Whatever the bytes and whatever a handler raises, only `recv` ends it early.

        Everything is here that a message of a known topic, in order and with a flat payload, needs: 0.9 us beside
        `recv`, of which decoding is a third. Calls are dear in Python: each would cost a twentieth.
        """
        find, plain_bytes = self.broker.routes.get, self._plain_bytes
        version: Any
        for _ in range(count):
            part = recv()
            self.received += 1
            raw, nul, body = part.partition(b"\0")
            route: Any = find(raw)
            if route is None:
                route = self._first_sight(raw, nul, body)
                if route is None:
                    continue
            topic, subscriptions, lasts, only = route  # lasts is there: the broker was given the detector's
            if not subscriptions and nul:
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
                    except Exception:
                        self._went_wrong(message, subscriptions, subscription if only is None else subscriptions[0])
                    continue
            if nul:
                self._take_carefully(topic, subscriptions, lasts, body)
            else:
                self.refuse(no_topic(part))

    def take(self, part: bytes) -> None:
        """Take one part."""
        self.receive(lambda: part, 1)

    def _take_carefully(self, topic: str, subscriptions: Any, lasts: dict[int, int], body: bytes) -> None:
        """Whatever the loop above did not take for plain: large ones, headers, a first number, a gap, and garbage."""
        try:
            publisher, number, sent_ns, payload, headers = decode_body(body, self._max_payload_bytes)
        except RemoteWireError as error:
            self.refuse(error)
            return
        if headers is not None and headers.get("cancelled") is True:
            self._on_notice(payload)
            return
        if headers is None and lasts.get(publisher) == number - 1:  # in order: a large one; no need to match again
            lasts[publisher] = number
            message = Message(topic, payload, publisher, number, sent_ns, NO_HEADERS)
            for subscription in subscriptions:
                if subscription.active:
                    self.call(subscription.handler, message)
            return
        awaits = self.awaits or (headers is not None and headers.get("moved") is True)
        now = self._clock()
        if headers is not None and headers.get("tail") is True:
            if "trace" in headers:
                self.on_trace(topic, headers["trace"])
            self._carry_out(self.detector.tail(topic, publisher, number, now, awaits))
            return
        message = Message(topic, payload, publisher, number, sent_ns, headers or NO_HEADERS)
        self._carry_out(self.detector.observe(topic, publisher, number, now, item=message, awaits=awaits))

    def tick(self, now: float) -> None:
        """Release what has waited for long enough."""
        self._carry_out(self.detector.expire(now))

    def deliver(self, message: Message) -> None:
        """Hand a message to every subscription that matches now."""
        with self._lock:
            subscriptions = self.broker.match(message.topic)
        for subscription in subscriptions:
            if subscription.active:
                self.call(subscription.handler, message)

    def call(self, fun: Callable[..., object], *args: object) -> None:
        """Call what a user gave; one that raises is logged and counted, and harms no other."""
        try:
            fun(*args)
        except Exception:
            self.failed_callbacks += 1
            log.exception("a callback raised: %r", fun)

    def refuse(self, error: RemoteWireError) -> None:
        """Count a part that could not be decoded; log the first of each kind."""
        self.refused[error.kind] += 1
        if self.refused[error.kind] == 1:
            told = {"event": "part_refused", "fields": {"kind": error.kind, "why": str(error)}}
            words = "refused a part (%s): %s; further ones of this kind are only counted"
            log.warning(words, error.kind, error, extra=told)

    def forget(self, released: Collection[str]) -> None:
        """Filters are held no more: numbers of topics that nobody wants now mean nothing later.

        cost: one walk over the topics seen, for all filters together: a node that gives up 20,000 filters, with a
              message on each, would walk 400 million topics one by one
        """
        with self._lock:
            exact = {each for each in released if "+" not in each and "#" not in each}
            below = tuple({_before_wildcard(each) for each in released if each not in exact})
            if below or self.detector.knows_any(exact):
                self.detector.forget(
                    lambda topic: (topic in exact or topic.startswith(below)) and not self.broker.match(topic)
                )

    def _first_sight(self, raw: bytes, nul: bytes, body: bytes) -> Any:
        try:
            if not nul:
                raise no_topic(raw)
            if raw.endswith(MARK):
                self._notice(raw, body)
                return None
            if raw.startswith(self._private):
                self._on_private(raw, body)
                return None
            with self._lock:
                return self.broker.route(raw)
        except RemoteWireError as error:
            self.refuse(error)
            return None

    def _notice(self, raw: bytes, body: bytes) -> None:
        """No topic ends in MARK: this is a notice, or wrong."""
        *_, payload, headers = decode_body(body, self._max_payload_bytes)
        if headers is None or headers.get("cancelled") is not True:
            decode_topic(raw)
        self._on_notice(payload)

    def _went_wrong(self, message: Message, subscriptions: Any, failed: Any) -> None:
        """A handler raised on the hot path: log it, and go on with those behind it."""
        self.failed_callbacks += 1
        log.exception("a callback raised: %r", failed.handler)
        for subscription in subscriptions[subscriptions.index(failed) + 1 :]:
            if subscription.active:
                self.call(subscription.handler, message)

    def _carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Gap):
                self._on_gap(effect)
            else:
                self.deliver(effect.item)


def _before_wildcard(topic_filter: str) -> str:
    """Return what every topic that matches starts with: `a/b` for `a/b/+/c` and for `a/b/#`."""
    return topic_filter.partition("#")[0].partition("+")[0].rstrip("/")

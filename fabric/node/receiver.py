"""From parts to handlers: the path of every message that a node receives. No I/O; it calls the handlers.

What is plainly a message in order is taken by an `Intake`, compiled or its twin. Everything rare is here: first
sights, gaps, duplicates, headers, tails, and what cannot be read. `decode_body` and the `GapDetector` judge it, the
only ones to refuse, defer or drop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from fabric.broker import Broker
from fabric.core import COMPILED
from fabric.errors import RemoteWireError, expected
from fabric.node.gaps import Forged, Gap, GapDetector
from fabric.node.retained import LastKnown
from fabric.protocol.retained import HELD, OWN, RETAIN, shown
from fabric.protocol.stray import MARK
from fabric.wire import NO_HEADERS, Message, decode_body, decode_topic, no_topic

if COMPILED:
    from fabric.core._intake import Intake
else:
    from fabric.core.intake import Intake

MessageFun = Callable[[Message], object]
log = logging.getLogger("fabric.node")

ASK_AFTER_S = 0.05
"""After a move or a reconnect what is missing may come by itself, for as long as `reorder_window_s`. It is asked for
sooner: what comes twice is dropped by its number, and waiting for all of it made a repair ten times as late."""


class Receiver:
    """Routes, numbers and handlers of one node.

    lock:     guards the broker, which application threads change
    private:  raw prefixes of the topics that are for the node itself, and whom to hand them to
    on_gap:   called with each Gap
    on_notice: called with the payload of a notice, see `fabric.protocol.stray`
    repairs:  what is missing is not told before `on_missing` was given the chance to have it repaired
    clock:    monotonic time in seconds, asked for whatever is out of order
    intake:   what takes the parts: compiled, or its twin
    """

    def __init__(
        self,
        lock: threading.RLock,
        private: bytes | tuple[bytes, ...],
        on_private: Callable[[bytes, bytes], None],
        on_gap: Callable[[Gap], None],
        on_notice: Callable[[object], None],
        *,
        max_payload_bytes: int,
        reorder_window_s: float,
        max_entries: int,
        repairs: bool = False,
        clock: Callable[[], float] = time.monotonic,
        intake: type[Intake] = Intake,
    ) -> None:
        self.detector: GapDetector[Message] = GapDetector(reorder_window_s, max_entries, repairs=repairs)
        """Last numbers, and what waits for what is missing. I/O thread."""
        self.broker: Broker[MessageFun] = Broker(self.detector.lasts, on_emptied=lambda: self.intake.forget_routes())
        """Who wants what. Changed and matched under the lock; `routes` is read without it."""
        self.routes = self.broker.routes
        """The same object, for the intake."""
        self._lock = lock
        self._private, self._on_private, self._on_gap = private, on_private, on_gap
        self._on_notice = on_notice
        self._max_payload_bytes = max_payload_bytes
        self._clock = clock
        self.awaits = False
        """After a move or a reconnect: what is missing may still come by the other way. Set by the engine."""
        self.is_repaired: Callable[[str, int], bool] = lambda topic, publisher: False
        """Whether what is missing of this publisher on this topic comes because it is asked for. Set before the first
        part."""
        self.on_missing: Callable[[str, int, int, float, float], None] = lambda *_: None
        """Called with topic, publisher, the first number that is missing there, the time, and how long that may still
        come by itself, whenever something waits for it. Set before the first part."""
        self.repaired = 0
        """Messages that were missing, and came when they were asked for. I/O thread."""
        self._reorder_window_s = reorder_window_s
        self.on_trace: Callable[[str, object], None] = lambda topic, trace: None
        """Called with the topic and the header of a trace, see `fabric.protocol.questions`."""
        self.refused: Counter[str] = Counter()
        """Parts that could not be read, by the kind of `RemoteWireError`. I/O thread."""
        self.failed_callbacks = 0
        """Calls of a user's function that raised. I/O thread."""
        self.intake = intake(self, max_payload_bytes)
        """Takes every part, and hands what is rare to the methods below. I/O thread."""

    @property
    def received(self) -> int:
        """Parts, of whatever kind."""
        return self.intake.received

    @property
    def unmatched(self) -> int:
        """Messages that a prefix let through and no filter here matches."""
        return self.intake.unmatched

    @property
    def is_awaiting(self) -> bool:
        """Whether something waits for what is missing, or may come to, until a later tick."""
        return self.awaits or self.detector.is_awaiting

    # ── what is rare: called by the intake, see `fabric.core.intake.Rare` ──────────────────────────────────────────

    def first_sight(self, raw: bytes, body: bytes) -> Any:
        """Return the route of a topic that is not in `routes`; None for what is wrong, or for the node itself."""
        try:
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

    def refuse_part(self, part: bytes) -> None:
        """Count a part that has no NUL."""
        self.refuse(no_topic(part))

    def take_carefully(self, route: Any, body: bytes) -> None:
        """Whatever an intake did not take for plain: large ones, headers, a first number, a gap, and garbage."""
        topic, subscriptions, lasts, _ = route
        try:
            publisher, number, sent_ns, payload, headers = decode_body(body, self._max_payload_bytes)
        except RemoteWireError as error:
            self.refuse(error)
            return
        if headers is not None and headers.get("cancelled") is True:
            self._on_notice(payload)
            return
        published = headers or NO_HEADERS
        if headers is not None and not OWN.isdisjoint(headers):
            if headers.get(HELD) is True and RETAIN in headers:
                self._offer(Message(topic, payload, publisher, number, sent_ns, headers), subscriptions)
                return
            headers = shown(headers, as_retained=False) or None
        if headers is None and lasts.get(publisher) == number - 1:  # in order: a large one; no need to match again
            lasts[publisher] = number
            self._hand(Message(topic, payload, publisher, number, sent_ns, published), subscriptions)
            return
        awaits = self.awaits or (headers is not None and headers.get("moved") is True)
        now = self._clock()
        if headers is not None and headers.get("tail") is True:
            if "trace" in headers:
                self.on_trace(topic, headers["trace"])
            self._carry_out(self.detector.tail(topic, publisher, number, now, awaits))
        else:
            message = Message(topic, payload, publisher, number, sent_ns, published)
            self._observe(message, len(body), now, awaits)
        self._tell_missing(topic, publisher, now, min(ASK_AFTER_S, self._reorder_window_s) if awaits else 0.0)

    def _tell_missing(self, topic: str, publisher: int, now: float, wait_s: float) -> None:
        missing = self.detector.missing_from(topic, publisher)
        if missing is not None:
            self.on_missing(topic, publisher, missing, now, wait_s)

    def _observe(self, message: Message, size: int, now: float, awaits: bool) -> None:
        topic, _, publisher, number, sent_ns, headers = message
        if self.is_repaired(topic, publisher) and self.detector.lacks(topic, publisher, number):
            self.repaired += 1
        came_before = RETAIN in headers and self.detector.has_passed(topic, publisher, number)
        effects = self.detector.observe(
            topic, publisher, number, now, item=message, awaits=awaits, sent_ns=sent_ns, size=size
        )
        self._carry_out(effects)
        if came_before and not effects:
            # The proxy that it is sent to again may have kept nothing of it, and who subscribed there between knows
            # nothing. What the publisher holds again is no news to that proxy then, and is not passed on.
            with self._lock:
                subscriptions = self.broker.match(topic)
            self._offer(message, subscriptions)

    def _offer(self, message: Message, subscriptions: Any) -> None:
        """A publisher sent a value again, to be held or as a duplicate: news only to who wants what is retained."""
        for subscription in subscriptions:
            if subscription.active and isinstance(subscription.handler, LastKnown):
                self.call(subscription.handler.offer, message)

    def wants(self, topic: str) -> bool:
        """Whether a filter here matches."""
        with self._lock:
            return bool(self.broker.match(topic))

    def take_tail(self, topic: str, publisher: int, number: int, now: float) -> None:
        """The publisher says that it has sent up to `number`."""
        self._carry_out(self.detector.tail(topic, publisher, number, now, True))
        self._tell_missing(topic, publisher, now, 0.0)

    def take_repaired(self, topic: str, publisher: int, part: bytes, now: float, *, may_be_new: bool = False) -> bool:
        """Take a part that this node asked for; False for any other part, which is dropped.

        may_be_new: nothing here has shown yet that it is missing
        Refused like all others when it cannot be read.
        """
        prefix = topic.encode() + b"\0"
        if not part.startswith(prefix):
            return False
        body = part[len(prefix) :]
        try:
            of, number, sent_ns, payload, headers = decode_body(body, self._max_payload_bytes)
        except RemoteWireError as error:
            self.refuse(error)
            return False
        if of != publisher or (headers is not None and (headers.get("tail") is True or HELD in headers)):
            return False
        is_new = may_be_new and number > self.detector.lasts(topic).get(publisher, number) >= 0
        if is_new or self.detector.lacks(topic, publisher, number):
            self.repaired += is_new
            message = Message(topic, payload, publisher, number, sent_ns, headers or NO_HEADERS)
            self._observe(message, len(body), now, True)
            if is_new:
                self._tell_missing(topic, publisher, now, 0.0)
        return True

    def expect(self, topic: str, publisher: int, number: int) -> bool:
        """What this publisher sent on this topic up to `number` is not missing here, and what follows it would be.

        returns: False: more is known already
        """
        return self.detector.expect(topic, publisher, number)

    def give_up(self, topic: str, publisher: int, reason: str, first: int = 1, last: int | None = None) -> None:
        """What is missing there between these numbers, all by default, is not to come: tell it when its turn comes."""
        if last is None:
            self._carry_out(self.detector.give_up_all(topic, publisher, reason))
        else:
            self._carry_out(self.detector.give_up(topic, publisher, first, last, reason))

    def handler_raised(self, message: Message, subscriptions: Any, place: int) -> None:
        """The handler of `subscriptions[place]` raised, just now: log it, and go on with those behind it."""
        self.failed_callbacks += 1
        log.exception("a callback raised: %r", subscriptions[place].handler)
        for subscription in subscriptions[place + 1 :]:
            if subscription.active:
                self.call(subscription.handler, message)

    # ── the rest of the I/O thread ───────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> None:
        """Release what has waited for long enough."""
        self._carry_out(self.detector.expire(now))

    def deliver(self, message: Message) -> None:
        """Hand a message to every subscription that matches now."""
        with self._lock:
            subscriptions = self.broker.match(message.topic)
        self._hand(message, subscriptions)

    def _hand(self, message: Message, subscriptions: Any) -> None:
        """Call the handlers. Of what is to be retained those alone see it that have asked for that."""
        seen = published = message
        if not OWN.isdisjoint(message.headers):
            expires_s = message.headers.get(RETAIN)
            seen = message._replace(headers=shown(message.headers, as_retained=False) or NO_HEADERS)
            published = message._replace(headers=shown(message.headers, as_retained=False, expires_s=expires_s))
        is_value = RETAIN in message.headers
        for subscription in subscriptions:
            if subscription.active:
                handler = subscription.handler
                if is_value and isinstance(handler, LastKnown):
                    self.call(handler.came_live, published if handler.as_published else seen)
                else:
                    self.call(handler, seen)

    def call(self, fun: Callable[..., object], *args: object) -> None:
        """Call what a user gave; one that raises is logged and counted, and harms no other."""
        try:
            fun(*args)
        except BaseException:  # a SystemExit, too: it would end this thread, and with it all that the node receives
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

    def _notice(self, raw: bytes, body: bytes) -> None:
        """No topic ends in MARK: this is a notice, or wrong."""
        *_, payload, headers = decode_body(body, self._max_payload_bytes)
        if headers is None or headers.get("cancelled") is not True:
            decode_topic(raw)
        self._on_notice(payload)

    def _carry_out(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Gap):
                self._on_gap(effect)
            elif isinstance(effect, Forged):
                self.refuse(
                    RemoteWireError(expected("number", effect.number, "one that this publisher can be at"), "number")
                )
            else:
                self.deliver(effect.item)


def _before_wildcard(topic_filter: str) -> str:
    """Return what every topic that matches starts with: `a/b` for `a/b/+/c` and for `a/b/#`."""
    return topic_filter.partition("#")[0].partition("+")[0].rstrip("/")

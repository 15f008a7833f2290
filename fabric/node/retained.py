"""Retained values on their way to the subscriptions that want them: from the batches of the proxies, from this node's
own local topics, and from publishers that send a value again.

What is wanted is asked for by a marker (`fabric.node.coverage`). Until its ack the values are gathered, the newest of
each topic over all proxies; with it they are delivered, oldest first, and then the ack. A topic of which something came
live meanwhile that is not older is passed over, since what is set after the marker comes live. After a time away all is
asked for once more, and what is news is delivered. Only the I/O thread uses what is here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

from msgpack import packb  # type: ignore[import-untyped]

from fabric.errors import RemoteWireError
from fabric.node.held_values import Held, HeldValues
from fabric.node.interest import MAX_PREFIX_BYTES, wire_prefixes
from fabric.protocol.retained import AHEAD_NS, RETAIN, Batch, NotKept, Stamp, shown
from fabric.topics import scope
from fabric.trie import SubscriptionTrie
from fabric.wire import Message, decode_body, decode_topic

MessageFun = Callable[[Message], object]
MAX_KNOWN = 1_000_000
"""Topics of which a subscription knows the newest stamp; each costs about 0.3 kB. The oldest go first."""
MAX_GATHERED = 1_000_000
MAX_GATHERED_BYTES = 256 * 1024 * 1024
"""Values that are gathered at once, of all proxies: each keeps 100,000 and 64 MiB unless told otherwise."""


class LastKnown:
    """The handler of a subscription that wants retained values: it remembers what came, so that nothing older follows,
    nor the same once more: a value that a keeper gave back has its time, and another publisher.

    msg_fun:      what the user gave
    max_known:    topics that are remembered
    as_published: it is shown which messages are to be retained; what was cleared is told, too; what is not to be
                  retained says nothing of the topic's value; and of what is retained older values are shown as well:
                  somebody has them, and a keeper may know better
    wall_ns:      time since 1970. What comes live from too far ahead of it says nothing of the topic's value either
    cost:         0.4 us for each message; 1.3 us for one that is to be retained, and 1.5 us for each kB of it
    """

    __slots__ = ("_clears", "_known", "_max_known", "_msg_fun", "_wall_ns", "as_published")

    def __init__(
        self,
        msg_fun: MessageFun,
        max_known: int = MAX_KNOWN,
        *,
        as_published: bool = False,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._msg_fun, self._max_known, self._wall_ns = msg_fun, max_known, wall_ns
        self.as_published = as_published
        """The receiver asks for it: it leaves `retain` among the headers then. Never changes."""
        self._known: dict[str, tuple[Stamp, bytes]] = {}
        """By topic the largest stamp that came, live or retained, and the digest of its value: empty for what was not
        to be retained, since nobody gives that back. At most `max_known`."""
        self._clears: dict[str, Message] = {}
        """By topic the clear that was not told, since nothing was known of the topic: it is of interest as soon as
        something older comes live, late. Until something newer comes. At most `max_known`."""

    def __call__(self, message: Message) -> None:
        """A message came live that is not to be retained."""
        self._take_live(message, b"", is_value=not self.as_published)

    def came_live(self, message: Message) -> None:
        """One came live that is to be retained, with headers as they are shown."""
        self._take_live(message, _digest(message.payload), is_value=True)

    def _take_live(self, message: Message, digest: bytes, *, is_value: bool) -> None:
        if is_value and self._may_be_newest(message):
            self._note(message, digest)
        self._msg_fun(message)
        clear = self._clears.pop(message.topic, None)
        if clear is not None and (message.sent_ns, message.publisher) < (clear.sent_ns, clear.publisher):
            self._msg_fun(clear)

    def offer(self, message: Message) -> None:
        """A retained value is there: hand it on, marked, if it is newer than all that came of its topic, and another;
        see `as_published`.

        One without payload says that there is no value any more: of interest to who knows of one. To all others it is
        remembered, too: an older value may be gathered already.
        """
        known = self._known.get(message.topic, _NOTHING)
        stamp, digest_before = known
        offered = (message.sent_ns, message.publisher)
        if offered <= stamp and (offered == stamp or not self.as_published):
            return
        digest = _digest(message.payload)
        self._note(message, digest)
        if message.sent_ns == stamp[0] and digest_before == digest != b"":
            return
        self._clears.pop(message.topic, None)
        expires_s = message.headers.get(RETAIN) if self.as_published else None
        message = message._replace(headers=shown(message.headers, as_retained=True, expires_s=expires_s))
        if message.payload is None and known is _NOTHING and not self.as_published:
            if len(self._clears) >= self._max_known:
                del self._clears[next(iter(self._clears))]
            self._clears[message.topic] = message
            return
        self._msg_fun(message)

    def _may_be_newest(self, message: Message) -> bool:
        return message.sent_ns <= self._wall_ns() + AHEAD_NS  # no proxy keeps what is further ahead

    def _note(self, message: Message, digest: bytes) -> None:
        topic, stamp = message.topic, (message.sent_ns, message.publisher)
        known = self._known.get(topic)
        if known is None:
            if len(self._known) >= self._max_known:
                del self._known[next(iter(self._known))]
        elif stamp <= known[0]:
            return
        self._known[topic] = stamp, digest


_NOTHING: tuple[Stamp, bytes] = ((-1, -1), b"")


def _digest(payload: Any) -> bytes:
    """Return what payloads have in common when they are the same; empty for one that another handler has changed so
    that it cannot be packed any more."""
    try:
        return blake2b(packb(payload), digest_size=8).digest()
    except (TypeError, ValueError, OverflowError):
        return b""


def wanted_prefixes(topic_filter: str) -> tuple[bytes, ...]:
    """Return the prefixes of the values that a filter matches, so short that a marker has room for them together."""
    prefixes = wire_prefixes(topic_filter)
    if sum(map(len, prefixes)) <= MAX_PREFIX_BYTES:
        return prefixes
    longest = max(prefixes, key=len)
    return (longest[: longest.rfind(b"/", 0, -1) + 1],)


def _left_s(held: Held[Message], now: float) -> int:
    return 0 if held.is_clear else held.expires_in(now)


class _Wish(NamedTuple):
    """A subscription that wants what is retained."""

    topic_filter: str
    handler: LastKnown


class Retained:
    """The retained values of one node, as far as subscriptions are concerned.

    call:      calls what a user gave, as `Receiver.call`
    is_active: whether a subscription has not ended
    refuse:    counts what cannot be read
    on_full:   called for a local message that is over the bounds, and so not kept
    is_waiting: whether a subscription waits for what is gathered
    local:     where the values of local topics are kept
    clock:     monotonic time in seconds, for those
    """

    def __init__(
        self,
        call: Callable[..., None],
        is_active: Callable[[int], bool],
        refuse: Callable[[RemoteWireError], None],
        on_full: Callable[[NotKept], None],
        is_waiting: Callable[[], bool],
        local: HeldValues[str, Message] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._call, self._is_active, self._refuse, self._on_full = call, is_active, refuse, on_full
        self._is_waiting, self._clock = is_waiting, clock
        self._wishes: dict[int, _Wish] = {}
        """By the subscription's id, until it ends."""
        self._wanted: SubscriptionTrie[int] = SubscriptionTrie()
        """Their filters, with the same ids."""
        self._gathered: HeldValues[str, Message] = HeldValues(MAX_GATHERED, MAX_GATHERED_BYTES)
        """What the proxies have handed out, and some filter in `_wanted` matches. Empty while nobody waits."""
        self._local: HeldValues[str, Message] = HeldValues() if local is None else local
        """The values of `~/…`."""

    # ── subscriptions ────────────────────────────────────────────────────────────────────────────────────────────

    def wanted(self, ident: int, topic_filter: str, handler: LastKnown) -> None:
        """A subscription is made that wants what is retained; `acked` is to follow, and `ended`."""
        self._wishes[ident] = _Wish(topic_filter, handler)
        self._wanted.add(topic_filter, ident)

    def acked(self, ident: int, *, is_ok: bool, now: float) -> None:
        """What is to come before the ack of a subscription is here, or what was asked for once more: deliver it."""
        wish = self._wishes.get(ident)
        if wish is None:
            return
        if is_ok:
            of_node = scope(wish.topic_filter) == "local"
            self._offer(ident, wish, self._local if of_node else self._gathered, now)

    def ended(self, ident: int) -> None:
        """A subscription has ended."""
        wish = self._wishes.pop(ident, None)
        if wish is not None:
            self._wanted.remove(wish.topic_filter, ident)

    def _offer(self, ident: int, wish: _Wish, values: HeldValues[str, Message], now: float) -> None:
        chosen: SubscriptionTrie[int] = SubscriptionTrie()
        chosen.add(wish.topic_filter, 0)
        found = [held for _, held in values.known(now) if chosen.match(held.value.topic)]
        found.sort(key=lambda held: held.stamp)
        for held in found:
            if not self._is_active(ident):  # a handler may end it
                return
            # Of a tombstone too: something older may have come live, late.
            message = held.value._replace(payload=None) if held.is_clear else held.value
            if wish.handler.as_published:
                message = message._replace(headers={**message.headers, RETAIN: _left_s(held, now)})
            self._call(wish.handler.offer, message)

    # ── what is kept elsewhere ───────────────────────────────────────────────────────────────────────────────────

    def proxy_lost(self) -> None:
        """What was handed out may be old when it is asked for again."""
        self._gathered.clear()

    def batch_came(self, batch: Batch, now: float) -> None:
        """Take what a proxy keeps. cost: 9 us for each value that is wanted"""
        for part, age in zip(batch.parts, batch.ages, strict=True):
            try:
                self._gather(part, age, now)
            except RemoteWireError as error:
                self._refuse(error)

    def _gather(self, part: bytes, age: float, now: float) -> None:
        raw, _, body = part.partition(b"\0")
        topic = decode_topic(raw)
        if not self._wanted.match(topic):
            return
        publisher, number, sent_ns, payload, headers = decode_body(body, len(body))
        expires_s = headers.get(RETAIN) if headers is not None else None
        if headers is None or type(expires_s) is not int:
            raise RemoteWireError("a retained value without its time", "bad_body")
        if 0 < expires_s <= age:
            return
        message = Message(topic, payload, publisher, number, sent_ns, headers)
        self._gathered.put(
            topic,
            (sent_ns, publisher),
            message,
            len(part),
            now,
            expires_s=expires_s and expires_s - age,
            is_clear=payload is None,
        )

    # ── local topics ─────────────────────────────────────────────────────────────────────────────────────────────

    def local_came(self, message: Message, size: int, expires_s: int) -> None:
        """A local message was published, of so many bytes, that is to be kept for `expires_s`, 0: for good."""
        stamp, is_clear, now = (message.sent_ns, message.publisher), message.payload is None, self._clock()
        if not self._local.put(message.topic, stamp, message, size, now, expires_s=expires_s, is_clear=is_clear):
            self._on_full(NotKept(message.topic, message.sent_ns, "local"))

    def tick(self, now: float) -> None:
        """Forget what is to be forgotten. Not while acks are handed out: one answer may be that of several."""
        self._local.tick(now)
        if len(self._gathered) and not self._is_waiting():
            self._gathered.clear()

"""The newest value of each topic, until it is cleared or expires: what retained messages come down to. Pure.

| what is there | a newer value | a newer one without payload | time is up | `TOMBSTONE_S` later |
|---|---|---|---|---|
| nothing | value | tombstone | nothing | nothing |
| value | value | tombstone | tombstone | |
| tombstone | value | tombstone | | nothing |

Newer is what has the larger stamp; all else changes nothing. A *tombstone* remembers that there is no value: what was
under way, or kept elsewhere, and is older than it does not come back.

A publisher's node holds what it set in one of these, a subscriber gathers in one what the proxies kept, and the local
topics of a node or a page have one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from fabric.protocol.retained import TOMBSTONE_S, Stamp

K = TypeVar("K", str, bytes)
T = TypeVar("T")

MAX_TOPICS = 100_000
MAX_BYTES = 64 * 1024 * 1024
_OVERHEAD = 300
"""Bytes of an entry beside its topic and its value."""
_SWEEP_S = 10.0


@dataclass(slots=True)
class Held(Generic[T]):
    """What is known of one topic. Only `HeldValues` changes it."""

    stamp: Stamp
    """Of the value, or of what cleared it; only ever larger."""
    value: T
    """What was set; of a tombstone, what cleared it, or has expired."""
    is_clear: bool
    """It is a tombstone. A value becomes one, and stays one until there is a newer value."""
    size: int
    """Bytes of topic and value, with what they cost beside."""
    until: float
    """When the value expires, inf: never; of a tombstone, when it is forgotten. Monotonic, in seconds."""

    def expires_in(self, now: float) -> int:
        """Return the whole seconds that a value has left, rounded up; 0: it never expires."""
        return 0 if self.until == math.inf else max(1, math.ceil(self.until - now))


class HeldValues(Generic[K, T]):
    """Values by topic, newest only. Not locked.

    max_topics, max_bytes: bounds; what is over them is not taken
    """

    def __init__(self, max_topics: int = MAX_TOPICS, max_bytes: int = MAX_BYTES) -> None:
        self._max_topics, self._max_bytes = max_topics, max_bytes
        self._held: dict[K, Held[T]] = {}
        """By topic. What has expired is a tombstone from then on, whether that was noticed yet or not."""
        self._bytes = 0
        """The sum of all sizes; at most `_max_bytes`."""
        self._next_sweep = 0.0
        """When `tick` next looks for what is to be forgotten."""
        self.refused = 0
        """What was over the bounds, since the start."""

    def __len__(self) -> int:
        """Topics, those with a tombstone too."""
        return len(self._held)

    def put(
        self, topic: K, stamp: Stamp, value: T, size: int, now: float, *, expires_s: float = 0, is_clear: bool = False
    ) -> bool:
        """Take a value, or a tombstone; return whether it was taken: it is newer, and within the bounds.

        size:      bytes of the value
        expires_s: so long from now on; 0: for good
        """
        before = self._held.get(topic)
        if before is not None and stamp <= before.stamp:
            return False
        size += len(topic) + _OVERHEAD
        if not self._has_room(topic, size, now):
            self.refused += 1
            return False
        before = self._held.get(topic)  # it may just have been forgotten
        until = now + (TOMBSTONE_S if is_clear else expires_s or math.inf)
        held = Held(stamp, value, is_clear, size, until)
        self._bytes += size - (before.size if before else 0)  # no call between these two, and so no interrupt
        self._held[topic] = held
        return True

    def get(self, topic: K, now: float) -> Held[T] | None:
        """Return what is known of a topic: a value, or a tombstone; None: nothing."""
        held = self._held.get(topic)
        return None if held is None or self._is_over(held, now) else held

    def forget(self, topic: K) -> None:
        """Know nothing of a topic."""
        held = self._held.get(topic)
        if held is not None:
            del self._held[topic]
            self._bytes -= held.size

    def clear(self) -> None:
        """Know nothing any more."""
        self._held.clear()
        self._bytes = 0

    def stamp_ns(self, topic: K, now_ns: int) -> int:
        """Return the time to put on this topic's next value: now, or just behind the last one where the clock went
        back."""
        held = self._held.get(topic)
        return now_ns if held is None else max(now_ns, held.stamp[0] + 1)

    def topics(self) -> list[K]:
        """Return all topics, those with a tombstone too."""
        return list(self._held)

    def values(self, now: float) -> Iterator[tuple[K, Held[T]]]:
        """Return the topics that have a value, as they are when this is first asked. cost: O(all)"""
        return ((topic, held) for topic, held in self.known(now) if not held.is_clear)

    def known(self, now: float) -> Iterator[tuple[K, Held[T]]]:
        """Yield all topics, those with a tombstone too, likewise."""
        for topic, held in list(self._held.items()):
            if not self._is_over(held, now):
                yield topic, held

    def tick(self, now: float) -> None:
        """Every 10 s, forget what is to be forgotten. cost: O(all) then"""
        if now >= self._next_sweep:
            self._next_sweep = now + _SWEEP_S
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        for topic in [topic for topic, held in self._held.items() if self._is_over(held, now)]:
            self.forget(topic)

    def _is_over(self, held: Held[T], now: float) -> bool:
        """Whether it is to be forgotten. A value whose time is up becomes a tombstone, from when it was up."""
        if held.until <= now and not held.is_clear:
            held.is_clear, held.until = True, held.until + TOMBSTONE_S
        return held.until <= now

    def _has_room(self, topic: K, size: int, now: float) -> bool:
        for _ in range(2):
            before = self._held.get(topic)
            more = size - (before.size if before else 0)
            if self._bytes + more <= self._max_bytes and (before is not None or len(self._held) < self._max_topics):
                return True
            self._sweep(now)
        return False

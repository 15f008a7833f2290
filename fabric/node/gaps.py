"""Numbers on every message, the receiver's half: it finds what is missing, double or out of order. Pure.

`numbering` says what the numbers are. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from fabric.node.contested import Contested

T = TypeVar("T")

REORDER_WINDOW_S = 0.5  # how long what came too early waits for what is missing, after a move or a reconnect
MAX_ENTRIES = 1_000_000  # pairs of topic and publisher a receiver keeps; each costs about 0.5 kB
MAX_AWAITING = 100_000  # items that wait at once, over all topics
MAX_AWAITING_BYTES = 16 * 1024 * 1024  # of their parts
MAX_JUMP = 2**32  # further above the last number a publisher cannot be, whatever was lost
MAX_NUMBER = 2**48  # a first number; who publishes a million messages a second comes here in nine years

_SECOND_CHANCES = 16
_MAX_LOOKS = 10_000

TOO_OLD, PUBLISHER_GONE, TOO_SLOW, TIMED_OUT = "too old", "publisher gone", "too slow", "timed out"
REASONS = (TOO_OLD, PUBLISHER_GONE, TOO_SLOW, TIMED_OUT)
"""Why a loss could not be repaired: the publisher does not have it any more; nothing is heard of the publisher; this
node could not keep up with what arrived; the publisher did not answer, or not all of it, in time."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages `first` to `last` of one publisher on one topic, `lost` in number, that will not be delivered.

    reason: one of `REASONS`; "" where repair was not tried
    """

    topic: str
    publisher: int
    first: int
    last: int
    lost: int
    reason: str = ""


class Deliver(NamedTuple, Generic[T]):
    """Hand `item` to the subscribers."""

    topic: str
    item: T


@dataclass(frozen=True, slots=True)
class Forged:
    """This number is not the publisher's: it is refused, or it was believed, and is not any more."""

    topic: str
    publisher: int
    number: int


Effect = Deliver[T] | Gap | Forged
_TAIL: Any = object()  # waits in the place of an item: this number was sent, and is not here


class _Lost(NamedTuple):
    """Waits in the place of an item: this number and those up to `last` are not to come, and why."""

    last: int
    reason: str


class _Awaiting(Generic[T]):
    """What came too early on one topic from one publisher."""

    __slots__ = ("items", "numbers")

    def __init__(self) -> None:
        self.items: dict[int, T | _Lost] = {}
        """By number, each above the last one that was delivered plus 1, or a tail; never empty between calls."""
        self.numbers: list[int] = []
        """The keys of `items`, in order. What comes too early is nearly always the highest."""

    def add(self, number: int, item: T | _Lost) -> bool:
        """Put an item in its place; whether nothing was there."""
        is_new = number not in self.items
        if is_new:
            numbers = self.numbers
            if not numbers or number > numbers[-1]:
                numbers.append(number)
            else:
                numbers.insert(bisect_left(numbers, number), number)
        self.items[number] = item
        return is_new

    def holes(self, last: int, limit: int) -> list[tuple[int, int]]:
        """Return what is missing above `last`, (first, last) each: at least the first hole, about `limit` numbers."""
        found: list[tuple[int, int]] = []
        missing, first = 0, last + 1
        for number in self.numbers[:_MAX_LOOKS]:
            item = self.items[number]
            if item is _TAIL:
                continue
            if number > first:
                found.append((first, number - 1))
                missing += number - first
                if missing >= limit:
                    return found
            first = max(first, item.last + 1 if isinstance(item, _Lost) else number + 1)
        tail = self.numbers[-1]
        if self.items[tail] is _TAIL and first <= tail and len(self.numbers) <= _MAX_LOOKS:
            found.append((first, tail))
        return found


class GapDetector(Generic[T]):
    """Puts each publisher's messages on each topic in order, and tells what is lost and what is double.

    Returns effects, a list of `Deliver`, `Gap` and `Forged`, to be carried out in that order. `T` is whatever the
    caller wants back for delivery.

    Who forges numbers can silence a publisher for a while, but not for good: a jump above `MAX_JUMP` is refused, and a
    stream that goes on below the last number for long enough is taken for the true one (`fabric.node.contested`).

    The hot path is the caller's. `lasts(topic)` is a plain dict {publisher: last number}:

        if last.get(publisher) == number - 1:
            last[publisher] = number              # the usual case: in order, deliver
        else:
            effects = detector.observe(...)

    Numbers are ints from 1. The caller checks this, before the inline test as before every call.

    Only the detector adds and removes keys. While items wait, the entry is -1 - last, below every number, so that
    the inline test fails and `observe` decides. (A negative number could pass it.) The dict stays the same object until
    the topic is forgotten, or its last publisher evicted: it is empty from then on, so that an old one costs time but
    is never wrong.
    """

    def __init__(
        self,
        reorder_window_s: float = REORDER_WINDOW_S,
        max_entries: int = MAX_ENTRIES,
        max_awaiting: int = MAX_AWAITING,
        *,
        max_awaiting_bytes: int = MAX_AWAITING_BYTES,
        repairs: bool = False,
    ) -> None:
        self.reorder_window_s = reorder_window_s
        self.max_entries = max_entries
        self.max_awaiting, self.max_awaiting_bytes = max_awaiting, max_awaiting_bytes
        self.repairs = repairs
        """Whatever is missing is waited for, until it comes or `give_up` is called; time releases nothing. Never
        changes."""
        self.duplicates = 0
        """Messages not above the last number, or that waited already, since the start; as all that follow."""
        self.gaps = 0
        """Effects `Gap`."""
        self.lost = 0
        """Messages that these named."""
        self.started_late = 0
        """First numbers above 1: no loss is told, since it is not known what was wanted before."""
        self.evicted = 0
        """Entries forgotten because there were `max_entries`."""
        self._topics: dict[str, dict[int, int]] = {}
        """Entries: by topic, then by publisher, the last number, or -1 - last while something waits there."""
        self._entries: deque[tuple[str, int, int]] = deque()
        """(topic, publisher, last number when it was queued): every entry once; the next to be evicted first."""
        self._awaiting: dict[tuple[str, int], _Awaiting[T]] = {}
        """What waits, by topic and publisher: exactly where the entry is negative."""
        self._deadlines: deque[tuple[float, str, int, int, int]] = deque()
        """(until when, topic, publisher, number, bytes) of what waits, in order of time; void if it was released
        before. With `repairs` the time is inf."""
        self._awaiting_bytes = 0
        """The sum of the bytes in `_deadlines`."""
        self._contested = Contested()
        """Of what looks like duplicates, what may be the true stream."""

    @property
    def is_awaiting(self) -> bool:
        """Whether `expire` has anything to release, now or later."""
        return bool(self._deadlines)

    def lasts(self, topic: str) -> dict[int, int]:
        """Return the topic's last numbers by publisher, for the inline test; see above."""
        lasts = self._topics.get(topic)
        if lasts is None:
            if len(self._topics) >= 2 * self.max_entries:  # at least half are empty: asked for, never observed
                self._topics = {name: numbers for name, numbers in self._topics.items() if numbers}
            lasts = self._topics[topic] = {}
        return lasts

    def observe(
        self,
        topic: str,
        publisher: int,
        number: int,
        now: float,
        *,
        item: T,
        awaits: bool,
        sent_ns: int = 0,
        size: int = 0,
    ) -> list[Effect[T]]:
        """Take one message. `awaits`: after a move or reconnect, when what is missing may still come by the other way.

        sent_ns: by the publisher's clock
        size:    bytes that it costs to keep the item
        returns: nothing for a duplicate (not above the last number, or waiting already) and for what has to wait
        """
        lasts = self.lasts(topic)
        last = lasts.get(publisher)
        if last is None:
            return self._first(topic, publisher, number, item)
        if number - _plain(last) > MAX_JUMP:
            return [Forged(topic, publisher, number)]
        if number <= _plain(last):
            return self._came_again(topic, publisher, number, now, item, sent_ns)
        if last < 0 or ((awaits or self.repairs) and number > last + 1):
            return self._await(topic, publisher, number, now, item, size)
        lasts[publisher] = number
        if number == last + 1:
            return [Deliver(topic, item)]
        return [self._gap(topic, publisher, last + 1, number - 1), Deliver(topic, item)]

    def tail(self, topic: str, publisher: int, number: int, now: float, awaits: bool) -> list[Effect[T]]:
        """Take a tail: the publisher has sent up to `number`. A topic never seen stays so: its start is unknown."""
        lasts = self._topics.get(topic, {})
        last = lasts.get(publisher)
        if last is None or number <= _plain(last):
            return []
        if number - _plain(last) > MAX_JUMP:
            return [Forged(topic, publisher, number)]
        if last < 0 or awaits or self.repairs:
            early = self._awaiting.get((topic, publisher))
            return [] if early and number in early.items else self._await(topic, publisher, number, now, _TAIL, 0)
        lasts[publisher] = number
        return [self._gap(topic, publisher, last + 1, number)]

    def expire(self, now: float) -> list[Effect[T]]:
        """Release, in order, what has waited for the whole window, and report what is missing before it."""
        effects: list[Effect[T]] = []
        while self._deadlines and (self._deadlines[0][0] <= now or not self._waits(*self._deadlines[0][1:4])):
            effects += self._release_oldest()
        return effects

    # ── what is repaired: see `fabric.node.repair` ───────────────────────────────────────────────────────────────

    def missing_from(self, topic: str, publisher: int) -> int | None:
        """Return the first number that is missing while others wait for it; None when nothing is."""
        last = self._topics.get(topic, {}).get(publisher, 0)
        return -last if last < 0 else None

    def holes(self, topic: str, publisher: int, limit: int) -> list[tuple[int, int]]:
        """Return what is missing, (first, last) each, in order: about `limit` numbers; [] when nothing is.

        cost: O(what waits there), up to 10,000
        """
        early = self._awaiting.get((topic, publisher))
        return early.holes(_plain(self._topics[topic][publisher]), limit) if early else []

    def has_passed(self, topic: str, publisher: int, number: int) -> bool:
        """Whether a number is not above the last one: a duplicate, unless it is missing."""
        last = self._topics.get(topic, {}).get(publisher)
        return last is not None and number <= _plain(last)

    def lacks(self, topic: str, publisher: int, number: int) -> bool:
        """Whether others wait for this number."""
        early = self._awaiting.get((topic, publisher))
        if early is None or number <= _plain(self._topics[topic][publisher]) or number > early.numbers[-1]:
            return False
        at = bisect_left(early.numbers, number)
        if early.numbers[at] == number and early.items[number] is not _TAIL:
            return False
        before = early.items[early.numbers[at - 1]] if at else None
        return not (isinstance(before, _Lost) and number <= before.last)

    def give_up(self, topic: str, publisher: int, first: int, last: int, reason: str) -> list[Effect[T]]:
        """What is missing between these numbers is not to come. It is told when its turn comes, in order."""
        early = self._awaiting.get((topic, publisher))
        if early is None:
            return []
        for start, end in early.holes(_plain(self._topics[topic][publisher]), _MAX_LOOKS):
            if start <= last and end >= first:
                early.add(max(start, first), _Lost(min(end, last), reason))
        return self._advance(topic, publisher, 0)

    def give_up_all(self, topic: str, publisher: int, reason: str) -> list[Effect[T]]:
        """Nothing of what is missing there is to come."""
        early = self._awaiting.get((topic, publisher))
        return self._advance(topic, publisher, early.numbers[-1], reason) if early else []

    def expect(self, topic: str, publisher: int, number: int) -> bool:
        """What was delivered before this run, or by another way, went up to `number`: what follows it is due.

        returns: False, and nothing has changed, when the publisher is known on that topic: it has said more since
        """
        lasts = self.lasts(topic)
        if publisher in lasts:
            return False
        if len(self._entries) >= self.max_entries:
            return False
        self._entries.append((topic, publisher, number))
        lasts[publisher] = number
        return True

    # ── topics ───────────────────────────────────────────────────────────────────────────────────────────────────

    def knows_any(self, topics: Iterable[str]) -> bool:
        """Whether `forget` could have to do with any of these topics."""
        return any(topic in self._topics for topic in topics)

    def forget(self, unwanted: Callable[[str], bool]) -> int:
        """Drop all topics for which `unwanted(topic)`, and what waits there. Return how many topics. O(all entries)."""
        topics = {topic for topic in self._topics if unwanted(topic)}
        if not topics:
            return 0
        for topic in topics:
            self._topics.pop(topic).clear()
        self._entries = deque(entry for entry in self._entries if entry[0] not in topics)
        self._awaiting = {key: early for key, early in self._awaiting.items() if key[0] not in topics}
        return len(topics)

    def _first(self, topic: str, publisher: int, number: int, item: T) -> list[Effect[T]]:
        if number > MAX_NUMBER:
            return [Forged(topic, publisher, number)]
        effects = self._evict() if len(self._entries) >= self.max_entries else []
        self._entries.append((topic, publisher, number))
        self.lasts(topic)[publisher] = number
        if number > 1:
            self.started_late += 1
        effects.append(Deliver(topic, item))
        return effects

    def _came_again(
        self, topic: str, publisher: int, number: int, now: float, item: T, sent_ns: int
    ) -> list[Effect[T]]:
        """A duplicate, unless the true publisher proves to be at this number: then what was dropped of it is lost."""
        last = _plain(self._topics[topic][publisher])
        first = self._contested.came_again(topic, publisher, number, last, sent_ns, now)
        if first is None:
            self.duplicates += 1
            return []
        early = self._awaiting.get((topic, publisher))
        effects = self._advance(topic, publisher, max(early.numbers)) if early else []
        self._topics[topic][publisher] = number
        return [
            *effects,
            Forged(topic, publisher, last),
            self._gap(topic, publisher, first, number - 1),
            Deliver(topic, item),
        ]

    def _await(self, topic: str, publisher: int, number: int, now: float, item: T, size: int) -> list[Effect[T]]:
        lasts = self._topics[topic]
        last = lasts[publisher]
        if last >= 0:
            last = lasts[publisher] = -1 - last
        early = self._awaiting.get((topic, publisher))
        if early is None:
            early = self._awaiting[topic, publisher] = _Awaiting()
        known = early.items.get(number)
        if known is not None and known is not _TAIL:
            self.duplicates += 1
            return []
        if early.add(number, item):
            until = math.inf if self.repairs else now + self.reorder_window_s
            self._deadlines.append((until, topic, publisher, number, size))
            self._awaiting_bytes += size
        effects = self._advance(topic, publisher, 0)
        while len(self._deadlines) > self.max_awaiting or self._awaiting_bytes > self.max_awaiting_bytes:
            effects += self._release_oldest()
        return effects

    def _waits(self, topic: str, publisher: int, number: int) -> bool:
        early = self._awaiting.get((topic, publisher))
        return early is not None and number in early.items

    def _release_oldest(self) -> list[Effect[T]]:
        _, topic, publisher, number, size = self._deadlines.popleft()
        self._awaiting_bytes -= size
        if not self._waits(topic, publisher, number):
            return []
        return self._advance(topic, publisher, number, TOO_SLOW if self.repairs else "")

    def _advance(self, topic: str, publisher: int, upto: int, reason: str = "") -> list[Effect[T]]:
        """Release what waits up to `upto`, if that still waits, and then what follows without a hole.

        reason: why what is missing before `upto` is not waited for any longer
        """
        early = self._awaiting[topic, publisher]
        numbers, items = early.numbers, early.items
        last = -1 - self._topics[topic][publisher]
        effects: list[Effect[T]] = []
        done = 0
        for number in numbers:
            item = items[number]
            if number > upto > last:  # what waited as `upto` was a tail
                effects.append(self._gap(topic, publisher, last + 1, upto, reason))
                last = upto
            if number > upto and (number > last + 1 or (item is _TAIL and number == last + 1)):
                break
            done += 1
            del items[number]
            if item is _TAIL:
                continue
            if number > last + 1:
                effects.append(self._gap(topic, publisher, last + 1, number - 1, reason))
                last = number - 1
            if isinstance(item, _Lost):
                if item.last > last:
                    effects.append(self._gap(topic, publisher, last + 1, item.last, item.reason))
                    last = item.last
            elif number <= last:  # it came, after all, when it was given up
                self.duplicates += 1
            else:
                effects.append(Deliver(topic, item))
                last = number
        del numbers[:done]
        if upto > last:
            effects.append(self._gap(topic, publisher, last + 1, upto, reason))
            last = upto
        self._topics[topic][publisher] = -1 - last
        if not numbers:
            del self._awaiting[topic, publisher]
            self._topics[topic][publisher] = last
        return effects

    def _evict(self) -> list[Effect[T]]:
        """Forget the oldest entry. One that has moved since it was last looked at is passed over, up to 16 times."""
        for _ in range(_SECOND_CHANCES):
            topic, publisher, then = self._entries.popleft()
            last = self._topics[topic][publisher]
            if last == then:
                break
            self._entries.append((topic, publisher, last))
        else:
            topic, publisher, _ = self._entries.popleft()
        early = self._awaiting.get((topic, publisher))
        effects = self._advance(topic, publisher, max(early.numbers)) if early else []
        lasts = self._topics[topic]
        del lasts[publisher]
        if not lasts:
            del self._topics[topic]
        self.evicted += 1
        return effects

    def _gap(self, topic: str, publisher: int, first: int, last: int, reason: str = "") -> Gap:
        lost = last - first + 1
        self.gaps += 1
        self.lost += lost
        return Gap(topic, publisher, first, last, lost, reason)


def _plain(entry: int) -> int:
    """Return the last number, whether something waits there or not."""
    return entry if entry >= 0 else -1 - entry

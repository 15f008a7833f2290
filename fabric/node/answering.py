"""What a publisher sends once more to those who ask for it, and how much at once. Pure.

What is asked waits for its turn: a share of what the publisher sends anyway. When several ask for the same, the parts
go out once more on their own topic: all who have them drop them by their numbers. Who asks for what went out so just
now gets no answer: it is on its way, and who does not get it asks again.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

from fabric.node.gaps import TOO_OLD
from fabric.protocol.repair import Answer, Ask, Ranges

SHARE = 0.25
"""Of the bytes that it publishes each second, so many more for repair,"""
FLOOR_BYTES_S = 8 * 1024 * 1024
"""and so many in any case: who has lost something asks most when all is quiet again."""
TURN_S = 0.1
"""At most what this time gives is sent at once."""
ANSWER_BYTES = 64 * 1024
"""Of the parts in one answer, or one part alone."""
SEVERAL = 4
"""The last of so many who ask for the same within `REPEATED_S` gets it on its topic, and those behind with it."""
REPEATED_S = 0.25
"""For so long what was sent counts as being on its way. Who misses it asks again later than that."""
MAX_ASKS = 10_000
"""That wait for their turn; those beyond are dropped: who asks does so again."""
_EXTRA_BYTES = 512
"""What an ask counts for, and an answer beside its parts: to look for what is kept costs time, too."""

Key = tuple[str, int, int]
"""Topic, publisher and number."""
Find = Callable[[str, int, Ranges], list[tuple[int, bytes]]]


@dataclass(frozen=True)
class Send:
    """Send this to who asks under this token."""

    token: str
    publisher: int
    answer: Answer


@dataclass(frozen=True)
class Repeat:
    """Send this part as it is once more."""

    part: bytes


class Answerer:
    """What one publisher is asked for. I/O thread.

    find:       gives what is kept, see `Ring.find`: of topic, publisher, ranges
    last:       gives the last number of a topic
    most_bytes: a part that is larger is repeated on its topic, whoever asks
    """

    def __init__(self, find: Find, last: Callable[[str, int], int], most_bytes: int) -> None:
        self._find, self._last, self._most_bytes = find, last, most_bytes
        self._answer_bytes = min(ANSWER_BYTES, most_bytes)
        """Of the parts in one answer."""
        self._asks: deque[Ask] = deque()
        """What waits for its turn, at most `MAX_ASKS`."""
        self._allowance = 0.0
        """Bytes that may be sent now; below 0 after a part that was larger than it."""
        self._rate = 0.0
        """Bytes published each second, as they were counted last."""
        self._counted_at, self._counted = 0.0, 0
        """When that was, and how many there were."""
        self._turn_at = 0.0
        """When the last turn was."""
        self._given: Counter[Key] = Counter()
        """How many were sent each part just now; `SEVERAL` and more: it went out on its topic."""
        self._given_at: deque[tuple[float, Key, int]] = deque()
        """Until when that counts, in order of time: of what, and how many."""

    @property
    def waits(self) -> bool:
        """Whether something waits for its turn."""
        return bool(self._asks)

    def asked(self, ask: Ask) -> None:
        """Somebody asks."""
        if len(self._asks) < MAX_ASKS:
            self._asks.append(ask)

    def turn(self, now: float, published_bytes: int) -> list[Send | Repeat]:
        """Return what is to be sent now, in this order. published_bytes: so far, over all"""
        self._count(now, published_bytes)
        while self._given_at and self._given_at[0][0] <= now:
            _, key, count = self._given_at.popleft()
            self._given[key] -= count
            if not self._given[key]:
                del self._given[key]
        effects: list[Send | Repeat] = []
        while self._asks and self._allowance > 0:
            self._allowance -= _EXTRA_BYTES
            effects += self._answer(self._asks.popleft(), now)
        return effects

    def _count(self, now: float, published: int) -> None:
        if now >= self._counted_at + 1.0:
            self._rate = (published - self._counted) / (now - self._counted_at)
            self._counted_at, self._counted = now, published
        share = max(FLOOR_BYTES_S, SHARE * self._rate)
        self._allowance = min(self._allowance + share * (now - self._turn_at), share * TURN_S)
        self._turn_at = now

    def _answer(self, ask: Ask, now: float) -> list[Send | Repeat]:
        """All that is kept of what was asked, in answers of a bounded size; and what is not."""
        effects: list[Send | Repeat] = []
        parts: list[bytes] = []
        have: list[int] = []
        size, passed = 0, False
        for number, part in self._find(ask.topic, ask.publisher, ask.ranges):
            have.append(number)
            key = (ask.topic, ask.publisher, number)
            given = self._given[key]
            if given >= SEVERAL or given == SEVERAL - 1 or len(part) > self._most_bytes:
                passed = True
                if given < SEVERAL:
                    effects.append(self._repeat(key, part, now))
                continue
            if parts and size + len(part) > self._answer_bytes:
                effects.append(self._send(ask, parts, (), done=False))
                parts, size = [], 0
            self._give(key, 1, now)
            parts.append(part)
            size += len(part)
        last = self._last(ask.topic, ask.publisher)
        missing = tuple((first, end, TOO_OLD) for first, end in _without(ask.ranges, have, last))
        if parts or missing or not passed:
            effects.append(self._send(ask, parts, missing, done=not passed))
        return effects

    def _send(self, ask: Ask, parts: list[bytes], missing: tuple[tuple[int, int, str], ...], *, done: bool) -> Send:
        self._allowance -= sum(map(len, parts)) + _EXTRA_BYTES
        return Send(ask.token, ask.publisher, Answer(ask.ident, ask.topic, tuple(parts), missing, done))

    def _repeat(self, key: Key, part: bytes, now: float) -> Repeat:
        self._allowance -= len(part)
        self._give(key, SEVERAL, now)
        return Repeat(part)

    def _give(self, key: Key, count: int, now: float) -> None:
        self._given[key] += count
        self._given_at.append((now + REPEATED_S, key, count))


def _without(ranges: Ranges, have: list[int], last: int) -> list[tuple[int, int]]:
    """Return what of these ranges, up to `last`, is not among `have`, which is in order."""
    found = []
    at = 0
    for first, end in ranges:
        end = min(end, last)
        while at < len(have) and have[at] <= end:
            if have[at] > first:
                found.append((first, have[at] - 1))
            first = max(first, have[at] + 1)
            at += 1
        if first <= end:
            found.append((first, end))
    return found

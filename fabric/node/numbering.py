"""Numbers on every message, the publisher's half: it counts, and tells when the last number is to be said again. Pure.

A publisher (a random u64 for each run) numbers its messages for each topic from 1. A filter matches either all messages
of a topic or none, so a subscriber sees every number of a topic, and a number that is missing is a message lost. A lost
last message shows by the *tail*: when a topic has been quiet for a second its publisher sends the last number once,
alone. `gaps` is the receiver's half. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

import contextlib
from collections import deque
from itertools import islice

from fabric.errors import StateError

QUIET_S = 1.0  # how long a topic is quiet before its tail is due
MAX_TOPICS = 1_000_000  # topics a publisher counts; each costs about 0.2 kB

GENERATION_S = 0.25  # tails are up to this much later than QUIET_S
READ_TRIES = 10
_MAX_GENERATIONS = 8
_STALE_PER_TAIL = 16


class Numbering:
    """Counts one publisher's messages for each topic, and knows whose tail is due.

    Topics are given as the encoder's prefixes. Not locked: call it under the lock that orders the sends.
    """

    # A *generation* is a dict of the topics published in one quarter of a second, with their last numbers. When it
    # has come of age, an entry whose number is still the topic's last is a quiet topic; any other entry is stale,
    # for a later generation has that topic too. So next() needs no clock and moves nothing.

    def __init__(self, publisher: int, max_topics: int = MAX_TOPICS) -> None:
        self.publisher = publisher
        self.max_topics = max_topics
        self.numbers: dict[bytes, int] = {}
        """Topics and their last numbers. `Uplink` does the work of `next` itself where speed counts."""
        self.recent: dict[bytes, int] = {}
        """The generation that is open."""
        self._recent_since: float | None = None
        self._generations: deque[tuple[float, dict[bytes, int]]] = deque()  # (closed at, topics), oldest first

    def next(self, prefix: bytes) -> int:
        """Return the topic's next number, from 1. Errors: StateError for a new topic when full. Cost: 0.15 us."""
        number = self.numbers.get(prefix, 0) + 1
        if number == 1 and len(self.numbers) >= self.max_topics:
            raise StateError("Numbering", "full", "next", f"{self.max_topics} topics are counted: restart() first")
        self.numbers[prefix] = self.recent[prefix] = number
        return number

    def last(self, prefix: bytes) -> int:
        """Return the topic's last number, 0 when it has none."""
        return self.numbers.get(prefix, 0)

    def counted(self, start: int, most: int) -> list[tuple[bytes, int]]:
        """Return at most `most` topics and their last numbers, in the order of their first ones, from place `start` on.

        May be called without the lock: what is published meanwhile may be in it or not.
        cost: 30 ns each, and 5 ns for each before `start`
        """
        for _ in range(READ_TRIES):
            with contextlib.suppress(RuntimeError):  # another topic came meanwhile
                return list(islice(self.numbers.items(), start, start + most))
        return []

    def ago_s(self, prefix: bytes, now: float) -> float | None:
        """Return how many seconds ago the topic's last message was, at most; None: longer than is known, 1 to 3 s.

        May be called without the lock.
        """
        with contextlib.suppress(RuntimeError):  # a generation came or went meanwhile
            if prefix in self.recent:
                return 0.0
            for closed_at, topics in reversed(self._generations):
                if prefix in topics:
                    return now - closed_at + GENERATION_S
        return None

    @property
    def waits_for_tails(self) -> bool:
        """Whether topics wait for their tail: `due_tails` is to be called each quarter of a second until then."""
        return bool(self.recent or self._generations)

    def take_back(self, prefix: bytes) -> None:
        """Undo the last `next(prefix)`, whose message was not accepted; its number goes to the next message."""
        number = self.numbers[prefix] - 1
        if number:
            self.numbers[prefix] = self.recent[prefix] = number
        else:
            del self.numbers[prefix]

    def due_tails(self, now: float, limit: int) -> list[tuple[bytes, int]]:
        """Return at most `limit` tails, (prefix, last number), of topics quiet for 1 to 1.25 s; each only once.

        cost: at most 16 * limit look-ups. What is left over comes with the next calls; meanwhile the generations
              go on longer instead of piling up, and tails come later.
        """
        if self._recent_since is None:
            self._recent_since = now
        if now - self._recent_since >= GENERATION_S and len(self._generations) < _MAX_GENERATIONS:
            if self.recent:
                self._generations.append((now, self.recent))
                self.recent = {}
            self._recent_since = now
        tails: list[tuple[bytes, int]] = []
        looks = limit * _STALE_PER_TAIL
        while looks > 0 and len(tails) < limit and self._generations and self._generations[0][0] + QUIET_S <= now:
            topics = self._generations[0][1]
            while topics and looks > 0 and len(tails) < limit:
                looks -= 1
                prefix, number = topics.popitem()
                if self.numbers.get(prefix) == number:
                    tails.append((prefix, number))
            if not topics:
                self._generations.popleft()
        return tails

    def all_tails(self) -> list[tuple[bytes, int]]:
        """Return the tails of all topics that had none since their last message, as at close. O(those topics)."""
        generations = [topics for _, topics in self._generations] + [self.recent]
        tails = [item for topics in generations for item in topics.items() if self.numbers.get(item[0]) == item[1]]
        self._generations.clear()
        self.recent = {}
        return tails

    def restart(self, publisher: int) -> list[tuple[bytes, int]]:
        """Count from 1 again under a new publisher id. Return the tails still due, to be sent under the old one.

        errors: StateError for the same id, under which every number would be used twice
        """
        if publisher == self.publisher:
            raise StateError("Numbering", "counting", "restart", f"{publisher} is the present id: take a new one")
        tails = self.all_tails()
        self.publisher = publisher
        self.numbers = {}
        return tails

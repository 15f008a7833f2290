"""Rates that change over time: ramps and bursts, as a schedule of publishers. Pure.

    shape = Shape((Piece(10.0, 1_000.0, 10_000.0), Piece(5.0, 10_000.0, 10_000.0)))
    plan = Shaped(start_ns, end_ns, shape.mean, shape, publishers=2, slot=200_000_000)
    plan.due_ns(publisher=1, k=0)                  # as of a `Schedule`

Within a piece the rate changes evenly from its first to its last.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nodes.load.schedule import Stretch


@dataclass(frozen=True)
class Piece:
    """Some seconds with a rate at their beginning and at their end, in messages a second; one of both is above 0."""

    seconds: float
    first: float
    last: float

    @property
    def messages(self) -> float:
        return self.seconds * (self.first + self.last) / 2

    def count(self, at_s: float) -> float:
        """Return how many messages are due by then."""
        return at_s * (self.first + (self.last - self.first) * at_s / self.seconds / 2)

    def when(self, count: float) -> float:
        """Return by when so many are due, in seconds."""
        slope = (self.last - self.first) / self.seconds
        root = math.sqrt(max(0.0, self.first * self.first + 2 * slope * count))
        return 2 * count / (self.first + root) if self.first + root else 0.0


@dataclass(frozen=True)
class Shape:
    """Pieces, one after the other."""

    pieces: tuple[Piece, ...]

    @property
    def seconds(self) -> float:
        return sum(each.seconds for each in self.pieces)

    @property
    def mean(self) -> float:
        """Messages a second on average."""
        return sum(each.messages for each in self.pieces) / self.seconds

    def count(self, at_s: float) -> float:
        """Return how many messages are due by then; all of them at the end."""
        found = 0.0
        for each in self.pieces:
            if at_s <= 0:
                break
            found += each.count(min(at_s, each.seconds))
            at_s -= each.seconds
        return found

    def when(self, count: float) -> float:
        """Return by when so many are due, in seconds; the end, where they are more than all."""
        passed_s = 0.0
        for each in self.pieces:
            if count <= each.messages:
                return passed_s + each.when(count)
            count -= each.messages
            passed_s += each.seconds
        return passed_s


@dataclass(frozen=True)
class Shaped(Stretch):
    """A stretch at the rates of a shape; the publishers take turns. `rate` is the mean.

    slot: of its figures over time, in ns; that of all phases of a test is the same
    """

    shape: Shape
    publishers: int
    slot: int

    @property
    def slot_ns(self) -> int:
        return self.slot

    def due_ns(self, publisher: int, k: int) -> int:
        """Return the intended time of a publisher's k-th message; publisher and k count from 0."""
        return self.start_ns + int(self.shape.when(k * self.publishers + publisher) * 1e9)

    def due(self, publisher: int, now_ns: int) -> int:
        """Return how many messages of this publisher are due by now; all are due before `end_ns`."""
        last_ns = min(now_ns, self.end_ns - 1)
        count = max(0, int((self.shape.count((last_ns - self.start_ns) / 1e9) - publisher) / self.publishers) + 2)
        while count and self.due_ns(publisher, count - 1) > last_ns:  # rounding
            count -= 1
        return count

    def scheduled(self, publisher: int) -> int:
        """Return how many messages this publisher is to send in all."""
        return self.due(publisher, self.end_ns)


def bursts(seconds: float, rate: float, burst: float, every_s: float, for_s: float) -> Shape:
    """Return a steady rate with a burst at another rate at the end of every `every_s`, for `for_s` each."""
    pieces = []
    left = seconds
    while left > 1e-9:
        for length, at in ((every_s - for_s, rate), (for_s, burst)):
            length = min(length, left)
            if length > 1e-9:
                pieces.append(Piece(length, at, at))
            left -= length
    return Shape(tuple(pieces))

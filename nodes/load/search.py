"""Finds the highest rate that holds, on a system that may be noisy. Pure, but for the trials that it is given.

    found = find_max(65_000.0, holds, confirm)
    found.best                                     # the rate, None when none held
    found.confidence                               # … and how far it can be trusted

It begins with what the system did as fast as it could (`top`), so that one bad moment at a low rate cannot end it:

1. Down from the top, in steps of DOWN, until a rate holds.
2. Back up: between the rate that held and the one above that fell, until they are less than PRECISION apart. Where the
   top itself held, up from there in the same way.
3. The highest that held is tried for longer. Where it falls twice, the next lower rate is.

A rate holds when NEEDED trials of it held before NEEDED fell: so it takes as many bad moments to be wrong, in either
way. Below a LOWEST share of the top nothing is looked for: there it is noise, or a limit that no rate keeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import comb

DOWN = 0.7
UP = 1.25
MAX_UP = 8.0
"""So many times the top at most: beyond, publishers do not send any more what they are asked for."""
PRECISION = 1.1
NEEDED = 3
LOWEST = 1 / 20
CONFIDENCE = 0.95


@dataclass
class Step:
    """One rate. Trials that held and fell; `of_it`: those of them that were parts of a confirmation."""

    rate: float
    held: int = 0
    fell: int = 0
    of_it: int = 0
    holds: bool = False
    """As it was judged last, see the module."""

    @property
    def tried(self) -> int:
        return self.held + self.fell


@dataclass
class Found:
    """What a search found.

    top:   what it began with
    steps: in the order in which they were tried first
    best:  the rate that held, and was confirmed; None: none was
    fell:  the lowest rate above it that fell; None: none did
    """

    top: float
    steps: list[Step] = field(default_factory=list)
    best: Step | None = None
    fell: float | None = None

    @property
    def confidence(self) -> float:
        """The share of trials at the best rate that hold, at least, with a confidence of CONFIDENCE."""
        return 0.0 if self.best is None else at_least(self.best.held, self.best.tried)


def find_max(
    top: float,
    holds: Callable[[float], bool],
    confirm: Callable[[float], tuple[bool, int, int]],
    done: Callable[[Step], None] = lambda step: None,
) -> Found:
    """Search, see the module.

    top:     messages a second that the system did
    holds:   tries a rate for a short time
    confirm: tries it for longer: whether it held as a whole, and in how many of how many parts
    done:    hears of each step
    """
    found = Found(top)

    def step(rate: float) -> bool:
        one = Step(rate)
        found.steps.append(one)
        while max(one.held, one.fell) < NEEDED:
            if holds(rate):
                one.held += 1
            else:
                one.fell += 1
        one.holds = one.held > one.fell
        done(one)
        return one.holds

    low, high = _bracket(top, step)
    while low is not None and high is not None and high / low >= PRECISION:
        middle = (low * high) ** 0.5
        if step(middle):
            low = middle
        else:
            high = middle
    while low is not None and low >= top * LOWEST:
        if _confirmed(found, low, confirm, done):
            found.best = next(each for each in found.steps if each.rate == low)
            break
        high, low = low, low / PRECISION
    found.fell = high
    return found


def _bracket(top: float, step: Callable[[float], bool]) -> tuple[float | None, float | None]:
    """Return a rate that held and the next one above that fell; None for either that there is not."""
    rate, high = top, None
    while not step(rate):
        high, rate = rate, rate * DOWN
        if rate < top * LOWEST:
            return None, high
    while high is None and rate * UP <= top * MAX_UP:
        if step(rate * UP):
            rate *= UP
        else:
            high = rate * UP
    return rate, high


def _confirmed(
    found: Found, rate: float, confirm: Callable[[float], tuple[bool, int, int]], done: Callable[[Step], None]
) -> bool:
    one = next((each for each in found.steps if each.rate == rate), None)
    if one is None:
        one = Step(rate)
        found.steps.append(one)
    for _ in range(2):
        one.holds, held, parts = confirm(rate)
        one.held, one.fell, one.of_it = one.held + held, one.fell + parts - held, one.of_it + parts
        if one.holds:
            break
    done(one)
    return one.holds


def at_least(held: int, tried: int, confidence: float = CONFIDENCE) -> float:
    """Return the share that is reached at least with this confidence, where `held` of `tried` did.

    The exact bound of Clopper and Pearson: the lowest probability with which so many are not unlikely.
    """
    if not held:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(50):
        p = (low + high) / 2
        tail = sum(comb(tried, k) * p**k * (1 - p) ** (tried - k) for k in range(held, tried + 1))
        low, high = (low, p) if tail > 1 - confidence else (p, high)
    return low

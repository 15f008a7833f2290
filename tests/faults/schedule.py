"""What goes wrong, when, for how long: a schedule of faults drawn from a seed. Pure: the same seed, the same schedule.

    schedule = draw(7, targets={"kill": ["p1", "p2"], "cut": ["h1"]}, over_s=5.0, count=4)
    for at_s, begins, fault in steps(schedule): …        # each fault begins, and ends, at its moment

A target suffers one fault at a time; several targets may suffer at once. A kind without targets is not drawn, so a
schedule is repeated by its seed only where the same can be done.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LASTS_S: dict[str, tuple[float, float]] = {
    "kill": (0.0, 1.5),  # SIGKILL, and how long until it is started again
    "restart": (0.0, 1.0),  # SIGTERM; started again when it has ended, and no sooner than this
    "stand still": (0.2, 4.0),  # SIGSTOP, SIGCONT; beyond 3 s a proxy is declared dead
    "cut": (0.3, 5.0),  # a host's cable
    "slow": (0.5, 3.0),  # a subscriber whose handler takes its time
    "full disk": (0.5, 3.0),  # the store's
}
"""The kinds of faults, and how long each lasts, from and to."""
PAUSE_S = 0.2
"""Between two faults of one target."""
TRIES = 1_000


@dataclass(frozen=True, order=True)
class Fault:
    """One fault: `what` befalls `target` at `at_s` after the beginning, for `for_s` seconds."""

    at_s: float
    what: str
    target: str
    for_s: float

    @property
    def end_s(self) -> float:
        return self.at_s + self.for_s

    def __str__(self) -> str:
        return f"{self.at_s:5.2f} s  {self.what} {self.target} for {self.for_s:.2f} s"


def draw(
    seed: int, *, targets: Mapping[str, Sequence[str]], over_s: float, count: int, times: float = 1.0
) -> list[Fault]:
    """Return `count` faults that begin within `over_s`, in the order of time.

    targets: for each kind whom it may befall; every kind is as likely as another
    times:   longer than usual by this factor
    errors:  ValueError for a kind that is not known, or where so many do not fit
    """
    unknown = targets.keys() - LASTS_S.keys()
    if unknown:
        raise ValueError(f"{sorted(unknown)}: no such kind of fault; there are {', '.join(LASTS_S)}")
    chance = random.Random(seed)
    kinds = [what for what in LASTS_S if targets.get(what)]
    found: list[Fault] = []
    for _ in range(TRIES):
        if len(found) == count:
            return sorted(found)
        what = chance.choice(kinds)
        shortest, longest = LASTS_S[what]
        fault = Fault(
            chance.uniform(0, over_s),
            what,
            chance.choice(targets[what]),
            chance.uniform(shortest, shortest + (longest - shortest) * times),
        )
        if not any(_collide(fault, other) for other in found):
            found.append(fault)
    raise ValueError(f"{count} faults do not fit into {over_s:g} s; right would be fewer, or a longer time")


def _collide(one: Fault, other: Fault) -> bool:
    """Whether they befall the same target at the same time."""
    return one.target == other.target and one.at_s < other.end_s + PAUSE_S and other.at_s < one.end_s + PAUSE_S


def steps(schedule: Sequence[Fault]) -> list[tuple[float, bool, Fault]]:
    """Return beginnings (True) and ends (False) with their moments, in the order of time."""
    return sorted(
        [(fault.at_s, True, fault) for fault in schedule] + [(fault.end_s, False, fault) for fault in schedule]
    )

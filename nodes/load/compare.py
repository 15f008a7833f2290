"""Whether two load tests differ, and by how much, from their JSON. Pure; chance is an argument.

Samples are the repetitions at the rate of the result where both have FEWEST of them, else the slots of its time.

- The test is that of Mann and Whitney, two-sided: it looks at ranks only, and latencies are far from normal. Slots that
  follow each other are alike (a stall lasts), which would make chance look like a difference: so the variance of U is
  taken as many times larger as samples that do not depend on each other would be fewer.
- Several figures are looked at: by Holm's method, one in twenty comparisons of equal tests shows any difference at all.
- How much: the ratio of the medians, with an interval from resampled blocks of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Protocol

FEWEST = 5
"""Of fewer samples on either side nothing is said."""
SIGNIFICANT = 0.05
RESAMPLED = 2000
SAME = ("publishers", "subscribers", "topics", "filters", "size_bytes", "host", "cpus")
"""What should be the same in both, as the JSON names it; so should the rate."""


class Chance(Protocol):
    """What is needed of a `random.Random`."""

    def randrange(self, start: int, /) -> int: ...


@dataclass(frozen=True)
class Figure:
    """A figure that is compared. of: takes it from a round or a slot, see `report.as_json`; None where there is none"""

    name: str
    unit: str
    more_is_better: bool
    of: Callable[[Mapping[str, Any]], float | None]


def _latency(name: str) -> Callable[[Mapping[str, Any]], float | None]:
    return lambda one: one["latency_ms"].get(name)


FIGURES = (
    Figure("delivered", "/s", True, lambda one: one["delivered_per_s"]),
    Figure("p50", "ms", False, _latency("p50")),
    Figure("p99", "ms", False, _latency("p99")),
    Figure("p99.9", "ms", False, _latency("p99.9")),
)


@dataclass(frozen=True)
class Difference:
    """One figure in both tests.

    a, b:      medians
    ratio:     b / a; low and high hold it with 95 % confidence
    p:         how likely two equal tests differ so much in any of the figures, see the module
    """

    figure: Figure
    a: float
    b: float
    ratio: float
    low: float
    high: float
    p: float

    @property
    def is_shown(self) -> bool:
        return self.p < SIGNIFICANT

    @property
    def is_worse(self) -> bool:
        return self.is_shown and (self.b > self.a) != self.figure.more_is_better


@dataclass(frozen=True)
class Comparison:
    """samples: what they are, and how many of A and B; apart: words on what was not the same"""

    samples: str
    differences: tuple[Difference, ...]
    apart: tuple[str, ...]


def compare(a: Mapping[str, Any], b: Mapping[str, Any], chance: Chance) -> Comparison:
    """Compare two results. Errors: ValueError where one has too little to compare"""
    kind, samples_a, samples_b = _samples(a, b)
    found = []
    for figure in FIGURES:
        one, other = ([value for each in side if (value := figure.of(each)) is not None]
                      for side in (samples_a, samples_b))  # fmt: skip
        if min(len(one), len(other)) >= FEWEST and median(one) > 0:
            found.append(_difference(figure, one, other, kind == "slots", chance))
    if not found:
        raise ValueError(f"expected at least {FEWEST} repetitions or slots of time on each side")
    adjusted = holm([each.p for each in found])
    differences = tuple(
        Difference(each.figure, each.a, each.b, each.ratio, each.low, each.high, p)
        for each, p in zip(found, adjusted, strict=True)
    )
    return Comparison(f"{len(samples_a)} and {len(samples_b)} {kind}", differences, tuple(_apart(a, b)))


def _samples(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, list[Any], list[Any]]:
    of_a, of_b = _repetitions(a), _repetitions(b)
    if min(len(of_a), len(of_b)) >= FEWEST:
        return "repetitions", of_a, of_b
    return "slots", _slots(a), _slots(b)


def _result(test: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = test["result"] or test["rounds"][-1]
    return found


def _repetitions(test: Mapping[str, Any]) -> list[Any]:
    """The rounds at the rate of the result, as long as most of them: a confirmation is no repetition."""
    rate = _result(test)["rate"]
    rounds = [each for each in test["rounds"] if each["rate"] == rate]
    usual = median(each["sending_s"] for each in rounds)
    return [each for each in rounds if each["sending_s"] == usual]


def _slots(test: Mapping[str, Any]) -> list[Any]:
    """The slots of the result within the time of sending; those in which nothing arrived have no latency."""
    one = _result(test)
    count = max(1, math.floor(one["sending_s"] / one["slot_s"] + 1e-6))
    return [each | {"delivered_per_s": each["delivered"] / one["slot_s"]} for each in one["slots"][:count]]


def _apart(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    pairs = [(name, a.get(name), b.get(name)) for name in SAME]
    pairs.append(("rate", _result(a)["rate"], _result(b)["rate"]))
    return [f"{name}: {one} in A, {other} in B" for name, one, other in pairs if one != other]


def _difference(figure: Figure, a: Sequence[float], b: Sequence[float], is_series: bool, chance: Chance) -> Difference:
    low, high = interval(a, b, is_series, chance)
    inflation = max(1.0, (dependence(a) + dependence(b)) / 2) if is_series else 1.0
    return Difference(figure, median(a), median(b), median(b) / median(a), low, high, mann_whitney(a, b, inflation))


def mann_whitney(a: Sequence[float], b: Sequence[float], inflation: float = 1.0) -> float:
    """Return how likely two samples of the same would differ at least as much: p, two-sided, with ties.

    inflation: of the variance of U, where samples depend on those before them
    source:    Mann and Whitney 1947; the normal approximation, with a correction for ties and for continuity
    """
    both = sorted([*a, *b])
    rank, ties = {}, 0.0
    at = 0
    while at < len(both):
        count = _run(both, at)
        rank[both[at]] = at + (count + 1) / 2
        ties += count**3 - count
        at += count
    n, m = len(a), len(b)
    u = sum(rank[each] for each in a) - n * (n + 1) / 2
    variance = n * m / 12 * (n + m + 1 - ties / ((n + m) * (n + m - 1))) * inflation
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def _run(values: Sequence[float], at: int) -> int:
    end = at
    while end < len(values) and values[end] == values[at]:
        end += 1
    return end - at


def dependence(series: Sequence[float]) -> float:
    """Return how many times fewer samples would say as much if they were independent; 1 where they are.

    By the correlation r of each rank with the next, as where a sample depends on the one before: (1 + r) / (1 - r).
    """
    order = sorted(range(len(series)), key=lambda at: series[at])
    ranks = [0.0] * len(series)
    for rank, at in enumerate(order):
        ranks[at] = rank - (len(series) - 1) / 2
    whole = sum(each * each for each in ranks)
    if not whole or len(set(series)) < 3:
        return 1.0
    r = min(0.9, max(0.0, sum(x * y for x, y in pairwise(ranks)) / whole))
    return (1 + r) / (1 - r)


def interval(a: Sequence[float], b: Sequence[float], is_series: bool, chance: Chance) -> tuple[float, float]:
    """Return between what the ratio of the medians, b / a, lies with 95 % confidence."""
    ratios = sorted(
        median(_resampled(b, is_series, chance)) / max(1e-12, median(_resampled(a, is_series, chance)))
        for _ in range(RESAMPLED)
    )
    return ratios[int(0.025 * RESAMPLED)], ratios[int(0.975 * RESAMPLED)]


def _resampled(values: Sequence[float], is_series: bool, chance: Chance) -> list[float]:
    """As many again, by chance; of a series in blocks of neighbours, on a circle."""
    size = max(1, round(len(values) ** (1 / 3))) if is_series else 1
    found: list[float] = []
    while len(found) < len(values):
        at = chance.randrange(len(values))
        found += [values[(at + step) % len(values)] for step in range(size)]
    return found[: len(values)]


def holm(p: Sequence[float]) -> list[float]:
    """Return p adjusted for looking at several. source: Holm 1979"""
    found, highest = [0.0] * len(p), 0.0
    for rank, at in enumerate(sorted(range(len(p)), key=lambda at: p[at])):
        highest = max(highest, min(1.0, p[at] * (len(p) - rank)))
        found[at] = highest
    return found

"""The comparison of two load tests: what is a difference, and what is chance."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import pytest

from nodes.load import compare as module
from nodes.load.compare import compare, dependence, holm, interval, mann_whitney


@pytest.fixture(autouse=True)
def fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESAMPLED", 200)


def exact(a: Sequence[float], b: Sequence[float]) -> float:
    """p by every way in which the samples may be dealt."""
    both = [*a, *b]

    def u(own: Sequence[float], other: Sequence[float]) -> float:
        return sum((x > y) + 0.5 * (x == y) for x in own for y in other)

    middle = len(a) * len(b) / 2
    wanted = abs(u(a, b) - middle)
    ways = list(combinations(range(len(both)), len(a)))
    far = 0
    for way in ways:
        own = [both[at] for at in way]
        rest = [both[at] for at in range(len(both)) if at not in way]
        far += abs(u(own, rest) - middle) >= wanted - 1e-9
    return far / len(ways)


@pytest.mark.parametrize("seed", range(8))
def test_p_is_close_to_that_of_every_way_to_deal(seed: int) -> None:
    chance = random.Random(seed)
    a = [chance.choice((1.0, 2.0, 3.0, chance.random())) for _ in range(7)]
    b = [chance.choice((1.0, 2.0, 3.0, chance.random())) + (seed > 4) for _ in range(6)]
    assert mann_whitney(a, b) == pytest.approx(exact(a, b), abs=0.05)


def test_p_of_a_known_case_and_of_equal_samples() -> None:
    assert mann_whitney([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(0.0122, abs=1e-4)  # as R's wilcox.test
    assert mann_whitney([3.0] * 9, [3.0] * 9) == 1.0 == mann_whitney([1, 2, 3], [1, 2, 3])


def walk(chance: random.Random, count: int, hold: float, level: float = 5.0) -> list[float]:
    """A series in which each sample depends on the one before."""
    value, found = 0.0, []
    for _ in range(count):
        value = hold * value + chance.gauss(0, 1)
        found.append(math.exp(value / 4) * level)
    return found


def test_neighbours_that_are_alike_count_for_less() -> None:
    chance = random.Random(1)
    assert dependence([chance.random() for _ in range(500)]) == pytest.approx(1.0, abs=0.25)
    assert dependence(walk(chance, 500, 0.8)) == pytest.approx(9.0, rel=0.4)
    assert dependence([1.0] * 9) == 1.0


def test_of_equal_tests_few_differ_also_where_neighbours_are_alike() -> None:
    chance = random.Random(5)
    pairs = [(walk(chance, 50, 0.6), walk(chance, 50, 0.6)) for _ in range(200)]
    naive = sum(mann_whitney(a, b) < 0.05 for a, b in pairs)
    honest = sum(mann_whitney(a, b, (dependence(a) + dependence(b)) / 2) < 0.05 for a, b in pairs)
    assert honest <= 20 < naive, "one in twenty may, and without the correction far more would"


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06]) and holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_interval_holds_the_true_ratio() -> None:
    inside = 0
    for seed in range(60):
        chance = random.Random(seed)
        a, b = walk(chance, 50, 0.4), walk(chance, 50, 0.4, level=6.0)
        low, high = interval(a, b, True, chance)
        inside += low <= 1.2 <= high
    assert inside >= 50


def result(p99: Sequence[float], rate: float = 1000.0, repetitions: bool = False, **changes: Any) -> dict[str, Any]:
    def one(value: float) -> dict[str, Any]:
        return {"delivered": 500, "latency_ms": {"p50": 1.0, "p99": value, "p99.9": value * 3}}

    def round_of(values: Sequence[float]) -> dict[str, Any]:
        slots = [one(each) for each in values]
        return {
            "rate": rate, "slot_s": 0.5, "sending_s": 0.5 * len(values), "slots": [*slots, one(99.0)],
            "delivered_per_s": 1000.0, "latency_ms": slots[0]["latency_ms"],
        }  # fmt: skip

    rounds = [round_of([each]) for each in p99] if repetitions else [round_of(p99)]
    spec = {"publishers": 1, "subscribers": 2, "topics": 9, "filters": ["a"], "size_bytes": 64, "host": "h", "cpus": 2}
    return {**spec, "rounds": rounds, "result": rounds[-1], **changes}


def test_a_difference_is_shown_with_its_size() -> None:
    chance = random.Random(3)
    a, b = (result([chance.uniform(4, 6) * factor for _ in range(40)]) for factor in (1.0, 1.5))
    found = compare(a, b, chance)
    assert found.samples == "40 and 40 slots" and found.apart == ()
    by_name = {each.figure.name: each for each in found.differences}
    p99 = by_name["p99"]
    assert p99.is_shown and p99.is_worse and p99.low < 1.5 < p99.high and 1.3 < p99.ratio < 1.7
    assert not by_name["delivered"].is_shown and by_name["p50"].p == 1.0
    back = {each.figure.name: each for each in compare(b, a, chance).differences}
    assert back["p99"].is_shown and not back["p99"].is_worse, "less latency is better"


def test_repetitions_are_samples_where_there_are_enough_of_the_same_length() -> None:
    chance = random.Random(4)
    a, b = (result([chance.uniform(4, 6) + more for _ in range(9)], repetitions=True) for more in (0, 9))
    b["rounds"].append({**b["rounds"][0], "sending_s": 10.0})
    found = compare(a, b, chance)
    assert found.samples == "9 and 9 repetitions" and any(each.is_worse for each in found.differences)


def test_what_was_not_the_same_is_said() -> None:
    found = compare(result([1.0] * 9), result([1.0] * 9, rate=2000.0, size_bytes=128), random.Random(1))
    assert found.apart == ("size_bytes: 64 in A, 128 in B", "rate: 1000.0 in A, 2000.0 in B")


def test_too_little_to_compare() -> None:
    with pytest.raises(ValueError, match="at least 5 repetitions or slots"):
        compare(result([1.0] * 4), result([1.0] * 9), random.Random(1))

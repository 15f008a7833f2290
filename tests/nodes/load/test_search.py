"""The search for the highest rate that holds, on quiet systems, noisy ones, and such as are worse at low rates."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from nodes.load.search import LOWEST, MAX_UP, PRECISION, Found, Step, at_least, find_max

PARTS = 10


def search(top: float, holds: Callable[[float], bool]) -> Found:
    """A confirmation holds where nine of ten of its parts do."""

    def confirm(rate: float) -> tuple[bool, int, int]:
        held = sum(holds(rate) for _ in range(PARTS))
        return held >= PARTS - 1, held, PARTS

    return find_max(top, holds, confirm)


def best(found: Found) -> float:
    assert found.best is not None
    return found.best.rate


@pytest.mark.parametrize("limit", [0.06, 0.3, 0.71, 0.99, 1.0, 1.3, 5.0])
def test_a_quiet_system(limit: float) -> None:
    found = search(10_000.0, lambda rate: rate <= limit * 10_000)
    assert limit * 10_000 / PRECISION <= best(found) <= limit * 10_000
    assert found.fell is not None and found.fell / best(found) < PRECISION
    assert found.best is not None and (found.best.held, found.best.fell, found.best.of_it) == (13, 0, 10)
    assert found.confidence == at_least(13, 13) == pytest.approx(0.05 ** (1 / 13))


def noisy(seed: int, limit: float, bad: float, width: float = 0.03) -> Callable[[float], bool]:
    """Holds below about `limit`, which is soft; a share `bad` of the trials fails at any rate."""
    chance = random.Random(seed)
    return lambda rate: chance.random() >= bad and chance.random() < (1 - math.tanh((rate / limit - 1) / width / 2)) / 2


@pytest.mark.parametrize("limit", [0.3, 0.8])
def test_noisy_systems_of_many_seeds(limit: float) -> None:
    """One trial in twenty fails whatever the rate. A search that believes each ends far too low in many of these."""
    found = [best(search(1.0, noisy(seed, limit, bad=0.05))) / limit for seed in range(300)]
    assert all(0.6 < each < 1.15 for each in found)
    assert sum(each > 0.8 for each in found) > 285


def test_even_where_a_fifth_of_all_trials_fails_it_is_never_far_too_low() -> None:
    for seed in range(300):
        found = search(1.0, noisy(seed, 0.8, bad=0.2))
        assert found.best is None or found.best.rate > LOWEST
    rates = sorted(each.rate for seed in range(300) if (each := search(1.0, noisy(seed, 0.8, bad=0.1)).best))
    assert len(rates) > 250 and rates[len(rates) // 2] > 0.6


@pytest.mark.parametrize("seed", range(20))
def test_a_system_that_is_worse_at_low_rates_than_at_high_ones(seed: int) -> None:
    """As was seen: 5,000/s did not hold, 2,500 did, and as fast as it goes were 65,583."""
    quiet = noisy(seed, 60_000.0, bad=0.02)
    found = search(65_583.0, lambda rate: rate > 10_000 and quiet(rate))
    assert 40_000 < best(found) < 66_000


@pytest.mark.parametrize("seed", range(20))
def test_never_a_twentieth_of_what_it_did_as_fast_as_it_goes(seed: int) -> None:
    """Where only so little holds, no rate is named."""
    found = search(1.0, noisy(seed, LOWEST / 3, bad=0.0))
    assert found.best is None and found.confidence == 0.0 and found.fell is not None
    assert all(each.rate >= LOWEST for each in found.steps)


def test_after_a_failure_it_goes_back_up() -> None:
    rates = [each.rate for each in search(1000.0, lambda rate: rate <= 650).steps]
    assert rates[:2] == [1000, 700] and rates[2] == pytest.approx(490)
    assert rates[3] == pytest.approx((490 * 700) ** 0.5) and 490 < rates[4] < 700


def test_where_everything_holds_it_ends_above_the_top() -> None:
    found = search(1.0, lambda rate: True)
    assert MAX_UP / 1.25 < best(found) <= MAX_UP and found.fell is None


def test_what_holds_for_a_moment_only_is_not_confirmed_and_the_next_lower_rate_is_tried() -> None:
    told: list[tuple[float, bool]] = []
    found = find_max(
        1000.0,
        lambda rate: rate <= 1000,
        lambda rate: (rate < 900, 10 if rate < 900 else 3, 10),
        lambda step: told.append((step.rate, step.holds)),
    )
    assert best(found) == pytest.approx(1000 / PRECISION**2) and found.fell == pytest.approx(1000 / PRECISION)
    top = next(each for each in found.steps if each.rate == 1000)
    assert (top.held, top.fell, top.of_it, top.holds) == (3 + 6, 14, 20, False), "a confirmation has two tries"
    assert (1000.0, True) in told and (1000.0, False) in told


def test_a_step_ends_as_soon_as_it_is_decided() -> None:
    answers = iter([True, False, True, False, True])
    first = find_max(1.0, lambda rate: rate == 1.0 and next(answers), lambda rate: (True, 0, 0)).steps[0]
    assert first == Step(1.0, held=3, fell=2, holds=True) and first.tried == 5


def test_the_share_that_is_reached_at_least() -> None:
    assert at_least(0, 5) == 0.0
    assert at_least(5, 10) == pytest.approx(0.2224, abs=1e-4)  # the table of Clopper and Pearson, one-sided, 95 %
    assert at_least(9, 10) == pytest.approx(0.6058, abs=1e-4)
    assert at_least(13, 13) < at_least(30, 30) < 1.0

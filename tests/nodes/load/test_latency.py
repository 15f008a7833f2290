"""Latencies: what is counted, over time, merged, and read from the buckets."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.load.latency import EXACT_US, Latencies, bucket, curve_ms, merged, quantiles_ms, values_ms


def of(*values_us: int) -> Latencies:
    found = Latencies(0, 10)
    for each in values_us:
        found.add(each * 1000, 0)
    return found


def test_quantiles_over_several_subscribers() -> None:
    whole = merged([*of(*range(1, 501)).slots, *of(*range(501, 1001)).slots])
    found = quantiles_ms(whole)
    assert list(found) == ["p50", "p90", "p99", "p99.9", "max"]
    assert found == {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


def test_nothing_counted() -> None:
    assert quantiles_ms(merged(Latencies(0, 1).slots)) == {} and curve_ms({}) == []


def test_what_lies_outside_counts() -> None:
    """A clock that stepped, or an hour's stall, must not end a test."""
    whole = merged(of(-5, 0, 10**12).slots)
    assert list(whole.values()) == [2, 1] and min(whole) == 1
    assert quantiles_ms(whole)["max"] == pytest.approx(10**9, rel=1e-3)


def test_slots_are_of_the_time_of_arrival() -> None:
    found = Latencies(100, 10)
    for now, us in ((100, 7), (109, 7), (110, 8), (145, 9)):
        found.add(us * 1000, now)
    assert found.slots == [{7: 2}, {8: 1}, {}, {}, {9: 1}]


@given(st.integers(0, 10**12))
def test_a_bucket_holds_three_digits(us: int) -> None:
    top = bucket(us)
    assert us <= max(1, top) and bucket(top) == top and top - us <= us / 1024 + 1
    assert us >= EXACT_US or top == max(1, us)


@given(st.lists(st.integers(1, 5000), min_size=1), st.lists(st.floats(0, 100), min_size=1))
def test_a_percentile_is_the_lowest_that_so_many_do_not_exceed(values: list[int], percentiles: list[float]) -> None:
    percentiles.sort()
    ranked = sorted(bucket(each) for each in values)
    wanted = [ranked[max(1, math.ceil(each / 100 * len(values) - 1e-6)) - 1] / 1000 for each in percentiles]
    assert values_ms(merged(of(*values).slots), percentiles) == wanted


def test_the_curve_goes_towards_the_highest() -> None:
    points = curve_ms(merged(of(*range(1, 1001)).slots))
    assert points == sorted(points) and points[0][0] == 0 and 99.8 < points[-1][0] < 100

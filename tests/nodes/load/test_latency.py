"""Latencies: what is counted, merged, and read from the histogram."""

from __future__ import annotations

import pytest

from nodes.load import latency
from nodes.load.latency import Latencies, curve_ms, merged, quantiles_ms


def of(*values_us: int) -> Latencies:
    found = Latencies()
    for each in values_us:
        found.add(each * 1000)
    return found


def test_quantiles_over_several_subscribers() -> None:
    whole = merged([of(*range(1, 501)).encoded(), of(*range(501, 1001)).encoded()])
    found = quantiles_ms(whole)
    assert list(found) == ["p50", "p90", "p99", "p99.9", "max"]
    wanted = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    assert found == pytest.approx(wanted, rel=2e-3)


def test_nothing_counted() -> None:
    whole = merged([Latencies().encoded()])
    assert quantiles_ms(whole) == {} and curve_ms(whole) == []


def test_what_lies_outside_counts_at_the_edge() -> None:
    """A clock that stepped, or an hour's stall, must not end a test."""
    whole = merged([of(-5, 0, 10**12).encoded()])
    assert whole.get_total_count() == 3
    assert quantiles_ms(whole)["max"] == pytest.approx(latency.HIGHEST_US / 1000, rel=2e-3)


def test_many_different_values_are_folded_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "FOLD_AT", 10)
    found = of(*range(1, 1001))
    assert len(found._waiting) <= 10
    assert merged([found.encoded()]).get_total_count() == 1000
    assert found.encoded() == found.encoded()


def test_the_curve_goes_towards_the_highest() -> None:
    points = curve_ms(merged([of(*range(1, 1001)).encoded()]))
    assert points == sorted(points) and points[0][0] == 0 and 99.8 < points[-1][0] < 100

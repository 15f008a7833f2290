"""Figures: counts as they are, rates over at least half a second."""

from __future__ import annotations

from fabric.core.steering import Counts
from fabric.proxy.figures import Figures


def passed(parts: int) -> Counts:
    """Each stream another figure."""
    streams = {name: parts * factor for factor, name in enumerate(("in", "out", "relay", "guest"), 1)}
    return Counts(streams, {name: 10 * count for name, count in streams.items()}, {}, {}, 0, {})


def test_counts_are_what_passed_since_the_start() -> None:
    figures = Figures()
    figures.update(figures.started + 1, passed(10))
    assert figures.counts == {"in": 10, "out": 20, "relay": 30, "guest": 40}
    assert figures.bytes == {"in": 100, "out": 200, "relay": 300, "guest": 400}


def test_rates_are_per_second_since_the_time_before() -> None:
    figures = Figures()
    figures.update(figures.started + 2, passed(10))
    assert figures.rates == {"in": 5.0, "out": 10.0, "relay": 15.0, "guest": 20.0}
    figures.update(figures.started + 2.1, passed(1_000))
    assert figures.rates["in"] == 5.0, "a tenth of a second is too short to tell"
    figures.update(figures.started + 3, passed(20))
    assert figures.rates["in"] == 10.0

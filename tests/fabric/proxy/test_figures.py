"""Figures: counts as they are, rates over at least half a second, and open files."""

from __future__ import annotations

import os

from fabric.proxy.figures import Figures, open_files
from fabric.proxy.stream import Counts


def streams(parts: int) -> dict[str, Counts]:
    """What four streams count, each something else."""
    return {
        name: Counts(*(parts * factor * place for place in range(1, 9)))
        for factor, name in enumerate(("leg", "ingress", "relay", "guest"), 1)
    }


def test_counts_are_what_comes_in_at_the_leg_and_goes_out_elsewhere() -> None:
    figures = Figures()
    figures.update(figures.started + 1, streams(10))
    assert figures.counts == {"in": 10, "out": 140, "relay": 210, "guest": 280}
    assert figures.bytes == {"in": 20, "out": 160, "relay": 240, "guest": 320}


def test_rates_are_per_second_since_the_time_before() -> None:
    figures = Figures()
    figures.update(figures.started + 2, streams(10))
    assert figures.rates == {"in": 5.0, "out": 70.0, "relay": 105.0, "guest": 140.0}
    figures.update(figures.started + 2.1, streams(1_000))
    assert figures.rates["in"] == 5.0, "a tenth of a second is too short to tell"
    figures.update(figures.started + 3, streams(20))
    assert figures.rates["in"] == 10.0


def test_open_files_grow_with_each() -> None:
    before = open_files()
    with open(os.devnull):
        assert open_files() == before + 1

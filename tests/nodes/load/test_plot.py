"""The plots: a file of its kind, which shows what was found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from nodes.load.plot import plot
from tests.nodes.load.test_report import ROUND

ROUNDS = [
    dataclasses.replace(ROUND, rate=rate, curve_ms=((0.0, 0.5), (50.0, 0.6), (99.0, 9.0)))
    for rate in (1000.0, 4000.0, 2000.0)
]


def test_a_distribution(tmp_path: Path) -> None:
    plot(tmp_path / "a.svg", ROUNDS[:1], ROUNDS[0], None)
    drawn = (tmp_path / "a.svg").read_text()
    assert "<svg" in drawn and "1,000/s, 990 delivered" in drawn  # the text stands in a comment beside its outline


def test_the_knee(tmp_path: Path) -> None:
    plot(tmp_path / "a.svg", ROUNDS, ROUNDS[2], 10.0)
    drawn = (tmp_path / "a.svg").read_text()
    assert "held: 2,000/s" in drawn and "limit of p99, 10 ms" in drawn


def test_png_and_nothing_found(tmp_path: Path) -> None:
    nothing = dataclasses.replace(ROUND, quantiles_ms={}, curve_ms=())
    plot(tmp_path / "a.png", [nothing], None, None)
    plot(tmp_path / "b.png", [nothing], None, 10.0)
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("a.png", "b.png"))

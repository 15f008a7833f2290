"""Figures with their units."""

from __future__ import annotations

import pytest

from nodes.load.units import duration, share, size


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0.0, "0 us"), (0.352, "352 us"), (1.0, "1.00 ms"), (9.999, "10.0 ms"), (12.34, "12.3 ms"), (99.97, "100 ms"),
        (640.4, "640 ms"), (1680.0, "1.68 s"), (61_234.0, "61.2 s"), (3_600_000.0, "3,600 s"),
    ],
)  # fmt: skip
def test_durations(ms: float, said: str) -> None:
    assert duration(ms) == said


def test_sizes_and_shares() -> None:
    assert [size(each) for each in (64, 1024, 1536, 8 << 20)] == ["64 B", "1.00 KiB", "1.50 KiB", "8.00 MiB"]
    assert [share(each) for each in (0, 1e-9, 0.0123, 0.5, 1)] == ["0 %", "under 0.001 %", "1.23 %", "50 %", "100 %"]

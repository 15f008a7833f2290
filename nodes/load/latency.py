"""Latencies of one load test as an HDR histogram: microseconds, three digits, up to an hour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

LOWEST_US = 1
HIGHEST_US = 3_600_000_000
DIGITS = 3
QUANTILES = (50.0, 90.0, 99.0, 99.9)
FOLD_AT = 20_000
"""Different values that wait in a dict. Counting one there costs 0.1 us, putting it into the histogram 1.5."""


class Latencies:
    """Counts latencies. `add` is called for every message."""

    def __init__(self) -> None:
        self._waiting: dict[int, int] = {}
        """Latency in us to its count, for what is not in the histogram yet; at most FOLD_AT keys."""
        self._histogram = histogram()
        """Everything else. Changed by `_fold`."""

    def add(self, latency_ns: int) -> None:
        waiting, us = self._waiting, latency_ns // 1000
        waiting[us] = waiting.get(us, 0) + 1
        if len(waiting) > FOLD_AT:
            self._fold()

    def encoded(self) -> bytes:
        """Return the histogram as bytes, for `merged`."""
        self._fold()
        return bytes(self._histogram.encode())

    def _fold(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for us, count in list(waiting.items()):
            self._histogram.record_value(min(max(us, LOWEST_US), HIGHEST_US), count)


def histogram() -> Any:
    from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

    return HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)


def merged(encoded: Iterable[bytes]) -> Any:
    """Return one histogram of all."""
    whole = histogram()
    for each in encoded:
        whole.decode_and_add(each)
    return whole


def quantiles_ms(found: Any) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and max in ms; empty when nothing was counted."""
    if not found.get_total_count():
        return {}
    quantiles = {f"p{each:g}": found.get_value_at_percentile(each) / 1000 for each in QUANTILES}
    return {**quantiles, "max": found.get_max_value() / 1000}


def curve_ms(found: Any) -> list[tuple[float, float]]:
    """Return points (percentile, latency in ms), ever closer to 100, which is left out."""
    points = []
    tail = 1.0
    while tail > 1e-6 and tail * found.get_total_count() >= 1:
        points.append((100 * (1 - tail), found.get_value_at_percentile(100 * (1 - tail)) / 1000))
        tail /= 1.25
    return points

"""Latencies of one load test, counted over time in the buckets of an HDR histogram: microseconds, three digits. Pure.

    latencies = Latencies(start_ns, slot_ns)
    latencies.add(latency_ns, now_ns)              # for every message
    whole = merged(latencies.slots)                # bucket -> count, see `Counts`
    quantiles_ms(whole)

Up to 2 ms each microsecond has its bucket; beyond, a bucket is a 1,024th of what lies in it wide at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Counts = Mapping[int, int]
"""Highest latency of a bucket in us -> how many were counted there."""
EXACT_US = 2048
BITS = 11
"""Of a latency that are kept."""
QUANTILES = (50.0, 90.0, 99.0, 99.9)


class Latencies:
    """Counts latencies, by when the messages arrived. `add` is called for every message, in the order of arrival.

    start_ns: when the first slot begins, monotonic
    slot_ns:  how long each is
    """

    def __init__(self, start_ns: int, slot_ns: int) -> None:
        self.slots: list[dict[int, int]] = [{}]
        """By slot, from the first; those in which nothing arrived are empty."""
        self._slot_ns = slot_ns
        self._until_ns = start_ns + slot_ns
        """When the last of `slots` ends."""

    def add(self, latency_ns: int, now_ns: int) -> None:
        while now_ns >= self._until_ns:
            self.slots.append({})
            self._until_ns += self._slot_ns
        us = latency_ns // 1000
        if us >= EXACT_US:
            us = bucket(us)
        counts = self.slots[-1]
        counts[us] = counts.get(us, 0) + 1


def bucket(us: int) -> int:
    """Return the highest latency of the bucket in which one lies, in us."""
    if us < EXACT_US:
        return max(1, us)
    shift = us.bit_length() - BITS
    return (((us >> shift) + 1) << shift) - 1


def merged(counts: Iterable[Counts]) -> dict[int, int]:
    """Return one histogram of all, from the lowest bucket to the highest. A clock that stepped back counts as 1 us."""
    whole: dict[int, int] = {}
    for each in counts:
        for us, count in each.items():
            whole[max(1, us)] = whole.get(max(1, us), 0) + count
    return dict(sorted(whole.items()))


def quantiles_ms(whole: Counts) -> dict[str, float]:
    """Return p50, p90, p99, p99.9 and max in ms; empty when nothing was counted. whole: see `merged`"""
    if not whole:
        return {}
    found = values_ms(whole, QUANTILES)
    return {f"p{each:g}": value for each, value in zip(QUANTILES, found, strict=True)} | {"max": max(whole) / 1000}


def values_ms(whole: Counts, percentiles: Iterable[float]) -> list[float]:
    """Return for each percentile, in rising order, the lowest latency that so many do not exceed, in ms.

    whole: not empty, see `merged`
    """
    total = sum(whole.values())
    walk, us, below = iter(whole.items()), 0, 0
    found = []
    for percentile in percentiles:
        while below < max(1.0, percentile / 100 * total - 1e-6):
            us, count = next(walk)
            below += count
        found.append(us / 1000)
    return found


def curve_ms(whole: Counts) -> list[tuple[float, float]]:
    """Return points (percentile, latency in ms), ever closer to 100, which is left out. whole: see `merged`"""
    total = sum(whole.values())
    percentiles = []
    tail = 1.0
    while tail > 1e-6 and tail * total >= 1:
        percentiles.append(100 * (1 - tail))
        tail /= 1.25
    return list(zip(percentiles, values_ms(whole, percentiles), strict=True)) if total else []

"""Figures with their units, for a reader: `1.68 s`, `12.3 ms`, `640 us`; `64 B`, `8 MiB`. Pure."""

from __future__ import annotations


def duration(ms: float) -> str:
    """Return a time with three digits that mean something."""
    if ms < 1:
        return f"{ms * 1000:.0f} us"
    if ms < 1000:
        return f"{_three(ms)} ms"
    return f"{_three(ms / 1000)} s" if ms < 100_000 else f"{ms / 1000:,.0f} s"


def size(count: int) -> str:
    """Return bytes in the largest unit that keeps three digits."""
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= factor:
            return f"{_three(count / factor)} {unit}"
    return f"{count} B"


def share(part: float) -> str:
    """Return a share of 1 in per cent; what is not 0 never reads as 0."""
    percent = 100 * part
    if 0 < percent < 0.001:
        return "under 0.001 %"
    return f"{percent:.3g} %" if percent < 100 else f"{percent:.0f} %"


def _three(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"

"""The charts of a load test, each drawn into axes that it is given; what they are of is said by the caller.

A name stands at the end of its line, beside the data, so that no legend lies over it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nodes.load.latency import Counts, quantiles_ms
from nodes.load.report import Round
from nodes.load.theme import Theme, apart, counts, heat_map, short_count, time_axis
from nodes.load.units import duration

PER_DECADE = 14
"""Rows of the heat map."""
NEEDED = {"p50": 20, "p99": 300, "p99.9": 3000}
"""A percentile over time is drawn where a slot has so many messages: of fewer it is their highest."""
NINES = {1: "0", 2: "50 %", 10: "90 %", 100: "99 %", 1_000: "99.9 %", 10_000: "99.99 %", 100_000: "99.999 %"}


@dataclass(frozen=True)
class Tried:
    """One rate of a search: its repetitions, and whether it held."""

    rate: float
    rounds: Sequence[Round]
    holds: bool


def drawn_slots(one: Round) -> Sequence[Counts]:
    """Return the slots of a round without the few late messages at its end, which would look like a drop."""
    whole = [sum(each.values()) for each in one.slots]
    few = 0.05 * median(whole or [0])
    end = len(whole)
    while end > 1 and whole[end - 1] < few and (end - 1) * one.slot_s >= one.sending_s - 1e-6:
        end -= 1
    return one.slots[:end]


def over_time(
    rate_axes: Any, latency_axes: Any, one: Round, theme: Theme, marks: Sequence[tuple[float, str]] = ()
) -> None:
    """Draw the delivered rate, and below it percentiles of latency, by time of arrival. marks: see `plot.View`"""
    slots = drawn_slots(one)
    seconds = [at * one.slot_s for at in range(len(slots) + 1)]
    _rate_over_time(rate_axes, one, seconds, theme, mean=not marks)
    for at, name in marks:
        for axes in (rate_axes, latency_axes):
            axes.axvline(at, color=theme.faint, linewidth=0.9)
        rate_axes.annotate(
            name, (at, 1.0), xycoords=("data", "axes fraction"), xytext=(4, -3), textcoords="offset points", va="top",
            fontsize=8.5, color=theme.faint,
        )  # fmt: skip
    middles = [at + one.slot_s / 2 for at in seconds[:-1]]
    few = median([sum(each.values()) for each in slots if each] or [0])
    shown = [name for name, needed in NEEDED.items() if few >= needed] or ["p50"]
    found = [quantiles_ms(each) for each in slots]
    lines = {name: [each.get(name, math.nan) for each in found] for name in shown}
    _latency_axis(latency_axes, [value for line in lines.values() for value in line])
    for line, colour in zip(lines.values(), theme.lines, strict=False):
        latency_axes.plot(middles, line, color=colour)
    _names(latency_axes, [(name, _last(line)) for name, line in lines.items()], theme.lines)
    latency_axes.set(xlabel="seconds from the beginning", xlim=(0, max(seconds[-1], one.slot_s)))
    latency_axes.set_title("Latency, from the moment a message was due")


def _rate_over_time(axes: Any, one: Round, seconds: Sequence[float], theme: Theme, *, mean: bool) -> None:
    """mean: what was due was due evenly, and is shown"""
    delivered = [sum(each.values()) / one.slot_s for each in drawn_slots(one)]
    axes.stairs(delivered, seconds, color=theme.lines[0], linewidth=1.9, baseline=None)
    axes.stairs(delivered, seconds, color=theme.lines[0], fill=True, alpha=0.12)
    sending_s = sum(1 for each in seconds[:-1] if each < one.sending_s) * one.slot_s or one.slot_s
    due = one.total.due / sending_s if mean else 0.0
    top = max([due, 1.0, *delivered]) * 1.18
    axes.set(ylim=(0, top), xlim=(0, max(seconds[-1], one.slot_s)))
    counts(axes.yaxis)
    if mean:
        axes.plot([0, sending_s], [due, due], color=theme.faint, linewidth=1.1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"due\n{short_count(due)}/s", (1.01, due / top), xycoords="axes fraction", color=theme.faint, va="center",
            fontsize=9,
        )  # fmt: skip
    axes.set_title("Delivered, messages a second to all subscribers")
    axes.tick_params(labelbottom=False)


def percentiles(axes: Any, one: Round, theme: Theme) -> None:
    """Draw latency over percentiles, each further nine as wide as the one before, as HDR histograms are shown."""
    share = [1 / (1 - percentile / 100) for percentile, _ in one.curve_ms]
    values = [value for _, value in one.curve_ms]
    highest = one.quantiles_ms.get("max", 1.0)
    _latency_axis(axes, [*values, highest])
    axes.plot(share, values, color=theme.lines[0])
    axes.fill_between(share, values, axes.get_ylim()[0], color=theme.lines[0], alpha=0.12, linewidth=0)
    end = max(share, default=1.0)
    axes.set_xscale("log")
    shown = {at: text for at, text in NINES.items() if at <= end * 1.01}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.minorticks_off()
    axes.set_xlim(1, max(end * 1.6, 2))
    for at, name in ((2, "p50"), (100, "p99"), (1_000, "p99.9")):
        if at <= end and name in one.quantiles_ms:
            value = one.quantiles_ms[name]
            axes.plot([at], [value], "o", color=theme.lines[0], markersize=5)
            shift, align = ((9, -12), "left") if at < 10 else ((-6, 7), "right")
            axes.annotate(
                f"{name}  {duration(value)}", (at, value), xytext=shift, textcoords="offset points", ha=align,
                fontsize=9.5,
            )  # fmt: skip
    if one.curve_ms:
        axes.annotate(
            f"max  {duration(highest)}", (end, values[-1]), xytext=(0, 8), textcoords="offset points", ha="right",
            fontsize=9.5, color=theme.faint,
        )  # fmt: skip
    axes.set(xlabel="percentile of messages")
    axes.set_title("Latency by percentile")


def heat(axes: Any, one: Round, theme: Theme, figure: Any) -> None:
    """Draw how many messages took how long, over time: a column is a slot, and adds up to all that arrived in it."""
    from matplotlib.colors import PowerNorm  # so that one message in a thousand can be seen

    slots = drawn_slots(one)
    rows = [{_row(us): 0.0 for us in each} for each in slots]
    for row, slot in zip(rows, slots, strict=True):
        for us, count in slot.items():
            row[_row(us)] += count / sum(slot.values())
    used = [at for row in rows for at in row]
    low, high = min(used, default=0) - 1, max(used, default=1) + 2
    image = [[row.get(at, 0.0) for row in rows] for at in range(low, high)]
    end = max(len(slots) * one.slot_s, one.slot_s)
    time_axis(axes.yaxis, _edge_ms(low), _edge_ms(high))
    shown = axes.pcolormesh(
        [at * one.slot_s for at in range(len(slots) + 1)], [_edge_ms(at) for at in range(low, high + 1)], image,
        cmap=heat_map(theme), norm=PowerNorm(0.45, vmin=0), rasterized=True,
    )  # fmt: skip
    axes.grid(False)
    bar = figure.colorbar(shown, ax=axes, pad=0.015, aspect=28)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    bar.ax.set_title("share", fontsize=9, color=theme.faint, loc="left", fontweight="normal", pad=6)
    axes.set(xlabel="seconds from the beginning", xlim=(0, end))
    axes.set_title("Every message: latency over time")


def over_rate(
    rate_axes: Any, latency_axes: Any, tried: Sequence[Tried], best: float | None, limit_ms: float | None, theme: Theme
) -> None:
    """Draw the delivered rate and percentiles of latency over the rate asked for: medians, and the range of p99."""
    tried = sorted((each for each in tried if any(one.quantiles_ms for one in each.rounds)), key=lambda each: each.rate)
    rates = [each.rate for each in tried]
    delivered = [median(one.delivered_per_s for one in each.rounds) for each in tried]
    due = [median(one.total.due / one.sending_s for one in each.rounds) for each in tried]
    rate_axes.plot(rates, due, color=theme.faint, linewidth=1.1, linestyle=(0, (4, 3)))
    rate_axes.plot(rates, delivered, color=theme.lines[0], marker="o", markersize=5)
    rate_axes.set_ylim(0, max([*due, *delivered], default=1.0) * 1.15)
    if tried:
        top = rate_axes.get_ylim()[1]
        ends = apart([due[-1] / top, delivered[-1] / top], 0.1)
        for name, place, colour in zip(("due", "delivered"), ends, (theme.faint, theme.lines[0]), strict=True):
            _name(rate_axes, name, place, colour)
    counts(rate_axes.yaxis)
    rate_axes.set_title("Delivered, messages a second to all subscribers")
    rate_axes.tick_params(labelbottom=False)
    _latency_over_rate(latency_axes, tried, limit_ms, theme)
    for axes in (rate_axes, latency_axes):
        if best is not None:
            axes.axvline(best, color=theme.lines[3], linewidth=1.4)
    if best is not None:
        low, high = rate_axes.get_xlim()
        shift, align = ((6, -3), "left") if best < (low + high) / 2 else ((-6, -3), "right")
        rate_axes.annotate(
            f"holds: {best:,.0f}/s", (best, 1.0), xycoords=("data", "axes fraction"), xytext=shift,
            textcoords="offset points", ha=align, va="top", fontsize=9.5, color=theme.lines[3], fontweight="bold",
        )  # fmt: skip
    latency_axes.set(xlabel="messages a second asked of the publishers")
    counts(latency_axes.xaxis)


def _latency_over_rate(axes: Any, tried: Sequence[Tried], limit_ms: float | None, theme: Theme) -> None:
    rates = [each.rate for each in tried]
    names = ("p50", "p99", "p99.9")
    all_values = [one.quantiles_ms[name] for each in tried for one in each.rounds for name in names if one.quantiles_ms]
    _latency_axis(axes, [*all_values, *([limit_ms] if limit_ms else [])])
    ends = []
    for name, colour in zip(names, theme.lines, strict=False):
        values = [[one.quantiles_ms[name] for one in each.rounds if one.quantiles_ms] for each in tried]
        middle = [median(each) for each in values]
        if name == "p99":
            low, high = [min(each) for each in values], [max(each) for each in values]
            axes.fill_between(rates, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(rates, middle, color=colour, marker="o", markersize=4)
        ends.append((name, middle[-1] if middle else 1.0))
    colours = theme.lines
    if limit_ms is not None:
        axes.axhline(limit_ms, color=theme.ink, linewidth=1.1, linestyle=(0, (2, 2)))
        ends.append((f"limit of\np99, {_limit(limit_ms)}", limit_ms))
        colours = (*theme.lines[:3], theme.ink)
    _names(axes, ends, colours)
    axes.set_title("Latency: medians, and the range of p99")


def _row(us: int) -> int:
    return math.floor(math.log10(max(1, us)) * PER_DECADE)


def _edge_ms(row: int) -> float:
    return float(10 ** (row / PER_DECADE) / 1000)


def _latency_axis(axes: Any, values: Sequence[float]) -> None:
    known = [each for each in values if not math.isnan(each)] or [1.0]
    time_axis(axes.yaxis, min(known) / 1.6, max(known) * 2.2)


def _names(axes: Any, ends: Sequence[tuple[str, float]], colours: Sequence[str]) -> None:
    """Write the names of lines to the right of the axes, at their last values in ms, on an axis of times."""
    low, high = (math.log10(each) for each in axes.get_ylim())
    places = apart([(math.log10(value) - low) / (high - low) for _, value in ends], 0.095)
    for (name, _), place, colour in zip(ends, places, colours, strict=False):
        _name(axes, name, place, colour)


def _last(line: Sequence[float]) -> float:
    """The last value that there is; 1 without any."""
    return next((each for each in reversed(line) if not math.isnan(each)), 1.0)


def _limit(ms: float) -> str:
    return f"{ms:g} ms"


def _name(axes: Any, name: str, place: float, colour: str) -> None:
    axes.annotate(
        name, (1.01, place), xycoords="axes fraction", color=colour, va="center", fontsize=9.5, fontweight="bold"
    )

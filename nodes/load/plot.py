"""Plots of a load test: the latency distribution of one rate, or p50 and p99 over the rates tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nodes.load.report import Round

SUFFIXES = (".svg", ".png")


def plot(path: Path, rounds: Sequence[Round], best: Round | None, max_p99_ms: float | None) -> None:
    """Write the plot. max_p99_ms: the limit of a search, None when there was none. errors: OSError"""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "fabric load"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    try:
        if any(each.quantiles_ms for each in rounds):  # an empty logarithmic axis is an error
            _logarithmic(axes)
        if max_p99_ms is None:
            _distribution(axes, rounds[-1])
        else:
            _knee(axes, rounds, best, max_p99_ms)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path)
    finally:
        pyplot.close(figure)


def _logarithmic(axes: Any) -> None:
    """Make both axes logarithmic, with plain numbers at 1, 2, 5, 10 …"""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def _distribution(axes: Any, found: Round) -> None:
    """Draw latency over percentiles, with the last nines spread out."""
    share = [1 / (1 - percentile / 100) for percentile, _ in found.curve_ms]
    rate = "the highest rate" if found.rate is None else f"{found.rate:,.0f}/s"
    axes.plot(share, [value for _, value in found.curve_ms], label=f"{rate}, {found.total.delivered:,} delivered")
    ticks = {1: "0", 2: "50", 10: "90", 100: "99", 1_000: "99.9", 10_000: "99.99", 100_000: "99.999"}
    shown = {at: text for at, text in ticks.items() if at <= max(share, default=1)}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.set(xlabel="percentile", ylabel="ms from the intended send time", title="fabric load: latency")


def _knee(axes: Any, rounds: Sequence[Round], best: Round | None, max_p99_ms: float) -> None:
    """Draw p50 and p99 over the rate, and the highest rate that held."""
    tried = sorted((each.rate, each) for each in rounds if each.rate is not None and each.quantiles_ms)
    rates = [rate for rate, _ in tried]
    for name in ("p50", "p99"):
        axes.plot(rates, [each.quantiles_ms[name] for _, each in tried], marker="o", label=name)
    axes.axhline(max_p99_ms, linestyle=":", color="grey", label=f"limit of p99, {max_p99_ms:g} ms")
    if best is not None and best.rate is not None:
        axes.axvline(best.rate, linestyle="--", color="green", label=f"held: {best.rate:,.0f}/s")
    axes.set(xlabel="messages a second", ylabel="ms from the intended send time", title="fabric load: the knee")

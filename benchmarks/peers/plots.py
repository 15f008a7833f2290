"""One plot for each work: bars of every row at every setting."""

from __future__ import annotations

import textwrap
from pathlib import Path

from benchmarks.peers.clients import ROWS
from benchmarks.peers.figures import Work
from benchmarks.peers.words import COLOURS, NAMES, number

LOGARITHMIC_FROM = 30
"""Bars that differ by more than this would not be seen beside each other."""
LABEL_CHARACTERS, TITLE_CHARACTERS = 60, 46
"""That there is room for below the axis, and above it beside the legend."""


def draw(work: Work, path: Path) -> Path:
    """Bars of every peer at every setting, the highest and lowest repetition as whiskers."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "peers", "svg.fonttype": "none", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.5, 2.8), layout="constrained")
    there = [peer for peer in ROWS if any(work.of(setting, peer).median for setting in work.settings)]
    width = 0.8 / len(there)
    for at, peer in enumerate(there):
        for place, setting in enumerate(work.settings):
            values = [value for value in work.of(setting, peer).values if value > 0]
            if values:
                middle = work.of(setting, peer).median or 0.0
                spread = [[middle - min(values)], [max(values) - middle]]
                axes.bar(
                    place + at * width, middle, width,
                    yerr=spread, color=COLOURS[peer], label=NAMES[peer], capsize=2,
                )  # fmt: skip
    settings = [textwrap.fill(setting, LABEL_CHARACTERS // len(work.settings)) for setting in work.settings]
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(settings))], settings)
    medians = [median for setting in work.settings for peer in there if (median := work.of(setting, peer).median)]
    if max(medians) > LOGARITHMIC_FROM * min(medians):
        axes.set_yscale("log")
    axes.set_title(textwrap.fill(work.title, TITLE_CHARACTERS), loc="left")
    axes.set_ylabel(f"{work.unit}\n({work.better} is better)")
    axes.yaxis.set_major_formatter(lambda value, _: number(value))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside right upper", frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path

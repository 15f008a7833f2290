"""How plots of a load test look: light and dark, for a page or a talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from nodes.load.units import duration


@dataclass(frozen=True)
class Theme:
    """Colours. `lines` are told apart by people who see few colours as well; `heat` goes from nothing to everything."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, str, str, str]
    heat: tuple[str, ...]
    bad: str


LIGHT = Theme(
    "light", "#ffffff", "#1b1f24", "#667079", "#e6e9ec", ("#2166ac", "#d9730d", "#b2182b", "#3f7d2c"),
    ("#ffffff", "#d6e6f4", "#9ecae1", "#4a98c9", "#1764ab", "#08306b"), "#b2182b",
)  # fmt: skip
DARK = Theme(
    "dark", "#14181d", "#eef1f4", "#97a1ab", "#2a3138", ("#6cb6ff", "#f5a450", "#ff7b86", "#9bd07a"),
    ("#14181d", "#173a5e", "#1f6a9e", "#46a6c8", "#a4dbc4", "#fff7c2"), "#ff7b86",
)  # fmt: skip
THEMES = (LIGHT, DARK)
_STYLE: dict[str, Any] = {
    "font.size": 10.5, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.titlesize": 11.5, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.titlepad": 10,
    "axes.labelsize": 10, "xtick.labelsize": 9.5, "ytick.labelsize": 9.5, "axes.grid": True, "grid.linewidth": 0.8,
    "axes.axisbelow": True, "lines.linewidth": 1.9, "lines.solid_capstyle": "round", "svg.hashsalt": "fabric load",
    "xtick.major.size": 3, "ytick.major.size": 3, "xtick.minor.size": 0, "ytick.minor.size": 0,
}  # fmt: skip


@contextmanager
def drawn_in(theme: Theme) -> Iterator[None]:
    """Draw in this theme within the block."""
    import matplotlib

    colours: dict[str, Any] = {
        "figure.facecolor": theme.paper, "savefig.facecolor": theme.paper, "axes.facecolor": theme.paper,
        "text.color": theme.ink, "axes.titlecolor": theme.ink, "axes.labelcolor": theme.faint,
        "axes.edgecolor": theme.faint, "xtick.color": theme.faint, "ytick.color": theme.faint,
        "grid.color": theme.grid,
    }  # fmt: skip
    style: Any = {**_STYLE, **colours}
    with matplotlib.rc_context(style):
        yield


def heat_map(theme: Theme) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list(theme.name, list(theme.heat))


def time_axis(axis: Any, lowest_ms: float, highest_ms: float) -> None:
    """Make an axis logarithmic with times as ticks: 200 us, 1 ms, 5 ms … 1 s."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    wide = highest_ms / lowest_ms > 300
    steps = [1.0] if highest_ms / lowest_ms > 10_000 else [1.0, 3.0] if wide else [1.0, 2.0, 5.0]
    ticks = [step * 10.0**power for power in range(-4, 8) for step in steps]
    axis.axes.set_yscale("log")
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter([_short(each) for each in ticks]))
    axis.set_minor_locator(NullLocator())
    axis.axes.set_ylim(lowest_ms, highest_ms)


def counts(axis: Any) -> None:
    """Write large numbers of an axis as 20k, 1.5M."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: short_count(value)))


def short_count(value: float) -> str:
    for unit, factor in (("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g}{unit}"
    return f"{value:.3g}"


def _short(ms: float) -> str:
    """A tick: `2 ms`, not `2.00 ms`."""
    number, unit = duration(ms).split(" ")
    return f"{float(number.replace(',', '')):g} {unit}"


def apart(places: list[float], least: float) -> list[float]:
    """Return places from 0 to 1, moved so that each is at least so far from the next, and none above 1."""
    order = sorted(range(len(places)), key=lambda at: places[at])
    found = list(places)
    for before, at in pairwise(order):
        found[at] = max(found[at], found[before] + least)
    for above, at in enumerate(reversed(order)):
        found[at] = min(found[at], 1.0 - least * above)
    return found

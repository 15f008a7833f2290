"""Plots of a load test as files: one picture of all, or each chart by itself; SVG or PNG, light or dark.

view = View(about, best, tried, limit_ms)
write(Path("a.svg"), view, LIGHT)              # all charts in one picture
svg(view, "heat map", DARK)                    # one chart, for a page
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.load import charts
from nodes.load.about import DOT
from nodes.load.charts import Tried
from nodes.load.report import Round
from nodes.load.theme import Theme, drawn_in

SUFFIXES = (".svg", ".png")
OVER_TIME, PERCENTILES, HEAT_MAP, OVER_RATE = "over time", "percentiles", "heat map", "over rate"
PNG_DPI = 160


@dataclass(frozen=True)
class View:
    """What is drawn.

    title, about: words above: what it is, and of what, see `about.words`
    one:          the round that the charts over time and percentiles are of
    tried:        the rates of a search; empty when there was none
    best:         the rate that it found; None: none
    limit_ms:     of p99; None where there is none
    marks:        what begins when, in seconds, over time
    """

    title: str
    about: str
    one: Round
    tried: Sequence[Tried] = ()
    best: float | None = None
    limit_ms: float | None = None
    marks: Sequence[tuple[float, str]] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The charts that there are."""
        return (OVER_TIME, PERCENTILES, HEAT_MAP, *((OVER_RATE,) if self.tried else ()))


def write(path: Path, view: View, theme: Theme, name: str | None = None) -> None:
    """Write all charts as one picture, or the one of this name. errors: OSError"""
    _save(path, path.suffix[1:], view, theme, name)


def svg(view: View, name: str, theme: Theme, *, bare: bool = False) -> str:
    """Return a chart as an <svg> element. bare: without its title and what it is of, for where these are said"""
    buffer = io.BytesIO()
    _save(buffer, "svg", view, theme, name, bare)
    text = buffer.getvalue().decode()
    return text[text.index("<svg") :]


def write_each(folder: Path, view: View, themes: Sequence[Theme]) -> list[Path]:
    """Write each chart as SVG and PNG in each theme; return the files. errors: OSError"""
    folder.mkdir(parents=True, exist_ok=True)
    files = [
        folder / f"{name.replace(' ', '-')}-{theme.name}{suffix}"
        for name in view.names
        for theme in themes
        for suffix in SUFFIXES
    ]
    names = {name.replace(" ", "-"): name for name in view.names}
    by_name = {theme.name: theme for theme in themes}
    for path in files:
        chart, _, theme = path.stem.rpartition("-")
        write(path, view, by_name[theme], names[chart])
    return files


def _save(target: Any, kind: str, view: View, theme: Theme, name: str | None, bare: bool = False) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with drawn_in(theme):
        figure: Any = Figure(figsize=(13, 7.6) if name is None else (9, 5.2), layout="constrained")
        FigureCanvasAgg(figure)
        body = figure if bare else _below_the_words(figure, view, theme, columns=200 if name is None else 120)
        if name is None:
            left, right = body.subfigures(1, 2, wspace=0.04)
            _draw(left, OVER_RATE if view.tried else OVER_TIME, view, theme)
            upper, lower = right.subfigures(2, 1, hspace=0.05)
            _draw(upper, PERCENTILES, view, theme)
            _draw(lower, HEAT_MAP, view, theme)
        else:
            _draw(body, name, view, theme)
        metadata = {"Date": None} if kind == "svg" else None
        figure.savefig(target, format=kind, dpi=PNG_DPI, metadata=metadata)


def _below_the_words(figure: Any, view: View, theme: Theme, columns: int) -> Any:
    """Write the title, and what it is of, in lines of so many columns; return the part of the figure that is left."""
    lines = wrapped(view.about, columns)
    share = (0.62 + 0.2 * len(lines)) / figure.get_figheight()
    words, body = figure.subfigures(2, 1, height_ratios=[share, 1 - share], hspace=0.0)
    inch = 1 / (share * figure.get_figheight())
    left = 0.16 / figure.get_figwidth()
    words.text(left, 1 - 0.14 * inch, view.title, fontsize=16, fontweight="bold", va="top")
    words.text(left, 1 - 0.5 * inch, "\n".join(lines), color=theme.faint, fontsize=9.5, va="top", linespacing=1.35)
    return body


def wrapped(about: str, columns: int) -> list[str]:
    """Return words that are parted by dots as lines of so many columns, where a part fits into one."""
    lines: list[str] = []
    for part in about.split(DOT):
        if lines and len(lines[-1]) + len(DOT) + len(part) <= columns:
            lines[-1] += DOT + part
        else:
            lines.append(part)
    return lines


def _draw(part: Any, name: str, view: View, theme: Theme) -> None:
    if name == PERCENTILES:
        charts.percentiles(part.subplots(), view.one, theme)
    elif name == HEAT_MAP:
        charts.heat(part.subplots(), view.one, theme, part)
    else:
        upper, lower = part.subplots(2, 1, sharex=True, height_ratios=[2, 3])
        if name == OVER_TIME:
            charts.over_time(upper, lower, view.one, theme, view.marks)
        else:
            charts.over_rate(upper, lower, view.tried, view.best, view.limit_ms, theme)

"""What `fabric load` and its phases share: limits, pictures, the live view, and how a run ends that fails."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from fabric.errors import expected
from nodes.cli.exits import Exit, Fail
from nodes.cli.options import Between, Command, PositiveNumber
from nodes.load.about import About
from nodes.load.crew import Denied, LoadError, Watch
from nodes.load.html import Table, page
from nodes.load.plot import SUFFIXES, View, write, write_each
from nodes.load.run import LoadRun
from nodes.load.schedule import Spec
from nodes.load.theme import DARK, LIGHT, THEMES, Theme
from nodes.load.units import duration, share
from nodes.load.view import live
from nodes.operate.extras import not_installed

FIND_P99_MS = 50.0
"""The limit of p99 with --find-max, where none is given."""


@dataclass(frozen=True)
class Limits:
    """What has to be kept. max_p99_ms: None where latency does not matter"""

    max_p99_ms: float | None
    max_loss: float

    def words(self) -> str:
        loss = "no loss" if not self.max_loss else f"at most {share(self.max_loss)} lost"
        return loss if self.max_p99_ms is None else f"p99 of at most {duration(self.max_p99_ms)} and {loss}"


@dataclass(frozen=True)
class Drawing:
    """What is to be drawn, and where; None: not."""

    plot: Path | None
    plots: Path | None
    report: Path | None
    theme: Theme

    def draw(self, view: View, about: About, verdict: str, is_good: bool, tables: Sequence[Table]) -> None:
        """See `html.page`. errors: OSError"""
        if self.plot is not None:
            write(self.plot, view, self.theme)
        if self.plots is not None:
            write_each(self.plots, view, THEMES)
        if self.report is not None:
            self.report.write_text(page(view, about, verdict, is_good, tables), encoding="utf-8")

    def check(self) -> None:
        """Errors: Fail where something is not installed that is needed"""
        draws = self.plot or self.plots or self.report
        for module in (*(["rich"] if sys.stderr.isatty() else []), *(["matplotlib"] if draws else [])):
            if importlib.util.find_spec(module) is None:
                raise Fail(not_installed(module, "bench"), Exit.MISSING)


class Plot(click.ParamType):  # type: ignore[type-arg]
    """A file to be written, with a suffix that says which kind."""

    name = "FILE"

    def __init__(self, suffixes: Sequence[str]) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.suffix not in self.suffixes:
            self.fail(expected("file", value, f"a name that ends in {' or '.join(self.suffixes)}"), param, ctx)
        if not path.absolute().parent.is_dir():
            self.fail(expected("folder", str(path.absolute().parent), "one that exists"), param, ctx)
        return path


def limit_options(command: Command) -> Command:
    """Add --max-p99-ms and --max-loss: the argument `limits`."""

    @functools.wraps(command)
    def with_limits(*args: Any, max_p99_ms: float | None, max_loss: float, **options: Any) -> Any:
        return command(*args, limits=Limits(max_p99_ms, max_loss), **options)

    for option in (
        click.option("--max-loss", metavar="SHARE", type=Between(0, 1), default=0.0, show_default=True,
                     help="End with 1 where a larger share of what was due is lost."),
        click.option("--max-p99-ms", metavar="MS", type=PositiveNumber(),
                     help="End with 1 where p99 is higher, or the rate was not kept. "
                          f"[default: none; with --find-max {FIND_P99_MS:g}]"),
    ):  # fmt: skip
        option(with_limits)
    return with_limits  # type: ignore[return-value]


def drawing_options(command: Command) -> Command:
    """Add --plot, --plots, --dark and --report: the argument `drawing`."""

    @functools.wraps(command)
    def with_drawing(
        *args: Any, plot: Path | None, plots: Path | None, dark: bool, report: Path | None, **options: Any
    ) -> Any:
        return command(*args, drawing=Drawing(plot, plots, report, DARK if dark else LIGHT), **options)

    for option in (
        click.option("--report", metavar="FILE", type=Plot((".html",)),
                     help="Write all of it as one .html file that needs nothing else."),
        click.option("--dark", is_flag=True, help="Draw --plot light on dark."),
        click.option("--plots", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
                     help="Draw each chart by itself, as SVG and PNG, light and dark."),
        click.option("--plot", metavar="FILE", type=Plot(SUFFIXES), help="Draw it as one picture, .svg or .png."),
    ):  # fmt: skip
        option(with_drawing)
    return with_drawing  # type: ignore[return-value]


@contextlib.contextmanager
def running(spec: Spec) -> Iterator[LoadRun]:
    """Yield a run whose first messages have arrived. Errors: Fail"""
    try:
        with _watch() as watch, LoadRun(spec, watch) as run:
            run.prime()
            yield run
    except Denied as error:
        raise Fail(str(error), Exit.DENIED) from None
    except LoadError as error:
        nobody = "no proxy answered" in str(error)
        raise Fail(str(error), Exit.NOBODY if nobody else Exit.NOT_REACHED) from None


@contextlib.contextmanager
def _watch() -> Iterator[Watch]:
    if sys.stderr.isatty():
        with live() as watch:
            yield watch
    else:
        yield lambda progress: None

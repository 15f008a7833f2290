"""`fabric load`: a load test with real processes, latencies from the intended send time, and books that balance."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fabric.errors import expected
from fabric.identity.keys import load as load_keys
from fabric.payloads import dumps
from fabric.topics import scope
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.load_compare import compare
from nodes.cli.options import Between, Connect, PositiveNumber, connect_option, connect_timeout_option
from nodes.cli.recordings import Speed, opened
from nodes.cli.stdout import table_text
from nodes.load.about import About
from nodes.load.about import words as about_words
from nodes.load.books import words
from nodes.load.charts import Tried
from nodes.load.crew import Denied, LoadError, Watch
from nodes.load.finding import STEP_COLUMNS, Finding, Unbalanced, found_words, step_rows
from nodes.load.finding import as_json as finding_json
from nodes.load.here import present
from nodes.load.html import Table, page
from nodes.load.played import PREFIX, Recorded, gather
from nodes.load.plot import SUFFIXES, View, write, write_each
from nodes.load.report import (
    OVER_COLUMNS,
    ROUND_COLUMNS,
    Round,
    as_json,
    books_table,
    over_rows,
    round_rows,
    sum_words,
)
from nodes.load.run import LoadRun
from nodes.load.schedule import STAMP_BYTES, Spec, default_filter, matched, topic_names
from nodes.load.search import Found
from nodes.load.theme import DARK, LIGHT, THEMES, Theme
from nodes.load.units import duration, share
from nodes.load.view import live
from nodes.operate.extras import not_installed
from nodes.recording.files import read

MAX_PROCESSES = 200
MAX_TOPICS = 100_000
MAX_PAIRS = 1_000_000
"""Of topic and publisher: so many last numbers a node keeps."""
SHOWN_WRONGS = 10
"""Lines of the books that are named one by one; the others are only counted."""
DEFAULT_RATE = 1_000.0
FIND_P99_MS = 50.0
"""The limit of p99 with --find-max, where none is given."""
_PUBLIC = "one for everybody, without ~ or $ in front"


@dataclass(frozen=True)
class Limits:
    """What has to be kept. max_p99_ms: None where latency does not matter"""

    max_p99_ms: float | None
    max_loss: float

    def words(self) -> str:
        loss = "no loss" if not self.max_loss else f"at most {share(self.max_loss)} lost"
        return loss if self.max_p99_ms is None else f"p99 of at most {duration(self.max_p99_ms)} and {loss}"


@dataclass(frozen=True)
class Result:
    """What was found. best: None where no rate held; search: None where none was made, or it broke off"""

    rounds: list[Round]
    best: Round | None
    finding: Finding | None = None
    search: Found | None = None

    @property
    def shown(self) -> Round:
        """The round that tables and plots are of."""
        return self.best or self.rounds[-1]


class Rate(PositiveNumber):
    """Messages a second, or `max`."""

    name = "RATE"
    wanted = "a number above 0, or max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "max" else super().convert(value, param, ctx)


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


@click.group(invoke_without_command=True, subcommand_metavar="[compare A.json B.json]")
@click.pass_context
@connect_option
@connect_timeout_option
@click.option("--publishers", metavar="P", type=click.IntRange(1, MAX_PROCESSES), default=1, show_default=True,
              help="Processes that publish.")  # fmt: skip
@click.option("--subscribers", metavar="S", type=click.IntRange(1, MAX_PROCESSES), default=1, show_default=True,
              help="Processes that subscribe.")  # fmt: skip
@click.option("--topics", metavar="T", type=click.IntRange(1, MAX_TOPICS), default=100, show_default=True,
              help="Different topics.")  # fmt: skip
@click.option("--topic", "pattern", metavar="PATTERN", default="load/{n}/value", show_default=True,
              help="The topics; {n} stands for a number.")  # fmt: skip
@click.option("--filter", "filters", metavar="FILTER", multiple=True,
              help="Give several, and subscribers take them in turn. [default: one for all topics]")  # fmt: skip
@click.option("--size", "size_bytes", metavar="B", type=click.IntRange(STAMP_BYTES, 8 * 1024 * 1024), default=64,
              show_default=True, help="Bytes of a payload.")  # fmt: skip
@click.option("--rate", metavar="R", type=Rate(), default=DEFAULT_RATE, show_default=True,
              help="Messages a second of all publishers together, or max; not used with --find-max.")  # fmt: skip
@click.option("--warm-up", "warm_up_s", metavar="S", type=PositiveNumber(), default=1.0, show_default=True,
              help="Time before the measurement; what it sends is in no figure.")  # fmt: skip
@click.option("--duration", "duration_s", metavar="S", type=PositiveNumber(), default=10.0, show_default=True,
              help="Time of the measurement; with --find-max, of the confirmation, and a tenth of it for each "
                   "repetition.")  # fmt: skip
@click.option("--find-max", is_flag=True, help="Find the highest rate that holds.")
@click.option("--max-p99-ms", metavar="MS", type=PositiveNumber(),
              help="End with 1 where p99 is higher, or the rate was not kept. "
                   f"[default: none; with --find-max {FIND_P99_MS:g}]")  # fmt: skip
@click.option("--max-loss", metavar="SHARE", type=Between(0, 1), default=0.0, show_default=True,
              help="End with 1 where a larger share of what was due is lost.")  # fmt: skip
@click.option("--play", "recording", metavar="FILE", type=click.Path(), help="Send what a recording of `fabric record` "
              "says instead: topics under load/, times and sizes; - is standard input.")  # fmt: skip
@click.option("--speed", metavar="N", type=Speed(), default=1.0, show_default=True,
              help="With --play: times as fast as recorded; max or 0: as fast as it goes.")  # fmt: skip
@click.option("--plot", "plot_file", metavar="FILE", type=Plot(SUFFIXES), help="Draw it as one picture, .svg or .png.")
@click.option("--plots", "plots_folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Draw each chart by itself, as SVG and PNG, light and dark.")  # fmt: skip
@click.option("--dark", is_flag=True, help="Draw --plot light on dark.")
@click.option("--report", "report_file", metavar="FILE", type=Plot((".html",)),
              help="Write all of it as one .html file that needs nothing else.")  # fmt: skip
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def load(
    context: click.Context,
    connect: Connect,
    connect_timeout_s: float,
    publishers: int,
    subscribers: int,
    topics: int,
    pattern: str,
    filters: tuple[str, ...],
    size_bytes: int,
    rate: Any,
    warm_up_s: float,
    duration_s: float,
    find_max: bool,
    max_p99_ms: float | None,
    max_loss: float,
    recording: str | None,
    speed: float | None,
    plot_file: Path | None,
    plots_folder: Path | None,
    dark: bool,
    report_file: Path | None,
    as_json_: bool,
) -> Exit:
    """Measure the fabric under load: what it delivers, how late, and what it loses.

    Starts publishers and subscribers as processes of this machine, in turn at the proxies that --connect names.
    Latency counts from the moment when a message was due, so that a stall does not hide what it delays; with
    --rate max, from when it was sent. All processes share one machine's clock. To load from several hosts, run one
    `fabric load` with a different --topic on each; latencies are not comparable between hosts.

    All processes show the key of --identity, which has to be allowed to publish and subscribe there.

    The books must balance: for every subscriber, due = delivered + lost + in flight at the end. Due is what was
    published on topics that its filters match, lost is lost for good. Ends with 1 when they do not, when more than
    --max-loss was lost, when p99 is above --max-p99-ms, or when --find-max finds no rate that holds.

    --find-max begins with what --rate max does, and goes down and up again in steps of several short repetitions. The
    highest rate that holds is confirmed for --duration.

    With --play, topics, times and sizes are those of a recording; its payloads are not sent. A topic belongs to one
    publisher, and all of it is measured.

    \b
    Examples:
      fabric load --publishers 2 --subscribers 4 --rate 20000 --duration 30 --max-p99-ms 20
      fabric load --subscribers 2 --filter 'load/0001/value' --filter 'load/#' --json
      fabric load --find-max --max-p99-ms 20 --report max.html --plot max.png --dark
      fabric load --play monday.jsonl --speed 10 --subscribers 4 --filter 'load/truck/#'
    """
    if context.invoked_subcommand is not None:
        return Exit.DONE
    _check_extra(draws=plot_file or plots_folder or report_file)
    if connect.keys is not None:
        load_keys(connect.keys, connect.identity)  # what is wrong with them is said before anything starts
    if find_max:
        max_p99_ms = max_p99_ms or FIND_P99_MS
        if is_given("rate"):
            raise click.UsageError("--rate does not go with --find-max: it begins with what --rate max does")
    recorded = None if recording is None else _recorded(recording, publishers)
    spec = _spec(
        publishers=publishers, subscribers=subscribers,
        topics=recorded.whole.topics if recorded else _topics(pattern, topics, publishers),
        filters=filters or (f"{PREFIX}#" if recorded else default_filter(pattern),),
        size_bytes=recorded.mean_bytes if recorded else size_bytes, rate=None if rate == "max" else rate,
        warm_up_s=warm_up_s, duration_s=duration_s, connect=connect.bases, connect_timeout_s=connect_timeout_s,
        keys=connect.keys, identity=connect.identity,
    )  # fmt: skip
    limits, about = Limits(max_p99_ms, max_loss), present()
    found: Result | None = None
    try:
        with _watch() as watch, LoadRun(spec, watch) as run:
            run.prime()
            if recorded is not None:
                found = _one(run.play(recorded, speed))
            elif find_max:
                found = _search(run, limits)
            else:
                found = _one(run.measure(spec.rate))
    except Denied as error:
        raise Fail(str(error), Exit.DENIED) from None
    except LoadError as error:
        nobody = "no proxy answered" in str(error)
        raise Fail(str(error), Exit.NOBODY if nobody else Exit.NOT_REACHED) from None
    _draw(found, limits, about, spec, run.covered, plot_file, plots_folder, report_file, DARK if dark else LIGHT)
    if as_json_:
        told = as_json(spec, found.rounds, found.best, run.unconfirmed) | about.as_json()
        if found.search and found.finding:
            told["search"] = finding_json(found.search, found.finding.repetition_s)
        click.echo(dumps(told))
    else:
        _show(found, run.covered)
    return _end(found, run.unconfirmed, limits)


def _check_extra(*, draws: object) -> None:
    needed = [*(["rich"] if sys.stderr.isatty() else []), *(["matplotlib"] if draws else [])]
    for module in needed:
        if importlib.util.find_spec(module) is None:
            raise Fail(not_installed(module, "bench"), Exit.MISSING)


NOT_WITH_PLAY = ("topics", "pattern", "size_bytes", "rate", "warm_up_s", "duration_s", "find_max")
"""Arguments of `load` whose options say what a recording says."""


def is_given(argument: str) -> bool:
    """Whether an argument of the present command was given, and is not its default."""
    return click.get_current_context().get_parameter_source(argument) != ParameterSource.DEFAULT


def _recorded(name: str, publishers: int) -> Recorded:
    """Return what a recording holds. Errors: UsageError for options that do not go with it; Fail."""
    for param in click.get_current_context().command.params:
        if param.name in NOT_WITH_PLAY and is_given(param.name):
            raise click.UsageError(f"{param.opts[0]} does not go with --play: the recording says it")
    try:
        with opened(name) as file:
            recorded = gather(read(file))
    except (ValueError, OSError) as error:  # another version is a ValueError as well
        raise Fail(f"{name}: {error}", Exit.MISSING) from None
    except ModuleNotFoundError as error:
        raise Fail(not_installed(error.name, "mcap"), Exit.MISSING) from None
    if recorded.skipped:
        say(f"{recorded.skipped:,} messages of the recording cannot be published, and are passed over")
    _check_pairs(len(recorded.whole.topics), publishers)
    return recorded


def _topics(pattern: str, count: int, publishers: int) -> tuple[str, ...]:
    _check_pairs(count, publishers)
    try:
        names = topic_names(pattern, count)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if scope(names[0]):
        raise click.UsageError(expected("--topic", pattern, _PUBLIC))
    return names


def _check_pairs(topics: int, publishers: int) -> None:
    if topics * publishers > MAX_PAIRS:
        raise click.UsageError(
            f"{topics:,} topics at {publishers} publishers are more than the {MAX_PAIRS:,} pairs that a node counts"
        )


def _spec(**values: Any) -> Spec:
    spec = Spec(**values)
    for each in spec.filters:
        if scope(each.strip()):
            raise click.UsageError(expected("--filter", each, _PUBLIC))
        if not matched((each,), spec.topics):
            raise click.UsageError(f"--filter {each!r} matches none of the topics {spec.topics[0]} … {spec.topics[-1]}")
    return spec


@contextlib.contextmanager
def _watch() -> Iterator[Watch]:
    if sys.stderr.isatty():
        with live() as watch:
            yield watch
    else:
        yield lambda progress: None


def _one(found: Round) -> Result:
    return Result([found], found)


def _search(run: LoadRun, limits: Limits) -> Result:
    finding = Finding(
        run, duration_s=run.spec.duration_s, warm_up_s=run.spec.warm_up_s, max_p99_ms=limits.max_p99_ms or FIND_P99_MS,
        max_loss=limits.max_loss, said=say,
    )  # fmt: skip
    try:
        search, best = finding.find()
    except Unbalanced:
        return Result(finding.rounds, None, finding)
    return Result(finding.rounds, best, finding, search)


def _view(found: Result, limits: Limits, about: About, spec: Spec, covered: tuple[str, ...]) -> View:
    tried: list[Tried] = []
    if found.search and found.finding:
        tried = [Tried(each.rate, found.finding.of(each.rate), each.holds) for each in found.search.steps]
    rate = found.shown.rate
    title = "as fast as it goes" if rate is None else f"{rate:,.0f} messages a second"
    if found.search:
        title = f"the highest rate that holds is {rate:,.0f}/s" if found.best else "no rate holds"
    best = None if found.best is None else found.best.rate
    return View(f"fabric load: {title}", about_words(about, spec, found.shown, covered), found.shown, tried,
                best if tried else None, limits.max_p99_ms)  # fmt: skip


def _draw(
    found: Result, limits: Limits, about: About, spec: Spec, covered: tuple[str, ...], plot_file: Path | None,
    plots_folder: Path | None, report_file: Path | None, theme: Theme,
) -> None:  # fmt: skip
    view = _view(found, limits, about, spec, covered)
    if plot_file is not None:
        write(plot_file, view, theme)
    if plots_folder is not None:
        write_each(plots_folder, view, THEMES)
    if report_file is not None:
        tables = []
        if found.search and found.finding:
            rows = step_rows(found.search, found.finding)
            tables.append(Table("The search", "From the lowest rate; medians of its repetitions.", STEP_COLUMNS, rows))
        verdict, is_good = _verdict(found, limits)
        report_file.write_text(page(view, about, verdict, is_good, tables), encoding="utf-8")


def _verdict(found: Result, limits: Limits) -> tuple[str, bool]:
    """Return in a sentence how it ended, and whether that is good."""
    one = found.shown
    if not one.balances:
        return f"The books do not balance: {sum_words(one)}.", False
    if found.search and found.finding:
        said = found_words(found.search, found.finding.repetition_s, limits.words())
        return f"{said[0].upper()}{said[1:]}.", found.best is not None
    why = one.fell(limits.max_p99_ms, limits.max_loss)
    return (f"The limits were not kept: {why}.", False) if why else (f"It kept its limits: {limits.words()}.", True)


def _show(found: Result, covered: tuple[str, ...]) -> None:
    shown = found.shown
    say(f"covered: {', '.join(covered)}; latency from the intended send time")
    texts = []
    if found.search and found.finding:
        texts.append(table_text(STEP_COLUMNS, step_rows(found.search, found.finding), right=STEP_COLUMNS))
    texts.append(table_text(ROUND_COLUMNS, round_rows([shown]), right=ROUND_COLUMNS))
    columns, rows = books_table(shown)
    texts.append(f"{table_text(columns, rows, right=columns)}\n{sum_words(shown)}")
    if over := over_rows(shown.over):
        texts.append(table_text(OVER_COLUMNS, over, right=OVER_COLUMNS[::2]))
    click.echo("\n\n".join(texts))


def _end(found: Result, unconfirmed: int, limits: Limits) -> Exit:
    last = found.rounds[-1]
    if unconfirmed:
        say(f"{unconfirmed:,} messages are not known to have reached a proxy")
    wrong = [line for line in last.lines if not line.balances]
    for line in wrong[:SHOWN_WRONGS]:
        say(f"the books do not balance: {words(line)}")
    if len(wrong) > SHOWN_WRONGS:
        say(f"and {len(wrong) - SHOWN_WRONGS} pairs of subscriber and publisher more")
    if found.search and found.finding:
        say(found_words(found.search, found.finding.repetition_s, limits.words()))
    elif not wrong:
        if last.refused:
            say(f"the proxies did not accept {last.refused:,} messages")
        if last.unsent:
            say(f"the publishers did not keep the schedule: {last.unsent:,} messages were not sent in time, and "
                "no figure holds their latency; try more --publishers or a lower --rate")  # fmt: skip
        if why := last.fell(limits.max_p99_ms, limits.max_loss):
            say(f"the limits were not kept: {why}; expected {limits.words()}")
            return Exit.NOT_REACHED
    return Exit.NOT_REACHED if wrong or found.best is None else Exit.DONE


load.add_command(compare)

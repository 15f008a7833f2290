"""`fabric load`: a load test with real processes, latencies from the intended send time, and books that balance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import click
from click.core import ParameterSource

from fabric.errors import expected
from fabric.identity.keys import load as load_keys
from fabric.payloads import dumps
from fabric.topics import scope
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.load_compare import compare
from nodes.cli.load_phases import phases
from nodes.cli.load_shared import FIND_P99_MS, Drawing, Limits, drawing_options, limit_options, running
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option
from nodes.cli.recordings import Speed, opened
from nodes.cli.stdout import table_text
from nodes.load.about import About
from nodes.load.about import words as about_words
from nodes.load.books import words
from nodes.load.charts import Tried
from nodes.load.finding import STEP_COLUMNS, Finding, Unbalanced, found_words, step_rows
from nodes.load.finding import as_json as finding_json
from nodes.load.here import present
from nodes.load.html import Table
from nodes.load.played import PREFIX, Recorded, gather
from nodes.load.plot import View
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
from nodes.operate.extras import not_installed
from nodes.recording.files import read

MAX_PROCESSES = 200
MAX_TOPICS = 100_000
MAX_PAIRS = 1_000_000
"""Of topic and publisher: so many last numbers a node keeps."""
SHOWN_WRONGS = 10
"""Lines of the books that are named one by one; the others are only counted."""
DEFAULT_RATE = 1_000.0
_PUBLIC = "one for everybody, without ~ or $ in front"


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


class _Load(click.Group):
    """`fabric load` with options is a test; `fabric load FILE.toml` is `fabric load run FILE.toml`."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, "run" if cmd_name.endswith(".toml") else cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        return super().resolve_command(ctx, ["run", *args] if args[0].endswith(".toml") else args)


@click.group(cls=_Load, invoke_without_command=True, subcommand_metavar="[FILE.toml | compare A.json B.json]")
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
@limit_options
@click.option("--play", "recording", metavar="FILE", type=click.Path(), help="Send what a recording of `fabric record` "
              "says instead: topics under load/, times and sizes; - is standard input.")  # fmt: skip
@click.option("--speed", metavar="N", type=Speed(), default=1.0, show_default=True,
              help="With --play: times as fast as recorded; max or 0: as fast as it goes.")  # fmt: skip
@drawing_options
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
    limits: Limits,
    recording: str | None,
    speed: float | None,
    drawing: Drawing,
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
    drawing.check()
    if connect.keys is not None:
        load_keys(connect.keys, connect.identity)  # what is wrong with them is said before anything starts
    if find_max:
        limits = replace(limits, max_p99_ms=limits.max_p99_ms or FIND_P99_MS)
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
    about = present()
    with running(spec) as run:
        if recorded is not None:
            found = _one(run.play(recorded, speed))
        elif find_max:
            found = _search(run, limits)
        else:
            found = _one(run.measure(spec.rate))
    _draw(found, limits, about, spec, run.covered, drawing)
    if as_json_:
        told = as_json(spec, found.rounds, found.best, run.unconfirmed) | about.as_json()
        if found.search and found.finding:
            told["search"] = finding_json(found.search, found.finding.repetition_s)
        click.echo(dumps(told))
    else:
        _show(found, run.covered)
    return _end(found, run.unconfirmed, limits)


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


def _draw(found: Result, limits: Limits, about: About, spec: Spec, covered: tuple[str, ...], drawing: Drawing) -> None:
    tables = []
    if found.search and found.finding:
        rows = step_rows(found.search, found.finding)
        tables.append(Table("The search", "From the lowest rate; medians of its repetitions.", STEP_COLUMNS, rows))
    drawing.draw(_view(found, limits, about, spec, covered), about, *_verdict(found, limits), tables)


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
load.add_command(phases, "run")

"""`fabric load`: a load test with real processes, latencies from the intended send time, and books that balance."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fabric.errors import expected
from fabric.identity.keys import load as load_keys
from fabric.payloads import dumps
from fabric.topics import scope
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import Between, Connect, PositiveNumber, connect_option, connect_timeout_option
from nodes.cli.recordings import Speed, opened
from nodes.cli.stdout import table_text
from nodes.load.books import words
from nodes.load.crew import Denied, LoadError, Watch
from nodes.load.played import PREFIX, Recorded, gather
from nodes.load.plot import SUFFIXES, plot
from nodes.load.report import (
    BOOKS_COLUMNS,
    OVER_COLUMNS,
    ROUND_COLUMNS,
    Round,
    as_json,
    books_rows,
    over_rows,
    round_rows,
)
from nodes.load.run import LoadRun
from nodes.load.schedule import STAMP_BYTES, Spec, default_filter, matched, topic_names
from nodes.load.search import Search
from nodes.load.view import live
from nodes.operate.extras import not_installed
from nodes.recording.files import read

MAX_PROCESSES = 200
MAX_TOPICS = 100_000
MAX_PAIRS = 1_000_000
"""Of topic and publisher: so many last numbers a node keeps."""
SHOWN_WRONGS = 10
"""Lines of the books that are named one by one; the others are only counted."""
FIRST_RATE = 1_000.0
_PUBLIC = "one for everybody, without ~ or $ in front"


class Rate(PositiveNumber):
    """Messages a second, or `max`."""

    name = "RATE"
    wanted = "a number above 0, or max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if value == "max" else super().convert(value, param, ctx)


class Plot(click.ParamType):  # type: ignore[type-arg]
    """A file to be written, with a suffix that says which kind."""

    name = "FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.suffix not in SUFFIXES:
            self.fail(expected("file", value, f"a name that ends in {' or '.join(SUFFIXES)}"), param, ctx)
        if not path.absolute().parent.is_dir():
            self.fail(expected("folder", str(path.absolute().parent), "one that exists"), param, ctx)
        return path


@click.command()
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
@click.option("--rate", metavar="R", type=Rate(), default=FIRST_RATE, show_default=True,
              help="Messages a second of all publishers together, or max.")  # fmt: skip
@click.option("--warm-up", "warm_up_s", metavar="S", type=PositiveNumber(), default=1.0, show_default=True,
              help="Time before the measurement; its messages are in the books, but in no figure.")  # fmt: skip
@click.option("--duration", "duration_s", metavar="S", type=PositiveNumber(), default=10.0, show_default=True,
              help="Time of the measurement; with --find-max, at each rate.")  # fmt: skip
@click.option("--find-max", is_flag=True, help="Raise the rate from R until it no longer holds, and find the last.")
@click.option("--max-p99-ms", metavar="MS", type=PositiveNumber(), default=50.0, show_default=True,
              help="With --find-max: a rate holds while p99 is at most this …")  # fmt: skip
@click.option("--max-loss", metavar="SHARE", type=Between(0, 1), default=0.0, show_default=True,
              help="… and at most this share is lost.")  # fmt: skip
@click.option("--play", "recording", metavar="FILE", type=click.Path(), help="Send what a recording of `fabric record` "
              "says instead: topics under load/, times and sizes; - is standard input.")  # fmt: skip
@click.option("--speed", metavar="N", type=Speed(), default=1.0, show_default=True,
              help="With --play: times as fast as recorded; max or 0: as fast as it goes.")  # fmt: skip
@click.option("--plot", "plot_file", metavar="FILE", type=Plot(), help="Draw it as .svg or .png.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def load(
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
    max_p99_ms: float,
    max_loss: float,
    recording: str | None,
    speed: float | None,
    plot_file: Path | None,
    as_json_: bool,
) -> Exit:
    """Measure the fabric under load: what it delivers, how late, and what it loses.

    Starts publishers and subscribers as processes of this machine, in turn at the proxies that --connect names.
    Latency counts from the moment when a message was due, so that a stall does not hide what it delays; with
    --rate max, from when it was sent. All processes share one machine's clock. To load from several hosts, run one
    `fabric load` with a different --topic on each; latencies are not comparable between hosts.

    All processes show the key of --identity, which has to be allowed to publish and subscribe there.

    The books must balance: for every subscriber and publisher, published on what its filters match = delivered +
    reported lost + still on its way at the end. Ends with 1 when they do not, or when not even the lowest rate held.

    With --play, topics, times and sizes are those of a recording; its payloads are not sent. A topic belongs to one
    publisher, and all of it is measured.

    \b
    Examples:
      fabric load --publishers 2 --subscribers 4 --rate 20000 --duration 30
      fabric load --subscribers 2 --filter 'load/0001/value' --filter 'load/#' --json
      fabric load --find-max --rate 5000 --max-p99-ms 20 --plot knee.svg
      fabric load --play monday.jsonl --speed 10 --subscribers 4 --filter 'load/truck/#'
    """
    _check_extra(plot_file)
    if connect.keys is not None:
        load_keys(connect.keys, connect.identity)  # what is wrong with them is said before anything starts
    if find_max and rate == "max":
        raise click.UsageError(
            "--find-max needs a rate to begin with: expected --rate 1000, or --rate max without --find-max"
        )
    recorded = None if recording is None else _recorded(recording, publishers)
    spec = _spec(
        publishers=publishers, subscribers=subscribers,
        topics=recorded.whole.topics if recorded else _topics(pattern, topics, publishers),
        filters=filters or (f"{PREFIX}#" if recorded else default_filter(pattern),),
        size_bytes=recorded.mean_bytes if recorded else size_bytes, rate=None if rate == "max" else rate,
        warm_up_s=warm_up_s, duration_s=duration_s, connect=connect.bases, connect_timeout_s=connect_timeout_s,
        keys=connect.keys, identity=connect.identity,
    )  # fmt: skip
    try:
        with _watch() as watch, LoadRun(spec, watch) as run:
            run.prime()
            if recorded is not None:
                rounds, best = _one(run.play(recorded, speed))
            elif find_max:
                rounds, best = _search(run, max_p99_ms, max_loss)
            else:
                rounds, best = _one(run.measure(spec.rate))
    except Denied as error:
        raise Fail(str(error), Exit.DENIED) from None
    except LoadError as error:
        nobody = "no proxy answered" in str(error)
        raise Fail(str(error), Exit.NOBODY if nobody else Exit.NOT_REACHED) from None
    if plot_file is not None:
        plot(plot_file, rounds, best, max_p99_ms if find_max else None)
    if as_json_:
        click.echo(dumps(as_json(spec, rounds, best, run.unconfirmed)))
    else:
        _show(rounds, run.covered)
    return _end(rounds, best, run.unconfirmed)


def _check_extra(plot_file: Path | None) -> None:
    needed = ["hdrh", *(["rich"] if sys.stderr.isatty() else []), *(["matplotlib"] if plot_file else [])]
    for module in needed:
        if importlib.util.find_spec(module) is None:
            raise Fail(not_installed(module, "bench"), Exit.MISSING)


NOT_WITH_PLAY = ("topics", "pattern", "size_bytes", "rate", "warm_up_s", "duration_s", "find_max")
"""Arguments of `load` whose options say what a recording says."""


def _recorded(name: str, publishers: int) -> Recorded:
    """Return what a recording holds. Errors: UsageError for options that do not go with it; Fail."""
    context = click.get_current_context()
    for param in context.command.params:
        if param.name in NOT_WITH_PLAY and context.get_parameter_source(param.name) != ParameterSource.DEFAULT:
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


def _one(found: Round) -> tuple[list[Round], Round | None]:
    return [found], found


def _search(run: LoadRun, max_p99_ms: float, max_loss: float) -> tuple[list[Round], Round | None]:
    search, rounds = Search(run.spec.rate or FIRST_RATE), []
    best: Round | None = None
    while (rate := search.rate) is not None:
        found = run.measure(rate)
        rounds.append(found)
        why = found.fell(max_p99_ms, max_loss)
        search.tell(held=not why)
        best = best if why else found
        say(f"{rate:,.0f}/s {f'did not hold: {why}' if why else 'held'}")
        if not found.balances:
            break
    return rounds, best


def _show(rounds: list[Round], covered: tuple[str, ...]) -> None:
    say(f"covered: {', '.join(covered)}; latency in ms from the intended send time")
    last = rounds[-1]
    texts = [table_text(ROUND_COLUMNS, round_rows(rounds), right=ROUND_COLUMNS)]
    repaired = [sum(each) for each in zip(*(each.repaired for each in rounds), strict=True)]
    texts.append(table_text(BOOKS_COLUMNS, books_rows(last.lines, repaired), right=BOOKS_COLUMNS))
    if over := over_rows(last.over):
        texts.append(table_text(OVER_COLUMNS, over, right=OVER_COLUMNS[::2]))
    click.echo("\n\n".join(texts))


def _end(rounds: list[Round], best: Round | None, unconfirmed: int) -> Exit:
    if unconfirmed:
        say(f"{unconfirmed:,} messages are not known to have reached a proxy")
    if rounds[-1].unsent:
        say(f"the publishers did not keep the schedule: {rounds[-1].unsent:,} messages were not sent in time, and "
            "no figure holds their latency; try more --publishers or a lower --rate")  # fmt: skip
    wrong = [line for line in rounds[-1].lines if not line.balances]
    for line in wrong[:SHOWN_WRONGS]:
        say(f"the books do not balance: {words(line)}")
    if len(wrong) > SHOWN_WRONGS:
        say(f"and {len(wrong) - SHOWN_WRONGS} pairs of subscriber and publisher more")
    if best is None:
        say("no rate held")
    elif len(rounds) > 1:
        say(f"the last rate that held: {best.rate:,.0f}/s")
    return Exit.NOT_REACHED if wrong or best is None else Exit.DONE

"""`fabric load FILE.toml`: a load test of several phases; see `nodes.load.phases` for the file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from fabric.payloads import dumps
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.load_shared import Drawing, Limits, drawing_options, limit_options, running
from nodes.cli.options import Connect, connect_option, connect_timeout_option
from nodes.cli.stdout import table_text
from nodes.load.about import words as about_words
from nodes.load.beside import Done
from nodes.load.books import words
from nodes.load.here import present
from nodes.load.html import Table
from nodes.load.kill import kill, recorded
from nodes.load.latency import merged, quantiles_ms
from nodes.load.phased import Phased, PhaseFound, together
from nodes.load.phases import Phases, read
from nodes.load.plot import View
from nodes.load.report import Round, as_json, books_table, sum_words
from nodes.load.schedule import Spec, default_filter, topic_names
from nodes.load.units import duration

PATTERN = "load/{n}/value"
COLUMNS = ("phase", "rate", "due", "= delivered", "+ lost", "+ in flight", "delivered/s", "p50", "p99", "p99.9")
BESIDE_COLUMNS = ("phase", "what", "done", "failed", "p50", "p99", "max")
SHOWN_WRONGS = 5


@click.command("run")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE.toml")
@connect_option
@connect_timeout_option
@limit_options
@drawing_options
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object instead of tables.")
def phases(
    file: Path, connect: Connect, connect_timeout_s: float, limits: Limits, drawing: Drawing, as_json_: bool
) -> Exit:
    """Run a load test of several phases: ramps, bursts, nodes that come and go, requests, a process that is killed.

    The file says how many publishers and subscribers there are, and for each phase its rate and what happens beside;
    docs/how-to/load-test.md shows one. Limits hold for each phase. Ends as `fabric load` does. Only processes are
    killed that scripts/up has recorded in the folder which the file names as `plan`.

    \b
    Example:
      fabric load run.toml --report run.html
    """
    drawing.check()
    test = _read(file)
    topics = topic_names(PATTERN, test.topics)
    spec = Spec(
        test.publishers, test.subscribers, topics, (default_filter(PATTERN),), test.size_bytes, None, 0.0, test.seconds,
        connect.bases, connect_timeout_s, connect.keys, connect.identity,
    )  # fmt: skip
    about = present()
    with running(spec) as run:
        phased = Phased(run, test, partial(kill, Path(test.plan)))
        found = []
        for phase in test.phases:
            found.append(phased.run(phase))
            say(f"{phase.name}: {sum_words(found[-1].round)}")
    whole = together([each.round for each in found])
    faults = [f"{each.phase.name}: {why}" for each in found if (why := fault(each, limits))]
    verdict = "; ".join(faults) if faults else f"Every phase kept its limits: {limits.words()}"
    tables = [Table("Phases", "", COLUMNS, phase_rows(found))]
    if beside := beside_rows(found):
        tables.append(Table("Beside them", "From the intended time.", BESIDE_COLUMNS, beside))
    view = View(f"fabric load: {file.stem}", about_words(about, spec, whole, run.covered), whole, marks=marks(found))
    drawing.draw(view, about, f"{verdict}.", not faults, tables)
    if as_json_:
        click.echo(dumps(as_json(spec, [each.round for each in found], whole, run.unconfirmed) | about.as_json()
                         | {"phases": told(found)}))  # fmt: skip
    else:
        _show(tables, whole)
    for each in faults:
        say(each)
    return Exit.NOT_REACHED if faults else Exit.DONE


def _read(file: Path) -> Phases:
    """Return the test of a file. Errors: Fail, also where a process that is to be killed does not run"""
    try:
        test = read(file.read_text(encoding="utf-8"))
        for each in test.phases:
            if each.kill:
                recorded(Path(test.plan), each.kill)
    except (OSError, ValueError) as error:
        raise Fail(f"{file}: {error}", Exit.MISSING) from None
    return test


def fault(found: PhaseFound, limits: Limits) -> str:
    """Return why a phase did not keep its limits; empty where it did."""
    wrong = [words(line) for line in found.round.lines if not line.balances]
    if wrong:
        return f"the books do not balance: {'; '.join(wrong[:SHOWN_WRONGS])}"
    for what, done in (("joins", found.joins), ("requests", found.requests)):
        if done and done.failed:
            return f"{done.failed:,} of {done.failed + done.succeeded:,} {what} failed: {done.why}"
    return found.round.fell(limits.max_p99_ms, limits.max_loss)


def phase_rows(found: Sequence[PhaseFound]) -> list[tuple[str, ...]]:
    """A row for each phase and one for all, in the order of COLUMNS."""
    whole = together([each.round for each in found])
    rows = []
    for name, one in [*((each.phase.name, each.round) for each in found), ("all", whole)]:
        books = one.total
        counts = (books.due, books.delivered, books.lost, books.in_flight, round(one.delivered_per_s))
        times = [duration(one.quantiles_ms[key]) if one.quantiles_ms else "-" for key in ("p50", "p99", "p99.9")]
        rows.append((name, f"{one.rate or 0:,.0f}/s", *(f"{count:,}" for count in counts), *times))
    return rows


def beside_rows(found: Sequence[PhaseFound]) -> list[tuple[str, ...]]:
    """A row for all that was done beside the phases, in the order of BESIDE_COLUMNS."""
    rows = []
    for each in found:
        for what, done in (("joined", each.joins), ("requests", each.requests)):
            if done:
                times = quantiles_ms(merged([done.counts]))
                shown = [duration(times[key]) if times else "-" for key in ("p50", "p99", "max")]
                rows.append((each.phase.name, what, f"{done.succeeded:,}", f"{done.failed:,}", *shown))
        if each.killed:
            rows.append((each.phase.name, f"killed {each.killed}", "1", "0", "-", "-", "-"))
    return rows


def marks(found: Sequence[PhaseFound]) -> list[tuple[float, str]]:
    """Return when each phase begins, in seconds, and its name."""
    at_s, marked = 0.0, []
    for each in found:
        marked.append((at_s, each.phase.name))
        at_s += each.round.sending_s
    return marked


def told(found: Sequence[PhaseFound]) -> list[dict[str, Any]]:
    def one(done: Done | None) -> dict[str, Any] | None:
        if done is None:
            return None
        latency = quantiles_ms(merged([done.counts]))
        return {"done": done.succeeded, "failed": done.failed, "why": done.why, "latency_ms": latency}

    return [
        {"name": each.phase.name, "joins": one(each.joins), "requests": one(each.requests), "killed": each.killed}
        for each in found
    ]


def _show(tables: Sequence[Table], whole: Round) -> None:
    texts = [table_text(each.columns, each.rows, right=each.columns[2:]) for each in tables]
    columns, rows = books_table(whole)
    texts.append(f"{table_text(columns, rows, right=columns)}\n{sum_words(whole)}")
    click.echo("\n\n".join(texts))

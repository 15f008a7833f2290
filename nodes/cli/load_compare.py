"""`fabric load compare A.json B.json`: whether two load tests differ, and by how much; see `nodes.load.compare`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import click

from fabric.payloads import dumps
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.stdout import table_text
from nodes.load.compare import Comparison, Difference
from nodes.load.compare import compare as compared
from nodes.load.units import duration

COLUMNS = ("figure", "A", "B", "B beside A", "95 % between", "p", "")
WANTED = "expected what `fabric load --json` printed"
SEED = 1
"""Of the resampling: the same files give the same words."""


@click.command()
@click.argument("a", type=click.Path(path_type=Path), metavar="A.json")
@click.argument("b", type=click.Path(path_type=Path), metavar="B.json")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def compare(a: Path, b: Path, as_json: bool) -> Exit:
    """Compare two load tests: which figures of B are better or worse than those of A.

    A and B are what `fabric load --json` printed. Samples are the repetitions of --find-max where there are enough of
    them, else the slots of time of the measurement. A difference is told by the test of Mann and Whitney, which does
    not ask latencies to be normal, with a correction for neighbours in time that are alike, and one (Holm's) for
    looking at several figures. Ends with 1 when B is worse in any of them.

    \b
    Example:
      fabric load --rate 5000 --json >before.json
      fabric load --rate 5000 --json >after.json
      fabric load compare before.json after.json
    """
    one, other = _read(a), _read(b)
    try:
        found = compared(one, other, random.Random(SEED))
    except ValueError as error:
        raise Fail(str(error), Exit.MISSING) from None
    except (LookupError, TypeError, AttributeError):
        raise Fail(f"{a}, {b}: {WANTED}", Exit.MISSING) from None
    for each in found.apart:
        say(f"not the same test: {each}")
    if as_json:
        click.echo(dumps(told(found)))
    else:
        say(f"compared {found.samples}; test of Mann and Whitney, p by Holm's method")
        rows = [row(each) for each in found.differences]
        click.echo(table_text(COLUMNS, rows, right=COLUMNS[1:6]))
    return Exit.NOT_REACHED if any(each.is_worse for each in found.differences) else Exit.DONE


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fail(f"{path}: {error}", Exit.MISSING) from None
    except ValueError:
        raise Fail(f"{path}: {WANTED}", Exit.MISSING) from None
    return found  # type: ignore[no-any-return]


def row(one: Difference) -> tuple[str, ...]:
    """A row in the order of COLUMNS."""
    values = [duration(each) if one.figure.unit == "ms" else f"{each:,.0f}/s" for each in (one.a, one.b)]
    judged = ("worse" if one.is_worse else "better") if one.is_shown else "no difference shown"
    p = "<0.001" if one.p < 0.001 else f"{one.p:.3f}"
    return (one.figure.name, *values, percent(one.ratio), f"{percent(one.low)} … {percent(one.high)}", p, judged)


def percent(ratio: float) -> str:
    """Return by how much a ratio is above or below 1: `+12.5 %`."""
    return f"{100 * (ratio - 1):+.1f} %"


def told(found: Comparison) -> dict[str, Any]:
    return {
        "samples": found.samples,
        "not_the_same": list(found.apart),
        "differences": [
            {
                "figure": each.figure.name, "unit": each.figure.unit, "a": each.a, "b": each.b, "ratio": each.ratio,
                "low": each.low, "high": each.high, "p": each.p, "is_shown": each.is_shown, "is_worse": each.is_worse,
            }
            for each in found.differences
        ],
    }  # fmt: skip

"""`fabric ping`: the round trip through each proxy of the mesh."""

from __future__ import annotations

import time

import click

from fabric.payloads import dumps
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe.ping_view import COLUMNS, Pings
from nodes.observe.survey import Survey


@click.command()
@click.option(
    "--count",
    metavar="N",
    type=click.IntRange(1),
    default=10,
    show_default=True,
    help="How many probes to send to each proxy.",
)
@click.option("--interval", "interval_s", metavar="S", type=PositiveNumber(), default=0.1, show_default=True,
              help="Time from one probe to the next.")  # fmt: skip
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=1.0, show_default=True,
              help="A probe that takes longer is lost.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a proxy; times in seconds.")
@connect_option
@connect_timeout_option
def ping(
    count: int, interval_s: float, timeout_s: float, as_json: bool, connect: Connect, connect_timeout_s: float
) -> Exit:
    """Show the round trip through each proxy of the mesh.

    A probe goes the way of a message: to the proxy that this command is connected to, over a link to the proxy that is
    asked, and back. Ends with 1 when a proxy answered no probe.

    \b
    Example:
      fabric ping --count 100 --connect tcp://127.0.0.1:5570
    """
    pings, interrupted = Pings(), False
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        try:
            _probe(survey, pings, count, interval_s, timeout_s)
        except KeyboardInterrupt:
            interrupted = True  # and show what there is
    if not pings.rows():
        raise Fail(f"a proxy at {connect} answered, but none announced itself", Exit.NOBODY)
    if as_json:
        for each in pings.as_json():
            click.echo(dumps(each))
    else:
        click.echo(table_text(COLUMNS, pings.rows(), right=COLUMNS[1:]))
    if interrupted:
        return Exit.INTERRUPTED
    if pings.silent:
        say(f"no answer from {', '.join(pings.silent)}")
    return Exit.NOT_REACHED if pings.silent else Exit.DONE


def _probe(survey: Survey, pings: Pings, count: int, interval_s: float, timeout_s: float) -> None:
    due = time.monotonic()
    for _ in range(count):
        time.sleep(max(0.0, due - time.monotonic()))
        due += interval_s
        probes = [(record.id, survey.ping(record)) for record in survey.records()]
        end = time.monotonic() + timeout_s
        for name, asked in probes:
            answers = asked.wait(1, max(0.0, end - time.monotonic()))
            pings.add(name, answers[0][0] if answers else None)

"""`fabric why`: who gets a topic, who does not, and why not."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from fabric.errors import ScopeError
from fabric.payloads import dumps
from fabric.topics import scope, validate_topic
from nodes.cli.options import (
    MESH_TIMEOUT_S,
    Exit,
    PositiveNumber,
    connect_option,
    connect_timeout_option,
    open_node,
    say,
)
from nodes.cli.stdout import table_text
from nodes.observe.survey import Asked, Survey
from nodes.observe.why_view import NODE_COLUMNS, PROXY_COLUMNS, Why

LOOK_S = 0.05
NAMED = 10
"""Nodes named in a warning."""


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=1.0, show_default=True,
              help="How long to wait for answers, when not all nodes have given theirs.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connect_option
@connect_timeout_option
def why(topic: str, timeout_s: float, as_json: bool, connect: Sequence[str], connect_timeout_s: float) -> Exit:
    """Say which nodes a message on TOPIC reaches, and why not the others.

    Sends a trace on TOPIC: it goes where a message would go, and no program sees it. Every node that it reaches says
    so; and every node is asked which of its filters match, or else come nearest. Of more than 200 nodes a sample is.
    Ends with 0 when a node got it, else with 1.

    \b
    GOT IT ms  until the node's word was back here; - when the trace did not reach it
    Example:
      fabric why truck/0001/temperature
    """
    validate_topic(topic)
    if scope(topic) == "local":
        raise ScopeError(f"{topic!r} never leaves the page that publishes it; right would be a topic without ~/")
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        found = Why(topic, survey.nodes())
        _collect(survey, found, timeout_s)
    if as_json:
        click.echo(dumps(found.as_json()))
    else:
        _print(found)
    if in_vain := found.in_vain:
        more = f" and {len(in_vain) - NAMED} more" if len(in_vain) > NAMED else ""
        lacking = f"{', '.join(in_vain[:NAMED])}{more}: a filter matches, and nothing has come there in {timeout_s:g} s"
        say(f"{lacking}; `fabric status` shows the links, `fabric top` who is behind")
    return Exit.DONE if found.got else Exit.NOT_REACHED


def _collect(survey: Survey, found: Why, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    questions = [survey.trace(found.topic), survey.ask_nodes("why", survey.nodes(), found.topic)]
    taken = [0, 0]
    while time.monotonic() < end:
        for number, asked in enumerate(questions):
            taken[number] += _take(asked, taken[number], found)
        if found.is_whole:
            return


def _take(asked: Asked, start: int, found: Why) -> int:
    """Hand the answers from number `start` on to `found`; return how many."""
    new = asked.wait(start + 1, LOOK_S)[start:]
    for elapsed_s, answer in new:
        found.hear(elapsed_s, answer)
    return len(new)


def _print(found: Why) -> None:
    click.echo(table_text(PROXY_COLUMNS, found.proxies(), right=PROXY_COLUMNS[1:]))
    if rows := found.rows():
        click.echo("")
        click.echo(table_text(NODE_COLUMNS, rows, right=NODE_COLUMNS[2:3]))

"""`fabric why`: who gets a topic, who does not, and why not."""

from __future__ import annotations

import time

import click

from fabric.errors import ScopeError, expected
from fabric.payloads import dumps
from fabric.topics import scope, validate_topic
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.options import MESH_TIMEOUT_S, Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import table_text
from nodes.observe.survey import Asked, Survey
from nodes.observe.why_view import NODE_COLUMNS, PROXY_COLUMNS, Why

LOOK_S = 0.05
NAMED = 10
"""How many nodes a warning names."""


@click.command()
@click.argument("topic", metavar="TOPIC")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), default=1.0, show_default=True,
              help="How long to wait for answers of all nodes.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@connect_option
@connect_timeout_option
def why(topic: str, timeout_s: float, as_json: bool, connect: Connect, connect_timeout_s: float) -> Exit:
    """Say which nodes a message on TOPIC reaches, and why not the others.

    Sends a trace on TOPIC: it goes where a message would go, and no program sees it. Every node that it reaches
    answers. Every node is also asked which of its filters match, or else come nearest; where there are more than 200
    nodes, a sample of them. Where the rules of the mesh do not let a node hold a filter, it is "not allowed". Ends with
    0 when a node got the trace, else with 1; with 5 when this command may not publish on TOPIC, and no trace was sent.

    GOT IT ms is the time until the node's answer was back here, and - when the trace did not reach it.

    \b
    Example:
      fabric why truck/0001/temperature
    """
    validate_topic(topic)
    if scope(topic) == "local":
        raise ScopeError(expected("topic", topic, "one without ~/, which never leaves the page that publishes it"))
    with open_node(connect, connect_timeout_s) as node:
        survey = Survey(node)
        survey.open(MESH_TIMEOUT_S)
        found = Why(topic, survey.nodes(), node.why_not("publish", topic))
        _collect(survey, found, timeout_s)
    if as_json:
        click.echo(dumps(found.as_json()))
    else:
        _print(found)
    if missed := found.missed:
        more = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        names = f"{', '.join(missed[:NAMED])}{more}"
        say(f"the trace did not reach {names} within {timeout_s:g} s, though a filter matches; "
            "`fabric status` shows the links, `fabric top` the nodes that are behind")  # fmt: skip
    if found.why_not is not None:
        raise Fail(f"no trace was sent: {found.why_not}", Exit.DENIED)
    return Exit.DONE if found.got else Exit.NOT_REACHED


def _collect(survey: Survey, found: Why, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    questions = [survey.ask_nodes("why", survey.nodes(), found.topic)]
    if found.why_not is None:
        questions.insert(0, survey.trace(found.topic))
    taken = [0] * len(questions)
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

"""`fabric match`: which topics a filter matches, and why not the others."""

from __future__ import annotations

import click

from fabric.payloads import dumps
from fabric.topics import explain, matches
from nodes.cli.exits import Exit, plain


@click.command()
@click.argument("topic_filter", metavar="FILTER")
@click.argument("topics", metavar="TOPIC...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a topic.")
def match(topic_filter: str, topics: tuple[str, ...], as_json: bool) -> Exit:
    """Say which TOPICs the FILTER matches, and why it does not match the others.

    Ends with 0 when at least one matches, else with 1. Asks no proxy.

    \b
    Example:
      fabric match 'truck/+/temperature' truck/0001/temperature truck/0001
    """
    found = [matches(topic_filter, topic) for topic in topics]
    for topic, hit in zip(topics, found, strict=True):
        why = explain(topic_filter, topic)
        if as_json:
            click.echo(dumps({"filter": topic_filter, "topic": topic, "matches": hit, "why": why}))
        else:
            click.echo(f"{plain(topic)}\t{plain(why)}")
    return Exit.DONE if any(found) else Exit.NOT_REACHED

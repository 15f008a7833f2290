"""`fabric history`: print what keepers have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import click

from fabric.errors import Busy, NotAllowed, RequestTimeout, ServiceError, expected
from fabric.payloads import dumps, to_json
from fabric.protocol.histories import KEEPER, Hole, parse_since
from fabric.topics import NAME, valid_name, validate_filter
from fabric.wire import Message, message_to_json
from nodes.cli.exits import Exit, Fail, plain, say
from nodes.cli.options import Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import write_lines

AT_ONCE = 500
"""Lines written in one go."""


def check_since(since: str | None, keeper: str) -> None:
    """Raise wrong usage for what `--since` and `--keeper` cannot be."""
    try:
        parse_since(since)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not valid_name(keeper):
        raise click.UsageError(expected("--keeper", keeper, NAME))


@click.command()
@click.argument("topic_filter", metavar="FILTER")
@click.option(
    "--since",
    metavar="TIME|N",
    help="Only the last 90s, 10m, 24h, 7d; or the last N messages of each topic. [default: all that is kept]",
)
@click.option("--limit", metavar="N", type=click.IntRange(1), help="End after N messages.")
@click.option("--keeper", metavar="NAME", default=KEEPER, show_default=True, help="The name that the keeper was given.")
@click.option("--json", "as_json", is_flag=True, help="Print whole messages, one JSON object a line.")
@connect_option
@connect_timeout_option
def history(
    topic_filter: str,
    since: str | None,
    limit: int | None,
    keeper: str,
    as_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Print the messages that match FILTER and were kept, oldest first: topic, tab, payload as JSON.

    What the keeper never got is told on stderr. Ends with 1 when nothing was found, with 4 when no keeper answers, and
    with 5 when the rules of the mesh do not allow to ask it, or to subscribe to FILTER.

    \b
    Example:
      fabric history --since 10m 'truck/+/temperature'
    """
    validate_filter(topic_filter)
    check_since(since, keeper)
    with open_node(connect, connect_timeout_s) as node:
        kept = node.history(topic_filter, since=since, limit=limit, keeper=keeper)
        printed = told = 0
        try:
            for messages in _some(kept):
                write_lines(_line(message, as_json) for message in messages)
                printed += len(messages)
                told = _tell(kept.holes, told)
        except RequestTimeout as error:
            raise Fail(f"no keeper {keeper!r} answers: {error}", Exit.NOBODY) from None
        except Busy as error:
            raise Fail(f"busy: {error}; try again in {error.retry_after_s:g} s", Exit.NOT_REACHED) from None
        except ServiceError as error:
            raise Fail(str(error), Exit.DENIED if isinstance(error, NotAllowed) else Exit.NOT_REACHED) from None
        _tell(kept.holes, told)
    return Exit.DONE if printed else Exit.NOT_REACHED


def _some(kept: Iterator[Message]) -> Iterator[list[Message]]:
    while messages := list(itertools.islice(kept, AT_ONCE)):
        yield messages


def _tell(holes: Sequence[Hole], told: int) -> int:
    """Say which of these were not told yet; return how many there are."""
    for hole in holes[told:]:
        say(f"lost {hole.first} to {hole.last} of {hole.topic} from publisher {hole.publisher} ({hole.reason})")
    return len(holes)


def _line(message: Message, as_json: bool) -> str:
    if as_json:
        return dumps(message_to_json(message))
    return f"{plain(message.topic)}\t{dumps(to_json(message.payload))}"

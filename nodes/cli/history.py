"""`fabric history`: print what keepers have."""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Iterator, Sequence

import click

from fabric.errors import Busy, NotAllowed, RequestTimeout, ServiceError, expected
from fabric.node.histories import Kept
from fabric.payloads import dumps, to_json
from fabric.protocol.histories import KEEPER, parse_since
from fabric.topics import NAME, matches, valid_name, validate_filter
from fabric.wire import Message, message_to_json
from nodes.cli.exits import Exit, Fail, plain, say
from nodes.cli.options import Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.stdout import write_lines

_sent_ns = operator.attrgetter("sent_ns")
AT_ONCE = 500
"""Lines written in one go."""


def check_since(since: str | None, keeper: str) -> None:
    """Raise wrong usage for what `--since` and `--keeper` cannot be."""
    try:
        parse_since(since)
    except ValueError as error:
        raise click.UsageError(f"--since: {error}") from None
    if not valid_name(keeper):
        raise click.UsageError(expected("--keeper", keeper, NAME))


class _Several:
    """The histories of several filters as one. A message, or a hole, is of the first filter that matches it.

    limit: messages at most; None: all
    """

    def __init__(self, kept: Sequence[Kept], filters: Sequence[str], limit: int | None) -> None:
        self.kept = kept
        """One for each filter, in their order. Never changes."""
        self._filters, self._limit = filters, limit
        self._told = [0] * len(kept)
        """How many holes of each were told, or are of another filter."""

    def messages(self) -> Iterator[Message]:
        """Yield them, oldest first; several filters: by the publishers' clocks."""
        each = [self._own(at) for at in range(len(self.kept))]
        return itertools.islice(each[0] if len(each) == 1 else heapq.merge(*each, key=_sent_ns), self._limit)

    def _own(self, at: int) -> Iterator[Message]:
        return (message for message in self.kept[at] if self._is_of(message.topic, at))

    def _is_of(self, topic: str, at: int) -> bool:
        return not any(matches(each, topic) for each in self._filters[:at])

    def tell(self) -> None:
        """Say what of it the keeper never got, as far as it was read and was not said before."""
        for at, kept in enumerate(self.kept):
            new, self._told[at] = kept.holes[self._told[at] :], len(kept.holes)
            for hole in new:
                if self._is_of(hole.topic, at):
                    lost = f"lost {hole.first} to {hole.last} of {hole.topic}"
                    say(f"{lost} from publisher {hole.publisher} ({hole.reason})")


@click.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
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
    filters: tuple[str, ...],
    since: str | None,
    limit: int | None,
    keeper: str,
    as_json: bool,
    connect: Connect,
    connect_timeout_s: float,
) -> Exit:
    """Print the messages that match the FILTERs and were kept, oldest first: topic, tab, payload as JSON.

    A message that matches several of the FILTERs is printed once. What the keeper never got is told on stderr, and that
    it keeps other filters. Ends with 1 when nothing was found, with 4 when no keeper answers, and with 5 when the rules
    of the mesh do not allow to ask it, or to subscribe to one of the FILTERs.

    \b
    Example:
      fabric history --since 10m 'truck/+/temperature'
    """
    filters = tuple(dict.fromkeys(filters))
    for topic_filter in filters:
        validate_filter(topic_filter)
    check_since(since, keeper)
    with open_node(connect, connect_timeout_s) as node:
        alone = limit if len(filters) == 1 else None
        history = _Several(
            [node.history(each, since=since, limit=alone, keeper=keeper) for each in filters], filters, limit
        )
        printed = 0
        try:
            for messages in _some(history.messages()):
                write_lines(_line(message, as_json) for message in messages)
                printed += len(messages)
                history.tell()
        except RequestTimeout as error:
            raise Fail(f"no keeper {keeper!r} answers: {error}", Exit.NOBODY) from None
        except Busy as error:
            raise Fail(f"busy: {error}; try again in {error.retry_after_s:g} s", Exit.NOT_REACHED) from None
        except ServiceError as error:
            raise Fail(str(error), Exit.DENIED if isinstance(error, NotAllowed) else Exit.NOT_REACHED) from None
        history.tell()
        for kept in history.kept:
            if why := kept.why_nothing():
                say(why)
                break
    return Exit.DONE if printed else Exit.NOT_REACHED


def _some(kept: Iterator[Message]) -> Iterator[list[Message]]:
    while messages := list(itertools.islice(kept, AT_ONCE)):
        yield messages


def _line(message: Message, as_json: bool) -> str:
    if as_json:
        return dumps(message_to_json(message))
    return f"{plain(message.topic)}\t{dumps(to_json(message.payload))}"

"""`fabric sub`: print what arrives.

Two threads. The node's I/O thread hands messages and words to a `Printer` and never waits; this thread writes them.
So a slow reader of stdout costs messages that are counted, and never the node's acks.
"""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from fabric.errors import ScopeError, expected
from fabric.payloads import dumps, to_json
from fabric.protocol.histories import KEEPER
from fabric.topics import matches, scope, validate_filter
from fabric.wire import Message, message_to_json
from nodes.cli.exits import Exit, Fail, Told, plain, say, told
from nodes.cli.history import check_since
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.shown import Output, Rates, Until
from nodes.cli.stdout import Outlet, write_lines
from nodes.operate import logs

if TYPE_CHECKING:
    from fabric.node.coverage import Ack, CoverageEvent
    from fabric.node.gaps import Gap
    from fabric.node.node import NodeState

MAX_WAITING_MSGS = 500_000
"""Between the node and a slow reader of stdout; about 300 bytes each while payloads are small."""
MAX_WAITING_HISTORY = 10_000
"""Of these, messages of a history: the rest is for what comes live."""
LOOK_S = 0.25
"""How often to look whether the reader of stdout has gone."""


class Printer:
    """Prints messages on stdout and words on stderr, in the order in which the I/O thread has them."""

    def __init__(
        self, as_json: bool, quiet: bool, output: Output | None = None, until: Until | None = None, rates: bool = False
    ) -> None:
        self._as_json, self._quiet, self._output, self._until = as_json, quiet, output, until
        self._rates = Rates(time.monotonic(), as_json=as_json) if rates else None
        """What is printed in place of messages. Of the thread that writes."""
        self.is_met = False
        """A message that `until` wants was printed. Set by `flush`, once."""
        self.outlet: Outlet[Message | str] = Outlet(MAX_WAITING_MSGS)
        """Words always find room in it: a loss must be told most of all where messages are dropped."""
        self._last: Message | None = None
        """The message that came last, by its identity. I/O thread only."""
        self._lasts: dict[tuple[int, str], int] = {}
        """With histories: the highest number taken, by publisher and topic. I/O thread only."""
        self._acked = False
        """True from the first ack on. I/O thread only."""
        self.acked: set[str] = set()
        """Filters whose ack has come, with histories: that they are live, or why not. The I/O thread adds."""
        self.begun: set[str] = set()
        """Filters of whose history something has come. The I/O thread adds."""
        self.printed = 0
        """Messages written to stdout, by `flush`."""
        self.denied = ""
        """Why a filter may not be held; "" while all may. Set by the I/O thread, once."""

    def message(self, message: Message) -> None:
        """Take a message; one that matches several filters comes once for each, one after the other: print it once."""
        if message is not self._last:
            self._last = message
            self.outlet.put(message)

    def kept(self, topic_filter: str, message: Message) -> None:
        """Take a message of a subscription that began with a history; several of them may have it, from the same
        moment on, and not at the same time."""
        self.begun.add(topic_filter)
        pair = (message.publisher, message.topic)
        if message.number > self._lasts.get(pair, 0):
            self._lasts[pair] = message.number
            self.outlet.put(message)

    def room(self) -> int:
        """Return how many messages of a history it takes now: a history waits for stdout."""
        return MAX_WAITING_HISTORY - self.outlet.waiting

    def ack(self, topic_filter: str, ack: Ack) -> None:
        self.acked.add(topic_filter)
        if ack.denied:
            self.deny(topic_filter, ack.error or "")
            return
        self._acked = True
        self.words(ack_words(topic_filter, ack))

    def deny(self, topic_filter: str, why: str) -> None:
        """Take it that a filter may not be held, or not any more."""
        self.denied = self.denied or why
        self.outlet.wake()

    def coverage(self, event: CoverageEvent) -> None:
        """Take a change of coverage. What is covered before the first ack, the ack tells."""
        if self._acked:
            self.words(coverage_words(event))

    @property
    def waits(self) -> bool:
        """Whether a message is waited for that has not come."""
        return self._until is not None and not self.is_met

    def stats(self) -> dict[str, int]:
        return {"printed": self.printed, "dropped": self.outlet.dropped}

    def words(self, words: str) -> None:
        if not self._quiet:
            self.outlet.put(words, always=True)

    def flush(self, timeout_s: float = 0.0, most: int | None = None) -> None:
        """Write what waits, but at most so many messages; wait for the first item at most `timeout_s`."""
        lines: list[str] = []
        taken = 0
        for item in self.outlet.items(timeout_s):
            if isinstance(item, str):
                say(item)
                continue
            taken += 1
            if self._rates is None:
                lines.append(self._line(item))
            else:
                self._rates.take(item)
            self.is_met = self._until is not None and self._until.is_met(item)
            if taken == most or self.is_met:
                break
        self.printed += taken
        write_lines(lines)
        self.report()

    def report(self, *, last: bool = False) -> None:
        """With rates: write how many came, if a second is over. last: in any case"""
        if self._rates is not None:
            write_lines(self._rates.due(time.monotonic(), time.time_ns(), last=last))

    def _line(self, message: Message) -> str:
        if self._output is not None:
            return self._output.line(message)
        if self._as_json:
            return dumps(message_to_json(message))
        mark = "\tretained" if "retained" in message.headers else ""
        return f"{plain(message.topic)}\t{dumps(to_json(message.payload))}{mark}"


@click.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@connect_option
@connect_timeout_option
@click.option("--count", metavar="N", type=click.IntRange(1), help="End with 0 after N messages.")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), help="End after S seconds.")
@click.option("--retained", is_flag=True, help="First print the last values that are kept of matching topics.")
@click.option(
    "--since",
    metavar="TIME|N",
    help="Begin with what a keeper has: of the last 90s, 10m, 24h, 7d, or the last N of each topic.",
)
@click.option("--keeper", metavar="NAME", default=KEEPER, show_default=True, help="The name that the keeper was given.")
@click.option("--output", metavar="TEMPLATE", help="Print this for each message, fields in braces: see below.")
@click.option("--until", metavar="CONDITION", help="End with 0 after the first message that meets it: see below.")
@click.option("--rate", "rates", is_flag=True, help="In place of messages print each second how many came.")
@click.option("--json", "as_json", is_flag=True, help="Print whole messages, one JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@operating_options
def sub(
    filters: tuple[str, ...],
    connect: Connect,
    connect_timeout_s: float,
    count: int | None,
    timeout_s: float | None,
    retained: bool,
    since: str | None,
    keeper: str,
    output: str | None,
    until: str | None,
    rates: bool,
    as_json: bool,
    quiet: bool,
    http: Http,
    log_json: bool,
) -> Exit:
    """Print the messages that match the FILTERs, one a line: topic, tab, payload as JSON.

    In a topic filter, + stands for one level and a final # for all below; quote them from the shell. A message that
    matches several of the FILTERs is printed once. Words on stderr tell when the subscription is acknowledged, which
    proxies it covers, when that changes, and every loss.

    With --retained the last values that were published with `--retain` come first, before the acknowledgement: with a
    third column, `retained`, or, with --json, the header of that name.

    With --since, those that a keeper has come first, then those that are live, none missing and none twice. The words
    that a filter is acknowledged come behind its history; that no keeper answered, or that it keeps other filters, is
    told on stderr, and changes no exit code. It does not go with --retained: a last value may be older
    than the history, or in it.

    \b
    Fields for --output and --until:
      {topic} {payload} {number} {publisher} {headers.KEY}
      {payload.KEY}   a value of a map, or of a list, from 0: {payload.list.0.name}
      {sent}          when it was published, RFC 3339 in UTC; {sent_ns}: ns since 1970
      {retained}      the word `retained`, where it is a retained value

    In --output, text is printed as it is, with control characters written out, any other value as JSON, and - where a
    message has no such field. \\t and \\n are a tab and a new line, {{ and }} are braces.

    A CONDITION of --until is a field, which is there and neither null nor false, or a field, one of = != < <= > >= and
    a value, read as JSON, else as text. Numbers are compared with numbers, and text with text.

    With --timeout it ends with 1 when --count was not reached, or --until not met, or, without these, when nothing
    came. It ends with 5 as soon as the rules of the mesh do not allow one of the FILTERs, also later on.

    \b
    Examples:
      fabric sub 'truck/+/temperature'
      fabric sub --since 10m 'truck/#'
      fabric sub 'flight/UA/#' --count 100 --json | jq .payload
      fabric sub 'truck/+/state' --retained
      fabric sub 'truck/#' --output '{sent} {topic} {payload.temp}' --until 'payload.temp>=90'
    """
    for topic_filter in filters:
        validate_filter(topic_filter)
        if scope(topic_filter) == "local":
            raise ScopeError(expected("filter", topic_filter, "one without ~/, which never leaves who publishes it"))
    if retained and since is not None:
        raise click.UsageError(
            "--retained and --since cannot be combined: a last value may be older than the history, and would come in "
            "front of it or once more in it; use two commands"
        )
    check_since(since, keeper)
    if output is not None and (as_json or rates):
        raise click.UsageError("--output is instead of messages as JSON (--json) and of rates (--rate)")
    logs.begin("fabric sub", as_json=log_json)
    try:
        template = Output(output) if output is not None else None
        printer = Printer(as_json, quiet, template, Until(until) if until is not None else None, rates)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with status_page("sub", http) as status, open_node(connect, connect_timeout_s) as node:
        node.on_gap(lambda gap: printer.words(gap_words(gap)) if _is_wanted(gap.topic, filters) else None)
        node.on_coverage(printer.coverage)
        node.on_state(lambda state: printer.words(state_words(state)))
        node.on_denied(printer.deny)
        for topic_filter in dict.fromkeys(filters):
            acked = partial(printer.ack, topic_filter)
            if since is None:
                node.subscribe(topic_filter, printer.message, acked, retained=retained)
            else:
                node.catch_up(
                    topic_filter, partial(printer.kept, topic_filter), acked, since, keeper=keeper, room=printer.room
                )
        status.watch_node(node)
        status.watch("sub", printer.stats)
        status.ready_with(node, lambda: "" if node.stats()["covered"] else "no proxy has acknowledged its filters")
        try:
            return _print(printer, count, timeout_s)
        finally:
            if since is not None and not (count and printer.printed >= count):
                _tell_missing(printer, filters, keeper)


def _tell_missing(printer: Printer, filters: tuple[str, ...], keeper: str) -> None:
    """At the end, say of which filters the history was not there yet."""
    for topic_filter in dict.fromkeys(filters):
        if topic_filter in printer.begun - printer.acked:
            say(f"the history of {topic_filter} was not read to its end")
        elif topic_filter not in printer.acked:
            say(f"no history of {topic_filter}: no keeper {keeper!r} has answered yet")


def _print(printer: Printer, count: int | None, timeout_s: float | None) -> Exit:
    deadline = time.monotonic() + timeout_s if timeout_s else None
    try:
        while not _reader_has_gone():
            left = LOOK_S if deadline is None else deadline - time.monotonic()
            printer.flush(max(0.0, min(LOOK_S, left)), count - printer.printed if count else None)
            if printer.is_met or (count and printer.printed >= count):
                return Exit.DONE
            if printer.denied:
                printer.flush()  # what was allowed before
                raise Fail(printer.denied, Exit.DENIED)
            if left <= 0:
                return Exit.NOT_REACHED if count or printer.waits or not printer.printed else Exit.DONE
        return Exit.DONE
    finally:
        printer.report(last=True)
        if printer.outlet.dropped:
            say(f"dropped {printer.outlet.dropped} messages: stdout did not take them fast enough")


def _is_wanted(topic: str, filters: Sequence[str]) -> bool:
    """Whether a loss concerns who reads: the node itself hears topics of the fabric, which nobody asked for here."""
    return any(matches(topic_filter, topic) for topic_filter in filters)


def _reader_has_gone() -> bool:
    """True when stdout is a pipe that nobody can read any more. Otherwise only the next message would tell."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no descriptor, or no poll on this system
        return False


def ack_words(topic_filter: str, ack: Ack) -> Told:
    missing = f"; not covered: {', '.join(ack.missing)}" if ack.missing else ""
    fields = {"filter": topic_filter, "elapsed_s": ack.elapsed_s, "covered": ack.covered, "missing": ack.missing}
    if ack.ok:
        by = f" by {', '.join(ack.covered)}" if ack.covered else ""
        words = f"{topic_filter} acknowledged in {ack.elapsed_s * 1000:.1f} ms{by}{missing}"
        return told("acknowledged", words, **fields)
    words = f"{topic_filter} not acknowledged in {ack.elapsed_s:.1f} s: {ack.error}{missing}"
    return told("not_acknowledged", words, **fields, error=ack.error)


def gap_words(gap: Gap) -> Told:
    why = f", {gap.reason}" if gap.reason else ""
    words = f"lost {gap.lost} of {gap.topic}: {gap.first} to {gap.last} of publisher {gap.publisher}{why}"
    fields = {"topic": gap.topic, "publisher": gap.publisher, "first": gap.first, "last": gap.last}
    return told("lost", words, **fields, lost=gap.lost, reason=gap.reason)


def coverage_words(event: CoverageEvent) -> Told:
    changes = [
        f"{what} {', '.join(names)}" for what, names in (("lost", event.lost), ("gained", event.gained)) if names
    ]
    missing = f"; not covered: {', '.join(event.missing)}" if event.missing else ""
    words = f"coverage: {'; '.join(changes)}; now {', '.join(event.covered) or 'none'}{missing}"
    fields = {"lost": event.lost, "gained": event.gained, "covered": event.covered, "missing": event.missing}
    return told("coverage", words, **fields)


def state_words(state: NodeState) -> Told:
    uncertain = f", {state.uncertain} messages uncertain" if state.uncertain else ""
    words = f"{state.state} {state.base}{uncertain}{f': {state.reason}' if state.reason else ''}"
    return told(state.state, words, base=state.base, uncertain=state.uncertain, reason=state.reason)

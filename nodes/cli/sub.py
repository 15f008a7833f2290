"""`fabric sub`: print what arrives.

Two threads. The node's I/O thread puts messages and words into an `Outlet` and never waits; this thread writes them.
So a slow reader of stdout costs messages that are counted, and never the node's acks.
"""

from __future__ import annotations

import select
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial

import click

from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.node.node import NodeState
from fabric.payloads import dumps, to_json
from fabric.topics import scope, validate_filter
from fabric.wire import Message, message_to_json
from nodes.cli.operating import operating_options, status_page
from nodes.cli.options import Exit, PositiveNumber, connect_option, connect_timeout_option, open_node, plain, say
from nodes.operate import logs
from nodes.operate.http_server import Address

MAX_WAITING_MSGS = 500_000
"""Between the node and a slow reader of stdout; about 300 bytes each while payloads are small."""
LOOK_S = 0.25  # how often to look whether the reader of stdout has gone


class Outlet:
    """Messages and words on their way from the I/O thread to stdout and stderr."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._waiting: deque[Message | str] = deque()
        self._something = threading.Event()
        self._last: Message | None = None
        self._acked = False
        self.printed = self.dropped = 0

    def message(self, message: Message) -> None:
        """Take a message; one that matches several filters comes once for each, one after the other: print it once."""
        if message is self._last:
            return
        self._last = message
        if len(self._waiting) >= MAX_WAITING_MSGS:
            self.dropped += 1
            return
        self._put(message)

    def ack(self, topic_filter: str, ack: Ack) -> None:
        self._acked = True
        self.words(_ack_words(topic_filter, ack))

    def coverage(self, event: CoverageEvent) -> None:
        """Changes of what an ack has told; what is covered before the first one, that one tells."""
        if self._acked:
            self.words(_coverage_words(event))

    def stats(self) -> dict[str, int]:
        return {"printed": self.printed, "dropped": self.dropped}

    def words(self, words: str) -> None:
        if not self._quiet:
            self._put(words)

    def _put(self, item: Message | str) -> None:
        self._waiting.append(item)
        if not self._something.is_set():
            self._something.set()

    def wait(self, timeout_s: float) -> None:
        self._something.wait(timeout_s)

    def flush(self, most: int | None = None) -> None:
        """Write all that waits, but at most so many messages."""
        self._something.clear()  # first, so that what comes meanwhile sets it again
        lines: list[str] = []
        while self._waiting and (most is None or len(lines) < most):
            item = self._waiting.popleft()
            if isinstance(item, str):
                say(item)
            else:
                lines.append(self._line(item))
        if lines:
            self.printed += len(lines)
            # UTF-8 whatever the locale says: that is what topics are.
            sys.stdout.buffer.write(("\n".join(lines) + "\n").encode())
            sys.stdout.buffer.flush()

    def _line(self, message: Message) -> str:
        if self._as_json:
            return dumps(message_to_json(message))
        return f"{plain(message.topic)}\t{dumps(to_json(message.payload))}"


@click.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@connect_option
@connect_timeout_option
@click.option("--count", metavar="N", type=click.IntRange(1), help="End with 0 after N messages.")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), help="End after S seconds, whatever came.")
@click.option("--json", "as_json", is_flag=True, help="Print whole messages, one JSON object a line.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@operating_options
def sub(
    filters: tuple[str, ...],
    connect: Sequence[str],
    connect_timeout_s: float,
    count: int | None,
    timeout_s: float | None,
    as_json: bool,
    quiet: bool,
    http: Address | None,
    log_json: bool,
) -> Exit:
    """Print what arrives under the FILTERs, one message a line: topic, tab, payload as JSON.

    In a topic filter, + stands for one level and a final # for all below; quote them from the shell. A message that
    matches several of the FILTERs is printed once. Words on stderr: when the subscription is acknowledged and which
    proxies that covers, what is covered no longer, and every loss.

    With --timeout it ends with 1 when --count was not reached, or, without --count, when nothing came.

    \b
    Examples:
      fabric sub 'truck/+/temperature'
      fabric sub 'flight/UA/#' --count 100 --json | jq .payload
    """
    for topic_filter in filters:
        validate_filter(topic_filter)
        scope(topic_filter)
    logs.begin("fabric sub", as_json=log_json)
    outlet = Outlet(as_json, quiet)
    with status_page("sub", http) as status, open_node(connect, connect_timeout_s) as node:
        node.on_gap(lambda gap: outlet.words(_gap_words(gap)))
        node.on_coverage(outlet.coverage)
        node.on_state(lambda state: outlet.words(_state_words(state)))
        for topic_filter in dict.fromkeys(filters):
            node.subscribe(topic_filter, outlet.message, partial(outlet.ack, topic_filter))
        status.watch_node(node)
        status.watch("sub", outlet.stats)
        status.ready_with(node, lambda: "" if node.stats()["covered"] else "no proxy has acknowledged its filters")
        return _print(outlet, count, timeout_s)


def _print(outlet: Outlet, count: int | None, timeout_s: float | None) -> Exit:
    deadline = time.monotonic() + timeout_s if timeout_s else None
    try:
        while not _reader_has_gone():
            left = LOOK_S if deadline is None else deadline - time.monotonic()
            outlet.wait(max(0, min(LOOK_S, left)))
            outlet.flush(count - outlet.printed if count else None)
            if count and outlet.printed >= count:
                return Exit.DONE
            if left <= 0:
                return Exit.NOT_REACHED if count or not outlet.printed else Exit.DONE
        return Exit.DONE
    finally:
        if outlet.dropped:
            say(f"dropped {outlet.dropped} messages: stdout did not take them fast enough")


def _reader_has_gone() -> bool:
    """True when stdout is a pipe that nobody can read any more: without this, only the next message would tell."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no descriptor, or no poll on this system
        return False


def _ack_words(topic_filter: str, ack: Ack) -> str:
    missing = f"; not covered: {', '.join(ack.missing)}" if ack.missing else ""
    if ack.ok:
        return f"{topic_filter} acknowledged in {ack.elapsed_s * 1000:.1f} ms by {', '.join(ack.covered)}{missing}"
    return f"{topic_filter} not acknowledged in {ack.elapsed_s:.1f} s: {ack.error}{missing}"


def _gap_words(gap: Gap) -> str:
    return f"lost {gap.lost} of {gap.topic}: {gap.first} to {gap.last} of publisher {gap.publisher}"


def _coverage_words(event: CoverageEvent) -> str:
    changes = [
        f"{what} {', '.join(names)}" for what, names in (("lost", event.lost), ("gained", event.gained)) if names
    ]
    missing = f"; not covered: {', '.join(event.missing)}" if event.missing else ""
    return f"coverage: {'; '.join(changes)}; now {', '.join(event.covered) or 'none'}{missing}"


def _state_words(state: NodeState) -> str:
    uncertain = f", {state.uncertain} messages uncertain" if state.uncertain else ""
    return f"{state.state} {state.base}{uncertain}{f': {state.reason}' if state.reason else ''}"

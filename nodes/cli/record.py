"""`fabric record`: write what arrives into a file, with what it takes to play it again.

Two threads, as in `fabric sub`: the node's I/O thread hands everything to a `Recorder` and never waits; this thread
writes. What a slow file costs is in the file, as a loss.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

import click

from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.node.node import Node, NodeState
from fabric.payloads import dumps
from fabric.topics import scope, validate_filter
from fabric.wire import Message
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.cli.signals import leaving_at_once, on_ending_signal
from nodes.cli.stdout import Outlet
from nodes.cli.sub import MAX_WAITING_MSGS, ack_words, coverage_words, gap_words, state_words
from nodes.operate import logs
from nodes.operate.extras import not_installed
from nodes.recording.files import LinesFile, Sink
from nodes.recording.lines import Loss, end_line, gap_line, head_line, loss_of, message_line
from nodes.recording.losses import Dropped
from nodes.recording.mcap_file import McapFile

LOOK_S = 0.5
"""How often to look whether the time is over."""


class Recorder:
    """Takes messages, losses and words from the I/O thread, and writes them in their order.

    sink:   what it writes to
    now_ns: the recorder's clock, ns since 1970, which must not step back
    quiet:  no words on stderr
    """

    def __init__(self, sink: Sink, now_ns: Callable[[], int], quiet: bool) -> None:
        self._sink, self._now_ns, self._quiet = sink, now_ns, quiet
        self.outlet: Outlet[tuple[Message | Loss | str, int]] = Outlet(MAX_WAITING_MSGS)
        """What waits to be written, each with its time. Losses and words always find room."""
        self._last: Message | None = None
        """The message that came last, by its identity. I/O thread only; so are the next three."""
        self._dropped = Dropped()
        """What found no room, and is not told yet."""
        self.dropped = 0
        """Messages that found no room. I/O thread only."""
        self._acked = False
        """True from the first ack on."""
        self.recorded = self.lost = 0
        """Messages written, and messages of the losses written. Changed by `flush`."""
        self.denied = ""
        """Why a filter may not be held; "" while all may. Set by the I/O thread, once."""

    def begin(self, filters: tuple[str, ...]) -> None:
        now_ns = self._now_ns()
        self._sink.write(head_line(now_ns, filters), now_ns)
        self._sink.flush()

    # ── in the I/O thread ────────────────────────────────────────────────────────────────────────────────────────

    def message(self, message: Message) -> None:
        """Take a message; one that matches several filters comes once for each, one after the other: record it once."""
        if message is self._last:
            return
        self._last = message
        if self.outlet.has_room:
            self._tell_dropped()
            self.outlet.put((message, self._now_ns()), always=True)
        else:
            self._dropped.add(message)
            self.dropped += 1

    def gap(self, gap: Gap) -> None:
        self._tell(loss_of(gap))
        self.words(gap_words(gap))

    def ack(self, topic_filter: str, ack: Ack) -> None:
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
        if self._acked:
            self.words(coverage_words(event))

    def state(self, state: NodeState) -> None:
        if state.state != "closed":  # that is what ends the recording, and not worth a word
            self.words(state_words(state))

    def words(self, words: str) -> None:
        if not self._quiet:
            self.outlet.put((words, 0), always=True)

    def _tell_dropped(self) -> None:
        if self._dropped:
            for loss in self._dropped.losses():
                self._tell(loss)

    def _tell(self, loss: Loss) -> None:
        self.outlet.put((loss, self._now_ns()), always=True)

    # ── in the thread that writes ────────────────────────────────────────────────────────────────────────────────

    def flush(self, timeout_s: float = 0.0, most: int | None = None) -> None:
        """Write what waits, but at most so many messages; wait for the first item at most `timeout_s`."""
        wanted = None if most is None else self.recorded + most
        for item, at_ns in self.outlet.items(timeout_s):
            if isinstance(item, str):
                say(item)
            elif isinstance(item, Loss):
                self._sink.write(gap_line(item, at_ns), at_ns)
                self.lost += item.lost
            else:
                self._sink.write(message_line(item, at_ns), at_ns, item)
                self.recorded += 1
                if self.recorded == wanted:
                    break
        self._sink.flush()

    def end(self, rest: bool) -> None:
        """Write the last line; call it once the node is closed. rest: what still waits is written before it."""
        if rest:
            self._tell_dropped()
            while self.outlet.waits:
                self.flush()
        now_ns = self._now_ns()
        self._sink.write(end_line(self.recorded, self.lost, now_ns), now_ns)
        self._sink.finish()

    def stats(self) -> dict[str, int]:
        return {"recorded": self.recorded, "lost": self.lost, "dropped": self.dropped}


def steady_clock() -> Callable[[], int]:
    """Return a clock of ns since 1970 that begins at the system's, and goes on evenly when that is set."""
    since_ns = time.time_ns() - time.monotonic_ns()
    return lambda: since_ns + time.monotonic_ns()


@click.command()
@click.argument("filters", metavar="FILTER...", nargs=-1, required=True)
@connect_option
@connect_timeout_option
@click.option("-o", "--output", metavar="FILE", default="-", help="Where to write; - is standard output. [default: -]")
@click.option("--mcap", "as_mcap", is_flag=True, help="Write MCAP instead of lines of JSON.")
@click.option("--count", metavar="N", type=click.IntRange(1), help="End with 0 after N messages.")
@click.option("--timeout", "timeout_s", metavar="S", type=PositiveNumber(), help="End after S seconds.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object; needs --output.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors and the summary.")
@operating_options
def record(
    filters: tuple[str, ...],
    connect: Connect,
    connect_timeout_s: float,
    output: str,
    as_mcap: bool,
    count: int | None,
    timeout_s: float | None,
    as_json: bool,
    quiet: bool,
    http: Http,
    log_json: bool,
) -> Exit:
    """Record the messages that match the FILTERs, to be played again by `fabric play`.

    One line of JSON for each message, as `fabric sub --json` prints it, with the time at which it came. Losses are
    lines as well, and the last line counts both. Ctrl-C or SIGTERM ends the recording, with 0. It is not complete
    where the last line is missing: the recorder was killed.

    With --timeout it ends with 1 when --count was not reached, or, without --count, when nothing came. It ends with 5
    as soon as the rules of the mesh do not allow one of the FILTERs.

    \b
    Examples:
      fabric record 'truck/#' >monday.jsonl
      fabric record '#' --timeout 3600 --mcap --output hour.mcap
    """
    for topic_filter in filters:
        validate_filter(topic_filter)
        scope(topic_filter)
    if as_json and output == "-":
        raise click.UsageError("--json prints the summary on standard output: expected --output FILE for the recording")
    logs.begin("fabric record", as_json=log_json)
    with _opened(output) as file:
        recorder = Recorder(_sink(file, as_mcap), steady_clock(), quiet)
        with on_ending_signal(recorder.outlet.end), status_page("record", http) as status:
            with leaving_at_once(lambda: recorder.outlet.ended):
                node = open_node(connect, connect_timeout_s)
            with node:
                recorder.begin(filters)
                _listen(node, filters, recorder)
                status.watch_node(node)
                status.watch("record", recorder.stats)
                status.ready_with(
                    node, lambda: "" if node.stats()["covered"] else "no proxy has acknowledged its filters"
                )
                code = _record(recorder, count, timeout_s)
            recorder.end(rest=not count or recorder.recorded < count)
    say(_summary(recorder))
    if as_json:
        click.echo(dumps(recorder.stats()))
    if recorder.denied:
        raise Fail(recorder.denied, Exit.DENIED)
    return code


def _opened(output: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return open(output, "wb") if output != "-" else contextlib.nullcontext(sys.stdout.buffer)


def _sink(file: BinaryIO, as_mcap: bool) -> Sink:
    if not as_mcap:
        return LinesFile(file)
    try:
        return McapFile(file)
    except ModuleNotFoundError as error:
        raise Fail(not_installed(error.name, "mcap"), Exit.MISSING) from None


def _listen(node: Node, filters: tuple[str, ...], recorder: Recorder) -> None:
    node.on_gap(recorder.gap)
    node.on_coverage(recorder.coverage)
    node.on_state(recorder.state)
    node.on_denied(recorder.deny)
    for topic_filter in dict.fromkeys(filters):
        node.subscribe(topic_filter, recorder.message, partial(recorder.ack, topic_filter))


def _record(recorder: Recorder, count: int | None, timeout_s: float | None) -> Exit:
    deadline = time.monotonic() + timeout_s if timeout_s else None
    while not recorder.outlet.ended and not recorder.denied:
        left = LOOK_S if deadline is None else deadline - time.monotonic()
        recorder.flush(max(0.0, min(LOOK_S, left)), count - recorder.recorded if count else None)
        if count and recorder.recorded >= count:
            return Exit.DONE
        if left <= 0:
            return Exit.NOT_REACHED if count or not recorder.recorded else Exit.DONE
    return Exit.DONE


def _summary(recorder: Recorder) -> str:
    words = f"recorded {recorder.recorded:,} messages, lost {recorder.lost:,}"
    return f"{words} ({recorder.dropped:,} of them: the file was too slow)" if recorder.dropped else words

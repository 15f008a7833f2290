"""`fabric pub` and `fabric sub`: messages from the command line and to it.

`sub` has two threads. The node's I/O thread puts messages and words into an `Outlet` and never waits; this thread
writes them. So a slow reader of stdout costs messages that are counted, and never the node's acks.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import click

from fabric.errors import HighWaterMarkReached, LocalWireError, TopicError
from fabric.payloads import to_json
from fabric.topics import scope, validate_filter, validate_topic
from fabric.wire import Message, message_to_json
from nodes import replay
from nodes.cli_options import (
    Exit,
    Fail,
    PositiveNumber,
    connect_option,
    connect_timeout_option,
    open_node,
    plain,
    say,
)

MAX_WAITING_MSGS = 500_000  # between the node and a slow reader of stdout; about 300 bytes each with small payloads
SHOWN_REFUSALS = 10  # lines that are named one by one; the others are only counted
LOOK_S = 0.25  # how often `sub` looks whether the reader of stdout has gone, and `pub` shows progress
CLOSE_TIMEOUT_S = 10.0


def dumps(value: Any) -> str:
    """One line of strict JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


# --- sub


class Outlet:
    """Messages and words on their way from the I/O thread to stdout and stderr."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json, self._quiet = as_json, quiet
        self._waiting: deque[Message | str] = deque()
        self._something = threading.Event()
        self._last: Message | None = None
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
def sub(
    filters: tuple[str, ...],
    connect: Sequence[str],
    connect_timeout_s: float,
    count: int | None,
    timeout_s: float | None,
    as_json: bool,
    quiet: bool,
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
    outlet = Outlet(as_json, quiet)
    with open_node(connect, connect_timeout_s) as node:
        node.on_gap(lambda gap: outlet.words(
            f"lost {gap.lost} of {gap.topic}: {gap.first} to {gap.last} of publisher {gap.publisher}"))  # fmt: skip
        node.on_coverage(lambda event: outlet.words(_coverage_words(event)))
        node.on_state(lambda event: outlet.words(str(event)))
        for topic_filter in dict.fromkeys(filters):
            node.subscribe(topic_filter, outlet.message, _ack_words(topic_filter, outlet.words))
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
        return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # no descriptor, or no poll on this system
        return False


def _ack_words(topic_filter: str, words: Callable[[str], None]) -> Callable[[Any], None]:
    def on_ack(ack: Any) -> None:
        missing = f"; not covered: {', '.join(ack.missing)}" if ack.missing else ""
        if ack.ok:
            words(f"{topic_filter} acknowledged in {ack.elapsed_s * 1000:.1f} ms by {', '.join(ack.covered)}{missing}")
        else:
            words(f"{topic_filter} not acknowledged in {ack.elapsed_s:.1f} s: {ack.error}{missing}")

    return on_ack


def _coverage_words(event: Any) -> str:
    changes = [
        f"{what} {', '.join(names)}" for what, names in (("lost", event.lost), ("gained", event.gained)) if names
    ]
    return f"coverage {'; '.join(changes)}; now {', '.join(event.covered) or 'nobody'}"


# --- pub


class _NumbersAreNoOptions(click.Command):
    """Lets `fabric pub truck/0001/temperature -5` mean the number, without `--` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            numbers = [arg for arg in args if arg[:1] == "-" and arg[1:2].isdigit()]
            if numbers:
                args = [arg for arg in args if arg not in numbers] + ["--", *numbers]
        return super().parse_args(ctx, args)


@click.command(cls=_NumbersAreNoOptions)
@click.argument("topic", required=False)
@click.argument("payload", required=False)
@connect_option
@connect_timeout_option
@click.option("--raw", is_flag=True, help="Send PAYLOAD as bytes; without PAYLOAD, all of standard input.")
@click.option("--csv", "csv_file", metavar="[FILE]", is_flag=False, flag_value="-",
              help="Send one message for each row of FILE (may be .gz; - or none is standard input).")  # fmt: skip
@click.option("--topic", "topic_template", metavar="TEMPLATE", help="With --csv: the topic, columns in braces.")
@click.option("--payload", "payload_template", metavar="TEMPLATE",
              help="With --csv: the payload, columns in braces. [default: the row as a map]")  # fmt: skip
@click.option("--rate", metavar="N", type=PositiveNumber(), help="Send at most N messages a second, evenly.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
def pub(
    topic: str | None,
    payload: str | None,
    connect: Sequence[str],
    connect_timeout_s: float,
    raw: bool,
    csv_file: str | None,
    topic_template: str | None,
    payload_template: str | None,
    rate: float | None,
    as_json: bool,
) -> Exit:
    """Publish one message, or many from standard input or a CSV file.

    PAYLOAD is sent as what it says in JSON, and as a string if it is none; without PAYLOAD, nil is sent. Without
    TOPIC, lines of JSON are read from standard input: {"topic": ..., "payload": ...}, as `fabric sub --json` prints.

    With --csv, a row whose topic lacks a value (empty or NA) is skipped. A payload of one column becomes a number if it
    is written as one, and nil if it is empty or NA. Lines that are no message are reported and counted; then the
    exit code is 1.

    \b
    Examples:
      fabric pub truck/0001/temperature 21.5
      fabric pub truck/0001/photo --raw < photo.jpg
      fabric sub 'a/#' --json | fabric pub --connect tcp://10.0.0.2:5570
      fabric pub --csv flights.csv.gz --topic 'flight/{carrier}/{tailnum}/dep_delay' --payload '{dep_delay}'
    """
    with contextlib.ExitStack() as files:
        items, single = _items(files, topic, payload, raw, csv_file, topic_template, payload_template)
        run = _Run()
        with open_node(connect, connect_timeout_s) as node:
            try:
                run.send(node.publish, items, rate)
            except HighWaterMarkReached as error:
                raise Fail(f"{error} (sent {run.sent:,} before that)", Exit.NOT_REACHED) from None
            finally:
                node.close(CLOSE_TIMEOUT_S)
                run.clear()
                if not single:
                    say(run.words())
                if as_json:
                    click.echo(dumps(run.as_json()))
    return Exit.NOT_REACHED if run.refused else Exit.DONE


def _items(
    files: contextlib.ExitStack,
    topic: str | None,
    payload: str | None,
    raw: bool,
    csv_file: str | None,
    topic_template: str | None,
    payload_template: str | None,
) -> tuple[Iterator[replay.Item], bool]:
    """What to send, and whether it is the one message of the command line. Raises for wrong usage before connecting."""
    if csv_file is not None:
        if topic is not None or raw:
            raise click.UsageError("--csv takes its topics from --topic, not from TOPIC, and does not go with --raw")
        if topic_template is None:
            raise click.UsageError("--csv needs --topic, for example --topic 'flight/{carrier}/{tailnum}/dep_delay'")
        lines = _open(files, csv_file, "utf-8-sig")
        try:
            into = replay.Template(topic_template)
            value = replay.Template(payload_template) if payload_template is not None else None
            return replay.from_csv(lines, into, value), False
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if topic_template is not None or payload_template is not None:
        raise click.UsageError("--topic and --payload go with --csv; a single message is `fabric pub TOPIC PAYLOAD`")
    if topic is None:
        if raw:
            raise click.UsageError("--raw needs a TOPIC")
        if sys.stdin.isatty():
            say('reading lines of JSON from the keyboard: {"topic": "a/b", "payload": 1}')
        return replay.from_json_lines(_open(files, "-", "utf-8")), False
    validate_topic(topic)
    return iter([replay.Outgoing(0, topic, _payload(payload, raw))]), True


def _payload(text: str | None, raw: bool) -> Any:
    if raw:
        return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
    return None if text is None else replay.payload_of(text)


def _open(files: contextlib.ExitStack, name: str, encoding: str) -> IO[str]:
    """Open a file for its lines. Bytes that are no UTF-8 come as surrogates, which the wire refuses line by line."""
    try:
        if name == "-":
            return open(sys.stdin.fileno(), encoding=encoding, errors="surrogateescape", newline="", closefd=False)
        opener = gzip.open if Path(name).suffix == ".gz" else open
        return files.enter_context(opener(name, "rt", encoding=encoding, errors="surrogateescape", newline=""))
    except OSError as error:
        raise Fail(f"cannot read {name}: {error.strerror}", Exit.LACKING) from None


class _Run:
    """One run of `fabric pub`: what was sent, skipped and refused so far."""

    def __init__(self) -> None:
        self.sent = self.skipped = self.refused = 0
        self._started = self._shown = time.monotonic()
        self._watched = sys.stderr.isatty()

    def send(self, publish: Callable[[str, Any], int], items: Iterator[replay.Item], rate: float | None) -> None:
        """Publish every item; with `rate`, the n-th at n/rate seconds from the start."""
        self._started = self._shown = time.monotonic()
        for item in items:
            if isinstance(item, replay.Outgoing):
                if rate:
                    time.sleep(max(0.0, self._started + self.sent / rate - time.monotonic()))
                try:
                    publish(item.topic, item.payload)
                    self.sent += 1
                except (TopicError, LocalWireError) as error:
                    if not item.line:
                        raise  # the one message of the command line: wrong usage
                    self._refuse(item.line, str(error))
            elif isinstance(item, replay.Refused):
                self._refuse(item.line, item.why)
            else:
                self.skipped += 1
            if self._watched:
                self._show()

    def _refuse(self, line: int, why: str) -> None:
        self.refused += 1
        if self.refused <= SHOWN_REFUSALS:
            say(f"line {line}: {why}" if line else why)
        elif self.refused == SHOWN_REFUSALS + 1:
            say("more lines are refused; they are only counted from here")

    def _show(self) -> None:
        """Progress, for a person who watches: from one second on, a few times a second, in one line."""
        now = time.monotonic()
        if now - self._shown > LOOK_S and now - self._started > 1:
            self._shown = now
            click.echo(f"\r{self.words()} ", err=True, nl=False)

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown > self._started:
            click.echo("\r\033[K", err=True, nl=False)

    def words(self) -> str:
        elapsed_s = max(time.monotonic() - self._started, 1e-9)
        rate = f"{self.sent / elapsed_s:,.0f}/s"
        return f"sent {self.sent:,}, skipped {self.skipped:,}, refused {self.refused:,} in {elapsed_s:.2f} s, {rate}"

    def as_json(self) -> dict[str, Any]:
        elapsed_s = round(time.monotonic() - self._started, 6)
        return {"sent": self.sent, "skipped": self.skipped, "refused": self.refused, "elapsed_s": elapsed_s}

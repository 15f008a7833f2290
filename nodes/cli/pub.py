"""`fabric pub`: publish one message, or many from standard input or a CSV file."""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from fabric.errors import (
    FabricError,
    HighWaterMarkReached,
    LocalWireError,
    NotAllowed,
    NotConnected,
    ScopeError,
    TopicError,
    expected,
)
from fabric.node.node import Node
from fabric.payloads import dumps
from fabric.topics import scope, validate_topic
from nodes.cli import ingest
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, PositiveNumber, connect_option, connect_timeout_option, open_node
from nodes.operate import logs

SHOWN_REFUSALS = 10
"""Lines that are named one by one; the others are only counted."""
SHOW_S = 0.25
"""How often progress is shown."""
CLOSE_TIMEOUT_S = 10.0


class _NumbersAreNoOptions(click.Command):
    """Lets `fabric pub truck/0001/temperature -5` mean the number, without `--` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            taking = {name for each in self.params if _takes_value(each) for name in each.opts}
            before = ["", *args]  # the value of an option stays with it, which says what is wrong with it
            numbers = [at for at, arg in enumerate(args) if _is_negative(arg) and before[at] not in taking]
            if numbers:
                others = [arg for at, arg in enumerate(args) if at not in numbers]
                args = [*others, "--", *(args[at] for at in numbers)]
        return super().parse_args(ctx, args)


def _is_negative(arg: str) -> bool:
    return arg[:1] == "-" and arg[1:2].isdigit()


def _takes_value(option: click.Parameter) -> bool:
    """Whether what follows an option is its value; --csv takes one or none."""
    return isinstance(option, click.Option) and not option.is_flag and option.name != "csv_file"


@click.command(cls=_NumbersAreNoOptions)
@click.argument("topic", required=False)
@click.argument("payload", required=False)
@connect_option
@connect_timeout_option
@click.option("--raw", is_flag=True, help="Send PAYLOAD as bytes; without PAYLOAD, all of standard input.")
@click.option("--csv", "csv_file", metavar="[FILE]", is_flag=False, flag_value="-",
              help="Send one message for each row of FILE (may be .gz; - or nothing: standard input).")  # fmt: skip
@click.option("--topic", "topic_template", metavar="TEMPLATE", help="With --csv: the topic, columns in braces.")
@click.option("--payload", "payload_template", metavar="TEMPLATE",
              help="With --csv: the payload, columns in braces. [default: the row as a map]")  # fmt: skip
@click.option("--strict-json", is_flag=True, help="Refuse a payload that is not JSON; else it is sent as a string.")
@click.option("--rate", metavar="N", type=PositiveNumber(), help="Send at most N messages a second, evenly.")
@click.option("--retain", is_flag=True, help="Keep each message as the last value of its topic; nil clears it.")
@click.option(
    "--expires", "expires_s", metavar="S", type=PositiveNumber(), help="With --retain: keep it for S seconds."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@operating_options
def pub(
    topic: str | None,
    payload: str | None,
    connect: Connect,
    connect_timeout_s: float,
    raw: bool,
    csv_file: str | None,
    topic_template: str | None,
    payload_template: str | None,
    strict_json: bool,
    rate: float | None,
    retain: bool,
    expires_s: float | None,
    as_json: bool,
    http: Http,
    log_json: bool,
) -> Exit:
    """Publish one message, or many from standard input or a CSV file.

    PAYLOAD is read as JSON, and sent as a string where it is not JSON; without PAYLOAD, nil is sent. Without TOPIC,
    lines of JSON are read from standard input: {"topic": ..., "payload": ...}, as `fabric sub --json` prints them.

    With --csv, a row is skipped where a column of its topic is empty or NA. A payload of one column becomes a number
    where it is written as one, and nil where it is empty or NA. Lines that are not messages are reported and counted;
    then the exit code is 1. So are messages that the rules of the mesh do not allow; then it is 5.

    With --retain all who subscribe later with `--retained` are told the value; without PAYLOAD none is kept any more.

    \b
    Examples:
      fabric pub truck/0001/temperature 21.5
      fabric pub truck/0001/photo --raw < photo.jpg
      fabric pub truck/0001/state moving --retain --expires 3600
      fabric sub 'a/#' --json | fabric pub --connect tcp://10.0.0.2:5570
      fabric pub --csv flights.csv.gz --topic 'flight/{carrier}/{tailnum}/dep_delay' --payload '{dep_delay}'
    """
    if expires_s is not None and not retain:
        raise click.UsageError("--expires goes with --retain: nothing else expires")
    if strict_json and (raw or (csv_file is not None and payload_template is None)):
        raise click.UsageError("--strict-json goes with a PAYLOAD, or with --payload: nothing else is read as JSON")
    items, single = _items(topic, payload, raw, csv_file, topic_template, payload_template, strict_json)
    logs.begin("fabric pub", as_json=log_json)
    with status_page("pub", http) as status:
        node = open_node(connect, connect_timeout_s)
        status.watch_node(node)
        status.ready_with(node)
        node.on_not_retained(lambda told: say(f"{told.topic} is not retained: {_why(told.why)}"))
        if not (single or rate or retain):
            return _publish(node, lambda run: run.send_many(node.publish_many, items), single, as_json)
        publish = partial(node.publish, retain=retain, expires_s=expires_s)
        return _publish(node, lambda run: run.send(publish, items, rate), single, as_json)


def _why(not_retained: str) -> str:
    if not_retained == "clock":
        return "the clock here is more than a minute ahead of the proxy's"
    return f"over a bound of the proxy ({not_retained})"


def _publish(
    node: Node,
    send: Callable[[_Run], None],
    single: bool,
    as_json: bool,
) -> Exit:
    run, close_timeout_s = _Run(), CLOSE_TIMEOUT_S
    try:
        send(run)
    except (HighWaterMarkReached, NotConnected) as error:
        close_timeout_s = 1.0  # it has been waited for already
        nobody = isinstance(error, NotConnected)
        raise Fail(f"{error} (after {run.sent:,} messages)", Exit.NOBODY if nobody else Exit.NOT_REACHED) from None
    finally:
        run.unconfirmed = node.close(close_timeout_s)
        run.clear()
        if run.unconfirmed or not single:
            say(run.words())
        if as_json:
            click.echo(dumps(run.as_json()))
    if run.denied:
        return Exit.DENIED
    return Exit.NOT_REACHED if run.refused or run.unconfirmed else Exit.DONE


def _items(
    topic: str | None,
    payload: str | None,
    raw: bool,
    csv_file: str | None,
    topic_template: str | None,
    payload_template: str | None,
    strict_json: bool,
) -> tuple[Iterator[ingest.Item], bool]:
    """Return the items, and whether they are the one message of the command line. Errors: UsageError."""
    if csv_file is not None:
        if topic is not None or raw:
            raise click.UsageError("--csv takes its topics from --topic, not from TOPIC, and does not go with --raw")
        if topic_template is None:
            raise click.UsageError("--csv needs --topic, for example --topic 'flight/{carrier}/{tailnum}/dep_delay'")
        lines = _lines(csv_file, "utf-8-sig")
        try:
            into = ingest.Template(topic_template)
            value = ingest.Template(payload_template) if payload_template is not None else None
            return ingest.from_csv(lines, into, value, strict_json=strict_json), False
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    if topic_template is not None or payload_template is not None:
        raise click.UsageError("--topic and --payload go with --csv; a single message is `fabric pub TOPIC PAYLOAD`")
    if topic is None:
        if raw:
            raise click.UsageError("--raw needs a TOPIC")
        if sys.stdin.isatty():
            say('reading lines of JSON from the keyboard: {"topic": "a/b", "payload": 1}')
        return ingest.from_json_lines(_lines("-", "utf-8")), False
    validate_topic(topic)
    return iter([ingest.Outgoing(0, topic, _payload(payload, raw, strict_json))]), True


def _payload(text: str | None, raw: bool, strict_json: bool) -> Any:
    if raw:
        return sys.stdin.buffer.read() if text is None else text.encode("utf-8", "surrogateescape")
    if text is None or not strict_json:
        return None if text is None else ingest.payload_of(text)
    try:
        return ingest.json_of(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _lines(name: str, encoding: str) -> Iterator[str]:
    """Yield a file's lines. Bytes that are not UTF-8 become surrogates, which the wire refuses line by line."""
    how: dict[str, Any] = {"encoding": encoding, "errors": "surrogateescape", "newline": ""}
    try:
        if name == "-":
            with open(sys.stdin.fileno(), closefd=False, **how) as lines:
                yield from lines
        else:
            with (gzip.open if Path(name).suffix == ".gz" else open)(name, "rt", **how) as lines:
                yield from lines
    except (OSError, EOFError, zlib.error) as error:  # the latter two: a .gz that is cut off or damaged
        raise Fail(f"cannot read {name}: {error}", Exit.MISSING) from None


def _stays(topic: str) -> TopicError | None:
    """Return why a topic is not to be published on from here: it never leaves its page, or is of no scope."""
    try:
        local = scope(topic) == "local"
    except ScopeError as error:
        return error
    return ScopeError(expected("topic", topic, "one without ~/, which never leaves its page")) if local else None


class _Run:
    """One run of `fabric pub`: what was sent, skipped and refused so far."""

    def __init__(self) -> None:
        self.sent = self.skipped = self.refused = self.denied = self.unconfirmed = 0
        """Items so far, by what became of them, and of what was refused all lines; `denied` are some of `refused`;
        `unconfirmed` is set after the node has closed."""
        self._told = 0
        """Times that something was refused, be it a line or a span of them."""
        self._started = self._shown = time.monotonic()
        """When it began, and when progress was last shown, in seconds; equal while nothing was shown."""
        self._watched = sys.stderr.isatty()

    def send(self, publish: Callable[[str, Any], int], items: Iterator[ingest.Item], rate: float | None) -> None:
        """Publish every item; with `rate`, the n-th at n/rate seconds from the start."""
        for item in self._outgoing(items):
            if rate:
                time.sleep(max(0.0, self._started + self.sent / rate - time.monotonic()))
            try:
                publish(item.topic, item.payload)
                self.sent += 1
            except (NotAllowed, TopicError, LocalWireError) as error:
                self._not_sent(item, error)

    def send_many(self, publish_many: Callable[[Iterator[tuple[str, Any]]], int], items: Iterator[ingest.Item]) -> None:
        """Publish every item as soon as it is read, as `Node.publish_many` does it: cheaper than `send`."""
        last: ingest.Outgoing | None = None
        has_failed = False

        def messages() -> Iterator[tuple[str, Any]]:
            nonlocal last, has_failed
            for last in self._outgoing(items):
                yield last.topic, last.payload
                # The next one is wanted: this one was accepted, unless it was refused.
                self.sent += not has_failed
                has_failed = False

        pending, is_over = messages(), False
        while not is_over:
            try:
                publish_many(pending)
                is_over = True
            except (NotAllowed, TopicError, LocalWireError) as error:
                assert last is not None
                has_failed = True
                self._not_sent(last, error)

    def _outgoing(self, items: Iterator[ingest.Item]) -> Iterator[ingest.Outgoing]:
        """Yield what is to be sent; count what is not, and show how far it is."""
        self._started = self._shown = time.monotonic()
        for item in items:
            if isinstance(item, ingest.Outgoing):
                if item.topic[:1] == "~" and (why := _stays(item.topic)) is not None:
                    self._not_sent(item, why)
                else:
                    yield item
            elif isinstance(item, ingest.Refused):
                self._refuse(item.line, item.why, item.lines)
            else:
                self.skipped += 1
            if self._watched:
                self._show()

    def _not_sent(self, item: ingest.Outgoing, error: FabricError) -> None:
        """Errors: `error` itself, where it is about the one message of the command line: wrong usage."""
        if not item.line and not isinstance(error, NotAllowed):
            raise error
        self.denied += isinstance(error, NotAllowed)
        self._refuse(item.line, str(error))

    def _refuse(self, line: int, why: str, lines: int = 1) -> None:
        self.refused += lines
        self._told += 1
        if self._told <= SHOWN_REFUSALS:
            where = f"lines {line:,} to {line + lines - 1:,}" if lines > 1 else f"line {line}"
            say(f"{where}: {why}" if line else why)
        elif self._told == SHOWN_REFUSALS + 1:
            say("more lines are refused; they are only counted from here")

    def _show(self) -> None:
        """Show progress to a person who watches: after the first second, a few times a second, in one line."""
        now = time.monotonic()
        if now - self._shown > SHOW_S and now - self._started > 1:
            self._shown = now
            click.echo(f"\r{self.words()} ", err=True, nl=False)

    def clear(self) -> None:
        """Take the line of progress away."""
        if self._shown > self._started:
            click.echo("\r\033[K", err=True, nl=False)

    def words(self) -> str:
        rate = f"{self.sent / self._elapsed_s:,.0f}/s"
        words = f"sent {self.sent:,}, skipped {self.skipped:,}, refused {self.refused:,}"
        words += f" (denied {self.denied:,})" if self.denied else ""
        words += f", {self.unconfirmed:,} not known to have arrived" if self.unconfirmed else ""
        return f"{words} in {self._elapsed_s:.2f} s, {rate}"

    def as_json(self) -> dict[str, Any]:
        names = ("sent", "skipped", "refused", "denied", "unconfirmed")
        return {**{name: getattr(self, name) for name in names}, "elapsed_s": round(self._elapsed_s, 6)}

    @property
    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._started, 1e-6)

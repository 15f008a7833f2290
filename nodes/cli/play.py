"""`fabric play`: publish what `fabric record` has recorded, with its timing."""

from __future__ import annotations

import io
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from fabric.errors import (
    HighWaterMarkReached,
    LocalWireError,
    NotAllowed,
    NotConnected,
    ScopeError,
    TopicError,
    expected,
)
from fabric.headers import RESERVED
from fabric.payloads import dumps
from fabric.topics import scope, validate_topic
from nodes.cli.exits import Exit, Fail, say
from nodes.cli.operating import Http, operating_options, status_page
from nodes.cli.options import Connect, connect_option, connect_timeout_option, open_node
from nodes.cli.pub import CLOSE_TIMEOUT_S, SHOWN_REFUSALS
from nodes.cli.recordings import Speed, opened
from nodes.operate import logs
from nodes.operate.extras import not_installed
from nodes.recording.files import read
from nodes.recording.lines import CutOff, Damaged, End, Entry, Item, Loss, OtherVersion
from nodes.recording.timing import LATE_NS, Intended, Lateness, Pace

if TYPE_CHECKING:
    from fabric.node.node import Node

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")
_NS_OF = {"ms": 1e6, "s": 1e9, "": 1e9, "m": 60e9, "h": 3600e9, "d": 86400e9}


class TimeIn(click.ParamType):  # type: ignore[type-arg]
    """A time in a recording, since its first message: `90`, `1.5s`, `10m`; it becomes ns."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _TIME.fullmatch(str(value))
        if found is None:
            self.fail(expected("time", value, "seconds, or a number with ms, s, m, h or d: 90, 1.5s, 10m"), param, ctx)
        return int(float(found[1]) * _NS_OF[found[2]])


@dataclass(frozen=True)
class Part:
    """What is played of a recording, and how; times in ns since its first message, until_ns None: to its end."""

    speed: float | None
    loops: int
    from_ns: int
    until_ns: int | None
    prefix: str


@click.command()
@click.argument("file", metavar="FILE")
@connect_option
@connect_timeout_option
@click.option("--speed", metavar="N", type=Speed(), default=1.0, show_default=True,
              help="Times as fast as recorded; max or 0: as fast as it goes.")  # fmt: skip
@click.option("--prefix", metavar="P", default="", help="Publish on P/TOPIC instead of TOPIC.")
@click.option("--loop", "loops", metavar="N", type=click.IntRange(1), default=1, show_default=True,
              help="Play it N times, one after the other.")  # fmt: skip
@click.option("--from", "from_ns", metavar="TIME", type=TimeIn(), default=0,
              help="Begin so long after the first message: 90, 1.5s, 10m.")  # fmt: skip
@click.option("--until", "until_ns", metavar="TIME", type=TimeIn(), help="End so long after the first message.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object.")
@operating_options
def play(
    file: str,
    connect: Connect,
    connect_timeout_s: float,
    speed: float | None,
    prefix: str,
    loops: int,
    from_ns: int,
    until_ns: int | None,
    as_json: bool,
    http: Http,
    log_json: bool,
) -> Exit:
    """Publish what FILE holds, a recording of `fabric record`, with its timing; - is standard input.

    FILE is lines of JSON, also in gzip, or MCAP. When a message is due is computed from the times in FILE and the
    start, never from the last send. What leaves late is counted and told. Messages have new numbers, all of one
    publisher; their order is that of FILE.

    Lines that cannot be read, and messages that cannot be published, are told with their number and counted; then the
    exit code is 1, or 5 when the rules of the mesh do not allow one. A last line that is cut off, since the recorder
    was killed, is told.

    \b
    Examples:
      fabric play monday.jsonl --speed 2
      fabric play monday.jsonl --prefix copy --from 10m --until 12m
      fabric record 'truck/#' --connect tcp://10.0.0.1:5570 | fabric play - --connect tcp://10.0.0.2:5570
    """
    part = Part(speed, loops, from_ns, until_ns, prefix)
    _check(part)
    logs.begin("fabric play", as_json=log_json)
    with opened(file) as recording, status_page("play", http) as status:
        if loops > 1 and not recording.seekable():
            raise click.UsageError("--loop needs a FILE that can be read again, not a pipe")
        node = open_node(connect, connect_timeout_s)
        status.watch_node(node)
        status.ready_with(node)
        return _play(node, recording, part, as_json)


def _check(part: Part) -> None:
    """Errors: UsageError, TopicError."""
    if part.until_ns is not None and part.until_ns <= part.from_ns:
        raise click.UsageError("--until has to be later than --from")
    if part.prefix:
        validate_topic(part.prefix)
        if scope(part.prefix):
            raise click.UsageError(expected("--prefix", part.prefix, "one without ~ or $ in front"))


def _play(node: Node, recording: io.BufferedReader, part: Part, as_json: bool) -> Exit:
    run, close_timeout_s = _Run(node, part), CLOSE_TIMEOUT_S
    try:
        run.play(recording)
    except (HighWaterMarkReached, NotConnected) as error:
        close_timeout_s = 1.0  # it has been waited for already
        nobody = isinstance(error, NotConnected)
        raise Fail(f"{error} (after {run.sent:,} messages)", Exit.NOBODY if nobody else Exit.NOT_REACHED) from None
    except OtherVersion as error:
        raise Fail(str(error), Exit.MISSING) from None
    except ModuleNotFoundError as error:
        raise Fail(not_installed(error.name, "mcap"), Exit.MISSING) from None
    finally:
        run.unconfirmed = node.close(close_timeout_s)
        say(run.words())
        if as_json:
            click.echo(dumps(run.as_json()))
    if run.denied:
        return Exit.DENIED
    return Exit.NOT_REACHED if run.refused or run.unconfirmed else Exit.DONE


class _Run:
    """One run of `fabric play`: what was sent and refused so far."""

    def __init__(self, node: Node, part: Part) -> None:
        self._node, self._part = node, part
        self.sent = self.refused = self.denied = self.unconfirmed = 0
        """Messages so far, of all passes: published; not published, or lines that cannot be read; of those, not
        allowed. `unconfirmed` is set after the node has closed."""
        self.lost = 0
        """Messages that the recorder did not get, of the first pass."""
        self.cut_off = False
        """The last line is cut off."""
        self.complete = False
        """The last line that a recorder writes was met."""
        self._lateness = Lateness()
        self._started = time.monotonic()
        """When it began, in seconds."""

    def play(self, recording: io.BufferedReader) -> None:
        """Play every pass. Errors: those of `Node.publish` that end it; OSError, OtherVersion, ModuleNotFoundError."""
        start_ns = time.monotonic_ns()
        for number in range(self._part.loops):
            if number:
                recording.seek(0)
            pace = Pace(self._part.speed, start_ns, self._part.from_ns, self._part.until_ns)
            self._pass(recording, pace, first=number == 0)
            start_ns = pace.end_ns
        if not self.complete and not self.cut_off and not pace.is_over:
            say("the last line of a recording is missing: it is not complete, or was made by something else")

    def _pass(self, recording: io.BufferedReader, pace: Pace, first: bool) -> None:
        times = Intended()
        for item in read(recording):
            if isinstance(item, Entry):
                due_ns = pace.due_ns(times.time_ns(item))
                if pace.is_over:
                    return
                if due_ns is not None:
                    self._send_at(due_ns, item)
            elif first:
                self._take(item)

    def _take(self, item: Item) -> None:
        """Take a line that is no message."""
        if isinstance(item, Loss):
            self.lost += item.lost
        elif isinstance(item, Damaged):
            self._refuse(item.line, item.why)
        elif isinstance(item, CutOff):
            self.cut_off = True
            say(f"line {item.line} is cut off: the recorder was ended before it had written it")
        elif isinstance(item, End):
            self.complete = True

    def _send_at(self, due_ns: int, entry: Entry) -> None:
        wait_ns = due_ns - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        message = entry.message
        topic = f"{self._part.prefix}/{message.topic}" if self._part.prefix else message.topic
        try:
            if scope(topic) == "local":
                raise ScopeError(expected("topic", topic, "one without ~/, which never leaves its page"))
            headers = {key: value for key, value in message.headers.items() if key not in RESERVED}
            self._node.publish(topic, message.payload, headers or None)
        except NotAllowed as error:
            self.denied += 1
            self._refuse(entry.line, str(error))
        except (TopicError, LocalWireError) as error:
            self._refuse(entry.line, str(error))
        else:
            self.sent += 1
            if self._part.speed is not None:
                self._lateness.sent(due_ns, time.monotonic_ns())

    def _refuse(self, line: int, why: str) -> None:
        self.refused += 1
        if self.refused <= SHOWN_REFUSALS:
            say(f"line {line}: {why}")
        elif self.refused == SHOWN_REFUSALS + 1:
            say("more lines are refused; they are only counted from here")

    def words(self) -> str:
        late, worst_ms = self._lateness.late, self._lateness.worst_ns / 1e6
        words = [f"sent {self.sent:,} in {self._elapsed_s:.2f} s"]
        words.append(f"refused {self.refused:,}" + (f" (denied {self.denied:,})" if self.denied else ""))
        if self._part.speed is not None:
            words.append(f"late {late:,} (by more than {LATE_NS / 1e6:g} ms; at most {worst_ms:.1f} ms)")
        words += [f"{self.lost:,} were lost as it was recorded"] if self.lost else []
        words += [f"{self.unconfirmed:,} not known to have arrived"] if self.unconfirmed else []
        return ", ".join(words)

    def as_json(self) -> dict[str, Any]:
        names = ("sent", "refused", "denied", "lost", "unconfirmed", "complete", "cut_off")
        late = {"late": self._lateness.late, "worst_late_ms": round(self._lateness.worst_ns / 1e6, 3)}
        return {**{name: getattr(self, name) for name in names}, **late, "elapsed_s": round(self._elapsed_s, 6)}

    @property
    def _elapsed_s(self) -> float:
        return max(time.monotonic() - self._started, 1e-6)

"""Commands driven by a shell script: events as lines of JSON on stdout, commands as lines of JSON on stdin.

    {"event": "ready", "ts": "2026-01-31T12:00:00.123Z", "at": 12.5, …}      out
    {"do": "stop_session", …}              in; `quit` ends the program, the end of stdin does not

`ts` is the time of day, in UTC; `at` is this machine's monotonic clock, in seconds, which no correction of the time of
day moves: differences are taken of it.

A command that is wrong is answered by an event `refused` with `why`, and nothing else happens. Any thread that has an
event puts it into a queue and never waits; the main thread writes; one thread reads stdin.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from fabric.errors import FabricError, expected
from fabric.payloads import dumps, from_json, to_json
from nodes.cli.exits import plain, say
from nodes.cli.signals import on_ending_signal
from nodes.cli.stdout import Outlet, write_lines
from nodes.operate.logs import utc

MAX_WAITING = 500_000
"""Events that may wait for a slow reader of stdout; beyond, they are dropped and counted."""
MAX_LINE_BYTES = 16 * 1024 * 1024
Command = dict[str, Any]


class Lines:
    """Stdin and stdout of such a command."""

    def __init__(self) -> None:
        self._outlet: Outlet[dict[str, Any]] = Outlet(MAX_WAITING)
        """Events, until the main thread writes them."""

    @property
    def dropped(self) -> int:
        """How many events found no room."""
        return self._outlet.dropped

    def tell(self, event: str, **data: Any) -> None:
        """Put one event into the queue; from any thread."""
        self._outlet.put({"event": event, "ts": utc(time.time()), "at": round(time.monotonic(), 6), **data})

    def end(self) -> None:
        """Have `run` return."""
        self._outlet.end()

    def run(self, do: Callable[[Command], None]) -> None:
        """Write events, and call `do(command)` in another thread, until `end`, `quit`, SIGTERM or SIGINT."""
        reader = threading.Thread(target=self._read, args=(do,), name="stdin", daemon=True)
        reader.start()
        # Any number of signals: what drives it may send one to each of its children, and its shell another.
        with contextlib.suppress(BrokenPipeError), on_ending_signal(self.end, once=False):
            while not self._outlet.ended:
                self.flush(timeout_s=None)
            self.flush()

    def flush(self, timeout_s: float | None = 0.0) -> None:
        """Write what waits. timeout_s: how long to wait for the first event; None: until there is one, or the end."""
        write_lines([dumps(to_json(event)) for event in self._outlet.items(timeout_s)])

    def _read(self, do: Callable[[Command], None]) -> None:
        for line in _lines(sys.stdin.fileno()):
            if not line.strip():
                continue
            command: bytes | Command = line
            try:
                command = parse(line)
                if command["do"] == "quit":
                    self.end()
                    return
                do(command)
            except (ValueError, KeyError, TypeError, FabricError) as error:
                self.refuse(command, error)

    def refuse(self, command: bytes | Command, error: BaseException) -> None:
        """Tell that a command, or a line that is not a command, was not done, and why."""
        what = command["do"] if isinstance(command, dict) else plain(command[:80].decode(errors="replace").strip())
        self.tell("refused", what=what, why=words(error), error=type(error).__name__)


def _lines(descriptor: int) -> Iterator[bytes]:
    """Yield lines as they come. Not by `sys.stdin`: its lock, held by a thread that waits, would abort the end."""
    rest = b""
    while chunk := os.read(descriptor, 65_536):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > MAX_LINE_BYTES:
            rest = b""  # what follows up to the line's end will be refused as a command
    if rest:
        yield rest


def parse(line: bytes) -> Command:
    """Return a command from its line; ValueError says what is wrong with it."""
    try:
        command = json.loads(line)
    except (ValueError, RecursionError):
        command = None
    if not isinstance(command, dict) or not isinstance(command.get("do"), str):
        raise ValueError(expected("command", line.decode(errors="replace").strip(), _WANTED))
    return {name: from_json(value) for name, value in command.items()}


def field(command: Command, name: str, kind: type, *default: Any) -> Any:
    """Return a field of a command; ValueError when it is missing without a default, or of another type."""
    value = command.get(name, *default)
    if name not in command and default:
        return value
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(expected(f"{name!r} of {command['do']!r}", value, _KINDS[kind]))
    return value


def words(error: BaseException) -> str:
    """An error's message; a KeyError's without the quotes that str() puts around it."""
    return str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)


def warn_of_dropped(lines: Lines) -> None:
    if lines.dropped:
        say(f"dropped {lines.dropped} events: stdout did not take them fast enough")


_WANTED = 'a map in JSON with a string `do`, like {"do": "quit"}'
_KINDS = {str: "a string", int: "a whole number", bool: "true or false"}

"""The audit stream: who connected, what was denied, which rules changed, who ended what; one JSON object a line.

    with Audit(open_sink("/var/log/fabric/audit.jsonl")) as audit:
        audit.note(event="publish_denied", who="sensor-7", door="in", topic="secret/x", why="no filter allows this")

    {"at": "2026-01-31T12:00:00.123Z", "event": "publish_denied", "who": "sensor-7", "door": "in", "topic": "secret/x",
     "why": "no filter allows this", "count": 1}

`at` is RFC 3339 in UTC, `count` how often it happened since the line before. Which lines there are is decided by
`audit_sums`: an attacker cannot fill a disk. `note` may be called from any thread, and never waits: notes wait in a
bounded queue for the one thread that writes, in which every event has some room, however many there are of another. Of
what finds none, only how often it happened is told, under OTHERS. What cannot be written is counted, logged, and told
by the stream itself (`audit_lost`) as soon as it can be written again. All but ASCII is escaped, and so are control
characters: a line is a line, and drives no terminal.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from fabric import private_files
from nodes.operate.audit_sums import FIELDS, Sums, count_of

log = logging.getLogger("nodes.audit")

MAX_WAITING = 10_000
"""Notes that wait for the thread, of all events together."""
ROOM_OF_EVENT = 100
"""So many of one event may wait though MAX_WAITING do: what is rare is not lost among what is frequent."""
BATCH = 1_000
"""Notes that are taken before their lines are written."""
CLOSE_S = 2.0
"""At the end, for what still waits."""
SYSLOG = "/dev/log"
_AUTHPRIV_INFO = 10 * 8 + 6
"""source: RFC 5424 §6.2.1"""


class Sink(Protocol):
    """Where lines go."""

    def write(self, lines: bytes) -> None:
        """Write whole lines. Errors: OSError; then some of the last line may have been written."""

    def close(self) -> None: ...


class FileSink:
    """A file that grows at its end. One that was moved away or removed is opened again under its name, so that
    logrotate needs no signal; one that was copied and cut to nothing goes on from its beginning.

    errors: OSError when it cannot be opened for writing
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = self._opened()
        """The descriptor; another one after a rotation."""
        self._is_cut = False
        """The last write broke off: what comes next begins a new line."""

    def write(self, lines: bytes) -> None:
        if self._was_moved():
            fresh = self._opened()
            os.close(self._file)
            self._file, self._is_cut = fresh, False
        wanted = b"\n" + lines if self._is_cut else lines
        self._is_cut = True
        written = os.write(self._file, wanted)
        if written < len(wanted):
            raise OSError(f"only {written} of {len(wanted)} bytes could be written")
        self._is_cut = False

    def close(self) -> None:
        os.close(self._file)

    def _opened(self) -> int:
        """Never waiting, for a pipe that nobody reads."""
        return private_files.open_file(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)

    def _was_moved(self) -> bool:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return True
        held = os.fstat(self._file)
        return (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino)


class StdoutSink:
    """Standard output. Who does not read it holds up the audit's thread, and nothing else."""

    def write(self, lines: bytes) -> None:
        while lines:
            lines = lines[os.write(1, lines) :]

    def close(self) -> None:
        pass


class SyslogSink:
    """The machine's syslog or journal, with facility authpriv: one datagram a line.

    path:   of its socket
    errors: OSError when nobody listens there
    """

    def __init__(self, path: str = SYSLOG) -> None:
        self._path = path
        self._tag = f"<{_AUTHPRIV_INFO}>fabric-audit[{os.getpid()}]: ".encode()
        self._socket = self._connected()
        """Another one after syslog was started again."""

    def write(self, lines: bytes) -> None:
        for line in lines.splitlines():
            try:
                self._socket.send(self._tag + line)
            except (ConnectionError, FileNotFoundError):
                fresh = self._connected()
                self._socket.close()
                self._socket = fresh
                self._socket.send(self._tag + line)

    def close(self) -> None:
        self._socket.close()

    def _connected(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.connect(self._path)
        except OSError:
            made.close()
            raise
        return made


def open_sink(target: str) -> Sink:
    """Return where `--audit` says: a path, `syslog`, or `-` for standard output. Errors: OSError."""
    if target == "-":
        return StdoutSink()
    return SyslogSink() if target == "syslog" else FileSink(target)


class Audit:
    """One stream; a context manager closes it. It owns its sink.

    clock:     seconds since the epoch, for `at`
    monotonic: for sums and limits
    """

    def __init__(
        self,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sink, self._clock, self._monotonic = sink, clock, monotonic
        self._sums = Sums(monotonic())
        """For the thread alone."""
        self._waiting: queue.SimpleQueue[tuple[float, Mapping[str, Any]] | None] = queue.SimpleQueue()
        """Notes with their time, oldest first; None ends the thread. `SimpleQueue.put` is for any thread."""
        self._lock = threading.Lock()
        """Guards the counts below."""
        self._waiting_of: Counter[str] = Counter()
        """By event, how many of `_waiting` there are; no zeros."""
        self._crowded: Counter[str] = Counter()
        """By event, what happened and found no room to wait, since the thread last looked."""
        self._noted = self._written = 0
        """What happened, as far as it was noted; lines written."""
        self._lost = {"queue": 0, "write": 0}
        """What happened and is told under OTHERS only, for lack of room; what could not be written."""
        self._untold = 0
        """Of what could not be written, what the stream has not told yet."""
        self._is_failing = False
        """The last write failed, and the log says so. For the thread alone."""
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def note(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Take what happened, from any thread, without waiting; see `audit_sums.FIELDS`. It never raises.

        fields: as a map, for `from`, which is no word for an argument; `more` stands beside it
        """
        found = {**(fields or {}), **more}
        event, count = str(found.get("event")), count_of(found)
        with self._lock:
            self._noted += count
            if self._waiting.qsize() >= MAX_WAITING and self._waiting_of[event] >= ROOM_OF_EVENT:
                self._crowded[event] += count
                self._lost["queue"] += count
                return
            self._waiting_of[event] += 1
            # Inside, so that the thread finds it counted.
            self._waiting.put((self._clock(), {name: found[name] for name in (*FIELDS, "count") if name in found}))

    def figures(self) -> dict[str, Any]:
        """Return what was noted, written and lost so far, from any thread."""
        with self._lock:
            return {"noted": self._noted, "written": self._written, "lost": dict(self._lost)}

    def close(self) -> None:
        """Write what still waits, and the last sums, and end. It waits CLOSE_S at most: a pipe may not be read."""
        self._waiting.put(None)
        self._thread.join(CLOSE_S)

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        goes_on = True
        while goes_on:
            lines, goes_on = self._heard()
            self._count_crowded()
            lines += [(self._clock(), line) for line in self._sums.due(self._monotonic())]
            if not goes_on:
                lines += [(self._clock(), line) for line in self._sums.sums(self._monotonic())]
            self._write(lines)
        with contextlib.suppress(OSError):
            self._sink.close()

    def _heard(self) -> tuple[list[tuple[float, dict[str, Any]]], bool]:
        """Wait for notes until sums are due; return their lines, and whether there will be more."""
        lines: list[tuple[float, dict[str, Any]]] = []
        timeout_s: float = max(0.0, self._sums.due_at - self._monotonic())
        for _ in range(BATCH):
            try:
                item = self._waiting.get(timeout=timeout_s) if timeout_s else self._waiting.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return lines, False
            timeout_s = 0.0
            at, fields = item
            self._let_go(str(fields.get("event")))
            lines += [(at, line) for line in self._sums.note(fields, self._monotonic())]
        return lines, True

    def _let_go(self, event: str) -> None:
        with self._lock:
            self._waiting_of[event] -= 1
            if not self._waiting_of[event]:
                del self._waiting_of[event]

    def _count_crowded(self) -> None:
        with self._lock:
            crowded, self._crowded = self._crowded, Counter()
        for event, count in crowded.items():
            self._sums.crowd(event, count, self._monotonic())

    def _write(self, lines: list[tuple[float, dict[str, Any]]]) -> None:
        with self._lock:
            lost, self._untold = self._untold, 0
        if lost:
            lines.append((self._clock(), {"event": "audit_lost", "why": "not writable", "count": lost}))
        if not lines:
            return
        try:
            self._sink.write(b"".join(as_line(at, line) for at, line in lines))
        except OSError as error:
            self._failed(error, lost, sum(line["count"] for _, line in lines) - lost)
            return
        with self._lock:
            self._written += len(lines)
        if self._is_failing:
            self._is_failing = False
            log.warning("the audit stream can be written again")

    def _failed(self, error: OSError, untold: int, count: int) -> None:
        with self._lock:
            self._lost["write"] += count
            self._untold += untold + count
        if not self._is_failing:
            self._is_failing = True
            log.warning("the audit stream cannot be written: %s; what is lost is counted", error.strerror or error)


def as_line(at: float, fields: Mapping[str, Any]) -> bytes:
    """Return one line of the stream. at: seconds since the epoch"""
    time_of = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"at": time_of, **fields}).encode() + b"\n"

"""Shell commands as children: one for each message, at most so long, and none of them outlives this process.

    with Children("tr a-z A-Z", max_bytes=1_000_000) as children:
        children.run(b"hello", {"FABRIC_OP": "up"}, timeout_s=5.0)      # Outcome(code=0, stdout=b"HELLO", …)

Each command leads a process group. When it has ended, was ended, or this process ends, whatever is left of its group is
killed. A *warden*, a small process in another session, sees to the last of these: it knows all groups, and kills them
when the pipe to this process closes, be it by SIGKILL. A command begins only when the warden knows it. What a command
starts in a session for itself (`setsid`, a daemon) is not in its group, and stays.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

SHELL = "/bin/sh"
_WAIT_FOR_LEAVE = 'read -r leave && exec /bin/sh -c "$1"'
"""The first line of stdin lets a command begin; `read` of a shell takes no byte more."""
_LEAVE = b"go\n"
_WARDEN = """
import os, signal, sys
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""
MAX_STDERR_BYTES = 4096
"""The last of what a command writes there."""
LOOK_S = 0.005
"""How often it is looked whether a command has ended, where the system does not tell (macOS)."""
LOOK_WHERE_TOLD_S = 0.25
"""The same where it does; for `close`."""
LEFT_S = 0.5
"""How long what a command wrote is read after its end."""
_CHUNK = 65_536
_READ = selectors.EVENT_READ


@dataclass(frozen=True)
class Outcome:
    """What became of a command.

    code:      its exit code; below 0: the signal that ended it
    stdout:    what it wrote, whole unless `why` says otherwise
    last_line: the last line of its stderr that is not empty
    why:       why it was ended: `time`, `size`, `closed`; "" when it ended by itself
    """

    code: int
    stdout: bytes
    last_line: str
    why: str = ""


class Children:
    """Runs `command` for messages, from any thread, several at once.

    max_bytes: of stdout; a command that writes more is ended
    """

    def __init__(self, command: str, *, max_bytes: int) -> None:
        self._command, self._max_bytes = command, max_bytes
        self._lock = threading.Lock()
        """Guards what follows, and orders what the warden is told."""
        self._groups: set[int] = set()
        """Process groups that run: the ids of their leaders, none of which was waited for yet."""
        self._closed = False
        """Set once, by `close`: what runs is ended, and nothing begins."""
        self._warden = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WARDEN], stdin=subprocess.PIPE, start_new_session=True
        )

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, stdin: bytes, env: Mapping[str, str], timeout_s: float) -> Outcome:
        """Run the command with `stdin`, and with `env` added to the environment; return what became of it.

        errors: OSError when it cannot be started; ValueError for a NUL in `env`
        """
        end = time.monotonic() + timeout_s
        child = subprocess.Popen(
            [SHELL, "-c", _WAIT_FOR_LEAVE, SHELL, self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **env},
            start_new_session=True,
        )
        try:
            begun = self._begun(child.pid)
            talk = _Talk(child, _LEAVE + stdin if begun else b"", self._max_bytes)
            why = talk.go_on(end, lambda: self._closed)
        finally:
            self._ended(child)
        if self._closed and (not begun or child.returncode == -signal.SIGKILL):
            why = "closed"
        return Outcome(child.returncode, bytes(talk.stdout), talk.last_line, why)

    def close(self) -> None:
        """End what runs, and the warden. Those who wait in `run` get `closed`."""
        with self._lock:
            self._closed = True
            for group in self._groups:
                _kill(group)
            if self._warden.stdin is not None and not self._warden.stdin.closed:
                with contextlib.suppress(OSError):
                    self._warden.stdin.close()
        self._warden.wait()

    def _begun(self, group: int) -> bool:
        """Tell the warden of a group; False when it is too late to begin."""
        with self._lock:
            if self._closed:
                return False
            self._groups.add(group)
            self._tell(f"+{group}\n")
            return True

    def _ended(self, child: subprocess.Popen[bytes]) -> None:
        """Kill what is left of a group, and wait for its leader: until then no other process has its id."""
        with self._lock:
            _kill(child.pid)
            child.wait()
            self._groups.discard(child.pid)
            if not self._closed:
                self._tell(f"-{child.pid}\n")
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _tell(self, line: str) -> None:
        assert self._warden.stdin is not None
        self._warden.stdin.write(line.encode())
        self._warden.stdin.flush()


class _Talk:
    """Writes a command's stdin, and reads what it says, until it has ended or has to be."""

    def __init__(self, child: subprocess.Popen[bytes], stdin: bytes, max_bytes: int) -> None:
        self._child, self._max_bytes = child, max_bytes
        self._stdin = memoryview(stdin)
        """What is still to be written."""
        self.stdout, self._stderr = bytearray(), bytearray()
        """What it wrote so far: at most `max_bytes` and a chunk; of stderr the last `MAX_STDERR_BYTES`."""
        self._selector = selectors.DefaultSelector()
        """The pipes that are open, and what tells of its end, if the system does."""
        self._open: set[int] = set()
        """Descriptors of stdout and stderr, until each has come to its end."""

    @property
    def last_line(self) -> str:
        lines = [line for line in self._stderr.decode(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""

    def go_on(self, end: float, is_closed: Callable[[], bool]) -> str:
        """Return why it has to be ended, or "" when it has ended. end: monotonic"""
        with contextlib.ExitStack() as stack:
            stack.callback(self._selector.close)
            look_s = self._watch(stack)
            while not _has_ended(self._child.pid):
                if is_closed():
                    return "closed"
                if self._is_too_much:
                    return "size"
                if (left_s := end - time.monotonic()) <= 0:
                    return "time"
                self._turn(min(look_s, left_s))
            _kill(self._child.pid)  # those whom it left behind hold its stdout open
            last = time.monotonic() + LEFT_S
            while self._open and not self._is_too_much and (left_s := last - time.monotonic()) > 0:
                self._turn(left_s)
        return "size" if self._is_too_much else ""

    @property
    def _is_too_much(self) -> bool:
        return len(self.stdout) > self._max_bytes

    def _watch(self, stack: contextlib.ExitStack) -> float:
        """Look at its pipes, and at its end; return how often it is to be looked whether it has ended, in seconds."""
        child = self._child
        assert child.stdin and child.stdout and child.stderr
        for stream, events in ((child.stdin, selectors.EVENT_WRITE), (child.stdout, _READ), (child.stderr, _READ)):
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), events)
        self._open = {child.stdout.fileno(), child.stderr.fileno()}
        if not hasattr(os, "pidfd_open"):
            return LOOK_S
        try:
            told = os.pidfd_open(child.pid)
        except OSError:
            return LOOK_S
        stack.callback(os.close, told)
        self._selector.register(told, _READ)
        return LOOK_WHERE_TOLD_S

    def _turn(self, timeout_s: float) -> None:
        for key, events in self._selector.select(timeout_s):
            if events & selectors.EVENT_WRITE:
                self._write(key.fd)
            elif key.fd in self._open:
                self._read(key.fd)

    def _write(self, to: int) -> None:
        try:
            self._stdin = self._stdin[os.write(to, self._stdin[:_CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:  # it has closed its stdin: it has read what it wanted
            self._stdin = self._stdin[:0]
        if not self._stdin:
            self._selector.unregister(to)
            assert self._child.stdin
            with contextlib.suppress(OSError):
                self._child.stdin.close()

    def _read(self, of: int) -> None:
        try:
            chunk = os.read(of, _CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            self._selector.unregister(of)
            self._open.discard(of)
        elif self._child.stdout and of == self._child.stdout.fileno():
            self.stdout += chunk
        else:
            self._stderr = (self._stderr + chunk)[-MAX_STDERR_BYTES:]


def _has_ended(pid: int) -> bool:
    """Whether a child has ended. It is not waited for: its id stays taken."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)

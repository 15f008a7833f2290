"""Real processes for tests: start the `fabric` command, read its lines as they come, stop it by its own process id.

    proxy = FabricProcess(["proxy", "--listen", free_base()], log_dir)
    proxy.wait_event("ready")                 # lines of JSON on stdout
    proxy.wait_stderr("listening")            # words on stderr
    proxy.kill(); proxy = proxy.again()       # kill -9, then the same command once more
    proxy.stop()                              # SIGTERM, and SIGKILL if that is not heard

Tests take them from the fixtures `fabric`, `proxies` and `run_fabric` in conftest.py, which stop what was started.
Nothing here sleeps blindly: readers wake who waits for a line, and every wait has a time-out that prints what was said.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support.locks import Ports

ROOT = Path(__file__).resolve().parents[2]
FABRIC = (sys.executable, "-m", "nodes.cli")
PORTS_OF_A_PROXY = 6  # in, out, relay, link, guest, HTTP
# Below Linux's ephemeral ports (32768 and up), so that no outgoing connection takes one of them meanwhile.
_ports = Ports(18_000, 32_000)
READY_TIMEOUT_S = 60.0  # two cores that others keep busy; a quiet machine needs well under a second
STOP_TIMEOUT_S = 30.0  # as above; then it is killed


def free_base(count: int = PORTS_OF_A_PROXY) -> str:
    """Return `tcp://127.0.0.1:P` such that P to P+count-1 can be bound now; nobody else is given these ports."""
    return f"tcp://127.0.0.1:{_ports.take(count)}"


def environment(**changes: str) -> dict[str, str]:
    """The environment for a child: this checkout first on its path, no FABRIC_CONNECT of the person at the keyboard."""
    env = {key: value for key, value in os.environ.items() if key != "FABRIC_CONNECT"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    return env | changes


IDENTITY_OF = {"frame": "frame", "gateway": "gateway", "agent": "gateway", "page": "gateway"}
"""With `--with-keys`, who a command is; any other is `tester`, as the tests themselves are."""


def _as_somebody(command: Sequence[str], env: dict[str, str]) -> dict[str, str]:
    """With keys, have a command of ours be who it should be, and nobody more."""
    if not env.get("FABRIC_KEYS") or env.get("FABRIC_IDENTITY") != "tester" or FABRIC[-1] not in command[:-1]:
        return env
    word = command[list(command).index(FABRIC[-1]) + 1]
    return {**env, "FABRIC_IDENTITY": IDENTITY_OF.get(word, "tester")}


class Process:
    """A child with its lines captured: `stdout` and `stderr` are lists of lines that grow as it speaks."""

    def __init__(
        self, command: Sequence[str], log_dir: Path, *, name: str = "", env: dict[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log_dir = log_dir
        self.name = name or Path(command[0]).name
        self._env = _as_somebody(self.command, environment() if env is None else env)
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._heard = threading.Condition()
        self.popen = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self._env, cwd=ROOT
        )
        self.pid = self.popen.pid
        assert self.popen.stdout and self.popen.stderr
        streams = ((self.popen.stdout, self.stdout, "out"), (self.popen.stderr, self.stderr, "err"))
        self._readers = [threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[bytes], lines: list[str], suffix: str) -> None:
        with open(self.log_dir / f"{self.name}-{self.pid}.{suffix}", "wb") as log:
            for raw in stream:
                log.write(raw)
                log.flush()
                with self._heard:
                    lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
                    self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    # --- waiting for what it says

    def wait_stdout(
        self, wanted: str | Callable[[str], bool], timeout_s: float = READY_TIMEOUT_S, after: int = 0
    ) -> str:
        """Return the first line of stdout, from line number `after` on, that holds `wanted` or for which it is true."""
        return self._wait_line(self.stdout, wanted, timeout_s, after)

    def wait_stderr(
        self, wanted: str | Callable[[str], bool], timeout_s: float = READY_TIMEOUT_S, after: int = 0
    ) -> str:
        """The same for stderr."""
        return self._wait_line(self.stderr, wanted, timeout_s, after)

    def wait_lines(self, count: int, timeout_s: float = READY_TIMEOUT_S) -> list[str]:
        """Return stdout once it has at least `count` lines."""
        self._wait(lambda: len(self.stdout) >= count, f"{count} lines on stdout", timeout_s)
        return self.stdout

    def wait_event(self, event: str, timeout_s: float = READY_TIMEOUT_S, after: int = 0) -> dict[str, Any]:
        """Return the first JSON object on stdout, from line `after` on, whose `event` is this."""
        line = self._wait_line(self.stdout, lambda line: _event_of(line) == event, timeout_s, after, f"event {event!r}")
        found: dict[str, Any] = json.loads(line)
        return found

    def _wait_line(
        self, lines: list[str], wanted: str | Callable[[str], bool], timeout_s: float, after: int, what: str = ""
    ) -> str:
        fits = (lambda line: wanted in line) if isinstance(wanted, str) else wanted
        seen, found = after, ""

        def look() -> bool:
            nonlocal seen, found
            for line in lines[seen:]:
                seen += 1
                if fits(line):
                    found = line
                    return True
            return False

        self._wait(look, what or f"a line with {wanted!r}", timeout_s)
        return found

    def _wait(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while not done():
                left = deadline - time.monotonic()
                over = not any(reader.is_alive() for reader in self._readers)
                if left <= 0 or over:
                    why = f"it ended with {self.popen.wait(timeout_s)}" if over else f"{timeout_s} s went by"
                    raise AssertionError(f"{self.name}: waited for {what}, but {why}\n{self.said()}")
                self._heard.wait(min(left, 0.2))  # wakes on every line; the cap notices the end of the readers

    def said(self) -> str:
        """Its last lines, for a failure's message."""
        parts = [f"$ {' '.join(self.command)}"]
        parts += [f"out| {line}" for line in self.stdout[-20:]] + [f"err| {line}" for line in self.stderr[-40:]]
        return "\n".join(parts)

    # --- telling it, and ending it

    def send(self, line: str) -> None:
        """Write one line to its stdin."""
        assert self.popen.stdin
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def close_stdin(self) -> None:
        assert self.popen.stdin
        try:
            self.popen.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal; after SIGSTOP it does stand still, in all its threads: else it could do what came first."""
        self.popen.send_signal(number)
        if number == signal.SIGSTOP:
            end = time.monotonic() + STOP_TIMEOUT_S
            while self.alive and not self._is_still():
                assert time.monotonic() < end, f"{self.name} does not stand still"
                time.sleep(0.001)

    def _is_still(self) -> bool:
        states = set[str]()
        for stat in Path(f"/proc/{self.popen.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):  # a thread that has ended
                states.add(stat.read_text().rpartition(")")[2].split()[0])
        return states == {"T"}

    def wait(self, timeout_s: float = READY_TIMEOUT_S) -> int:
        """Return its exit code, once it ended and all it said is in `stdout` and `stderr`."""
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout_s} s\n{self.said()}") from None
        self._tidy()
        return code

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self.popen.kill()
        self.popen.wait()
        self._tidy()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, then SIGKILL after `timeout_s`; return the exit code (-9 when it had to be killed)."""
        if self.alive:
            self.signal(signal.SIGTERM)
        return self.finish(timeout_s)

    def finish(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """The same for one that has had its SIGTERM: a second one may end it at once."""
        try:
            self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
        code = self.popen.wait()
        self._tidy()
        return code

    def _tidy(self) -> None:
        self.close_stdin()
        for reader in self._readers:
            reader.join(10.0)
        assert self.popen.stdout and self.popen.stderr
        self.popen.stdout.close()
        self.popen.stderr.close()


class FabricProcess(Process):
    """`fabric ARGS…` of this checkout. `prefix`: words before it, such as what runs it on another host."""

    def __init__(
        self,
        args: Sequence[str],
        log_dir: Path,
        *,
        name: str = "",
        env: dict[str, str] | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        super().__init__([*prefix, *FABRIC, *args], log_dir, name=name or args[0], env=env)
        self.args, self.prefix = list(args), list(prefix)

    def again(self) -> FabricProcess:
        """Start the same command once more, after it ended; the caller stops it."""
        assert not self.alive, "stop or kill it first"
        return FabricProcess(self.args, self.log_dir, name=self.name, env=self._env, prefix=self.prefix)


class ProxyProcess(FabricProcess):
    """`fabric proxy`; `base` is the address for nodes and for --join, `ready` the line it printed as a member."""

    def __init__(self, base: str, args: Sequence[str], log_dir: Path, *, name: str) -> None:
        super().__init__(["proxy", "--listen", base, "--name", name, *args], log_dir, name=name)
        self.base = base
        self._more = list(args)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        self.ready = self.wait_event("ready", timeout_s)
        return self.ready

    def again(self) -> ProxyProcess:
        assert not self.alive, "stop or kill it first"
        return ProxyProcess(self.base, self._more, self.log_dir, name=self.name)


def _event_of(line: str) -> str:
    try:
        value = json.loads(line)
    except ValueError:
        return ""
    return str(value.get("event", "")) if isinstance(value, dict) else ""

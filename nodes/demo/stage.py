"""The stage of a demo: child processes that are started, waited for and stopped by their ids."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from fabric.identity.keys import FOLDER_VARIABLE, IDENTITY_VARIABLE

START_TIMEOUT_S = 30.0
"""Two cold processes on a busy machine; a quiet one needs about three seconds."""
STOP_TIMEOUT_S = 10.0

Received = tuple[str, Any]
"""Topic and payload."""


class Failed(Exception):
    """The demo cannot go on; the words say why."""


class Child:
    """One `fabric` command, and what it has said."""

    def __init__(self, name: str, *args: str) -> None:
        self.name = name
        self.lines: list[tuple[float, str]] = []
        """Of stdout, each with the time at which it came: monotonic, in seconds. Grows, under `_heard`."""
        self.words: list[str] = []
        """Lines of stderr. Grows, under `_heard`."""
        self._heard = threading.Condition()
        """Notified with each line, and at the end of each stream."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nodes.cli", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        out, err = self._process.stdout, self._process.stderr
        assert out is not None and err is not None
        self._readers = (
            threading.Thread(target=self._read, args=(out, lambda line: self.lines.append((time.monotonic(), line)))),
            threading.Thread(target=self._read, args=(err, self.words.append)),
        )
        for reader in self._readers:
            reader.start()

    def _read(self, stream: IO[str], keep: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                with self._heard:
                    keep(line.rstrip("\n"))
                    self._heard.notify_all()
        with self._heard:
            self._heard.notify_all()

    def wait_until(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Wait until what it has said makes `done` true. Raises Failed when it ends first, or the time is over."""
        deadline = time.monotonic() + timeout_s
        with self._heard:
            while not done():
                ended = not any(reader.is_alive() for reader in self._readers)
                if ended or time.monotonic() > deadline:
                    why = "it ended" if ended else f"{timeout_s:g} s went by"
                    raise Failed("\n  ".join([f"{self.name}: waited for {what}, but {why}", *self.words[-5:]]))
                self._heard.wait(0.1)  # every line wakes it; the time limit notices the end

    def wait_end(self, timeout_s: float) -> str:
        """Wait for its end and return its stdout. Raises Failed for an exit code other than 0."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {timeout_s:g} s") from None
        self.stop()
        if self._process.returncode:
            raise Failed("\n  ".join([f"{self.name} ended with {self._process.returncode}", *self.words[-5:]]))
        return "\n".join(line for _, line in self.lines)

    def send(self, line: str) -> None:
        """Write one line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def terminate(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it and wait until it has ended."""
        self.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()


class Stage:
    """Starts children, and stops all of them at the end, the newest first.

    From then on this process and its children use no keys, whatever the environment says: demos show the wire.
    """

    def __init__(self) -> None:
        for name in (FOLDER_VARIABLE, IDENTITY_VARIABLE):
            os.environ.pop(name, None)
        self._children: list[Child] = []
        """In the order of their start."""

    def start(self, name: str, *args: str) -> Child:
        child = Child(name, *args)
        self._children.append(child)
        return child

    def clear(self) -> None:
        for child in reversed(self._children):
            child.terminate()
        for child in reversed(self._children):
            child.stop()

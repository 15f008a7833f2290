"""Locks between processes that run tests side by side: the workers of one run, and runs of other checkouts.

    with alone(folder / "bundles.lock"): …     # one process at a time
    base = Ports(18_000, 32_000).take(6)       # six ports in a row that nobody else who asks here is given

The kernel gives a lock back when its process ends, in whatever way that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

HELD = 64
"""So many takings of a process are held. A port is in use, or given up, long before that many others were taken."""


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is within `alone` of this path; the file is made, and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Ports:
    """Free TCP ports of 127.0.0.1 from `first` up to `last`, exclusive.

    That a port can be bound now is not enough: a proxy that joins binds its ports late, and an address at which nobody
    answers must stay without anybody. So what is taken is held as a lock on the bytes of one file, a byte a port.
    """

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._held: deque[tuple[int, int]] = deque()
        """First port and count of each taking that is locked, oldest first; at most HELD, changed by `take` alone."""
        self._file: int | None = None
        """Descriptor of the file; opened once, since closing any descriptor of it would give all its locks back."""

    def take(self, count: int) -> int:
        """Return the first of `count` ports in a row that can be bound. Raises RuntimeError when there are none."""
        for _ in range(500):
            first = random.randrange(self._first, self._last - count)
            if self._lock(first, count):
                if all(_can_bind(port) for port in range(first, first + count)):
                    return first
                self._release(self._held.pop())
        raise RuntimeError(f"no {count} free ports in a row between {self._first} and {self._last}")

    def _lock(self, first: int, count: int) -> bool:
        """Hold these ports, unless this process or another one holds one of them."""
        if any(first < start + more and start < first + count for start, more in self._held):
            return False
        if self._file is None:
            path = f"{tempfile.gettempdir()}/site-connect-test-ports-{os.getuid()}"
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, count, first)
        except OSError:
            return False
        if len(self._held) == HELD:
            self._release(self._held.popleft())
        self._held.append((first, count))
        return True

    def _release(self, taking: tuple[int, int]) -> None:
        assert self._file is not None
        first, count = taking
        fcntl.lockf(self._file, fcntl.LOCK_UN, count, first)


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

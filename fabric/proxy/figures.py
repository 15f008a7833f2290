"""Figures of a running proxy for people: counts and rates of its streams, and its open files."""

from __future__ import annotations

import os
import time

from fabric.core.steering import Counts
from fabric.sockets import descriptor_limit

RESERVE = 128


class Figures:
    """Counts and rates for announcements: parts, since the start and per second."""

    def __init__(self) -> None:
        self.started = self._at = time.monotonic()
        """When it was made; and when `counts` were taken. Monotonic, in seconds."""
        self.counts = {"in": 0, "out": 0, "relay": 0, "guest": 0}
        """Parts since the start, at `_at`."""
        self.bytes = dict(self.counts)
        """Bytes since the start, at the last `update`."""
        self.rates = dict.fromkeys(self.counts, 0.0)
        """Parts a second, between the last two `counts`."""

    def update(self, now: float, passed_by: Counts) -> None:
        """now: monotonic, in seconds; passed_by: since the start."""
        counts, self.bytes = dict(passed_by.parts), dict(passed_by.bytes)
        passed = now - self._at
        if passed >= 0.5:
            self.rates = {key: round((counts[key] - self.counts[key]) / passed, 1) for key in counts}
            self._at, self.counts = now, counts


def descriptors() -> dict[str, int]:
    """Files and connections that are open, that may be, and how many are enough: beyond, the reserve is used up.

    At the limit libzmq takes no connection and tries again at once, for ever: half a core, and no new node.
    """
    limit = descriptor_limit()
    return {"used": open_files(), "limit": limit, "enough": limit - min(RESERVE, limit // 8)}


def open_files() -> int:
    """Number of open files of this process; -1 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return -1

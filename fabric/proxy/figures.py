"""Figures of a running proxy for people: counts and rates of its streams, and its open files."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from fabric.proxy.stream import Counts


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

    def update(self, now: float, streams: Mapping[str, Counts]) -> None:
        counts = {
            "in": streams["leg"].front_in,
            "out": streams["ingress"].back_out,
            "relay": streams["relay"].back_out,
            "guest": streams["guest"].back_out,
        }
        self.bytes = {
            "in": streams["leg"].front_in_bytes,
            "out": streams["ingress"].back_out_bytes,
            "relay": streams["relay"].back_out_bytes,
            "guest": streams["guest"].back_out_bytes,
        }
        passed = now - self._at
        if passed >= 0.5:
            self.rates = {key: round((counts[key] - self.counts[key]) / passed, 1) for key in counts}
            self._at, self.counts = now, counts


def open_files() -> int:
    """Number of open files of this process; -1 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return -1

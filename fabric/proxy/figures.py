"""Figures of a running proxy for people: counts and rates of its streams."""

from __future__ import annotations

import time

from fabric.core.steering import Counts


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

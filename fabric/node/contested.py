"""Runs of numbers that came before, and keep coming: whether they are duplicates, or the last number was forged. Pure.

Without keys anybody can publish in another's name. One forged part with a high number makes all that the true publisher
sends look like duplicates. Honest duplicates are parts that are sent again after a connection broke: a burst of old
parts. So a run of numbers that rises below a last one that stands still, and goes on for `TRUE_AFTER_S` by
this clock and by the publisher's as well, is no such burst: the publisher is at these numbers now.

A publisher's parts come twice, and live, while a node moves to another proxy. Then the last number rises with them.
"""

from __future__ import annotations

from dataclasses import dataclass

TRUE_AFTER_S = 10.0
"""Longer than an honest burst has been in the making: what is sent again is what was not confirmed in a few seconds."""
TRUE_AFTER_PARTS = 3
MAX_RUNS = 10_000
"""Runs that are followed at once, 0.3 kB each: after a reconnect there may be one for each topic."""


@dataclass(slots=True)
class _Run:
    """One run, of one publisher on one topic."""

    top: int
    """The last number, while it began; a run ends when that changes."""
    first: int
    last: int
    parts: int
    since: float
    """When it began, monotonic."""
    sent_ns: int
    """When its first part was sent, by the publisher's clock."""


class Contested:
    """The runs that a receiver follows. What is no duplicate is not told here."""

    def __init__(self) -> None:
        self._runs: dict[tuple[str, int], _Run] = {}
        """By topic and publisher, at most `MAX_RUNS`; the next to be forgotten first."""

    def came_again(self, topic: str, publisher: int, number: int, top: int, sent_ns: int, now: float) -> int | None:
        """A number came that is not above the last one, `top`.

        returns: None when it has to count as a duplicate; else the first number of its run, which is the true one, and
                 of which this class knows nothing any more
        """
        key = (topic, publisher)
        run = self._runs.pop(key, None)
        if run is None or run.top != top or number <= run.last:
            run = _Run(top, number, number, 0, now, sent_ns)
        run.last = number
        run.parts += 1
        passed_s = min(now - run.since, (sent_ns - run.sent_ns) / 1e9)
        if run.parts >= TRUE_AFTER_PARTS and passed_s >= TRUE_AFTER_S:
            return run.first
        self._runs[key] = run
        if len(self._runs) > MAX_RUNS:
            del self._runs[next(iter(self._runs))]
        return None

    def __len__(self) -> int:
        return len(self._runs)

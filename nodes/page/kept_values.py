"""What a page's own program retains of local topics and of its session's, for its subscribers that come later.

The same rules as for `Node.publish(…, retain=True)`, and the same table: the last value counts, nil clears, and a time
may end it. It lives as long as the page does.
"""

from __future__ import annotations

from typing import Any

from fabric.errors import HighWaterMarkReached
from fabric.node.held_values import HeldValues
from fabric.topics import matches
from fabric.wire import decode, encode

MAX_TOPICS = 1_000
MAX_BYTES = 1024 * 1024
"""Of one page: a host may have 10,000."""


class KeptValues:
    """The values of one page."""

    def __init__(self) -> None:
        self._values: HeldValues[str, Any] = HeldValues(MAX_TOPICS, MAX_BYTES)
        """By topic, each a copy as it was when it was published."""
        self._last = 0
        """Number of the last value that was kept: in one page later is newer, whatever the clocks say."""

    def keep(self, topic: str, payload: Any, expires_s: int, now: float) -> None:
        """Keep a value for so long, 0: for good; None clears.

        errors: LocalWireError; HighWaterMarkReached when the page keeps too much; then nothing has changed
        """
        part = encode("t", 0, 1, 0, payload)
        copy = decode(part).payload
        self._last += 1
        if payload is None:
            self._values.forget(topic)  # nothing older can come
        elif not self._values.put(topic, (self._last, 0), copy, len(part), now, expires_s=expires_s):
            raise HighWaterMarkReached(
                f"this page retains {len(self._values)} topics: at most {MAX_TOPICS}, and {MAX_BYTES} bytes, are kept"
            )

    def matching(self, topic_filter: str, now: float) -> list[tuple[str, Any]]:
        """Return topics and values that a filter matches, the oldest first."""
        found = [(topic, held) for topic, held in self._values.values(now) if matches(topic_filter, topic)]
        return [(topic, held.value) for topic, held in sorted(found, key=lambda each: each[1].stamp)]

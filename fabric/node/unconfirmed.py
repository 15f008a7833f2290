"""What a node has handed to its proxy and does not know to have arrived. Pure, but for being fast.

Each part that is sent is kept until a *watermark*, sent behind it, has come back through the proxy's ingress, and then
for `keep_s` more: the watermark came back by the way to this node, and a link to another proxy may be a little behind.
When the connection breaks, what is kept is sent again, in order, before anything new; receivers drop by number what
they have already.
"""

from __future__ import annotations

import math
from collections import deque

KEEP_S = 0.5
MAX_BYTES = 64 * 1024 * 1024
FRESH_PARTS = 256
_OVERHEAD = 60
"""Bytes of a small bytes object beside its contents, and of its place in the queue."""


class Unconfirmed:
    """Parts in the order they were sent. Not locked: use it under the lock that orders the sends.

    max_bytes: bound of what is kept; beyond it the oldest is given up, and is `uncertain` if the connection breaks
    """

    def __init__(self, *, max_bytes: int = MAX_BYTES, keep_s: float = KEEP_S) -> None:
        self._max_bytes, self._hold_s = max_bytes, keep_s
        self._parts: deque[bytes] = deque()
        """What is kept, oldest first: the parts `_counted - len(_parts) + 1` to `_counted`."""
        self._bytes = 0
        """Of `_parts`, with what each costs beside its contents; at most `_max_bytes` when a method returns."""
        self.fresh: list[bytes] = []
        """Small parts that have just been sent and are not counted yet: `Uplink` puts them here where speed counts, and
        calls `count_fresh` when there are `FRESH_PARTS`."""
        self._counted = 0
        """Parts that went through `count_fresh` since the start."""
        self.given_up = 0
        """Number of the last part that the bound pushed out; those up to it can not be sent again."""
        self._confirmed = 0
        """Parts whose watermark came back, or that were given up and reported; at most `sent`, and only ever more."""
        self._returned: deque[tuple[float, int]] = deque()
        """(when to let go, up to which part), in order of both."""

    @property
    def sent(self) -> int:
        """Parts added since the start."""
        return self._counted + len(self.fresh)

    def add(self, part: bytes) -> None:
        """Keep a part that has just been sent."""
        self.fresh.append(part)
        self.count_fresh()

    def count_fresh(self) -> None:
        """Hold what was added to the bound."""
        if not self.fresh:
            return
        self._parts += self.fresh
        self._counted += len(self.fresh)
        self._bytes += sum(map(len, self.fresh)) + _OVERHEAD * len(self.fresh)
        self.fresh.clear()
        while self._bytes > self._max_bytes:
            self._drop_first()
            self.given_up = max(self.given_up, self._counted - len(self._parts))

    def has_room_for(self, part: bytes) -> bool:
        """Whether this part can be kept without giving up another. Nothing is fresh."""
        return self._bytes + len(part) + _OVERHEAD <= self._max_bytes

    def watermark_returned(self, count: int, now: float) -> None:
        """The watermark that was sent behind `count` parts came back."""
        if self._confirmed < count <= self.sent:
            self._confirmed = count
            self._returned.append((now + self._hold_s, count))

    def tick(self, now: float) -> None:
        """Let go of what has been confirmed for long enough."""
        self.count_fresh()
        while self._returned and self._returned[0][0] <= now:
            count = self._returned.popleft()[1]
            while self._parts and self._counted - len(self._parts) < count:
                self._drop_first()

    @property
    def due_at(self) -> float:
        """When `tick` has something to let go of, as far as is known; inf: never."""
        return self._returned[0][0] if self._returned else math.inf

    @property
    def count(self) -> int:
        """Parts whose watermark has not come back."""
        return self.sent - self._confirmed

    def take_uncertain(self) -> int:
        """The connection broke: return how many unconfirmed parts can not be sent again, and forget them.

        Without the lock: what is fresh is not touched, and counts when this is called again behind `kept`.
        """
        uncertain = max(0, self.given_up - self._confirmed)
        self._confirmed = max(self._confirmed, self.given_up)
        return uncertain

    def kept(self) -> list[bytes]:
        """Return what is kept, oldest first. cost: O(its number)"""
        self.count_fresh()
        return list(self._parts)

    def _drop_first(self) -> None:
        self._bytes -= len(self._parts.popleft()) + _OVERHEAD

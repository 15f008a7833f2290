"""What a node has handed to its proxy and does not know to have arrived. Pure, but for being fast.

Each part that is sent is kept until a *watermark*, sent behind it, has come back through the proxy's ingress, and then
for `keep_s` more: the watermark came back by the way to this node, and a link to another proxy may be a little behind.
When the connection breaks, what is kept is sent again, in order, before anything new; receivers drop by number what
they have already.

A Ctrl-C may raise wherever CPython looks for signals: at the start of a function, behind a call, and where a loop goes
back. So what belongs together is changed without any of these between, and there is no interrupt that leaves a half.
"""

from __future__ import annotations

import math
from collections import deque

from fabric.node.ring import Ring

KEEP_S = 0.5
MAX_BYTES = 64 * 1024 * 1024
FRESH_PARTS = 256
"""So many may be sent before they are counted, which costs less for many at once."""
FRESH_BYTES = 1024
"""A longer part is counted at once."""
_OVERHEAD = 60
"""Bytes of a small bytes object beside its contents, and of its place in the queue."""


class Unconfirmed:
    """Parts in the order they were sent. Not locked: use it under the lock that orders the sends.

    max_bytes: bound of what is kept. Beyond it what is confirmed goes first, before its time; then see `is_full`
    forgets:   beyond it the oldest is given up, confirmed or not, and is `uncertain` if the connection breaks
    ring:      gets all that is counted; it is kept there for those who lost it
    """

    def __init__(
        self, *, max_bytes: int = MAX_BYTES, keep_s: float = KEEP_S, forgets: bool = True, ring: Ring | None = None
    ) -> None:
        self._max_bytes, self._hold_s, self._forgets, self._ring = max_bytes, keep_s, forgets, ring
        self._batches: deque[tuple[list[bytes], int]] = deque()
        """What is kept, oldest first: the parts `_counted - _held + 1` to `_counted`, in the lists in which they were
        counted, each with its bytes, see `_cost`. To handle each part by itself would cost a fifth of publishing it. No
        list is empty, and none changes."""
        self._held = 0
        """Parts in all batches."""
        self._bytes = 0
        """Bytes of all batches; at most `_max_bytes` when a method returns, or all that is held is unconfirmed."""
        self.fresh: list[bytes] = []
        """Small parts that have just been sent and are not counted yet: `Uplink` puts them here where speed counts, and
        calls `count_fresh` when there are `FRESH_PARTS`."""
        self._counted = 0
        """Parts that went through `count_fresh` since the start."""
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
        batch = self.fresh.copy()
        count, size = len(batch), _cost(batch)
        counted = ((batch, size),)
        if self._ring is not None:
            self._ring.add(batch, size)
        # No call from here on: with the last step of `add`, all of this happens, or none of it.
        self._batches += counted
        self._counted += count
        self._held += count
        self._bytes += size
        del self.fresh[:]
        self._keep_to_bound()

    def _keep_to_bound(self) -> None:
        while self._bytes > self._max_bytes:
            count = self._count_beyond(self._bytes - self._max_bytes)
            if not self._forgets:
                count = min(count, self._confirmed - (self._counted - self._held))
                if count <= 0:
                    return
            self._let_go(count)

    @property
    def is_full(self) -> bool:
        """Whether nothing is to be added before something is confirmed; never where the oldest is given up."""
        return not self._forgets and self._bytes >= self._max_bytes and self._counted - self._held >= self._confirmed

    def has_room_for(self, part: bytes) -> bool:
        """Whether this part can be kept without giving up another. Nothing is fresh."""
        return self._bytes + len(part) + _OVERHEAD <= self._max_bytes

    def watermark_returned(self, count: int, now: float) -> None:
        """The watermark that was sent behind `count` parts came back."""
        if self._confirmed < count <= self.sent:
            self._confirmed = count
            self._returned.append((now + self._hold_s, count))
            self._keep_to_bound()

    def tick(self, now: float) -> None:
        """Let go of what has been confirmed for long enough."""
        self.count_fresh()
        if self._ring is not None:
            self._ring.tick(now)
        while self._returned and self._returned[0][0] <= now:
            count = self._returned.popleft()[1]
            self._let_go(min(count - (self._counted - self._held), self._held))

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
        gone = self._counted - self._held  # the number of the last one that is not kept
        uncertain = max(0, gone - self._confirmed)
        self._confirmed = max(self._confirmed, gone)
        return uncertain

    def kept(self) -> list[bytes]:
        """Return what is kept, oldest first. cost: O(its number)"""
        self.count_fresh()
        return [part for batch, _ in self._batches for part in batch]

    def _count_beyond(self, size: int) -> int:
        """Return how many of the oldest batch's parts have to go for `size` bytes: all, if that is not enough."""
        batch, all_bytes = self._batches[0]
        if size >= all_bytes:
            return len(batch)
        count = 0
        while size > 0:
            size -= len(batch[count]) + _OVERHEAD
            count += 1
        return count

    def _let_go(self, count: int) -> None:
        """Of the oldest parts, so many; none if it is less than one."""
        while count > 0:
            batch, size = self._batches[0]
            gone = min(count, len(batch))
            rest = batch[gone:]
            if rest:
                size = _cost(batch[:gone])
                rest_bytes = self._batches[0][1] - size
                self._batches[0] = rest, rest_bytes  # no call until the end of this round
            else:
                del self._batches[0]
            self._held -= gone
            self._bytes -= size
            count -= gone


def _cost(parts: list[bytes]) -> int:
    """Bytes of these parts, with what each costs beside its contents."""
    return sum(map(len, parts)) + _OVERHEAD * len(parts)

"""What commands write to stdout: lines and tables, and `Outlet`, on which a slow reader costs items and never time."""

from __future__ import annotations

import contextlib
import queue
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Generic, TypeVar

from nodes.cli.exits import plain
from nodes.observe.tables import table

T = TypeVar("T")


class Outlet(Generic[T]):
    """Items on their way from the threads that have them to the one thread that writes them.

    max_waiting: items that wait for a slow reader at most; beyond, an item is counted in `dropped` instead
    """

    def __init__(self, max_waiting: int) -> None:
        self.dropped = 0
        """Items that found no room. `put` adds to it; two threads at once may lose a count."""
        self.ended = False
        """Set by `end`, for good."""
        self._max_waiting = max_waiting
        self._waiting: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        """Oldest first; None only wakes the writer. `SimpleQueue.put` is the one that a signal handler may call."""

    @property
    def waiting(self) -> int:
        """Items that wait now, about."""
        return self._waiting.qsize()

    def put(self, item: T, *, always: bool = False) -> None:
        """Add an item, from any thread, without waiting. always: it waits even where no room is left."""
        if not always and not self.has_room:
            self.dropped += 1
        else:
            self._waiting.put(item)

    @property
    def has_room(self) -> bool:
        """Whether one more item may wait; it stays true for the only thread that puts any."""
        return self._waiting.qsize() < self._max_waiting

    @property
    def waits(self) -> bool:
        """Whether anything waits, be it only a wake-up."""
        return not self._waiting.empty()

    def end(self) -> None:
        """Have the writer come to an end, from any thread or signal handler: set `ended`, and wake it."""
        self.ended = True
        self._waiting.put(None)

    def wake(self) -> None:
        """Wake the writer, from any thread: there is something else to look at."""
        self._waiting.put(None)

    def items(self, timeout_s: float | None = 0.0) -> Iterator[T]:
        """Yield the items that wait now. When the caller breaks off, the rest waits for the next call.

        timeout_s: how long to wait for the first one; None: until there is one, or `end`
        """
        with contextlib.suppress(queue.Empty):
            for taken in range(max(1, self._waiting.qsize())):
                item = self._waiting.get(block=taken == 0, timeout=timeout_s)
                if item is not None:
                    yield item


def write_lines(lines: Iterable[str]) -> None:
    """Write lines to stdout at once, in UTF-8 whatever the locale says: that is what topics are."""
    text = "".join(f"{line}\n" for line in lines)
    if text:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()


def table_text(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Iterable[str] = ()) -> str:
    """Return rows under their columns, ready to print: what came from a peer cannot drive the terminal.

    right: the columns that are aligned to the right
    """
    return table(columns, [[plain(str(each)) for each in row] for row in rows], right)

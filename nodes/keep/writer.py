"""From the node's callback to the store: a bounded queue, and one thread that writes in batches.

The callback never waits. What finds no room is not kept, and written down as a hole: told, like any loss. While the
store does not answer, what is queued waits, and is tried again. Reading order: `put`; `_write`; `flush`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from fabric.errors import Busy, RequestTimeout
from fabric.node.gaps import Gap
from fabric.protocol.histories import Hole, Kept, headers_of, pack
from fabric.wire import Message
from nodes.keep.retained import RetainedValue
from nodes.keep.retention import Sweeper
from nodes.keep.store import KeepStore, size_of

log = logging.getLogger("nodes.keep")

MAX_WAITING_MSGS = 200_000
MAX_WAITING_BYTES = 64 * 1024 * 1024
BATCH_MSGS = 5_000
BATCH_BYTES = 8 * 1024 * 1024
MAX_HOLES = 100_000
"""Holes that wait to be written; beyond, they are counted only."""
AGAIN_S = 0.5
"""Pause before a store that does not answer is tried again."""
SWEEP_S = 1.0
"""How often it is looked whether something is to be deleted."""
FULL, TOO_LARGE, LOST = "too slow", "too large", "lost"
"""Why a message is not kept: the store did not take them fast enough; no page has room for it; it never came, and
repair was off."""


class Writer:
    """Writes what it is given, in its order, until it is closed.

    max_bytes: of one message, topic, payload and headers; larger ones are not kept
    clock_ns:  the wall clock, in ns since 1970
    """

    def __init__(
        self,
        store: KeepStore,
        sweeper: Sweeper,
        *,
        max_bytes: int,
        max_waiting_msgs: int = MAX_WAITING_MSGS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._store, self._sweeper, self._max_bytes, self._clock_ns = store, sweeper, max_bytes, clock_ns
        self._max_waiting_msgs, self._max_waiting_bytes = max_waiting_msgs, max_waiting_bytes
        self._lock = threading.Lock()
        """Guards all that follows. Not held while the store works."""
        self._changed = threading.Condition(self._lock)
        """Told when something is queued, when something was written, and at the end."""
        self._queue: deque[Kept | Hole | RetainedValue] = deque()
        """What is to be written, in its order, without the batch that is being written."""
        self._bytes = 0
        """Of messages and values in `_queue` and in that batch; at most `_max_waiting_bytes`, but for one of them."""
        self._waiting_holes = 0
        """Holes in `_queue`; at most `MAX_HOLES`."""
        self._accepted = self._written = 0
        """How many items, messages, holes and retained values, were ever queued, and how many of these were written."""
        self._end_at: float | None = None
        """Set once, by `close`: the thread writes what is queued, and ends then at the latest, monotonic."""
        self._away_since: float | None = None
        """Since when the store does not answer, monotonic; None while it does."""
        self.new = self.doubles = self.dropped = self.holes = self.batches = 0
        """Since the start: messages written, and those that were there already; messages that found no room or were
        too large; holes noted; transactions."""
        self.values = self.values_dropped = 0
        """Since the start: retained values written, and those that found no room."""
        self._thread = threading.Thread(target=self._run, name="fabric-keep-writer", daemon=True)
        self._thread.start()

    # ── the node's I/O thread ────────────────────────────────────────────────────────────────────────────────────

    def put(self, message: Message) -> None:
        """Take a message. Never waits. After `close` it is not taken, and not told as lost."""
        kept = Kept(
            message.topic,
            message.publisher,
            message.number,
            message.sent_ns,
            pack(message.payload),
            headers_of(message.headers),
        )
        size = size_of(kept)
        with self._lock:
            if self._end_at is not None:
                return  # it is asked for by who comes next
            if size > self._max_bytes:
                self._refuse(message, TOO_LARGE)
            elif self._is_full(size):
                self._refuse(message, FULL)
            else:
                self._bytes += size
                self._add(kept)

    def retain(self, value: RetainedValue) -> None:
        """Take a retained value. Never waits. One that finds no room is counted."""
        size = size_of(value)
        with self._lock:
            if self._end_at is not None:
                return
            if self._is_full(size):
                self.values_dropped += 1
            else:
                self._bytes += size
                self._add(value)

    def _is_full(self, more_bytes: int) -> bool:
        is_crowded = len(self._queue) - self._waiting_holes >= self._max_waiting_msgs
        return is_crowded or bool(self._bytes and self._bytes + more_bytes > self._max_waiting_bytes)

    def lose(self, gap: Gap) -> None:
        """Take it that messages are lost for good."""
        with self._lock:
            self._note(Hole(gap.topic, gap.publisher, gap.first, gap.last, gap.reason or LOST))

    def _refuse(self, message: Message, why: str) -> None:
        self.dropped += 1
        self._note(Hole(message.topic, message.publisher, message.number, message.number, why))

    def _note(self, hole: Hole) -> None:
        """Note what is missing; what follows the last one is one with it."""
        self.holes += 1
        before = self._queue[-1] if self._queue else None
        if isinstance(before, Hole) and hole == Hole(*before[:2], before.last + 1, hole.last, before.reason):
            self._queue[-1] = before._replace(last=hole.last)
            return
        if self._waiting_holes < MAX_HOLES:
            self._waiting_holes += 1
            self._add(hole)

    def _add(self, item: Kept | Hole | RetainedValue) -> None:
        self._queue.append(item)
        self._accepted += 1
        if len(self._queue) == 1:
            self._changed.notify_all()

    # ── the others ───────────────────────────────────────────────────────────────────────────────────────────────

    def flush(self, timeout_s: float) -> None:
        """Wait until all that was put before is written. errors: Busy, RequestTimeout"""
        with self._changed:
            wanted = self._accepted
            if not self._changed.wait_for(lambda: self._written >= wanted or self._away_since is not None, timeout_s):
                raise RequestTimeout(f"the keeper has not written what it got before within {timeout_s:g} s")
            if self._written < wanted:
                raise Busy("the store does not answer; try again later", retry_after_s=AGAIN_S)

    def problem(self) -> str:
        """Say since when the store is away; nothing while it answers."""
        since = self._away_since
        return "" if since is None else f"the store has been away for {time.monotonic() - since:.0f} s"

    def figures(self) -> dict[str, int]:
        with self._lock:
            return {
                "written": self.new,
                "doubles": self.doubles,
                "dropped": self.dropped,
                "holes": self.holes,
                "batches": self.batches,
                "waiting": len(self._queue),
                "waiting_bytes": self._bytes,
                "values": self.values,
                "values_dropped": self.values_dropped,
                "deleted": self._sweeper.deleted,
                "store_up": int(self._away_since is None),
            }

    def close(self, timeout_s: float) -> int:
        """Write what is queued, and end. Returns how much was not written in that time."""
        with self._changed:
            self._end_at = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + AGAIN_S)
        with self._lock:
            return self._accepted - self._written

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        sweep_at = 0.0
        while True:
            if time.monotonic() >= sweep_at:
                self._tried(self._sweep)
                sweep_at = time.monotonic() + SWEEP_S
            with self._changed:
                self._changed.wait_for(
                    lambda: self._queue or self._end_at is not None, max(0.0, sweep_at - time.monotonic())
                )
                if not self._queue and self._end_at is not None:
                    return
                batch, missing, values = self._take()
            if (batch or missing or values) and not self._write(batch, missing, values):
                return

    def _take(self) -> tuple[list[Kept], list[Hole], list[RetainedValue]]:
        """Take what is written next out of the queue."""
        batch: list[Kept] = []
        missing: list[Hole] = []
        values: list[RetainedValue] = []
        size = 0
        while self._queue and len(batch) + len(missing) + len(values) < BATCH_MSGS and size < BATCH_BYTES:
            item = self._queue.popleft()
            if isinstance(item, Hole):
                self._waiting_holes -= 1
                missing.append(item)
                continue
            size += size_of(item)
            if isinstance(item, RetainedValue):
                values.append(item)
            else:
                batch.append(item)
        return batch, missing, values

    def _write(self, batch: list[Kept], missing: list[Hole], values: list[RetainedValue]) -> bool:
        """Write this, however often the store has to be asked; False when the end came before."""
        new: list[int] = []
        while not self._tried(lambda: new.append(self._store.write(batch, missing, self._clock_ns(), values))):
            if self._end_at is not None and time.monotonic() > self._end_at:
                return False
        with self._changed:
            self._bytes -= sum(map(size_of, batch)) + sum(map(size_of, values))
            self._written += len(batch) + len(missing) + len(values)
            self.values += len(values)
            self.new += new[0]
            self.doubles += len(batch) - new[0]
            self.batches += 1
            self._changed.notify_all()
        return True

    def _sweep(self) -> None:
        while self._sweeper.sweep(self._clock_ns()):
            if len(self._queue) > BATCH_MSGS or self._end_at is not None:  # writing comes first
                return

    def _tried(self, work: Callable[[], object]) -> bool:
        """Do it; return whether the store answered. Waits a moment when it did not."""
        try:
            work()
        except Busy as error:
            with self._changed:
                if self._away_since is None:
                    self._away_since = time.monotonic()
                    log.warning("the store is away, and what comes waits: %s", error)
                self._changed.notify_all()
            time.sleep(AGAIN_S)
            return False
        if self._away_since is not None:
            log.warning("the store answers again, after %.1f s", time.monotonic() - self._away_since)
            self._away_since = None
        return True

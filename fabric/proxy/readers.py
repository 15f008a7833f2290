"""Who reads too slowly, and is cut off for it. Pure; `fabric.proxy.descriptors` looks, and cuts.

libzmq bounds a queue by its number of messages. Here it is bounded by bytes, for all readers together: a part that
waits for several is there once. While too much is queued, who has taken nothing for longest goes first; and when
all of them take something, who takes least. A reader that keeps up has no queue, and is never one of them. One that
has taken nothing for `stalled_s` goes in any case. Who is cut may come again; what waited for it is lost to it alone,
and its numbers tell it so.

precedents: Redis cuts a client at 32 MB of output, NATS one whose 64 MB are full, or that takes nothing for 10 s
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

QUEUE_BYTES = 256 * 1024 * 1024
STALLED_S = 30.0
WATCH_S = 1.0
"""How often readers are looked at while something is queued; under pressure `PRESSED_S`; 20 times what a look took, at
least."""
PRESSED_S = 0.05
PRESSED_SHARE = 4
"""Pressure begins at this share of the bytes that may be queued: then it is known who stalls when they are."""
STILL_S = 0.2
"""Who has taken nothing for so long, with a full connection, does not just breathe."""
SLOW_S = 1.0
"""When all take something, so long is looked who takes least."""
PAUSE_S = 0.1
"""After one was cut: libzmq needs a moment to let go of what waited for it."""


class Seen(NamedTuple):
    """A connection to a reader, as it is now.

    number, inode: its descriptor, and what tells it from the one that has this descriptor next
    is_full:       the system takes nothing more for it at present: the rest waits here
    taken:         bytes that its reader has taken so far, or any figure that changes when it takes some
    """

    number: int
    inode: int
    door: str
    peer: str
    is_full: bool
    taken: int


class Cut(NamedTuple):
    """A connection that has to go, and why."""

    seen: Seen
    why: str


@dataclass
class _Reader:
    """One whose connection is full, since it last was not."""

    taken: int
    """As last seen."""
    still_since: float
    """When `taken` last changed, or it became full; monotonic."""
    full_since: float
    taken_first: int
    """When it became full."""
    door: str = field(default="")


class Readers:
    """Those of one proxy.

    queue_bytes: more than that may not be queued, for all together
    stalled_s:   by door, how long one may take nothing while something waits for it; 0: as long as it likes
    """

    def __init__(self, queue_bytes: int, stalled_s: dict[str, float]) -> None:
        self._queue_bytes, self._stalled_s = queue_bytes, stalled_s
        self._full: dict[tuple[int, int], _Reader] = {}
        """By descriptor and inode, those whose connection was full when they were last looked at."""
        self._looked_at = self._may_cut_at = 0.0
        """When they were last looked at; and from when on one may be cut for what is queued. Monotonic."""
        self._took_s = 0.0
        """How long that took."""
        self.cut = 0
        """Readers that were cut, since the start."""

    def wants_look(self, queued: int, now: float) -> bool:
        """Whether it is time to look at the connections."""
        if queued <= 0:
            self._full.clear()
            return False
        pause_s = PRESSED_S if queued > self._queue_bytes // PRESSED_SHARE else WATCH_S
        return now >= self._looked_at + max(pause_s, 20 * self._took_s)

    def looked(self, seen: Iterable[Seen], queued: int, now: float, took_s: float) -> Sequence[Cut]:
        """All connections as they are now; return those that are to be cut."""
        self._looked_at, self._took_s = now, took_s
        full = {(each.number, each.inode): each for each in seen if each.is_full}
        self._full = {key: self._noted(key, each, now) for key, each in full.items()}
        cuts = [Cut(full[key], why) for key in full if (why := self._why_stalled(self._full[key], now))]
        if not cuts and queued > self._queue_bytes and now >= self._may_cut_at:
            cuts = self._for_room(full, queued, now)
        for each in cuts:
            del self._full[each.seen.number, each.seen.inode]
        if cuts:
            self.cut += len(cuts)
            self._may_cut_at = now + PAUSE_S
        return cuts

    def _noted(self, key: tuple[int, int], seen: Seen, now: float) -> _Reader:
        reader = self._full.get(key)
        if reader is None:
            return _Reader(seen.taken, now, now, seen.taken, seen.door)
        if reader.taken != seen.taken:
            reader.taken, reader.still_since = seen.taken, now
        return reader

    def _why_stalled(self, reader: _Reader, now: float) -> str | None:
        limit_s = self._stalled_s.get(reader.door, 0.0)
        still_s = now - reader.still_since
        return f"it took nothing for {still_s:.1f} s" if 0 < limit_s <= still_s else None

    def _for_room(self, full: dict[tuple[int, int], Seen], queued: int, now: float) -> list[Cut]:
        """Who is to go because too much is queued: one, or nobody yet."""
        if not full:
            return []
        what = f"{queued:,} bytes were queued"
        key = min(full, key=lambda each: self._full[each].still_since)
        still_s = now - self._full[key].still_since
        if still_s >= STILL_S:
            return [Cut(full[key], f"{what}, and it took nothing for {still_s:.1f} s")]
        old = [each for each in full if now - self._full[each].full_since >= SLOW_S]
        if not old:
            return []
        key = min(old, key=lambda each: self._rate(self._full[each], now))
        return [Cut(full[key], f"{what}, and it took least: {self._rate(self._full[key], now):,.0f} bytes/s")]

    def _rate(self, reader: _Reader, now: float) -> float:
        return (reader.taken - reader.taken_first) / (now - reader.full_since)

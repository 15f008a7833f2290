"""What waits for one browser, in order and bounded, and what may have to be said again. Pure.

Three kinds of frames: *said* (numbered, of the session), *fabric* (numbered, for subscriptions of one document) and
*passing* (answers on one socket, worth nothing on the next). Numbered frames that were handed out are kept a while:
a browser that comes back says which number it has seen, and gets what came after it.

A frame is the text of a JSON object; a numbered one is handed in without its opening brace and gets its `seq` here.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

KEEP_FRAMES = 64
KEEP_BYTES = 128 * 1024
"""Of each session. A message that went to many is kept once: they share its text."""
BURST = 4
"""So many times as much as may wait may come at once for a browser that takes it."""

Kind = Literal["said", "fabric", "passing"]


class _Frame(NamedTuple):
    kind: Kind
    seq: int
    text: str

    @property
    def whole(self) -> str:
        """What goes out."""
        return self.text if self.kind == "passing" else f'{{"seq":{self.seq},{self.text}'


class Outbox:
    """The frames of one session.

    max_frames, max_bytes: what may wait; beyond it `push` says False, and a session without a browser loses the oldest
    """

    def __init__(self, max_frames: int, max_bytes: int) -> None:
        self._max_frames, self._max_bytes = max_frames, max_bytes
        self._waiting: deque[_Frame] = deque()
        self._kept: deque[_Frame] = deque()
        self._bytes = self._kept_bytes = 0
        self._gone = 0
        self.seq = 0
        """The last number that was used."""

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, kind: Kind, text: str) -> bool:
        """Add a frame; False when what waits is more than may wait."""
        if kind != "passing":
            self.seq += 1
        self._waiting.append(_Frame(kind, self.seq, text))
        self._bytes += len(text)
        return self.fits

    def push_first(self, text: str) -> None:
        """Add a passing frame before all others."""
        self._waiting.appendleft(_Frame("passing", 0, text))
        self._bytes += len(text)

    def is_too_much(self, stuck: bool) -> bool:
        """Whether its browser is to be cut off. `stuck`: it takes nothing at present; else this may be a burst."""
        return not self.fits and (
            stuck or len(self._waiting) > BURST * self._max_frames or self._bytes > BURST * self._max_bytes
        )

    @property
    def fits(self) -> bool:
        """Whether what waits is not more than may wait."""
        return len(self._waiting) <= self._max_frames and self._bytes <= self._max_bytes

    def take(self, most: int = 100) -> list[str]:
        """Hand out what comes next, at most so many frames."""
        taken: list[str] = []
        while self._waiting and len(taken) < most:
            frame = self._waiting.popleft()
            self._bytes -= len(frame.text)
            taken.append(frame.whole)
            if frame.kind != "passing":
                self._keep(frame)
        return taken

    def trim(self) -> None:
        """Nobody is there to take what waits: the oldest goes until the rest fits."""
        while not self.fits:
            frame = self._waiting.popleft()
            self._bytes -= len(frame.text)
            self._lose(frame)

    def resume(self, seen: int | None, *, same_document: bool) -> bool:
        """A browser is back on a new socket; what it has not seen waits again. Return whether that is all of it.

        seen:           the last number it has handled; None: it does not know, and nothing is said twice
        same_document:  else what was for the predecessor's subscriptions is dropped
        """
        again = [frame for frame in self._kept if seen is not None and frame.seq > seen]
        complete = seen is None or (self._gone <= seen <= self.seq)
        waiting = [frame for frame in (*again, *self._waiting) if frame.kind != "passing"]
        if not same_document:
            waiting = [frame for frame in waiting if frame.kind == "said"]
        if seen is not None:
            self._kept.clear()
            self._kept_bytes = 0
            self._gone = max(self._gone, min(seen, self.seq))
        self._waiting = deque(waiting)
        self._bytes = sum(len(frame.text) for frame in waiting)
        return complete

    def _keep(self, frame: _Frame) -> None:
        self._kept.append(frame)
        self._kept_bytes += len(frame.text)
        while len(self._kept) > KEEP_FRAMES or self._kept_bytes > KEEP_BYTES:
            old = self._kept.popleft()
            self._kept_bytes -= len(old.text)
            self._lose(old)

    def _lose(self, frame: _Frame) -> None:
        if frame.kind != "passing":
            self._gone = frame.seq

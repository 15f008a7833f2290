"""What waits for one browser, in order and bounded, and what may have to be said again. Pure.

Three kinds of messages: *said* (numbered, of the session), *fabric* (numbered, for subscriptions of one document) and
*passing* (answers on one socket, worth nothing on the next). Numbered messages that were handed out are kept a while:
a browser that comes back says which number it has seen, and gets what came after it.

A message is the text of a JSON object; a numbered one is handed in without its opening brace and gets its `seq` here.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, NamedTuple

KEEP_MESSAGES = 64
KEEP_BYTES = 128 * 1024
"""Of each session. A message that went to many is kept once: they share its text."""
BURST = 4
"""So many times as much as may wait may come at once for a browser that takes it."""

Kind = Literal["said", "fabric", "passing"]


class _Entry(NamedTuple):
    kind: Kind
    seq: int
    text: str

    @property
    def whole(self) -> str:
        """What goes out."""
        return self.text if self.kind == "passing" else f'{{"seq":{self.seq},{self.text}'


class Outbox:
    """The messages of one session.

    max_messages, max_bytes: what may wait; beyond it `push` says False, and `trim` drops the oldest
    """

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages, self._max_bytes = max_messages, max_bytes
        self._waiting: deque[_Entry] = deque()
        """Not handed out yet, or to be said again. Its numbered ones are in the order of their numbers."""
        self._kept: deque[_Entry] = deque()
        """Numbered ones that were handed out last, in order; at most `KEEP_MESSAGES` and `KEEP_BYTES`."""
        self._bytes = self._kept_bytes = 0
        """Characters of the texts in `_waiting` and in `_kept`: bytes, as long as they are ASCII."""
        self._gone = 0
        """The highest number that cannot be said again, or need not, since it was seen."""
        self.seq = 0
        """The last number that was used: the numbers are 1, 2, … without a hole."""

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, kind: Kind, text: str) -> bool:
        """Add a message; False when what waits is more than may wait."""
        if kind != "passing":
            self.seq += 1
        self._waiting.append(_Entry(kind, self.seq, text))
        self._bytes += len(text)
        return self.fits

    def push_first(self, text: str) -> None:
        """Add a passing message before all others."""
        self._waiting.appendleft(_Entry("passing", 0, text))
        self._bytes += len(text)

    def is_too_much(self, stuck: bool) -> bool:
        """Whether its browser is to be cut off. `stuck`: it takes nothing at present; else this may be a burst."""
        return not self.fits and (
            stuck or len(self._waiting) > BURST * self._max_messages or self._bytes > BURST * self._max_bytes
        )

    @property
    def fits(self) -> bool:
        """Whether what waits is not more than may wait."""
        return len(self._waiting) <= self._max_messages and self._bytes <= self._max_bytes

    def take(self, most: int = 100) -> list[str]:
        """Hand out what comes next, at most so many messages."""
        taken: list[str] = []
        while self._waiting and len(taken) < most:
            entry = self._waiting.popleft()
            self._bytes -= len(entry.text)
            taken.append(entry.whole)
            if entry.kind != "passing":
                self._keep(entry)
        return taken

    def trim(self) -> None:
        """Nobody is there to take what waits: the oldest goes until the rest fits."""
        while not self.fits:
            entry = self._waiting.popleft()
            self._bytes -= len(entry.text)
            self._lose(entry)

    def resume(self, seen: int | None, *, same_document: bool) -> bool:
        """A browser is back on a new socket; what it has not seen waits again. Return whether that is all of it.

        seen:           the last number it has handled; None: it does not know, and nothing is said twice
        same_document:  else what was for the predecessor's subscriptions is dropped
        """
        again = [entry for entry in self._kept if seen is not None and entry.seq > seen]
        complete = seen is None or (self._gone <= seen <= self.seq)
        waiting = [entry for entry in (*again, *self._waiting) if entry.kind != "passing"]
        if not same_document:
            waiting = [entry for entry in waiting if entry.kind == "said"]
        if seen is not None:
            self._kept.clear()
            self._kept_bytes = 0
            self._gone = max(self._gone, min(seen, self.seq))
        self._waiting = deque(waiting)
        self._bytes = sum(len(entry.text) for entry in waiting)
        return complete

    def _keep(self, entry: _Entry) -> None:
        self._kept.append(entry)
        self._kept_bytes += len(entry.text)
        while len(self._kept) > KEEP_MESSAGES or self._kept_bytes > KEEP_BYTES:
            old = self._kept.popleft()
            self._kept_bytes -= len(old.text)
            self._lose(old)

    def _lose(self, entry: _Entry) -> None:
        if entry.kind != "passing":
            self._gone = entry.seq

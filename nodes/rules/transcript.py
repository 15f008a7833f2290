"""The lines of one chat, in memory: numbered by the page, in the order in which it heard them, and bounded. Pure.

The page's side holds the transcript for as long as its session lives. An agent holds what it has heard itself, and
takes the page's when it comes later or comes back: the number says where a line belongs, the id whether it is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nodes.rules.topics import BY_PAGE

MAX_LINES = 200
MAX_BYTES = 64 * 1024
"""Of the texts and names of one chat, in UTF-8. What is more goes, the oldest first."""
MAX_LINE_BYTES = 20_000
"""Of one line. A longer one is told while it is said, and not kept."""
MAX_NAME_CHARS = 255
MAX_ID_CHARS = 64


class ChatLine(NamedTuple):
    """One line.

    n:       from 1 in each session, by the page; 0: the page has not said yet
    by:      who said it: `page`, or an agent's id
    sender:  the name that it was said under; a page may claim any
    text:    as it was said
    ident:   drawn by its speaker; by it a line that comes twice is known
    at:      when the page heard it, in seconds since 1970
    """

    n: int
    by: str
    sender: str
    text: str
    ident: str
    at: float

    @property
    def size_bytes(self) -> int:
        return len(self.text.encode("utf-8", "replace")) + len(self.sender.encode("utf-8", "replace"))

    def as_map(self) -> dict[str, Any]:
        """Return it as it travels."""
        return {"n": self.n, "by": self.by, "from": self.sender, "text": self.text, "id": self.ident, "at": self.at}


def said(payload: object, n: int, by: str, at: float) -> ChatLine | None:
    """Return the line that a chat message holds; None for one without a text, or with too long a one.

    payload:  `{from, text, id}`; without an id the number stands for it
    """
    if not isinstance(payload, Mapping) or not isinstance(payload.get("text"), str):
        return None
    sender, ident = payload.get("from"), payload.get("id")
    name = sender[:MAX_NAME_CHARS] if isinstance(sender, str) else ""
    known = isinstance(ident, str) and 0 < len(ident) <= MAX_ID_CHARS
    line = ChatLine(n, by, name, payload["text"], str(ident) if known else f"n{n}", at)
    return line if line.size_bytes <= MAX_LINE_BYTES else None


def line_of(value: object, agent: str) -> ChatLine | None:
    """Return the line that came over the wire, of a chat with `agent`; None for what is none."""
    if not isinstance(value, Mapping):
        return None
    n, by, at = value.get("n"), value.get("by"), value.get("at")
    if type(n) is not int or not 0 < n < 2**53 or by not in (BY_PAGE, agent) or type(at) not in (int, float):
        return None
    line = said(value, n, str(by), float(str(at)))
    return line if line is not None and line.ident == value.get("id") else None


class Transcript:
    """The lines of one chat, the first one first: at most MAX_LINES and MAX_BYTES."""

    def __init__(self) -> None:
        self._lines: list[ChatLine] = []
        """No two have the same id. Numbered ones are in the order of their numbers once `merge` has seen them."""
        self._bytes = 0
        """The sum of their sizes."""
        self.dropped = 0
        """Lines that were not kept, or are not kept any more, as far as this end knows; it only grows."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def lines(self) -> tuple[ChatLine, ...]:
        return tuple(self._lines)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    @property
    def last(self) -> int:
        """The highest number; 0 without any."""
        return max((line.n for line in self._lines), default=0)

    def find(self, ident: str) -> ChatLine | None:
        """Return the line of this id. Cost: a walk over the lines."""
        return next((line for line in reversed(self._lines) if line.ident == ident), None)

    def add(self, line: ChatLine) -> bool:
        """Add a line at the end. Return whether it was news: its id was not there."""
        if self.find(line.ident) is not None:
            return False
        self._lines.append(line)
        self._bytes += line.size_bytes
        self._trim()
        return True

    def skip(self) -> None:
        """A line was said that is too long to be kept."""
        self.dropped += 1

    def merge(self, lines: Iterable[ChatLine], dropped: int = 0) -> list[ChatLine]:
        """Take lines of the same chat from elsewhere; return those that were news.

        What has a number is put in order by it; what has none was said last, as far as anybody knows.
        dropped:  lines that are not kept there
        """
        known = {line.ident: line for line in self._lines}
        news = [line for line in lines if line.ident not in known or not known[line.ident].n]
        fresh = [line for line in news if line.ident not in known]
        known |= {line.ident: line for line in news}
        numbered = sorted((line for line in known.values() if line.n), key=lambda line: line.n)
        self._lines = [*numbered, *(line for line in known.values() if not line.n)]
        self._bytes = sum(line.size_bytes for line in self._lines)
        self.dropped = max(self.dropped, dropped)
        self._trim()
        return fresh

    def as_map(self) -> dict[str, Any]:
        """Return it as it travels."""
        return {"lines": [line.as_map() for line in self._lines], "dropped": self.dropped}

    def _trim(self) -> None:
        gone = 0
        while len(self._lines) - gone > MAX_LINES or self._bytes > MAX_BYTES:
            self._bytes -= self._lines[gone].size_bytes
            gone += 1
        del self._lines[:gone]
        self.dropped += gone

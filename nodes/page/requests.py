"""What one page asks of the frame node, beside its contact code: its stops, and what its visitor does. Pure.

A request is asked until it is answered, always under the same key: so the frame node does it once. The visitor's
requests go one after the other; a stop waits for none of them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

from fabric.errors import HighWaterMarkReached
from nodes.page.events import Asked
from nodes.page.interface import Ask

MAX_REQUESTS = 100
"""Requests of one visitor that wait for a frame node."""


@dataclass
class _Request:
    """One request. `due_s`: the moment from which it may be asked; None while an answer is awaited."""

    ask: Ask
    due_s: float | None


class Requests:
    """The requests of page session `session`. `run`: 128 random bits as text, with which each key begins."""

    def __init__(self, session: str, run: str) -> None:
        self._session, self._run = session, run
        """Neither changes."""
        self._serial = 0
        """The number of keys that were drawn; `new_key` raises it, so that no key comes twice."""
        self._visitors: deque[_Request] = deque()
        """At most MAX_REQUESTS, the oldest first; only the first may have been asked. `add` appends, `done` takes."""
        self._stop: _Request | None = None
        """The one stop that is not answered yet; a later one covers it, and takes its place."""

    def new_key(self) -> str:
        self._serial += 1
        return f"{self._run}-{self._serial}"

    def add(self, operation: str, body: dict[str, Any], now: float) -> None:
        """Add what the visitor does. HighWaterMarkReached when too many requests wait."""
        if len(self._visitors) >= MAX_REQUESTS:
            raise HighWaterMarkReached(f"{MAX_REQUESTS} requests wait for a frame node; this one was not accepted")
        self._visitors.append(_Request(Ask(operation, {"session": self._session, **body}, self.new_key()), now))

    def stop(self, epoch: int, now: float) -> None:
        """Ask for a stop of `epoch`, and of all before it."""
        self._stop = _Request(Ask("stop", {"session": self._session, "epoch": epoch}, self.new_key()), now)

    def forget_stop(self) -> None:
        """The session that was to stop is over."""
        self._stop = None

    @property
    def has_stop(self) -> bool:
        """Whether a stop waits for its answer."""
        return self._stop is not None

    def done(self, ask: Ask) -> None:
        """It was answered."""
        if self._visitors and self._visitors[0].ask.key == ask.key:
            self._visitors.popleft()
        if self._stop is not None and self._stop.ask.key == ask.key:
            self._stop = None

    def put_off(self, ask: Ask, due_s: float) -> None:
        """It was not done: ask again at `due_s`."""
        for request in self._first():
            if request.ask.key == ask.key:
                request.due_s = due_s

    def take_due(self, now: float) -> list[Ask]:
        """Return what is to be asked now."""
        due = [request for request in self._first() if request.due_s is not None and now >= request.due_s]
        for request in due:
            request.due_s = None
        return [request.ask for request in due]

    def due_s(self) -> list[float]:
        """Return the moments at which something is to be asked."""
        return [request.due_s for request in self._first() if request.due_s is not None]

    def waiting(self) -> list[Asked]:
        """Return what the visitor did that is not answered, the oldest first."""
        return [(request.ask.operation, request.ask.body) for request in self._visitors]

    def _first(self) -> list[_Request]:
        """What may be asked at present: the stop, and the oldest of the visitor's requests."""
        stop = [] if self._stop is None else [self._stop]
        return [*stop, *([self._visitors[0]] if self._visitors else [])]

"""One browser at a gateway, a page's or a console: what waits for it, and its socket while it has one.

    window = Window(hub, tell_states)                       # no browser yet
    window.take_over(socket, "a newer document is here")    # the one before is closed
    window.welcome(seen, make)                              # what it has not seen waits again, after the welcome
    window.push("said", numbered(message))                  # from any thread, browser or not
    window.leave(socket)                                    # the outbox stays, bounded, for the next one

`PageSession` and `Console` hold a window; neither is one: they outlive every browser, and speak of other things.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from fabric.payloads import dumps
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.hub import Hub
from nodes.gateway.outbox import Kind, Outbox

BEAT = '{"t":"beat"}'
"""For a browser that hears nothing else: one that is silent for twice as long is dead."""


class Line(Protocol):
    """A socket to the browser, in the event loop."""

    @property
    def is_stuck(self) -> bool: ...
    @property
    def quiet_s(self) -> float: ...
    def woken(self) -> None: ...
    def end(self, code: CloseCode, why: str = "", last: str = "") -> None: ...
    async def is_alive(self) -> bool: ...


class Window:
    """Made in the event loop, and used there but for `push` and `pass_on`.

    tell_states:  called in the event loop when states may have changed, to pass on what is new
    """

    def __init__(self, hub: Hub, tell_states: Callable[[], None]) -> None:
        self._hub, self._tell_states = hub, tell_states
        limits = hub.settings.limits
        self.line: Line | None = None
        """The browser's socket. Set by `take_over`, cleared by `leave`, both in the event loop; read in any thread."""
        self.left_at: float | None = time.monotonic()
        """Since when there is no browser, on the monotonic clock; None exactly while `line` is set."""
        self.is_woken = False
        """Whether `woken` will be called. Changed by the hub only, under its lock."""
        self.states_changed = False
        """Whether states may differ from what was told. Set by the owner in any thread, before it pushes; cleared by
        `woken` before they are looked at, so that none is missed."""
        self._lock = threading.Lock()
        """Held for every use of the outbox. The hub's lock is taken after it is released, never within."""
        self._outbox = Outbox(limits.queue_messages, limits.queue_bytes)
        """What waits; in numbered order. Grows by `push` in any thread, shrinks in the event loop."""

    # ── a browser comes and goes ─────────────────────────────────────────────────────────────────────────────────

    def take_over(self, line: Line, why: str) -> None:
        """A browser is there. The one before, if it is still open, is closed and told why."""
        self._hub.opened += 1
        old, self.line, self.left_at = self.line, line, None
        if old is not None:
            old.end(CloseCode.ENDED_ELSEWHERE, why)

    def welcome(
        self, seen: int | None, make: Callable[[int, bool], dict[str, Any]], *, same_document: bool = True
    ) -> None:
        """Have the browser told first what `make` returns, then what it has not seen.

        seen, same_document:  see `Outbox.resume`
        make:                 from the last number that was used, and whether all it has not seen can be said again.
                              It is called under the lock: what it says is true up to that number
        """
        with self._lock:
            complete = self._outbox.resume(seen, same_document=same_document)
            self._outbox.push_first(dumps(make(self._outbox.seq, complete)))
        self._hub.wake(self)

    def leave(self, line: Line) -> bool:
        """A socket is gone. Return whether it was this window's: then it waits for another, and forgets what is more
        than may wait."""
        if self.line is not line:
            return False
        self.line, self.left_at = None, time.monotonic()
        with self._lock:
            self._outbox.trim()
        return True

    def end(self, code: CloseCode, why: str = "", last: str = "") -> None:
        """Close the browser's socket, if there is one, after a last message. Does not wait."""
        if self.line is not None:
            self.line.end(code, why, last)

    # ── what it is told, from any thread ─────────────────────────────────────────────────────────────────────────

    def push(self, kind: Kind, text: str) -> None:
        """Add a message, whether a browser is there or not. Without one the oldest goes when too much waits."""
        with self._lock:
            fits = self._outbox.push(kind, text)
            if not fits and self.line is None:
                self._outbox.trim()
        self._hub.wake(self)

    def pass_on(self, message: dict[str, Any] | str) -> None:
        """Send a message that matters on this socket only; nothing when there is none."""
        if self.line is not None:
            self.push("passing", message if isinstance(message, str) else dumps(message))

    # ── in the event loop ────────────────────────────────────────────────────────────────────────────────────────

    def take(self) -> list[str]:
        """Return the messages that go out next."""
        with self._lock:
            return self._outbox.take()

    def woken(self) -> None:
        """Something waits."""
        if self.line is None:
            return
        if self.states_changed:
            self.states_changed = False
            self._tell_states()
        if not self._is_cut_off(self.line):
            self.line.woken()

    def tick(self) -> bool:
        """About every second: cut off a browser that takes nothing, and let a quiet one hear something.

        Return whether one is there, and stays.
        """
        if self.line is None or self._is_cut_off(self.line):
            return False
        if self.line.quiet_s >= self._hub.settings.beat_s:
            self.pass_on(BEAT)
        return True

    def _is_cut_off(self, line: Line) -> bool:
        with self._lock:
            too_much = self._outbox.is_too_much(line.is_stuck)
        if too_much:
            self._hub.counts["too_slow"] += 1
            most = self._hub.settings.limits.queue_messages
            line.end(CloseCode.TOO_SLOW, f"more than {most} messages wait for this browser")
        return too_much


def refused(of: str, ident: int | None, why: object) -> dict[str, Any]:
    """Return what a browser is told of a message that was not done.

    of, ident:  that message's kind, and its id if it had one
    why:        the error, which also says its kind
    """
    return {"t": "refused", "id": ident, "of": of, "error": type(why).__name__, "why": str(why)}

"""How one page's frame gets its contact code: rounds of attempts, with a back-off between two of them. Pure.

The states are those of `nodes.rules.frame_loading`. A page that is ready asks for a code, too, when its session is over
and no code was free: it stays ready, and asks on.
"""

from __future__ import annotations

from fabric.errors import StateError
from nodes.page.interface import Event, FrameNodeWasBusy
from nodes.rules import topics
from nodes.rules.backoff import Backoff
from nodes.rules.frame_loading import MACHINE


class Loading:
    """One frame's way to its code. `backoff`: how patient it is."""

    def __init__(self, backoff: Backoff) -> None:
        self.state = MACHINE.start
        """A state of `frame_loading.MACHINE`; each method changes it by the table."""
        self.home: str | None = None
        """The frame's node; None until `frame_came`, then the same for good."""
        self._granted_at = 0.0
        """When the last round succeeded: what was asked before that says nothing of this lease."""
        self._kept_at = 0.0
        """When the frame node was last asked something that kept the lease, as far as it has answered; only grows."""
        self._due_s: float | None = 0.0
        """The moment from which a code may be asked for, if one is wanted; None while an answer is awaited."""
        self._attempt = 0
        """Failed attempts of this round; `_begin_round` sets it back, `busy` raises it."""
        self._backoff = backoff
        """Does not change."""

    @property
    def is_ready(self) -> bool:
        return self.state == "ready"

    @property
    def has_asked(self) -> bool:
        """Whether a frame node may have heard of the page; before the first grant."""
        return self.state in ("waiting", "retrying", "failed")

    # ── what happens: each raises StateError for what does not belong, and then changes nothing ─────────────────────

    def page_came(self) -> None:
        self.state = MACHINE.after(self.state, "page_came")

    def frame_came(self, home: str) -> None:
        self.state = MACHINE.after(self.state, "frame_came")
        self.home = home

    def retry(self, now: float) -> None:
        """The page asks again after a failure."""
        if self.state != "failed":  # the table has `retry` for the clock, too
            raise StateError(MACHINE.name, self.state, "retry", "expected a frame that has failed")
        self.state = MACHINE.after(self.state, "retry")
        self._begin_round(now)

    def granted(self, now: float) -> bool:
        """A request for a code was answered; return whether that made the frame ready."""
        self._begin_round(now)
        self._kept_at = now
        if self.state != "waiting":
            return False
        self.state = MACHINE.after(self.state, "granted")
        self._granted_at = now
        return True

    def kept(self, asked_at: float) -> None:
        """The frame node has kept the lease."""
        self._kept_at = max(self._kept_at, asked_at)

    def kept_until(self, lease_s: float) -> float:
        """Return until when the frame node keeps the lease at least."""
        return self._kept_at + lease_s

    def busy(self, busy: FrameNodeWasBusy, now: float) -> list[Event]:
        """A request for a code was not answered: ask again after a back-off, or give up. Return what is told of it."""
        self._attempt += 1
        delay_s = self._backoff.delay_s(self._attempt, busy.drawn, busy.retry_after_s)
        if self.state != "waiting":
            self._due_s = now + (self._backoff.cap_s if delay_s is None else delay_s)
            return []
        if delay_s is None:
            self.state = MACHINE.after(self.state, "gave_up")
            return [Event(topics.ERROR, {"attempts": self._attempt, "reason": busy.why})]
        self.state = MACHINE.after(self.state, "busy")
        self._due_s = now + delay_s
        payload = {"attempt": self._attempt, "next_try_s": round(delay_s, 3), "reason": busy.why}
        return [Event(topics.RETRY, payload)]

    def lost(self, asked_at: float, now: float) -> bool:
        """There is no lease, as of a request of `asked_at`; return whether that is true of the present one."""
        if not self.is_ready or asked_at < self._granted_at:
            return False
        self.state = MACHINE.after(self.state, "lost")
        self._begin_round(now)
        return True

    def tick(self, now: float) -> None:
        """The back-off may be over."""
        if self.state == "retrying" and self._due_s is not None and now >= self._due_s:
            self.state = MACHINE.after(self.state, "retry")

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def take_due(self, wants_code: bool, now: float) -> bool:
        """Say whether to ask for a code now. `wants_code`: the page is ready, and has no session and no code."""
        if not self._wants(wants_code) or self._due_s is None or now < self._due_s:
            return False
        self._due_s = None
        return True

    def due_s(self, wants_code: bool) -> list[float]:
        """Return the moment at which `take_due`, or `tick`, has something to do; nothing while an answer is awaited."""
        if self._due_s is None or not (self.state == "retrying" or self._wants(wants_code)):
            return []
        return [self._due_s]

    def _wants(self, wants_code: bool) -> bool:
        return self.state == "waiting" or (self.is_ready and wants_code)

    def _begin_round(self, now: float) -> None:
        self._attempt, self._due_s = 0, now

"""The frame of one page: its contact code, and what the frame node decides of the page. Pure.

An input comes to `handle`. What the page wants of the frame node goes out as an `Ask`, and again until it is answered;
what the frame node decides comes in as state maps. Each step ends alike: subscribers are told the difference of what
the page showed before and shows after it, and what is due is asked.

Reading order: `handle`; `_take`, one case for each input; `_take_state`, where every decision arrives.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, assert_never

from fabric.errors import HighWaterMarkReached
from nodes.page import events
from nodes.page.events import Asked, View
from nodes.page.interface import (
    Ask,
    ButtonsCounted,
    ClockTicked,
    Event,
    FrameAttached,
    FrameEffect,
    FrameInput,
    FrameNodeAnswered,
    FrameNodeRejected,
    FrameNodeTold,
    FrameNodeWasBusy,
    LeaseKept,
    LeaseLost,
    LineCame,
    PageCame,
    PageChoseButtons,
    PageDeclined,
    PageRetried,
    PageStopped,
    StopAcknowledged,
    VisitorAsked,
)
from nodes.page.loading import Loading
from nodes.page.requests import Requests
from nodes.rules import state_map, topics
from nodes.rules.backoff import Backoff
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import StateMap

AGAIN_S = 0.5
"""How long a request rests that the frame node was too busy for, or did not hear."""


class FrameCore:
    """The frame of page session `session`.

    run:      128 random bits as text: keys of requests begin with it
    resumed:  the session may be known to the frame node already: the page was loaded again
    buttons:  ids of the page's chat buttons
    lease_s:  how long the frame node keeps the code without a heartbeat
    consent:  one of `cobrowse.CONSENTS`: whether its visitor is asked when an agent has the code
    """

    def __init__(
        self,
        session: str,
        run: str,
        *,
        resumed: bool = False,
        buttons: tuple[str, ...] = (),
        lease_s: float = 10.0,
        backoff: Backoff | None = None,
        consent: str = "code",
    ) -> None:
        self.session, self.lease_s, self.consent = session, lease_s, consent
        """None of the three changes."""
        self.state: StateMap = state_map.START
        """The last state map that was news, whole; another dict takes its place, this one is not changed. Its version
        grows, but for a grant, which may follow a lost store. `_take_state` sets it, and `_lose` sets it back."""
        self.epoch = 1
        """The lowest epoch in which an update may leave; never below that of `state`. It never falls: a stop, a state
        map and a lost lease raise it."""
        self._backoff = backoff or Backoff()
        """Does not change."""
        self._loading = Loading(self._backoff)
        self._requests = Requests(session, run)
        self._codes = 0
        """How many codes the page was told; `_tell` raises it."""
        self._ended_epoch: int | None = None
        """The epoch of the last session that the page was told is over; `_tell` sets it."""
        self._buttons: dict[str, bool | None] = dict.fromkeys(buttons)
        """Whether an agent is there for each of the page's buttons, as told; None: nothing was told of it yet."""
        self._stops: dict[int, int | None] = {}
        """The epoch that each stop ended, until it is acknowledged. None: nothing was known of the page when it
        stopped; it ends the session that the first state map shows."""
        self._resumed = resumed
        """Does not change."""

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def handle(self, event: FrameInput, now: float) -> list[FrameEffect]:
        """Take what happened, and return what follows, in the order in which it is to be done.

        errors: StateError for what does not belong here, HighWaterMarkReached for VisitorAsked; nothing has changed
        """
        before = self._basis()
        effects = self._take(event, now)
        is_own = isinstance(event, VisitorAsked)  # the page heard of this when it was published
        if not is_own and before != self._basis():  # mostly a heartbeat that is no news: two views are not compared
            effects += self._tell(events.view_of(*before))
        return [*effects, *self._asks(now)]

    def _take(self, event: FrameInput, now: float) -> list[FrameEffect]:
        match event:
            case FrameNodeTold(state):
                return self._heard(state, now)
            case ClockTicked():
                self._loading.tick(now)
                if self._shows_code() and now >= self._loading.kept_until(self.lease_s):
                    self._lose(now, now)  # no frame node has answered: somebody else may have this code by now
            case FrameNodeAnswered(ask, state):
                return self._answered(ask, state, now)
            case FrameNodeWasBusy():
                return self._put_off(event, now)
            case FrameNodeRejected(ask, why, error):
                self._requests.done(ask)
                refused = Event(topics.REFUSED, {"what": ask.operation, "why": why, "error": error})
                return [] if ask.operation == "stop" else [refused]  # a stop is never wrong
            case LeaseLost(asked_at):
                self._lose(asked_at, now)
            case LeaseKept(asked_at):
                self._loading.kept(asked_at)
            case ButtonsCounted(available):
                return self._count_buttons(available)
            case PageChoseButtons(names, available):
                self._buttons = {name: self._buttons.get(name) for name in names}
                return [] if available is None else self._count_buttons(available)
            case VisitorAsked(operation, body):
                self._requests.add(operation, body, now)
            case LineCame():
                self._announce(now)
            case PageStopped(stop):
                return self._stop_first(stop, now)
            case PageDeclined(epoch):
                self._decline(epoch, now)
            case PageRetried():
                self._loading.retry(now)
            case PageCame():
                self._loading.page_came()
            case FrameAttached(home):
                self._loading.frame_came(home)
            case _:
                assert_never(event)
        return []

    # ── what it is at present ────────────────────────────────────────────────────────────────────────────────────

    @property
    def home(self) -> str | None:
        """The frame's node, once it has one."""
        return self._loading.home

    @property
    def is_ready(self) -> bool:
        """Whether it holds a session at the frame node."""
        return self._loading.is_ready

    @property
    def has_failed(self) -> bool:
        """Whether a round of attempts has ended without a code."""
        return self._loading.state == "failed"

    @property
    def is_known(self) -> bool:
        """Whether a frame node has said anything of this page."""
        return self.state["version"] >= 0

    @property
    def cobrowsing(self) -> Cobrowse:
        """What the frame node last said, without the epochs that were stopped here."""
        return events.cobrowsing_of(self.state, self.epoch)

    def _basis(self) -> tuple[StateMap, int, list[Asked]]:
        """All that the view is made of."""
        return self.state, self.epoch, self._requests.waiting()

    def view(self) -> View:
        """Return what the page shows."""
        return events.view_of(*self._basis())

    def retained(self) -> list[Event]:
        """Return the states that a late subscriber is told."""
        return events.retained(
            self.view(),
            is_ready=self.is_ready,
            codes=self._codes,
            ended_epoch=self._ended_epoch,
            buttons=self._buttons,
        )

    def due_s(self) -> float | None:
        """Return when ClockTicked is wanted next; None: not before something else happens."""
        dues = [*self._requests.due_s(), *self._loading.due_s(self._has_no_code())]
        if self._shows_code():
            dues.append(self._loading.kept_until(self.lease_s))
        return None if self.home is None else min(dues, default=None)

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def _shows_code(self) -> bool:
        return self.is_ready and self.state["code"] is not None and self.state["cobrowse"] == "idle"

    def _has_no_code(self) -> bool:
        return self.state["code"] is None and self.state["cobrowse"] == "idle"

    def _asks(self, now: float) -> list[Ask]:
        """What is due."""
        if self.home is None:
            return []
        asks = self._requests.take_due(now)
        if self._loading.take_due(self._has_no_code(), now):
            body = {"session": self.session, "home": self.home, "lease_s": self.lease_s, "consent": self.consent}
            asks.append(Ask("grant_code", body, self._requests.new_key()))
        return asks

    def _answered(self, ask: Ask, state: object, now: float) -> list[FrameEffect]:
        if ask.operation == "grant_code":
            return self._take_state(state, now, is_grant=self._loading.granted(now))
        self._requests.done(ask)
        return self._heard(state, now)

    def _put_off(self, busy: FrameNodeWasBusy, now: float) -> list[FrameEffect]:
        if busy.ask.operation == "grant_code":
            return [*self._loading.busy(busy, now)]
        asked_s = min(busy.retry_after_s, self._backoff.max_retry_after_s)
        self._requests.put_off(busy.ask, now + max(AGAIN_S, asked_s))
        return []

    def _announce(self, now: float) -> None:
        """A frame that the visitor has closed is to be seen, minimised."""
        if self.view().visibility == "hidden":
            with contextlib.suppress(HighWaterMarkReached):  # the line itself was told
                self._requests.add("set_visibility", {"event": "announce"}, now)

    # ── stops ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _stop_first(self, stop: int, now: float) -> list[FrameEffect]:
        """A stop may come before the first word of the frame node."""
        if self.is_known:
            self._stop(stop, now)
        elif self._resumed or self._loading.has_asked:
            self._stops[stop] = None
        else:
            return [StopAcknowledged(stop)]  # no frame node has ever heard of this page
        return []

    def _stop(self, stop: int, now: float) -> None:
        """The epoch rises at once, here; another stop of a session that is stopping is the same one."""
        cobrowsing = self.cobrowsing
        if cobrowsing.state == "stopping":
            self._stops[stop] = cobrowsing.epoch - 1
            return
        self._stops[stop] = cobrowsing.epoch
        self.epoch = cobrowsing.after("stop").epoch
        self._requests.stop(self.epoch - 1, now)

    def _decline(self, epoch: int, now: float) -> None:
        """To decline is to stop what is or was asked in this epoch, also if it was allowed meanwhile, and nothing else.

        Before the frame node's first word nobody knows better than the visitor.
        """
        request = self.cobrowsing
        if self.is_known and (request.state not in ("asked", "joined") or epoch != request.epoch):
            return
        self.epoch = max(self.epoch, epoch + 1)
        self._requests.stop(self.epoch - 1, now)

    # ── what is decided ──────────────────────────────────────────────────────────────────────────────────────────

    def _heard(self, state: object, now: float) -> list[FrameEffect]:
        """Before the first grant a state map is no news, but hearsay."""
        return self._take_state(state, now) if self.is_ready else []

    def _take_state(self, state: object, now: float, *, is_grant: bool = False) -> list[FrameEffect]:
        """Take a state map if it is news, whatever way it came. A grant is news also when the store began again."""
        if not state_map.is_state(state, self.session):
            return []
        if state["version"] <= self.state["version"] and not is_grant:
            return []
        if state.get("gone") is True:
            self._lose(now, now)
            self.state = {**self.state, "version": state["version"]}
            return []
        self.state = {**state_map.START, **state}
        seen = Cobrowse(state["cobrowse"], state["epoch"])
        self.epoch = max(self.epoch, seen.epoch)
        for stop in [stop for stop, epoch in self._stops.items() if epoch is None]:
            self._stop(stop, now)  # stopped before anything was known: this is what it meant
        if seen.epoch < self.epoch and not self._requests.has_stop:
            self._requests.stop(self.epoch - 1, now)  # it has forgotten, or never heard, our stop
        over = [stop for stop, epoch in self._stops.items() if epoch is not None and seen.acknowledged(epoch)]
        for stop in over:
            del self._stops[stop]
        return [*map(StopAcknowledged, over)]

    def _lose(self, asked_at: float, now: float) -> None:
        """The lease is lost, and with it session and code: begin again."""
        if self._loading.lost(asked_at, now):
            self._requests.forget_stop()  # its session ended with the lease; `_take_state` asks again if it did not
            self.epoch = self.cobrowsing.after("page_lost").epoch
            lost: StateMap = {"version": self.state["version"], "epoch": self.epoch, "refusal": "page_lost"}
            self.state = {**state_map.START, **lost}

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, before: View) -> list[Event]:
        """Tell what the page shows now and did not show before."""
        after = self.view()
        told = events.changes(before, after, first_code=not self._codes)
        self._codes += events.has_new_code(before, after)
        over = events.ended(before, after)
        if over is not None:
            self._ended_epoch = over
        return told

    def _count_buttons(self, available: Mapping[str, Any]) -> list[FrameEffect]:
        """Tell which buttons have an agent now and had none, or the other way round."""
        told: list[FrameEffect] = []
        for name, before in self._buttons.items():
            count = available.get(name, 0)
            enabled = type(count) is int and count > 0
            if before is not enabled:
                self._buttons[name] = enabled
                told.append(events.button(name, enabled))
        return told

"""The frame of one page: how it gets a contact code and keeps it, and what the frame node decides of it. Pure.

What the page wants of the frame node goes out as `Ask`s, one that was not answered again and again; what the frame node
decides comes in as state maps, and goes out as `Tell`s. Time and randomness are arguments.

Reading order: `_pump`, which asks; `stop`; `_take_state`, where every decision arrives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabric.errors import HighWaterMarkReached
from nodes.page import events
from nodes.page.events import Event
from nodes.rules import state_map, topics
from nodes.rules.backoff import Backoff
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.frame_loading import MACHINE as LOADING
from nodes.rules.state_map import StateMap

AGAIN_S = 0.5
"""How long a request rests that the frame node was too busy for, or did not hear."""
MAX_REQUESTS = 100
"""Requests of one visitor that wait for a frame node."""


@dataclass(frozen=True)
class Tell:
    """Deliver to the page's subscribers."""

    event: Event


@dataclass(frozen=True)
class Ask:
    """Ask the frame node; the answer goes to `answered`, `refused` or `rejected`, with this ask.

    key:  the same when it is asked again
    """

    operation: str
    body: dict[str, Any]
    key: str


@dataclass(frozen=True)
class StopAcknowledged:
    """The stop of this number is over: no agent handles an update of the session that it ended."""

    stop: int


Out = Tell | Ask | StopAcknowledged


@dataclass
class _Request:
    """Something the frame node is to do; `due` is None while an answer is awaited."""

    operation: str
    body: dict[str, Any]
    key: str
    due: float | None = 0.0


class FrameCore:
    """The frame of page session `session`.

    run:      128 random bits as text: keys of requests begin with it
    resumed:  the session may be known to the frame node already: the page was loaded again
    buttons:  ids of the page's chat buttons
    lease_s:  how long the frame node keeps the code without a heartbeat
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
    ) -> None:
        self.session, self.lease_s = session, lease_s
        self.state: StateMap = state_map.START
        self.cobrowsing = Cobrowse()
        self.home: str | None = None
        self.loading = LOADING.start
        self.granted_at = 0.0
        """A heartbeat that was sent before this says nothing of the page."""
        self._run, self._serial, self._resumed = run, 0, resumed
        self._backoff = backoff or Backoff()
        self._attempt = 0
        self._grant = _Request("grant_code", {}, "")
        self._any_version = False
        self._was_ready = False
        self._session_told = False
        self._told: StateMap = state_map.START.copy()
        self._buttons: dict[str, bool | None] = dict.fromkeys(buttons)
        self._visitors: deque[_Request] = deque()
        self._stop_ask: _Request | None = None
        self._stops: dict[int, int | None] = {}
        self._last_stop = 0

    # ── from the page ────────────────────────────────────────────────────────────────────────────────────────────

    def page_came(self, now: float) -> list[Out]:
        """The page's own script runs."""
        self.loading = LOADING.after(self.loading, "page_came")
        return self._pump(now)

    def attached(self, home: str, now: float) -> list[Out]:
        """The frame has a node: what waited goes out, and a code is asked for."""
        self.loading = LOADING.after(self.loading, "frame_came")
        self.home = home
        return self._pump(now)

    def retry(self, now: float) -> list[Out]:
        """After `error`: begin another round of attempts. StateError when there was no error."""
        if self.loading != "failed":
            LOADING.after("ready", "retry")  # refused, and said why
        self.loading = LOADING.after(self.loading, "retry")
        self._attempt, self._grant.due = 0, now
        return self._pump(now)

    def stop(self, now: float) -> tuple[int, list[Out]]:
        """Stop co-browsing by force, from this moment; return the stop's number, to be acknowledged."""
        self._last_stop += 1
        number = self._last_stop
        if self.state["version"] < 0:
            asked = self.loading in ("waiting", "retrying", "failed")
            if not (asked or self._resumed):
                return number, [StopAcknowledged(number)]  # no frame node has ever heard of this page
            self._stops[number] = None  # it ends whatever session the first state map shows
            return number, []
        return number, self._stop(number, now)

    def ask(self, operation: str, body: dict[str, Any], now: float) -> list[Out]:
        """Ask for what the visitor does; in order, one at a time. HighWaterMarkReached when too many wait."""
        if len(self._visitors) >= MAX_REQUESTS:
            raise HighWaterMarkReached(f"{MAX_REQUESTS} requests wait for a frame node; this one was not accepted")
        self._visitors.append(_Request(operation, {"session": self.session, **body}, self._new_key(), now))
        if operation == "set_visibility":
            shown = {"show": "shown", "minimise": "minimised", "hide": "hidden"}
            self._told["visibility"] = shown[body["event"]]
        elif operation == "stop_chat" and self._told["chat"] != "idle":
            self._told.update({"chat": "closed", "chat_agent": None})
        return self._pump(now)

    # ── from the frame node ──────────────────────────────────────────────────────────────────────────────────────

    def answered(self, ask: Ask, state: object, now: float) -> list[Out]:
        """The frame node did it; `state` is the page's state map."""
        if ask.operation != "grant_code":
            self._done(ask)
            return [*self.heard(state, now), *self._reconcile()]
        self._grant.due, self._attempt = now, 0
        if self.loading == "waiting":
            self.loading = LOADING.after(self.loading, "granted")
            self.granted_at = now
        any_version, self._any_version = self._any_version, False
        return self._take_state(state, now, any_version)

    def refused(self, ask: Ask, why: str, retry_after_s: float, drawn: float, now: float) -> list[Out]:
        """The frame node is too busy, or not there: the same is asked again later.

        drawn:  even in [0, 1), for the jitter
        """
        if ask.operation != "grant_code":
            for request in self._requests():
                if request.key == ask.key:
                    request.due = now + max(AGAIN_S, min(retry_after_s, self._backoff.max_retry_after_s))
            return []
        self._attempt += 1
        delay_s = self._backoff.delay_s(self._attempt, drawn, retry_after_s)
        if self.loading != "waiting":  # a new code after a session: the page stays what it is, and asks on
            self._grant.due = now + (self._backoff.cap_s if delay_s is None else delay_s)
            return []
        if delay_s is None:
            self.loading = LOADING.after(self.loading, "gave_up")
            return [Tell(Event(topics.ERROR, {"attempts": self._attempt, "reason": why}))]
        self.loading = LOADING.after(self.loading, "busy")
        self._grant.due = now + delay_s
        payload = {"attempt": self._attempt, "next_try_s": round(delay_s, 3), "reason": why}
        return [Tell(Event(topics.RETRY, payload))]

    def rejected(self, ask: Ask, why: str, now: float) -> list[Out]:
        """The frame node understood, and will not do it. The visitor is told; a stop is never wrong."""
        self._done(ask)
        told = [] if ask.operation == "stop" else [Tell(Event(topics.REFUSED, {"what": ask.operation, "why": why}))]
        return [*told, *self._reconcile(), *self._pump(now)]

    def heard(self, state: object, now: float) -> list[Out]:
        """A state map came, as an event or with a heartbeat; before the first grant it is no news, but hearsay."""
        return self._take_state(state, now) if self.loading == "ready" else []

    def gone(self, asked_at: float, now: float) -> list[Out]:
        """The frame node has no lease of this page any more, as of a request asked at `asked_at`: begin anew."""
        if self.loading != "ready" or asked_at < self.granted_at:
            return []
        self.loading = LOADING.after(self.loading, "lost")
        self._any_version = True
        self._stop_ask = None  # its session ended with the lease; `_take_cobrowsing` asks again if that is not so
        effects = self._tell_stopped(self.cobrowsing.epoch)
        self.cobrowsing = self.cobrowsing.after("page_lost")
        self.state = {**state_map.START, "version": self.state["version"], "epoch": self.cobrowsing.epoch}
        self._attempt, self._grant.due = 0, now
        return [*effects, *self._reconcile(), *self._pump(now)]

    def buttons(self, available: Mapping[str, Any]) -> list[Out]:
        """Agents came or went: how many are available for each button."""
        changed = []
        for name, before in self._buttons.items():
            count = available.get(name, 0)
            enabled = type(count) is int and count > 0
            if before is not enabled:
                self._buttons[name] = enabled
                changed.append(Tell(events.button(name, enabled)))
        return [*changed]

    def set_buttons(self, names: tuple[str, ...]) -> list[str]:
        """Change the page's chat buttons; return those that it has no more."""
        before, self._buttons = self._buttons, {name: self._buttons.get(name) for name in names}
        return [name for name in before if name not in self._buttons]

    def tick(self, now: float) -> list[Out]:
        """Ask again what is due."""
        if self.loading == "retrying" and self._grant.due is not None and now >= self._grant.due:
            self.loading = LOADING.after(self.loading, "retry")
        return self._pump(now)

    def told(self) -> dict[str, Any] | None:
        """Return what the page was told of frame and chat, for a browser that is loaded again; None: nothing yet."""
        if self.state["version"] < 0:
            return None
        told = self._told
        return {
            "visibility": told["visibility"],
            "chat": told["chat"],
            "chat_agent": told["chat_agent"],
            "button": told["button"],
        }

    def due(self) -> float | None:
        """When `tick` is wanted next; None: not before something else happens."""
        dues = [request.due for request in self._requests()]
        if self.loading == "retrying" or self._wants_code():
            dues.append(self._grant.due)
        return min((due for due in dues if due is not None), default=None) if self.home is not None else None

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def _requests(self) -> list[_Request]:
        """What may be asked now: the stop, and the first of the visitor's requests."""
        stop = [] if self._stop_ask is None else [self._stop_ask]
        return [*stop, *([self._visitors[0]] if self._visitors else [])]

    def _wants_code(self) -> bool:
        return self.loading == "waiting" or (
            self.loading == "ready" and self.state["code"] is None and self.state["cobrowse"] == "idle"
        )

    def _pump(self, now: float) -> list[Out]:
        if self.home is None:
            return []
        asks: list[Out] = []
        for request in self._requests():
            if request.due is not None and now >= request.due:
                request.due = None
                asks.append(Ask(request.operation, request.body, request.key))
        if self._wants_code() and self._grant.due is not None and now >= self._grant.due:
            body = {"session": self.session, "home": self.home, "lease_s": self.lease_s}
            self._grant = _Request("grant_code", body, self._new_key(), None)
            asks.append(Ask("grant_code", body, self._grant.key))
        return asks

    def _new_key(self) -> str:
        self._serial += 1
        return f"{self._run}-{self._serial}"

    def _done(self, ask: Ask) -> None:
        if self._visitors and self._visitors[0].key == ask.key:
            self._visitors.popleft()
        if self._stop_ask is not None and self._stop_ask.key == ask.key:
            self._stop_ask = None

    def _stop(self, number: int, now: float) -> list[Out]:
        """The epoch rises at once, here; another stop of a session that is stopping is the same one."""
        if self.cobrowsing.state == "stopping":
            self._stops[number] = self.cobrowsing.epoch - 1
            return []
        epoch = self._stops[number] = self.cobrowsing.epoch
        self.cobrowsing = self.cobrowsing.stopped(epoch)
        return [*self._tell_stopped(epoch), *self._ask_stop(now)]

    def _ask_stop(self, now: float) -> list[Out]:
        """Ask for a stop of all epochs before ours; one that was asked before is covered by it."""
        body = {"session": self.session, "epoch": self.cobrowsing.epoch - 1}
        self._stop_ask = _Request("stop", body, self._new_key(), now)
        return self._pump(now)

    # ── what is decided ──────────────────────────────────────────────────────────────────────────────────────────

    def _take_state(self, state: object, now: float, any_version: bool = False) -> list[Out]:
        """Whatever way a state map came: if it is news, tell what has changed."""
        if not state_map.is_state(state, self.session):
            return self._pump(now)
        if state["version"] <= self.state["version"] and not any_version:
            return self._pump(now)
        if state.get("gone") is True:
            effects = self.gone(now, now)
            self.state = {**self.state, "version": state["version"]}
            return effects
        old, self.state = self.state, {**state_map.START, **state}
        effects = self._take_cobrowsing(Cobrowse(state["cobrowse"], state["epoch"]), now)
        effects += self._tell_difference(old, self.state)
        return [*effects, *self._pump(now)]

    def _take_cobrowsing(self, seen: Cobrowse, now: float) -> list[Out]:
        before = self.cobrowsing
        self.cobrowsing = before.merged(seen)
        effects: list[Out] = []
        for number in [number for number, epoch in self._stops.items() if epoch is None]:
            effects += self._stop(number, now)  # stopped before anything was known: this is what it meant
        if not self.cobrowsing.accepts(before.epoch):
            effects += self._tell_stopped(before.epoch)
        if seen.epoch < self.cobrowsing.epoch and self._stop_ask is None:
            effects += self._ask_stop(now)  # it has forgotten, or never heard, our stop
        if self.cobrowsing.state == "joined" and not self._session_told:
            self._session_told = True
            effects.append(Tell(events.started(self.state)))
        over = [number for number, epoch in self._stops.items() if epoch is not None and seen.acknowledged(epoch)]
        for number in over:
            del self._stops[number]
        return [*effects, *map(StopAcknowledged, over)]

    def _tell_stopped(self, epoch: int) -> list[Out]:
        if not self._session_told:
            return []
        self._session_told = False
        return [Tell(events.stopped(epoch))]

    def _tell_difference(self, old: StateMap, new: StateMap) -> list[Out]:
        """The code, chat and visibility."""
        effects: list[Out] = []
        if new["code"] is not None and new["code"] != old["code"]:
            effects.append(Tell(events.new_code(new) if self._was_ready else events.ready(new)))
            self._was_ready = True
        return [*effects, *self._reconcile()]

    def _reconcile(self) -> list[Out]:
        """Tell what of chat and visibility the page does not know yet.

        The page's own requests are told when they are made; while one is under way, the state may be behind it.
        """
        waiting = {request.operation for request in self._visitors}
        effects: list[Out] = []
        if "stop_chat" not in waiting:
            effects += map(Tell, events.chat_events(self._told, self.state))
            new = self.state
            self._told.update({"chat": new["chat"], "chat_agent": new["chat_agent"], "button": new["button"]})
        if "set_visibility" not in waiting and self.state["visibility"] != self._told["visibility"]:
            self._told["visibility"] = self.state["visibility"]
            effects.append(Tell(Event(events.VISIBILITY[self.state["visibility"]], {})))
        return effects

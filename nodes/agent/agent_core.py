"""An agent: its lease, the pages it is engaged with, and which of their updates it may handle. Pure.

What makes a stop safe is here. An update is handled only while all of this holds:

    the frame node's state says that the agent is in session with the page, in the update's epoch
    the agent has not stopped that epoch itself, nor heard that anybody has
    the agent's own lease runs, counted from when its last renewal was *asked* for: the frame node's runs longer
    all updates since the last snapshot have come; after a gap a fresh snapshot is asked for

A state map with a version not above one that was seen of the page is no news, also when the page was let go meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from nodes.rules import topics
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import START, StateMap, is_state

AGAIN_S = 0.5
"""How long a stop, a confirmation or a snapshot is waited for before it is asked for again."""
RENEWALS = 3
"""In each lease: two may be lost."""
REMEMBER_S = 300.0
"""How long the version of a page that was let go is kept, against messages that come late."""


@dataclass(frozen=True)
class Tell:
    """An event for whoever runs the agent; `event` names it."""

    event: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Update:
    """Hand on a page update, if `AgentCore.may_handle` still says so when it is called."""

    session: str
    epoch: int
    data: dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """Ask the frame node; the answer goes to `answered`, `failed` or `lease_lost`, with this ask and its time."""

    operation: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Watch:
    """Subscribe to the session's space; then call `watched`."""

    session: str
    home: str


@dataclass(frozen=True)
class Unwatch:
    session: str


@dataclass(frozen=True)
class Say:
    """Publish in the session's space."""

    session: str
    home: str
    topic: str
    payload: Any


Effect = Tell | Update | Ask | Watch | Unwatch | Say


@dataclass
class _Page:
    state: StateMap
    seen_at: float
    cobrowsing: Cobrowse = field(default_factory=lambda: Cobrowse("idle", 0))
    told_epoch: int | None = None
    told_chat: str = "idle"
    home: str | None = None
    synced: bool = False
    last_n: int = 0
    snapshot_at: float | None = None
    ending: Ask | None = None
    ending_at: float | None = None


def is_pulse(payload: object) -> TypeGuard[Mapping[str, Any]]:
    """Say whether it is what `topics.PULSE` carries: epoch, n, silent_s in seconds, open."""
    return (
        isinstance(payload, Mapping)
        and payload.keys() == {"epoch", "n", "silent_s", "open"}
        and type(payload["epoch"]) is int
        and type(payload["n"]) is int
        and type(payload["silent_s"]) in (int, float)
        and type(payload["open"]) is bool
    )


class AgentCore:
    """One agent.

    lease_s:  how long the frame node takes it for present without a renewal
    """

    def __init__(self, agent: str, name: str, buttons: tuple[str, ...] = (), *, lease_s: float = 10.0) -> None:
        self.agent, self.name, self.buttons, self.lease_s = agent, name, buttons, lease_s
        self.available = False
        self.signed_in = False
        self.lease_until = 0.0
        self.gaps = self.refused_updates = self.unsynced_updates = 0
        self._pages: dict[str, _Page] = {}
        self._let_go: dict[str, tuple[int, float]] = {}
        self._renew_at = 0.0
        self._renewing = False

    # ── what its user does ───────────────────────────────────────────────────────────────────────────────────────

    def pages(self) -> list[dict[str, Any]]:
        """Return the state maps of the pages it is engaged with."""
        return [dict(page.state) for page in self._pages.values()]

    def home(self, session: str) -> str | None:
        """Return where a page lives; None for one that it is not engaged with."""
        page = self._pages.get(session)
        return None if page is None else page.state["home"]

    def may_chat(self, session: str) -> bool:
        page = self._pages.get(session)
        return page is not None and page.state["chat"] == "open" and page.state["chat_agent"] == self.agent

    def set_available(self, on: bool) -> list[Effect]:
        """What the frame node says at the next renewal is compared with this, so one that is lost is made good."""
        self.available = on
        return [Ask("availability", {"agent": self.agent, "on": on})] if self.signed_in else []

    def serve(self, buttons: tuple[str, ...]) -> list[Effect]:
        """Serve other buttons."""
        self.buttons = buttons
        return [self._sign_in()] if self.signed_in else []

    def resync(self, session: str, now: float) -> list[Effect]:
        """Want a fresh snapshot of a page in session."""
        page = self._pages.get(session)
        return [] if page is None else self._want_snapshot(page, now)

    def stop(self, session: str, now: float) -> list[Effect]:
        """Stop a session: no update of it is handled any more from this moment. Nothing when there is none."""
        page = self._pages.get(session)
        if page is None or page.cobrowsing.state != "joined":
            return []
        epoch = page.cobrowsing.epoch
        page.cobrowsing = page.cobrowsing.stopped(epoch)
        return [*self._tell_stopped(page, "agent"), *self._end(page, "stop", epoch, now)]

    def shown(self, session: str, epoch: int) -> list[Effect]:
        """The agent's screen shows the page, in this epoch: its visitor may be told so. Nothing if that is over."""
        page = self._pages.get(session)
        if page is None or page.home is None or not page.cobrowsing.accepts(epoch):
            return []
        return [Say(session, page.home, topics.SHOWN, {"epoch": epoch, "agent": self.agent})]

    def may_handle(self, session: str, epoch: int, now: float) -> bool:
        """Say whether an update may be handled at this moment."""
        page = self._pages.get(session)
        return page is not None and page.cobrowsing.accepts(epoch) and now < self.lease_until

    # ── the frame node ───────────────────────────────────────────────────────────────────────────────────────────

    def answered(self, ask: Ask, reply: object, asked_at: float, now: float) -> list[Effect]:
        """The frame node did what was asked."""
        if ask.operation in ("sign_in", "renew_agent"):
            return self._present(reply, asked_at, now)
        page = self._pages.get(ask.body.get("session", ""))
        if page is not None and page.ending == ask:
            page.ending = page.ending_at = None
        return self.heard(reply, now)

    def failed(self, ask: Ask, now: float) -> list[Effect]:
        """No answer, or too busy: asked again by `tick`."""
        if ask.operation in ("sign_in", "renew_agent"):
            self._renewing = False
            self._renew_at = now + AGAIN_S / 2
        else:
            page = self._pages.get(ask.body.get("session", ""))
            if page is not None and page.ending == ask:
                page.ending_at = now + AGAIN_S
        return []

    def rejected(self, ask: Ask, now: float) -> list[Effect]:
        """The frame node will not do it: what was to end is over already; whatever was wrong, a renewal tells."""
        page = self._pages.get(ask.body.get("session", ""))
        if page is not None and page.ending == ask:
            page.ending = page.ending_at = None
        self._renewing, self._renew_at = False, now + AGAIN_S
        return []

    def look_again(self, now: float) -> list[Effect]:
        """Something was refused because a lease ran out: whose, a renewal tells."""
        self._renew_at = now
        return []

    def lease_lost(self, now: float) -> list[Effect]:
        """The frame node has no lease of this agent: all is over, and it signs in anew."""
        self._renewing, self._renew_at = False, now
        if not self.signed_in:
            return []
        self.signed_in, self.lease_until = False, 0.0
        effects: list[Effect] = [Tell("lease_lost", {})]
        for session in list(self._pages):
            effects += self._drop(session, now)
        return effects

    def heard(self, state: object, now: float) -> list[Effect]:
        """A page's state map came, as an event or in a reply."""
        session = state.get("session") if isinstance(state, Mapping) else None
        if not isinstance(session, str) or not is_state(state, session):
            return []
        page = self._pages.get(session)
        known = self._let_go.get(session, (-1, 0.0))[0] if page is None else page.state["version"]
        if page is not None:
            page.seen_at = now
        if state["version"] <= known or not isinstance(state.get("home"), str):
            return []
        whole: StateMap = {**START, **state}
        engaged = whole.get("gone") is not True and self.agent in (whole["agent"], whole["chat_agent"])
        if page is None:
            if not engaged:
                self._let_go[session] = (whole["version"], now)
                return []
            page = self._pages[session] = _Page(whole, now)
        page.state = whole
        effects = [*self._take_cobrowsing(page, now), *self._take_chat(page)]
        if engaged:
            return [*effects, *self._watch(page)]
        return [*effects, *self._drop(session, now)]

    # ── the session's space ──────────────────────────────────────────────────────────────────────────────────────

    def watched(self, session: str, home: str, now: float) -> list[Effect]:
        """The subscription to the session's space is acked: nothing is missed from now on."""
        page = self._pages.get(session)
        return [] if page is None or page.home != home else self._want_snapshot(page, now)

    def update(self, session: str, payload: object, now: float) -> list[Effect]:
        """A page update came."""
        page = self._pages.get(session)
        if page is None or not isinstance(payload, Mapping):
            return []
        epoch, n, snapshot = payload.get("epoch"), payload.get("n"), payload.get("snapshot") is True
        if type(epoch) is not int or type(n) is not int or not self.may_handle(session, epoch, now):
            self.refused_updates += 1
            return []
        if not snapshot and not (page.synced and n == page.last_n + 1):
            if not page.synced:
                self.unsynced_updates += 1
                return []
            self.gaps += 1
            return self._want_snapshot(page, now)
        if snapshot:
            page.synced, page.snapshot_at = True, None
        page.last_n = n
        data = {"session": session, "epoch": epoch, "n": n, "update": payload.get("event"), "snapshot": snapshot}
        return [Update(session, epoch, data)]

    def message(self, session: str, topic: str, payload: Any) -> list[Effect]:
        """Anything else came that was published in the session's space."""
        page = self._pages.get(session)
        if page is None:
            return []
        if topic == topics.PULSE:
            is_current = is_pulse(payload) and page.cobrowsing.accepts(payload["epoch"])
            return [Tell("pulse", {"session": session, **payload})] if is_current else []
        if topic == topics.MESSAGE:
            return [Tell("chat_message", {"session": session, "message": payload})] if self.may_chat(session) else []
        return [Tell("message", {"session": session, "topic": topic, "payload": payload})]

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> list[Effect]:
        """What is due: the renewal, and what was not answered."""
        effects: list[Effect] = []
        if now >= self._renew_at and not self._renewing:
            self._renewing = True
            effects.append(self._sign_in() if not self.signed_in else Ask("renew_agent", {"agent": self.agent}))
        if self.lease_until and now >= self.lease_until:
            self.lease_until = 0.0
            effects.append(Tell("lease_uncertain", {}))
            for page in self._pages.values():
                page.synced = False
        for page in self._pages.values():
            if page.ending is not None and page.ending_at is not None and now >= page.ending_at:
                page.ending_at = None
                effects.append(page.ending)
            if page.snapshot_at is not None and now >= page.snapshot_at:
                effects += self._want_snapshot(page, now)
        return effects

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _sign_in(self) -> Ask:
        body = {"agent": self.agent, "name": self.name, "buttons": list(self.buttons), "lease_s": self.lease_s}
        return Ask("sign_in", body)

    def _present(self, reply: object, asked_at: float, now: float) -> list[Effect]:
        """The lease runs on; and the reply says with which pages the agent is engaged."""
        self._renewing, self._renew_at = False, asked_at + self.lease_s / RENEWALS
        if not isinstance(reply, Mapping) or not isinstance(reply.get("pages"), list | tuple):
            return []
        self._let_go = {session: each for session, each in self._let_go.items() if now - each[1] < REMEMBER_S}
        was_uncertain = self.signed_in and not self.lease_until
        self.lease_until = max(self.lease_until, asked_at + self.lease_s)
        effects: list[Effect] = []
        if not self.signed_in:
            self.signed_in = True
            effects.append(Tell("signed_in", {"agent": self.agent}))
        if reply.get("available") is not self.available:
            effects.append(Ask("availability", {"agent": self.agent, "on": self.available}))
        named = set()
        for state in reply["pages"]:
            if isinstance(state, Mapping):
                named.add(state.get("session"))
                effects += self.heard(state, now)
        for session, page in list(self._pages.items()):
            if session not in named and page.seen_at < asked_at:
                effects += self._drop(session, now)
            elif was_uncertain:
                effects += self._want_snapshot(page, now)
        return effects

    def _take_cobrowsing(self, page: _Page, now: float) -> list[Effect]:
        state = page.state
        own = state["agent"] == self.agent and state.get("gone") is not True
        seen = Cobrowse(state["cobrowse"] if own else "idle", state["epoch"])
        page.cobrowsing = page.cobrowsing.merged(seen)
        effects: list[Effect] = []
        if page.told_epoch is not None and not page.cobrowsing.accepts(page.told_epoch):
            effects += self._tell_stopped(page, "page")
        if page.cobrowsing.state == "joined" and page.told_epoch is None:
            page.told_epoch = page.cobrowsing.epoch
            page.synced = False
            effects.append(Tell("joined", {"session": state["session"], "epoch": state["epoch"]}))
            if page.home is not None:
                effects += self._want_snapshot(page, now)
        if seen.state == "stopping":
            effects += self._end(page, "confirm_stop", seen.epoch, now)
        elif seen.state == "idle":
            page.ending = page.ending_at = None
        return effects

    def _tell_stopped(self, page: _Page, by: str) -> list[Effect]:
        if page.told_epoch is None:
            return []
        epoch, page.told_epoch = page.told_epoch, None
        page.synced, page.snapshot_at = False, None
        return [Tell("stopped", {"session": page.state["session"], "epoch": epoch, "by": by})]

    def _end(self, page: _Page, operation: str, epoch: int, now: float) -> list[Effect]:
        """Ask for the end of a session until it is answered."""
        ask = Ask(operation, {"agent": self.agent, "session": page.state["session"], "epoch": epoch})
        if page.ending == ask:
            return []
        page.ending, page.ending_at = ask, None
        return [ask]

    def _take_chat(self, page: _Page) -> list[Effect]:
        state = page.state
        own = state["chat_agent"] == self.agent and state.get("gone") is not True
        before, page.told_chat = page.told_chat, state["chat"] if own else "idle"
        if before == page.told_chat:
            return []
        data = {"session": state["session"], "button": state["button"]}
        if page.told_chat in ("offered", "invited", "open"):
            return [Tell(f"chat_{page.told_chat}", data)]
        if before in ("offered", "invited", "open"):
            return [Tell("chat_closed" if before == "open" else "chat_withdrawn", data)]
        return []

    def _watch(self, page: _Page) -> list[Effect]:
        wanted = page.cobrowsing.state == "joined" or page.told_chat in ("open", "invited")
        home = page.state["home"] if wanted else None
        if home == page.home:
            return []
        session = page.state["session"]
        before, page.home = page.home, home
        effects: list[Effect] = [] if before is None else [Unwatch(session)]
        return effects if home is None else [*effects, Watch(session, home)]

    def _want_snapshot(self, page: _Page, now: float) -> list[Effect]:
        page.synced = False
        if page.cobrowsing.state != "joined" or page.home is None:
            page.snapshot_at = None
            return []
        page.snapshot_at = now + AGAIN_S
        payload = {"epoch": page.cobrowsing.epoch, "agent": self.agent}
        return [Say(page.state["session"], page.home, topics.SNAPSHOT_REQUEST, payload)]

    def _drop(self, session: str, now: float) -> list[Effect]:
        """Let a page go."""
        page = self._pages.pop(session)
        self._let_go[session] = (page.state["version"], now)
        effects = self._tell_stopped(page, "page")
        if page.told_chat in ("offered", "invited", "open"):
            effects.append(Tell("chat_closed" if page.told_chat == "open" else "chat_withdrawn", {"session": session}))
        if page.state.get("gone") is True:
            effects.append(Tell("page_gone", {"session": session}))
        return [*effects, Unwatch(session)] if page.home is not None else effects

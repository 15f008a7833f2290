"""An agent: its lease, the pages it is engaged with, and which of their updates it may handle. Pure.

What makes a stop safe is here. An update is handled only while all of this holds:

    the frame node's state says that the agent is in session with the page, in the update's epoch
    the agent has not stopped that epoch itself, nor heard that anybody has
    the agent's own lease runs, counted from when its last renewal was *asked* for: the frame node's runs longer
    all updates since the last snapshot have come; after a gap a fresh snapshot is asked for

A state map with a version not above one that was seen of the page is no news, also when the page was let go meanwhile.

Reading order: `handle`, one case for each input; `_heard`, where every decision of the frame node arrives; `_updated`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard, assert_never

from nodes.agent.chats import Chat, Chats
from nodes.agent.engaged_page import AGAIN_S, EngagedPage, not_in_session
from nodes.agent.interface import (
    AgentChoseButtons,
    AgentDismissedChat,
    AgentSaid,
    AgentSetAvailable,
    AgentShowed,
    AgentStopped,
    AgentWantedSnapshot,
    Ask,
    ChatHandedOver,
    ClockTicked,
    Effect,
    FrameNodeAnswered,
    FrameNodeFailed,
    FrameNodeRejected,
    FrameNodeTold,
    Input,
    LeaseDoubted,
    LeaseLost,
    PageUpdated,
    Say,
    SessionSpoke,
    SpaceWatched,
    Tell,
    Update,
)
from nodes.agent.lease import Lease
from nodes.rules import topics
from nodes.rules.state_map import START, StateMap, is_state
from nodes.rules.transcript import ChatLine, line_of

REMEMBER_S = 300.0
"""How long the version of a page that was let go is kept, against messages that come late."""
_RENEWALS = ("sign_in", "renew_agent")


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


def is_presence(payload: object) -> TypeGuard[Mapping[str, Any]]:
    """Say whether it is what `topics.PRESENCE` carries: silent_s in seconds, open."""
    return (
        isinstance(payload, Mapping)
        and payload.keys() == {"silent_s", "open"}
        and type(payload["silent_s"]) in (int, float)
        and type(payload["open"]) is bool
    )


class AgentCore:
    """One agent.

    lease_s:  how long the frame node takes it for present without a renewal
    """

    def __init__(self, agent: str, name: str, buttons: tuple[str, ...] = (), *, lease_s: float = 10.0) -> None:
        self.agent, self.name = agent, name
        """Neither changes."""
        self.lease = Lease(lease_s)
        self.gaps = self.refused_updates = self.unsynced_updates = 0
        """Updates that were not handed on, since the start: after a missing one; of another epoch, or without a lease;
        before a snapshot. `_updated` counts."""
        self._buttons = buttons
        """The chat buttons it serves, as it last chose them."""
        self._is_available = False
        """Whether chats may be offered, as it last said; the frame node is told until its renewals say the same."""
        self._pages: dict[str, EngagedPage] = {}
        """The pages it is engaged with, by session: those whose last state map names it, and none that is gone."""
        self.chats = Chats()
        """What was said in its chats: those that are open, and those that have ended and were not dismissed."""
        self._let_go: dict[str, tuple[int, float, int]] = {}
        """Of each page that was let go its last version, when that was, and the lowest epoch in which an update might
        have been handled: for REMEMBER_S. No session is in both."""

    def handle(self, event: Input, now: float) -> list[Effect]:
        """Take what happened, and return what follows, in the order in which it is to be done.

        errors: StateError for AgentStopped without a session; nothing has changed
        """
        match event:
            case PageUpdated(session, payload):
                return self._updated(session, payload, now)
            case ClockTicked():
                return self._tick(now)
            case FrameNodeTold(state):
                return self._heard(state, now)
            case FrameNodeAnswered():
                return self._answered(event, now)
            case FrameNodeFailed(ask):
                self._failed(ask, now)
            case FrameNodeRejected(ask):
                self._rejected(ask, now)
            case LeaseDoubted():
                self.lease.hasten(now)
            case LeaseLost():
                return self._lease_lost(now)
            case SpaceWatched(session, space):
                page = self._pages.get(session)
                if page is None or page.view.space != space:
                    return []
                return [*page.want_snapshot(now), *page.want_lines(now)]
            case SessionSpoke(session, topic, payload):
                return self._spoke(session, topic, payload, now)
            case ChatHandedOver(payload):
                return self._handed_over(payload)
            case AgentSaid(session, ident, text, at):
                self.chats.said(session, ChatLine(0, self.agent, self.name, text, ident, at))
            case AgentDismissedChat(session):
                self.chats.dismiss(session)
            case AgentSetAvailable(on):
                self._is_available = on
                return [self._availability()] if self.lease.is_signed_in else []
            case AgentChoseButtons(names):
                self._buttons = names
                return [self._sign_in()] if self.lease.is_signed_in else []
            case AgentStopped(session):
                page = self._pages.get(session)
                if page is None:
                    raise not_in_session()
                return page.stop(now)
            case AgentWantedSnapshot(session):
                page = self._pages.get(session)
                return [] if page is None else page.want_snapshot(now)
            case AgentShowed(session, epoch):
                return self._showed(session, epoch)
            case _:
                assert_never(event)
        return []

    # ── what it is at present ────────────────────────────────────────────────────────────────────────────────────

    def pages(self) -> list[StateMap]:
        """Return the state maps of the pages it is engaged with."""
        return [page.state for page in self._pages.values()]

    def space(self, session: str) -> str | None:
        """Return where a page is heard; None for one whose visitor has not let the agent in."""
        page = self._pages.get(session)
        return None if page is None else page.state["space"]

    def may_chat(self, session: str) -> bool:
        """Say whether it may write to the visitor at this moment."""
        page = self._pages.get(session)
        return page is not None and page.view.chat == "open"

    def may_handle(self, session: str, epoch: int, now: float) -> bool:
        """Say whether an update may be handled at this moment."""
        page = self._pages.get(session)
        return page is not None and page.accepts(epoch) and self.lease.runs(now)

    # ── the frame node ───────────────────────────────────────────────────────────────────────────────────────────

    def _sign_in(self) -> Ask:
        body = {
            "agent": self.agent,
            "name": self.name,
            "buttons": list(self._buttons),
            "lease_s": self.lease.lease_s,
        }
        return Ask("sign_in", body)

    def _availability(self) -> Ask:
        return Ask("availability", {"agent": self.agent, "on": self._is_available})

    def _answered(self, answer: FrameNodeAnswered, now: float) -> list[Effect]:
        if answer.ask.operation in _RENEWALS:
            return self._renewed(answer.reply, answer.asked_at, now)
        page = self._page_of(answer.ask)
        if page is not None:
            page.ended(answer.ask)
        return self._heard(answer.reply, now)

    def _failed(self, ask: Ask, now: float) -> None:
        """It is asked again by the clock."""
        page = self._page_of(ask)
        if ask.operation in _RENEWALS:
            self.lease.put_off(now + AGAIN_S / 2)
        elif page is not None:
            page.put_off(ask, now + AGAIN_S)

    def _rejected(self, ask: Ask, now: float) -> None:
        """What was to end is over already; whatever was wrong, a renewal tells."""
        page = self._page_of(ask)
        if page is not None:
            page.ended(ask)
        self.lease.put_off(now + AGAIN_S)

    def _page_of(self, ask: Ask) -> EngagedPage | None:
        return self._pages.get(ask.body.get("session", ""))

    def _lease_lost(self, now: float) -> list[Effect]:
        """All is over, and it signs in again."""
        if not self.lease.lost(now):
            return []
        effects: list[Effect] = [Tell("lease_lost", {})]
        for session in list(self._pages):
            effects += self._drop(session, now)
        return effects

    def _renewed(self, reply: object, asked_at: float, now: float) -> list[Effect]:
        """The lease runs on; and the reply says with which pages the agent is engaged."""
        self.lease.answered(asked_at)
        if not isinstance(reply, Mapping) or not isinstance(reply.get("pages"), list | tuple):
            return []
        self._let_go = {session: each for session, each in self._let_go.items() if now - each[1] < REMEMBER_S}
        before = self.lease.state
        self.lease.renewed(asked_at)
        effects: list[Effect] = [Tell("signed_in", {"agent": self.agent})] if before == "absent" else []
        if reply.get("available") is not self._is_available:
            effects.append(self._availability())
        named = set()
        for state in reply["pages"]:
            if isinstance(state, Mapping):
                named.add(state.get("session"))
                effects += self._heard(state, now)
        for session, page in list(self._pages.items()):
            if session not in named and page.seen_at < asked_at:
                effects += self._drop(session, now)
            elif before == "uncertain":
                effects += [*page.want_snapshot(now), *page.want_lines(now)]
        return effects

    def _heard(self, state: object, now: float) -> list[Effect]:
        """A page's state map came, as an event or in a reply."""
        session = state.get("session") if isinstance(state, Mapping) else None
        if not isinstance(session, str) or not is_state(state, session):
            return []
        page = self._pages.get(session)
        known = self._let_go.get(session, (-1, 0.0, 0))[0] if page is None else page.state["version"]
        if page is not None:
            page.heard(now)
        if state["version"] <= known:
            return []
        whole: StateMap = {**START, **state}
        is_engaged = whole.get("gone") is not True and self.agent in (whole["agent"], whole["chat_agent"])
        if page is None:
            if not is_engaged:
                self._let_go[session] = (whole["version"], now, whole["epoch"])
                return []
            epoch = self._let_go.pop(session, (-1, 0.0, 0))[2]
            page = self._pages[session] = EngagedPage(self.agent, session, now, self.name, epoch)
        effects = self._with_chat(session, page.take(whole, now))
        return effects if is_engaged else [*effects, *self._drop(session, now)]

    def _drop(self, session: str, now: float) -> list[Effect]:
        """Let a page go."""
        page = self._pages.pop(session)
        self._let_go[session] = (page.state["version"], now, page.view.cobrowsing.epoch)
        return self._with_chat(session, page.let_go(now))

    # ── the session's space ──────────────────────────────────────────────────────────────────────────────────────

    def _updated(self, session: str, payload: object, now: float) -> list[Effect]:
        page = self._pages.get(session)
        if page is None or not isinstance(payload, Mapping):
            return []
        epoch, n, snapshot = payload.get("epoch"), payload.get("n"), payload.get("snapshot") is True
        if type(epoch) is not int or type(n) is not int or not self.may_handle(session, epoch, now):
            self.refused_updates += 1
            return []
        match page.place_of(n, snapshot):
            case "unsynced":
                self.unsynced_updates += 1
                return []
            case "gap":
                self.gaps += 1
                return page.want_snapshot(now)
        page.handed_on(n, snapshot)
        data = {"session": session, "epoch": epoch, "n": n, "update": payload.get("event"), "snapshot": snapshot}
        return [Update(session, epoch, data)]

    def _showed(self, session: str, epoch: int) -> list[Effect]:
        """The visitor may be told who sees the page. Nothing if that epoch is over."""
        page = self._pages.get(session)
        if page is None or page.view.space is None or not page.view.cobrowsing.accepts(epoch):
            return []
        return [Say(session, page.view.space, topics.SHOWN, {"epoch": epoch, "agent": self.agent})]

    def _spoke(self, session: str, topic: str, payload: Any, now: float) -> list[Effect]:
        page = self._pages.get(session)
        if page is None or page.view.space is None:
            return []  # it was on its way while the engagement ended
        if topic == topics.PULSE:
            is_current = is_pulse(payload) and page.view.cobrowsing.accepts(payload["epoch"])
            return [Tell("pulse", {"session": session, **payload})] if is_current else []
        chat = self.chats.open(session)
        if topic == topics.MESSAGE:
            return [] if chat is None or not self.may_chat(session) else self._line_heard(page, chat, payload, now)
        if topic == topics.PRESENCE:
            if chat is None or not is_presence(payload):
                return []
            return _presence(session, chat.saw(payload["silent_s"], payload["open"], now))
        return [Tell("message", {"session": session, "topic": topic, "payload": payload})]

    # ── chats ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _with_chat(self, session: str, effects: list[Effect]) -> list[Effect]:
        """Note what these say of the chat with a page."""
        told = {effect.event for effect in effects if isinstance(effect, Tell)}
        if "chat_closed" in told:
            self.chats.ended(session)
        if "chat_open" in told:
            self.chats.opened(session)
        return effects

    def _line_heard(self, page: EngagedPage, chat: Chat, payload: Any, now: float) -> list[Effect]:
        """The visitor has written. A line that is known is not told again; before it some may be missing."""
        line = line_of(payload, self.agent)
        told = Tell("chat_message", {"session": chat.session, "message": payload})
        if line is None:
            return [told]  # too long to be kept, or not numbered
        is_news, is_gap = chat.heard(line)
        return [*([told] if is_news else []), *(page.want_lines(now) if is_gap else [])]

    def _handed_over(self, payload: object) -> list[Effect]:
        """A page has sent what was said so far."""
        session = payload.get("session") if isinstance(payload, Mapping) else None
        page, chat = self._pages.get(str(session)), self.chats.open(str(session))
        if not isinstance(payload, Mapping) or page is None or chat is None or not self.may_chat(chat.session):
            return []
        lines, dropped = payload.get("lines"), payload.get("dropped")
        if not isinstance(lines, list | tuple) or type(dropped) is not int:
            return []
        page.lines_came()
        found = [line for each in lines if (line := line_of(each, self.agent)) is not None]
        return [Tell("chat_history", chat.as_map())] if chat.handed_over(found, dropped) else []

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick(self, now: float) -> list[Effect]:
        """What is due: the renewal, and what was not answered."""
        effects: list[Effect] = []
        if self.lease.take_due(now):
            is_known = self.lease.is_signed_in
            effects.append(Ask("renew_agent", {"agent": self.agent}) if is_known else self._sign_in())
        if self.lease.run_out(now):
            effects.append(Tell("lease_uncertain", {}))
            for page in self._pages.values():
                page.unsync()
        for page in self._pages.values():
            effects += page.tick(now)
        for chat in self.chats.all():
            effects += _presence(chat.session, chat.tick(now))
        return effects


def _presence(session: str, is_away: bool | None) -> list[Effect]:
    """What is told when a visitor is away, or is back; nothing for None."""
    if is_away is None:
        return []
    return [Tell("visitor_away" if is_away else "visitor_back", {"session": session})]

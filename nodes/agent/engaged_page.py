"""A page that an agent is engaged with: what the agent may see of it, and what it waits for. Pure.

The agent's program is told the difference of two views, as a page's subscribers are: what the agent was to the page
before a step, and is after it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fabric.errors import StateError
from nodes.agent.interface import Ask, Effect, Say, Tell, Unwatch, Watch
from nodes.rules import topics
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import START, StateMap

AGAIN_S = 0.5
"""How long a stop, a confirmation or a snapshot is waited for before it is asked for again."""
ENGAGED_CHATS = ("offered", "invited", "open")


class View(NamedTuple):
    """What an agent is to a page.

    cobrowsing:  of the agent itself; idle when another agent asks or views the page
    chat:        likewise, a state of `chat.MACHINE`
    space:       where the session's space is heard; None: it is not
    """

    cobrowsing: Cobrowse
    chat: str
    space: str | None


def session_of(agent: str, state: StateMap) -> Cobrowse:
    """Return the page's co-browsing with `agent`, as the frame node sees it."""
    is_theirs = state["agent"] == agent and state.get("gone") is not True
    return Cobrowse(state["cobrowse"] if is_theirs else "idle", state["epoch"])


def view_of(agent: str, state: StateMap, epoch: int) -> View:
    """Return what `agent` is to a page of this state, with each epoch below `epoch` ended."""
    session = session_of(agent, state)
    chat = state["chat"] if state["chat_agent"] == agent and state.get("gone") is not True else "idle"
    hears = session.state == "joined" or chat == "open"  # an invitation gives no right to anything yet
    return View(session.ended_below(epoch), chat, state["space"] if hears else None)


def not_in_session() -> StateError:
    """For a stop of what does not run."""
    return StateError("agent", "not in session", "stop", "expected a page that it has joined, or asks")


class EngagedPage:
    """The page of `session`, engaged with `agent`, whose visitor reads `name`.

    epoch:  each one below it has ended, also if the frame node has not heard of that
    """

    def __init__(self, agent: str, session: str, now: float, name: str = "", epoch: int = 0) -> None:
        self.agent, self.session, self.name = agent, session, name or agent
        """None of the three changes."""
        self.state: StateMap = START
        """The last state map that was news, whole; its version only grows. `take` sets it."""
        self.seen_at = now
        """When a state map last came, news or not. `heard` sets it."""
        self._epoch = epoch
        """The lowest epoch in which an update may be handled. It never falls: the agent's own stop and a state map
        raise it."""
        self._is_synced = False
        """All updates since the last snapshot have come. A snapshot sets it; a gap, the end of a session, and whatever
        makes a snapshot wanted unset it."""
        self._last_n = 0
        """The number of the last update that was handed on; counts while `_is_synced`."""
        self._snapshot_due_s: float | None = None
        """When a snapshot is asked for again; None: none is awaited."""
        self._lines_due_s: float | None = None
        """When what was said so far is asked for again; None: it is not awaited."""
        self._ending: Ask | None = None
        """The stop, or its confirmation, that the frame node has not answered; a later one takes its place."""
        self._ending_due_s: float | None = None
        """When `_ending` is asked again; None while its answer is awaited."""

    # ── what it is at present ────────────────────────────────────────────────────────────────────────────────────

    @property
    def view(self) -> View:
        return view_of(self.agent, self.state, self._epoch)

    def accepts(self, epoch: int) -> bool:
        """Say whether an update of `epoch` is of the session that runs: `view.cobrowsing.accepts`, for less."""
        return epoch >= self._epoch and session_of(self.agent, self.state).accepts(epoch)

    def heard(self, now: float) -> None:
        """A state map came, news or not."""
        self.seen_at = now

    # ── what happens ─────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, state: StateMap, now: float) -> list[Effect]:
        """Take a state map that is news, and whole."""
        before, was = self.view, self.state["visibility"]
        self.state = state
        self._epoch = max(self._epoch, state["epoch"])
        effects = self._tell(before, self.view, "page", now)
        if self.view.chat == before.chat == "open" and state["visibility"] != was:
            effects.append(Tell("visitor_window", {"session": self.session, "visibility": state["visibility"]}))
        session = session_of(self.agent, state)
        if session.state == "stopping":
            return [*effects, *self._end("confirm_stop", session.epoch)]
        if session.state == "idle":
            self._ending = self._ending_due_s = None
        return effects

    def stop(self, now: float) -> list[Effect]:
        """The agent stops, or takes its request back: the epoch rises at once, here. StateError without either."""
        before = self.view
        if before.cobrowsing.state not in ("asked", "joined"):
            raise not_in_session()
        epoch = before.cobrowsing.epoch
        self._epoch = epoch + 1
        return [*self._tell(before, self.view, "agent", now), *self._end("stop", epoch)]

    def let_go(self, now: float) -> list[Effect]:
        """The agent is no longer engaged with it."""
        nothing = View(Cobrowse("idle", self._epoch), "idle", None)
        effects = self._tell(self.view, nothing, "page", now)
        return [*effects, Tell("page_gone", {"session": self.session})] if self.state.get("gone") is True else effects

    def tick(self, now: float) -> list[Effect]:
        """Ask again for what is overdue."""
        effects: list[Effect] = []
        if self._ending is not None and self._ending_due_s is not None and now >= self._ending_due_s:
            self._ending_due_s = None
            effects.append(self._ending)
        if self._snapshot_due_s is not None and now >= self._snapshot_due_s:
            effects += self.want_snapshot(now)
        if self._lines_due_s is not None and now >= self._lines_due_s:
            effects += self.want_lines(now)
        return effects

    # ── updates ──────────────────────────────────────────────────────────────────────────────────────────────────

    def place_of(self, n: int, snapshot: bool) -> str:
        """Say where the update of this number stands: `next`, `gap`, or `unsynced` before a snapshot."""
        if snapshot:
            return "next"
        if not self._is_synced:
            return "unsynced"
        return "next" if n == self._last_n + 1 else "gap"

    def handed_on(self, n: int, snapshot: bool) -> None:
        """The update of this number, which was the next one, is handed on."""
        if snapshot:
            self._is_synced, self._snapshot_due_s = True, None
        self._last_n = n

    def unsync(self) -> None:
        """Updates may have been missed: none counts before a snapshot."""
        self._is_synced = False

    def want_snapshot(self, now: float) -> list[Effect]:
        """Ask for a snapshot, and again until it comes."""
        self._is_synced = False
        view = self.view
        if view.cobrowsing.state != "joined" or view.space is None:
            self._snapshot_due_s = None
            return []
        self._snapshot_due_s = now + AGAIN_S
        payload = {"epoch": view.cobrowsing.epoch, "agent": self.agent}
        return [Say(self.session, view.space, topics.SNAPSHOT_REQUEST, payload)]

    # ── the chat ─────────────────────────────────────────────────────────────────────────────────────────────────

    def want_lines(self, now: float) -> list[Effect]:
        """Say that the agent is there, and so ask for what was said so far; again until it comes."""
        view = self.view
        if view.chat != "open" or view.space is None:
            self._lines_due_s = None
            return []
        self._lines_due_s = now + AGAIN_S
        return [Say(self.session, view.space, topics.JOINED, {"agent": self.agent, "name": self.name})]

    def lines_came(self) -> None:
        self._lines_due_s = None

    # ── the end of a session ─────────────────────────────────────────────────────────────────────────────────────

    def ended(self, ask: Ask) -> None:
        """The frame node did this, or says that it is over."""
        if self._ending == ask:
            self._ending = self._ending_due_s = None

    def put_off(self, ask: Ask, due_s: float) -> None:
        """The frame node did not do this: ask again at `due_s`."""
        if self._ending == ask:
            self._ending_due_s = due_s

    def _end(self, operation: str, epoch: int) -> list[Effect]:
        ask = Ask(operation, {"agent": self.agent, "session": self.session, "epoch": epoch})
        if self._ending == ask:
            return []
        self._ending, self._ending_due_s = ask, None
        return [ask]

    # ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, before: View, after: View, by: str, now: float) -> list[Effect]:
        """Tell what the agent is to the page now, and was not before; and hear the session's space accordingly."""
        effects: list[Effect] = []
        old, new = before.cobrowsing, after.cobrowsing
        if old.state == "joined" and not new.accepts(old.epoch):
            self._is_synced, self._snapshot_due_s = False, None
            effects.append(Tell("stopped", {"session": self.session, "epoch": old.epoch, "by": by}))
        effects += self._tell_request(old, new, by)
        if new.state == "joined" and not old.accepts(new.epoch):
            self._is_synced = False
            effects.append(Tell("joined", {"session": self.session, "epoch": new.epoch}))
            if before.space == after.space:  # else a snapshot is asked for when the new space is heard
                effects += self.want_snapshot(now)
        effects += self._tell_chat(before.chat, after.chat)
        if after.chat == "open" and before.chat != "open" and before.space == after.space:
            effects += self.want_lines(now)
        if before.space is not None and before.space != after.space:
            effects.append(Unwatch(self.session))
        if after.space is not None and before.space != after.space:
            effects.append(Watch(self.session, after.space, self.state["engagement"]))
        return effects

    def _tell_request(self, old: Cobrowse, new: Cobrowse, by: str) -> list[Effect]:
        goes_on = new.epoch == old.epoch and new.state in ("asked", "joined")
        if old.state == "asked" and not goes_on:
            reason = self.state["refusal"] if self.state["epoch"] == old.epoch + 1 else None
            withdrawn = "withdrawn" if by == "agent" else "unknown"
            data = {"session": self.session, "epoch": old.epoch, "reason": reason or withdrawn}
            return [Tell("request_declined", data), *self._asking(new)]
        return [] if old.state == "asked" else self._asking(new)

    def _asking(self, new: Cobrowse) -> list[Effect]:
        if new.state != "asked":
            return []
        data = {"session": self.session, "epoch": new.epoch, "capability": self.state["capability"]}
        return [Tell("requested", data)]

    def _tell_chat(self, before: str, after: str) -> list[Effect]:
        data: dict[str, Any] = {"session": self.session, "button": self.state["button"]}
        if before == after:
            return []
        if after in ENGAGED_CHATS:
            return [Tell(f"chat_{after}", data)]
        if before in ENGAGED_CHATS:
            return [Tell(self._end_of(before), data)]
        return []

    def _end_of(self, before: str) -> str:
        """Name the event for the end of a chat that was in state `before`."""
        if before == "open":
            return "chat_closed"
        declined = before == "invited" and self.state["chat"] == "closed" and self.state.get("gone") is not True
        return "chat_declined" if declined else "chat_withdrawn"

"""The console of one agent at a gateway: a `nodes.agent.agent.Agent`, and the window of its browser.

A stop is confirmed to the frame node when the browser has said that it shows nothing of that session any more, or it
is gone. A browser is welcomed with the state of all pages, and their snapshots are asked for; of what was told while
none was there it gets what people have written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from fabric.errors import Busy, NotAllowed, expected
from fabric.payloads import to_json
from nodes.agent.agent import Agent
from nodes.gateway.browser_messages import (
    AgentMessage,
    Ask,
    Available,
    ChatRequest,
    Dismiss,
    EndCobrowse,
    Handled,
    Join,
    Ping,
    Say,
    Shown,
    Snapshot,
)
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.credentials import Credential
from nodes.gateway.hub import Hub, numbered
from nodes.gateway.page_origins import OriginFun, Origins
from nodes.gateway.tokens import secret_of
from nodes.gateway.window import Line, Window
from nodes.rules.errors import AskedTooSoon

LEASE_S = 15.0
HIDDEN = ("code", "lease_s", "home", "space", "engagement")
"""What of a state map no browser is told."""
KEPT = ("chat_message", "message")
"""Events that no state map makes good."""


class Console:
    """One agent and its window. Made in the event loop, and used there; `_on_event` and `_on_confirm` are called in the
    node's I/O thread.

    credential:  who it is; the buttons are the ones that this agent may serve
    origin:      see `Sessions.origin`
    """

    def __init__(self, hub: Hub, credential: Credential, origin: OriginFun) -> None:
        self.credential = credential
        self._origins = Origins(origin, self._tell_origin)
        self._hub = hub
        self.window = Window(hub, self._tell_states)
        self._serving, self._available = credential.buttons, False
        """The buttons that the agent serves, of those it may; and whether it takes chats. Both as its browser said
        last, whichever socket that had."""
        self._versions: dict[str, int] = {}
        """The pages that the browser knows of, and the version of each one's state map that it was told last."""
        self._lock = threading.Lock()
        """Held for `_confirms` and `_last_confirm`. No other lock is taken within."""
        self._confirms: dict[int, tuple[Callable[[], None], float]] = {}
        """Stops that the browser has not confirmed: number -> what confirms it, and since when it waits, on the
        monotonic clock. Empty while there is no browser."""
        self._last_confirm = 0
        """The last number in use there."""
        self.signed_in = asyncio.Event()
        """Whether a frame node knows the agent. Changed in the event loop, as the agent's events say."""
        self.agent = Agent(
            hub.node,
            credential.agent,
            credential.name,
            buttons=credential.buttons,
            lease_s=LEASE_S,
            secret=secret_of(hub.settings.secret, "agent", credential.agent),
            on_event=self._on_event,
            on_confirm=self._on_confirm,
        )

    # ── its browser ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, line: Line, seen: int | None, available: dict[str, Any] | None) -> None:
        """A browser is there. `seen`: the last number it had; `available`: agents for each button, if known."""
        self.window.take_over(line, "another window of this agent was opened")
        pages = self.agent.pages()
        self._versions = {page["session"]: page["version"] for page in pages}
        welcome = {
            "t": "welcome",
            "agent": self.credential.agent,
            "name": self.credential.name,
            "buttons": list(self.credential.buttons),
            "serving": list(self._serving),
            "available": self._available,
            "signed_in": self.signed_in.is_set(),
            "pages": [_shown(page) for page in pages],
            "chats": [to_json(chat) for chat in self.agent.chats()],
            "connection": self._hub.connection,
        }
        self.window.welcome(seen, lambda seq, complete: welcome)
        self._confirm_all()  # those of the browser before, also one that was asked for just now: this one shows nothing
        self._origins.look_up(pages)
        for session, origin in self._origins.known.items():
            self._tell_origin(session, origin)
        if available is not None:
            self.window.pass_on({"t": "buttons", "available": available})
        for page in pages:
            self.agent.resync(page["session"])

    def leave(self, line: Line) -> None:
        """A socket is gone; if it was this console's, nothing is shown any more."""
        if self.window.leave(line):
            self._confirm_all()

    def tick(self, now: float) -> None:
        """About every second."""
        if not self.window.tick():
            return
        self._tell_states()
        with self._lock:
            late = any(now - since > self._hub.settings.confirm_s for _, since in self._confirms.values())
        if late:
            self.window.end(CloseCode.TOO_SLOW, "it did not confirm a stop")
            self._confirm_all()

    # ── what it asks for ─────────────────────────────────────────────────────────────────────────────────────────

    def do(self, message: AgentMessage) -> None:
        """Do what a message says. Errors: FabricError, and then nothing was done."""
        match message:
            case Available(on=on, buttons=buttons):
                self._set_available(on, buttons)
            case Join(id=ident, code=code):
                self.agent.join(code).add_done_callback(self._reply(ident))
            case Ask(id=ident, session=session, capability=capability):
                self.agent.ask(session, capability).add_done_callback(self._reply(ident))
            case ChatRequest(t=operation, id=ident, session=session):
                self.agent.request(operation, session=session).add_done_callback(self._reply(ident))
            case EndCobrowse(id=ident, session=session):
                self.agent.stop(session)
                self.window.pass_on({"t": "reply", "id": ident, "ok": True})
            case Say(id=ident, session=session, text=text):
                said = self.agent.say(session, text)
                self.window.pass_on({"t": "reply", "id": ident, "ok": True, "message_id": said})
            case Dismiss(session=session):
                self.agent.dismiss(session)
            case Snapshot(session=session):
                self.agent.resync(session)
            case Shown(session=session, epoch=epoch):
                self.agent.shown(session, epoch)
            case Handled(confirm=number):
                with self._lock:
                    confirm = self._confirms.pop(number, None)
                if confirm is not None:
                    confirm[0]()
            case Ping(at=at):
                self.window.pass_on({"t": "pong", "at": at})

    def _set_available(self, on: bool, buttons: Sequence[str] | None) -> None:
        if buttons is not None and not set(buttons) <= set(self.credential.buttons):
            may = ", ".join(self.credential.buttons)
            raise NotAllowed(expected("buttons", list(buttons), f"some that this agent may serve: {may}"))
        if buttons is not None and tuple(buttons) != self._serving:
            self._serving = tuple(buttons)
            self.agent.serve(buttons)
        self._available = on
        self.agent.set_available(on)

    def _reply(self, ident: int) -> Callable[[Future[Any]], None]:
        def over(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                reply = {"ok": True, "state": _shown(done.result())}
            else:
                reply = {"ok": False, "error": type(error).__name__, "why": str(error)}
                if isinstance(error, Busy | AskedTooSoon):
                    reply["retry_after_s"] = error.retry_after_s
            self.window.pass_on({"t": "reply", "id": ident, **reply})

        return over

    # ── from the fabric, in any thread ───────────────────────────────────────────────────────────────────────────

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] not in ("update", "pulse"):
            self.window.states_changed = True
        if event["event"] in ("signed_in", "lease_lost"):
            self._hub.call(self.signed_in.set if event["event"] == "signed_in" else self.signed_in.clear)
        told = {"t": "event", **to_json(event)}
        if event["event"] in KEPT:
            self.window.push("said", numbered(told))
        else:
            self.window.pass_on(told)

    def _on_confirm(self, session: str, confirm: Callable[[], None]) -> None:
        with self._lock:
            waits = self.window.line is not None
            if waits:
                self._last_confirm += 1
                number = self._last_confirm
                self._confirms[number] = confirm, time.monotonic()
        if not waits:
            confirm()
            return
        self.window.pass_on({"t": "confirm", "session": session, "confirm": number})

    def _confirm_all(self) -> None:
        """There is no browser that could show anything."""
        with self._lock:
            confirms, self._confirms = self._confirms, {}
        for confirm, _ in confirms.values():
            confirm()

    def _tell_states(self) -> None:
        """In the event loop: hand on the state maps that are new."""
        pages = {page["session"]: page for page in self.agent.pages()}
        self._origins.look_up(pages.values())
        for session, page in pages.items():
            if self._versions.get(session) != page["version"]:
                self.window.pass_on({"t": "state", "session": session, "state": _shown(page)})
        for session in self._versions.keys() - pages.keys():
            self.window.pass_on({"t": "state", "session": session, "state": None})
        self._versions = {session: page["version"] for session, page in pages.items()}

    def _tell_origin(self, session: str, origin: str) -> None:
        self.window.pass_on({"t": "origin", "session": session, "origin": origin})


def _shown(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an agent's browser may know of a page: not where its gateway hears it, nor by what key."""
    return {name: to_json(value) for name, value in state.items() if name not in HIDDEN}

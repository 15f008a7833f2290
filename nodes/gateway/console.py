"""The console of one agent at a gateway: a `nodes.agent.agent.Agent`, and its window, a socket.

A stop is confirmed to the frame node when the window has said that it shows nothing of that session any more, or it is
gone. A window is welcomed with the state of all pages, and their snapshots are asked for; of what was told while none
was open it gets what people have written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fabric.errors import Busy, NotAllowed
from fabric.payloads import dumps, to_json
from nodes.agent.agent import Agent
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.credentials import Credential
from nodes.gateway.hub import Hub, numbered
from nodes.gateway.outbox import Outbox
from nodes.gateway.page_session import BEAT, Line

LEASE_S = 15.0
KEPT = ("chat_message", "message")
"""Events that no state map makes good."""


class Console:
    """One agent and its window. Made in the event loop."""

    def __init__(self, hub: Hub, credential: Credential) -> None:
        self.credential, self.is_woken = credential, False
        self.line: Line | None = None
        self.left_at: float | None = time.monotonic()
        self._hub = hub
        self._lock = threading.Lock()
        self._outbox = Outbox(hub.settings.limits.queue_frames, hub.settings.limits.queue_bytes)
        self._serving, self._available = credential.buttons, False
        self._versions: dict[str, int] = {}
        self._confirms: dict[int, tuple[Callable[[], None], float]] = {}
        self._last_confirm = 0
        self._look_at_states = False
        self.signed_in = asyncio.Event()
        self.agent = Agent(
            hub.node,
            credential.agent,
            credential.name,
            buttons=credential.buttons,
            lease_s=LEASE_S,
            on_event=self._on_event,
            on_confirm=self._on_confirm,
        )

    # ── its window ───────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, line: Line, seen: int | None, available: dict[str, Any] | None) -> None:
        """A window is open. `seen`: the last number it had; `available`: agents for each button, if known."""
        self._hub.opened += 1
        old, self.line, self.left_at = self.line, line, None
        if old is not None:
            old.end(CloseCode.ENDED_ELSEWHERE, "another window of this agent was opened")
        self._confirm_all()
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
            "connection": self._hub.connection,
        }
        with self._lock:
            self._outbox.resume(seen, same_document=True)
            self._outbox.push_first(dumps(welcome))
        if available is not None:
            self.send({"t": "buttons", "available": available})
        for page in pages:
            self.agent.resync(page["session"])
        self._hub.wake(self)

    def leave(self, line: Line) -> None:
        if self.line is line:
            self.line, self.left_at = None, time.monotonic()
            with self._lock:
                self._outbox.trim()
            self._confirm_all()

    def take(self) -> list[str]:
        """Return the frames that go out next."""
        with self._lock:
            return self._outbox.take()

    def woken(self) -> None:
        """In the event loop: something waits."""
        if self.line is None:
            return
        if self._look_at_states:
            self._look_at_states = False
            self._tell_states()
        if not self._is_cut_off(self.line):
            self.line.woken()

    def _is_cut_off(self, line: Line) -> bool:
        """End the socket if too much waits for its window."""
        with self._lock:
            too_much = self._outbox.is_too_much(line.is_stuck)
        if too_much:
            self._hub.counts["too_slow"] += 1
            line.end(
                CloseCode.TOO_SLOW, f"more than {self._hub.settings.limits.queue_frames} frames wait for this window"
            )
        return too_much

    def tick(self, now: float) -> None:
        """In the event loop, about every second."""
        if self.line is None or self._is_cut_off(self.line):
            return
        self._tell_states()
        if self.line.quiet_s >= self._hub.settings.beat_s:
            self.send(BEAT)
        with self._lock:
            late = any(now - since > self._hub.settings.confirm_s for _, since in self._confirms.values())
        if late:
            self.line.end(CloseCode.TOO_SLOW, "it did not confirm a stop")
            self._confirm_all()

    def send(self, frame: dict[str, Any] | str) -> None:
        """From any thread; nothing when no window is open."""
        if self.line is not None:
            with self._lock:
                self._outbox.push("passing", frame if isinstance(frame, str) else dumps(frame))
            self._hub.wake(self)

    # ── what it asks for ─────────────────────────────────────────────────────────────────────────────────────────

    def do(self, frame: dict[str, Any]) -> None:
        """Do what a frame says. Errors: FabricError, and then nothing was done."""
        match frame["t"]:
            case "available":
                self._set_available(frame["on"], frame["buttons"])
            case "join":
                self.agent.join(frame["code"]).add_done_callback(self._reply(frame["id"]))
            case "accept" | "decline" | "stop_chat" | "proactive" as operation:
                asked = self.agent.request(operation, session=frame["session"])
                asked.add_done_callback(self._reply(frame["id"]))
            case "stop":
                self.agent.stop(frame["session"])
                self.send({"t": "reply", "id": frame["id"], "ok": True})
            case "say":
                said = self.agent.say(frame["session"], frame["text"])
                self.send({"t": "reply", "id": frame["id"], "ok": True, "message_id": said})
            case "snapshot":
                self.agent.resync(frame["session"])
            case "handled":
                with self._lock:
                    confirm = self._confirms.pop(frame["confirm"], None)
                if confirm is not None:
                    confirm[0]()
            case "ping":
                self.send({"t": "pong", "at": frame["at"]})

    def _set_available(self, on: bool, buttons: list[str] | None) -> None:
        if buttons is not None and not set(buttons) <= set(self.credential.buttons):
            raise NotAllowed(f"buttons {buttons!r:.100}: this agent may serve {', '.join(self.credential.buttons)}")
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
                if isinstance(error, Busy):
                    reply["retry_after_s"] = error.retry_after_s
            self.send({"t": "reply", "id": ident, **reply})

        return over

    # ── from the fabric, in any thread ───────────────────────────────────────────────────────────────────────────

    def _on_event(self, event: dict[str, Any]) -> None:
        self._look_at_states = self._look_at_states or event["event"] != "update"
        if event["event"] in ("signed_in", "lease_lost"):
            self._hub.call(self.signed_in.set if event["event"] == "signed_in" else self.signed_in.clear)
        frame = {"t": "event", **to_json(event)}
        if event["event"] not in KEPT:
            self.send(frame)
            return
        with self._lock:
            self._outbox.push("said", numbered(frame))
            if self.line is None:
                self._outbox.trim()
        self._hub.wake(self)

    def _on_confirm(self, session: str, confirm: Callable[[], None]) -> None:
        with self._lock:
            waits = self.line is not None
            if waits:
                self._last_confirm += 1
                number = self._last_confirm
                self._confirms[number] = confirm, time.monotonic()
        if not waits:
            confirm()
            return
        self.send({"t": "confirm", "session": session, "confirm": number})

    def _confirm_all(self) -> None:
        """There is no window that could show anything."""
        with self._lock:
            confirms, self._confirms = self._confirms, {}
        for confirm, _ in confirms.values():
            confirm()

    def _tell_states(self) -> None:
        """In the event loop: hand on the state maps that are new."""
        pages = {page["session"]: page for page in self.agent.pages()}
        for session, page in pages.items():
            if self._versions.get(session) != page["version"]:
                self.send({"t": "state", "session": session, "state": _shown(page)})
        for session in self._versions.keys() - pages.keys():
            self.send({"t": "state", "session": session, "state": None})
        self._versions = {session: page["version"] for session, page in pages.items()}


def _shown(state: dict[str, Any]) -> dict[str, Any]:
    """Return what an agent's browser may know of a page: not its code, which the session's space tells."""
    return {name: to_json(value) for name, value in state.items() if name not in ("code", "lease_s")}

"""The consoles of agents at a gateway: each signed-in agent is a `nodes.agent.Agent`, its window a socket.

A stop is confirmed to the frame node when the window has said that it shows nothing of that session any more, or it is
gone. A window is welcomed with the state of all pages, and their snapshots are asked for; of what was told while none
was open it gets what people have written.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fabric.errors import Busy, NotAllowed, TransportError
from fabric.payloads import to_json
from fabric.wire import Message
from nodes.agent import Agent
from nodes.cli_options import dumps
from nodes.gateway_credentials import Credential
from nodes.gateway_hub import Hub, numbered
from nodes.gateway_outbox import Outbox
from nodes.gateway_page import Line
from nodes.page_host import BUTTONS

log = logging.getLogger("nodes.gateway")

LEASE_S = 15.0
GATEWAYS = "site_connect/gateways"
"""What gateways tell each other: a window of an agent was opened, a cookie has ended."""
KEPT = ("chat_message", "message")
"""Events that no state map makes good."""
READY_S = 2.0
"""How long a window waits for the frame node before it is welcomed all the same, not signed in yet."""


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
            old.end(4001, "another window of this agent was opened")
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
            "signed_in": self.agent.wait_ready(0),
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
        with self._lock:
            too_much = self._outbox.is_too_much(self.line.is_stuck)
        if not too_much:
            self.line.woken()
        else:
            self._hub.counts["too_slow"] += 1
            self.line.end(4009, f"more than {self._hub.settings.limits.queue_frames} frames wait for this window")

    def tick(self, now: float) -> None:
        """In the event loop, about every second."""
        if self.line is None:
            return
        self.woken()
        self._tell_states()
        with self._lock:
            late = any(now - since > self._hub.settings.confirm_s for _, since in self._confirms.values())
        if late:
            self.line.end(4009, "it did not confirm a stop")
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


class Consoles:
    """The agents that are signed in here. Used in the event loop."""

    def __init__(self, hub: Hub, end_cookie: Callable[[str], None]) -> None:
        self._hub, self._end_cookie = hub, end_cookie
        self._here: dict[str, Console] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._available: dict[str, Any] | None = None
        hub.node.subscribe(BUTTONS, self._on_buttons)
        hub.node.subscribe(GATEWAYS, lambda message: hub.call(self._heard, message.payload))
        hub.on_connection.append(self._tell)

    def __len__(self) -> int:
        return len(self._here)

    async def open(self, credential: Credential, line: Line, seen: int | None) -> Console:
        """Give a window its agent, which is made if it is not here. The window is welcomed.

        seen:  the last number that this window had, on its socket before
        """
        ending = self._ending.get(credential.agent)
        if ending is not None:
            await asyncio.shield(ending)
        console = self._here.get(credential.agent)
        if console is None:
            console = self._here[credential.agent] = Console(self._hub, credential)
            await asyncio.to_thread(console.agent.wait_ready, READY_S)
        console.join(line, seen, self._available)
        self._tell_gateways({"window": credential.agent})
        return console

    def sign_out(self, agent: str, nonce: str) -> None:
        """Sign an agent out; its cookie ends at all gateways. Does not wait."""
        self._tell_gateways({"signed_out": agent, "nonce": nonce})
        self._end(agent, "signed out")

    def tick(self, now: float) -> None:
        """About every second."""
        for agent, console in list(self._here.items()):
            if console.left_at is not None and now - console.left_at > self._hub.settings.agent_s:
                self._end(agent, "its window was closed")
            else:
                console.tick(now)

    def drain(self, last: str) -> None:
        """Send all windows away, with a last frame."""
        for console in list(self._here.values()):
            if console.line is not None:
                console.line.end(1012, "the gateway restarts", last)

    def close(self) -> None:
        """Let all agents go; they stay signed in until their leases are over. Not in the event loop."""
        for console in self._here.values():
            console.agent.close(sign_out=False)
        self._here.clear()

    def _end(self, agent: str, why: str, sign_out: bool = True) -> None:
        """Let an agent go, here; `sign_out`: everywhere."""
        console = self._here.pop(agent, None)
        if console is None:
            return
        if console.line is not None:
            console.line.end(4001, why)
            console.leave(console.line)
        task = self._ending[agent] = asyncio.create_task(asyncio.to_thread(console.agent.close, sign_out))
        task.add_done_callback(lambda _: self._ending.pop(agent, None))

    def _tell_gateways(self, news: dict[str, Any]) -> None:
        try:
            self._hub.node.publish(GATEWAYS, {**news, "home": self._hub.node.home}, timeout_s=0)
        except TransportError as error:
            log.warning("other gateways have not heard of %s: %s", ", ".join(news), error)

    def _heard(self, news: Any) -> None:
        """Another gateway says something."""
        if not isinstance(news, dict) or news.get("home") == self._hub.node.home:
            return
        match news:
            case {"window": str(agent)}:
                self._end(agent, "another window of this agent was opened", sign_out=False)
            case {"signed_out": str(agent), "nonce": str(nonce)}:
                self._end_cookie(nonce)
                self._end(agent, "signed out")

    def _on_buttons(self, message: Message) -> None:
        if isinstance(message.payload, dict):
            self._hub.call(self._tell_buttons, to_json(message.payload))

    def _tell_buttons(self, available: dict[str, Any]) -> None:
        if available != self._available:
            self._available = available
            self._tell(dumps({"t": "buttons", "available": available}))

    def _tell(self, text: str) -> None:
        for console in self._here.values():
            console.send(text)

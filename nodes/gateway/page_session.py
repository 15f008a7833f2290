"""One visitor's page at a gateway: a `HostedPage`, what its browser may do, and what waits for that browser.

The page itself runs in the browser and has a broker of its own; here is its session, which outlives a socket. Frames
from the browser come to `do`, in the event loop; what the fabric says comes in the node's I/O thread and goes into the
outbox. `docs/web-protocol.md` has the frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fabric.errors import FabricError, NotAllowed
from fabric.node.coverage import Ack
from fabric.payloads import dumps, to_json
from fabric.wire import Message
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.hub import Hub, numbered
from nodes.gateway.outbox import Kind, Outbox
from nodes.gateway.tokens import ROTATE_S, Rotation, Token, public_name, write_token
from nodes.page.hosted_page import HostedPage

BEAT = '{"t":"beat"}'
"""For a browser that hears nothing else: what is silent for twice as long is dead."""
STATES_S = 5.0
"""A state may go without a word, as a code does when its lease is lost; so long it may take to be noticed."""
_SITE = "~/site_connect/#"
_SESSION = "~pagesession/#"


class Line(Protocol):
    """A socket to the page's browser, in the event loop."""

    @property
    def is_stuck(self) -> bool: ...
    @property
    def quiet_s(self) -> float: ...
    def woken(self) -> None: ...
    def end(self, code: CloseCode, why: str = "", last: str = "") -> None: ...
    async def is_alive(self) -> bool: ...


@dataclass
class _Held:
    """A subscription of the browser's. `ack`: what the mesh said of it."""

    topic_filter: str
    subscription: int = 0
    ack: Ack | None = None


class PageSession:
    """One session. Made in the event loop.

    session:     its id, or None for a new one
    generation:  of the token that is handed out first
    origin:      of the page that holds the frame
    errors:      StateError when the session is open here already
    """

    def __init__(
        self, hub: Hub, origin: str, buttons: tuple[str, ...], session: str | None = None, generation: int = 1
    ) -> None:
        settings = hub.settings
        self.origin, self.is_woken = origin, False
        self.address = ""
        """Of the browser that began it here."""
        self.instance = ""
        self.line: Line | None = None
        self.left_at: float | None = None
        """Since when it has no browser."""
        self.rotation = Rotation(generation)
        self._hub, self._limits, self._policy = hub, settings.limits, settings.policy
        self._rotated_at = time.monotonic()
        self._lock = threading.Lock()
        self._outbox = Outbox(self._limits.queue_frames, self._limits.queue_bytes)
        self._held: dict[int, _Held] = {}
        self._retained: list[Any] = []
        self._look_at_states = False
        self._looked_at = 0.0
        self.page = HostedPage(
            session=session, buttons=buttons, lease_s=settings.lease_s, backoff=settings.backoff, echo=False
        )
        self.name = public_name(self.page.session)
        self.page.subscribe(_SITE, self._on_site)
        self.page.subscribe(_SESSION, self._on_session)
        self.page.attach(hub.node)

    # ── its browser ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, line: Line, hello: dict[str, Any], used: int, resumed: bool, why: str | None) -> None:
        """A browser is there: it is welcomed, and told what it has not seen. `used`: the generation of its token."""
        self._hub.opened += 1
        same_document = hello["instance"] == self.instance
        old, self.line, self.left_at = self.line, line, None
        if old is not None:
            old.end(CloseCode.ENDED_ELSEWHERE, "another document has taken over this session")
        self.instance = hello["instance"]
        if not same_document:
            self._release_all()
        self.page.set_buttons(hello["buttons"])
        self.rotation.rotate(used, time.monotonic())
        with self._lock:
            complete = self._outbox.resume(hello["seen"], same_document=same_document)
            self._retained = self._states()
            welcome = {
                "t": "welcome",
                "session": self.name,
                "token": self._token(),
                "resumed": resumed,
                "why": why,
                "missed": resumed and not complete,
                "heartbeat_s": self._hub.settings.beat_s,
                "seq": self._outbox.seq,
                "retained": self._retained,
                "state": self.page.told(),
                "connection": self._hub.connection,
            }
            self._outbox.push_first(dumps(welcome))
        self._hub.wake(self)

    def leave(self, line: Line) -> None:
        """A socket is gone; if it was this session's, the session waits for another."""
        if self.line is line:
            self.line, self.left_at = None, time.monotonic()
            with self._lock:
                self._outbox.trim()

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
        """End the socket if too much waits for its browser."""
        with self._lock:
            too_much = self._outbox.is_too_much(line.is_stuck)
        if too_much:
            self._hub.counts["too_slow"] += 1
            line.end(CloseCode.TOO_SLOW, f"more than {self._limits.queue_frames} frames wait for this browser")
        return too_much

    def tick(self, now: float) -> None:
        """In the event loop, about every second: what nobody calls for."""
        if self.line is None or self._is_cut_off(self.line):
            return
        if now - self._looked_at > STATES_S:
            self._tell_states()
        if self.line.quiet_s >= self._hub.settings.beat_s:
            self.pass_on(BEAT)
        if now - self._rotated_at > ROTATE_S and self.rotation.is_stored:
            self.rotation.rotate(self.rotation.generation, now)
            self.pass_on({"t": "token", "token": self._token()})

    def pass_on(self, frame: dict[str, Any] | str) -> None:
        """Send a frame that matters on this socket only. From any thread."""
        if self.line is not None:
            self._push("passing", frame if isinstance(frame, str) else dumps(frame))

    def close(self, release: bool) -> None:
        """The session ends here; `release`: everywhere."""
        self.page.close(release and not self.page.has_moved)

    # ── what it asks for ─────────────────────────────────────────────────────────────────────────────────────────

    def do(self, frame: dict[str, Any]) -> None:
        """Do what a frame says. Errors: FabricError, and then nothing was done."""
        match frame["t"]:
            case "subscribe":
                self._subscribe(frame["id"], frame["filter"])
            case "unsubscribe":
                held = self._held.pop(frame["id"], None)
                if held is not None:
                    self.page.unsubscribe(held.subscription)
            case "publish":
                self._policy.check_publish(frame["topic"])
                self.page.publish(frame["topic"], frame["payload"])
                if frame["id"] is not None:
                    self.pass_on({"t": "done", "id": frame["id"]})
            case "update":
                if not self.page.send_update(frame["event"], frame["snapshot"], frame["epoch"], frame["n"]):
                    self._hub.counts["updates_of_no_session"] += 1
            case "stop":
                ident = frame["id"]
                self.page.stop_session().on_acknowledged(lambda: self.pass_on({"t": "stopped", "id": ident}))
            case "retry":
                self.page.retry()
            case "token":
                self.rotation.stored(time.monotonic())
            case "hello":
                raise NotAllowed("`hello` is said once, first")

    def _subscribe(self, ident: int, topic_filter: str) -> None:
        kind = self._policy.check_subscribe(topic_filter)
        held = self._held.get(ident)
        if held is not None:
            if held.topic_filter != topic_filter:
                raise NotAllowed(f"id {ident} is another subscription's; right would be a new one")
            if held.ack is not None:  # else it comes
                self._on_ack(ident, held)
            return
        if len(self._held) >= self._limits.subscriptions:
            raise NotAllowed(f"a page has at most {self._limits.subscriptions} subscriptions; unsubscribe one first")
        held = _Held(topic_filter)

        def acked(ack: Ack) -> None:
            held.ack = ack
            self._on_ack(ident, held)

        # The session's own messages come by `_on_session`, whoever subscribed: here it is for the ack.
        handler: Callable[[Message], object] = _nothing if kind == "pagesession" else self._handler(ident)
        self._held[ident] = held
        try:
            held.subscription = self.page.subscribe(topic_filter, handler, acked)
        except FabricError:
            del self._held[ident]
            raise

    def _release_all(self) -> None:
        held, self._held = self._held, {}
        for each in held.values():
            self.page.unsubscribe(each.subscription)

    # ── from the fabric, in any thread ───────────────────────────────────────────────────────────────────────────

    def _handler(self, ident: int) -> Callable[[Message], None]:
        return lambda message: self._push("fabric", self._hub.fabric_text(message, ident))

    def _on_ack(self, ident: int, held: _Held) -> None:
        ack = held.ack
        if ack is None or self._held.get(ident) is not held:
            return
        told = {"ok": ack.ok, "covered": list(ack.covered), "missing": list(ack.missing), "elapsed_s": ack.elapsed_s}
        self.pass_on({"t": "ack", "id": ident, **told, "error": ack.error})

    def _on_site(self, message: Message) -> None:
        self._say("site", message)

    def _on_session(self, message: Message) -> None:
        self._say("message", message)

    def _say(self, kind: str, message: Message) -> None:
        if not message.headers.get("retained"):  # those are in `welcome`
            frame = {"t": kind, "topic": message.topic, "payload": to_json(message.payload)}
            self._look_at_states = True
            self._push("said", numbered(frame))

    def _tell_states(self) -> None:
        """In the event loop: if what late subscribers are told has changed, hand on the whole of it."""
        if self.line is None:
            return
        self._looked_at = time.monotonic()
        states = self._states()
        if states != self._retained:
            self._retained = states
            self.pass_on({"t": "retained", "messages": states})

    def _states(self) -> list[Any]:
        return [{"topic": event.topic, "payload": to_json(event.payload)} for event in self.page.retained()]

    def _push(self, kind: Kind, text: str) -> None:
        with self._lock:
            fits = self._outbox.push(kind, text)
            if not fits and self.line is None:
                self._outbox.trim()
        self._hub.wake(self)

    def _token(self) -> str:
        token = Token(self.page.session, self.rotation.generation, self._hub.node.home, time.time())
        self._rotated_at = time.monotonic()
        return write_token(self._hub.settings.secret, token, self.origin)


def refused(frame: dict[str, Any], error: FabricError) -> dict[str, Any]:
    """Return the frame that says so."""
    return {"t": "refused", "id": frame.get("id"), "of": frame["t"], "why": str(error)}


def _nothing(message: Message) -> None:
    """For a subscription that is held for its ack."""

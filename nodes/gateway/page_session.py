"""One visitor's page at a gateway: a `HostedPage`, what its browser may do, and the window of that browser.

The page itself runs in the browser and has its own broker; here is its session, which outlives a socket. Messages
from the browser come to `do`, in the event loop; what the fabric says comes in the node's I/O thread and goes into the
window. `docs/web-protocol.md` has the messages.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from fabric.errors import Busy, NotAllowed, StateError, TransportError
from fabric.node.coverage import Ack
from fabric.payloads import to_json
from fabric.wire import Message
from nodes.gateway.browser_messages import (
    Beat,
    DismissChat,
    Hello,
    PageMessage,
    Publish,
    Retry,
    StopCobrowse,
    Subscribe,
    TokenStored,
    Unsubscribe,
    Update,
)
from nodes.gateway.chat_lines import opened, sealed_chat, sealing
from nodes.gateway.hub import Hub, numbered
from nodes.gateway.subscriptions import Subscriptions
from nodes.gateway.tokens import ROTATE_S, Rotation, Token, public_name, secret_of, write_token
from nodes.gateway.window import BEAT, Line, Window
from nodes.page.host import new_token
from nodes.page.hosted_page import HostedPage
from nodes.rules.topics import PRIVACY_PROBLEM
from nodes.rules.transcript import ChatLine

STATES_S = 5.0
"""A state may go without a word, as a code does when its lease is lost; so long it may take to be noticed."""
RETRY_S = 5.0
"""How long a page that gave up rests before it asks again by itself; a round of attempts takes longer."""
_SITE = "~/site_connect/#"
_SESSION = "~pagesession/#"


class PageSession:
    """One session. Made in the event loop, and used there; `_say` and `_on_ack` are called in the node's I/O thread.

    ident:       its id among the gateways, or None for a new one
    generation:  of the token that is handed out first
    origin:      of the page that holds the frame; the token is good for it alone
    address:     of the browser that begins it here, `addresses.host_of`; the registry counts by it
    chat:        what its frame has kept of a chat, if it says so
    errors:      StateError when the session is open here already
    """

    def __init__(
        self,
        hub: Hub,
        origin: str,
        address: str,
        buttons: tuple[str, ...],
        ident: str | None = None,
        generation: int = 1,
        chat: dict[str, Any] | None = None,
    ) -> None:
        self.origin, self.address, self.ident = origin, address, ident or new_token()
        """None of the three changes."""
        self.was_engaged = ident is not None
        """Whether an agent has ever had to do with this page, as far as is known: of one that began elsewhere it is
        taken for granted. Set once, in the node's I/O thread."""
        self._hub, self._policy = hub, hub.settings.policy
        self.instance = ""
        """Of the document that the last browser had, by which its return is told from another document's visit.
        Changed by `join`."""
        self.rotation = Rotation(generation)
        """Which generation of its token counts."""
        self._rotated_at = time.monotonic()
        """When the last token was written; one of an open socket is replaced after `ROTATE_S`."""
        self._retry_at = 0.0
        """Before this moment a page that gave up does not ask again by itself, on the monotonic clock."""
        self._heard_at = time.monotonic()
        """When the browser said something last, on the monotonic clock."""
        self._last_update = 0
        """The number of the last update that the page has made, as the browser said last; the agent may have less."""
        self._retained: list[dict[str, Any]] = []
        """The states that the browser was told last, in the welcome or since. Changed in the event loop."""
        self._looked_at = 0.0
        """When they were last compared with the page's."""
        self.window = Window(hub, self._tell_states)
        secret = hub.settings.secret
        self.page = HostedPage(
            secret=secret_of(secret, "page", self.ident),
            resumed=ident is not None,
            buttons=buttons,
            lease_s=hub.settings.lease_s,
            backoff=hub.settings.backoff,
            consent=hub.settings.consent,
            echo=False,
            kept=None if ident is None or chat is None else opened(secret, self.ident, chat),
            on_line=self._on_line,
        )
        self.name = public_name(self.ident)
        limits = hub.settings.limits
        self._subscriptions = Subscriptions(
            hub.node, self.page, limits.subscriptions, limits.filter_bytes, self._on_fabric, self._on_ack
        )
        self.page.subscribe(_SITE, lambda message: self._say("site", message))
        self.page.subscribe(_SESSION, lambda message: self._say("message", message))
        self.page.attach(hub.node)

    # ── its browser ──────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, line: Line, hello: Hello, used: int, resumed: bool, why: str | None) -> None:
        """A browser is there: it is welcomed, and told what it has not seen.

        used:     the generation of its token
        resumed:  whether it has its session again; else `why`, if it showed a token
        """
        self._heard_at = time.monotonic()
        self.window.take_over(line, "another document has taken over this session")
        same_document, self.instance = hello.instance == self.instance, hello.instance
        if not same_document:
            self._subscriptions.clear()
        self.page.set_buttons(hello.buttons)
        self.rotation.rotate(used, time.monotonic())

        def welcome(seq: int, complete: bool) -> dict[str, Any]:
            self._retained = self._states()
            return {
                "t": "welcome",
                "session": self.name,
                "token": self._token(),
                "resumed": resumed,
                "why": why,
                "missed": resumed and not complete,
                "heartbeat_s": self._hub.settings.beat_s,
                "seq": seq,
                "retained": self._retained,
                "state": self.page.told(),
                "chat": self._chat(),
                "connection": self._hub.connection,
                "rules": self._hub.rules.of(self.origin),
            }

        self.window.welcome(hello.seen, welcome, same_document=same_document)

    def tick(self, now: float, may_retry: bool) -> None:
        """About every second: what nobody calls for. `may_retry`: there is a frame node that may give a code."""
        if may_retry and self.page.has_failed and self.window.line is not None:
            self._retry(now)
        self._pulse(now)
        if not self.window.tick():
            return
        if now - self._looked_at > STATES_S:
            self._tell_states()
        if now - self._rotated_at > ROTATE_S and self.rotation.is_stored:
            self.rotation.rotate(self.rotation.generation, now)
            self.window.pass_on({"t": "token", "token": self._token()})

    def _pulse(self, now: float) -> None:
        """While an agent views the page, or has a chat with the visitor: tell it whether the page is there, and how
        current its picture is; and hear from the page."""
        silent_s, is_open = round(now - self._heard_at, 1), self.window.line is not None
        try:
            is_viewed = self.page.send_pulse(self._last_update, silent_s, is_open)
            is_in_chat = self.page.send_presence(silent_s, is_open)
        except TransportError:
            return
        if is_viewed or is_in_chat:
            self.window.pass_on(BEAT)

    def _retry(self, now: float) -> None:
        """The page gave up, as while there was no frame node. Each round takes its time, and rests before the next."""
        if now >= self._retry_at:
            self._retry_at = now + RETRY_S
            with contextlib.suppress(StateError):  # the visitor was faster
                self.page.retry()

    def tell_rules(self) -> None:
        """The operator's rules are new: the browser has them at once, and one that comes later with its welcome."""
        self.window.pass_on({"t": "rules", "rules": self._hub.rules.of(self.origin)})

    def close(self, release: bool) -> None:
        """The session ends here; `release`: everywhere."""
        self._subscriptions.clear()
        self.page.close(release and not self.page.has_moved)

    # ── what it asks for ─────────────────────────────────────────────────────────────────────────────────────────

    def do(self, message: PageMessage) -> None:
        """Do what a message says. Errors: FabricError, and then nothing was done."""
        self._heard_at = time.monotonic()
        match message:
            case Subscribe(id=ident, filter=topic_filter, retained=retained):
                kind = self._policy.check_subscribe(topic_filter)
                self._subscriptions.subscribe(ident, topic_filter, kind, retained=retained)
            case Unsubscribe(id=ident):
                self._subscriptions.unsubscribe(ident)
            case Publish(id=number, topic=topic, payload=payload, retain=retain, expires_s=expires_s):
                beyond = self._policy.check_publish(topic, retain=retain) == "" and retain
                # What is of the session, the page itself retains.
                self.page.publish(topic, payload, retain=beyond, expires_s=expires_s if beyond else None)
                if topic == PRIVACY_PROBLEM:
                    self._hub.privacy_problems.heard(self.origin, payload)
                if number is not None:
                    self.window.pass_on({"t": "done", "id": number})
            case Update(epoch=epoch, n=number, event=event, snapshot=snapshot):
                self._last_update = self._last_update if number is None else number
                if not self.page.send_update(event, snapshot, epoch, number):
                    self._hub.counts["updates_of_no_session"] += 1
            case StopCobrowse(id=ident):
                stopped = {"t": "stopped", "id": ident}
                self.page.stop_session().on_acknowledged(lambda: self.window.pass_on(stopped))
            case Retry():
                if not self._hub.budgets.may_begin(self.address, time.monotonic()):
                    raise Busy("too many contact codes for one address", RETRY_S)
                self.page.retry()
            case Beat(n=number):
                self._last_update = self._last_update if number is None else number
            case DismissChat():
                self.page.dismiss_chat()
            case TokenStored():
                self.rotation.stored(time.monotonic())
            case Hello():
                raise NotAllowed("invalid message: expected `hello` once, first")

    # ── from the fabric, in any thread ───────────────────────────────────────────────────────────────────────────

    def _on_fabric(self, message: Message, ident: int) -> None:
        self.window.push("fabric", self._hub.fabric_text(message, ident))

    def _on_ack(self, ident: int, ack: Ack) -> None:
        told = {"ok": ack.ok, "covered": list(ack.covered), "missing": list(ack.missing), "elapsed_s": ack.elapsed_s}
        self.window.pass_on({"t": "ack", "id": ident, **told, "error": ack.error})

    def _say(self, kind: str, message: Message) -> None:
        if not message.headers.get("retained"):  # those are in `welcome`
            self.window.states_changed = True
            self.was_engaged = self.was_engaged or kind == "message"
            said = {"t": kind, "topic": message.topic, "payload": to_json(message.payload)}
            self.window.push("said", numbered(said))

    def _on_line(self, agent: str, line: ChatLine) -> None:
        said = {"t": "line", **sealing(self._hub.settings.secret, self.ident, agent, line)}
        self.window.push("said", numbered(said))

    # ── states and token, in the event loop ──────────────────────────────────────────────────────────────────────

    def _tell_states(self) -> None:
        """If what late subscribers are told has changed, hand on the whole of it."""
        self._looked_at = time.monotonic()
        states = self._states()
        if states != self._retained:
            self._retained = states
            self.window.pass_on({"t": "retained", "messages": states})

    def _chat(self) -> dict[str, Any] | None:
        kept = self.page.chat()
        return None if kept is None else sealed_chat(self._hub.settings.secret, self.ident, kept)

    def _states(self) -> list[dict[str, Any]]:
        return [{"topic": event.topic, "payload": to_json(event.payload)} for event in self.page.retained()]

    def _token(self) -> str:
        self._rotated_at = time.monotonic()
        token = Token(self.ident, self.rotation.generation, self._hub.node.home, time.time())
        return write_token(self._hub.settings.secret, token, self.origin)

"""An agent: the shell around `nodes.agent.agent_core`.

    with Agent(node, "ada", "Ada", buttons=["help"], on_event=print) as agent:
        agent.set_available(True)
        session = agent.join("482913").result(5)["session"]

`on_event` gets maps with an `event`: signed_in, requested, request_declined, joined, update, stopped, chat_offered,
chat_open, chat_message, chat_history, chat_closed, chat_declined, visitor_away, visitor_back, visitor_window,
page_gone, lease_uncertain, lease_lost, …; it is called by one thread at a time, mostly the node's I/O thread, so it
must not block. It may use the agent. A stop is confirmed only when the last call of it has returned.

Each method that asks the frame node returns a Future: `.result(timeout_s)` gives the page's state map, or raises what
the frame node answered. Not in `on_event`, which would wait for itself: there use `add_done_callback`.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Self

from fabric.errors import FabricError, StateError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.agent.agent_core import AgentCore
from nodes.agent.frame_node_client import FrameNodeClient
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
    FrameNodeTold,
    Input,
    Say,
    Tell,
    Unwatch,
    Update,
    Watch,
)
from nodes.agent.spaces import Spaces
from nodes.rules import topics
from nodes.rules.proofs import key_of
from nodes.rules.state_map import StateMap, opened

if TYPE_CHECKING:
    from fabric.node.node import Node

EventFun = Callable[[dict[str, Any]], object]
ConfirmFun = Callable[[str, Callable[[], None]], object]
log = logging.getLogger("nodes.agent")


class Agent:
    """One agent on `node`. Signs in by itself, and again whenever its lease was lost. Ends with its node.

    agent:    its id, 1 to 64 letters, digits or _ . : @ -; one process at a time may use it
    buttons:  ids of the chat buttons it serves
    lease_s:  how long it is taken for present when nothing is heard of it
    secret:   of its lease; default: a new one, 128 random bits. Another process that has it goes on as this agent;
              one that has not waits until the lease is over. It never leaves this process
    on_confirm: called, like `on_event`, with a session and a function, when a stop of that session can be confirmed;
              a program that shows updates elsewhere calls the function, from any thread, once it shows them no more
    """

    def __init__(
        self,
        node: Node,
        agent: str,
        name: str,
        *,
        buttons: Iterable[str] = (),
        lease_s: float = 10.0,
        secret: str | None = None,
        on_event: EventFun | None = None,
        on_confirm: ConfirmFun | None = None,
    ) -> None:
        self.node, self.agent, self.name = node, agent, name
        """None of the three changes."""
        self._on_event, self._on_confirm = on_event, on_confirm
        """Called while `_calling` is held; neither changes."""
        self._lock = threading.Lock()
        """Around the core; never held while anything is performed or called back."""
        self._core = AgentCore(agent, name, tuple(buttons), lease_s=lease_s)
        self._to_do: deque[Effect] = deque()
        """Effects that wait for their turn, the oldest first. `handle` appends under `_lock`, and takes under
        `_calling`."""
        self._calling = threading.Lock()
        """Held by the thread that performs at present. It takes over what others decide meanwhile, and its own."""
        self._signed_in = threading.Event()
        """Set when it is signed in for the first time, for good."""
        self._closed = False
        """Set by `close`, for good: nothing is decided or performed any more."""
        self._key = key_of(secret or secrets.token_urlsafe(16))
        """Of its lease; does not change."""
        self._unproven = 0
        """State maps that no frame node has said to it. Of the node's I/O thread."""
        self._frame_node = FrameNodeClient(node, agent, self._key, lease_s, self.handle)
        self._spaces = Spaces(node, agent, self._key, self.handle)
        """Changed by the thread that performs."""
        self._subscribe()
        self._subscribe_chats()
        node.attach(self)

    def _subscribe(self) -> None:
        self._states = self.node.subscribe(topics.agent_state(self.agent), self._on_state, self._on_ack)

    def _subscribe_chats(self) -> None:
        self._handed = self.node.subscribe(topics.agent_chat(self.agent), self._on_chat, self._on_chat_ack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is signed in; False when that took longer. Not in `on_event`."""
        return self._signed_in.wait(timeout_s)

    def set_available(self, on: bool) -> None:
        """Say whether chats may be offered: as soon as it is signed in, and again when it has to sign in again."""
        self.handle(AgentSetAvailable(on))

    def join(self, code: str) -> Future[Any]:
        """Join the page that holds this contact code; or ask its visitor, where that is the page's way.

        In that case the state map says `asked`, the event `requested` follows, then `joined` or `request_declined`.
        errors: UnknownContactCode, which says why; NotAllowed while too many wrong codes were tried; Busy
        """
        return self.request("join", code=code)

    def ask(self, session: str, capability: str = "view") -> Future[Any]:
        """Ask the visitor of a chat that is open, or was offered, without a code; events follow as for `join`.

        errors: NotAllowed without such a chat; StateError while a request waits, or somebody views the page;
                AskedTooSoon for 30 s after this visitor has declined, or has not answered
        """
        return self.request("ask", session=session, capability=capability)

    def stop(self, session: str) -> None:
        """Stop co-browsing, or take a request back: no update is handled any more from this moment.

        The frame node hears of it when it can.
        errors: StateError when there is no session with this page, and no request
        """
        self.handle(AgentStopped(session))

    def shown(self, session: str, epoch: int) -> None:
        """Say that the page is on the agent's screen now, so that its visitor is told who sees it, and not before."""
        self.handle(AgentShowed(session, epoch))

    def resync(self, session: str) -> None:
        """Have the page send a fresh snapshot; no update is handled before it comes."""
        self.handle(AgentWantedSnapshot(session))

    def serve(self, buttons: Iterable[str]) -> None:
        """Serve these chat buttons from now on."""
        self.handle(AgentChoseButtons(tuple(buttons)))

    def accept(self, session: str) -> Future[Any]:
        """Take the chat that was offered."""
        return self.request("accept", session=session)

    def decline(self, session: str) -> Future[Any]:
        """Give the chat that was offered back to the queue."""
        return self.request("decline", session=session)

    def stop_chat(self, session: str) -> Future[Any]:
        return self.request("stop_chat", session=session)

    def proactive(self, session: str) -> Future[Any]:
        """Propose a chat to a page."""
        return self.request("proactive", session=session)

    def say(self, session: str, text: str) -> str:
        """Send a chat message to the visitor; return its id. StateError when no chat with this page is open."""
        with self._lock:
            space = self._core.space(session) if self._core.may_chat(session) else None
        if space is None:
            raise StateError("agent", "not in chat", "say", "expected a page whose chat was accepted")
        ident = secrets.token_hex(8)
        self._spaces.publish(Say(session, space, topics.MESSAGE, {"from": self.name, "text": text, "id": ident}))
        self.handle(AgentSaid(session, ident, text, time.time()))
        return ident

    def chats(self) -> list[dict[str, Any]]:
        """Return its chats: those that are open, and those that have ended and were not dismissed.

        Each is `{session, open, away, lines, dropped}`; a line is `{n, by, from, text, id, at}`. So many lines were
        `dropped`: a chat holds at most 200 lines and 64 KiB. It is kept in memory only, here and at the page.
        """
        with self._lock:
            return [chat.as_map() for chat in self._core.chats.all()]

    def dismiss(self, session: str) -> None:
        """Forget a chat that has ended; one that is open stays."""
        self.handle(AgentDismissedChat(session))

    def request(self, operation: str, **fields: Any) -> Future[Any]:
        """Ask the frame node for anything that an agent may ask."""
        return self._frame_node.request(operation, fields)

    def pages(self) -> list[StateMap]:
        """Return the state maps of the pages it is engaged with."""
        with self._lock:
            return [state.copy() for state in self._core.pages()]

    @property
    def signed_in(self) -> bool:
        """Whether a frame node knows it, as far as it has heard."""
        return self._core.lease.is_signed_in

    def stats(self) -> dict[str, int]:
        """Return figures of the updates: gaps, refused (another epoch, no lease), unsynced (before a snapshot); and
        `unproven`: what neither a frame node nor a page has said."""
        core = self._core
        unproven = self._unproven + self._frame_node.unproven + self._spaces.unproven
        return {
            "gaps": core.gaps,
            "refused": core.refused_updates,
            "unsynced": core.unsynced_updates,
            "unproven": unproven,
        }

    def close(self, sign_out: bool = True) -> None:
        """Sign out, as far as a frame node can be reached within `SIGN_OUT_S`. No event comes any more.

        sign_out: False: the agent goes on at another process, before its lease is over
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if sign_out:
            self._frame_node.sign_out()
        self.node.detach(self)
        self._frame_node.close()
        self._spaces.close()
        for held in (self._states, self._handed):
            try:
                self.node.unsubscribe(held)
            except (FabricError, KeyError):
                pass  # the node is closed, and with it all that it held

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread, every 10 ms."""
        self.handle(ClockTicked())

    def _on_state(self, message: Message) -> None:
        state = opened(message.payload, self._key)
        if state is None:
            self._unproven += 1
        else:
            self.handle(FrameNodeTold(state))

    def _on_ack(self, ack: Ack) -> None:
        if not ack.ok and not self._closed:
            self.node.unsubscribe(self._states)
            self._subscribe()

    def _on_chat(self, message: Message) -> None:
        if self._spaces.is_handed_over(message):
            self.handle(ChatHandedOver(message.payload))

    def _on_chat_ack(self, ack: Ack) -> None:
        if not ack.ok and not self._closed:
            self.node.unsubscribe(self._handed)
            self._subscribe_chats()

    def handle(self, event: Input) -> None:
        """Take what happened. Errors: StateError for what does not belong here; then nothing has happened."""
        with self._lock:
            if self._closed:
                return
            self._to_do += self._core.handle(event, time.monotonic())
        while self._to_do and self._calling.acquire(blocking=False):
            try:
                while self._to_do and not self._closed:
                    self._perform(self._to_do.popleft())
            finally:
                self._calling.release()
            if self._closed:
                return

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effect: Effect) -> None:
        """One after the other: so a stop is confirmed after the last update was handled, and none is after that."""
        match effect:
            case Tell(event, data):
                if event == "signed_in":
                    self._signed_in.set()
                self._call({"event": event, **data})
            case Update(session, epoch, data):
                with self._lock:
                    still = self._core.may_handle(session, epoch, time.monotonic())
                if still:
                    self._call({"event": "update", **data})
            case Ask("confirm_stop", body) if self._on_confirm is not None:
                self._on_confirm(body["session"], lambda: self._frame_node.ask(effect))
            case Ask():
                self._frame_node.ask(effect)
            case Watch(session, space, engagement):
                self._spaces.watch(session, space, engagement)
            case Unwatch(session):
                self._spaces.unwatch(session)
            case Say():
                self._spaces.say(effect)

    def _call(self, event: dict[str, Any]) -> None:
        if self._on_event is not None:
            try:
                self._on_event(event)
            except BaseException:  # a SystemExit, too
                log.exception("on_event raised at %r", event["event"])

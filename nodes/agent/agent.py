"""An agent: the shell around `nodes.agent.agent_core`.

    with Agent(node, "ada", "Ada", buttons=["help"], on_event=print) as agent:
        agent.set_available(True)
        session = agent.join("482913").result(5)["session"]

`on_event` gets maps with an `event`: signed_in, joined, update, stopped, chat_offered, chat_open, chat_message,
chat_closed, page_gone, lease_uncertain, lease_lost, …; it is called by one thread at a time, mostly the node's I/O
thread, so it must not block. It may use the agent. A stop is confirmed only when the last call of it has returned.

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
from typing import Any, Self

from fabric.errors import FabricError, NotAllowed, StateError, TransportError
from fabric.node.coverage import Ack
from fabric.node.node import Node
from fabric.services import Client
from fabric.wire import Message
from nodes.agent.agent_core import RENEWALS, AgentCore, Ask, Effect, Say, Tell, Unwatch, Update, Watch
from nodes.rules import topics
from nodes.rules.errors import LeaseExpired
from nodes.rules.topics import BY, FRAME_SERVICE, SPACE

EventFun = Callable[[dict[str, Any]], object]
ConfirmFun = Callable[[str, Callable[[], None]], object]
log = logging.getLogger("nodes.agent")

ASK_DEADLINE_S = 5.0
SIGN_OUT_S = 2.0
_REFUSALS = (NotAllowed, StateError)


class Agent:
    """One agent on `node`. Signs in by itself, and again whenever its lease was lost. Ends with its node.

    agent:    its id, 1 to 64 letters, digits or _ . : @ -; one process at a time may use it
    buttons:  ids of the chat buttons it serves
    lease_s:  how long it is taken for present when nothing is heard of it
    on_confirm: called, like `on_event`, with a session and a function, when a stop of that session can be confirmed;
              whoever shows updates elsewhere calls the function, from any thread, once it shows none any more
    """

    def __init__(
        self,
        node: Node,
        agent: str,
        name: str,
        *,
        buttons: Iterable[str] = (),
        lease_s: float = 10.0,
        on_event: EventFun | None = None,
        on_confirm: ConfirmFun | None = None,
    ) -> None:
        self.node, self.agent = node, agent
        self._core = AgentCore(agent, name, tuple(buttons), lease_s=lease_s)
        self._on_event, self._on_confirm = on_event, on_confirm
        self._client = Client(node)
        self._lock = threading.Lock()
        self._calling = threading.Lock()
        self._signed_in = threading.Event()
        self._to_do: deque[Effect] = deque()
        self._watching: dict[str, int] = {}
        self._closed = False
        self._subscribe()
        node.attach(self)

    def _subscribe(self) -> None:
        self._states = self.node.subscribe(topics.agent_state(self.agent), self._on_state, self._on_ack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is signed in; False when that took longer. Not in `on_event`."""
        return self._signed_in.wait(timeout_s)

    def set_available(self, on: bool) -> None:
        """Say whether chats may be offered: as soon as it is signed in, and again when it has to sign in anew."""
        self._do(lambda now: self._core.set_available(on))

    def join(self, code: str) -> Future[Any]:
        """Join the page that holds this contact code.

        errors: UnknownContactCode, which says why; NotAllowed while too many wrong codes were tried; Busy
        """
        return self.request("join", code=code)

    def stop(self, session: str) -> None:
        """Stop co-browsing: no update is handled any more from this moment; the frame node hears of it when it can.

        errors: StateError when there is no session with this page
        """

        def decide(now: float) -> list[Effect]:
            effects = self._core.stop(session, now)
            if not effects:
                raise StateError("agent", "not in session", "stop", "right would be a page that it has joined")
            return effects

        self._do(decide)

    def shown(self, session: str, epoch: int) -> None:
        """Say that the page is on the agent's screen now, so that its visitor is told who sees it, and not before."""
        self._do(lambda now: self._core.shown(session, epoch))

    def resync(self, session: str) -> None:
        """Have the page send a fresh snapshot; no update is handled before it comes."""
        self._do(lambda now: self._core.resync(session, now))

    def serve(self, buttons: Iterable[str]) -> None:
        """Serve these chat buttons from now on."""
        self._do(lambda now: self._core.serve(tuple(buttons)))

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
            home = self._core.home(session) if self._core.may_chat(session) else None
        if home is None:
            raise StateError("agent", "not in chat", "say", "right would be a page whose chat was accepted")
        ident = secrets.token_hex(8)
        payload = {"from": self._core.name, "text": text, "id": ident}
        self.node.publish(topics.on_the_wire(home, session, topics.MESSAGE), payload, {BY: self.agent})
        return ident

    def request(self, operation: str, **fields: Any) -> Future[Any]:
        """Ask the frame node for anything that an agent may ask."""
        over: Future[Any] = Future()
        body = {"agent": self.agent, **fields}
        future = self._client.submit(FRAME_SERVICE, operation, body, deadline_s=ASK_DEADLINE_S)

        def answered(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                self._do(lambda now: self._core.heard(done.result(), now))
                over.set_result(done.result())
                return
            if isinstance(error, LeaseExpired):
                self._do(self._core.look_again)
            over.set_exception(error)

        future.add_done_callback(answered)
        return over

    def pages(self) -> list[dict[str, Any]]:
        """Return the state maps of the pages it is engaged with."""
        with self._lock:
            return self._core.pages()

    @property
    def signed_in(self) -> bool:
        """Whether a frame node knows it, as far as it has heard."""
        return self._core.signed_in

    def stats(self) -> dict[str, int]:
        """Return figures of the updates: gaps, refused (another epoch, no lease), unsynced (before a snapshot)."""
        core = self._core
        return {"gaps": core.gaps, "refused": core.refused_updates, "unsynced": core.unsynced_updates}

    def close(self, sign_out: bool = True) -> None:
        """Sign out, as far as a frame node can be reached within `SIGN_OUT_S`. No event comes any more.

        sign_out: False: the agent goes on at another process, before its lease is over
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if sign_out:
            try:
                self._client.request(FRAME_SERVICE, "sign_out", {"agent": self.agent}, deadline_s=SIGN_OUT_S)
            except FabricError as error:
                log.info("not signed out: %s", error)  # its lease ends by itself
        self.node.detach(self)
        self._client.close()
        for ident in (self._states, *self._watching.values()):
            try:
                self.node.unsubscribe(ident)
            except (FabricError, KeyError):
                pass  # the node is closed, and with it all that it held

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread, every 10 ms."""
        self._do(self._core.tick)

    def _on_state(self, message: Message) -> None:
        self._do(lambda now: self._core.heard(message.payload, now))

    def _on_ack(self, ack: Ack) -> None:
        if not ack.ok and not self._closed:
            self.node.unsubscribe(self._states)
            self._subscribe()

    def _on_session(self, session: str, message: Message) -> None:
        by = message.headers.get(BY)
        topic = SPACE + message.topic.split("/", 3)[3]
        if by == self.agent:
            return
        if topic == topics.UPDATE:
            self._do(lambda now: self._core.update(session, message.payload, now))
        elif topic == topics.STATE:
            if by is None:
                self._do(lambda now: self._core.heard(message.payload, now))
        elif topic != topics.SNAPSHOT_REQUEST:
            self._do(lambda now: self._core.message(session, topic, message.payload))

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, decide: Callable[[float], list[Effect]]) -> None:
        with self._lock:
            if self._closed:
                return
            self._to_do += decide(time.monotonic())
        while self._to_do and self._calling.acquire(blocking=False):
            try:
                while self._to_do and not self._closed:
                    self._perform(self._to_do.popleft())
            finally:
                self._calling.release()
            if self._closed:
                return

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
                self._on_confirm(body["session"], lambda: self._ask(effect))
            case Ask():
                self._ask(effect)
            case Watch(session, home):
                self._watch(session, home)
            case Unwatch(session):
                self._unwatch(session)
            case Say(session, home, topic, payload):
                self._publish(topics.on_the_wire(home, session, topic), payload)

    def _call(self, event: dict[str, Any]) -> None:
        if self._on_event is not None:
            try:
                self._on_event(event)
            except Exception:
                log.exception("on_event raised at %r", event["event"])

    def _ask(self, ask: Ask) -> None:
        asked_at = time.monotonic()

        def over(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                self._do(lambda now: self._core.answered(ask, done.result(), asked_at, now))
            elif isinstance(error, LeaseExpired) and ask.operation == "renew_agent":
                self._do(self._core.lease_lost)
            elif isinstance(error, (*_REFUSALS, LeaseExpired)):
                self._do(lambda now: self._core.rejected(ask, now))
            else:
                self._do(lambda now: self._core.failed(ask, now))

        deadline_s = min(ASK_DEADLINE_S, self._core.lease_s / RENEWALS)
        try:
            self._client.submit(FRAME_SERVICE, ask.operation, ask.body, deadline_s=deadline_s).add_done_callback(over)
        except StateError:
            pass  # closed meanwhile

    def _watch(self, session: str, home: str) -> None:
        def acked(ack: Ack) -> None:
            if ack.ok:
                self._do(lambda now: self._core.watched(session, home, now))
            elif self._watching.get(session) == ident:
                self._unwatch(session)
                self._watch(session, home)

        topic_filter = topics.on_the_wire(home, session, "#")
        ident = self.node.subscribe(topic_filter, lambda message: self._on_session(session, message), acked)
        self._watching[session] = ident

    def _unwatch(self, session: str) -> None:
        ident = self._watching.pop(session, None)
        if ident is not None:
            self.node.unsubscribe(ident)

    def _publish(self, topic: str, payload: Any) -> None:
        try:
            self.node.publish(topic, payload, {BY: self.agent}, timeout_s=0)
        except TransportError as error:
            log.info("not sent at present: %s", error)  # what the core says this way, it says again

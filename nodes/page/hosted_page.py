"""A visitor's page, hosted by a Python process: the shell around `nodes.page.page_core`.

    page = HostedPage(buttons=["help"])                   # the local broker works at once
    page.subscribe("~/site_connect/ready", show_the_code)
    page.attach(node)                                     # now, or later: with it comes the contact code
    stop = page.stop_session()                            # no update leaves any more
    stop.wait(5.0)                                        # True: the agent handles none any more

Handlers and ack functions are called one at a time: in the thread that published for what is local, else in the node's
I/O thread. So they must not block; they may use the page. Reading order: the API; `handle`; `_do`; `_perform`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from fabric.errors import StateError, TransportError
from fabric.node.coverage import Ack
from fabric.protocol.retained import kept_for
from fabric.wire import Message
from nodes.page.callbacks import Callbacks, call_safely
from nodes.page.fabric_end import FabricEnd
from nodes.page.frame_core import FrameCore
from nodes.page.host import host_of, new_token
from nodes.page.interface import (
    Acked,
    Ask,
    Beyond,
    ClockTicked,
    Count,
    Deliver,
    Effect,
    Event,
    FabricWasFull,
    FrameAttached,
    Hold,
    Input,
    LineKept,
    MessageFun,
    PageCame,
    PageChoseButtons,
    PageRetried,
    PageStopped,
    Release,
    Send,
    StopAcknowledged,
)
from nodes.page.page_chat import Kept
from nodes.page.page_core import PageCore
from nodes.page.stop import Stop
from nodes.rules.backoff import Backoff
from nodes.rules.proofs import key_of, name_of
from nodes.rules.topics import ALLOW, ASKED, DECLINE
from nodes.rules.transcript import ChatLine

if TYPE_CHECKING:
    from fabric.node.node import Node

AckFun = Callable[[Ack], object]
LineFun = Callable[[str, ChatLine], object]

_RETAINED = {"retained": True}


class HostedPage:
    """One page. Safe to use from several threads, and in its own callbacks.

    node:     the frame's way out; without one the page works alone until `attach`
    secret:   of a page that is loaded again; default: a new one, 128 random bits. The session's key and name follow
              from it, see `nodes.rules.proofs`: who has it has the session. It never leaves this process
    resumed:  whether the frame node may know the session already; default: when its secret is given
    buttons:  ids of the page's chat buttons
    lease_s:  how long the frame node keeps the contact code without a heartbeat
    backoff:  how patiently it asks for a code
    consent:  `ask`: who has the code asks, and the program answers ASKED by `allow` or `decline`; `code`, the default:
              to give the code away is to consent, for a program may have nobody to ask. Who asks from a chat has no
              code, and asks in any case
    echo:     False: handlers hear only what comes from elsewhere, as the caller delivers what it publishes
    kept:     lines of the session's chat that were kept elsewhere while no process had this page
    on_line:  called, like a handler, with an agent and each line of the chat with that agent that is kept
    """

    def __init__(
        self,
        node: Node | None = None,
        *,
        secret: str | None = None,
        resumed: bool | None = None,
        buttons: Iterable[str] = (),
        lease_s: float = 10.0,
        backoff: Backoff | None = None,
        consent: str = "code",
        echo: bool = True,
        kept: Kept | None = None,
        on_line: LineFun | None = None,
    ) -> None:
        self.secret, self.lease_s = secret or new_token(), lease_s
        """Neither changes."""
        self.key = key_of(self.secret)
        self.session = name_of(self.key)
        """Key and name of the session; neither changes."""
        frame = FrameCore(
            self.session,
            new_token(),
            resumed=secret is not None if resumed is None else resumed,
            buttons=tuple(buttons),
            lease_s=lease_s,
            backoff=backoff,
            consent=consent,
        )
        self._lock = threading.Lock()
        """Around the core, and around all that follows here; never held while a callback runs."""
        self._core = PageCore(frame, self.key, echo=echo, kept=kept, wall_s=time.time() - time.monotonic())
        self._on_line = on_line
        """Does not change."""
        self._end: FabricEnd | None = None
        """The page's end of the fabric; `attach` sets it, once."""
        self._callbacks = Callbacks()
        """What is to be called back; added under the lock, so in the order of the effects."""
        self._ack_funs: dict[int, AckFun] = {}
        """The function of each subscription whose ack was not told yet."""
        self._stops: dict[int, Stop] = {}
        """Stops that are not acknowledged yet, by number."""
        self._last_stop = 0
        """The number of the last stop; only grows."""
        self._number = 0
        """The number of the last message that the page made itself; only grows."""
        self._woken_at: float | None = None
        """The earliest moment at which the host was asked to wake the page; None: it was not."""
        self._closed = False
        """Set by `close`, for good: nothing is decided, sent or called back any more."""
        self.handle(PageCame())
        if node is not None:
            self.attach(node)

    @property
    def node(self) -> Node | None:
        return None if self._end is None else self._end.host.node

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(
        self, topic: str, msg_fun: MessageFun, ack_fun: AckFun | None = None, *, retained: bool = False
    ) -> int:
        """Subscribe to a topic filter, and return the subscription's id.

        msg_fun:  called with each Message; `headers["retained"]` is set for what was there before. Of this page and its
                  session these are states, and values that the page retains; they come in any case, before the ack
        retained: so do the values that are retained in the fabric, see `Node.subscribe`
        ack_fun:  called once with an Ack, also of a failure: for `~/…` at once, for others when the mesh has answered
        errors:   InvalidFilter; ScopeError; HighWaterMarkReached when too much waits for the fabric
        """
        ident = 0

        def decide(now: float) -> list[Effect]:
            nonlocal ident
            ident, effects = self._core.subscribe(topic, msg_fun, now, retained=retained)
            if ack_fun is not None:
                self._ack_funs[ident] = ack_fun
            return effects

        self._do(decide)
        return ident

    def unsubscribe(self, subscription_id: int) -> None:
        """End a subscription: its handler is called no more. KeyError when no subscription has it."""

        def decide(now: float) -> list[Effect]:
            effects = self._core.unsubscribe(subscription_id)
            self._ack_funs.pop(subscription_id, None)
            return effects

        self._do(decide)

    def publish(self, topic: str, msg: Any, *, retain: bool = False, expires_s: float | None = None) -> None:
        """Publish: `~/…` to this page, `~pagesession/…` to this session, all else to the fabric.

        retain:  keep it as the topic's last value, see `Node.publish`: of the first two in this page, for its own
                 subscribers, as long as it lives
        errors:  InvalidTopic; ScopeError for what may not be published; LocalWireError for a payload that cannot be
                 sent; HighWaterMarkReached when too much waits for the fabric; NotAllowed for an answer to no request
        """
        keep_s = kept_for(retain, expires_s)
        self._do(lambda now: self._core.publish(topic, msg, now, keep_s))

    def allow(self, epoch: int) -> None:
        """The visitor allows the request of this epoch, see ASKED; nothing if it is over."""
        self.publish(ALLOW, {"epoch": epoch})

    def decline(self, epoch: int) -> None:
        """The visitor declines it. When this returns, no update leaves in this epoch, even if it was allowed before."""
        self.publish(DECLINE, {"epoch": epoch})

    def asked(self) -> dict[str, Any] | None:
        """Return what an agent asks for now, the payload of ASKED; None while nobody asks."""
        return next((event.payload for event in self.retained() if event.topic == ASKED), None)

    def send_update(
        self, event: Any, snapshot: bool = False, epoch: int | None = None, number: int | None = None
    ) -> bool:
        """Send a page update to the agent in session; False when no agent is: then nothing was sent.

        snapshot:  the event is the whole page: what an agent needs to begin, and after a gap
        epoch:     the one it was made in, if that may be over; then nothing is sent
        number:    the one it was given where it was made, if that is elsewhere; by default the next one
        errors:    TransportError when the fabric takes nothing at present: the agent will ask for a snapshot
        """
        effects: list[Effect] = []

        def decide(now: float) -> list[Effect]:
            effects.extend(self._core.send_update(event, snapshot, epoch, number))
            return effects

        self._do(decide)
        return bool(effects)

    def send_pulse(self, number: int, silent_s: float, is_open: bool) -> bool:
        """Say to the agent in session how current its picture is, see `PageCore.send_pulse`; False when there is none.

        errors:  TransportError when the fabric takes nothing at present: the next one says it as well
        """
        effects: list[Effect] = []

        def decide(now: float) -> list[Effect]:
            effects.extend(self._core.send_pulse(number, silent_s, is_open))
            return effects

        self._do(decide)
        return bool(effects)

    def send_presence(self, silent_s: float, is_open: bool) -> bool:
        """Say to the agent in chat whether the page is there, see `PageCore.send_presence`; False when there is none.

        errors:  TransportError when the fabric takes nothing at present: the next one says it as well
        """
        if self._core.chat.agent is None:
            return False  # as of most pages, each second
        effects: list[Effect] = []

        def decide(now: float) -> list[Effect]:
            effects.extend(self._core.send_presence(silent_s, is_open))
            return effects

        self._do(decide)
        return bool(effects)

    def chat(self) -> Kept | None:
        """Return what was said in the present chat, or the last one; None when that is nothing, or was dismissed."""
        with self._lock:
            return self._core.chat.kept()

    def dismiss_chat(self) -> None:
        """The visitor has read a chat that has ended: it is kept no more. Nothing while it is open."""
        with self._lock:
            self._core.chat.dismissed()

    def try_update(self, event: Any, snapshot: bool = False) -> bool:
        """`send_update`, but False also when the fabric takes nothing at present."""
        try:
            return self.send_update(event, snapshot)
        except TransportError:
            return False

    def stop_session(self) -> Stop:
        """End a running co-browse session by force. When this returns, no update leaves the page any more."""
        stop = Stop()

        def decide(now: float) -> list[Effect]:
            self._last_stop += 1
            self._stops[self._last_stop] = stop
            return self._core.handle(PageStopped(self._last_stop), now)

        self._do(decide)
        return stop

    def attach(self, node: Node) -> None:
        """Give the frame its node: what waited goes out, and a contact code is asked for.

        errors:  StateError when it has one already, or was closed, or the session is open at this node
        """
        host = host_of(node)
        with self._lock:
            if self._closed or self._end is not None:
                state = "closed" if self._closed else "attached"
                raise StateError("page", state, "attach", "expected a page that is open and has no node yet")
            told = host.add(self)
            self._end = FabricEnd(host, self.session, self.key, self.handle)
        self.handle(FrameAttached(host.home), *told)

    def retry(self) -> None:
        """After `~/site_connect/error`: ask for a code again. StateError when there was no error."""
        self.handle(PageRetried())

    def set_buttons(self, buttons: Iterable[str]) -> None:
        """The page shows these chat buttons now."""
        available = None if self._end is None else self._end.host.available
        self.handle(PageChoseButtons(tuple(buttons), available))

    def retained(self) -> list[Event]:
        """Return the states, topic and payload, that a late subscriber is told now."""
        with self._lock:
            return self._core.frame.retained()

    def told(self) -> dict[str, Any] | None:
        """Return what it was told of its frame and chat: visibility, chat, chat_agent, button; None: nothing yet."""
        with self._lock:
            if not self._core.frame.is_known:
                return None
            view = self._core.frame.view()
        return {
            "visibility": view.visibility,
            "chat": view.chat,
            "chat_agent": view.chat_agent,
            "button": view.button,
        }

    @property
    def is_ready(self) -> bool:
        """Whether it holds a session at the frame node."""
        return self._core.frame.is_ready

    @property
    def has_failed(self) -> bool:
        """Whether it gave up getting a code, and `retry` would begin again."""
        return self._core.frame.has_failed

    @property
    def has_moved(self) -> bool:
        """Whether the frame node knows another home of this session: it lives on there."""
        home = self._core.frame.state.get("home")
        return home is not None and self._end is not None and home != self._end.host.home

    def close(self, release: bool = True) -> None:
        """End the page: no handler is called any more. Does not wait.

        release:  the visitor has left; False: the page is loaded again, and the session lives until its lease is over
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            end = self._end
        if end is not None:
            end.close()
            end.host.remove(self, release)

    # ── inputs and effects ───────────────────────────────────────────────────────────────────────────────────────

    def handle(self, *events: Input) -> None:
        """Take what happened: for the host, and for what the page does itself.

        errors: StateError for what does not belong here; then nothing has happened
        """

        def decide(now: float) -> list[Effect]:
            if any(isinstance(event, ClockTicked) for event in events):
                self._woken_at = None
            return [effect for event in events for effect in self._core.handle(event, now)]

        self._do(decide)

    def _do(self, decide: Callable[[float], list[Effect]]) -> None:
        """Decide and send under the lock, so that nothing overtakes; call back without it."""
        now = time.monotonic()
        with self._lock:
            if self._closed:
                return
            asks = self._perform(decide(now), now)
            end, wake_at = self._end, self._wake_at()
        if end is not None:
            for ask in asks:
                end.host.frame_node.ask(self, ask)
            if wake_at is not None:
                end.host.wake_at(self, wake_at)
        self._callbacks.run()

    def _wake_at(self) -> float | None:
        """Return when the host has to wake the page; None when it will be awake by then anyway."""
        due_s = self._core.due_s()
        if self._end is None or due_s is None or (self._woken_at is not None and self._woken_at <= due_s):
            return None
        self._woken_at = due_s
        return due_s

    def _perform(self, effects: list[Effect], now: float) -> list[Ask]:
        """With the lock held. Return what is to be asked: an answer may come within the call."""
        asks: list[Ask] = []
        unsent: list[Beyond] = []
        for effect in effects:
            match effect:
                case Send() | Hold():
                    if unsent or not self._send(effect):
                        unsent.append(effect)
                case Deliver():
                    self._callbacks.add(self._delivery(effect))
                case Ask():
                    asks.append(effect)
                case Release(subscription):
                    if self._end is not None:
                        self._end.release(subscription)
                case Acked(subscription, ack):
                    self._tell_ack(subscription, ack)
                case LineKept(agent, line) if self._on_line is not None:
                    self._callbacks.add(partial(self._on_line, agent, line))
                case Count(what) if self._end is not None:
                    self._end.host.counts[what] += 1
                case StopAcknowledged(number):
                    self._callbacks.add(self._stops.pop(number).acknowledge)
        if unsent:
            self._core.handle(FabricWasFull(tuple(unsent)), now)
        return asks

    def _send(self, effect: Beyond) -> bool:
        assert self._end is not None  # the core sends nothing before FrameAttached
        return self._end.send(effect, self._core.hearers)

    def _tell_ack(self, subscription: int, ack: Ack) -> None:
        fun = self._ack_funs.pop(subscription, None)
        if fun is not None:
            self._callbacks.add(lambda: fun(ack))

    def _delivery(self, deliver: Deliver) -> Callable[[], None]:
        message = deliver.message
        if message is None:
            self._number += 1
            headers = _RETAINED if deliver.retained else {}
            message = Message(deliver.topic, deliver.payload, 0, self._number, time.time_ns(), headers)

        def call() -> None:
            for subscription in deliver.subscriptions:
                if subscription.active and not self._closed:
                    call_safely(subscription.handler, message)

        return call

"""A visitor's page, hosted by a Python process: the shell around `nodes.page.page_core`.

    page = HostedPage(buttons=["help"])                     # the local broker works at once
    page.subscribe("~/site_connect/ready", show_the_code)
    page.attach(node)                                     # now, or later: with it comes the contact code
    stop = page.stop_session()                            # no update leaves any more
    stop.wait(5.0)                                        # True: the agent handles none any more

Handlers and ack functions are called one at a time: in the thread that published for what is local, else in the node's
I/O thread. So they must not block; they may use the page. Reading order: the API; `_do`; `_perform`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from fabric.errors import FabricError, StateError, TransportError
from fabric.node.coverage import Ack
from fabric.node.node import Node
from fabric.wire import Message
from nodes.page.events import Event
from nodes.page.frame_core import Ask, FrameCore, StopAcknowledged
from nodes.page.host import PageHost, draw, host_of, new_token
from nodes.page.page_core import Acked, Deliver, Effect, Hold, MessageFun, PageCore, Release, Send
from nodes.rules.backoff import Backoff
from nodes.rules.topics import BY

AckFun = Callable[[Ack], object]
log = logging.getLogger("nodes.page")

_BY_PAGE = {BY: "page"}
_RETAINED = {"retained": True}


class Stop:
    """A stop that was asked for. It is acknowledged when no agent handles an update of that session any more."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._then: list[Callable[[], object]] = []

    @property
    def acknowledged(self) -> bool:
        return self._over.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the acknowledgement; False when it did not come in time. Not in a callback."""
        return self._over.wait(timeout_s)

    def on_acknowledged(self, fun: Callable[[], object]) -> None:
        """Have `fun` called at the acknowledgement: at once, if it has come already."""
        with self._lock:
            if not self._over.is_set():
                self._then.append(fun)
                return
        _call(fun)

    def _end(self) -> None:
        with self._lock:
            self._over.set()
            then, self._then = self._then, []
        for fun in then:
            _call(fun)


class HostedPage:
    """One page. Safe to use from several threads, and in its own callbacks.

    node:     the frame's way out; without one the page works alone until `attach`
    session:  of a page that is loaded again; default: a new one, 128 random bits
    buttons:  ids of the page's chat buttons
    lease_s:  how long the frame node keeps the contact code without a heartbeat
    backoff:  how patiently it asks for a code
    echo:     False: handlers hear only what comes from elsewhere; whoever publishes has delivered it already
    """

    def __init__(
        self,
        node: Node | None = None,
        *,
        session: str | None = None,
        buttons: Iterable[str] = (),
        lease_s: float = 10.0,
        backoff: Backoff | None = None,
        echo: bool = True,
    ) -> None:
        self.session, self.lease_s = session or new_token(), lease_s
        self._frame = FrameCore(
            self.session,
            new_token(),
            resumed=session is not None,
            buttons=tuple(buttons),
            lease_s=lease_s,
            backoff=backoff,
        )
        self._core = PageCore(self._frame, echo=echo)
        self._host: PageHost | None = None
        self._lock = threading.Lock()
        self._calling = threading.Lock()
        self._to_call: deque[Callable[[], None]] = deque()
        self._ack_funs: dict[int, AckFun] = {}
        self._held: dict[int, int] = {}
        self._stops: dict[int, Stop] = {}
        self._number = 0
        self._woken_at: float | None = None
        self._closed = False
        self._do(lambda now: self._core.act(self._frame.page_came(now)))
        if node is not None:
            self.attach(node)

    @property
    def node(self) -> Node | None:
        return None if self._host is None else self._host.node

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, topic: str, msg_fun: MessageFun, ack_fun: AckFun | None = None) -> int:
        """Subscribe to a topic filter, and return the subscription's id.

        msg_fun:  called with each Message; `headers["retained"]` is set for a state that a late subscriber is told
        ack_fun:  called once with an Ack, also of a failure: for `~/…` at once, for others when the mesh has answered
        errors:   InvalidFilter; ScopeError; HighWaterMarkReached when too much waits for the fabric
        """
        ident = 0

        def decide(now: float) -> list[Effect]:
            nonlocal ident
            ident, effects = self._core.subscribe(topic, msg_fun, now)
            if ack_fun is not None:
                self._ack_funs[ident] = ack_fun
            return effects

        self._do(decide)
        return ident

    def unsubscribe(self, subscription_id: int) -> None:
        """End a subscription: its handler is called no more. KeyError when there is none of this id."""

        def decide(now: float) -> list[Effect]:
            effects = self._core.unsubscribe(subscription_id)
            self._ack_funs.pop(subscription_id, None)
            return effects

        self._do(decide)

    def publish(self, topic: str, msg: Any) -> None:
        """Publish: `~/…` to this page, `~pagesession/…` to this session, all else to the fabric.

        errors:  InvalidTopic; ScopeError for what may not be published; LocalWireError for a payload that cannot be
                 sent; HighWaterMarkReached when too much waits for the fabric
        """
        self._do(lambda now: self._core.publish(topic, msg, now))

    def send_update(
        self, event: Any, snapshot: bool = False, epoch: int | None = None, number: int | None = None
    ) -> bool:
        """Send a page update to the agent in session; False when there is none, and so nothing was sent.

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
            number, effects = self._core.stop_session(now)
            self._stops[number] = stop
            return effects

        self._do(decide)
        return stop

    def attach(self, node: Node) -> None:
        """Give the frame its node: what waited goes out, and a contact code is asked for.

        errors:  StateError when it has one already, or was closed, or the session is open at this node
        """
        host = host_of(node)
        with self._lock:
            if self._closed or self._host is not None:
                state = "closed" if self._closed else "attached"
                raise StateError("page", state, "attach", "a page is attached once, before it is closed")
            ack, available = host.add(self)
            self._host = host

        def decide(now: float) -> list[Effect]:
            effects = self._core.attached(host.home, now)
            if ack is not None:
                effects += self._core.session_acked(ack, now)
            if available is not None:
                effects += self._core.act(self._frame.buttons(available))
            return effects

        self._do(decide)

    def retained(self) -> list[Event]:
        """Return the states, topic and payload, that a late subscriber is told now."""
        with self._lock:
            return self._core.retained()

    def set_buttons(self, buttons: Iterable[str]) -> None:
        """The page shows these chat buttons now."""
        available = None if self._host is None else self._host.available
        self._do(lambda now: self._core.set_buttons(tuple(buttons), available))

    def told(self) -> dict[str, Any] | None:
        """Return what it was told of its frame and chat: visibility, chat, chat_agent, button; None: nothing yet."""
        with self._lock:
            return self._frame.told()

    @property
    def has_moved(self) -> bool:
        """Whether the frame node knows another home of this session: it lives on there."""
        home = self._frame.state.get("home")
        return home is not None and self._host is not None and home != self._host.home

    def retry(self) -> None:
        """After `~/site_connect/error`: ask for a code again. StateError when there was no error."""
        self._do(lambda now: self._core.act(self._frame.retry(now)))

    def close(self, release: bool = True) -> None:
        """End the page: no handler is called any more. Does not wait.

        release:  the visitor has left; False: the page is loaded again, and the session lives until its lease is over
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            held, self._held = self._held, {}
            host = self._host
        if host is not None:
            for ident in held.values():
                try:
                    host.node.unsubscribe(ident)
                except FabricError:
                    break  # the node is closed, and with it all that it held
            host.remove(self, release)

    # ── for the host, in the I/O thread ──────────────────────────────────────────────────────────────────────────

    @property
    def is_ready(self) -> bool:
        return self._frame.loading == "ready"

    def ticked(self, now: float) -> None:
        with self._lock:
            self._woken_at = None
        self._do(self._core.tick)

    def session_acked(self, ack: Ack, now: float) -> None:
        self._do(lambda now: self._core.session_acked(ack, now))

    def received(self, message: Message, topic: str, now: float) -> None:
        self._do(lambda now: self._core.received(message._replace(topic=topic), topic, now))

    def answered(self, ask: Ask, state: object, now: float) -> None:
        self._do(lambda now: self._core.act(self._frame.answered(ask, state, now)))

    def refused(self, ask: Ask, why: str, retry_after_s: float, now: float) -> None:
        self._do(lambda now: self._core.act(self._frame.refused(ask, why, retry_after_s, draw(), now)))

    def rejected(self, ask: Ask, why: str, now: float) -> None:
        self._do(lambda now: self._core.act(self._frame.rejected(ask, why, now)))

    def heard(self, state: object, now: float) -> None:
        self._do(lambda now: self._core.act(self._frame.heard(state, now)))

    def gone(self, asked_at: float, now: float) -> None:
        self._do(lambda now: self._core.act(self._frame.gone(asked_at, now)))

    def buttons(self, available: dict[str, Any]) -> None:
        self._do(lambda now: self._core.act(self._frame.buttons(available)))

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _do(self, decide: Callable[[float], list[Effect]]) -> None:
        """Decide and send under the lock, so that nothing overtakes; call back without it."""
        now = time.monotonic()
        with self._lock:
            if self._closed:
                return
            asks = self._perform(decide(now), now)
            due = self._core.due() if self._host is not None else None
            if due is not None and (self._woken_at is None or due < self._woken_at):
                self._woken_at = due
            else:
                due = None
            host = self._host
        if host is not None:
            for ask in asks:
                host.ask(self, ask)
            if due is not None:
                host.wake_at(self, due)
        self._call()

    def _perform(self, effects: list[Effect], now: float) -> list[Ask]:
        """With the lock held. Return what is to be asked: an answer may come within the call."""
        asks: list[Ask] = []
        unsent: list[Hold | Send] = []
        for effect in effects:
            match effect:
                case Send() | Hold():
                    if unsent or not self._send(effect):
                        unsent.append(effect)
                case Release(subscription):
                    self._release(subscription)
                case Ask():
                    asks.append(effect)
                case Deliver():
                    self._to_call.append(self._delivery(effect))
                case Acked(subscription, ack):
                    fun = self._ack_funs.pop(subscription, None)
                    if fun is not None:
                        self._to_call.append(lambda fun=fun, ack=ack: fun(ack))  # type: ignore[misc]
                case StopAcknowledged(number):
                    stop = self._stops.pop(number, None)
                    if stop is not None:
                        self._to_call.append(stop._end)
        if unsent:
            self._core.unsent(unsent, now)
        return asks

    def _send(self, effect: Send | Hold) -> bool:
        """False: the fabric takes nothing at present."""
        host = self._host
        assert host is not None
        try:
            if isinstance(effect, Hold):
                self._hold(effect, host.node)
                return True
            topic = host.topic(self.session, effect.topic)
            host.node.publish(topic, effect.payload, None if topic is effect.topic else _BY_PAGE, timeout_s=0)
        except TransportError:
            if isinstance(effect, Send) and effect.at_once:
                raise
            return False
        except StateError:
            host.counts["dropped"] += 1  # the node is closed; the page works on, alone
        return True

    def _hold(self, hold: Hold, node: Node) -> None:
        ident = hold.subscription
        self._held[ident] = node.subscribe(
            hold.topic_filter,
            lambda message: self._do(lambda now: self._core.from_fabric(ident, message)),
            lambda ack: self._do(lambda now: [Acked(ident, ack)]),
        )

    def _release(self, subscription: int) -> None:
        held = self._held.pop(subscription, None)
        if held is not None and self._host is not None:
            try:
                self._host.node.unsubscribe(held)
            except StateError:
                pass  # closed, and with it all that it held

    def _delivery(self, deliver: Deliver) -> Callable[[], None]:
        message = deliver.message
        if message is None:
            self._number += 1
            headers = _RETAINED if deliver.retained else {}
            message = Message(deliver.topic, deliver.payload, 0, self._number, time.time_ns(), headers)

        def call() -> None:
            for subscription in deliver.subscriptions:
                if subscription.active and not self._closed:
                    _call(subscription.handler, message)

        return call

    def _call(self) -> None:
        """Call back, one thing after the other; whoever is at it takes over what comes meanwhile."""
        while self._to_call and self._calling.acquire(blocking=False):
            try:
                while self._to_call:
                    _call(self._to_call.popleft())
            finally:
                self._calling.release()


def _call(fun: Callable[..., object], *args: object) -> None:
    try:
        fun(*args)
    except Exception:
        log.exception("a callback of a page raised: %r", fun)

"""The I/O side of a node: one thread that receives, decodes and calls the handlers, and performs every decision.

What application threads want of it they give it as `commands`. The decisions are elsewhere, pure: `connection` (which
proxy), `interest` (which prefixes), `coverage` (markers and acks), `gaps` (order, losses), `broker` (who wants what).
This module performs their effects. A move to another proxy is a `handover`.

Reading order: `_run`, `_receive`, `_tick`; then subscriptions, what is addressed to this node, effects.
"""

from __future__ import annotations

import contextlib
import logging
import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import zmq

from fabric import sockets
from fabric.endpoints import Endpoints
from fabric.errors import KeysError, RemoteWireError, StateError
from fabric.identity.keys import Keys, read_rules
from fabric.node import connection, contexts, coverage
from fabric.node.commands import Commands
from fabric.node.connection import Connection
from fabric.node.coverage import Ack, Coverage, CoverageEvent
from fabric.node.credentials import Credentials
from fabric.node.downlink import TICK_MS, Downlink
from fabric.node.gaps import Gap
from fabric.node.handover import Handover
from fabric.node.interest import Change, wire_prefixes
from fabric.node.interests import Interests
from fabric.node.receiver import MessageFun, Receiver
from fabric.node.repairer import Repairer
from fabric.node.retained import LastKnown, Retained, wanted_prefixes
from fabric.node.ring import Ring
from fabric.node.subscriptions import AckFun, Subscriptions
from fabric.node.uplink import Uplink
from fabric.protocol import markers
from fabric.protocol.questions import is_question
from fabric.protocol.repair import RAW_REPAIR
from fabric.protocol.retained import BATCH_BYTES, NotKept, read_batch, read_not_kept
from fabric.protocol.views import View
from fabric.topics import require_name, scope
from fabric.wire import DEFAULT_MAX_PAYLOAD_BYTES, Message, decode_body

log = logging.getLogger("fabric.node")

TICK_S = TICK_MS / 1000
QUIET_MSGS = 16
"""A thread that sleeps is woken by a message, the bell, or an event of its connection to the ingress. It reads at most
so many messages before it looks at what else is to be done, and sleeps on."""
CROWD = 150
"""Messages in one tick from which on waking up for each costs more than the work itself."""
COALESCE_S = 0.0003
"""Then, when all is read, the thread sleeps so long, and finds several where it would have been woken for each."""
FIRM = 3
"""So often an address hangs up before it counts as a refusal; to say no to a key once will do."""
DRAIN_MSGS = 1_000_000
"""At most so many messages are read from a proxy that is lost, before it is let go."""


@dataclass(frozen=True)
class NodeState:
    """`connected`, `connecting`, `moving` or `closed`, at which proxy, and why.

    uncertain: parts that were accepted and, with this change, may be lost: more were unconfirmed than could be kept
    """

    state: str
    base: str
    reason: str = ""
    uncertain: int = 0


class Attached(Protocol):
    """What lives on a node: `tick` comes in the I/O thread every 10 ms, `idle` when nothing waits to be read."""

    def tick(self, now: float, idle: bool) -> None: ...

    def close(self) -> None: ...


class Engine:
    """What a Node has, and stands on; see there for the arguments. It takes what `Node` has checked.

    Application threads call what is public; the rest is for the I/O thread, which runs from `start` to `close`. Of the
    fields below, those under *I/O thread* are read and changed by it alone. Those under *lock* are changed under
    `_lock`, by any thread. The others say who changes them. Times are monotonic, in seconds.
    """

    def __init__(
        self,
        bases: Sequence[str],
        *,
        name: str | None,
        ack_timeout_s: float,
        send_timeout_s: float,
        forgets_unconfirmed: bool,
        silence_s: float,
        may_move: bool,
        max_prefixes: int,
        max_payload_bytes: int,
        max_unconfirmed_bytes: int,
        max_entries: int,
        hwm_msgs: int,
        reorder_window_s: float,
        repair_timeout_s: float,
        repair_bytes: int,
        repair_age_s: float,
        context: sockets.Context | None,
        keys: Keys | None = None,
    ) -> None:
        # ── constants of this run ──
        self.credentials = Credentials(keys, secrets.token_hex)
        """What it shows, and may do. I/O thread, but for `why_not_…`."""
        self.token = self.credentials.new_token()
        """This run's incarnation, 32 hexadecimal digits: in the topics of all that is addressed to this node."""
        self.name = name or f"node-{self.token[:8]}"
        require_name("name", self.name)
        self._reorder_window_s, self._hwm_msgs = reorder_window_s, hwm_msgs
        self.max_payload_bytes = max_payload_bytes

        # ── lock ──
        self._lock = threading.RLock()
        """Guards what is subscribed, and what stands here; held for microseconds, never over a call of a user's
        function."""
        self._attached: tuple[Attached, ...] = ()
        """What lives on this node, in the order it was attached. Replaced as a whole, so that it is read unlocked."""

        # ── any thread; a list or a deque of CPython takes an append without a lock ──
        self.gap_funs: list[Callable[[Gap], object]] = []
        self.state_funs: list[Callable[[NodeState], object]] = []
        self.coverage_funs: list[Callable[[CoverageEvent], object]] = []
        self.denied_funs: list[Callable[[str, str], object]] = []
        self.not_retained_funs: list[Callable[[NotKept], object]] = []
        """Callbacks of `on_gap` and the like: only ever longer. Called in the I/O thread."""
        self.on_rights: Callable[[], object] = lambda: None
        """Called in the I/O thread when the rights have changed. Set once, before the thread starts."""
        self._closing = False
        """Set once, by `close`: the I/O thread ends with this turn."""

        # ── I/O thread: what is subscribed ──
        self._interest = Interests(max_prefixes + 1, self.credentials.may_hold)  # one for what its proxy says of itself
        """The filters held, and the prefixes that carry them. The downlinks hold exactly these, or are about to."""
        self._generations: dict[bytes, int] = {}
        """Prefixes upstream, and the generation of `_coverage` in which each was sent. Keys: `_interest.wire()`."""
        self._held: dict[int, str] = {}
        """Filters of the subscriptions that are held: not of local ones, nor of those that were denied."""
        self._fresh = False
        """Prefixes were added that no marker follows yet; the next `_run_commands` sends one."""
        self._released: list[str] = []
        """Filters that were released; `_run_commands` has their numbers forgotten, all together."""
        self._claims: set[bytes] = set()
        """Prefixes held here that the proxy's relay gave up. Sent with the next tick, and then empty."""

        # ── I/O thread: the proxy that this node is at ──
        self._connection = Connection(
            [Endpoints.parse(base).base for base in bases], silence_s=silence_s, may_move=may_move
        )
        """Decides which proxy."""
        self._coverage = Coverage(secrets.token_bytes, ack_timeout_s=ack_timeout_s)
        """Decides what the subscriptions reach over `_down`."""
        self.own: str | None = None
        """Id of the proxy at `_down`, once it has answered there; None before, and after each change of proxy."""
        self._own_filter: int | None = None
        """Subscription to the announcements of the last `_own`; replaced when another proxy answers."""
        self._want_uplink: str | None = None
        """Ingress to which a connection is still to be made: the uplink's lock was busy. Tried again with each tick."""
        self.state = NodeState("connecting", self._connection.base)
        """What callbacks were last told. Replaced as a whole; other threads read it."""
        self._connected = threading.Event()
        """Set when the node was connected for the first time, and never cleared."""
        self._answered = threading.Event()
        """Set likewise, and when every proxy has refused this node. Never cleared."""
        self._refusals: Counter[str] = Counter()
        """How often each address has refused this node since it last let it in; `FIRM` and more: it means it."""

        # ── I/O thread: the move to another proxy ──
        self._handover: Handover | None = None
        """There exactly while `_connection.state` is `moving`, but for the moment of a change."""
        self._await_until = 0.0
        """Until then a jump in the numbers may be made good by the other way; see `Receiver.awaits`."""

        # ── I/O thread: its loop ──
        self._next_tick = 0.0
        """When the next tick is due."""
        self._quiet = self._crowded = False
        """Quiet: nothing was under way at the last tick, so it sleeps until something comes or is due. Crowded: it read
        more than `CROWD` messages since the tick before."""
        self._emptied = 0
        """How often nothing was left to be read, when `_was_all_read` was last called."""
        self._asleep = False
        """It sleeps, being quiet. Who publishes much clears it, and rings."""
        self.counts: dict[str, int] = {"moves": 0, "reconnects": 0, "refused_answers": 0, "denied": 0, "refusals": 0}
        self.counts["not_retained"] = 0
        """Counts since the start. `refused_answers`: what was addressed to this node and could not be read. `denied`:
        what it was asked to do and may not. `refusals`: of its connections, by proxies. `not_retained`: values
        that this node set and that are over a bound."""
        self.receiver = Receiver(
            self._lock,
            (markers.node_prefix(self.token), RAW_REPAIR),
            self._on_private,
            self._tell_gap,
            self._on_notice,
            max_payload_bytes=max_payload_bytes,
            reorder_window_s=reorder_window_s,
            max_entries=max_entries,
            repairs=repair_timeout_s > 0,
        )
        self._ring = Ring(max_bytes=repair_bytes, max_age_s=repair_age_s)
        """What was published lately. Under the uplink's lock."""
        self.subscriptions = Subscriptions(self._lock, self.receiver.broker)
        """What is subscribed, and whose ack has come."""
        self.retained = Retained(
            self.receiver.call,
            self.subscriptions.is_active,
            self.receiver.refuse,
            self._tell_not_retained,
            lambda: self._coverage.wants,
        )
        """Retained values that subscriptions want. I/O thread."""
        self.on_question: Callable[[object], None] = lambda payload: None
        """Called with an operator's question. Set once, before the thread starts."""
        self._leased = context is None
        """`_context` is to be given back."""
        self._context = contexts.of_this_process().lease() if context is None else context
        """Of its sockets; other nodes may share it."""
        try:
            self._open_sockets(max_payload_bytes, max_unconfirmed_bytes, send_timeout_s, forgets_unconfirmed)
        except BaseException:
            self._give_back()
            raise
        self.repairer = Repairer(
            self.token,
            self.receiver,
            self.up,
            self._ring,
            lambda topic_filter: self._apply(self._interest.hold(topic_filter)),
            lambda: not self._down.poll(),
            timeout_s=repair_timeout_s,
            max_payload_bytes=max_payload_bytes,
        )
        """What is lost on the way here, or from here. I/O thread."""
        self.thread = threading.Thread(target=self._run, name=f"fabric-node-{self.name}", daemon=True)

    def _open_sockets(
        self, max_payload_bytes: int, max_unconfirmed_bytes: int, send_timeout_s: float, forgets_unconfirmed: bool
    ) -> None:
        with contextlib.ExitStack() as opened:  # what is opened is closed when the next cannot be
            self.commands = Commands(self._context, self.token)
            """What application threads want done."""
            opened.callback(self.commands.close)
            self._serial = 0
            """How many downlinks were made. I/O thread, but for the first."""
            self._down = self._new_downlink()
            """From the proxy that this node is at. I/O thread; replaced at the end of a move."""
            opened.callback(self._down.close)
            self.up = Uplink(
                self._context,
                self.token,
                self.credentials.new_publisher,
                hwm_msgs=self._hwm_msgs,
                max_payload_bytes=max_payload_bytes,
                max_unconfirmed_bytes=max_unconfirmed_bytes,
                send_timeout_s=send_timeout_s,
                forgets_unconfirmed=forgets_unconfirmed,
                curve=lambda: self.credentials.curve,
                on_much=self._wake,
                on_wanted=lambda: self.commands.put(self._publishes),
                on_retains=lambda publisher: self.commands.put(lambda: self._retains(publisher)),
                ring=self._ring,
            )
            opened.pop_all()

    def _give_back(self) -> None:
        if self._leased:
            contexts.of_this_process().give_back(self._context)

    def _new_downlink(self) -> Downlink:
        self._serial += 1
        curve = self.credentials.curve
        return Downlink(
            self._context, self.token, self._serial, self.commands.endpoint, hwm_msgs=self._hwm_msgs, curve=curve
        )

    # ── application threads ──────────────────────────────────────────────────────────────────────────────────────────

    def start(self, timeout_s: float) -> bool:
        """Run the I/O thread; return whether a proxy answered in time, both ways if something is published by then."""
        self.thread.start()
        self._answered.wait(timeout_s)
        return self._connected.is_set()

    def close(self, timeout_s: float, join_s: float | None = None) -> int:
        """End it, when all that was accepted is confirmed or after `timeout_s`; return how many parts are not.

        join_s: how long a callback that is running is waited for; then the sockets stay open. None: for ever
        """
        self.up.finish()
        self.commands.ring()
        left = self.up.wait_confirmed(timeout_s) if self._connected.is_set() else self.up.unconfirmed
        if left:
            log.warning("closed with %d messages that are not known to have reached a proxy", left)
        self._closing = True
        self.commands.ring()
        self.thread.join(join_s)
        if self.thread.is_alive():  # its sockets are its own: nobody else may close them
            return left
        self.up.close()
        self.commands.close()
        self._give_back()
        return left

    def close_attached(self) -> None:
        """Call `close` of what lives here, last one first."""
        for service in reversed(self._attached):
            service.close()

    @property
    def in_io_thread(self) -> bool:
        return threading.current_thread() is self.thread

    def subscribe(
        self,
        topic_filter: str,
        msg_fun: MessageFun,
        ack_fun: AckFun | None,
        *,
        retained: bool = False,
        as_published: bool = False,
    ) -> int:
        since = time.monotonic()
        known = LastKnown(msg_fun, as_published=as_published) if retained else None
        ident = self.subscriptions.add(topic_filter, known or msg_fun, ack_fun)
        self.commands.put(lambda: self._hold(ident, topic_filter, since, known))
        return ident

    def expect(self, topic: str, publisher: int, number: int, ask: bool) -> None:
        def expect() -> None:
            if self.receiver.expect(topic, publisher, number) and ask:
                self.repairer.probe(topic, publisher, number + 1, time.monotonic())

        self.commands.put(expect)

    def unsubscribe(self, ident: int) -> None:
        topic_filter = self.subscriptions.remove(ident)
        self.commands.put(lambda: self._release(ident, topic_filter))

    def attach(self, service: Attached) -> None:
        with self._lock:
            self._attached = (*self._attached, service)

    def detach(self, service: Attached) -> None:
        with self._lock:
            self._attached = tuple(each for each in self._attached if each is not service)

    def stats(self) -> dict[str, Any]:
        """Return figures: counts since the start, and what is held at present."""
        receiver, detector, up = self.receiver, self.receiver.detector, self.up
        return {
            "name": self.name,
            "state": self.state.state,
            "base": self.state.base,
            "proxy": self.own,
            "published": up.published,
            "unconfirmed": up.unconfirmed,
            "uncertain": up.uncertain,
            "resent": up.resent,
            "not_opened": up.not_opened,
            "waits": up.waits,
            "waited_s": round(up.waited_s, 6),
            "received": receiver.received,
            "over_delivered": receiver.unmatched,
            "refused": dict(receiver.refused),
            "duplicates": detector.duplicates,
            "gaps": detector.gaps,
            "lost": detector.lost,
            "started_late": detector.started_late,
            "held": len(up.reholding),
            "held_again": up.reholding.sent,
            "repaired": receiver.repaired,
            "asked": self.repairer.asked,
            "answered": self.repairer.answered,
            "repeated": self.repairer.repeated,
            "evicted": detector.evicted,
            "failed_callbacks": receiver.failed_callbacks,
            "subscriptions": len(self.subscriptions),
            "interest": self._interest.stats(),
            "covered": list(self._coverage.covered),
            "missing": list(self._coverage.missing),
            **self.counts,
        }

    # ── subscriptions, in the I/O thread ─────────────────────────────────────────────────────────────────────────────

    def _run_commands(self) -> None:
        self.commands.run(TICK_S)
        if self._released:
            released, self._released = self._released, []
            self.receiver.forget(released)
        if self._fresh:
            self._fresh = False
            self._perform_coverage(self._coverage.prefixes_sent(time.monotonic()))
        for link in self._links():
            link.flush()

    def _hold(self, ident: int, topic_filter: str, since: float, known: LastKnown | None) -> None:
        if known is not None:
            self.retained.wanted(ident, topic_filter, known)
        if scope(topic_filter) == "local":
            self._acknowledge(ident, Ack(True, (), (), time.monotonic() - since))
            return
        why = self.credentials.why_not_subscribe(topic_filter, wire_prefixes(topic_filter))
        if why is not None:
            self.counts["denied"] += 1
            self._acknowledge(ident, Ack(False, (), (), time.monotonic() - since, why, denied=True))
            return
        self._held[ident] = topic_filter
        change = self._interest.hold(topic_filter)
        self._apply(change)
        generation = max((self._generations.get(prefix, 0) for prefix in change.needs), default=0)
        wanted = () if known is None else wanted_prefixes(topic_filter)
        self._fresh |= known is not None
        self._perform_coverage(self._coverage.ack_wanted(ident, generation, since, wanted))

    def _release(self, ident: int, topic_filter: str) -> None:
        if self._held.pop(ident, None) is not None:
            self._apply(self._interest.release(topic_filter))
            self._released.append(topic_filter)
        self._perform_coverage(
            self._coverage.subscription_ended(ident, time.monotonic(), "unsubscribed before the ack")
        )
        self.subscriptions.forget(ident)
        self.retained.ended(ident)

    def _apply(self, change: Change) -> None:
        if change.subscribe or change.cancel:
            for link in self._links():
                link.change(change.subscribe, change.cancel)
        for prefix in change.cancel:
            self._generations.pop(prefix, None)
        if change.subscribe:
            self._fresh = True
            generation = self._coverage.generation + 1
            self._generations.update(dict.fromkeys(change.subscribe, generation))

    def _links(self) -> list[Downlink]:
        return [self._down] if self._handover is None else [self._down, self._handover.link]

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        self.up.io_thread = threading.get_ident()
        try:
            self._perform_connection(self._connection.start(time.monotonic()))
            while not self._closing:
                if self._handover is None:
                    self._receive()
                else:
                    self._receive_from_both(self._handover.link)
        except BaseException as error:
            log.exception("the I/O thread of node %s ended", self.name)
            self.up.abandon(StateError("node", "failed", "publish", f"its I/O thread ended: {error}"))
        finally:
            now = time.monotonic()
            self._perform_coverage(self._coverage.node_ended(now, "the node was closed"))
            self._set_state(NodeState("closed", self._connection.base))
            for link in self._links():
                link.close()
            self.receiver.intake.close()

    def _receive(self) -> None:
        """Read until a tick is due. This loop is the speed of a subscriber."""
        if (self._quiet or self._connection.state in ("connecting", "opening")) and self._sleep():
            return
        before = self.receiver.received
        busy = self.receiver.intake.receive(
            self._down.socket, self._next_tick - time.monotonic(), COALESCE_S if self._crowded else 0.0
        )
        self._crowded = busy and self.receiver.received - before > CROWD
        self._tick(idle=not busy)

    def _sleep(self) -> bool:
        """Nothing is under way: sleep until something comes or is due, and see to it. False: there is more to read.

        Woken by a message, it reads that and sleeps on: one wake-up for each, unless they come more often than ticks.
        """
        news = [monitor for monitor in (self._down.monitor, self.up.monitor) if monitor is not None]
        due = min(self._connection.silent_at, self.up.due_at) if self._quiet else self._next_tick
        wait_ms = max(1, math.ceil((due - time.monotonic()) * 1000))
        self._asleep = True
        woken = dict(zmq.zmq_poll([(socket, zmq.POLLIN) for socket in (self._down.socket, *news)], wait_ms))
        self._asleep = False
        if self._down.socket in woken and time.monotonic() < self._next_tick:
            return False
        before = self.receiver.received
        self.receiver.intake.drain(self._down.socket, QUIET_MSGS)
        self._tick(idle=self.receiver.received - before < QUIET_MSGS)
        return True

    def _wake(self) -> None:
        """Much is published: see to it that it gets confirmed. Any thread."""
        if self._asleep:
            self._asleep = False
            self.commands.ring()

    def _receive_from_both(self, link: Downlink) -> None:
        """While moving: read from the old proxy and from the new one. What comes twice is dropped by its number."""
        old, new = self._down.socket, link.socket
        poller = zmq.Poller()
        poller.register(old, zmq.POLLIN)
        poller.register(new, zmq.POLLIN)
        for socket, _ in poller.poll(TICK_MS):
            self.receiver.intake.drain(socket, 100)
        if time.monotonic() >= self._next_tick:
            self._tick(idle=False)

    def _tick(self, idle: bool) -> None:
        """Everything that is not a message: commands, the connection, markers, watermarks, what came too early."""
        now = time.monotonic()
        self._next_tick = now + TICK_S
        if self.commands or self._fresh:
            self._run_commands()
        for event in self.up.events():
            if event == "opened":
                self._perform_connection(self._connection.uplink_opened(now))
            else:
                self._perform_connection(self._connection.uplink_closed(now, "the connection broke"))
        self._see_whether_it_ended(now)
        self._perform_connection(self._connection.tick(now, idle))
        self._open_uplink()
        self.up.tick(now)
        self._perform_coverage(self._coverage.tick(now))
        if self._handover is not None:
            self._handover.tick(now)
            if self._handover.state == "flushed":
                self._let_go(self._handover.link, now)
        if self.receiver.awaits and now > self._await_until and self._connection.state == "connected":
            self.receiver.awaits = False
        self.receiver.tick(now)
        self.retained.tick(now)
        self.repairer.tick(now, is_empty=idle or (self.repairer.is_waiting and self._was_all_read()))
        if self._claims:
            self._send_claims()
        for service in self._attached:
            self.receiver.call(service.tick, now, idle)
        self._quiet = idle and not self._is_under_way()

    def _was_all_read(self) -> bool:
        """Whether nothing was left to be read, now or since this was last asked."""
        before, self._emptied = self._emptied, self.receiver.intake.emptied
        return self._emptied != before or not self._down.poll()

    def _is_under_way(self) -> bool:
        """Whether anything here waits for the next tick."""
        return bool(
            self._connection.state != "connected"
            or self._handover
            or self._attached
            or self.commands
            or self._fresh
            or self._claims
            or self.credentials.is_waiting
            or self.receiver.is_awaiting
            or self.repairer.is_waiting
            or self._coverage.is_waiting
            or not self.up.is_settled
        )

    def _see_whether_it_ended(self, now: float) -> None:
        """Whether the connection from the proxy broke, or was refused; and ask for the rights where they are wanted."""
        event = self._down.ended()
        if event is not None:
            self._perform_connection(self._connection.downlink_closed(now, "the connection broke"))
            if event & sockets.FAILED_EVENTS:
                self._refused(event, now)
            else:  # XSUB makes it again
                self.credentials.attached(now)
        elif self._down.is_refused:
            self._down.is_refused = False
            self._perform_connection(self._connection.downlink_refused(now))
        if self._handover is not None and (self._handover.link.ended() or 0) & sockets.FAILED_EVENTS:
            self.credentials.expect_other()
            self._handover.link.show(self.credentials.curve)
            self._handover.link.attach_again()
        retry_at = self.credentials.retry_at
        if retry_at is not None and now >= retry_at:
            self._attach(self._connection.base, now)
        if self.credentials.asks(now):
            self._down.ask_rights()

    def _refused(self, event: int, now: float) -> None:
        base = self._connection.base
        why = _refusal(event, base, self.credentials.keys)
        self._down.detach()
        self.counts["refusals"] += 1
        # Of the first connection its maker is told; and while the mesh's key is changed, one of two is the wrong one.
        rotating = event != zmq.EVENT_HANDSHAKE_FAILED_AUTH and self.credentials.knows_two
        if why != self.credentials.refusal and self._connected.is_set() and not rotating:
            log.warning("node %s: %s", self.name, why)
        is_no = event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
        # Who says no to the key has shown the mesh's; else that may have changed while this node could not be told.
        mesh = () if is_no else _mesh_of(self.credentials.keys)
        self.credentials.refused(now, why, mesh, is_known=not is_no)
        self._refusals[base] += FIRM if is_no else 1
        if all(self._refusals[each] >= FIRM for each in self._connection.bases):
            self._answered.set()
        self._set_state(NodeState("connecting", base, why))

    def _attach(self, base: str, now: float) -> None:
        self._down.show(self.credentials.curve)
        self._down.attach(base)
        self.credentials.attached(now)

    def _rights_heard(self, payload: object, now: float) -> None:
        """Judge by these from now on. Nobody can have subscribed before the first: the node was not there yet."""
        if not self.credentials.rights_heard(payload):
            return
        self.on_rights()
        for ident, topic_filter in list(self._held.items()):
            why = self.credentials.why_not_subscribe(topic_filter, wire_prefixes(topic_filter))
            if why is not None:
                self._withdraw(ident, topic_filter, why, now)
        self._coverage.proxy_switched(now)  # nothing is waited for that was said before

    def _withdraw(self, ident: int, topic_filter: str, why: str, now: float) -> None:
        """What was held may be no more."""
        self.counts["denied"] += 1
        del self._held[ident]
        self._apply(self._interest.release(topic_filter))
        self._released.append(topic_filter)
        self._perform_coverage(self._coverage.subscription_ended(ident, now, why, denied=True))
        self.retained.ended(ident)
        for fun in self.denied_funs:
            self.receiver.call(fun, topic_filter, why)

    def _on_notice(self, prefix: object) -> None:
        """The proxy's relay gave up a prefix, perhaps by a stray cancel: claim it if it is held here."""
        if isinstance(prefix, bytes) and (self._interest.carries(prefix) or prefix == self._down.own_prefix):
            self._claims.add(prefix)

    def _send_claims(self) -> None:
        claims, self._claims = list(self._claims), set()
        while claims:
            chunk, size = [], 0
            while claims and size < markers.MAX_CLAIM_BYTES:
                chunk.append(claims.pop())
                size += len(chunk[-1])
            for link in self._links():
                link.mark(b"claim", chunk)

    # ── what is addressed to this node ───────────────────────────────────────────────────────────────────────────

    def _on_private(self, raw: bytes, body: bytes) -> None:
        """Answers to markers, watermarks that came back, what is for repair, and the bell."""
        kind = markers.kind_of(raw)
        if kind is markers.Kind.REPAIR or raw.startswith(RAW_REPAIR):
            self.repairer.heard(raw, body, time.monotonic())
            return
        if kind is markers.Kind.BELL:
            self._run_commands()
            return
        try:
            limit = self.max_payload_bytes + BATCH_BYTES if kind is markers.Kind.RETAINED else DEFAULT_MAX_PAYLOAD_BYTES
            payload = decode_body(body, limit)[3]
        except RemoteWireError as error:
            self.receiver.refuse(error)
            return
        now = time.monotonic()
        if kind is markers.Kind.RIGHTS:
            self._rights_heard(payload, now)
            return
        if kind is markers.Kind.WATERMARK:
            # While the next connection could not be made yet, the lock being busy, this came of the one before.
            is_whole = self._want_uplink is None and self.credentials.may_begin
            if self.up.watermark_returned(payload, now) and is_whole:
                self._perform_connection(self._connection.watermark_returned(now))
            return
        batch = read_batch(payload) if kind is markers.Kind.RETAINED else None
        if batch is not None:
            if self._coverage.batch_heard(batch, now):
                self.retained.batch_came(batch, now)
            return
        answer = markers.read_answer(payload) if kind is markers.Kind.ANSWER else None
        if answer is None:
            self.counts["refused_answers"] += 1
            return
        self._marker_answered(markers.token_of(raw), answer, now)

    def _marker_answered(self, token: str, answer: markers.Answer, now: float) -> None:
        if self._handover is not None and token == self._handover.link.token:
            self._handover.answered(answer, by_new=True, now=now)
            return
        if token != self._down.token:
            return
        if answer.leg == "out":
            self._connection.proxy_heard(now)
            self._know_proxy(answer.view)
            is_member = answer.view.state != "joining" and self.credentials.may_begin
            if is_member and self._coverage.asks(answer.nonce):
                self._perform_connection(self._connection.marker_answered(now))
        self._perform_coverage(self._coverage.marker_answered(answer.nonce, answer.leg, answer.view, now))
        if self._handover is not None:
            self._handover.answered(answer, by_new=False, now=now)

    def _know_proxy(self, view: View) -> None:
        """Only the proxy that this node is connected to answers at its out. Listen to what it says of itself."""
        if view.record.id == self.own:
            return
        with self._lock:
            if self._own_filter is not None:
                old = self.subscriptions.remove(self._own_filter)
                self._apply(self._interest.release(old))
            self.own = view.record.id
            topic = f"{markers.ANNOUNCE}{self.own}/#"  # with what nodes are asked there
            self._own_filter = self.subscriptions.add_own(topic, self._on_announcement)
            self._apply(self._interest.hold(topic))
            self._down.flush()

    def _on_announcement(self, message: Message) -> None:
        if is_question(message.payload):
            self.on_question(message.payload)
            return
        view = View.from_map(message.payload) if message.topic == f"{markers.ANNOUNCE}{self.own}" else None
        if view is None:
            self.counts["refused_answers"] += 1
            return
        if view.record.id != self.own:
            return  # the one before, by way of the present one, which is not known yet
        now = time.monotonic()
        self._connection.proxy_heard(now)
        self._perform_coverage(self._coverage.proxy_announced(view, now))
        if view.state == "draining":
            self._perform_connection(self._connection.proxy_drains(now))

    def _publishes(self) -> None:
        self._perform_connection(self._connection.publishes(time.monotonic()))

    # ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _perform_connection(self, effects: Iterable[connection.Effect]) -> None:
        now = time.monotonic()
        for effect in effects:
            match effect:
                case connection.Attach(base):
                    self._attach(base, now)
                    self.retained.proxy_lost()
                    self._perform_coverage(self._coverage.proxy_lost(now))
                case connection.Detach():
                    self._abandon_move()
                    self._perform_coverage(self._coverage.proxy_lost(now))  # what is read now says nothing of the next
                    self._read_out()
                    self._down.detach()
                    self.own = None
                case connection.OpenUplink(base):
                    self._want_uplink = Endpoints.parse(base).ingress
                    self._open_uplink()
                case connection.SendProbe():
                    self.up.probe()
                case connection.Connected(base, publishing):
                    self._await_what_is_missing(now)
                    if publishing:
                        self.up.proven(now, self._reorder_window_s)
                    else:
                        self.up.answered()
                    del self._refusals[base]
                    self._set_state(NodeState("connected", base))
                    self._connected.set()
                    self._answered.set()
                case connection.Publishing():
                    self.up.proven(now, self._reorder_window_s)
                case connection.Lost(base, why):
                    self.counts["reconnects"] += 1
                    uncertain = self.up.close_gate()
                    self.retained.proxy_lost()
                    self._perform_coverage(self._coverage.proxy_lost(now))
                    self._await_what_is_missing(now)
                    self._set_state(NodeState("connecting", base, why, uncertain))
                case connection.Move(base):
                    self._begin_move(base, now)

    def _await_what_is_missing(self, now: float) -> None:
        """After a reconnect: what is missing may come within the window. At the first connection nothing can be."""
        if self.state.state != "connecting" or self._connected.is_set():
            self.receiver.awaits = True
            self._await_until = now + self._reorder_window_s

    def _open_uplink(self) -> None:
        if self._want_uplink is not None and self.up.open(self._want_uplink):
            self._want_uplink = None

    def _read_out(self) -> None:
        """Read what the lost proxy had sent, before its connection is let go."""
        self.receiver.intake.drain(self._down.socket, DRAIN_MSGS)

    def _begin_move(self, base: str, now: float) -> None:
        """Connect to the next proxy beside the present one; both are read until the new one covers everything."""
        self.counts["moves"] += 1
        self._set_state(NodeState("moving", base, "the proxy drains"))
        self.receiver.awaits = True
        self._await_until = now + 3600.0
        self._handover = Handover(
            base, self._down, self._new_downlink(), self._interest.wire(), secrets.token_bytes, now
        )

    def _let_go(self, link: Downlink, now: float) -> None:
        """Receive from the new proxy alone. Only from `_tick`: nobody is reading the old connection then."""
        self._read_out()
        self._down.close()
        self._down, self._handover = link, None
        self._coverage.proxy_switched(now)
        self.own = None
        self.credentials.attached(now)
        self.up.close_gate()
        self._perform_connection(self._connection.move_finished(now))

    def _abandon_move(self) -> None:
        if self._handover is not None:
            self._handover.abandon()
            self._handover = None

    def _perform_coverage(self, effects: Iterable[coverage.Effect]) -> None:
        for effect in effects:
            match effect:
                case coverage.SendMarker(nonce, wanted):
                    self._down.mark(nonce, wanted=wanted or None)
                case coverage.Acked(ident, ack):
                    self._acknowledge(ident, ack)
                case coverage.Renewed(ident):
                    self.retained.acked(ident, is_ok=True, now=time.monotonic())
                case CoverageEvent():
                    for fun in self.coverage_funs:
                        self.receiver.call(fun, effect)

    def _acknowledge(self, ident: int, ack: Ack) -> None:
        self.retained.acked(ident, is_ok=ack.ok, now=time.monotonic())
        fun = self.subscriptions.acked(ident, ack)
        if fun is not None:
            self.receiver.call(fun, ack)

    def _retains(self, publisher: int) -> None:
        """This node has set a value, for the first time as this publisher: hear what proxies do not keep of it.

        What they said before that could not be heard. Sent again, the value meets the same words.
        """
        self.subscribe(markers.not_kept_topic(publisher), self._not_kept, lambda ack: self.up.rehold())

    def _not_kept(self, message: Message) -> None:
        told = read_not_kept(message.payload)
        if told is None:
            self.counts["refused_answers"] += 1
            return
        if told.why in ("newer", "clock"):
            self.up.superseded(told.topic, told.sent_ns)
        if told.why != "newer":
            self._tell_not_retained(told)

    def _tell_not_retained(self, told: NotKept) -> None:
        self.counts["not_retained"] += 1
        for fun in self.not_retained_funs:
            self.receiver.call(fun, told)

    def _set_state(self, state: NodeState) -> None:
        self.state = state
        for fun in self.state_funs:
            self.receiver.call(fun, state)

    def _tell_gap(self, gap: Gap) -> None:
        for fun in self.gap_funs:
            self.receiver.call(fun, gap)


def _mesh_of(keys: Keys | None) -> tuple[str, ...]:
    """Return the proxies' public keys as the folder has them now: they may be being changed."""
    with contextlib.suppress(KeysError):
        return read_rules(keys.folder).mesh if keys is not None else ()
    return ()


def _refusal(event: int, base: str, keys: Keys | None) -> str:
    """Return in words why a connection was refused."""
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        return f"the proxy at {base} does not admit the key of {keys.name if keys else 'nobody'!r}"
    if keys is None:
        return f"what listens at {base} hung up: it may want keys (--keys, FABRIC_KEYS)"
    return f"what listens at {base} shows no key of this mesh: a proxy without keys, or of another mesh"

"""The way from a node to its proxy's ingress: numbering, encoding, one PUSH at a time, and what must be sent again.

Most messages take the short way of an `Outlet`, compiled or its twin. What is out of its way is published here.
Application threads publish; the node's I/O thread opens and closes the connection. One lock orders the sends and guards
everything here; the I/O thread never waits for it, nor for a full queue.
"""

from __future__ import annotations

import contextlib
import copy
import hmac
import logging
import secrets
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NoReturn

import zmq

from fabric import sockets
from fabric.core import COMPILED
from fabric.errors import FabricError, HighWaterMarkReached, LocalWireError, NotConnected, StateError, TransportError
from fabric.node.nested import Nested, NestedMessages
from fabric.node.numbering import GENERATION_S, Numbering
from fabric.node.reholding import BYTES_PER_TURN, PARTS_PER_TURN, Reholding
from fabric.node.ring import Ring
from fabric.node.unconfirmed import FRESH_BYTES, FRESH_PARTS, Unconfirmed
from fabric.protocol.markers import watermark_topic
from fabric.protocol.retained import HELD, RETAIN, retained_part
from fabric.wire import Encoder

if COMPILED:
    from fabric.core._outlet import Outlet
else:
    from fabric.core.outlet import Outlet

log = logging.getLogger("fabric.node")
TAILS_PER_TICK = 1_000
REPEAT_TAILS_S = (4.0, 16.0, 64.0)
"""A tail is sent again so long after the one before, while its topic stays quiet. It meets the same full queue as the
messages whose loss it tells of: one alone would often be lost with them. Each costs a quiet topic 0.1 kB meanwhile."""
REMARK_S = 0.5
"""A watermark that did not come back is sent again: the way back drops like any other when this node is too slow."""
_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | sockets.FAILED_EVENTS
)
TRANSITIONS = {
    ("closed", "proven"): "resending",
    ("closed", "lost"): "closed",
    ("closed", "answered"): "keeping",
    ("keeping", "proven"): "resending",
    ("keeping", "lost"): "closed",
    ("resending", "resent"): "open",
    ("resending", "lost"): "closed",
    ("open", "lost"): "closed",
}
_MOVED: dict[str, Any] = {"moved": True}
"""Header of what is sent for a while after a move: what is missing before it may still come by the other way."""
_TAIL: dict[str, Any] = {"tail": True}


class _NoRoom(Exception):
    """What is kept until there is a connection is at its bound."""


class Uplink:
    """The sending half of one node.

    Everything is changed under `_lock`, but for what says otherwise. A publisher reads `_is_clear` without it, as a
    guess, and looks again under it. Times are monotonic, in seconds.

        closed      no socket, or its way is not proven       publishers wait
        keeping     the proxy is there, the way is opened     what is published is kept, up to the bound
        resending   proven; what is kept goes out first       publishers wait
        open        publishers go on, unless one waits for room in the queue (`_stalled`): then behind it; and unless
                    too much is unconfirmed

    A signal handler or a destructor may publish while the same thread is about to: it does not wait for itself. Such a
    message is *nested*: it is kept, and goes out when the call within which it came is over.

    `TRANSITIONS` says how these follow each other. Once it is `_ended` publishers are refused in every state, while
    what was accepted goes out as ever.

    random_u64:      source of publisher ids
    curve:           returns the keys to show, when a connection is made
    send_timeout_s:  how long `publish` waits for a connection, or for room in the queue
    forgets_unconfirmed: beyond `max_unconfirmed_bytes` publishers go on, and the oldest may be lost
    on_much:         called whenever `FRESH_PARTS` more were sent in the short way
    on_wanted:       called once, by the first who publishes: a connection is wanted
    on_retains:      called with a publisher's id before the first message that is to be retained, with the lock held
    ring:            keeps what was sent for those who lose it
    time_ns:         wall clock, ns since 1970; None: the system's
    outlet:          what sends in the short way: compiled, or its twin
    """

    def __init__(
        self,
        context: sockets.Context,
        token: str,
        random_u64: Any,
        *,
        hwm_msgs: int,
        max_payload_bytes: int,
        max_unconfirmed_bytes: int,
        send_timeout_s: float,
        forgets_unconfirmed: bool = False,
        curve: Callable[[], sockets.Curve | None] = lambda: None,
        on_much: Callable[[], None] = lambda: None,
        on_wanted: Callable[[], None] = lambda: None,
        on_retains: Callable[[int], None] = lambda publisher: None,
        ring: Ring | None = None,
        time_ns: Callable[[], int] | None = None,
        outlet: type[Outlet] = Outlet,
    ) -> None:
        self._context, self._hwm_msgs, self._send_timeout_s = context, hwm_msgs, send_timeout_s
        self._random_u64, self._on_much, self._on_wanted = random_u64, on_much, on_wanted
        self._time_ns, self._curve, self._on_retains = time_ns or time.time_ns, curve, on_retains
        self._lock = outlet.new_lock()
        """Orders the sends. To wait, for room or for a connection, is to wait on `_changed`, which lets go of it."""
        self._changed = threading.Condition(self._lock)  # type: ignore[arg-type]
        """Told when `_is_clear` may have changed, and when a watermark came back."""
        self._numbering = Numbering(random_u64())
        """The last number of each topic: of the last message that was accepted, or is being sent."""
        self._encoder = Encoder(self._numbering.publisher, max_payload_bytes)
        """Of the same publisher as `_numbering`; `_renumber` changes both."""
        self._control_prefix = watermark_topic(token).encode() + b"\0"
        self._unconfirmed = Unconfirmed(
            max_bytes=max_unconfirmed_bytes, forgets=forgets_unconfirmed or max_unconfirmed_bytes == 0, ring=ring
        )
        """All that was sent and is not known to have arrived."""
        self.fresh = self._unconfirmed.fresh
        """What the outlet adds to it."""
        self.reholding = Reholding()
        """The retained values of this node; sent again on every further connection."""
        self._retains_as: int | None = None
        """The publisher that `on_retains` was last called with."""
        self.outlet = outlet(
            self._lock,
            self._numbering,
            self,
            FRESH_PARTS,
            self.publish_carefully,
            max_payload_bytes,
            **({"time_ns": time_ns} if time_ns else {}),
        )
        """The short way. Its socket is `_socket`, its numbering `_numbering`; each changes with the other. It is
        `plain` while `_is_clear`, with nothing added to the headers: only `_settle` sets that to True."""
        self.publish = self.outlet.publish
        """`publish(prefix, payload, headers=None, timeout_s=None)`: what `Node.publish` does, see there."""
        self._send: Callable[[bytes], object] = sockets.nowhere
        """Sends a part on `_socket`, without waiting; changes with it."""
        self._socket: sockets.Socket | None = None
        """The present connection; None before the first, and at the end. It is never used again once it closed."""
        self.monitor: sockets.Socket | None = None
        """Events of `_socket`, read in the I/O thread. Changes with `_socket`."""
        self._serial = 0
        """Connections made. A watermark carries it: one that comes back of an earlier connection proves nothing."""
        self._seal_key = secrets.token_bytes(16)
        """Of this run. Seals watermarks, since anybody may publish what looks like one. Never changes."""
        self._state = "closed"
        """`closed`, `keeping`, `resending` or `open`; see above. I/O thread, which needs no lock to leave `open`."""
        self._wanted = False
        """Somebody has published, or tried to. Set once, by whoever does, without the lock."""
        self._stalled: tuple[int, float] | None = None
        """Ident of the thread that waits for room in the queue, and since when; others wait for it."""
        self._nested = NestedMessages(max_payload_bytes)
        """Messages that came within a call of the same thread. While there is one, `outlet.plain` is False."""
        self._headers: dict[str, Any] | None = None
        """Added to what is sent until `_moved_until`; None: nothing, from then on."""
        self._moved_until = 0.0
        """Set by `proven`."""
        self._resend: list[bytes] = []
        """What `proven` found kept; empty once all of it was sent again."""
        self._resend_at = 0
        """Index into `_resend` of what comes next."""
        self._marked, self._marked_at = -1, 0.0
        """Parts sent before the last watermark, -1 to have one sent anyway; and when it was sent."""
        self._tails: list[tuple[bytes, int]] = []
        """Tails that are due, (prefix, last number); the last goes first."""
        self._tails_sent = 0
        """Parts in `_unconfirmed.sent` that were no messages: tails, and what was sent again to be held."""
        self._repeats: list[deque[tuple[float, bytes, int]]] = [deque() for _ in REPEAT_TAILS_S]
        """By stage: (when, prefix, number) of tails to be sent again, by time; dropped if the topic went on."""
        self._ticked_at = 0.0
        """When `tick` was last called."""
        self._ended: FabricError | None = None
        """Why nothing is accepted any more; set once. `abandon` sets it without the lock."""
        self.uncertain = 0
        """Parts that were accepted, and may be lost: they did not fit the bound when the connection broke."""
        self.resent = 0
        """Parts that were to be sent again, over all connections."""
        self.not_opened = 0
        """Connections that could not even be begun, for lack of files."""
        self.waits, self.waited_s = 0, 0.0
        """Messages that had to wait for room or for a connection, and for how long in all."""
        self.io_thread: int | None = None
        """Ident of the thread that calls `tick`; set by it, before its first tick."""

    @property
    def publisher(self) -> int:
        return self._numbering.publisher

    @property
    def published(self) -> int:
        """Messages accepted, tails not counted."""
        return self._unconfirmed.sent - self._tails_sent

    @property
    def unconfirmed(self) -> int:
        return self._unconfirmed.count

    @property
    def is_settled(self) -> bool:
        """Whether all that was accepted is confirmed, and nothing waits to be sent."""
        is_waiting = self._tails or self.unconfirmed or self._nested or self.reholding.is_due
        return self._state in ("open", "keeping") and not is_waiting

    @property
    def _is_clear(self) -> bool:
        """Whether a publisher need not wait."""
        return self._may_send and self._ended is None

    @property
    def _may_send(self) -> bool:
        return self._state == "open" and self._stalled is None and not self._unconfirmed.is_full

    @property
    def is_within(self) -> bool:
        """Whether the caller interrupts a call of its own thread here, for which it would wait for ever."""
        return self._lock._is_owned() or (self._stalled or (0,))[0] == threading.get_ident()

    @property
    def _keeps(self) -> bool:
        """Whether what is published is kept until there is a connection."""
        return self._state == "keeping" and self._ended is None

    @property
    def due_at(self) -> float:
        """When `tick` has something to do, though all is settled; inf: never."""
        if self._numbering.waits_for_tails:
            return self._ticked_at + GENERATION_S
        dues = [repeats[0][0] for repeats in self._repeats if repeats]
        if self._headers is not None:
            dues.append(self._moved_until)
        return min([self._unconfirmed.due_at, *dues])

    def count_fresh(self) -> None:
        """The outlet has sent `FRESH_PARTS` more. With the lock held."""
        self._unconfirmed.count_fresh()
        if self._unconfirmed.is_full:
            self.outlet.plain = False
        self._on_much()

    # ── application threads ──────────────────────────────────────────────────────────────────────────────────────

    def prefix(self, topic: str) -> bytes:
        return self._encoder.prefix(topic)

    def publish_carefully(
        self,
        prefix: bytes,
        payload: Any,
        headers: dict[str, Any] | None,
        timeout_s: float | None,
        expires_s: int | None = None,
    ) -> int:
        """Publish what an outlet does not: a topic's first message, headers, and whatever has to wait or is refused.

        timeout_s: instead of `send_timeout_s`; 0: this does not wait, and may be called in the I/O thread
        expires_s: retain it for so long, 0: for good; None: do not
        returns:   the number; 0 for a nested message, which gets its number later
        """
        if self._ended is not None:  # before the lock: in a forked child nobody may be there to let go of it
            raise copy.copy(self._ended)
        if self.is_within:
            self._nested.keep(prefix, payload, headers, expires_s)
            self.outlet.plain = False
            self._on_much()
            return 0
        self.want()
        if timeout_s is None:
            timeout_s = self._send_timeout_s
        elif timeout_s <= 0 and not (self._is_clear or self._keeps):
            self._refuse(0.0)  # before the lock, which is held for long while parts are sent again
        with self._lock:
            keeps = self._await_turn(timeout_s) == "keeping"
            self._send_nested()
            message = prefix, payload, headers, expires_s
            try:
                try:
                    number = self._send_message(message, timeout_s, keeps=keeps)
                except _NoRoom:
                    self._await_turn(timeout_s, or_keeping=False)
                    number = self._send_message(message, timeout_s)
            except zmq.ZMQError as error:
                raise NotConnected(f"the connection to the proxy was closed: {error}") from error
            if keeps or len(self.fresh) >= FRESH_PARTS or len(self.fresh[-1]) > FRESH_BYTES:
                self._unconfirmed.count_fresh()
            return number

    def want(self) -> None:
        """Have the connection made, if nobody has wanted it before."""
        if not self._wanted:
            self._on_wanted()  # first: where this is interrupted, the next one asks again
            self._wanted = True

    def _send_message(self, message: Nested, timeout_s: float, *, keeps: bool = False, is_nested: bool = False) -> int:
        """Number one message, send it, and return its number. With the lock held, when it is its turn.

        A Ctrl-C may strike anywhere. What may be on its way then keeps its number, and is kept for who misses it; else
        the number is taken back. See `fabric.node.unconfirmed` for where it cannot strike.

        keeps:     it is kept until there is a connection, also when the proxy is lost meanwhile: it goes with the
                   others, in order, when there is one
        is_nested: it is the oldest of `_nested`, and leaves there with being accepted. It does not wait for room
        errors:    zmq.ZMQError: the connection is closed, or there is no room for a nested one; those of `_next_part`
                   and of `_await_room`
        """
        prefix, payload, headers, expires_s = message
        number, part = self._next_part(prefix, payload, headers, expires_s, keeps=keeps and not is_nested)
        may_be_sent = keeps
        try:
            while not may_be_sent:
                may_be_sent = True  # until it is known
                try:
                    self._send(part)
                except zmq.ZMQError as error:
                    may_be_sent = False
                    if is_nested or not (self._stalled or isinstance(error, zmq.Again)):
                        raise
                    self._await_room(timeout_s)
            self._accept(prefix, part, expires_s, is_nested)
        except BaseException:
            if may_be_sent:
                self._accept(prefix, part, expires_s, is_nested)
            else:
                self._numbering.take_back(prefix)
            raise
        finally:
            if self._stalled and not keeps:
                since, self._stalled = self._stalled[1], None
                self._count_wait(since)
                self._settle()
        return number

    def _accept(self, prefix: bytes, part: bytes, expires_s: int | None, is_nested: bool) -> None:
        """Keep a part, which is counted later. Where this is interrupted it may be called again."""
        if expires_s is not None:
            self.reholding.accepted(prefix, part, time.monotonic())
        # No call: nothing can interrupt between this and what follows this method.
        self.fresh += (part,)
        if is_nested:
            del self._nested.waiting[0]

    def _next_part(
        self, prefix: bytes, payload: Any, headers: dict[str, Any] | None, expires_s: int | None, *, keeps: bool = False
    ) -> tuple[int, bytes]:
        """Return the next number and the part that carries it. With the lock held.

        keeps:  it is to be kept until there is a connection
        errors: _NoRoom for one that cannot be kept; then, as with any other, the number is not taken
        """
        try:
            number = self._numbering.next(prefix)
        except StateError:
            self._renumber()
            number = self._numbering.next(prefix)
        try:
            if self._headers is not None and (not headers or isinstance(headers, dict)):
                headers = {**self._headers, **(headers or {})}
            if expires_s is None:
                part = self._encoder.part(prefix, number, self._time_ns(), payload, headers)
            else:
                part = self._retained_part(prefix, number, payload, headers, expires_s)
            if keeps and not self._unconfirmed.has_room_for(part):
                raise _NoRoom
            return number, part
        except BaseException:
            self._numbering.take_back(prefix)  # nothing was sent
            raise

    def _retained_part(
        self, prefix: bytes, number: int, payload: Any, headers: dict[str, Any] | None, expires_s: int
    ) -> bytes:
        self._say_that_it_retains()
        sent_ns = self.reholding.stamp_ns(prefix, self._time_ns())
        return retained_part(self._encoder, prefix, number, sent_ns, payload, {**(headers or {}), RETAIN: expires_s})

    def _say_that_it_retains(self) -> None:
        if self._retains_as != self.publisher:
            self._on_retains(self.publisher)  # first: where this is interrupted, the next one says it again
            self._retains_as = self.publisher

    def hold(
        self, prefix: bytes, payload: Any, headers: dict[str, Any] | None, *, sent_ns: int, expires_s: int
    ) -> bool:
        """Have a value kept that another publisher set at `sent_ns`; it is sent with the next tick. Not in the I/O
        thread. False: a newer one is held, or it is over the bounds.

        errors: StateError when closed, or within a call of the same thread; LocalWireError
        """
        if self._ended is not None:
            raise copy.copy(self._ended)
        if self.is_within:
            raise StateError("node", "publishing", "hold", "it interrupts a `publish` of its own thread")
        self.want()
        with self._lock:
            self._say_that_it_retains()
            all_headers = {**(headers or {}), HELD: True, RETAIN: expires_s}
            # Its number is of no publisher's: what is held says nothing of what may be missing.
            part = retained_part(self._encoder, prefix, 1, sent_ns, payload, all_headers)
            taken = self.reholding.give(prefix, part, time.monotonic())
        self._on_much()
        return taken

    def rehold(self) -> None:
        """Send all that is to be retained once more."""
        with self._lock:
            self.reholding.ingress_changed()

    def let_go(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self.reholding.clear()

    def superseded(self, topic: str, sent_ns: int) -> None:
        """Another publisher has set, or cleared, a topic, or this node's clock was ahead when it did: what it set up to
        then is not to come back, nor does the time of its next value depend on it.
        """
        with self._lock:
            self.reholding.superseded(topic.encode() + b"\0", sent_ns, time.monotonic())

    def _await_turn(self, timeout_s: float, *, or_keeping: bool = True) -> str:
        """Wait until a publisher may go on; return the state in which it may. Called, and returns, with the lock held.

        The I/O thread leaves that state without the lock, at any time: what follows goes by the state returned. What is
        sent then goes over the connection that was proven, for only with the lock it is replaced.
        """
        while True:
            state = self._state
            if self._ended is None and ((state == "open" and self._may_send) or (or_keeping and state == "keeping")):
                return state
            self._wait_clear(timeout_s, or_keeping=or_keeping)

    def _wait_clear(self, timeout_s: float, *, or_keeping: bool) -> None:
        """Wait for a proven connection, and behind those who wait for room. Called, and returns, with the lock held.

        The I/O thread does not wait for a connection, which only itself can make, nor for what only itself can hear to
        be confirmed: a callback is refused at once.

        or_keeping: that parts are kept will do
        """
        is_full = self._state == "open" and self._unconfirmed.is_full
        if is_full and self._marked != self._unconfirmed.sent:
            self._send_watermark_locked()  # now, for it is waited for
        if (self._state != "open" or is_full) and threading.get_ident() == self.io_thread:
            self._refuse(0.0)
        since = time.monotonic()
        end = since + timeout_s
        try:
            while self._ended is None and not (self._is_clear or (or_keeping and self._keeps)):
                rest = end - time.monotonic()
                if rest <= 0 or not self._wait(rest):
                    self._refuse(timeout_s)
        finally:
            self._count_wait(since)
        if self._ended is not None:
            raise copy.copy(self._ended)

    def _refuse(self, timeout_s: float) -> NoReturn:
        if self._ended is not None:
            raise copy.copy(self._ended)  # each caller has its own: `accepted` is written on it
        if self._unconfirmed.is_full and self._state == "open":
            raise HighWaterMarkReached(
                f"the proxy confirmed nothing for {timeout_s:g} s, and max_unconfirmed_bytes wait for that "
                f"({self.unconfirmed} messages); the message was not accepted"
            )
        if self._stalled is not None and self._state == "open":
            raise HighWaterMarkReached(
                f"the proxy took nothing for {timeout_s:g} s ({self._hwm_msgs} messages wait); "
                "the message was not accepted"
            )
        raise NotConnected(f"no proxy for {timeout_s:g} s; the message was not accepted")

    def _await_room(self, timeout_s: float) -> None:
        """The queue is full: wait for a millisecond, in which the I/O thread may replace a dead connection; or refuse.

        Other publishers wait: the number is taken, and nothing may overtake it.
        """
        if self._stalled is None:
            self._stalled = threading.get_ident(), time.monotonic()
            self._settle()
        end = self._stalled[1] + timeout_s
        is_open = False
        while not is_open:
            if time.monotonic() >= end or self._ended is not None:
                self._refuse(timeout_s)
            self._wait(0.001)
            is_open = self._state == "open"

    def _wait(self, timeout_s: float) -> bool:
        """Let go of the lock until something has changed; False: nothing has. The lock is held again when this is over.

        Where a Ctrl-C ends it, `Condition.wait` may come back without the lock.
        """
        try:
            return self._changed.wait(timeout_s)
        finally:
            while not self._lock._is_owned():
                self._lock.acquire()

    def _count_wait(self, since: float) -> None:
        self.waits += 1
        self.waited_s += time.monotonic() - since

    def _settle(self) -> None:
        """Work out whether `publish` may go on at once; wake who waits for it."""
        self.outlet.plain = self._is_clear and self._headers is None
        if self._state != "open" or self._nested:  # the first was left meanwhile, without the lock
            self.outlet.plain = False
        self._changed.notify_all()

    def _move(self, event: str) -> None:
        """Go to the state that follows. I/O thread; leaving `open` needs no lock: the next publisher heeds it."""
        self._state = TRANSITIONS[self._state, event]
        if self._state != "open":
            self.outlet.plain = False

    def _renumber(self) -> None:
        """Too many topics are counted: go on under a new publisher id, never with a number used before."""
        # The encoder and the numbering change together, before anything is sent: an interrupt while the tails leave
        # would else give numbers from 1 to messages of the old publisher, which receivers drop as duplicates.
        publisher, before = self._random_u64(), self._encoder
        encoder = Encoder(publisher, before.max_payload_bytes)
        tails = self._tails + self._numbering.restart(publisher)
        self._encoder, self._tails = encoder, []
        self._repeats = [deque() for _ in REPEAT_TAILS_S]
        for prefix, number in tails:
            tail = before.part(prefix, number, self._time_ns(), None, _TAIL)
            if self._state == "open":
                self._send_now(tail)
            else:  # behind what is kept
                self._unconfirmed.add(tail)
                self._tails_sent += 1

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def open(self, endpoint: str) -> bool:
        """Replace the connection; publishers wait until `proven`. False: the lock is busy, or there are too many open
        files: try again."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._state != "keeping":
                self._move("lost")
            self._drop()
            self._serial += 1
            self._socket = sockets.push(self._context, send_hwm=self._hwm_msgs, timeout_ms=0)
            sockets.with_keys(self._socket, self._curve())
            self._send = sockets.fast_send(self._socket)
            self.outlet.connect(self._socket)
            self.monitor = sockets.monitor(self._context, self._socket, _EVENTS)
            sockets.connect(self._socket, endpoint)
            return True
        except (TransportError, zmq.ZMQError) as error:
            self._drop()
            self.not_opened += 1
            if self.not_opened == 1:
                log.warning("no connection to publish at %s, which is tried again: %s", endpoint, error)
            return False
        finally:
            self._lock.release()

    def events(self) -> list[str]:
        """Return `opened` and `closed`, as they happened to the present connection."""
        found: list[str] = []
        for event, _ in sockets.events_of(self.monitor) if self.monitor is not None else ():
            found.append("opened" if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else "closed")
            if found[-1] == "closed":
                break  # it is closed for good; there may be several words for one end
        return found

    def answered(self) -> None:
        """The proxy is there, and nobody has published yet: from now on what is published is kept for it."""
        with self._lock:
            self._move("answered")
            self._settle()

    def close_gate(self) -> int:
        """The connection is lost: publishers wait. Return how many accepted parts can not be sent again."""
        self._move("lost")
        self._forget_resending()
        if self._lock.acquire(blocking=False):  # a publisher may be adding a part; then `proven` counts it
            self._unconfirmed.count_fresh()
            self._lock.release()
        uncertain = self._unconfirmed.take_uncertain()
        self.uncertain += uncertain
        return uncertain

    def probe(self) -> None:
        """Send a watermark, whatever waits; nothing when the queue is full."""
        self._send_watermark()

    def watermark_returned(self, payload: object, now: float) -> bool:
        """A watermark came back. True when it was sent over the present connection."""
        count = self._read_watermark(payload)
        if count is None:
            return False
        with self._changed:
            self._unconfirmed.watermark_returned(count, now)
            if self.outlet.plain:
                self._changed.notify_all()
            else:  # it may have been too much that was unconfirmed
                self._settle()
        return True

    def _watermark(self, count: int) -> list[Any]:
        """Return what is sent behind so many parts, on the present connection: it is read by this node alone."""
        seal = blake2b(struct.pack("=QQ", self._serial, count), key=self._seal_key, digest_size=8).digest()
        return [self._serial, count, seal]

    def _read_watermark(self, payload: object) -> int | None:
        """Return the count in a watermark that was made here, for the present connection; None for anything else."""
        if not (isinstance(payload, list) and len(payload) == 3 and isinstance(payload[2], bytes)):
            return None
        serial, count, seal = payload
        if type(serial) is not int or serial != self._serial or type(count) is not int or not 0 <= count < 2**64:
            return None
        return count if hmac.compare_digest(seal, self._watermark(count)[2]) else None

    def proven(self, now: float, moved_s: float) -> None:
        """Both ways are open: send again what is kept, in order; publishers go on behind it."""
        with self._lock:
            self._move("proven")
            self._resend, self._resend_at = self._unconfirmed.kept(), 0
            self.uncertain += self._unconfirmed.take_uncertain()  # what was not counted yet when the connection broke
            self.resent += len(self._resend)
            self._headers = _MOVED if self._serial > 1 else None
            self._moved_until = now + moved_s
            if self._serial > 1:
                self.reholding.ingress_changed()
        self.tick(now)

    def tick(self, now: float) -> None:
        """Go on sending again, send a watermark where there was traffic, and tails that are due."""
        if self._socket is None or not self._lock.acquire(blocking=False):
            return
        self._ticked_at = now
        try:
            if self._resend:
                self._go_on_resending()
            elif self._state == "resending":
                self._move("resent")
                self._settle()
            if self._state == "open":
                if self._headers is not None and now > self._moved_until:
                    self._headers = None
                    self._settle()
                if self._nested and self._stalled is None:
                    self._send_nested()
                    self._settle()
                self._send_tails(now)
                self._send_held(now)
                if self._marked != self._unconfirmed.sent or (self.unconfirmed and now > self._marked_at + REMARK_S):
                    self._marked_at = now
                    self._send_watermark_locked()
            self._unconfirmed.tick(now)
            self.reholding.tick(now)
        finally:
            self._lock.release()

    @property
    def is_open(self) -> bool:
        """Whether something can be sent beside what is published."""
        return self._is_clear

    @contextlib.contextmanager
    def beside(self) -> Iterator[bool]:
        """Hold the lock, if it is free and nobody waits; whether it is held. All that was sent is in the ring then."""
        if self.is_within or not self._lock.acquire(blocking=False):
            yield False
            return
        try:
            self._unconfirmed.count_fresh()
            yield self._is_clear
        finally:
            self._lock.release()

    def last(self, prefix: bytes) -> int:
        """Return the last number of a topic, 0 when it has none. Within `beside`."""
        return self._numbering.last(prefix)

    def send_beside(self, part: bytes) -> bool:
        """Send a part that was sent before. Within `beside`. False: there is no room."""
        return self._send_now(part)

    def say_beside(self, topic: str, payload: Any, publisher: int | None = None) -> bool:
        """Send what is neither numbered nor kept. Within `beside`. False: there is no room, or it is too large.

        publisher: an id that this node had before
        """
        encoder = self._encoder
        if publisher is not None and publisher != encoder.publisher:
            encoder = Encoder(publisher, encoder.max_payload_bytes)
        try:
            part = encoder.part(topic.encode() + b"\0", 1, self._time_ns(), payload)
        except LocalWireError:
            return False
        return self._send_now(part)

    def finish(self) -> None:
        """No message is accepted any more; the tails of what was sent follow it."""
        with self._lock:
            self._ended = StateError("node", "closed", "publish", "the node was closed")
            if self._state in ("open", "keeping") and self._stalled is None:
                self._send_nested()
            self._tails += self._numbering.all_tails()
            self._settle()

    def wait_confirmed(self, timeout_s: float) -> int:
        """Wait until everything accepted has come back through the ingress; return how many parts have not."""
        end = time.monotonic() + timeout_s
        with self._changed:
            while self._unconfirmed.count or self._tails or self._nested or self.reholding.is_due:
                rest = end - time.monotonic()
                if rest <= 0:
                    break
                self._wait(min(rest, 0.05))
            return self._unconfirmed.count

    def abandon(self, why: FabricError) -> None:
        """In a forked child, or when the I/O thread ends: nothing can be sent any more."""
        self._ended = why
        self.outlet.plain = False

    def close(self) -> None:
        with self._lock:
            self._move("lost")
            self._drop()
            self._ended = self._ended or StateError("node", "closed", "publish", "the node was closed")
            self._settle()

    def _drop(self) -> None:
        self._forget_resending()
        self.outlet.connect(None)
        self._send = sockets.nowhere
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(linger=0)
        if self.monitor is not None:
            self.monitor.close()
        self._socket = self.monitor = None

    def _forget_resending(self) -> None:
        """Until `proven`, which begins again: going on in the middle, on another connection, would leave a hole."""
        self._resend = []

    def _send_nested(self) -> None:
        """Send what came within other calls, as far as there is room. With the lock held, and nobody stalled."""
        while self._nested:
            try:
                keeps = self._state == "keeping"
                self._send_message(self._nested.waiting[0], 0.0, keeps=keeps, is_nested=True)
            except zmq.ZMQError:
                return

    def _go_on_resending(self) -> None:
        while self._resend_at < len(self._resend):
            if not self._send_now(self._resend[self._resend_at]):
                return
            self._resend_at += 1
        self._resend = []
        self._marked = -1
        self._move("resent")
        self._settle()

    def _send_tails(self, now: float) -> None:
        if not self._tails:
            self._tails = self._numbering.due_tails(now, TAILS_PER_TICK)
        while self._tails:
            prefix, number = self._tails[-1]
            part = self._encoder.part(prefix, number, self._time_ns(), None, _TAIL)
            if not self._send_now(part):
                return
            self._unconfirmed.add(part)
            self._tails_sent += 1
            self._tails.pop()
            self._repeats[0].append((now + REPEAT_TAILS_S[0], prefix, number))
        for stage, repeats in enumerate(self._repeats):
            self._repeat_tails(stage, repeats, now)

    def _repeat_tails(self, stage: int, repeats: deque[tuple[float, bytes, int]], now: float) -> None:
        for _ in range(TAILS_PER_TICK):
            if not repeats or repeats[0][0] > now:
                return
            _, prefix, number = repeats[0]
            if self._numbering.last(prefix) == number:
                part = self._encoder.part(prefix, number, self._time_ns(), None, _TAIL)
                if not self._send_now(part):
                    return
                self._unconfirmed.add(part)
                self._tails_sent += 1
                if stage + 1 < len(self._repeats):
                    self._repeats[stage + 1].append((now + REPEAT_TAILS_S[stage + 1], prefix, number))
            repeats.popleft()

    def _send_held(self, now: float) -> None:
        """Go on sending what is to be kept by the ingress, a bounded part of it."""
        size = count = 0
        while count < PARTS_PER_TURN and size < BYTES_PER_TURN:
            part = self.reholding.next(now)
            if part is None or not self._send_now(part):
                return
            self.reholding.taken()
            count, size = count + 1, size + len(part)
            if not self.reholding.is_due:  # once the last is confirmed, all are
                self._unconfirmed.add(part)
                self._tails_sent += 1

    def _send_watermark(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._send_watermark_locked()
            finally:
                self._lock.release()

    def _send_watermark_locked(self) -> None:
        # A probe confirms nothing: what is kept was not sent over this connection yet.
        count = self._unconfirmed.sent if self._state == "open" else 0
        part = self._encoder.part(self._control_prefix, 1, self._time_ns(), self._watermark(count))
        if self._send_now(part):
            self._marked = count

    def _send_now(self, part: bytes) -> bool:
        try:
            self._send(part)
        except zmq.ZMQError:
            return False
        return True

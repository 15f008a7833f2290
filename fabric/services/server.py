"""The answering side of `fabric.services`: an inbox, a queue, worker threads, and what is said of them in presence.

The I/O thread reads requests and has them judged by `admission`; workers call the handler with all that waits, at
most a batch, so that a service which commits to a store can commit once for many. Reading order: `Server`; `_take`;
`_work`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgpack  # type: ignore[import-untyped]

from fabric.errors import (
    Busy,
    FabricError,
    LocalWireError,
    NotAllowed,
    RequestTimeout,
    ServiceError,
    StateError,
    expected,
)
from fabric.node.node import Node
from fabric.protocol.inboxes import requests_topic
from fabric.services.admission import KEEP_S, MAX_IN_FLIGHT, MAX_WAITING_BYTES, Accept, Admission, Again, Refused
from fabric.services.clocks import Clocks
from fabric.services.messages import (
    MAX_MESSAGE_CHARS,
    Address,
    Request,
    error_payload,
    ok_payload,
    read_address,
    read_request,
)
from fabric.services.presence import LAST_WORD_S, LEASE_S, Announcer, Held
from fabric.topics import valid_name
from fabric.wire import Message, encode

BatchHandler = Callable[[list[Request]], Sequence[Any]]
"""Gets requests that waited together; returns a reply for each, a payload or an exception, in the same order."""
log = logging.getLogger("fabric.services")

MAX_BATCH = 100
SKEW_S = 1.0
"""How much later than its deadline a request may seem to come: how late it is, is measured, and not exactly."""
CLOSE_S = 5.0
_NO_KEEP = (Busy, RequestTimeout)
"""Errors that say that nothing was done: the same request may be tried again."""


def each(handler: Callable[[Request], Any]) -> BatchHandler:
    """Make a handler of lists from one of single requests; one that raises harms no other."""

    def handle(requests: list[Request]) -> list[Any]:
        replies: list[Any] = []
        for request in requests:
            try:
                replies.append(handler(request))
            except BaseException as error:  # a SystemExit, too: see `Server`
                replies.append(error)
        return replies

    return handle


class Server:
    """Serves requests to one service until it is closed, or its node is.

    handler:       called in a worker thread with the requests that wait, at most `max_batch`; see `each`. It may
                   publish, and may take its time. An exception is sent as the reply: those of `fabric.errors` as they
                   are, others, a SystemExit as well, as a ServiceError that names only their class
    info:          told to everybody with the announcements
    version:       told with the announcements, at most 100 characters
    workers:       threads that call the handler
    max_batch:     most requests that the handler is given at once
    max_in_flight: requests that wait or are being done; beyond, the sender is told Busy. So is a client that would take
                   the last quarter of what others have left
    max_waiting_bytes: of these requests, packed; beyond, the sender is told Busy
    keep_s:        how long an answer is kept for a request that comes again
    lease_s:       how long others take it for alive when they hear nothing; it announces itself every second
    skew_s:        how much later than its deadline a request may seem to come. The clocks of a client and of this host
                   may differ by whatever they do, see `fabric.services.clocks`
    errors:        ValueError for an invalid name, and for numbers below 1; NotAllowed
    """

    def __init__(
        self,
        node: Node,
        name: str,
        handler: BatchHandler,
        *,
        version: str = "",
        info: Mapping[str, Any] | None = None,
        workers: int = 1,
        max_batch: int = MAX_BATCH,
        max_in_flight: int = MAX_IN_FLIGHT,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        keep_s: float = KEEP_S,
        lease_s: float = LEASE_S,
        skew_s: float = SKEW_S,
    ) -> None:
        for option, value in (("workers", workers), ("max_batch", max_batch), ("max_in_flight", max_in_flight)):
            if value < 1:
                raise ValueError(expected(option, value, "at least 1"))
        if valid_name(name) and (denied := node.why_not("serve", name)):
            raise NotAllowed(denied)
        self._node, self._handler, self._max_batch, self._skew_s = node, handler, max_batch, skew_s
        self._max_bytes = node.max_payload_bytes
        self.name = name
        self.instance = node.new_token()
        self.inbox = requests_topic(self.instance, name)
        self._admission = Admission(max_in_flight=max_in_flight, max_waiting_bytes=max_waiting_bytes, keep_s=keep_s)
        """Decides on each request. Under `_lock`."""
        self._lock = threading.RLock()
        """Guards all that follows. Not held while the handler runs or an answer is sent."""
        self._changed = threading.Condition(self._lock)
        """Told when the queue gains a request, when one is finished, and at the end."""
        self._clocks = Clocks()
        """Of those who ask, by publisher. In the I/O thread, but for reading `widest_s` under `_lock`."""
        self._queue: deque[tuple[float, Request]] = deque()
        """(since when, monotonic; request) of those accepted and not given to a worker."""
        self._waited_s = 0.0
        """How long all requests together waited in the queue."""
        self._counts: Counter[str] = Counter()
        """See `stats`."""
        self._stopping = False
        """Workers end when they next look."""
        self._closed = False
        """`close` was called: set once."""
        self._ready = threading.Event()
        """The inbox was acknowledged once."""
        self._announcer = Announcer(
            node,
            name,
            self.instance,
            inbox=self.inbox,
            version=version,
            info=info,
            load=lambda: self._admission.load,
            lease_s=lease_s,
            announce=False,
            on_question=self._question_heard,
        )
        self._workers = [
            threading.Thread(target=self._work, name=f"fabric-server-{name}-{n}", daemon=True) for n in range(workers)
        ]
        for worker in self._workers:
            worker.start()
        node.attach(self)
        self._held = Held(node, self.inbox, self._take, self._reachable)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wait_ready(self, timeout_s: float = 10.0) -> bool:
        """Wait until requests can reach it, and it is about to be announced; False when that took longer."""
        return self._ready.wait(timeout_s)

    def stats(self) -> dict[str, Any]:
        """Return figures. `malformed`: parts in the inbox that were no request, and named nobody to tell.

        `clock_offset_s`: how far the clock of a client is off, of the one that differs most. `waited_s`: how long those
        that came to the handler had waited for it, in all.
        """
        with self._lock:
            admission = self._admission
            names = ("requests", "handled", "batches", "replies", "unsent", "malformed", "refused", "expired", "failed")
            return {
                **{name: self._counts[name] for name in names},
                "busy": admission.busy,
                "duplicates": admission.duplicates,
                "in_flight": admission.in_flight,
                "kept": admission.kept,
                "waited_s": round(self._waited_s, 6),
                "clock_offset_s": round(self._clocks.widest_s, 3),
            }

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread."""
        with self._lock:
            self._admission.expire(now)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Take no more, finish what is in flight, say the last word. After `timeout_s` what is left goes unanswered.

        errors: StateError in the handler, or in a callback of the node, which it would wait for
        """
        if threading.current_thread() in self._workers or self._node.in_io_thread:
            raise StateError("server", "in its handler or a callback", "close", "call it in another thread")
        end = time.monotonic() + timeout_s
        with self._changed:
            if self._closed:
                return
            self._closed = self._admission.closed = True
            self._announcer.drain()
            self._changed.wait_for(lambda: not self._admission.in_flight, timeout_s)
            self._stopping = True
            self._changed.notify_all()
        self._announcer.close(min(LAST_WORD_S, max(0.0, end - time.monotonic())))
        self._node.detach(self)
        self._held.close()
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))
        if self._admission.in_flight:
            log.warning("a handler of service %s has not returned; its thread is left behind", self.name)

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _reachable(self) -> None:
        self._announcer.announce()
        self._ready.set()

    def _take(self, message: Message) -> None:
        """A part came to the inbox. Whatever it is, this returns."""
        address = read_address(message)
        if address is None:
            self._count("malformed")
            return
        now = time.monotonic()
        try:
            with self._lock:
                late_s = self._clocks.heard(message.publisher, message.sent_ns, time.time_ns(), now)
            request = read_request(message, address, now, late_s, self._skew_s)
        except FabricError as error:
            self._count("expired" if isinstance(error, RequestTimeout) else "refused")
            self._answer([address], error_payload(self.instance, error), 0)
            return
        packed = msgpack.packb((request.op, request.body))
        digest = blake2b(packed, digest_size=16).digest()
        with self._changed:
            self._counts["requests"] += 1
            verdict = self._admission.admit(request, digest, now, len(packed))
            if isinstance(verdict, Accept):
                self._queue.append((now, request))
                self._changed.notify()
        if isinstance(verdict, Again):
            self._answer([address], verdict.payload, 0)
        elif isinstance(verdict, Refused):
            self._answer([address], error_payload(self.instance, verdict.error), 0)

    def _question_heard(self, message: Message) -> None:
        """Who asks who is there will ask for more: by then it is known how its clock goes."""
        with self._lock:
            self._clocks.heard(message.publisher, message.sent_ns, time.time_ns(), time.monotonic())

    def _answer(self, addresses: list[Address], payload: Any, timeout_s: float) -> None:
        for address in addresses:
            try:
                self._node.publish_system(address.reply_to, payload, {"id": address.id}, timeout_s=timeout_s)
                self._count("replies")
            except FabricError:  # the client asks again; what was done is kept under its key
                self._count("unsent")

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._counts[what] += number

    # ── the workers ──────────────────────────────────────────────────────────────────────────────────────────────

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                waiting = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
                batch = [request for _, request in waiting]
                self._waited_s += time.monotonic() * len(waiting) - sum(since for since, _ in waiting)
            self._handle(batch)

    def _handle(self, batch: list[Request]) -> None:
        started = time.monotonic()
        live = [request for request in batch if request.deadline > started]
        if live:
            replies = self._call_handler(live)
            with self._lock:
                self._admission.handler_took(len(live), time.monotonic() - started)
                self._counts["batches"] += 1
                self._counts["handled"] += len(live)
            for request, reply in zip(live, replies, strict=True):
                self._finish(request, reply)
        for request in batch:
            if request.deadline <= started:
                self._count("expired")
                self._finish(request, RequestTimeout("the deadline passed while it waited here; nothing was done"))

    def _call_handler(self, live: list[Request]) -> list[Any]:
        try:
            replies = list(self._handler(live))
        except BaseException as error:  # a SystemExit, too: it would end this worker, and then nobody answers
            return [error] * len(live)
        if len(replies) == len(live):
            return replies
        return [TypeError(f"the handler returned {len(replies)} replies to {len(live)} requests")] * len(live)

    def _finish(self, request: Request, reply: Any) -> None:
        payload, size_bytes, keep = self._payload(request, reply)
        with self._changed:
            addresses = self._admission.finish(request.key, payload, size_bytes, time.monotonic(), keep=keep)
            self._changed.notify_all()
        self._answer(addresses, payload, max(0.0, min(request.deadline - time.monotonic(), CLOSE_S)))

    def _payload(self, request: Request, reply: Any) -> tuple[dict[str, Any], int, bool]:
        """Return the reply as it is sent, its size, and whether it is kept."""
        if not isinstance(reply, BaseException):
            payload = ok_payload(self.instance, reply)
            try:
                return payload, len(encode("reply", 0, 1, 0, payload, max_payload_bytes=self._max_bytes)), True
            except LocalWireError as unsendable:
                reply = unsendable
        if isinstance(reply, ServiceError | StateError | RequestTimeout):
            return error_payload(self.instance, reply), MAX_MESSAGE_CHARS, not isinstance(reply, _NO_KEEP)
        self._count("failed")
        log.error("service %s failed at %s", self.name, request.op, exc_info=reply)
        hidden = ServiceError(f"the service failed with {type(reply).__name__}")
        return error_payload(self.instance, hidden), MAX_MESSAGE_CHARS, False

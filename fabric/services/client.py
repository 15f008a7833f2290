"""The asking side of `fabric.services`: an inbox, open calls and their futures. `fabric.services.calls` decides.

Requests go out in the thread that asks, when they can at once, and else in the node's I/O thread, as do retries and
time-outs. Reading order: `Client.submit`; `_perform`; `_on_reply`.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from fabric.errors import Busy, FabricError, NotAllowed, RequestTimeout, StateError, TransportError, expected
from fabric.node.coverage import CoverageEvent
from fabric.node.node import Node
from fabric.protocol.inboxes import inbox_topic
from fabric.services.calls import ATTEMPTS, Calls, Effect, Failed, Send
from fabric.services.directory import Change, Instance
from fabric.services.messages import (
    MAX_BUDGET_S,
    Address,
    flaw_of_request,
    read_reply,
    request_headers,
    request_payload,
)
from fabric.services.presence import Held, Watcher
from fabric.wire import Message

log = logging.getLogger("fabric.services")

MAX_OPEN_CALLS = 100_000
ASK_AGAIN_S = 0.5


class Client:
    """Asks services, from any thread. A context manager; `close`, or the end of its node, fails what is open.

    At most 100,000 requests are open at once; one more fails with Busy.

    attempts: into so many slices the time until a deadline is cut; after each another instance is asked
    """

    def __init__(self, node: Node, *, attempts: int = ATTEMPTS) -> None:
        self._node = node
        self._inbox = inbox_topic(node.new_token(), "replies")
        self._watcher = Watcher(node, self._on_change)
        self._lock = self._watcher.lock
        """Guards everything here, and the directory that `_calls` looks into. Not held while futures are settled."""
        self._calls = Calls(self._watcher.directory, attempts=attempts)
        """Decides whom to ask; its calls are exactly those of `_open`."""
        self._open: dict[int, _Open] = {}
        """Requests without an answer, by call; at most `MAX_OPEN_CALLS`."""
        self._last_id = 0
        """Of a call; ids are never used again."""
        self._ask_at = 0.0
        """When services without an instance are next asked for, monotonic."""
        self._closed = False
        self._counts: Counter[str] = Counter()
        """See `stats`."""
        node.attach(self)
        node.on_coverage(self._on_coverage)
        self._held = Held(node, self._inbox, self._on_reply, self._on_acked)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(self, name: str, op: str, body: Any = None, *, deadline_s: float = 5.0, key: str | None = None) -> Any:
        """Ask a service, wait, and return the body of its reply: a payload, see `fabric.payloads`.

        name:   of a service: one topic level
        op:     1 to 100 characters
        body:   a payload
        deadline_s: from now, above 0 and at most an hour; the server does nothing that it can only begin later
        key:    a request with the same key is done once by one server, and goes to the same one while that is there;
                default: random, and the least loaded server
        errors: RequestTimeout, also when no instance is there; Busy when all are; NotAllowed; what the service raised;
                LocalWireError for a body that cannot be sent; StateError when closed, or in a callback of the node
        """
        if self._node.in_io_thread:
            raise StateError("client", "in a callback", "request", "use `submit`")
        future = self.submit(name, op, body, deadline_s=deadline_s, key=key)
        try:
            # The I/O thread ends it at its deadline; this is for one that is held up by somebody's callback.
            return future.result(deadline_s + 1.0)
        except TimeoutError:
            future.cancel()
            raise RequestTimeout(f"no answer from service {name!r} within {deadline_s:g} s") from None

    async def request_async(
        self, name: str, op: str, body: Any = None, *, deadline_s: float = 5.0, key: str | None = None
    ) -> Any:
        """`request` for asyncio; a call that is cancelled is asked for no more."""
        import asyncio  # here, as it is a third of what importing this module costs

        return await asyncio.wrap_future(self.submit(name, op, body, deadline_s=deadline_s, key=key))

    def submit(
        self, name: str, op: str, body: Any = None, *, deadline_s: float = 5.0, key: str | None = None
    ) -> Future[Any]:
        """Ask a service; does not wait. The future's callbacks run in the I/O thread. Errors of `request` are in it.

        errors: ValueError for an invalid name, operation, key or deadline; StateError when closed
        """
        what = flaw_of_request(op, "-" if key is None else key)
        if what is not None:
            raise ValueError(what)
        if not 0 < deadline_s <= MAX_BUDGET_S:
            raise ValueError(expected("deadline_s", deadline_s, f"above 0, and at most {MAX_BUDGET_S:g}"))
        now = time.monotonic()
        if self._watcher.watch(name):
            self._ask_at = now + ASK_AGAIN_S  # the watcher asks first
        call = _Open(op, key or secrets.token_hex(16), body, now + deadline_s, Future())
        with self._lock:
            if self._closed:
                raise StateError("client", "closed", "request", "make a new Client")
            self._last_id += 1
            ident = self._last_id
            if denied := self._node.why_not("request", name):
                effects: list[Effect] = [Failed(ident, NotAllowed(denied))]
            elif len(self._open) >= MAX_OPEN_CALLS:
                effects = [Failed(ident, Busy(f"{MAX_OPEN_CALLS} requests are open here"))]
            else:
                effects = self._calls.begin(ident, name, key, now, now + deadline_s)
            self._open[ident] = call
            self._counts["requests"] += 1
            over = self._perform(effects, now)
        _settle(over)
        call.future.add_done_callback(lambda future: self._forget(ident) if future.cancelled() else None)
        return call.future

    def instances(self, name: str) -> list[Instance]:
        """Return the live instances of a service, as far as they are known: none right after it is first named."""
        self._watcher.watch(name)
        return self._watcher.live(name)

    def ahead_s(self, instance: str) -> float | None:
        """Return by how many seconds this host's clock is ahead of an instance's, about; None if it is not known."""
        return self._watcher.ahead_s(instance)

    def stats(self) -> dict[str, Any]:
        """Return figures. `clock_offset_s`: how far an instance's clock is off, of the one that differs most. `late`:
        replies to requests that were over; `malformed`: parts that were no reply."""
        with self._lock:
            return {
                **{name: self._counts[name] for name in ("requests", "replies", "late", "malformed", "timeouts")},
                "retries": self._calls.retries,
                "open": len(self._open),
                "instances": len(self._watcher.directory),
                "refused_announcements": self._watcher.directory.refused,
                "clock_offset_s": round(self._watcher.clocks.widest_s, 3),
            }

    def close(self) -> None:
        """Fail what is open with a StateError, and hear no more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            error = StateError("client", "closed", "request", "it was closed before an answer came")
            over = [(call.future, None, error) for call in self._open.values()]
            for ident in self._open:
                self._calls.call_ended(ident)
            self._open.clear()
        self._node.detach(self)
        self._held.close()
        self._watcher.close()
        _settle(over)

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread."""
        with self._lock:
            over = self._perform(self._calls.tick(now), now)
            waiting = self._calls.waiting_services() if now >= self._ask_at else ()
        if waiting:
            self._ask_at = now + ASK_AGAIN_S
            for name in waiting:
                self._watcher.ask(name)
        _settle(over)

    def _on_acked(self) -> None:
        now = time.monotonic()
        with self._lock:
            over = self._perform(self._calls.inbox_acked(now), now)
        _settle(over)

    def _on_coverage(self, event: CoverageEvent) -> None:
        if event.gained:
            now = time.monotonic()
            with self._lock:
                over = self._perform(self._calls.mesh_reached_again(), now)
            _settle(over)

    def _on_change(self, change: Change) -> None:
        now = time.monotonic()
        with self._lock:
            effects: list[Effect] = []
            if change.kind == "appeared":
                effects = self._calls.instance_appeared(change.instance, now)
            elif change.kind == "left":
                effects = self._calls.instance_left(change.instance, now)
            over = self._perform(effects, now)
        _settle(over)

    def _on_reply(self, message: Message) -> None:
        """A part came to the inbox. Whatever it is, this returns."""
        reply, now = read_reply(message), time.monotonic()
        with self._lock:
            if reply is None:
                self._counts["malformed"] += 1
                return
            call = self._open.get(reply.id)
            if call is None:
                self._counts["late"] += 1
                return
            self._counts["replies"] += 1
            if isinstance(reply.error, Busy):
                over = self._perform(self._calls.instance_busy(reply.id, reply.instance, reply.error, now), now)
            else:
                self._calls.call_ended(reply.id)
                del self._open[reply.id]
                over = [(call.future, reply.body, reply.error)]
        _settle(over)

    # ── effects, under the lock ──────────────────────────────────────────────────────────────────────────────────

    def _perform(self, effects: list[Effect], now: float) -> list[_Over]:
        """Send what is to be sent. Return what is over, to be settled without the lock: futures call back."""
        over: list[_Over] = []
        for effect in effects:
            match effect:
                case Send(ident, instance):
                    refusal = self._send(ident, instance, now)
                    if refusal is not None:
                        self._calls.call_ended(ident)
                        over.append((self._open.pop(ident).future, None, refusal))
                case Failed(ident, error):
                    self._counts["timeouts"] += isinstance(error, RequestTimeout)
                    over.append((self._open.pop(ident).future, None, error))
        return over

    def _send(self, ident: int, instance: Instance, now: float) -> FabricError | None:
        call = self._open[ident]
        payload = request_payload(call.op, call.key, call.body)
        # By the clock as it is now: it may have been set since the request began.
        deadline_ns = time.time_ns() + int((call.deadline - now) * 1e9)
        headers = request_headers(Address(self._inbox, ident), deadline_ns)
        try:
            self._node.publish_system(instance.inbox, payload, headers, timeout_s=0)
        except TransportError:
            self._calls.send_failed(ident, now)
        except FabricError as error:
            return error
        return None

    def _forget(self, ident: int) -> None:
        with self._lock:
            self._calls.call_ended(ident)
            self._open.pop(ident, None)


@dataclass(frozen=True)
class _Open:
    op: str
    key: str
    body: Any
    deadline: float
    future: Future[Any]


_Over = tuple[Future[Any], Any, FabricError | None]


def _settle(over: Sequence[_Over]) -> None:
    for future, body, error in over:
        if not future.set_running_or_notify_cancel():
            continue
        try:
            if error is None:
                future.set_result(body)
            else:
                future.set_exception(error)
        except BaseException:  # a user's callback: concurrent.futures lets a SystemExit through
            log.exception("a callback of a request raised")

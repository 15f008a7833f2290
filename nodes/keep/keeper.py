"""A keeper: a node that writes what filters match to a store, and serves it as a service.

Reading order: `Keeper`; `_take`; `_answer`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fabric.errors import NotAllowed, ServiceError, StateError, expected
from fabric.node.coverage import Ack
from fabric.node.gaps import MAX_NUMBER, Gap
from fabric.node.node import Node
from fabric.protocol.histories import HISTORY, KEEPER, page_to_map, question_from, share_name
from fabric.protocol.retained import RETAIN, RETAINED
from fabric.services import Request, Server, each
from fabric.topics import require_name, scope, validate_filter
from fabric.wire import Message
from nodes.keep.pages import Pages
from nodes.keep.readers import Readers
from nodes.keep.retained import is_ahead, value_of
from nodes.keep.retention import LASTS_S, Retention, Sweeper
from nodes.keep.returning import Returner
from nodes.keep.store import KeepStore
from nodes.keep.writer import Writer

log = logging.getLogger("nodes.keep")

MAX_FILTERS = 100
MAX_LASTS = 100_000
"""Publishers and topics whose last numbers are known at the start; the newest ones."""
KEEP_ANSWERS_S = 5.0
WORKERS = 2
PAGE_ROOM_BYTES = 4096
"""Of a payload, what a page needs beside its one message and the filters."""
MAX_FILTERS_BYTES = 64 * 1024
DRAIN_S = 30.0
LAST_WORDS_S = 5.0


class Keeper:
    """Keeps what matches the filters, until it is closed. Its node is the caller's, who closes it afterwards.

    name:   under which it serves; keepers of one name have one store, or shares of the load
    share:  (k, n): it keeps the k-th of n shares of the topics; (1, 1): all
    retained: it keeps retained values, too, and gives them back to a mesh that has lost them
    keys:   folder of keys, for the rights of readers; None: without
    errors: ValueError; ScopeError for a local filter; NotAllowed; Busy when the store does not answer
    """

    def __init__(
        self,
        node: Node,
        store: KeepStore,
        filters: Sequence[str],
        *,
        retention: Retention | None = None,
        name: str = KEEPER,
        share: tuple[int, int] = (1, 1),
        retained: bool = True,
        keys: Path | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.filters = _checked(filters)
        """What it keeps. Never changes."""
        require_name("name", name)
        names = tuple(dict.fromkeys((name, share_name(name, share))))
        for each_name in names:
            if why := node.why_not("serve", each_name):
                raise NotAllowed(why)
        self._node, self._store, self._share, self._clock_ns = node, store, share, clock_ns
        self._pages, self._readers = Pages(store), Readers(keys)
        self._served = self._denied = 0
        """Pages answered, and requests refused for want of a right, since the start."""
        self._ahead = 0
        """Values that are not kept since they say that they were set in the future, since the start. I/O thread."""
        self._last: Message | None = None
        """What came last, by its identity: what matches several filters comes once for each. I/O thread."""
        self._acks: dict[str, Ack] = {}
        """Of each filter, the mesh's word. The I/O thread adds."""
        self._closed = False
        self._returner: Returner | None = None
        """Gives retained values back; None: it does not keep them. Set once."""
        sweeper = Sweeper(store, retention or Retention())
        self.writer = Writer(store, sweeper, max_bytes=_room(node, self.filters), clock_ns=clock_ns)
        """Between the node and the store."""
        self._expect()
        node.on_gap(self._lose)
        self._subscriptions = [
            node.subscribe(each, self._take, self._acked(each), retained=retained, as_published=retained)
            for each in self.filters
        ]
        if retained:
            self._returner = Returner(
                node, store, self.filters, is_ours=self._is_ours, flush=self.writer.flush, clock_ns=clock_ns
            )
        info = {"store": store.id, "share": list(share), "filters": list(self.filters)}
        self._servers = [
            Server(node, each_name, each(self._answer), info=info, workers=WORKERS, keep_s=KEEP_ANSWERS_S)
            for each_name in names
        ]

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────

    def _expect(self) -> None:
        """Have the node ask the publishers for what was missed since the last message in the store."""
        for last in self._store.lasts(self._clock_ns() - int(LASTS_S * 1e9), MAX_LASTS):
            if self._is_ours(last.topic) and last.number <= MAX_NUMBER:
                self._node.expect(last.topic, last.publisher, last.number, ask=True)

    def _take(self, message: Message) -> None:
        """In the I/O thread."""
        if message is self._last or not self._is_ours(message.topic):
            return
        self._last = message
        if RETAINED not in message.headers:  # what is told as retained was sent before, and may have been here
            self.writer.put(message)
        if RETAIN in message.headers and message.publisher != self._node.publisher:
            self._retain(message)

    def _retain(self, message: Message) -> None:
        """In the I/O thread."""
        now_ns = self._clock_ns()
        value = value_of(message, now_ns)
        if value is None:
            self._ahead += is_ahead(message, now_ns)
            return
        self.writer.retain(value)
        if self._returner is not None:
            self._returner.heard(message)

    def _lose(self, gap: Gap) -> None:
        """In the I/O thread."""
        if self._is_ours(gap.topic):
            self.writer.lose(gap)

    def _is_ours(self, topic: str) -> bool:
        which, of = self._share
        return of == 1 or share_of(topic, of) == which

    def _acked(self, topic_filter: str) -> Callable[[Ack], None]:
        def take(ack: Ack) -> None:
            self._acks[topic_filter] = ack

        return take

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────

    def _answer(self, request: Request) -> Any:
        """In a worker's thread."""
        if request.op != HISTORY:
            raise ServiceError(expected("operation", request.op, HISTORY))
        try:
            question = question_from(request.body)
        except ValueError as error:
            raise ServiceError(str(error)) from None
        why = self._readers.why_not(request.publisher, question.topic_filter)
        if why is not None:
            self._denied += 1
            raise NotAllowed(why)
        self.writer.flush(max(0.0, request.deadline - time.monotonic()))
        messages, holes, after, done = self._pages.page(question, self._clock_ns())
        self._served += 1
        return page_to_map(messages, holes, after, done, share=self._share, filters=self.filters)

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until requests can reach it, and what it keeps is acknowledged; False when that took longer."""
        end = time.monotonic() + timeout_s
        for subscription in self._subscriptions:
            try:
                self._node.wait_ack(subscription, max(0.0, end - time.monotonic()))
            except TimeoutError:
                return False
        return all(server.wait_ready(max(0.0, end - time.monotonic())) for server in self._servers)

    def denied(self) -> str:
        """Return why one of the filters may not be held; "" while all may."""
        return next((ack.error or "" for ack in self._acks.values() if ack.denied), "")

    def problem(self) -> str:
        """Say why it does not keep what it should; nothing while it does."""
        if unheld := [each for each, ack in self._acks.items() if not ack.ok]:
            return f"no proxy has acknowledged {', '.join(unheld)}"
        return self.writer.problem()

    def figures(self) -> dict[str, Any]:
        given = {} if self._returner is None else self._returner.figures()
        counts = {"pages": self._served, "denied": self._denied, "values_ahead": self._ahead}
        return {**self.writer.figures(), **given, **counts}

    def close(self, timeout_s: float = DRAIN_S, words_s: float = LAST_WORDS_S) -> int:
        """Take no more, write what was taken, and end. Returns how much could not be written in that time.

        timeout_s: how long the store may take
        words_s:   how long it waits for others: that they are answered, and for a proxy that hears that it goes
        errors: StateError in a callback of the node, which it would wait for
        """
        if self._node.in_io_thread:
            raise StateError("keeper", "in a callback", "close", "call it in another thread")
        if self._closed:
            return 0
        self._closed = True
        end = time.monotonic() + words_s
        if self._returner is not None:
            self._returner.close(words_s)
        for server in self._servers:
            server.close(max(0.0, end - time.monotonic()))
        for subscription in self._subscriptions:
            self._node.unsubscribe(subscription)
        return self.writer.close(timeout_s)


def _room(node: Node, filters: Sequence[str]) -> int:
    """Return how large a message may be so that a page can carry it."""
    return node.max_payload_bytes - PAGE_ROOM_BYTES - sum(len(each.encode()) + 5 for each in filters)


def share_of(topic: str, shares: int) -> int:
    """Return which of so many shares keeps a topic, from 1. The same at every keeper."""
    return int.from_bytes(blake2b(topic.encode(), digest_size=8).digest(), "big") % shares + 1


def _checked(filters: Sequence[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(filters))
    if not 0 < len(found) <= MAX_FILTERS:
        raise ValueError(expected("filters", len(found), f"1 to {MAX_FILTERS} of them"))
    if sum(len(each.encode("utf-8", "replace")) for each in found) > MAX_FILTERS_BYTES:
        raise ValueError(f"the filters are too long: expected at most {MAX_FILTERS_BYTES} bytes of them")
    for topic_filter in found:
        validate_filter(topic_filter)
        if scope(topic_filter) == "local":
            raise ValueError(
                expected("filter", topic_filter, "one without `~/`: that is local and never leaves its node")
            )
    return found

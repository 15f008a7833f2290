"""What the pages of one process ask of the frame nodes: each its own requests, all of them one heartbeat.

An answer becomes inputs of the page (`outcome`, `renewal`, both without I/O) and reaches it in the node's I/O thread.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import Any, Protocol

from fabric.errors import Busy, NotAllowed, StateError
from fabric.node.node import Node
from fabric.services import Client
from nodes.page.interface import (
    Ask,
    FrameNodeAnswered,
    FrameNodeRejected,
    FrameNodeTold,
    FrameNodeWasBusy,
    Input,
    LeaseKept,
    LeaseLost,
)
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.rules.fields import MAX_SESSIONS
from nodes.rules.topics import FRAME_SERVICE

ASK_DEADLINE_S = 3.0
RELEASE_S = 2.0
REJECTIONS = (NotAllowed, UnknownContactCode, StateError)


class Page(Protocol):
    """What a host needs of a page. `handle` takes inputs in this order, and is called in the node's I/O thread."""

    session: str
    lease_s: float

    @property
    def is_ready(self) -> bool: ...
    def handle(self, *events: Input) -> None: ...


def outcome(ask: Ask, reply: object, error: BaseException | None, asked_at: float, drawn: float) -> list[Input]:
    """Return what an answer means for the page that asked.

    reply, error:  what came; `reply` counts when there is no error
    asked_at:      when it was asked
    drawn:         even in [0, 1), for the jitter of a back-off
    """
    if error is None:
        return [FrameNodeAnswered(ask, reply)]
    retry_after_s = error.retry_after_s if isinstance(error, Busy) else 0.0
    again = FrameNodeWasBusy(ask, str(error), retry_after_s, drawn)
    never = FrameNodeRejected(ask, str(error), type(error).__name__)
    if ask.operation == "grant_code":
        return [again]
    if isinstance(error, LeaseExpired):
        return [again if ask.operation == "stop" else never, LeaseLost(asked_at)]
    return [never if ask.operation != "stop" and isinstance(error, REJECTIONS) else again]


def renewal(session: str, reply: object, asked_at: float) -> list[Input]:
    """Return what a heartbeat's reply, `{"pages": {session: state map, or None}}`, means for a page that it named."""
    states = reply.get("pages") if isinstance(reply, dict) else None
    if not isinstance(states, dict) or session not in states:
        return []
    state = states[session]
    return [LeaseLost(asked_at)] if state is None else [LeaseKept(asked_at), FrameNodeTold(state)]


class FrameNodeClient:
    """Asks the frame nodes, for all pages at `node`. `counts`: of the host; `dropped` and `unrenewed` are its part."""

    def __init__(self, node: Node, counts: Counter[str]) -> None:
        self._client, self._counts = Client(node), counts
        """Neither changes."""
        self._lock = threading.Lock()
        self._releases: set[Future[Any]] = set()
        """Goodbyes that are not answered yet; under `_lock`."""
        self._closed = False
        """Set by `close`: no page hears of an answer any more."""

    def ask(self, page: Page, ask: Ask) -> None:
        """Ask for a page, which hears of the outcome in the I/O thread."""
        asked_at = time.monotonic()

        def over(future: Future[Any]) -> None:
            if not self._closed and not future.cancelled():
                error = future.exception()
                reply = future.result() if error is None else None
                page.handle(*outcome(ask, reply, error, asked_at, random.random()))

        try:
            future = self._client.submit(FRAME_SERVICE, ask.operation, ask.body, deadline_s=ASK_DEADLINE_S, key=ask.key)
        except StateError:
            self._counts["dropped"] += 1  # closed meanwhile
            return
        future.add_done_callback(over)

    def renew(self, pages: Sequence[Page], now: float, deadline_s: float) -> None:
        """Keep the leases of these pages: one request for each MAX_SESSIONS of them. StateError when closed."""
        for start in range(0, len(pages), MAX_SESSIONS):
            some = pages[start : start + MAX_SESSIONS]
            body = {"sessions": [page.session for page in some]}
            future = self._client.submit(FRAME_SERVICE, "renew_many", body, deadline_s=deadline_s)
            future.add_done_callback(self._renewed(some, now))

    def _renewed(self, pages: Sequence[Page], asked_at: float) -> Callable[[Future[Any]], None]:
        def over(future: Future[Any]) -> None:
            if self._closed or future.cancelled():
                return
            if future.exception() is not None:
                self._counts["unrenewed"] += 1
                return
            reply = future.result()
            for page in pages:
                events = renewal(page.session, reply, asked_at)
                if events:
                    page.handle(*events)

        return over

    def release(self, session: str) -> None:
        """Say that a page has left, in the background."""
        try:
            future = self._client.submit(FRAME_SERVICE, "release_page", {"session": session}, deadline_s=RELEASE_S)
        except StateError:
            return  # closed meanwhile
        with self._lock:
            self._releases.add(future)
        future.add_done_callback(self._released)

    def _released(self, future: Future[Any]) -> None:
        with self._lock:
            self._releases.discard(future)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the frame node knows of all pages that have left; False when that took longer."""
        with self._lock:
            releases = list(self._releases)
        return not wait(releases, timeout_s).not_done

    def stats(self) -> dict[str, Any]:
        """Return the figures of `fabric.services.Client.stats`."""
        return self._client.stats()

    def close(self) -> None:
        """No page hears of an answer any more."""
        self._closed = True
        self._client.close()

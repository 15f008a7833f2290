"""What the pages of one process ask of the frame nodes: each its own requests, all of them one heartbeat.

An answer becomes inputs of the page (`outcome`, `renewal`, both without I/O) and reaches it in the node's I/O thread.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Any, Protocol

from fabric.errors import Busy, NotAllowed, StateError
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
from nodes.rules.acquaintance import MEET, Acquaintance
from nodes.rules.agreement import PRIVATE_BYTES
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.rules.fields import MAX_SESSIONS
from nodes.rules.proofs import proven_request, renewal_proof
from nodes.rules.state_map import StateMap, opened
from nodes.rules.topics import FRAME_SERVICE

if TYPE_CHECKING:
    from fabric.node.node import Node

ASK_DEADLINE_S = 3.0
RELEASE_S = 2.0
UNPROVEN = "the answer was not proven to be a frame node's"
REJECTIONS = (NotAllowed, UnknownContactCode, StateError)


class Page(Protocol):
    """What a host needs of a page. `handle` takes inputs in this order, and is called in the node's I/O thread.

    key:  of the session: proves what is asked for it, and what is answered
    """

    session: str
    key: str
    lease_s: float

    @property
    def is_ready(self) -> bool: ...
    def handle(self, *events: Input) -> None: ...


def outcome(
    ask: Ask, reply: StateMap | None, error: BaseException | None, asked_at: float, drawn: float
) -> list[Input]:
    """Return what an answer means for the page that asked.

    reply, error:  what came; `reply` counts when there is no error. None: it was not proven to be a frame node's
    asked_at:      when it was asked
    drawn:         even in [0, 1), for the jitter of a back-off
    """
    if error is None and reply is not None:
        return [FrameNodeAnswered(ask, reply)]
    if error is None:
        return [FrameNodeWasBusy(ask, UNPROVEN, 0.0, drawn)]
    retry_after_s = error.retry_after_s if isinstance(error, Busy) else 0.0
    again = FrameNodeWasBusy(ask, str(error), retry_after_s, drawn)
    never = FrameNodeRejected(ask, str(error), type(error).__name__)
    if ask.operation == "grant_code":
        return [again]
    if isinstance(error, LeaseExpired):
        return [again if ask.operation == "stop" else never, LeaseLost(asked_at)]
    return [never if ask.operation != "stop" and isinstance(error, REJECTIONS) else again]


def renewal(page: Page, reply: object, asked_at: float, at: float) -> list[Input] | None:
    """Return what a heartbeat's reply, `{"pages": {session: state map, or None}}`, means for a page that it named.

    asked_at:  when it was asked, monotonic; `at`: the same in seconds since 1970, as the request said
    returns:   None when what it says of the page is not proven
    """
    states = reply.get("pages") if isinstance(reply, dict) else None
    if not isinstance(states, dict) or page.session not in states:
        return []
    if states[page.session] is None:
        return [LeaseLost(asked_at)]
    state = opened(states[page.session], page.key, at)
    return None if state is None else [LeaseKept(asked_at), FrameNodeTold(state)]


class FrameNodeClient:
    """Asks the frame nodes, for all pages at `node`. `counts`: of the host; `dropped`, `unrenewed` and `unproven` are
    its part."""

    def __init__(self, node: Node, counts: Counter[str]) -> None:
        self._client, self._counts = Client(node), counts
        """Neither changes."""
        self._acquaintance = Acquaintance(secrets.token_bytes(PRIVATE_BYTES))
        """With the frame nodes; changed in the node's I/O thread."""
        self._lock = threading.Lock()
        self._unmet: list[tuple[Page, Ask]] = []
        """What waits for the first meeting, in order; under `_lock`."""
        self._is_meeting = False
        """Whether an answer to a meeting is awaited; under `_lock`."""
        self._releases: set[Future[Any]] = set()
        """Goodbyes that are not answered yet; under `_lock`."""
        self._closed = False
        """Set by `close`: no page hears of an answer any more."""

    def ask(self, page: Page, ask: Ask) -> None:
        """Ask for a page, which hears of the outcome in the I/O thread."""
        if not self._acquaintance.is_made:  # a grant waits for that, and nothing may overtake it
            with self._lock:
                self._unmet.append((page, ask))
            self._meet()
        else:
            self._ask(page, ask)

    def _ask(self, page: Page, ask: Ask) -> None:
        asked_at, at = time.monotonic(), time.time()

        def over(future: Future[Any]) -> None:
            if self._closed or future.cancelled():
                return
            error = future.exception()
            reply = self._proven(future.result(), page, at) if error is None else None
            if ask.operation == "grant_code" and reply is None and self._acquaintance.is_stale(time.monotonic()):
                self._meet()
            page.handle(*outcome(ask, reply, error, asked_at, random.random()))

        body = ask.body
        if ask.operation == "grant_code":
            body = {**body, **self._acquaintance.handed_over(page.key, ask.key)}
        try:
            future = self._submit(page.key, ask.operation, body, at, ask.key, ASK_DEADLINE_S)
        except StateError:
            self._counts["dropped"] += 1  # closed meanwhile
            return
        future.add_done_callback(over)

    def _proven(self, reply: object, page: Page, at: float) -> StateMap | None:
        """Return what a frame node has said to a page; None, counted, for what none has."""
        state = opened(reply, page.key, at)
        if state is None:
            self._counts["unproven"] += 1
        else:
            self._acquaintance.heard(time.monotonic())
        return state

    def _meet(self) -> None:
        """Agree with the frame nodes on a key, by which the pages' keys are handed over; one try at a time."""
        with self._lock:
            if self._is_meeting:
                return
            self._is_meeting = True
        asked_at = time.monotonic()

        def over(future: Future[Any]) -> None:
            with self._lock:
                self._is_meeting = False
                waiting, self._unmet = self._unmet, []
            if self._closed or future.cancelled():
                return
            error = future.exception()
            if error is None and not self._acquaintance.met(future.result(), time.monotonic()):
                self._counts["unproven"] += 1
            for page, ask in waiting:
                if self._acquaintance.is_made:
                    self._ask(page, ask)
                else:
                    page.handle(*outcome(ask, None, error, asked_at, random.random()))

        try:
            body = {"host": self._acquaintance.public}
            self._client.submit(FRAME_SERVICE, MEET, body, deadline_s=ASK_DEADLINE_S).add_done_callback(over)
        except StateError:
            self._counts["dropped"] += 1  # closed meanwhile

    def renew(self, pages: Sequence[Page], now: float, deadline_s: float) -> None:
        """Keep the leases of these pages: one request for each MAX_SESSIONS of them. StateError when closed."""
        for start in range(0, len(pages), MAX_SESSIONS):
            some = pages[start : start + MAX_SESSIONS]
            at = time.time()
            proofs = [renewal_proof(page.key, at) for page in some]
            body = {"sessions": [page.session for page in some], "proofs": proofs, "at": at}
            future = self._client.submit(FRAME_SERVICE, "renew_many", body, deadline_s=deadline_s)
            future.add_done_callback(self._renewed(some, now, at))

    def _renewed(self, pages: Sequence[Page], asked_at: float, at: float) -> Callable[[Future[Any]], None]:
        def over(future: Future[Any]) -> None:
            if self._closed or future.cancelled():
                return
            if future.exception() is not None:
                self._counts["unrenewed"] += 1
                return
            reply, proven = future.result(), False
            for page in pages:
                events = renewal(page, reply, asked_at, at)
                if events is None:
                    self._counts["unproven"] += 1
                elif events:
                    proven = proven or isinstance(events[0], LeaseKept)
                    page.handle(*events)
            if proven:
                self._acquaintance.heard(time.monotonic())

        return over

    def release(self, page: Page) -> None:
        """Say that a page has left, in the background."""
        body = {"session": page.session}
        try:
            future = self._submit(page.key, "release_page", body, time.time(), secrets.token_hex(16), RELEASE_S)
        except StateError:
            return  # closed meanwhile
        with self._lock:
            self._releases.add(future)
        future.add_done_callback(self._released)

    def _released(self, future: Future[Any]) -> None:
        with self._lock:
            self._releases.discard(future)

    def _submit(
        self, key: str, operation: str, body: dict[str, Any], at: float, once: str, deadline_s: float
    ) -> Future[Any]:
        """Ask, with a proof. errors: StateError when closed."""
        asked = proven_request(key, operation, body, at, once)
        return self._client.submit(FRAME_SERVICE, operation, asked, deadline_s=deadline_s)

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

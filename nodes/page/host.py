"""What all pages of one process share: the node, one client, one subscription, one heartbeat, one clock.

A host holds one prefix for all its pages' sessions, asks for all of them to be kept in one request (for at most
`MAX_RENEWED` pages each), and looks at a page only when something is due for it: ten thousand pages that wait cost
nothing but their memory.

    ~pagesession/<home>/<session>/<rest>   on the wire, is `~pagesession/<rest>` in the page
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Protocol

from fabric.errors import Busy, FabricError, NotAllowed, StateError
from fabric.node.coverage import Ack
from fabric.node.node import Node
from fabric.services import Client
from fabric.wire import Message
from nodes.page.frame_core import Ask
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.rules.topics import BUTTONS, BY, FRAME_SERVICE, SPACE, on_the_wire, session_space

log = logging.getLogger("nodes.page")

MAX_RENEWED = 1_000
ASK_DEADLINE_S = 3.0
HEARTBEATS = 3
"""In each lease: two may be lost."""
BUTTONS_SILENCE_S = 10.0
"""No frame node has spoken of the buttons for so long, five times what it takes: nobody serves them."""
RELEASE_S = 2.0
REJECTIONS = (NotAllowed, UnknownContactCode, StateError)


class Page(Protocol):
    """What a host wants of its pages; all of it is called in the node's I/O thread."""

    session: str
    lease_s: float

    @property
    def is_ready(self) -> bool: ...
    def ticked(self, now: float) -> None: ...
    def session_acked(self, ack: Ack, now: float) -> None: ...
    def received(self, message: Message, topic: str, now: float) -> None: ...
    def answered(self, ask: Ask, state: object, now: float) -> None: ...
    def refused(self, ask: Ask, why: str, retry_after_s: float, now: float) -> None: ...
    def rejected(self, ask: Ask, why: str, now: float) -> None: ...
    def heard(self, state: object, now: float) -> None: ...
    def gone(self, asked_at: float, now: float) -> None: ...
    def buttons(self, available: dict[str, Any]) -> None: ...


class PageHost:
    """The pages of one node. Ends with the node; pages that are open then are gone when their leases run out."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.home = node.home
        self.counts: Counter[str] = Counter()
        """`unknown_session`: parts for pages that are not here; `dropped`: sends after the node was closed."""
        self._client = Client(node)
        self._lock = threading.Lock()
        self._pages: dict[str, Page] = {}
        self._timers: list[tuple[float, int, str]] = []
        self._timer_no = itertools.count()
        self._ack: Ack | None = None
        self._available: dict[str, Any] | None = None
        self._buttons_at = 0.0
        self._renew_at = 0.0
        self._releases: set[Future[Any]] = set()
        self._closed = False
        self._space = session_space(self.home)
        node.attach(self)
        self._subscribe()
        node.subscribe(BUTTONS, self._on_buttons)

    def _subscribe(self) -> None:
        self._held = self.node.subscribe(f"{self._space}#", self._on_session, self._on_ack)

    def stats(self) -> dict[str, Any]:
        """Return how many pages have a contact code, `ready`, and how many `other` have not; and what was dropped.

        cost: a walk over the pages
        """
        with self._lock:
            hosted = list(self._pages.values())
        ready = sum(page.is_ready for page in hosted)
        return {"pages": {"ready": ready, "other": len(hosted) - ready}, "drops": dict(self.counts)}

    @property
    def available(self) -> dict[str, Any] | None:
        """How many agents there are for each button; None while that is not known."""
        return self._available

    # ── pages ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, page: Page) -> tuple[Ack | None, dict[str, Any] | None]:
        """Take a page in; return the ack of the sessions' subscription and what buttons are available, if known.

        errors: StateError for a session that is here already, or when the node is closed
        """
        with self._lock:
            if self._closed:
                raise StateError("page host", "closed", "attach", "right would be a new node")
            if page.session in self._pages:
                raise StateError("page host", "attached", "attach", "a page of this session is open here already")
            self._pages[page.session] = page
            self._renew_at = min(self._renew_at, time.monotonic() + page.lease_s / HEARTBEATS)
            return self._ack, self._available

    def remove(self, page: Page, release: bool) -> None:
        """Let a page go; `release`: tell the frame node that it is gone, in the background."""
        with self._lock:
            if self._pages.get(page.session) is page:
                del self._pages[page.session]
            if self._closed or not release:
                return
        try:
            future = self._client.submit(FRAME_SERVICE, "release_page", {"session": page.session}, deadline_s=RELEASE_S)
        except StateError:
            return  # closed meanwhile
        with self._lock:
            self._releases.add(future)
        future.add_done_callback(self._released)

    def _released(self, future: Future[Any]) -> None:
        with self._lock:
            self._releases.discard(future)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the frame node knows of all pages that were closed; False when that took longer."""
        with self._lock:
            releases = list(self._releases)
        return not wait(releases, timeout_s).not_done

    def wake_at(self, page: Page, due: float) -> None:
        """Have `page.ticked` called at `due`, or soon after."""
        with self._lock:
            heapq.heappush(self._timers, (due, next(self._timer_no), page.session))

    def topic(self, session: str, topic: str) -> str:
        """Return the name on the wire of a page's `~pagesession/…`."""
        return on_the_wire(self.home, session, topic) if topic.startswith(SPACE) else topic

    # ── the frame node ───────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, page: Page, ask: Ask) -> None:
        """Ask the frame node; the page hears of it in the I/O thread."""

        def over(future: Future[Any]) -> None:
            if self._closed or future.cancelled():
                return
            error, now = future.exception(), time.monotonic()
            if error is None:
                page.answered(ask, future.result(), now)
            elif ask.operation != "grant_code" and isinstance(error, LeaseExpired):
                if ask.operation == "stop":
                    page.refused(ask, str(error), 0.0, now)
                else:
                    page.rejected(ask, str(error), now)
                page.gone(asked_at, now)
            elif ask.operation not in ("grant_code", "stop") and isinstance(error, REJECTIONS):
                page.rejected(ask, str(error), now)
            else:
                page.refused(ask, str(error), error.retry_after_s if isinstance(error, Busy) else 0.0, now)

        asked_at = time.monotonic()
        try:
            future = self._client.submit(FRAME_SERVICE, ask.operation, ask.body, deadline_s=ASK_DEADLINE_S, key=ask.key)
        except StateError:
            self.counts["dropped"] += 1  # closed meanwhile
            return
        future.add_done_callback(over)

    def _renew(self, now: float) -> None:
        """Keep the leases of all pages that are ready."""
        with self._lock:
            pages = [page for page in self._pages.values() if page.is_ready]
        period_s = min((page.lease_s for page in pages), default=10.0) / HEARTBEATS
        self._renew_at = now + period_s
        for start in range(0, len(pages), MAX_RENEWED):
            some = pages[start : start + MAX_RENEWED]
            sessions = [page.session for page in some]
            future = self._client.submit(FRAME_SERVICE, "renew_many", {"sessions": sessions}, deadline_s=2 * period_s)
            future.add_done_callback(self._renewed(some, now))

    def _renewed(self, pages: list[Page], asked_at: float) -> Callable[[Future[Any]], None]:
        def over(future: Future[Any]) -> None:
            if self._closed or future.cancelled():
                return
            if future.exception() is not None:
                self.counts["unrenewed"] += 1
                return
            found = future.result()
            states = found.get("pages") if isinstance(found, dict) else None
            if not isinstance(states, dict):
                return
            now = time.monotonic()
            for page in pages:
                state = states.get(page.session)
                if state is not None:
                    page.heard(state, now)
                elif page.session in states:
                    page.gone(asked_at, now)

        return over

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float, idle: bool) -> None:
        """In the I/O thread, every 10 ms."""
        with contextlib.suppress(StateError):  # the client is closed, and this is the last tick
            self._tick(now)

    def _tick(self, now: float) -> None:
        while self._timers and self._timers[0][0] <= now:
            with self._lock:
                page = self._pages.get(heapq.heappop(self._timers)[2])
            if page is not None:
                page.ticked(now)
        if now >= self._renew_at:
            self._renew(now)
        if self._available and now - self._buttons_at > BUTTONS_SILENCE_S:
            self._tell_buttons({})

    def _on_buttons(self, message: Message) -> None:
        if isinstance(message.payload, dict):
            self._buttons_at = time.monotonic()
            if message.payload != self._available:
                self._tell_buttons(message.payload)

    def _tell_buttons(self, available: dict[str, Any]) -> None:
        with self._lock:
            self._available = available
            pages = list(self._pages.values())
        for page in pages:
            page.buttons(available)

    def _on_session(self, message: Message) -> None:
        session, _, rest = message.topic[len(self._space) :].partition("/")
        if message.headers.get(BY) == "page":
            return  # the page has heard itself at once
        with self._lock:
            page = self._pages.get(session)
        if page is None:
            self.counts["unknown_session"] += 1
        else:
            page.received(message, SPACE + rest, time.monotonic())

    def _on_ack(self, ack: Ack) -> None:
        with self._lock:
            self._ack = ack if ack.ok else None
            pages = list(self._pages.values())
        now = time.monotonic()
        for page in pages:
            page.session_acked(ack, now)
        if not ack.ok and not self._closed:
            try:
                self.node.unsubscribe(self._held)
                self._subscribe()
            except FabricError as error:
                log.warning("pages' sessions cannot be heard: %s", error)

    def close(self) -> None:
        """The node closes: what pages have said goodbye is waited for, a moment."""
        self.flush(RELEASE_S)
        with self._lock:
            self._closed = True
        with _hosts_lock:
            _hosts.pop(self.node, None)
        self.node.detach(self)
        self._client.close()


_hosts: dict[Node, PageHost] = {}
_hosts_lock = threading.Lock()


def host_of(node: Node) -> PageHost:
    """Return the host of this node's pages, made when it is first asked for."""
    with _hosts_lock:
        host = _hosts.get(node)
        if host is None:
            host = _hosts[node] = PageHost(node)
        return host


def draw() -> float:
    """Even in [0, 1), for jitter."""
    return random.random()


def new_token() -> str:
    """128 random bits in 22 characters: a session id, or a run of a page."""
    return secrets.token_urlsafe(16)

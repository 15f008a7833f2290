"""What all pages of one process share: the node, its frame node client, one subscription, one heartbeat, one clock.

A host holds one prefix for all its pages' sessions, asks for all of them to be kept in one request, and looks at a page
only when something is due for it: ten thousand pages that wait cost nothing but their memory. A page is told of
everything by one call, `page.handle`.

    ~pagesession/<home>/<session>/<rest>   on the wire, is `~pagesession/<rest>` in the page
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import secrets
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from fabric.errors import FabricError, StateError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.page.frame_node_client import RELEASE_S, FrameNodeClient, Page
from nodes.page.interface import ButtonsCounted, ClockTicked, Input, SessionsAcked, SessionSpoke
from nodes.rules.proofs import engagement_of
from nodes.rules.spoken import is_agents
from nodes.rules.topics import BUTTONS, BY, BY_PAGE, SPACE, STATE, on_the_wire, session_space

if TYPE_CHECKING:
    from fabric.node.node import Node

log = logging.getLogger("nodes.page")

HEARTBEATS = 3
"""In each lease: two may be lost."""
BUTTONS_SILENCE_S = 10.0
"""No frame node has spoken of the buttons for so long, five times what it takes: nobody serves them."""


class PageHost:
    """The pages of one node. Ends with the node; pages that are open then are gone when their leases run out."""

    def __init__(self, node: Node) -> None:
        self.node, self.home = node, node.home
        """Neither changes."""
        self.counts: Counter[str] = Counter()
        """`unknown_session`: parts for pages that are not here; `dropped`: sends after the node was closed;
        `unrenewed`: heartbeats that were not answered; `unproven`: what no frame node has said. Any thread
        of the pages raises them."""
        self.frame_node = FrameNodeClient(node, self.counts)
        """Asks for the pages."""
        self._lock = threading.Lock()
        self._pages: dict[str, Page] = {}
        """The pages that are open here, by session; under `_lock`."""
        self._timers: list[tuple[float, int, str]] = []
        """A heap of (moment, number, session), under `_lock`; an entry may outlive its page."""
        self._timer_no = itertools.count()
        """Numbers of timers: two of one moment are woken in the order of `wake_at`."""
        self._ack: Ack | None = None
        """The last ack of the sessions' subscription, if it was a good one; under `_lock`."""
        self._available: dict[str, Any] | None = None
        """How many agents there are for each button; None until a frame node has said so. Set in the I/O thread."""
        self._buttons_at = 0.0
        """When a frame node last spoke of the buttons. Of the I/O thread."""
        self._renew_at = 0.0
        """When the next heartbeat is due; a page of a shorter lease brings it forward."""
        self._closed = False
        """Set by `close`, under `_lock`: no page is taken in any more."""
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

    def add(self, page: Page) -> list[Input]:
        """Take a page in; return what it has to be told at once, of the sessions' subscription and the buttons.

        errors: StateError for a session that is here already, or when the node is closed
        """
        with self._lock:
            if self._closed:
                raise StateError("page host", "closed", "attach", "expected a page host whose node is open")
            if page.session in self._pages:
                raise StateError("page host", "attached", "attach", "expected a session that is not open here already")
            self._pages[page.session] = page
            self._renew_at = min(self._renew_at, time.monotonic() + page.lease_s / HEARTBEATS)
            told: list[Input] = [] if self._ack is None else [SessionsAcked(self._ack)]
            return told if self._available is None else [*told, ButtonsCounted(self._available)]

    def remove(self, page: Page, release: bool) -> None:
        """Let a page go; `release`: tell the frame node that it is gone, in the background."""
        with self._lock:
            if self._pages.get(page.session) is page:
                del self._pages[page.session]
            release = release and not self._closed
        if release:
            self.frame_node.release(page)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the frame node knows of all pages that were closed; False when that took longer."""
        return self.frame_node.flush(timeout_s)

    def wake_at(self, page: Page, due_s: float) -> None:
        """Have the page handle ClockTicked at `due_s`, or soon after."""
        with self._lock:
            heapq.heappush(self._timers, (due_s, next(self._timer_no), page.session))

    def topic(self, session: str, topic: str) -> str:
        """Return the name on the wire of a page's `~pagesession/…`."""
        return on_the_wire(self.home, session, topic) if topic.startswith(SPACE) else topic

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
                page.handle(ClockTicked())
        if now >= self._renew_at:
            self._renew(now)
        if self._available and now - self._buttons_at > BUTTONS_SILENCE_S:
            self._tell_buttons({})

    def _renew(self, now: float) -> None:
        """Keep the leases of all pages that are ready."""
        with self._lock:
            pages = [page for page in self._pages.values() if page.is_ready]
        period_s = min((page.lease_s for page in pages), default=10.0) / HEARTBEATS
        self._renew_at = now + period_s
        self.frame_node.renew(pages, now, deadline_s=2 * period_s)

    def _on_buttons(self, message: Message) -> None:
        if isinstance(message.payload, dict):
            self._buttons_at = time.monotonic()
            if message.payload != self._available:
                self._tell_buttons(message.payload)

    def _tell_buttons(self, available: dict[str, Any]) -> None:
        with self._lock:
            self._available = available
        self._tell_all(ButtonsCounted(available))

    def _tell_all(self, event: Input) -> None:
        with self._lock:
            pages = list(self._pages.values())
        for page in pages:
            page.handle(event)

    def _on_session(self, message: Message) -> None:
        session, _, rest = message.topic[len(self._space) :].partition("/")
        if message.headers.get(BY) == BY_PAGE:
            return  # the page has heard itself at once
        with self._lock:
            page = self._pages.get(session)
        spoken = message._replace(topic=SPACE + rest)
        if page is None:
            self.counts["unknown_session"] += 1
        elif spoken.topic != STATE and not _is_agents(page, spoken):
            self.counts["unproven"] += 1
        else:
            page.handle(SessionSpoke(spoken))

    def _on_ack(self, ack: Ack) -> None:
        with self._lock:
            self._ack = ack if ack.ok else None
        self._tell_all(SessionsAcked(ack))
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
        self.frame_node.close()


def _is_agents(page: Page, message: Message) -> bool:
    """Whether an agent whom the page's visitor has let in says this."""
    by = str(message.headers.get(BY))
    key = engagement_of(page.key, page.session, by)
    return is_agents(key, by, message.headers, message.topic, message.payload, time.time())


_hosts: dict[Node, PageHost] = {}
_hosts_lock = threading.Lock()


def host_of(node: Node) -> PageHost:
    """Return the host of this node's pages, made when it is first asked for."""
    with _hosts_lock:
        host = _hosts.get(node)
        if host is None:
            host = _hosts[node] = PageHost(node)
        return host


def new_token() -> str:
    """128 random bits in 22 characters: a page's secret, or a run of it."""
    return secrets.token_urlsafe(16)

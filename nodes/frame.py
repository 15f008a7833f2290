"""The frame node: owns contact codes and the state of page sessions, agents and chats, all of it in the store.

Requests that wait together are committed together; only after the commit are they answered, and told to whom they
concern:

    ~pagesession/<home>/<session>/frame/state   the page's state map
    site_connect/agent/<agent>/state            for each agent concerned, the page's state map without its code
    site_connect/buttons                        {button: available agents}, when it changed and every few seconds

An event that is missed is made good by the next heartbeat: state maps carry their version. So a frame node holds
nothing that another one on the same store does not have, and may be killed at any moment.

Chat text and page updates never come here. Codes and session ids are not logged.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from fabric.errors import Busy, FabricError
from fabric.node import Node
from fabric.requests import Request, Server
from nodes import frame_api
from nodes.frame_work import Touched, Work
from nodes.records import StoreOptions
from nodes.store import Store

log = logging.getLogger("nodes.frame")

SERVICE = "frame"
BUTTONS = "site_connect/buttons"
AGENT = "site_connect/agent/"
TICK_S = 0.2
BUTTONS_S = 2.0
CLEAN_S = 60.0


def session_topic(home: str, session: str, rest: str) -> str:
    """The topic on the wire of a page session's `~pagesession/<rest>`."""
    return f"~pagesession/{home}/{session}/{rest}"


class FrameNode:
    """One frame node on `node` and `store`; several may share a PostgreSQL database.

    max_in_flight: requests that wait or are being done; beyond, the sender is told Busy
    name:          for its count of wrong codes; default: the node's name
    """

    def __init__(
        self,
        node: Node,
        store: Store,
        options: StoreOptions,
        *,
        max_in_flight: int = 1_000,
        max_batch: int = 200,
        name: str | None = None,
    ) -> None:
        self._node, self._store, self._options = node, store, options
        self.name = name or node.name
        self._wake = threading.Event()
        self._closing = False
        self._offers = self._availability = True
        self._buttons: dict[str, int] = {}
        self._publish_lock = threading.Lock()
        self.untold = 0
        """Events that could not be published; heartbeats make them good."""
        self.server = Server(
            node,
            SERVICE,
            self._handle,
            max_batch=max_batch,
            max_in_flight=max_in_flight,
            info={"name": self.name, "capacity": options.capacity},
        )
        self._ticker = threading.Thread(target=self._tick_until_closed, name=f"frame-{self.name}", daemon=True)
        self._ticker.start()

    def wait_ready(self, timeout_s: float = 10.0) -> bool:
        return self.server.wait_ready(timeout_s)

    def stats(self) -> dict[str, Any]:
        """Return figures: of the requests, and of the store."""
        with self._store.transaction() as tx:
            counts = tx.counts()
        return {**self.server.stats(), **counts, "untold": self.untold}

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more requests, finish those in flight, end."""
        self.server.close(timeout_s)
        self._closing = True
        self._wake.set()
        self._ticker.join()

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, batch: list[Request]) -> list[Any]:
        """In the server's worker thread: one commit for all that waited."""
        works = [Work(request, self._options.codes, self.name) for request in batch]
        try:
            outcomes = self._store.commit_together(works)
        except Busy as error:
            return [error] * len(batch)
        touched = Touched()
        for work, outcome in zip(works, outcomes, strict=True):
            if not isinstance(outcome, Exception):
                touched.merge(work.touched)
        self._tell(touched)
        return outcomes

    def _tell(self, touched: Touched) -> None:
        """After the commit: to the pages, and to the agents concerned."""
        for session, page in touched.pages.items():
            self._publish(session_topic(page.home, session, "frame/state"), frame_api.for_page(page))
            for agent in touched.agents[session]:
                self._publish(f"{AGENT}{agent}/state", frame_api.for_agent(page))
        if touched.offers or touched.availability:
            self._offers = self._offers or touched.offers
            self._availability = self._availability or touched.availability
            self._wake.set()

    def _publish(self, topic: str, payload: dict[str, Any]) -> None:
        try:
            self._node.publish(topic, payload)
        except FabricError as error:
            self.untold += 1
            log.warning("an event could not be published: %s", error)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _tick_until_closed(self) -> None:
        next_buttons = next_clean = 0.0
        while not self._closing:
            self._wake.wait(TICK_S)
            self._wake.clear()
            now = time.monotonic()
            try:
                self._expire()
                if self._availability or now >= next_buttons:
                    self._availability = False
                    self._tell_buttons(always=now >= next_buttons)
                    if now >= next_buttons:
                        next_buttons = now + BUTTONS_S
                if now >= next_clean:
                    next_clean = now + CLEAN_S
                    self._in_store(lambda tx: tx.clean())
            except Busy as error:
                log.warning("the store is busy: %s", error)
            except Exception:
                log.exception("a tick failed; the next one tries again")

    def _expire(self) -> None:
        """End what is over, and offer waiting chats to agents."""
        touched = Touched()
        for change in self._in_store(lambda tx: tx.expire()):
            touched.change(change)
        if self._offers or touched.offers:
            self._offers = False
            for page in self._in_store(lambda tx: tx.offer_chats()):
                touched.page(page)
        touched.offers = False
        self._tell(touched)

    def _tell_buttons(self, always: bool) -> None:
        available = self._in_store(lambda tx: tx.buttons_available())
        if always or available != self._buttons:
            self._buttons = available
            self._publish(BUTTONS, dict(available))

    def _in_store(self, operation: Callable[[Any], Any]) -> Any:
        with self._store.transaction() as tx:
            return operation(tx)

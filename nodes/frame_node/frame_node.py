"""The frame node: owns contact codes and the state of page sessions, agents and chats, all of it in the store.

Requests that wait together are committed together. Only after the commit are they answered, and `events` are published
to the pages and agents they concern. An event that is missed is made good by the next heartbeat: state maps carry
their version. So a frame node holds nothing that another one on the same store does not have, and may be killed at any
moment.

While the store is away every request is refused as Busy at once; the ticker tries it until it answers again.

Chat text and page updates never come here. Read `operations`, `touched`, `work`, `watched_store`, `events`, then this.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from fabric.errors import Busy
from fabric.node.node import Node
from fabric.services import Request, Server
from nodes.frame_node.events import Events
from nodes.frame_node.hosts import Hosts
from nodes.frame_node.touched import Touched
from nodes.frame_node.watched_store import WatchedStore
from nodes.frame_node.work import Hearers, Offers, Turn, Work, in_order
from nodes.rules import topics
from nodes.store import expiry
from nodes.store.records import StoreOptions
from nodes.store.store import Store

log = logging.getLogger("nodes.frame_node")

MAX_BATCH = 200
"""Requests to a commit: some 0.1 s of work, which is what the last one of them waits for the others."""
TICK_S = 0.2
OFFERS_S = 1.0
"""How often chats are offered without a reason: a refusal has ended, or another frame node was offering."""
BUTTONS_S = 2.0
CLEAN_S = 10.0


class FrameNode:
    """One frame node on `node` and `store`; several may share a PostgreSQL database.

    options:       those of `store`
    max_in_flight: requests that wait or are being done; beyond, the sender is told Busy
    max_batch:     requests that are committed together
    name:          for its count of wrong codes; default: the node's name

    errors:        Busy when the store does not answer

    Two threads work here: the server's worker does requests, the ticker does what time demands.

    name, _options: never change
    server:        answers requests from the first moment until `close`
    _hosts:        whom it has agreed on a key with; of the server's worker
    _store:        the store, used by one of the two threads at a time
    _events:       publishes after the commits of both threads; `tell_buttons` by the ticker only
    _wake:         set when the ticker has something to do before its next tick; the ticker clears it
    _closing:      whether `close` was called; then the ticker ends
    _offers:       whether the next turn must offer chats. Both threads set it, the ticker clears it
    _unproven:     requests whose proof did not hold, and pages in them; only grows, in the server's worker
    _availability: whether the next turn must count available agents. Both threads set it, the ticker clears it
    """

    def __init__(
        self,
        node: Node,
        store: Store,
        options: StoreOptions,
        *,
        max_in_flight: int = 1_000,
        max_batch: int = MAX_BATCH,
        name: str | None = None,
    ) -> None:
        self.name = name or node.name
        self._options = options
        self._hosts = Hosts(store.private())
        self._store = WatchedStore(store)
        self._events = Events(node)
        self._wake = threading.Event()
        self._closing = False
        self._offers = self._availability = True
        self._unproven = 0
        self.server = Server(
            node,
            topics.FRAME_SERVICE,
            self._handle,
            max_batch=max_batch,
            max_in_flight=max_in_flight,
            info={"name": self.name, "capacity": options.capacity},
        )
        self._ticker = threading.Thread(target=self._tick_until_closed, name=f"frame-{self.name}", daemon=True)
        self._ticker.start()

    def wait_ready(self, timeout_s: float = 10.0) -> bool:
        """Wait until it can be asked; False when that took longer."""
        return self.server.wait_ready(timeout_s)

    def stats(self) -> dict[str, Any]:
        """Return figures: of the requests, and of the store. Errors: Busy while the store is away."""
        with self._store.transaction() as tx:
            counts = expiry.counts(tx)
        return {**self.figures(), **counts}

    def figures(self) -> dict[str, Any]:
        """Return figures of the requests, and whether the store answers."""
        return {
            **self.server.stats(),
            "untold": self._events.untold,
            "unproven": self._unproven,
            "store_up": self._store.answers,
        }

    def store_figures(self) -> dict[str, int]:
        """Return figures of the store, and how many codes are `free`; nothing while it is away."""
        if not self._store.answers:
            return {}
        try:
            counts = self.stats()
        except Busy:
            return {}  # the next tick finds it away, and says so
        return {**counts, "free": self._options.codes.space - counts["codes"] - counts["resting"]}

    def problem(self) -> str:
        """Say why nothing can be asked of it at present; nothing when all is well. From any thread."""
        return self._store.problem()

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more requests, finish those in flight, end."""
        self.server.close(timeout_s)
        self._closing = True
        self._wake.set()
        self._ticker.join()

    # ── requests: in the server's worker ─────────────────────────────────────────────────────────────────────────

    def _handle(self, batch: list[Request]) -> list[Any]:
        """One commit for all that waited, then the events, then (by the server) the replies."""
        works = [Work(request, self._options.codes, self.name, self._hosts) for request in batch]
        runs = in_order(works)
        try:
            outcomes = dict(zip(runs, self._store.commit(runs), strict=True))
        except Busy as error:
            return [error] * len(batch)
        done = {run: outcome for run, outcome in outcomes.items() if not isinstance(outcome, Exception)}
        self._tell([run.touched for run in done if isinstance(run, Work | Offers | Hearers)])
        self._unproven += sum(work.unproven for work in works)
        for run in outcomes.keys() - done.keys() - set(works):
            log.error("%s failed; a tick, or the next batch, tries again", run, exc_info=outcomes[run])
        return [outcomes[work] for work in works]

    def _tell(self, touched: Sequence[Touched]) -> None:
        """After the commit: tell the pages and agents, and leave to the next turn what follows."""
        whole = Touched()
        for each in touched:
            whole.merge(each)
        self._events.tell_pages(whole)
        # Only ever set here: to write back what was read could undo what the other thread has set.
        if whole.offers:
            self._offers = True
        if whole.availability:
            self._availability = True
        if whole.offers or whole.availability:
            self._wake.set()

    # ── time: in the ticker ──────────────────────────────────────────────────────────────────────────────────────

    def _tick_until_closed(self) -> None:
        due: dict[str, float] = {}

        def is_due(what: str, every_s: float) -> bool:
            if now < due.get(what, 0.0):
                return False
            due[what] = now + every_s
            return True

        while not self._closing:
            now = time.monotonic()
            always = is_due("buttons", BUTTONS_S)
            try:
                turn = self._turn(is_due("offers", OFFERS_S), always, is_due("clean", CLEAN_S))
                self._events.tell_pages(turn.touched)
                if turn.available is not None:
                    self._events.tell_buttons(turn.available, always)
                if turn.is_full:
                    continue
            except Busy:
                self._offers = self._availability = True  # what was due is done when the store is back
            except Exception:
                log.exception("a tick failed; the next one tries again")
            self._wake.wait(TICK_S)
            self._wake.clear()

    def _turn(self, offers: bool, buttons: bool, clean: bool) -> Turn:
        """Do what is over and due. It is also what tries a store that is away."""
        offers, self._offers = offers or self._offers, False
        buttons, self._availability = buttons or self._availability, False
        turn = Turn(offers=offers, buttons=buttons, clean=clean)
        self._store.probe(turn)
        return turn

"""The frame node: owns contact codes and the state of page sessions, agents and chats, all of it in the store.

Requests that wait together are committed together; only after the commit are they answered, and told to whom they
concern:

    ~pagesession/<home>/<session>/frame/state   the page's state map
    site_connect/agent/<agent>/state            for each agent concerned, the page's state map without its code
    site_connect/buttons                        {button: available agents}, when it changed and every few seconds

An event that is missed is made good by the next heartbeat: state maps carry their version. So a frame node holds
nothing that another one on the same store does not have, and may be killed at any moment.

While the store is away everybody is told Busy at once; the ticker tries it until it answers again.

Chat text and page updates never come here. Codes and session ids are logged as `log_code` only.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from fabric.errors import Busy, FabricError, TransportError
from fabric.node.node import Node
from fabric.services import Request, Server
from nodes.frame_node import operations
from nodes.frame_node.touched import Touched
from nodes.frame_node.work import Offers, Run, Turn, Work, in_order
from nodes.operate.logs import named
from nodes.rules import topics
from nodes.rules.contact_codes import log_code
from nodes.store import expiry
from nodes.store.records import Page, StoreOptions
from nodes.store.store import Store

log = logging.getLogger("nodes.frame_node")

MAX_BATCH = 200
"""Requests to a commit: some 0.1 s of work, which is what the last one of them waits for the others."""
TICK_S = 0.2
OFFERS_S = 1.0
"""How often chats are offered without a reason of our own: a refusal has ended, or another frame node was at it."""
BUTTONS_S = 2.0
CLEAN_S = 10.0
PUBLISH_S = 1.0
"""How long a batch waits for room for its events, before it leaves them to the heartbeats."""


class FrameNode:
    """One frame node on `node` and `store`; several may share a PostgreSQL database.

    options:       those of `store`
    max_in_flight: requests that wait or are being done; beyond, the sender is told Busy
    max_batch:     requests that are committed together
    name:          for its count of wrong codes; default: the node's name
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
        self._node, self._store, self._options = node, store, options
        self.name = name or node.name
        self._salt = secrets.token_bytes(16)
        # Of worker and ticker one at a time: on SQLite one could wait for the other in steps of up to 0.1 s.
        self._store_lock = threading.Lock()
        self._away_since: float | None = None
        self._wake = threading.Event()
        self._closing = False
        self._offers = self._availability = True
        self._buttons: dict[str, int] = {}
        self.untold = 0
        """Events that could not be published; heartbeats make them good."""
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
        with self._store_lock, self._store.transaction() as tx:
            counts = expiry.counts(tx)
        return {**self.figures(), **counts}

    def figures(self) -> dict[str, Any]:
        """Return figures of the requests, and whether the store answers."""
        return {**self.server.stats(), "untold": self.untold, "store_up": self._away_since is None}

    def store_figures(self) -> dict[str, int]:
        """Return figures of the store, and how many codes are `free`; none while it is away."""
        if self._away_since is not None:
            return {}
        try:
            counts = self.stats()
        except Busy:
            return {}  # the next tick finds it away, and says so
        return {**counts, "free": self._options.codes.space - counts["codes"] - counts["resting"]}

    def problem(self) -> str:
        """Say why nothing can be asked of it at present; nothing when all is well. From any thread."""
        since = self._away_since
        return "" if since is None else f"the store has been away for {time.monotonic() - since:.0f} s"

    def close(self, timeout_s: float = 5.0) -> None:
        """Take no more requests, finish those in flight, end."""
        self.server.close(timeout_s)
        self._closing = True
        self._wake.set()
        self._ticker.join()

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _handle(self, batch: list[Request]) -> list[Any]:
        """In the server's worker thread: one commit for all that waited, then the events, then (by the server) the
        replies."""
        works = [Work(request, self._options.codes, self.name) for request in batch]
        runs = in_order(works)
        try:
            outcomes = dict(zip(runs, self._commit(runs), strict=True))
        except Busy as error:
            return [error] * len(batch)
        done = {run: outcome for run, outcome in outcomes.items() if not isinstance(outcome, Exception)}
        self._tell([run.touched for run in done if isinstance(run, Work | Offers)])
        for run in outcomes.keys() - done.keys() - set(works):
            log.error("%s failed; a tick, or the next batch, tries again", run, exc_info=outcomes[run])
        return [outcomes[work] for work in works]

    def _commit(self, runs: Sequence[Run]) -> list[Any]:
        """Run these in one transaction. Errors: Busy when the store is away."""
        with self._store_lock:
            if self._away_since is not None:
                raise Busy("the store does not answer; try again later", retry_after_s=1.0)
            try:
                return list(self._store.commit_together(runs))
            except Busy as error:
                self._lost_store(error)
                raise

    def _tell(self, touched: Sequence[Touched]) -> None:
        """After the commit: to the pages, and to the agents concerned."""
        whole = Touched()
        for each in touched:
            whole.merge(each)
        events: list[tuple[str, Mapping[str, object]]] = []
        for session, page in whole.pages.items():
            self._log_page(page)
            events.append((topics.on_the_wire(page.home, session, topics.STATE), operations.for_page(page)))
            events += [(topics.agent_state(agent), operations.for_agent(page)) for agent in whole.agents[session]]
        self._publish(events)
        if whole.offers or whole.availability:
            self._offers = self._offers or whole.offers
            self._availability = self._availability or whole.availability
            self._wake.set()

    def _publish(self, events: Sequence[tuple[str, Mapping[str, object]]]) -> None:
        patience_s, untold = PUBLISH_S, 0
        for topic, payload in events:
            try:
                self._node.publish(topic, payload, timeout_s=patience_s)
            except FabricError as error:
                untold, why = untold + 1, error
                patience_s = 0.0 if isinstance(error, TransportError) else patience_s
        if untold:
            self.untold += untold
            told = named("events_untold", untold=untold, of=len(events), why=str(why))
            log.warning("%d of %d events could not be published: %s", untold, len(events), why, extra=told)

    def _log_page(self, page: Page) -> None:
        if log.isEnabledFor(logging.INFO):
            code = log_code(page.code, self._salt) if page.code else "none"
            what = "gone" if page.gone_at is not None else f"co-browsing {page.cobrowse}, chat {page.chat}"
            session = log_code(page.session, self._salt)
            told = named("page_changed", session=session, version=page.version, epoch=page.epoch, what=what, code=code)
            words = "page %s version %d epoch %d: %s, code %s"
            log.info(words, session, page.version, page.epoch, what, code, extra=told)

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────

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
                self._tell([turn.touched])
                self._tell_buttons(turn.available, always)
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
        with self._store_lock:
            try:
                outcome = self._store.commit_together([turn])[0]
            except Busy as error:
                self._lost_store(error)
                raise
            self._found_store()
        if isinstance(outcome, Exception):
            raise outcome
        turn.touched.offers = turn.touched.availability = False
        return turn

    def _tell_buttons(self, available: dict[str, int] | None, always: bool) -> None:
        if available is not None and (always or available != self._buttons):
            self._buttons = available
            self._publish([(topics.BUTTONS, dict(available))])

    # ── the store, away and back ─────────────────────────────────────────────────────────────────────────────────

    def _lost_store(self, error: Busy) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            why = why_store(error)
            log.warning(
                "the store is away, and everybody is told to come back: %s", why, extra=named("store_away", why=why)
            )

    def _found_store(self) -> None:
        if self._away_since is not None:
            away_s, self._away_since = time.monotonic() - self._away_since, None
            log.warning("the store answers again, after %.1f s", away_s, extra=named("store_back", away_s=away_s))


def why_store(error: Busy) -> str:
    """Return the database's own words for why it does not answer, in one line."""
    original: Any = getattr(error.__cause__, "orig", None)
    words = str(original).strip().splitlines() if original is not None else []
    return f"{type(original).__name__}: {words[0]}" if words else str(error)

"""What requests and ticks do to the store, and whom it concerns: between the checks of `operations` and the store.

    works = [Work(request, codes, node), …]     # requests that waited together
    in_order(works)                             # with what goes with them: what one transaction runs
    turn = Turn(offers=True, …)                 # what time demands

Each is called with a transaction, perhaps more than once before it is committed, so it starts anew each time. What it
`touched` is told to others only after the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fabric.errors import FabricError
from fabric.services.messages import Request
from nodes.frame_node import operations
from nodes.rules.contact_codes import CodeFormat
from nodes.store.records import Agent, Change, Page
from nodes.store.store import Transaction
from nodes.store.transaction import digest_of

EXPIRE_LIMIT = 200
"""Of each kind, in one turn: some 0.1 s of work."""

_READS = frozenset({"renew", "renew_many", "renew_agent", "buttons_available"})
"""Operations that are the same when done twice: no reply is kept for them."""
_OFFERS = frozenset({"trigger", "sign_in", "availability", "sign_out", "accept", "decline", "stop_chat"})
"""After these a waiting chat may have found its agent."""
_AVAILABILITY = frozenset({"sign_in", "availability", "sign_out"})


@dataclass
class Touched:
    """What changed in a transaction: pages by session, the agents to be told of each, and what to look at next."""

    pages: dict[str, Page] = field(default_factory=dict)
    agents: dict[str, set[str]] = field(default_factory=dict)
    offers: bool = False
    availability: bool = False

    def page(self, page: Page, also: Iterable[str] = ()) -> None:
        """Note a page as it is now. `also`: agents that it concerned until now."""
        held = self.pages.get(page.session)
        self.pages[page.session] = page if held is None or page.version >= held.version else held
        concerned = {*also} | {agent for agent in (page.agent, page.chat_agent) if agent is not None}
        self.agents.setdefault(page.session, set()).update(concerned)

    def change(self, change: Change) -> None:
        if change.page is not None:
            self.page(change.page, change.agents)
        self.offers = self.offers or bool(change.agents)  # one who is let go by a page is free for the next
        self.availability = self.availability or change.what == "agent_gone"

    def merge(self, other: Touched) -> None:
        for session, page in other.pages.items():
            self.page(page, other.agents[session])
        self.offers = self.offers or other.offers
        self.availability = self.availability or other.availability


class Work:
    """One request. Called with a transaction it returns the reply, or raises a FabricError and has changed nothing.

    key:    stands for the request's idempotency key in the store, where as a digest any key fits; "" where none is kept
    asked:  the operation and its arguments, as checked
    """

    def __init__(self, request: Request, codes: CodeFormat, node: str) -> None:
        self._operation, self._node = request.op, node
        self._arguments: dict[str, Any] = {}
        self._refused: FabricError | None = None
        self.key = ""
        self.touched = Touched()
        try:
            self._arguments = operations.parse(request.op, request.body, codes)
        except FabricError as refused:
            self._refused = refused
        self.asked = {"operation": request.op, "arguments": self._arguments}
        if request.op not in _READS:
            # Retries of one request have one key, whichever frame node they reach.
            self.key = hashlib.sha256(request.key.encode()).hexdigest()

    @property
    def session(self) -> str:
        """The page that it names, if any."""
        return str(self._arguments.get("session", ""))

    @property
    def is_grant(self) -> bool:
        """Whether it is a grant of a code that may be tried."""
        return self._operation == "grant_code" and self._refused is None

    def __call__(self, tx: Transaction) -> dict[str, Any]:
        self.touched = Touched()
        if self._refused is not None:
            raise self._refused
        if not self.key:
            return self._do(tx, self._operation, self._arguments)
        return tx.once(self.key, self.asked, lambda: self._do(tx, self._operation, self._arguments))

    def _do(self, tx: Transaction, operation: str, arguments: dict[str, Any]) -> dict[str, Any]:
        call: Callable[..., Any] = getattr(tx, operation)
        agent: str | None = arguments.get("agent")
        if operation == "join":
            arguments = {**arguments, "node": self._node}
        # The agent of a chat that its page stops is in the page no more afterwards, and must hear of it.
        until_now = tx.engaged(arguments["session"]) if operation == "stop_chat" else ()
        outcome = call(**arguments)
        self.touched.offers = operation in _OFFERS
        self.touched.availability = operation in _AVAILABILITY
        match outcome:
            case Page():
                if operation not in _READS:
                    self.touched.page(outcome, until_now if agent is None else (agent, *until_now))
                return dict(operations.for_page(outcome) if agent is None else operations.for_agent(outcome))
            case Agent():
                return agent_map(outcome)
            case dict() if operation == "renew_many":
                return {"pages": {session: page and operations.for_page(page) for session, page in outcome.items()}}
            case dict():
                return outcome
        for change in [outcome] if isinstance(outcome, Change) else outcome or []:
            self.touched.change(change)
        return {}


class Offers:
    """Offers waiting chats, if one of `works` may have found them an agent."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works
        self.touched = Touched()

    def __call__(self, tx: Transaction) -> None:
        self.touched = Touched()
        if any(work.touched.offers for work in self._works):
            for page in tx.offer_chats():
                self.touched.page(page)


class Turn:
    """What time demands: leases and offers end, what waits is offered, rows that nobody needs are deleted.

    available: how many agents there are for each button, if that was asked for, or has changed with this turn
    is_full:   there may be more that is over: the next turn should follow at once
    """

    def __init__(self, *, offers: bool, buttons: bool, clean: bool) -> None:
        self._offers, self._buttons, self._clean = offers, buttons, clean
        self.touched = Touched()
        self.available: dict[str, int] | None = None
        self.is_full = False

    def __call__(self, tx: Transaction) -> None:
        self.touched, self.available = Touched(), None
        changes = tx.expire(EXPIRE_LIMIT)
        self.is_full = len(changes) >= EXPIRE_LIMIT
        for change in changes:
            self.touched.change(change)
        if self._offers or self.touched.offers:
            for page in tx.offer_chats():
                self.touched.page(page)
        if self._buttons or self.touched.availability:
            self.available = tx.buttons_available()
        if self._clean:
            tx.clean()


class Expected:
    """Prepares the grants of a batch, which follow."""

    def __init__(self, grants: Sequence[Work]) -> None:
        self._grants = grants

    def __call__(self, tx: Transaction) -> None:
        digests: dict[str, str] = {}
        for work in self._grants:
            digests.setdefault(work.key, digest_of(work.asked))
        tx.expect_grants(digests, {work.session for work in self._grants})


Run = Callable[[Transaction], Any]


def in_order(works: Sequence[Work]) -> list[Run]:
    """Return what is to run for a batch: all that is no grant of a code; offers of chats, where these may have found
    an agent; the grants; and what a page asks after its own grant.

    On PostgreSQL the first grant of a transaction makes all others of all frame nodes wait until its commit.
    """
    first: list[Work] = []
    grants: list[Work] = []
    after: list[Work] = []
    granted: set[str] = set()
    for work in works:
        if work.is_grant:
            granted.add(work.session)
            grants.append(work)
        else:
            (after if work.session in granted else first).append(work)
    return [*first, Offers(first), Expected(grants), *grants, Transaction.finish, *after]


def agent_map(agent: Agent) -> dict[str, Any]:
    """Return an agent's state as it leaves the frame node."""
    return {
        "agent": agent.agent,
        "name": agent.name,
        "available": agent.available,
        "buttons": list(agent.buttons),
        "lease_s": agent.lease_s,
        "pages": [operations.for_agent(page) for page in agent.pages],
    }

"""What requests and ticks do to the store, and whom it concerns: between the checks of `operations` and the store.

    works = [Work(request, codes, node), …]     # requests that waited together
    in_order(works)                             # with what goes with them: what one transaction runs
    turn = Turn(offers=True, …)                 # what time demands

Each is called with a transaction, perhaps more than once before it is committed, and forgets each time what it had
noted before. What it `touched` is told to others only after the commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from fabric.errors import FabricError
from fabric.services.messages import Request
from nodes.frame_node.operations import OPERATIONS, Operation, agent_map, for_agent, for_page, parse
from nodes.frame_node.touched import Touched
from nodes.frame_node.watched_store import Run
from nodes.rules.contact_codes import CodeFormat
from nodes.store import agents, chats, expiry, grants, pages, replies
from nodes.store.records import Agent, Change, Page
from nodes.store.transaction import Transaction

EXPIRE_LIMIT = 200
"""Of each kind, in one turn: some 0.1 s of work."""


class Work:
    """One request. Called with a transaction it returns the reply, or raises a FabricError and has changed nothing.

    key:        stands for the request's idempotency key in the store, where as a digest any key fits; "" where no reply
                is kept. Never changes
    asked:      the operation and its arguments, as checked; never changes
    touched:    what the last call has changed; each call begins with nothing
    _operation: what is asked for; None when the request is refused. Never changes
    _refused:   why it may not even be tried; exactly one of `_operation` and `_refused` is None
    _arguments: the operation's fields, as checked; empty when the request is refused
    _node:      name of this frame node, for its count of wrong codes
    """

    def __init__(self, request: Request, codes: CodeFormat, node: str) -> None:
        self._node = node
        self._operation: Operation | None = None
        self._refused: FabricError | None = None
        self._arguments: dict[str, Any] = {}
        self.key = ""
        self.touched = Touched()
        try:
            self._arguments = parse(request.op, request.body, codes)
            self._operation = OPERATIONS[request.op]
        except FabricError as refused:
            self._refused = refused
        self.asked = {"operation": request.op, "arguments": self._arguments}
        if self._operation is not None and not self._operation.reads:
            # Retries of one request have one key, whichever frame node they reach.
            self.key = hashlib.sha256(request.key.encode()).hexdigest()

    @property
    def session(self) -> str:
        """The page that it names, if any."""
        return str(self._arguments.get("session", ""))

    @property
    def is_grant(self) -> bool:
        """Whether it is a grant of a code that may be tried."""
        return self._operation is not None and self._operation.call is pages.grant_code

    def __call__(self, tx: Transaction) -> dict[str, Any]:
        self.touched = Touched()
        if self._operation is None:
            assert self._refused is not None
            raise self._refused
        operation = self._operation
        if not self.key:
            return self._do(tx, operation)
        return replies.once(tx, self.key, self.asked, lambda: self._do(tx, operation))

    def _do(self, tx: Transaction, operation: Operation) -> dict[str, Any]:
        former = operation.former_agents(tx, self.session) if operation.former_agents else ()
        also = {"node": self._node} if operation.takes_node else {}
        outcome = operation.call(tx, **self._arguments, **also)
        self.touched.offers = operation.frees_agents
        self.touched.availability = operation.moves_agents
        return self._reply(operation, outcome, former)

    def _reply(self, operation: Operation, outcome: object, former: Sequence[str]) -> dict[str, Any]:
        """Note what an operation of the store returned, and return the reply.

        former: agents of the page before the operation, who must hear of it though they may be in it no more
        """
        agent: str | None = self._arguments.get("agent")
        match outcome:
            case Page():
                if not operation.reads:
                    self.touched.page(outcome, former if agent is None else (agent, *former))
                return dict(for_page(outcome) if agent is None else for_agent(outcome))
            case Agent():
                return agent_map(outcome)
            case dict() if operation.call is pages.renew_many:
                return {"pages": {session: page and for_page(page) for session, page in outcome.items()}}
            case dict():
                return outcome
            case Change():
                self.touched.change(outcome)
            case list():
                for change in outcome:
                    self.touched.change(change)
        return {}


class Offers:
    """Offers waiting chats, if one of `works`, which ran before it, may have found them an agent.

    touched: the pages that its last call has offered; each call begins with nothing
    """

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works
        self.touched = Touched()

    def __call__(self, tx: Transaction) -> None:
        self.touched = Touched()
        if any(work.touched.offers for work in self._works):
            for page in chats.offer(tx):
                self.touched.page(page)


class Turn:
    """What time demands: leases and offers end, what waits is offered, rows that nobody needs are deleted.

    offers:    whether to offer chats in any case; otherwise only when something that was over has freed an agent
    buttons:   whether to count available agents in any case; otherwise only when one is gone
    clean:     whether to delete rows that nobody needs

    touched:   what the last call has changed; each call begins with nothing
    available: how many agents there are for each button; None when the last call had no reason to count them
    is_full:   whether the last call met its limit: there may be more that is over, and the next turn follows at once
    """

    def __init__(self, *, offers: bool, buttons: bool, clean: bool) -> None:
        self._offers, self._buttons, self._clean = offers, buttons, clean
        self.touched = Touched()
        self.available: dict[str, int] | None = None
        self.is_full = False

    def __call__(self, tx: Transaction) -> None:
        self.touched, self.available = Touched(), None
        changes = expiry.expire(tx, EXPIRE_LIMIT)
        self.is_full = len(changes) >= EXPIRE_LIMIT
        for change in changes:
            self.touched.change(change)
        if self._offers or self.touched.offers:
            for page in chats.offer(tx):
                self.touched.page(page)
        if self._buttons or self.touched.availability:
            self.available = agents.buttons_available(tx)
        if self._clean:
            expiry.clean(tx)


class Preparation:
    """Prepares the grants of a batch, which follow."""

    def __init__(self, works: Sequence[Work]) -> None:
        self._works = works

    def __call__(self, tx: Transaction) -> None:
        digests: dict[str, str] = {}
        for work in self._works:
            digests.setdefault(work.key, replies.digest_of(work.asked))
        grants.expect(tx, digests, {work.session for work in self._works})


def in_order(works: Sequence[Work]) -> list[Run]:
    """Return what is to run for a batch: all that is no grant of a code; offers of chats, where these may have found
    an agent; the grants; and what a page asks after its own grant.

    On PostgreSQL the first grant of a transaction makes all others of all frame nodes wait until its commit.
    """
    first: list[Work] = []
    granting: list[Work] = []
    after: list[Work] = []
    granted: set[str] = set()
    for work in works:
        if work.is_grant:
            granted.add(work.session)
            granting.append(work)
        else:
            (after if work.session in granted else first).append(work)
    return [*first, Offers(first), Preparation(granting), *granting, grants.finish, *after]

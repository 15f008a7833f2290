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
from typing import Any, cast

from fabric.errors import FabricError
from fabric.services.messages import Request
from nodes.frame_node.hosts import Hosts, host_name
from nodes.frame_node.operations import OPERATIONS, Operation, agent_map, for_agent, for_page, parse
from nodes.frame_node.proven import (
    Envelope,
    NotProven,
    check_fresh,
    check_known_key,
    check_own_key,
    meet,
    proven_sessions,
    read_envelope,
)
from nodes.frame_node.touched import Touched
from nodes.frame_node.watched_store import Run
from nodes.rules.acquaintance import MEET
from nodes.rules.agent_map import proven_agent
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.state_map import StateMap, proven
from nodes.store import agents, chats, expiry, grants, handles, pages, replies
from nodes.store.records import Agent, Change, Page
from nodes.store.transaction import Transaction

EXPIRE_LIMIT = 200
"""Of each kind, in one turn: some 0.1 s of work."""


class Work:
    """One request. Called with a transaction it returns the reply, or raises a FabricError and has changed nothing.

    key:        by which the store knows it if it comes again, of whoever asks; "" where no reply is kept. Never changes
    asked:      the operation and its arguments, as checked; never changes
    touched:    what the last call has changed; each call begins with nothing
    unproven:   how many pages the last call, or the checks before it, has found not to be what speaks
    _request:   what came; never changes
    _operation: what is asked for; None when the request is refused. Never changes
    _refused:   why it may not even be tried
    _met:       the answer to who wants to agree on a key. Exactly one of `_operation`, `_refused` and `_met` is there
    _arguments: the operation's fields, as checked; empty when the request is refused
    _envelope:  when it was asked, and so on; never changes
    _own_key:   the key that it brings, as proven; "" where the store knows it. Never changes
    _node:      name of this frame node, for its count of wrong codes
    """

    def __init__(self, request: Request, codes: CodeFormat, node: str, hosts: Hosts) -> None:
        self._node, self._request = node, request
        self._operation: Operation | None = None
        self._refused: FabricError | None = None
        self._arguments: dict[str, Any] = {}
        self._envelope = Envelope(0.0)
        self._own_key = self.key = ""
        self._met: dict[str, Any] | None = None
        self.touched = Touched()
        self.unproven = 0
        try:
            self._check(request, codes, hosts)
        except FabricError as refused:
            self._refused, self._arguments = refused, {}
            self.unproven = int(isinstance(refused, NotProven))
        self.asked = {"operation": request.op, "arguments": self._arguments}
        if self._operation is not None and not self._operation.reads:
            # Retries of one request are known by this, whichever frame node they reach. Nobody uses it up for others.
            who = self._arguments.get("agent", self.session)
            self.key = hashlib.sha256(f"{who} {self._envelope.once}".encode()).hexdigest()

    def _check(self, request: Request, codes: CodeFormat, hosts: Hosts) -> None:
        """Check all that can be checked without the store. Errors: NotAllowed, UnknownContactCode, Busy."""
        if request.op == MEET:
            self._met = meet(request.op, request.body, hosts)
            return
        self._arguments = parse(request.op, request.body, codes)
        operation = OPERATIONS[request.op]
        if not operation.is_anybodys:
            self._envelope = read_envelope(request.op, request.body)
        if operation.brings_key:
            self._own_key = check_own_key(request.op, self._arguments, request.body, hosts)
        self._operation = operation

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
        if self._met is not None:
            return self._met
        if self._operation is None:
            assert self._refused is not None
            raise self._refused
        operation, self.unproven = self._operation, 0
        if operation.is_anybodys:
            return self._do(tx, operation, "")
        try:
            check_fresh(self._envelope, tx.now)
            if operation.call is pages.renew_many:
                return self._renew_many(tx)
            key = self._own_key or check_known_key(tx, self._request.op, self._arguments, self._request.body)
        except NotProven:
            self.unproven = 1
            raise

        def do() -> dict[str, Any]:
            return self._do(tx, operation, key)

        reply = replies.once(tx, self.key, self.asked, do) if self.key else do()
        agent = self._arguments.get("agent")
        if agent is not None:
            self.touched.keys[agent] = key
        return self._proven(reply, key)

    def _renew_many(self, tx: Transaction) -> dict[str, Any]:
        """Renew the pages whose proofs hold; of the others nothing is said."""
        asked = list(dict.fromkeys(self._arguments["sessions"]))
        keys = proven_sessions(tx, self._arguments["sessions"], self._envelope)
        self.unproven = len(asked) - len(keys)
        renewed = pages.renew_many(tx, list(keys))
        at = self._envelope.at
        return {
            "pages": {session: page and proven(for_page(page), keys[session], at) for session, page in renewed.items()}
        }

    def _proven(self, reply: dict[str, Any], key: str) -> dict[str, Any]:
        """Return the reply with its proofs; nothing to be proven is in one without a state map."""
        if "version" in reply:
            return proven(cast(StateMap, reply), key, self._envelope.at)
        return proven_agent(reply, key, self._envelope.at) if "pages" in reply else reply

    def _do(self, tx: Transaction, operation: Operation, key: str) -> dict[str, Any]:
        """Do it for whom has `key`. An agent names a page by its handle."""
        arguments, agent = dict(self._arguments), self._arguments.get("agent")
        if agent is not None and "session" in arguments:
            arguments["session"] = handles.session_of(tx, agent, arguments["session"])
        former = operation.former_agents(tx, arguments["session"]) if operation.former_agents else ()
        arguments |= {"node": self._node} if operation.takes_node else {}
        arguments |= {"key": self._own_key} if operation.brings_key else {}
        if operation.call is pages.grant_code:
            arguments["host"] = host_name(self._request.body["host"])
        outcome = operation.call(tx, **arguments)
        self.touched.offers = operation.frees_agents
        self.touched.availability = operation.moves_agents
        return self._reply(operation, outcome, former, key)

    def _reply(self, operation: Operation, outcome: object, former: Sequence[str], key: str) -> dict[str, Any]:
        """Note what an operation of the store returned, and return the reply.

        key:    of who has asked
        former: agents of the page before the operation, who must hear of it though they may be in it no more
        """
        agent: str | None = self._arguments.get("agent")
        match outcome:
            case Page():
                if not operation.reads:
                    self.touched.page(outcome, former if agent is None else (agent, *former))
                return dict(for_page(outcome) if agent is None else for_agent(outcome, agent, key))
            case Agent():
                return agent_map(outcome, key)
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


class Hearers:
    """Looks up the keys of all agents that `runs`, which ran before it, concern: so can they be told.

    touched: the keys that its last call has found, and nothing else; each call begins with nothing
    """

    def __init__(self, runs: Sequence[Work | Offers]) -> None:
        self._runs = runs
        self.touched = Touched()

    def __call__(self, tx: Transaction) -> None:
        self.touched = Touched()
        self.touched.keys = agents.keys_of(tx, {agent for run in self._runs for agent in run.touched.hearers()})


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
        self.touched.keys |= agents.keys_of(tx, self.touched.hearers())
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
    an agent; the grants; what a page asks after its own grant; and whom all that concerns.

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
    offers = Offers(first)
    hearers = Hearers([*first, offers, *granting, *after])
    return [*first, offers, Preparation(granting), *granting, grants.finish, *after, hearers]

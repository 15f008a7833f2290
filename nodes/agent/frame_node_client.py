"""What one agent asks of the frame nodes. An answer becomes an input of the agent (`outcome`, without I/O)."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from fabric.errors import FabricError, NotAllowed, ServiceError, StateError
from fabric.node.node import Node
from fabric.services import Client
from nodes.agent.interface import (
    Ask,
    FrameNodeAnswered,
    FrameNodeFailed,
    FrameNodeRejected,
    FrameNodeTold,
    Input,
    LeaseDoubted,
    LeaseLost,
)
from nodes.agent.lease import RENEWALS
from nodes.rules.acquaintance import MEET, Acquaintance
from nodes.rules.agent_map import opened_agent
from nodes.rules.agreement import PRIVATE_BYTES
from nodes.rules.errors import LeaseExpired
from nodes.rules.proofs import proven_request
from nodes.rules.state_map import opened
from nodes.rules.topics import FRAME_SERVICE

log = logging.getLogger("nodes.agent")

ASK_DEADLINE_S = 5.0
SIGN_OUT_S = 2.0


def outcome(ask: Ask, reply: object, error: BaseException | None, asked_at: float) -> Input:
    """Return what an answer means for the agent; `reply` counts when there is no error. None: it was not proven."""
    if error is None:
        return FrameNodeFailed(ask) if reply is None else FrameNodeAnswered(ask, reply, asked_at)
    if isinstance(error, LeaseExpired) and ask.operation == "renew_agent":
        return LeaseLost()
    is_over = isinstance(error, NotAllowed | StateError | LeaseExpired)
    return FrameNodeRejected(ask) if is_over else FrameNodeFailed(ask)


class FrameNodeClient:
    """Asks for `agent`, at `node`. `handle` takes what was answered, in the node's I/O thread.

    key:  of its lease: proves what is asked and what is answered
    """

    def __init__(self, node: Node, agent: str, key: str, lease_s: float, handle: Callable[[Input], None]) -> None:
        self._client, self._agent, self._key, self._handle = Client(node), agent, key, handle
        """None of the four changes."""
        self._acquaintance = Acquaintance(secrets.token_bytes(PRIVATE_BYTES))
        """With the frame nodes; changed in the node's I/O thread."""
        self.unproven = 0
        """Answers that no frame node has given; counted in the node's I/O thread."""
        self._deadline_s = min(ASK_DEADLINE_S, lease_s / RENEWALS)
        """Of what the core asks: a renewal that was lost is asked again before the lease is over."""

    def ask(self, ask: Ask) -> None:
        """Ask what the core wants asked; before a sign-in, agree on a key by which that of the lease is handed over."""
        if ask.operation == "sign_in" and self._acquaintance.is_stale(time.monotonic()):
            self._meet(ask)
        else:
            self._ask(ask)

    def _meet(self, then: Ask) -> None:
        def over(done: Future[Any]) -> None:
            error = done.exception()
            if error is None and not self._acquaintance.met(done.result(), time.monotonic()):
                self.unproven += 1
            if self._acquaintance.is_made:
                self._ask(then)
            else:
                self._handle(outcome(then, None, error, time.monotonic()))

        try:
            body = {"host": self._acquaintance.public}
            self._client.submit(FRAME_SERVICE, MEET, body, deadline_s=self._deadline_s).add_done_callback(over)
        except StateError:
            return  # closed meanwhile

    def _ask(self, ask: Ask) -> None:
        asked_at, at = time.monotonic(), time.time()

        def over(done: Future[Any]) -> None:
            error = done.exception()
            self._handle(outcome(ask, None if error else self._opened(done.result(), at), error, asked_at))

        try:
            future = self._submit(ask.operation, ask.body, at, self._deadline_s)
        except StateError:
            return  # closed meanwhile
        future.add_done_callback(over)

    def request(self, operation: str, fields: dict[str, Any]) -> Future[Any]:
        """Ask what the agent's user wants asked; the agent takes the state map that is answered first."""
        over: Future[Any] = Future()
        at = time.time()
        future = self._submit(operation, {"agent": self._agent, **fields}, at, ASK_DEADLINE_S)

        def answered(done: Future[Any]) -> None:
            error = done.exception()
            state = None if error else self._opened(done.result(), at)
            if state is not None:
                self._handle(FrameNodeTold(state))
                over.set_result(state)
                return
            error = error or ServiceError("the answer was not proven to be a frame node's")
            if isinstance(error, LeaseExpired):
                self._handle(LeaseDoubted())
            over.set_exception(error)

        future.add_done_callback(answered)
        return over

    def sign_out(self) -> None:
        """Say goodbye, as far as a frame node can be reached within SIGN_OUT_S."""
        try:
            self._submit("sign_out", {"agent": self._agent}, time.time(), SIGN_OUT_S).result(SIGN_OUT_S + 1.0)
        except TimeoutError:
            pass
        except FabricError as error:
            log.info("not signed out: %s", error)  # its lease ends by itself

    def _submit(self, operation: str, body: dict[str, Any], at: float, deadline_s: float) -> Future[Any]:
        once = secrets.token_hex(16)
        brings = self._acquaintance.handed_over(self._key, once) if operation == "sign_in" else {}
        asked = proven_request(self._key, operation, {**body, **brings}, at, once)
        return self._client.submit(FRAME_SERVICE, operation, asked, deadline_s=deadline_s)

    def _opened(self, reply: object, at: float) -> Mapping[str, Any] | None:
        """Return what a frame node has said; None, counted, for what none has."""
        found = opened(reply, self._key, at) or opened_agent(reply, self._key, at)
        self.unproven += found is None
        if found is not None:
            self._acquaintance.heard(time.monotonic())
        return found

    def close(self) -> None:
        """Nothing is asked any more."""
        self._client.close()

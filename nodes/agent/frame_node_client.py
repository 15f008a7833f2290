"""What one agent asks of the frame nodes. An answer becomes an input of the agent (`outcome`, without I/O)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from fabric.errors import FabricError, NotAllowed, StateError
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
from nodes.rules.errors import LeaseExpired
from nodes.rules.topics import FRAME_SERVICE

log = logging.getLogger("nodes.agent")

ASK_DEADLINE_S = 5.0
SIGN_OUT_S = 2.0


def outcome(ask: Ask, reply: object, error: BaseException | None, asked_at: float) -> Input:
    """Return what an answer means for the agent; `reply` counts when there is no error."""
    if error is None:
        return FrameNodeAnswered(ask, reply, asked_at)
    if isinstance(error, LeaseExpired) and ask.operation == "renew_agent":
        return LeaseLost()
    is_over = isinstance(error, NotAllowed | StateError | LeaseExpired)
    return FrameNodeRejected(ask) if is_over else FrameNodeFailed(ask)


class FrameNodeClient:
    """Asks for `agent`, at `node`. `handle` takes what was answered, in the node's I/O thread."""

    def __init__(self, node: Node, agent: str, lease_s: float, handle: Callable[[Input], None]) -> None:
        self._client, self._agent, self._handle = Client(node), agent, handle
        """None of the three changes."""
        self._deadline_s = min(ASK_DEADLINE_S, lease_s / RENEWALS)
        """Of what the core asks: a renewal that was lost is asked again before the lease is over."""

    def ask(self, ask: Ask) -> None:
        """Ask what the core wants asked."""
        asked_at = time.monotonic()

        def over(done: Future[Any]) -> None:
            error = done.exception()
            self._handle(outcome(ask, None if error else done.result(), error, asked_at))

        try:
            future = self._client.submit(FRAME_SERVICE, ask.operation, ask.body, deadline_s=self._deadline_s)
        except StateError:
            return  # closed meanwhile
        future.add_done_callback(over)

    def request(self, operation: str, fields: dict[str, Any]) -> Future[Any]:
        """Ask what the agent's user wants asked; the agent takes the state map that is answered first."""
        over: Future[Any] = Future()
        body = {"agent": self._agent, **fields}
        future = self._client.submit(FRAME_SERVICE, operation, body, deadline_s=ASK_DEADLINE_S)

        def answered(done: Future[Any]) -> None:
            error = done.exception()
            if error is None:
                self._handle(FrameNodeTold(done.result()))
                over.set_result(done.result())
                return
            if isinstance(error, LeaseExpired):
                self._handle(LeaseDoubted())
            over.set_exception(error)

        future.add_done_callback(answered)
        return over

    def sign_out(self) -> None:
        """Say goodbye, as far as a frame node can be reached within SIGN_OUT_S."""
        try:
            self._client.request(FRAME_SERVICE, "sign_out", {"agent": self._agent}, deadline_s=SIGN_OUT_S)
        except FabricError as error:
            log.info("not signed out: %s", error)  # its lease ends by itself

    def close(self) -> None:
        """Nothing is asked any more."""
        self._client.close()

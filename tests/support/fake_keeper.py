"""A keeper that says what a test wants: a service that answers questions from a list."""

from __future__ import annotations

import threading
from typing import Any

from fabric.node.node import Node
from fabric.protocol.histories import HISTORY, Hole, Kept, pack, page_to_map, question_from, share_name
from fabric.services import Request, Server, each
from tests.support.waiting import PATIENCE_S

STORE = "ab" * 16


def kept(message: Any) -> Kept:
    """Return a message as a keeper keeps it."""
    return Kept(message.topic, message.publisher, message.number, message.sent_ns, pack(message.payload), None)


class FakeKeeper:
    """Serves `keeper`, or a share of it, with what is in `log`: messages and holes in their order.

    per_page: messages on a page
    """

    def __init__(
        self, node: Node, *, share: tuple[int, int] = (1, 1), per_page: int = 3, filters: tuple[str, ...] = ("#",)
    ) -> None:
        self.log: list[Kept | Hole] = []
        """A test adds to it at any time."""
        self.pages = 0
        """Answered since the start."""
        self.gate = threading.Event()
        """Questions wait for it."""
        self.gate.set()
        self._share, self._per_page, self._filters = share, per_page, filters
        names = dict.fromkeys(("keeper", share_name("keeper", share)))
        self._servers = [Server(node, name, each(self._answer), workers=2) for name in names]
        for server in self._servers:
            assert server.wait_ready(PATIENCE_S)

    def close(self) -> None:
        self.gate.set()
        for server in self._servers:
            server.close()

    def _answer(self, request: Request) -> Any:
        assert request.op == HISTORY
        self.gate.wait(PATIENCE_S)
        question = question_from(request.body)
        place = 0 if question.after is None else question.after[1]
        some = self.log[place : place + self._per_page]
        self.pages += 1
        return page_to_map(
            [each for each in some if isinstance(each, Kept)],
            [each for each in some if isinstance(each, Hole)],
            (STORE, place + len(some), 0),
            place + len(some) >= len(self.log),
            share=self._share,
            filters=self._filters,
        )

"""Bystanders: what goes on while something is done to proxies, and must not be harmed by it."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence

from fabric import Node
from tests.faults.ledger import TOPICS, Books, Steady
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

RATE = 200


class Bystanders:
    """A publisher and a subscriber at each of two proxies, crosswise; and subscriptions that want their acks."""

    def __init__(self, stack: contextlib.ExitStack, proxies: Sequence[ProxyProcess]) -> None:
        here, there = (stack.enter_context(Node(proxy.base, name=f"by-{proxy.name}")) for proxy in proxies)
        self.nodes = (here, there)
        self.books = Books(here, "k/#"), Books(there, "l/#"), Books(here, "l/+")
        self.steady = Steady(there, rate=RATE, root="k"), Steady(here, rate=RATE, root="l")
        for steady in self.steady:
            stack.enter_context(steady)
        for books in self.books:
            # A loss before the first message of a topic was seen is not reported, nor promised to be.
            until(lambda books=books: len(books.delivered) == TOPICS, "every topic was seen")  # type: ignore[misc]
        self._serial = itertools.count()

    def check_acks(self, rounds: int = 5) -> None:
        """Each of them subscribes, and what the other publishes after the ack arrives."""
        for _ in range(rounds):
            for node, other in (self.nodes, self.nodes[::-1]):
                topic, box = f"ack/{next(self._serial)}", Box()
                ident = node.subscribe(topic, box)
                ack = node.wait_ack(ident, 10)
                assert ack.ok and len(ack.covered) == 2, ack
                other.publish(topic, "after the ack")
                box.wait(1)
                node.unsubscribe(ident)

    def settle(self, may_lose: bool = False) -> None:
        for steady in self.steady:
            steady.stop()
            assert steady.refused == []
        k, loud = (steady.accepted for steady in self.steady)
        for books, accepted in zip(self.books, (k, loud, loud), strict=True):
            books.settle(accepted)
            assert may_lose or books.total_lost == 0, books.gaps[:5]

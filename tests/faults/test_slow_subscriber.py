"""A slow subscriber loses messages, is told of every one, and costs the others nothing.

How fast the others are beside it is measured in benchmarks/slow_subscriber.py; here the books must balance.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabric import Message, Node
from tests.faults.ledger import Books, Steady
from tests.faults.small_proxy import HWM_MSGS, SmallProxy
from tests.support.processes import Process
from tests.support.waiting import until

PAYLOAD = "x" * 4_000
"""So large that the system's own buffers hold few of them."""
RATE = 3_000


@pytest.fixture
def small(tmp_path: Path, started: list[Process]) -> Iterator[list[SmallProxy]]:
    """Two meshed proxies with small queues."""
    found: list[SmallProxy] = []
    for number in range(2):
        found.append(SmallProxy(tmp_path, *(proxy.base for proxy in found), name=f"small-{number}"))
        started.append(found[-1])
    yield found


class SlowBooks(Books):
    """Books of a subscriber that takes `pause_s` for each message until `hurry` is set."""

    def __init__(self, node: Node, pause_s: float) -> None:
        self.hurry = threading.Event()
        self._pause_s = pause_s
        super().__init__(node)

    def __call__(self, message: Message) -> None:
        self.hurry.wait(self._pause_s)
        super().__call__(message)


def test_all_that_was_published_is_delivered_or_reported_lost(small: list[SmallProxy]) -> None:
    here, there = small
    with contextlib.ExitStack() as stack:

        def node(base: str, name: str) -> Node:
            return stack.enter_context(Node(base, name=name, hwm_msgs=HWM_MSGS))

        quick = [Books(node(proxy.base, f"quick-{proxy.name}")) for proxy in (here, here, there)]
        slow = SlowBooks(node(here.base, "slow"), pause_s=0.01)
        stack.callback(slow.hurry.set)
        publisher = node(there.base, "publisher")
        with Steady(publisher, rate=RATE, payload=PAYLOAD) as steady:
            until(lambda: steady.total > 10_000, "enough is published to overflow every queue")
        for books in quick:
            books.settle(steady.accepted)
        slow.hurry.set()
        slow.settle(steady.accepted)
        assert steady.refused == []
        assert slow.total_lost > 0, "nothing was lost: the test shows nothing"
        for books in quick:
            assert books.total_lost < slow.total_lost / 10, "the slow one harms the others"
        print(steady.total, "accepted; lost:", slow.total_lost, [books.total_lost for books in quick])


def test_a_loss_at_the_very_end_is_reported_though_the_queue_was_still_full(small: list[SmallProxy]) -> None:
    """The first tail, a second after the last message, is lost as those were; it is sent again."""
    here, _ = small
    with contextlib.ExitStack() as stack:
        subscriber = stack.enter_context(Node(here.base, name="stuck", hwm_msgs=HWM_MSGS))
        publisher = stack.enter_context(Node(here.base, name="publisher", hwm_msgs=HWM_MSGS))
        stuck = SlowBooks(subscriber, pause_s=30)
        stack.callback(stuck.hurry.set)
        with Steady(publisher, rate=RATE, payload=PAYLOAD) as steady:
            until(lambda: steady.total > 8_000, "enough is published to overflow every queue")
        quiet_since = time.monotonic()
        until(lambda: time.monotonic() > quiet_since + 2.0, "the first tails were sent, to a queue that is full")
        stuck.hurry.set()
        stuck.settle(steady.accepted)
        assert stuck.total_lost > 0

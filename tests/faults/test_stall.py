"""Who stands still for longer than every time-out ends nobody, and the loss is reported.

FABRIC_STALL_S: for how long a callback, and a proxy, stand still (6; the full figure is 60)
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from fabric import Message, Node
from tests.faults.ledger import Books, Steady
from tests.faults.small_proxy import HWM_MSGS, SmallProxy
from tests.support.processes import Process, ProxyProcess
from tests.support.waiting import PATIENCE_S, until

STALL_S = float(os.environ.get("FABRIC_STALL_S", "6"))
"""Longer than every time-out: heartbeats 2 s, silence and death 3 s, acks 5 s."""
RATE = 1_000
PAYLOAD = "x" * 4_000

Proxies = Callable[..., list[ProxyProcess]]


class StallingBooks(Books):
    """Books whose callback stands still once, for STALL_S, when `stall` is called."""

    def __init__(self, node: Node) -> None:
        self._asked, self.over, self._go_on = threading.Event(), threading.Event(), threading.Event()
        super().__init__(node)

    def __call__(self, message: Message) -> None:
        if self._asked.is_set() and not self.over.is_set():
            self._go_on.wait(STALL_S)
            self.over.set()
        super().__call__(message)

    def stall(self) -> None:
        self._asked.set()

    def give_up(self) -> None:
        self._go_on.set()


def test_a_callback_that_stands_still_ends_nobody_and_its_loss_is_reported(
    tmp_path: Path, started: list[Process]
) -> None:
    here = SmallProxy(tmp_path, name="here")
    started.append(here)
    there = SmallProxy(tmp_path, here.base, name="there")
    started.append(there)
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(Node(here.base, name="stalling", hwm_msgs=HWM_MSGS))
        stalling = StallingBooks(node)
        stack.callback(stalling.give_up)
        beside = Books(stack.enter_context(Node(here.base, name="beside")))
        publisher = stack.enter_context(Node(there.base, name="publisher"))
        # Its I/O thread stands still, and with it its watermarks: what it publishes meanwhile is kept, and arrives.
        heard = Books(stack.enter_context(Node(there.base, name="listener")), "up/#")
        with Steady(publisher, rate=RATE, payload=PAYLOAD) as steady, Steady(node, rate=100, root="up") as up:
            until(lambda: stalling.total_delivered > 100, "messages arrive")
            stalling.stall()
            until(stalling.over.is_set, "the callback goes on", STALL_S + PATIENCE_S)
            before = stalling.total_delivered
            until(lambda: stalling.total_delivered > before + 3 * HWM_MSGS, "messages arrive again")
            assert node.wait_ack(node.subscribe("new/topic", print), PATIENCE_S).ok
        beside.settle(steady.accepted)
        assert beside.total_lost == 0, "the one that stood still harmed another"
        stalling.settle(steady.accepted)
        assert stalling.total_lost > 0, "nothing was lost: the test shows nothing"
        heard.settle(up.accepted)
        assert up.refused == [] and heard.total_lost == 0
        until(lambda: node.stats()["unconfirmed"] == 0, "all it published is confirmed")
        assert here.alive and there.alive
        print(steady.total, "accepted;", stalling.total_lost, "lost in", len(stalling.gaps), "gaps")


def test_a_proxy_that_stands_still_ends_nobody_and_what_it_lost_is_reported(proxies: Proxies) -> None:
    here, there, third = proxies(3)
    with contextlib.ExitStack() as stack:
        subscriber = stack.enter_context(Node(here.base, name="subscriber"))
        publisher = stack.enter_context(Node(there.base, name="publisher"))
        beside = Books(stack.enter_context(Node(third.base, name="beside")))
        books = Books(subscriber)
        lost: list[tuple[str, ...]] = []
        subscriber.on_coverage(lambda event: lost.append(event.lost))
        with Steady(publisher, rate=RATE) as steady:
            until(lambda: books.total_delivered > 100, "messages arrive")
            here.signal(signal.SIGSTOP)
            time.sleep(STALL_S)  # so long it stands still
            here.signal(signal.SIGCONT)
            before = books.total_delivered
            until(lambda: books.total_delivered > before + 100, "messages arrive again")
            until(lambda: len(subscriber.stats()["covered"]) == 3, "all three are covered again")
            until(lambda: len(publisher.stats()["covered"]) == 3, "for the publisher too")
        beside.settle(steady.accepted)
        books.settle(steady.accepted)
        assert beside.total_lost == 0 and steady.refused == []
        assert any(lost), "the loss of coverage was told"
        assert all(proxy.alive for proxy in (here, there, third))
        print(steady.total, "accepted;", books.total_lost, "lost in", len(books.gaps), "gaps")

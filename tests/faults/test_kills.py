"""`kill -9` of proxies: idle subscribers, publishers and subscribers at the dead one, and what they are told.

FABRIC_KILLS: kills at random moments under a steady stream (20; the full figure is 200, about three minutes)
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fabric import Node, NodeState
from tests.faults.ledger import Books, Steady
from tests.support.processes import Process, ProxyProcess, free_base
from tests.support.waiting import Box, until

KILLS = int(os.environ.get("FABRIC_KILLS", "20"))
BACK_S = 5.0
"""Idle subscribers receive again so long after their proxy is ready, at the latest."""
MOVED_S = 3.0
"""A node with a second address is there so long after the kill, at the latest."""
RATE = 1_000

Proxies = Callable[..., list[ProxyProcess]]


def test_idle_subscribers_receive_again_without_help(proxies: Proxies, started: list[Process]) -> None:
    home, away = proxies(2)
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(home.base, name=f"idle-{number}")) for number in range(5)]
        publisher = stack.enter_context(Node(away.base, name="publisher"))
        boxes = [Box() for _ in nodes]
        for node, box in zip(nodes, boxes, strict=True):
            assert node.wait_ack(node.subscribe("back/#", box), 10).ok
        home.kill()
        home = home.again()
        started.append(home)
        home.wait_ready()
        ready_at = time.monotonic()
        with Steady(publisher, rate=100, root="back"):
            for box in boxes:
                box.wait(1, BACK_S)
        assert time.monotonic() - ready_at < BACK_S
        for node in nodes:
            until(lambda node=node: node.state.state == "connected", "it is connected")  # type: ignore[misc]


def test_a_node_with_two_addresses_moves_to_the_second(proxies: Proxies) -> None:
    first, second, third = proxies(3)
    states = Box()
    with Node([first.base, second.base], name="mover") as node, Node(third.base, name="publisher") as publisher:
        node.on_state(states)
        books = Books(node)
        with Steady(publisher, rate=200) as steady:
            until(lambda: books.total_delivered > 20, "messages arrive")
            first.kill()
            killed_at = time.monotonic()
            states.wait_for(lambda seen: NodeState("connected", second.base) in seen, "it is at the second", MOVED_S)
            assert time.monotonic() - killed_at < MOVED_S
            before = books.total_delivered
            until(lambda: books.total_delivered > before + 20, "messages arrive again")
        books.settle(steady.accepted)
        until(lambda: "p1" not in node.stats()["covered"], "the dead proxy is not called covered")


@pytest.mark.parametrize("repair_timeout_s", [0.0, 5.0])
def test_what_a_subscriber_at_the_dead_proxy_missed_is_repaired_or_reported(
    proxies: Proxies, started: list[Process], repair_timeout_s: float
) -> None:
    home, away = proxies(2)
    there = Node(home.base, name="there", repair_timeout_s=repair_timeout_s)
    with there as node, Node(away.base, name="publisher") as publisher:
        books = Books(node)
        with Steady(publisher, rate=500) as steady:
            until(lambda: books.total_delivered > 50, "messages arrive")
            home.kill()
            home = home.again()
            started.append(home)
            home.wait_ready()
            before = books.total_delivered
            until(lambda: books.total_delivered > before + 50, "messages arrive again")
        books.settle(steady.accepted)
        missed = node.stats()["repaired"] if repair_timeout_s else books.total_lost
        assert missed > 0, "the proxy was away for more than a second"
        assert books.total_lost == (0 if repair_timeout_s else missed) and steady.refused == []


def test_a_publisher_at_the_dead_proxy_waits_for_it(proxies: Proxies, started: list[Process]) -> None:
    """One address only: `publish` blocks until the proxy is back, and what it accepted before is sent again."""
    home, away = proxies(2)
    with Node(away.base, name="subscriber") as node, Node(home.base, name="publisher", send_timeout_s=30) as publisher:
        books = Books(node)
        with Steady(publisher, rate=RATE) as steady:
            until(lambda: books.total_delivered > 500, "messages arrive")
            home.kill()
            home = home.again()
            started.append(home)
            home.wait_ready()
            before = books.total_delivered
            until(lambda: books.total_delivered > before + 500, "messages arrive again")
        books.settle(steady.accepted)
        assert (books.total_lost, steady.refused, publisher.stats()["uncertain"]) == (0, [], 0)


def test_kills_at_random_moments_lose_nothing_that_was_accepted(
    proxies: Proxies, started: list[Process], tmp_path: Path
) -> None:
    """The proxy at which the publisher is dies again and again; it has four addresses. Checked at a fifth proxy."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    (home,) = proxies(1)
    bases = [free_base() for _ in range(4)]
    running = {
        base: ProxyProcess(base, ["--join", home.base], tmp_path, name=f"k{number}")
        for number, base in enumerate(bases)
    }
    started += running.values()
    for proxy in running.values():
        proxy.wait_ready()
    moved_s: list[float] = []
    with Node(home.base, name="subscriber") as node, Node(bases, name="publisher") as publisher:
        books = Books(node)
        with Steady(publisher, rate=RATE) as steady:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0, 0.3))  # the random moment
                dying = running[publisher.state.base]
                dying.kill()
                killed_at = time.monotonic()
                running[dying.base] = dying.again()
                started.append(running[dying.base])
                until(
                    lambda gone=dying.base: publisher.state.state == "connected" and publisher.state.base != gone,  # type: ignore[misc]
                    "it is at the next",
                )
                moved_s.append(time.monotonic() - killed_at)
                following = bases[(bases.index(publisher.state.base) + 1) % len(bases)]
                running[following].wait_ready()
        books.settle(steady.accepted)
        assert books.total_lost == 0 and steady.refused == []
        assert publisher.stats()["uncertain"] == 0
        print(
            f"{KILLS} kills: {steady.total} accepted, {books.total_delivered} delivered, moved in {max(moved_s):.3f} s"
        )
        assert max(moved_s) < MOVED_S

"""Everything at once: proxies are killed, drained, stopped and started again at random, under load; then books balance.

FABRIC_CHAOS_S: for how long (3; scripts/soak takes 120)
FABRIC_SEED:    which chaos; a failure prints its own
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

from fabric import Node
from tests.faults.ledger import TOPICS, Books, Steady
from tests.support.processes import Process, ProxyProcess, free_base
from tests.support.waiting import until

CHAOS_S = float(os.environ.get("FABRIC_CHAOS_S", "3"))
RATE = 150


class Proxies:
    """Three proxies, each of which joins the two others and may begin alone, and what can be done to them."""

    def __init__(self, log_dir: Path, started: list[Process]) -> None:
        self.bases = [free_base() for _ in range(3)]
        self._started = started
        self.running: list[ProxyProcess] = []
        for number, base in enumerate(self.bases):
            joins = [word for other in self.bases if other != base for word in ("--join", other)]
            self.running.append(ProxyProcess(base, [*joins, "--first"], log_dir, name=f"c{number}"))
            started.append(self.running[-1])
        self.wait_ready()

    def wait_ready(self) -> None:
        for proxy in self.running:
            proxy.wait_ready(30)

    def kill(self, *numbers: int) -> None:
        for number in numbers:
            self.running[number].kill()
        for number in numbers:
            self._again(number)

    def drain(self, number: int) -> None:
        self.running[number].wait_ready(30)  # before that it may not listen to signals yet
        self.running[number].signal(signal.SIGTERM)
        assert self.running[number].wait(20) == 0
        self._again(number)

    def stand_still(self, number: int, for_s: float) -> None:
        self.running[number].signal(signal.SIGSTOP)
        time.sleep(for_s)
        self.running[number].signal(signal.SIGCONT)

    def _again(self, number: int) -> None:
        self.running[number] = self.running[number].again()
        self._started.append(self.running[number])


def cause(chance: random.Random, proxies: Proxies) -> None:
    """Do one thing to one proxy, or two. The next may come before they are ready again."""
    number = chance.randrange(3)
    what = chance.choice(["kill", "kill", "kill two", "drain", "stand still"])
    print(f"{time.monotonic():.2f} {what} {number}")
    if what == "kill":
        proxies.kill(number)
    elif what == "kill two":
        proxies.kill(number, (number + 1) % 3)
    elif what == "drain":
        proxies.drain(number)
    else:
        proxies.stand_still(number, chance.choice([0.5, 2.0, 4.0, 6.0]))
    if chance.random() < 0.7:
        proxies.wait_ready()


def test_after_any_chaos_every_message_is_delivered_or_reported_lost(tmp_path: Path, started: list[Process]) -> None:
    seed = int(os.environ.get("FABRIC_SEED", random.randrange(2**32)))
    print(f"FABRIC_SEED={seed}")
    chance = random.Random(seed)
    proxies = Proxies(tmp_path, started)
    with contextlib.ExitStack() as stack:
        # Four nodes have all addresses, each begins with another; the last two have one.
        addresses = [proxies.bases[n % 3 :] + proxies.bases[: n % 3] for n in range(4)]
        addresses += [proxies.bases[:1], proxies.bases[1:2]]
        nodes = [
            stack.enter_context(Node(bases, name=f"n{number}", send_timeout_s=60))
            for number, bases in enumerate(addresses)
        ]
        books = {(node.name, root): Books(node, f"{root}/#") for node in nodes for root in ("a", "b", "c")}
        steady = {
            root: stack.enter_context(Steady(node, rate=RATE, root=root))
            for root, node in zip("abc", (nodes[0], nodes[1], nodes[4]), strict=True)
        }
        for each in books.values():
            until(lambda each=each: len(each.delivered) == TOPICS, "every topic was seen")  # type: ignore[misc]
        end = time.monotonic() + CHAOS_S
        while time.monotonic() < end:
            time.sleep(chance.uniform(0, 1.5))  # the random moment
            cause(chance, proxies)
        proxies.wait_ready()
        for node in nodes:
            until(lambda node=node: len(node.stats()["covered"]) == 3, f"{node.name} reaches all three", 30)  # type: ignore[misc]
        for publisher in steady.values():
            publisher.stop()
            assert publisher.refused == []
        for (_, root), each in books.items():
            each.settle(steady[root].accepted, 30)
        print({name: each.total_lost for name, each in books.items()}, "of", steady["a"].total)
        assert all(node.stats()["uncertain"] == 0 for node in nodes)

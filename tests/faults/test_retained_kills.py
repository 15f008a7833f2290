"""Retained values while proxies are killed: set, cleared and asked for at three proxies, of which one after the other
dies.

A subscriber, one that comes now or one that has been there all the time, ends with the newest value that was accepted.
That is the promise while each publisher lives: it brings its values to its next proxy.

FABRIC_TEST_RETAINED_ROUNDS, FABRIC_TEST_RETAINED_KILLS: at least so many rounds (300; the full figure is 10,000), and
kills (6; 30)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from fabric import Message, Node
from tests.support.processes import Process, ProxyProcess
from tests.support.waiting import PATIENCE_S, until

ROUNDS = int(os.environ.get("FABRIC_TEST_RETAINED_ROUNDS", "300"))
KILLS = int(os.environ.get("FABRIC_TEST_RETAINED_KILLS", "6"))
TOPICS = [f"state/{number}" for number in range(12)]
PAUSE_S = 0.3
"""That all proxies are there, between two kills."""

Proxies = Callable[..., list[ProxyProcess]]


class Killer:
    """Kills one proxy after the other, and starts it again, in a thread of its own."""

    def __init__(self, proxies: list[ProxyProcess], started: list[Process]) -> None:
        self._proxies, self._started = proxies, started
        self._over = threading.Event()
        self.kills = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            at = self.kills % len(self._proxies)
            self._proxies[at].kill()
            again = self._proxies[at].again()
            self._started.append(again)
            again.wait_ready()
            self._proxies[at] = again
            self.kills += 1


class Seen:
    """What a subscriber thinks the values are: of each topic what came last, or had the newest stamp."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[tuple[int, int], Any]] = {}

    def __call__(self, message: Message) -> None:
        stamp = (message.sent_ns, message.publisher)
        if message.topic not in self.values or stamp >= self.values[message.topic][0]:
            self.values[message.topic] = (stamp, message.payload)

    def now(self) -> dict[str, Any]:
        return {topic: value for topic, (_, value) in self.values.items() if value is not None}


@contextlib.contextmanager
def nodes_at(proxies: list[ProxyProcess], name: str) -> Iterator[list[Node]]:
    """One node for each proxy, that takes the next one when its own dies."""
    with contextlib.ExitStack() as stack:
        bases = [proxy.base for proxy in proxies]
        yield [
            stack.enter_context(Node([*bases[at:], *bases[:at]], name=f"{name}-{at}", send_timeout_s=PATIENCE_S))
            for at in range(len(bases))
        ]


def told_now(node: Node, wanted: dict[str, Any]) -> bool:
    """Whether a subscriber that comes now is told this, with its ack or soon after."""
    seen = Seen()
    ident = node.subscribe("state/#", seen, retained=True)
    try:
        end = time.monotonic() + 3.0
        while time.monotonic() < end and seen.now() != wanted:
            time.sleep(0.005)
        return seen.now() == wanted
    finally:
        node.unsubscribe(ident)


def test_who_subscribes_ends_with_the_newest_value_that_was_accepted(proxies: Proxies, started: list[Process]) -> None:
    rng = random.Random(12)
    three = proxies(3)
    accepted: dict[str, Any] = {}
    with nodes_at(three, "publisher") as publishers, nodes_at(three, "subscriber") as subscribers:
        standing = Seen()
        subscribers[0].wait_ack(subscribers[0].subscribe("state/#", standing, retained=True), PATIENCE_S)
        with Killer(three, started) as killer:
            for number in itertools.count(1):
                publisher, topic = rng.choice(publishers), rng.choice(TOPICS)
                payload = None if rng.random() < 0.3 else number
                publisher.publish(topic, payload, retain=True)
                accepted.pop(topic, None)
                if payload is not None:
                    accepted[topic] = payload
                late = rng.choice(subscribers)
                until(partial(told_now, late, accepted), f"round {number}: a late subscriber ends with it")
                if number >= ROUNDS and killer.kills >= KILLS:
                    break
        until(lambda: standing.now() == accepted, "so does the one that was there all the time")
        print(f"{number} rounds, {killer.kills} kills")

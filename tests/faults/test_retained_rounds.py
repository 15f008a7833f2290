"""`kill -9` of three proxies in turn, while values are set, cleared and asked for: the newest one always counts, for
a subscriber that comes then, and for one that has been there all the time. While its publisher lives: it brings its
values to its next proxy.

FABRIC_RETAINED_ROUNDS: rounds in all (240; the full figure is 10,000, about half an hour)
FABRIC_RETAINED_SEED:   of the schedule (1)
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fabric import Message, Node
from fabric.errors import FabricError
from tests.support.processes import Process, ProxyProcess
from tests.support.waiting import until

ROUNDS = int(os.environ.get("FABRIC_RETAINED_ROUNDS", "240"))
SEED = int(os.environ.get("FABRIC_RETAINED_SEED", "1"))
ROUNDS_A_KILL = 40
TOPICS = 30
CLEARED = 0.3
SETTLED_S = 30.0
"""What a subscriber ends with is there so long after its subscription, at the latest."""

Proxies = Callable[..., list[ProxyProcess]]


class Held:
    """What one subscription has been told: the newest value of each topic.

    What a publisher says late, since it had lost its proxy, comes live, and may be older than what another one said.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.stamps: dict[str, tuple[int, int]] = {}
        self.told: list[Message] = []
        self.wrong: list[str] = []
        """Retained values that were told though something newer had come. To stay empty."""

    def holds(self, wanted: dict[str, int | None]) -> bool:
        return {topic: self.values.get(topic) for topic in wanted} == wanted

    def take(self, message: Message) -> None:
        stamp = message.sent_ns, message.publisher
        if message.headers.get("retained") and stamp <= self.stamps.get(message.topic, (0, 0)):
            self.wrong.append(f"{message} behind {self.stamps[message.topic]}")
        if stamp > self.stamps.get(message.topic, (0, 0)):
            self.stamps[message.topic] = stamp
            self.values[message.topic] = message.payload
        self.told.append(message)


class Rounds:
    """Publishers and subscribers at three proxies, and what they should agree on."""

    def __init__(self, publishers: list[Node], subscribers: list[Node], chance: random.Random) -> None:
        self.publishers, self.subscribers, self.chance = publishers, subscribers, chance
        self.expected: dict[str, int | None] = {f"kept/{number}": None for number in range(TOPICS)}
        """By topic, the newest value that was accepted."""
        self.last: dict[str, str] = {}
        """By topic, who set it, in which round."""
        self.kills: list[str] = []
        self.done = 0
        self.standing = Held()
        """What the first subscriber has been told, which is there all the time."""
        first = subscribers[0]
        first.wait_ack(first.subscribe("kept/#", self.standing.take, retained=True), SETTLED_S)

    def round(self) -> None:
        """Set or clear one, and subscribe somewhere, to it and to all."""
        topic = self.chance.choice(list(self.expected))
        value = None if self.chance.random() < CLEARED else self.done
        publisher = self.chance.choice(self.publishers)
        until(lambda: self.is_accepted(publisher, topic, value), f"round {self.done} is accepted", SETTLED_S)
        self.expected[topic] = value
        self.last[topic] = f"{publisher.name} in round {self.done}"
        for topic_filter in (topic, "kept/#"):
            self.ask(self.chance.choice(self.subscribers), topic_filter)
        self.done += 1

    def is_accepted(self, publisher: Node, topic: str, value: int | None) -> bool:
        """Whether it is; one that raises was not accepted, and is said again."""
        with contextlib.suppress(FabricError):
            publisher.publish(topic, value, retain=True)
            return True
        return False

    def ask(self, node: Node, topic_filter: str) -> None:
        """A new subscription ends with what is expected, and is never told anything older."""
        held = Held()
        wanted = {topic: value for topic, value in self.expected.items() if topic_filter in (topic, "kept/#")}
        ident = node.subscribe(topic_filter, held.take, retained=True)
        node.wait_ack(ident, SETTLED_S)
        try:
            until(lambda: held.holds(wanted), f"round {self.done}: {node.name} holds what was set last", SETTLED_S)
        except AssertionError as error:
            raise AssertionError(f"{error}; seed {SEED}\n{self.story(held, wanted)}") from None
        finally:
            node.unsubscribe(ident)
        assert not held.wrong, held.wrong

    def story(self, held: Held, wanted: dict[str, int | None]) -> str:
        """What a person wants to know of a subscription that ended with something else than what is expected."""
        wrong = {topic for topic, value in wanted.items() if held.values.get(topic) != value}
        told = [f"told {each}" for each in held.told if each.topic in wrong]
        set_by = [f"last set by {self.last[topic]}: {topic} = {wanted[topic]}" for topic in sorted(wrong)]
        now = []
        for node in self.subscribers:
            again = Held()
            ack = node.wait_ack(node.subscribe("kept/#", again.take, retained=True), SETTLED_S)
            now.append(f"now at {node.name}: { {topic: again.values.get(topic) for topic in wrong} } {ack}")
        stats = [f"{node.name}: {node.state} {node.stats()}" for node in (*self.publishers, *self.subscribers)]
        return "\n".join([*told, *set_by, *now, *stats, *self.kills[-3:]])


def back(bases: list[str], victim: int, log_dir: Path) -> ProxyProcess:
    """The same proxy, once more. It knows the others: alone it would be a mesh by itself until they have found it."""
    joins = [word for number, base in enumerate(bases) if number != victim for word in ("--join", base)]
    return ProxyProcess(bases[victim], joins, log_dir, name=f"p{victim + 1}")


def test_a_subscriber_always_ends_with_the_newest_value_that_was_accepted(
    proxies: Proxies, started: list[Process], tmp_path: Path
) -> None:
    running = proxies(3)
    bases = [proxy.base for proxy in running]
    with contextlib.ExitStack() as stack:

        def node(name: str, home: int) -> Node:
            """At one proxy, with the others as its next ones."""
            return stack.enter_context(Node(bases[home:] + bases[:home], name=f"{name}-{home}"))

        publishers, subscribers = ([node(name, home) for home in range(3)] for name in ("publisher", "subscriber"))
        rounds = Rounds(publishers, subscribers, random.Random(SEED))
        while rounds.done < ROUNDS:
            victim = (rounds.done // ROUNDS_A_KILL) % 3
            for _ in range(rounds.chance.randrange(ROUNDS_A_KILL // 2)):
                rounds.round()
            running[victim].kill()
            rounds.kills.append(f"p{victim + 1} was killed before round {rounds.done}")
            running[victim] = back(bases, victim, tmp_path)
            started.append(running[victim])
            rounds.round()
            while rounds.done % ROUNDS_A_KILL:
                rounds.round()
            running[victim].wait_ready()
            for each in subscribers:
                rounds.ask(each, "kept/#")
        until(lambda: rounds.standing.holds(rounds.expected), "so does the one that was there all the time", SETTLED_S)
        assert not rounds.standing.wrong, rounds.standing.wrong
        print(f"{rounds.done} rounds, {len(rounds.kills)} kills")

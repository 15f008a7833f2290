"""Many nodes in one process, for soak_nodes.py: `python -m benchmarks.crowd BASE FIRST COUNT FILTERS RATE`.

Node number n holds filters `s/<n>/<k>/+` for k below FILTERS, and publishes RATE messages a second, on its own topic,
to one filter after the other of the next node of this process. Lines of JSON on stdout: `acked` when every
subscription is, `ready` when every topic was published on, with how often; after `stop` on stdin `published`, after
`books` what came; it ends when stdin does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fabric import Message, Node
from fabric.errors import FabricError
from fabric.node.gaps import Gap

LATE_S = 1.0
"""A publisher that was held up does not make good for more than this."""

WARM_UP_MSGS = 600
"""Of each node. ZeroMQ's queues have blocks of 256 messages of 64 bytes, one in use and one to spare for each
connection; all their memory is touched after so many messages, which would else look like growth for an hour."""
WARM_UP_S = 0.01
"""Between two topics in the first round."""


class Member:
    """One node, and what it was told of each topic: the last number, delivered, lost."""

    def __init__(self, base: str, number: int, filters: int) -> None:
        self.number, self.filters = number, filters
        self.delivered: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.node = Node(base, name=f"crowd-{number}", connect_timeout_s=60, ack_timeout_s=60)
        self.node.on_gap(self._gap)
        held = [self.node.subscribe(f"s/{number}/{k}/+", self._came) for k in range(filters)]
        acks = [self.node.wait_ack(each, 60) for each in held]
        self.acked = sum(ack.ok for ack in acks)

    def _came(self, message: Message) -> None:
        self.delivered[message.topic] += 1

    def _gap(self, gap: Gap) -> None:
        self.lost[gap.topic] += gap.lost


class Load:
    """Publishes for all members in turn, from one thread."""

    def __init__(self, members: list[Member], rate: float) -> None:
        self._members, self._interval_s = members, 1 / (rate * len(members))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load")
        self.published: Counter[str] = Counter()
        self.refused = 0

    def start(self) -> None:
        """Publish on every topic some times, so that a loss on it shows from now on; then steadily."""
        for topic, node in self._ways():
            for _ in range(WARM_UP_MSGS // self._members[0].filters + 1):
                self._publish(topic, node)
            time.sleep(WARM_UP_S)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        for topic, node in itertools.cycle(self._ways()):
            if self._stop.wait(max(0.0, due - time.monotonic())):
                return
            self._publish(topic, node)
            due = max(due + self._interval_s, time.monotonic() - LATE_S)

    def _publish(self, topic: str, node: Node) -> None:
        try:
            node.publish(topic, "a steady word")
            self.published[topic] += 1
        except FabricError:
            self.refused += 1

    def _ways(self) -> Iterator[tuple[str, Node]]:
        for k in range(self._members[0].filters):
            for at, member in enumerate(self._members):
                receiver = self._members[(at + 1) % len(self._members)]
                yield f"s/{receiver.number}/{k}/{member.number}", member.node


def tell(event: str, **data: Any) -> None:
    print(json.dumps({"event": event, **data}), flush=True)


SWITCH_S = 0.1
"""How often a thread that waits for its turn asks for it. With Python's own 5 ms, hundreds of threads that wait on a
busy machine do little else."""


def main(base: str, first: str, count: str, filters: str, rate: str) -> None:
    sys.setswitchinterval(SWITCH_S)
    members = [Member(base, int(first) + at, int(filters)) for at in range(int(count))]
    with contextlib.ExitStack() as stack:
        for member in members:
            stack.callback(member.node.close)
        tell("acked", acked=sum(member.acked for member in members))
        load = Load(members, float(rate))
        load.start()
        tell("ready", total=load.published.total())
        for line in sys.stdin:
            if line.strip() == "stop":
                load.stop()
                reconnects = sum(member.node.stats()["reconnects"] for member in members)
                tell("published", total=load.published.total(), refused=load.refused, reconnects=reconnects)
            elif line.strip() == "books":
                delivered = sum((member.delivered for member in members), Counter())
                lost = sum((member.lost for member in members), Counter())
                wrong = {topic for topic, n in load.published.items() if delivered[topic] + lost[topic] != n}
                tell("books", delivered=delivered.total(), lost=lost.total(), open=len(wrong))
        load.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])

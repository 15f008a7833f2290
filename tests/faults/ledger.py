"""Who was told what: a publisher at a steady rate, and the books of a subscriber.

    with Steady(node, rate=1000) as steady:      # publishes on k/0 … k/9, and notes what was accepted
        …                                        # break things
    books.settle(steady.accepted)                # waits until every accepted message is delivered or reported lost

Books are kept by number: what came, once and in order, and what was reported as lost.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from typing import Any

from fabric import Message, Node
from fabric.errors import FabricError
from fabric.node.gaps import Gap
from fabric.topics import matches
from tests.support.waiting import PATIENCE_S, until

TOPICS = 10


class Steady:
    """Publishes `rate` messages a second from a thread of its own, a payload of increasing ints, on ten topics.

    What was not accepted is tried again: `accepted` counts for each topic what `publish` returned for.
    """

    def __init__(self, node: Node, *, rate: float, root: str = "k", payload: Any = None) -> None:
        self._node, self._interval_s, self._payload = node, 1 / rate, payload
        self._topics = [f"{root}/{number}" for number in range(TOPICS)]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady")
        self.accepted: dict[str, int] = {}
        self.refused: list[FabricError] = []

    @property
    def total(self) -> int:
        return sum(self.accepted.values())

    def __enter__(self) -> Steady:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        count = 0
        while not self._stop.is_set():
            topic = self._topics[count % TOPICS]
            count += 1
            try:
                self.accepted[topic] = self._node.publish(topic, count if self._payload is None else self._payload)
            except FabricError as error:
                self.refused.append(error)
            due += self._interval_s
            self._stop.wait(due - time.monotonic()) if due > time.monotonic() else None


class Books:
    """What one subscriber got of one publisher: subscribe `books`, and `on_gap(books.gap)`."""

    def __init__(self, node: Node, topic_filter: str = "k/#") -> None:
        self.delivered: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.wrong: list[str] = []
        """Messages that came twice, or before one that was due earlier."""
        self.last_at = time.monotonic()
        self._filter = topic_filter
        self._last: dict[str, int] = {}
        self.gaps: list[Gap] = []
        node.on_gap(self.gap)
        ack = node.wait_ack(node.subscribe(topic_filter, self), PATIENCE_S)
        assert ack.ok, ack

    def __call__(self, message: Message) -> None:
        self.last_at = time.monotonic()
        self._book(message.topic, message.number, message.number, self.delivered)

    def gap(self, gap: Gap) -> None:
        if not matches(self._filter, gap.topic):
            return
        self.gaps.append(gap)
        self._book(gap.topic, gap.first, gap.last, self.lost)

    def _book(self, topic: str, first: int, last: int, into: Counter[str]) -> None:
        if first != self._last.get(topic, 0) + 1:
            self.wrong.append(f"{topic}: {first} after {self._last.get(topic, 0)}")
        self._last[topic] = last
        into[topic] += last - first + 1

    @property
    def total_delivered(self) -> int:
        return sum(self.delivered.values())

    @property
    def total_lost(self) -> int:
        return sum(self.lost.values())

    def settle(self, accepted: dict[str, int], timeout_s: float = PATIENCE_S) -> None:
        """Wait until, on each topic, delivered + reported lost = accepted; nothing came twice or out of order."""
        with contextlib.suppress(AssertionError):
            until(lambda: self._last == accepted or self.wrong, "all is told of", timeout_s)
        assert not self.wrong, self.wrong[:10]
        assert not self.open(accepted), f"told of the first, accepted the second: {self.open(accepted)}"
        assert {topic: self.delivered[topic] + self.lost[topic] for topic in accepted} == accepted

    def open(self, accepted: dict[str, int]) -> dict[str, tuple[int, int]]:
        """Topics whose last number is not the accepted one: (told of, accepted)."""
        return {
            topic: (self._last.get(topic, 0), number)
            for topic, number in accepted.items()
            if self._last.get(topic, 0) != number
        }

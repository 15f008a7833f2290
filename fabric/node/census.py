"""Counting the nodes that subscribe to a topic filter: asked of all nodes, again and again until there are enough.

    with Census(node, "load/#") as census:
        census.wait(4, timeout_s=10.0)          # True once 4 other nodes say that they hold it

Nodes answer for themselves, each once to each question, so the count is of nodes and exact over all proxies. Who holds
nothing that covers the filter does not answer. What is asked and answered is in `fabric.protocol.questions`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from fabric.errors import ScopeError, TransportError, expected
from fabric.node.coverage import Ack
from fabric.protocol.inboxes import inbox_topic
from fabric.protocol.questions import Question, nodes_topic
from fabric.topics import scope, validate_filter
from fabric.wire import Message

PAUSE_S = (0.1, 1.0)
"""Between two questions: so long at first, twice as long each time, and so long in the end."""
SEND_TIMEOUT_S = 1.0
ROUNDS = 8
"""Questions whose answers are still taken: the last ones."""


class CensusNode(Protocol):
    """What it needs of the node that asks; see `Node`."""

    @property
    def publisher(self) -> int: ...
    def subscribe(self, topic_filter: str, msg_fun: Callable[[Message], object]) -> int: ...
    def unsubscribe(self, subscription: int) -> None: ...
    def wait_ack(self, subscription: int, timeout_s: float) -> Ack: ...
    def new_token(self) -> str: ...
    def publish_system(self, topic: str, payload: Any, *, timeout_s: float | None = None) -> int: ...
    def stats(self) -> dict[str, Any]: ...


class Census:
    """How many nodes, but for the one that asks, hold a filter that covers `topic_filter`.

    errors: InvalidFilter; ScopeError for a filter that never leaves its node
    """

    def __init__(self, node: CensusNode, topic_filter: str) -> None:
        validate_filter(topic_filter)
        if scope(topic_filter) == "local":
            raise ScopeError(expected("filter", topic_filter, "one without ~/, which never leaves its node"))
        self._node, self._filter = node, topic_filter
        self._changed = threading.Condition()
        """Guards `_rounds`; told with each answer."""
        self._rounds: dict[bytes, set[int]] = {}
        """Publishers that answered, by the id of the question; the last `ROUNDS` questions, the oldest first."""
        self._serial = 0
        """Questions so far."""
        self._asked_at, self._pause_s = 0.0, PAUSE_S[0]
        """When the last question went out, monotonic; and how long after it the next one goes."""
        self._is_covered = False
        """Answers can arrive: set once, by `wait`."""
        self._inbox = inbox_topic(node.new_token(), "answers")
        self._subscription = node.subscribe(self._inbox, self._heard)

    def __enter__(self) -> Census:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def count(self) -> int:
        """The most that one of the last two questions found: the last one may still be being answered."""
        with self._changed:
            return max(map(len, list(self._rounds.values())[-2:]), default=0)

    def wait(self, count: int, timeout_s: float) -> bool:
        """Ask, and ask again, until `count` nodes have answered one question; False when they have not in time.

        errors: NotAllowed without the right to ask nodes
        """
        end = time.monotonic() + timeout_s
        if not self._cover(timeout_s):
            return False
        while True:
            now = time.monotonic()
            if now >= self._asked_at + self._pause_s:
                self._ask(now)
            next_at = min(end, self._asked_at + self._pause_s)
            with self._changed:
                if self._changed.wait_for(lambda: self._has(count), max(0.0, next_at - now)):
                    return True
            if next_at >= end:
                return False

    def close(self) -> None:
        """Take no more answers."""
        self._node.unsubscribe(self._subscription)

    def _has(self, count: int) -> bool:
        return any(len(answered) >= count for answered in self._rounds.values())

    def _cover(self, timeout_s: float) -> bool:
        if not self._is_covered:
            try:
                self._is_covered = self._node.wait_ack(self._subscription, timeout_s).ok
            except TimeoutError:
                return False
        return self._is_covered

    def _ask(self, now: float) -> None:
        if self._serial:
            self._pause_s = min(2 * self._pause_s, PAUSE_S[1])
        self._serial += 1
        self._asked_at = now
        ident = self._serial.to_bytes(8, "big")
        with self._changed:
            self._rounds[ident] = set()
            while len(self._rounds) > ROUNDS:
                del self._rounds[next(iter(self._rounds))]
        question = Question("subscribers", ident, self._inbox, self._filter).to_map()
        for proxy in self._node.stats()["covered"]:
            try:
                self._node.publish_system(nodes_topic(proxy), question, timeout_s=SEND_TIMEOUT_S)
            except TransportError:
                return  # nobody hears it now; the next one is due soon

    def _heard(self, message: Message) -> None:
        """In the I/O thread. Whatever came, it is an answer only if it says to what."""
        answer = message.payload
        ident = answer.get("id") if isinstance(answer, dict) and answer.get("answer") == "subscribers" else None
        with self._changed:
            answered = self._rounds.get(ident) if isinstance(ident, bytes) else None
            if answered is not None and message.publisher != self._node.publisher:
                answered.add(message.publisher)
                self._changed.notify_all()

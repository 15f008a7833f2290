"""Asking proxies and nodes through the operator's node: what `fabric ping`, `why` and `top` share.

    survey = Survey(node)
    survey.open(timeout_s=2.5)                   # answers can arrive, the proxies are known
    asked = survey.ping(record)
    asked.wait(1, timeout_s=1.0)                 # [(0.0004, {"answer": "ping", …})]

What is asked and answered is in `fabric.protocol.questions`.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from fabric.errors import NotConnected, TransportError
from fabric.protocol import markers, questions
from fabric.protocol.inboxes import inbox_topic
from fabric.protocol.markers import question_topic
from fabric.protocol.questions import Question
from fabric.protocol.views import Record
from fabric.wire import Message
from nodes.observe.mesh_view import MeshView

if TYPE_CHECKING:
    from fabric.node.node import Node

SAMPLE, SAMPLE_TELLING = 200, 1_000
"""How many nodes are to answer where there are more: of all nodes, and of those with something to tell."""
SEND_TIMEOUT_S = 1.0
MAX_REMEMBERED = 10_000
"""Questions whose answers are still taken; of older ones they are passed over."""
MAX_ANSWERS = 20_000
"""Answers to one question: more than a mesh has nodes. Beyond, they are made up."""
MAX_NAME_CHARS = 80
"""Longer names of nodes and proxies are cut: a peer must not fill the screen."""


class Asked:
    """A question, and what was answered: pairs of seconds since it was sent, and the answer with its `publisher`.

    Names of nodes may be given twice; publishers are one for each run of a node.
    """

    def __init__(self) -> None:
        self.sent_at = time.monotonic()
        """In seconds."""
        self.answers: list[tuple[float, dict[str, Any]]] = []
        """At most MAX_ANSWERS, in the order in which they came; `add` appends, under `_changed`."""
        self._taken = 0
        """How many of them `new` has returned; under `_changed`."""
        self._changed = threading.Condition()
        """Notified with each answer."""

    def add(self, answer: dict[str, Any], now: float) -> None:
        """Take an answer; beyond `MAX_ANSWERS` it is passed over."""
        with self._changed:
            if len(self.answers) < MAX_ANSWERS:
                self.answers.append((now - self.sent_at, answer))
                self._changed.notify_all()

    def new(self) -> list[tuple[float, dict[str, Any]]]:
        """Return the answers that this has not returned before."""
        with self._changed:
            start, self._taken = self._taken, len(self.answers)
            return self.answers[start:]

    def wait(self, count: int, timeout_s: float) -> list[tuple[float, dict[str, Any]]]:
        """Return the answers once there are `count`, or those there are after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: len(self.answers) >= count, timeout_s)
            return list(self.answers)


class Survey:
    """Asks questions through `node`. What the proxies announce meanwhile is in `view`, to be read under `lock`."""

    def __init__(self, node: Node) -> None:
        self.node, self.view = node, MeshView()
        self.lock = threading.RLock()
        """Guards `view` and `_asked`: the node's I/O thread writes, the command reads."""
        self._changed = threading.Condition(self.lock)
        """Notified with each announcement."""
        self._inbox = inbox_topic(node.new_token(), "answers")
        self._serial = itertools.count(1)
        self._asked: dict[bytes, Asked] = {}
        """By the id of the question, the oldest first; at most MAX_REMEMBERED."""
        self._held = node.subscribe(self._inbox, self._heard)
        node.subscribe(f"{markers.ANNOUNCE}+", self._announced)

    def open(self, timeout_s: float) -> bool:
        """Wait until answers can arrive, and then until all proxies have announced themselves; False: not all have.

        errors: NotConnected when answers cannot arrive in time
        """
        end = time.monotonic() + timeout_s
        with contextlib.suppress(TimeoutError):
            if self.node.wait_ack(self._held, timeout_s).ok:
                with self._changed:
                    return self._changed.wait_for(self.view.is_complete, max(0.0, end - time.monotonic()))
        raise NotConnected(f"the mesh has not acknowledged an inbox for answers within {timeout_s:g} s")

    def records(self) -> list[Record]:
        """The proxies known, those that are dead included, by name."""
        with self.lock:
            return self.view.records()

    def nodes(self) -> dict[str, int]:
        """How many nodes each proxy has announced, without the operator's own."""
        own = self.node.stats()["proxy"]
        with self.lock:
            counts = self.view.nodes()
        return {name: max(0, count - (name == own)) for name, count in counts.items()}

    def ping(self, record: Record) -> Asked:
        """Ask a proxy whether it is there."""
        ident, asked = self._new()
        self._send(question_topic(record.incarnation), Question("ping", ident, self._inbox).to_map())
        return asked

    def ask_nodes(
        self,
        ask: str,
        proxies: Iterable[str],
        topic: str = "",
        *,
        start: int = 0,
        publisher: int = 0,
        sample: int = SAMPLE,
    ) -> Asked:
        """Ask the nodes of these proxies; where there are more than `sample`, so many of them.

        start, publisher: for "topics": from which one on, and of whom alone; 0: of all
        """
        ident, asked = self._new()
        total = sum(self.nodes().values())
        one_in, tell_one_in = max(1, total // sample), max(1, total // SAMPLE_TELLING)
        question = Question(ask, ident, self._inbox, topic, one_in, tell_one_in, start, publisher).to_map()
        for name in proxies:
            self._send(questions.nodes_topic(name), question)
        return asked

    def trace(self, topic: str) -> Asked:
        """Send a message on `topic` that is for nobody to handle; every node whose filters match answers."""
        ident, asked = self._new()
        headers = questions.trace_headers(ident, self._inbox)
        with contextlib.suppress(TransportError):
            self.node.publish_system(topic, None, headers, timeout_s=SEND_TIMEOUT_S)
        return asked

    def _new(self) -> tuple[bytes, Asked]:
        ident, asked = next(self._serial).to_bytes(8, "big"), Asked()
        with self.lock:
            self._asked[ident] = asked
            if len(self._asked) > MAX_REMEMBERED:
                del self._asked[next(iter(self._asked))]
        return ident, asked

    def _send(self, topic: str, payload: dict[str, Any]) -> None:
        with contextlib.suppress(TransportError):  # nobody hears it then, and nobody answers
            self.node.publish_system(topic, payload, timeout_s=SEND_TIMEOUT_S)

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _announced(self, message: Message) -> None:
        with self._changed:
            self.view.hear(message.payload)
            self._changed.notify_all()

    def _heard(self, message: Message) -> None:
        now, answer = time.monotonic(), message.payload
        ident = answer.get("id") if isinstance(answer, dict) else None
        with self.lock:
            asked = self._asked.get(ident) if isinstance(ident, bytes) else None
        if asked is not None and message.publisher != self.node.publisher:
            asked.add({**answer, **_short(answer), "publisher": message.publisher}, now)


def _short(answer: dict[str, Any]) -> dict[str, str]:
    names = {key: answer.get(key) for key in ("node", "proxy")}
    return {key: name[:MAX_NAME_CHARS] for key, name in names.items() if isinstance(name, str)}

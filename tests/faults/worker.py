"""Load as a process of its own, with its books: `python -m tests.faults.worker NAME BASE…`.

Each worker publishes under its own name, `w1/0` … `w1/9`, and subscribes to everybody's. Commands are lines of JSON on
stdin, events lines of JSON on stdout:

    {"do": "subscribe", "to": ["w1", "w2"]}             subscribed, with each ack's `covered` and `missing`
    {"do": "publish", "rate": 100}                      steady from now on
    {"do": "flowing"}                                   flowing: every topic of everybody was seen
    {"do": "slow", "pause_s": 0.02}                     the handlers take so long for each message; 0: no more
    {"do": "prove", "id": "1"}                          proving, acked: what comes on `proof/1/#` is kept from now on
    {"do": "say", "topic": "proof/1/w2"}                said: published once
    {"do": "proofs", "id": "1"}                         proofs: topics that came
    {"do": "status"}                                    status: state, covered, missing, uncertain, repaired
    {"do": "counts"}                                    counts: messages delivered, of each publisher
    {"do": "finish"}                                    finished: publishes no more; the last number of each topic
    {"do": "settle", "of": "w1", "accepted": {…}}       settled: delivered, lost, and what is wrong with the books
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fabric import Message, Node
from tests.faults.ledger import TOPICS, Books, Steady
from tests.support.processes import Process
from tests.support.waiting import until

HWM_MSGS = 300
REPAIR_TIMEOUT_S = float(os.environ.get("FABRIC_REPAIR_TIMEOUT", "1"))
"""0: nothing is repaired."""
PAYLOAD = "x" * 1_000
PATIENCE_S = 60.0


class Pausing(Books):
    """Books that take their time for each message."""

    pause_s = 0.0

    def __call__(self, message: Message) -> None:
        if self.pause_s:
            time.sleep(self.pause_s)  # it is what a slow handler does
        super().__call__(message)


class Worker:
    """The node, and what it is told to do."""

    def __init__(self, node: Node, name: str) -> None:
        self._node, self._name = node, name
        self._books: dict[str, Pausing] = {}
        self._proofs: dict[str, list[str]] = {}
        self._steady: Steady | None = None

    def subscribe(self, to: list[str]) -> None:
        for root in to:
            self._books[root] = Pausing(self._node, f"{root}/#")
        self.status("subscribed")

    def publish(self, rate: float) -> None:
        self._steady = Steady(self._node, rate=rate, root=self._name, payload=PAYLOAD)
        self._steady.__enter__()
        tell("publishing")

    def flowing(self) -> None:
        for books in self._books.values():
            until(lambda books=books: len(books.delivered) == TOPICS, "every topic was seen", PATIENCE_S)  # type: ignore[misc]
        tell("flowing")

    def slow(self, pause_s: float) -> None:
        for books in self._books.values():
            books.pause_s = pause_s

    def prove(self, id: str) -> None:
        came = self._proofs[id] = []
        held = self._node.subscribe(f"proof/{id}/#", lambda message: came.append(message.topic))
        ack = self._node.wait_ack(held, PATIENCE_S)
        tell("acked", id=id, ok=ack.ok, covered=ack.covered, missing=ack.missing)

    def say(self, topic: str) -> None:
        self._node.publish(topic, None)
        tell("said", topic=topic)

    def proofs(self, id: str, count: int) -> None:
        with contextlib.suppress(AssertionError):
            until(lambda: len(self._proofs[id]) >= count, "all proofs came")
        tell("proofs", id=id, topics=sorted(self._proofs[id]))

    def status(self, event: str = "status") -> None:
        stats = self._node.stats()
        told = {key: stats[key] for key in ("covered", "missing", "uncertain", "repaired")}
        tell(event, state=self._node.state.state, base=self._node.state.base, **told)

    def counts(self) -> None:
        tell("counts", of={root: books.total_delivered for root, books in self._books.items()})

    def finish(self) -> None:
        assert self._steady is not None
        self._steady.stop()
        tell("finished", accepted=self._steady.accepted, refused=[str(error) for error in self._steady.refused])

    def settle(self, of: str, accepted: dict[str, int]) -> None:
        books, wrong = self._books[of], ""
        try:
            books.settle(accepted, PATIENCE_S)
        except AssertionError as error:
            wrong = str(error) or "delivered and reported lost do not add up to what was accepted"
        reasons = Counter[str]()
        for gap in books.gaps:
            reasons[gap.reason or "not repaired"] += gap.lost
        told = {"delivered": books.total_delivered, "lost": books.total_lost, "reasons": reasons}
        tell("settled", of=of, wrong=wrong, **told)


class WorkerProcess(Process):
    """The process. `do` tells it, `ask` waits for the answer, too."""

    def __init__(self, name: str, bases: Sequence[str], log_dir: Any, prefix: Sequence[str] = ()) -> None:
        super().__init__([*prefix, sys.executable, "-m", __name__, name, *bases], log_dir, name=name)

    def do(self, what: str, **fields: Any) -> None:
        self.send(json.dumps({"do": what, **fields}))

    def ask(self, what: str, answer: str, **fields: Any) -> dict[str, Any]:
        before = len(self.stdout)
        self.do(what, **fields)
        return self.wait_event(answer, 2 * PATIENCE_S, before)


def tell(event: str, **data: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **data}) + "\n")
    sys.stdout.flush()


def main(name: str, *bases: str) -> None:
    with Node(
        bases,
        name=name,
        hwm_msgs=HWM_MSGS,
        send_timeout_s=PATIENCE_S,
        connect_timeout_s=PATIENCE_S,
        repair_timeout_s=REPAIR_TIMEOUT_S,
    ) as node:
        worker = Worker(node, name)
        tell("ready")
        for line in sys.stdin:
            fields = json.loads(line)
            getattr(worker, fields.pop("do"))(**fields)


if __name__ == "__main__":
    main(*sys.argv[1:])

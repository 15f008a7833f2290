"""The processes of a load test, as the process that started them sees them: orders to them, and what they say.

with Crew(spec, watch) as crew:                # all are connected, every subscription is acknowledged
    crew.order(crew.publishers, "prime", 100.0)
    crew.wait_for("finished", crew.publishers, timeout_s)

Orders and answers are those of `worker`. However the block ends, all processes end with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any

from fabric.errors import FabricError
from nodes.load.schedule import Spec
from nodes.load.worker import Driven, Pipe, Publisher, Sent, Subscriber, Told, work

READY_S = 60.0
LOOK_S = 0.1
ANSWERS = ("begun", "finished", "accounts", "done")
"""Each of these answers one order. Workers say other things unasked, and the last of each kind counts."""


class LoadError(FabricError):
    """A process of the load test failed, or did not do its part in time."""


class Denied(LoadError):
    """The rules of the mesh do not allow what a process is to do."""


@dataclass
class Worker:
    """One process.

    said:    the last it said of each kind; an order drops its answers, see ANSWERS
    news_at: when its counts of messages last changed, monotonic, in seconds
    """

    kind: str
    index: int
    process: Any
    pipe: Pipe
    said: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    news_at: float = 0.0

    @property
    def counts(self) -> Told:
        """What a subscriber told last."""
        found: Told = self.said.get("told", (Told(),))[0]
        return found

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


@dataclass(frozen=True)
class Progress:
    """How far the test is, for the live view.

    doing:      in words
    share:      of the present step, 0 to 1
    sent:       of all publishers, added up; its `behind_s` is that of the slowest
    told:       of all subscribers, added up; its `lag_s` is that of the one furthest behind
    """

    doing: str
    share: float
    sent: Sent
    told: Told

    @property
    def in_flight(self) -> int:
        """Due, and neither delivered nor reported lost. What subscribers told last may be newer than what publishers
        did, so it is never less than 0."""
        return max(0, self.sent.due - self.told.delivered - self.told.lost)


Watch = Callable[[Progress], None]


class Crew:
    """See the module. Errors: LoadError from everything that listens."""

    def __init__(self, spec: Spec, watch: Watch) -> None:
        self.publishers: list[Worker] = []
        """By index. Filled when the block is entered, emptied when it ends; so are the subscribers."""
        self.subscribers: list[Worker] = []
        self.others: list[Worker] = []
        """What `add` has started."""
        self._spec, self._watch = spec, watch
        self._doing, self._from, self._until = "connecting", 0.0, 0.0
        """The present step in words, and its time, monotonic, in seconds. `doing` sets them."""

    @property
    def all(self) -> list[Worker]:
        return self.subscribers + self.publishers + self.others

    def __enter__(self) -> Crew:
        try:
            self.subscribers.extend(self._start(Subscriber, index) for index in range(self._spec.subscribers))
            self.publishers.extend(self._start(Publisher, index) for index in range(self._spec.publishers))
            self.wait_for("ready", self.all, READY_S + self._spec.connect_timeout_s)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes that still run."""
        for each in self.all:
            each.pipe.close()
            each.process.join(0 if "closed" not in each.said else 5.0)
            each.process.terminate()
        for each in self.all:
            each.process.join(5.0)
            each.process.kill()
            each.process.join()
            each.process.close()
        self.publishers, self.subscribers, self.others = [], [], []

    def add(self, kind: type[Driven]) -> Worker:
        """Start one more process, and wait until it is ready."""
        self.others.append(self._start(kind, len(self.others)))
        self.wait_for("ready", self.others, READY_S + self._spec.connect_timeout_s)
        return self.others[-1]

    def _start(self, kind: type[Driven], index: int) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(kind, self._spec, index, theirs), daemon=True)
        process.start()
        theirs.close()
        return Worker(kind.__name__.lower(), index, process, ours)

    def order(self, workers: Iterable[Worker], *command: Any) -> None:
        """Tell them what to do. Answers to earlier orders no longer count."""
        for each in workers:
            for kind in ANSWERS:
                each.said.pop(kind, None)
            with contextlib.suppress(BrokenPipeError):  # why it has ended is read from its pipe
                each.pipe.send(command)

    def wait_for(self, kind: str, workers: list[Worker], timeout_s: float) -> None:
        """Listen until every one of them has said `kind`."""
        end = time.monotonic() + timeout_s
        while late := [each for each in workers if kind not in each.said]:
            if time.monotonic() > end:
                raise LoadError(f"{late[0]} did not say {kind!r} within {timeout_s:g} s")
            self.listen()

    def listen(self) -> None:
        """Take what has been said, for at most LOOK_S, and show the progress."""
        by_pipe = {each.pipe: each for each in self.all if "closed" not in each.said}
        for pipe in wait(list(by_pipe), LOOK_S):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                kind, *rest = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(1.0)
                raise LoadError(f"{worker} ended by itself, with exit code {worker.process.exitcode}") from None
            if kind in ("failed", "denied"):
                raise (Denied if kind == "denied" else LoadError)(f"{worker}: {rest[0]}")
            if kind == "told" and rest[0].news != worker.counts.news:
                worker.news_at = time.monotonic()
            worker.said[kind] = tuple(rest)
        self._watch(self._progress())

    def doing(self, what: str, seconds: float) -> None:
        """Set the step that begins now, in words, and how long it takes; 0 when that is not known."""
        self._doing, self._from, self._until = what, time.monotonic(), time.monotonic() + seconds

    def _progress(self) -> Progress:
        sent = [each.said["sent"][0] for each in self.publishers if "sent" in each.said]
        told = [each.counts for each in self.subscribers]
        share = (time.monotonic() - self._from) / (self._until - self._from) if self._until > self._from else 1.0
        return Progress(
            self._doing,
            min(1.0, share),
            Sent(
                sum(each.accepted for each in sent), sum(each.refused for each in sent),
                max((each.behind_s for each in sent), default=0.0), sum(each.due for each in sent),
            ),
            Told(
                sum(each.delivered for each in told), sum(each.lost for each in told),
                max((each.lag_s for each in told), default=0.0), sum(each.over_delivered for each in told),
                sum(each.repaired for each in told),
            ),
        )  # fmt: skip

"""The processes of a load test, seen from the one that started them: orders to them, and what they say.

with Crew(spec, watch) as crew:                # all are connected, every subscription is acknowledged
    crew.order(crew.publishers, "prime", 100.0)
    crew.wait_for("finished", crew.publishers, timeout_s)

Orders and answers are those of `worker`. All processes are ended with the block, whatever ends that.
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
from nodes.load.worker import Pipe, work

READY_S = 60.0
LOOK_S = 0.1
ANSWERS = ("begun", "finished", "accounts")
"""What an order is answered with, once; other words are told unasked, and the last of each kind counts."""


class LoadError(FabricError):
    """A process of the load test failed, or did not do its part in time."""


@dataclass
class Worker:
    """One process, and the last it said of each kind."""

    kind: str
    index: int
    process: Any
    pipe: Pipe
    said: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    news_at: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.index}"


@dataclass(frozen=True)
class Progress:
    """How far it is, for whoever watches."""

    doing: str
    share: float
    accepted: int
    delivered: int
    lost: int
    over_delivered: int
    lag_s: float
    behind_s: float


Watch = Callable[[Progress], None]


class Crew:
    """See the module. errors: LoadError from everything that listens"""

    def __init__(self, spec: Spec, watch: Watch) -> None:
        self.publishers: list[Worker] = []
        self.subscribers: list[Worker] = []
        self._spec, self._watch = spec, watch
        self._doing, self._from, self._until = "connecting", 0.0, 0.0

    @property
    def all(self) -> list[Worker]:
        return self.subscribers + self.publishers

    def __enter__(self) -> Crew:
        try:
            self.subscribers.extend(self._start("subscriber", index) for index in range(self._spec.subscribers))
            self.publishers.extend(self._start("publisher", index) for index in range(self._spec.publishers))
            self.wait_for("ready", self.all, READY_S + self._spec.connect_timeout_s)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what still runs, each by its own process."""
        for each in self.all:
            each.pipe.close()
            each.process.join(0 if "closed" not in each.said else 5.0)
            each.process.terminate()
        for each in self.all:
            each.process.join(5.0)
            each.process.kill()
            each.process.join()
            each.process.close()
        self.publishers, self.subscribers = [], []

    def _start(self, kind: str, index: int) -> Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(kind, self._spec, index, theirs), daemon=True)
        process.start()
        theirs.close()
        return Worker(kind, index, process, ours)

    def order(self, workers: Iterable[Worker], *command: Any) -> None:
        """Tell them what to do. Answers to what they were told before count no more."""
        for each in workers:
            for kind in ANSWERS:
                each.said.pop(kind, None)
            with contextlib.suppress(BrokenPipeError):  # what it died of, or that it died, is read from its pipe
                each.pipe.send(command)

    def wait_for(self, kind: str, workers: list[Worker], timeout_s: float) -> None:
        """Listen until every one of them has said `kind`."""
        end = time.monotonic() + timeout_s
        while late := [each for each in workers if kind not in each.said]:
            if time.monotonic() > end:
                raise LoadError(f"{late[0]} did not say {kind!r} within {timeout_s:g} s")
            self.listen()

    def listen(self) -> None:
        """Hear what has been said, for at most LOOK_S; tell whoever watches."""
        by_pipe = {each.pipe: each for each in self.all if "closed" not in each.said}
        for pipe in wait(list(by_pipe), LOOK_S):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                kind, *rest = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(1.0)
                raise LoadError(f"{worker} ended by itself, with {worker.process.exitcode}") from None
            if kind == "failed":
                raise LoadError(f"{worker}: {rest[0]}")
            if kind == "told" and rest[:1] != list(worker.said.get("told", ()))[:1]:
                worker.news_at = time.monotonic()
            worker.said[kind] = tuple(rest)
        self._watch(self._progress())

    def doing(self, what: str, seconds: float) -> None:
        """Say what is being done from now on, and how long it takes, 0 when that is not known."""
        self._doing, self._from, self._until = what, time.monotonic(), time.monotonic() + seconds

    def _progress(self) -> Progress:
        sent = [each.said["sent"] for each in self.publishers if "sent" in each.said]
        told = [each.said["told"] for each in self.subscribers if "told" in each.said]
        share = (time.monotonic() - self._from) / (self._until - self._from) if self._until > self._from else 1.0
        return Progress(
            self._doing, min(1.0, share),
            accepted=sum(each[0] for each in sent), delivered=sum(each[1] for each in told),
            lost=sum(each[2] for each in told), over_delivered=sum(each[4] for each in told),
            lag_s=max((each[3] for each in told), default=0.0), behind_s=max((each[2] for each in sent), default=0.0),
        )  # fmt: skip

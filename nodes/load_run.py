"""Runs a load test: starts its processes, drives them through warm-up and measurement, and has the books balanced.

    with LoadRun(spec, watch) as run:          # everybody connected, every subscription acknowledged
        run.prime()                            # the first message of every topic has arrived
        round = run.measure(10_000.0)          # one stretch; again as often as wanted
    run.unconfirmed

The ledger covers everything that was published since the beginning, over all rounds.
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
from nodes.load_latency import curve_ms, merged, quantiles_ms
from nodes.load_ledger import Line, due_to, judge
from nodes.load_report import Over, Round
from nodes.load_schedule import Schedule, Spec, let_through, matched
from nodes.load_worker import Accounts, Pipe, work

PRIME_RATE = 10_000.0
START_S = 0.1
"""From the order to the first message: every process has heard by then."""
READY_S = 60.0
FINISH_S = 60.0
QUIET_S = 6.0
"""Nothing new anywhere for so long: what is missing then was forgotten. A last number comes after 1 s, and once more
4 s later, for it may be lost as well."""
SETTLE_S = 60.0
BUSY_S = 1.0
LOOK_S = 0.1


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


class LoadRun:
    """See the module. errors: LoadError; on any error all processes are ended."""

    def __init__(self, spec: Spec, watch: Watch) -> None:
        self.spec = spec
        self.covered: tuple[str, ...] = ()
        self.unconfirmed = 0
        self._watch = watch
        self._doing, self._from, self._until = "connecting", 0.0, 0.0
        self._wanted = [set(matched(spec.filters_of(each), spec.topics)) for each in range(spec.subscribers)]
        self._seen_refused = 0
        self._seen_lost = 0
        self._published: dict[int, dict[str, int]] = {}
        self._workers: list[Worker] = []

    @property
    def _publishers(self) -> list[Worker]:
        return [each for each in self._workers if each.kind == "publisher"]

    @property
    def _subscribers(self) -> list[Worker]:
        return [each for each in self._workers if each.kind == "subscriber"]

    def __enter__(self) -> LoadRun:
        context = multiprocessing.get_context("spawn")
        try:
            for kind, count in (("subscriber", self.spec.subscribers), ("publisher", self.spec.publishers)):
                for index in range(count):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=work, args=(kind, self.spec, index, theirs), daemon=True)
                    process.start()
                    theirs.close()
                    self._workers.append(Worker(kind, index, process, ours))
            self._await("ready", self._workers, READY_S + self.spec.connect_timeout_s)
        except BaseException:
            self._end()
            raise
        self.covered = tuple(sorted({name for each in self._subscribers for name in each.said["ready"][1]}))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for workers in (self._publishers, self._subscribers):
                    self._order(workers, "close")
                    self._await("closed", workers, FINISH_S)
                self.unconfirmed = sum(each.said["closed"][0] for each in self._publishers)
        finally:
            self._end()

    def prime(self) -> None:
        """Publish every topic once at every publisher, and wait until all have arrived."""
        seconds = len(self.spec.topics) * self.spec.publishers / PRIME_RATE
        self._now_doing("first messages", seconds)
        self._order(self._subscribers, "begin", tuple(each.said["ready"][0] for each in self._publishers))
        self._await("begun", self._subscribers, READY_S)
        self._order(self._publishers, "prime", PRIME_RATE / self.spec.publishers)
        self._finished(seconds)
        self._settle()
        short = [
            f"{each}: {each.said['told'][1]:,} of {self._due(each):,}"
            for each in self._subscribers
            if each.said["told"][1] != self._due(each)
        ]
        if short:
            raise LoadError(f"of the first message of every topic not all arrived: {'; '.join(short[:5])}")

    def measure(self, rate: float | None) -> Round:
        """Warm up, measure, wait until everything is told of, and return what was found."""
        spec = self.spec
        self._order(self._subscribers, "measure")
        self._await("begun", self._subscribers, READY_S)
        start = time.monotonic_ns() + int(START_S * 1e9)
        warm = start + int(spec.warm_up_s * 1e9)
        schedule = Schedule(start, warm, warm + int(spec.duration_s * 1e9), rate, spec.publishers)
        self._now_doing("at the highest rate" if rate is None else f"{rate:,.0f}/s", spec.warm_up_s + spec.duration_s)
        self._order(self._publishers, "run", schedule)
        self._finished(spec.warm_up_s + spec.duration_s)
        self._settle()
        self._order(self._subscribers, "accounts")
        self._await("accounts", self._subscribers, FINISH_S)
        return self._round(schedule)

    # ── between the processes ────────────────────────────────────────────────────────────────────────────────────

    def _order(self, workers: Iterable[Worker], *command: Any) -> None:
        for each in workers:
            for kind in ("begun", "finished", "accounts"):
                each.said.pop(kind, None)
            with contextlib.suppress(BrokenPipeError):  # what it died of, or that it died, is read from its pipe
                each.pipe.send(command)

    def _await(self, kind: str, workers: list[Worker], timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while late := [each for each in workers if kind not in each.said]:
            if time.monotonic() > end:
                raise LoadError(f"{late[0]} did not say {kind!r} within {timeout_s:g} s")
            self._listen()

    def _listen(self) -> None:
        """Hear what has been said, for at most LOOK_S; tell whoever watches."""
        by_pipe = {each.pipe: each for each in self._workers if "closed" not in each.said}
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

    def _finished(self, seconds: float) -> None:
        self._await("finished", self._publishers, seconds + FINISH_S)
        self._published = {each.said["ready"][0]: each.said["finished"][0] for each in self._publishers}

    def _settle(self) -> None:
        """Wait until every subscriber was told of all that is due, or nothing comes any more."""
        self._now_doing("until all is told of", 0.0)
        for each in self._subscribers:
            each.said["told"] = (0, 0, 0, 0.0, 0)
            each.news_at = time.monotonic()
        end = time.monotonic() + SETTLE_S
        due = [self._due(each) for each in self._subscribers]
        while any(each.said["told"][0] < count for each, count in zip(self._subscribers, due, strict=True)):
            now = time.monotonic()
            if now > end or all(now - each.news_at > QUIET_S for each in self._subscribers):
                break
            self._listen()

    def _due(self, subscriber: Worker) -> int:
        return due_to(self._wanted[subscriber.index], self._published)

    def _end(self) -> None:
        """End what still runs, by its own process."""
        for each in self._workers:
            each.pipe.close()
            each.process.join(0 if "closed" not in each.said else 5.0)
            each.process.terminate()
        for each in self._workers:
            each.process.join(5.0)
            each.process.kill()
            each.process.join()
            each.process.close()
        self._workers = []

    def _now_doing(self, what: str, seconds: float) -> None:
        self._doing, self._from, self._until = what, time.monotonic(), time.monotonic() + seconds

    def _progress(self) -> Progress:
        sent = [each.said["sent"] for each in self._publishers if "sent" in each.said]
        told = [each.said["told"] for each in self._subscribers if "told" in each.said]
        share = (time.monotonic() - self._from) / (self._until - self._from) if self._until > self._from else 1.0
        return Progress(
            self._doing, min(1.0, share),
            accepted=sum(each[0] for each in sent), delivered=sum(each[1] for each in told),
            lost=sum(each[2] for each in told), over_delivered=sum(each[4] for each in told),
            lag_s=max((each[3] for each in told), default=0.0), behind_s=max((each[2] for each in sent), default=0.0),
        )  # fmt: skip

    # ── the result of a stretch ──────────────────────────────────────────────────────────────────────────────────

    def _round(self, schedule: Schedule) -> Round:
        found: list[Accounts] = [each.said["accounts"][0] for each in self._subscribers]
        whole = merged(each.latencies for each in found)
        lines = self._lines(found)
        lost, refused = sum(line.lost for line in lines), sum(each.said["finished"][3] for each in self._publishers)
        lost_now, self._seen_lost = lost - self._seen_lost, lost
        refused_now, self._seen_refused = refused - self._seen_refused, refused
        window = sum(each.window for each in found)
        elapsed_s = (max([schedule.end_ns, *(each.last_ns for each in found)]) - schedule.warm_ns) / 1e9
        return Round(
            rate=schedule.rate,
            sent=sum(each.said["finished"][1] for each in self._publishers),
            unsent=sum(each.said["finished"][2] for each in self._publishers),
            refused=refused_now,
            elapsed_s=elapsed_s,
            delivered=window,
            delivered_per_s=window / elapsed_s,
            lost=lost_now,
            quantiles_ms=quantiles_ms(whole),
            lines=tuple(lines),
            over=tuple(self._over(index, each) for index, each in enumerate(found)),
            curve_ms=tuple(curve_ms(whole)),
        )

    def _lines(self, found: list[Accounts]) -> list[Line]:
        now = time.monotonic()
        return [
            line
            for each, accounts in zip(self._subscribers, found, strict=True)
            for line in judge(
                each.index, self._wanted[each.index], self._published, accounts.accounts, now - each.news_at < BUSY_S
            )
        ]

    def _over(self, index: int, found: Accounts) -> Over:
        counts: dict[str, int] = {}
        for each in self._published.values():
            for topic, count in each.items():
                counts[topic] = counts.get(topic, 0) + count
        through = let_through(self.spec.filters_of(index), self.spec.topics)
        by_filter = {key: sum(counts.get(topic, 0) for topic in topics) for key, topics in through.items()}
        return Over(index, found.stats["over_delivered"], by_filter)

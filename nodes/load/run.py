"""Runs a load test: drives its processes through warm-up and measurement, and balances the books.

    with LoadRun(spec, watch) as run:          # all are connected, every subscription is acknowledged
        run.prime()                            # the first message of every topic has arrived
        round = run.measure(10_000.0)          # one stretch; again as often as wanted
        round = run.play(recorded, 2.0)        # or a recording, twice as fast
    run.unconfirmed

The books cover everything that was published since the beginning, over all rounds.
"""

from __future__ import annotations

import time

from nodes.load.books import Line, due_to, judge
from nodes.load.crew import READY_S, Crew, LoadError, Watch, Worker
from nodes.load.latency import curve_ms, merged, quantiles_ms
from nodes.load.played import Recorded
from nodes.load.report import Over, Round
from nodes.load.schedule import Schedule, Spec, Stretch, let_through, matched
from nodes.load.worker import Accounts

PRIME_RATE = 10_000.0
START_S = 0.1
"""From the order to the first message: every process has read the order by then."""
SLOWEST = 1_000.0
"""Messages a second that a recording is played at, at least, where it is to go as fast as it goes."""
FINISH_S = 60.0
QUIET_S = 6.0
"""After so long without news from any subscriber, what is missing counts as missing. A publisher tells its last number
after 1 s, and again 4 s later, since that may be lost as well."""
SETTLE_S = 60.0
BUSY_S = 1.0


class LoadRun:
    """See the module. Errors: LoadError. On any error all processes are ended."""

    def __init__(self, spec: Spec, watch: Watch) -> None:
        self.spec = spec
        self.covered: tuple[str, ...] = ()
        """The proxies that cover the subscriptions, by name; known when the block is entered."""
        self.unconfirmed = 0
        """Messages not known to have reached a proxy; known when the block has ended."""
        self.crew = Crew(spec, watch)
        self._wanted = [set(matched(spec.filters_of(each), spec.topics)) for each in range(spec.subscribers)]
        """By subscriber, the topics that its filters match."""
        self._seen_refused = 0
        """Refused and lost messages of the rounds before: workers count from the beginning of the run."""
        self._seen_lost = 0
        self._seen_repaired = [0] * spec.subscribers
        """Repaired messages, by subscriber, of the rounds before."""
        self._published: dict[int, dict[str, int]] = {}
        """What the publishers have counted by the end of the last stretch, see `books.Published`."""

    def __enter__(self) -> LoadRun:
        self.crew.__enter__()
        self.covered = tuple(sorted({name for each in self.crew.subscribers for name in each.said["ready"][1]}))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for workers in (self.crew.publishers, self.crew.subscribers):
                    self.crew.order(workers, "close")
                    self.crew.wait_for("closed", workers, FINISH_S)
                self.unconfirmed = sum(each.said["closed"][0] for each in self.crew.publishers)
        finally:
            self.crew.__exit__()

    def prime(self) -> None:
        """Publish every topic once at every publisher, and wait until all have arrived."""
        seconds = len(self.spec.topics) * self.spec.publishers / PRIME_RATE
        self.crew.doing("first messages", seconds)
        self.crew.order(self.crew.subscribers, "begin", tuple(each.said["ready"][0] for each in self.crew.publishers))
        self.crew.wait_for("begun", self.crew.subscribers, READY_S)
        self.crew.order(self.crew.publishers, "prime", PRIME_RATE / self.spec.publishers)
        self._finished(seconds)
        self._settle()
        short = [
            f"{each}: {each.said['told'][1]:,} of {self._due(each):,}"
            for each in self.crew.subscribers
            if each.said["told"][1] != self._due(each)
        ]
        if short:
            raise LoadError(f"not all first messages of the topics arrived: {'; '.join(short[:5])}")

    def measure(self, rate: float | None) -> Round:
        """Warm up, measure, wait until every message is accounted for, and return the result."""
        spec = self.spec
        start = self._begin()
        warm = start + int(spec.warm_up_s * 1e9)
        schedule = Schedule(start, warm, warm + int(spec.duration_s * 1e9), rate, spec.publishers)
        self.crew.doing("at the highest rate" if rate is None else f"{rate:,.0f}/s", spec.warm_up_s + spec.duration_s)
        self.crew.order(self.crew.publishers, "run", schedule)
        return self._result(schedule, spec.warm_up_s + spec.duration_s)

    def play(self, recorded: Recorded, speed: float | None) -> Round:
        """Play a recording and measure, as `measure` does. speed: None is as fast as it goes."""
        for each in self.crew.publishers:
            self.crew.order([each], "take", recorded.share(each.index, self.spec.publishers))
        self.crew.wait_for("begun", self.crew.publishers, READY_S)
        seconds = len(recorded.whole.at_ns) / SLOWEST if speed is None else recorded.span_ns / 1e9 / speed
        start = self._begin()
        end = start if speed is None else start + int(recorded.span_ns / speed) + 1
        stretch = Stretch(start, start, end, None if speed is None else recorded.rate(speed))
        self.crew.doing("playing", seconds)
        self.crew.order(self.crew.publishers, "play", stretch, speed)
        return self._result(stretch, seconds)

    def _begin(self) -> int:
        """Have the subscribers measure from here on; return when the publishers are to begin, monotonic, in ns."""
        self.crew.order(self.crew.subscribers, "measure")
        self.crew.wait_for("begun", self.crew.subscribers, READY_S)
        return time.monotonic_ns() + int(START_S * 1e9)

    def _result(self, stretch: Stretch, seconds: float) -> Round:
        self._finished(seconds)
        self._settle()
        self.crew.order(self.crew.subscribers, "accounts")
        self.crew.wait_for("accounts", self.crew.subscribers, FINISH_S)
        return self._round(stretch)

    def _finished(self, seconds: float) -> None:
        self.crew.wait_for("finished", self.crew.publishers, seconds + FINISH_S)
        self._published = {each.said["ready"][0]: each.said["finished"][0] for each in self.crew.publishers}

    def _settle(self) -> None:
        """Wait until all that is due is delivered or reported lost, or nothing arrives any more."""
        self.crew.doing("waiting for the last messages", 0.0)
        for each in self.crew.subscribers:
            each.said["told"] = (0, 0, 0, 0.0, 0)
            each.news_at = time.monotonic()
        end = time.monotonic() + SETTLE_S
        due = [self._due(each) for each in self.crew.subscribers]
        while any(each.said["told"][0] < count for each, count in zip(self.crew.subscribers, due, strict=True)):
            now = time.monotonic()
            if now > end or all(now - each.news_at > QUIET_S for each in self.crew.subscribers):
                break
            self.crew.listen()

    def _due(self, subscriber: Worker) -> int:
        return due_to(self._wanted[subscriber.index], self._published)

    # ── the result of a stretch ──────────────────────────────────────────────────────────────────────────────────

    def _round(self, stretch: Stretch) -> Round:
        found: list[Accounts] = [each.said["accounts"][0] for each in self.crew.subscribers]
        whole = merged(each.latencies for each in found)
        lines = self._lines(found)
        lost, refused = sum(line.lost for line in lines), sum(each.said["finished"][3] for each in self.crew.publishers)
        lost_now, self._seen_lost = lost - self._seen_lost, lost
        refused_now, self._seen_refused = refused - self._seen_refused, refused
        repaired = [int(each.stats["repaired"]) for each in found]
        before, self._seen_repaired = self._seen_repaired, repaired
        window = sum(each.window for each in found)
        elapsed_s = (max([stretch.end_ns, *(each.last_ns for each in found)]) - stretch.warm_ns) / 1e9
        return Round(
            rate=stretch.rate,
            sent=sum(each.said["finished"][1] for each in self.crew.publishers),
            unsent=sum(each.said["finished"][2] for each in self.crew.publishers),
            refused=refused_now,
            elapsed_s=elapsed_s,
            delivered=window,
            delivered_per_s=window / elapsed_s,
            lost=lost_now,
            quantiles_ms=quantiles_ms(whole),
            lines=tuple(lines),
            over=tuple(self._over(index, each) for index, each in enumerate(found)),
            curve_ms=tuple(curve_ms(whole)),
            repaired=tuple(now - then for now, then in zip(repaired, before, strict=True)),
        )

    def _lines(self, found: list[Accounts]) -> list[Line]:
        now = time.monotonic()
        return [
            line
            for each, accounts in zip(self.crew.subscribers, found, strict=True)
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

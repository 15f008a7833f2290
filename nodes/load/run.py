"""Runs a load test: drives its processes through warm-up and measurement, and balances the books.

    with LoadRun(spec, watch) as run:          # all are connected, every subscription is acknowledged
        run.prime()                            # the first message of every topic has arrived
        round = run.measure(10_000.0)          # one stretch; again as often as wanted
        round = run.play(recorded, 2.0)        # or a recording, twice as fast
    run.unconfirmed

A stretch begins when nothing is on its way any more, and everybody counts from there: all figures of a round are of its
measured stretch, and only of that. What went before, a warm-up too, has to balance as well, else the run ends there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import zip_longest

from nodes.load.books import Line, Published, between, due_to, judge
from nodes.load.crew import READY_S, Crew, LoadError, Watch, Worker
from nodes.load.latency import Counts, curve_ms, merged, quantiles_ms
from nodes.load.played import Recorded
from nodes.load.report import Over, Round
from nodes.load.schedule import Schedule, Spec, Stretch, let_through, matched, slot_s
from nodes.load.shape import Shape, Shaped
from nodes.load.worker import Accounts, Sent, Told

PRIME_RATE = 10_000.0
START_S = 0.1
"""From the order to the first message: every process has read the order by then, else it is twice as long."""
SLOWEST = 1_000.0
"""Messages a second that a recording is played at, at least, where it is to go as fast as it goes."""
FINISH_S = 60.0
QUIET_S = 6.0
"""After so long without news from any subscriber, what is missing counts as missing. A publisher tells its last number
after 1 s, and again 4 s later, since that may be lost as well."""
OVER_S = 1.0
"""How long what matches nothing is waited for: nobody is told of its loss."""
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
        dealt = [spec.filters_of(each) for each in range(spec.subscribers)]
        wanted = {own: set(matched(own, spec.topics)) for own in set(dealt)}
        self._wanted = [wanted[own] for own in dealt]
        """By subscriber, the topics that its filters match."""
        through = {own: let_through(own, spec.topics) for own in wanted}
        self._through = [through[own] for own in dealt]
        """By subscriber and filter, the topics that reach it and match nothing."""
        self._published: Published = {}
        """The last numbers of the publishers at the end of the last stretch, from the beginning of the run."""
        self._span: Published = {}
        """What they published in the last stretch."""

    def __enter__(self) -> LoadRun:
        self.crew.__enter__()
        self.covered = tuple(sorted({name for each in self.crew.subscribers for name in each.said["ready"][1]}))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                for workers in (self.crew.others, self.crew.publishers, self.crew.subscribers):
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
        wants = [sum(topic in wanted for wanted in self._wanted) for topic in self.spec.topics]
        self.crew.order(self.crew.publishers, "prime", PRIME_RATE / self.spec.publishers, wants)
        self._finished(seconds)
        self._settle()
        short = [
            f"{each}: {each.counts.delivered:,} of {self._due(each):,}"
            for each in self.crew.subscribers
            if each.counts.delivered != self._due(each)
        ]
        if short:
            raise LoadError(f"not all first messages of the topics arrived: {'; '.join(short[:5])}")

    def measure(self, rate: float | None, duration_s: float | None = None, warm_up_s: float | None = None) -> Round:
        """Warm up, measure, wait until every message is accounted for, and return the result.

        rate:                  messages a second; None: as fast as they can
        duration_s, warm_up_s: None: as the spec says; a warm-up of 0 is left out
        """
        duration_s = self.spec.duration_s if duration_s is None else duration_s
        warm_up_s = self.spec.warm_up_s if warm_up_s is None else warm_up_s
        name = "at the highest rate" if rate is None else f"{rate:,.0f}/s"
        if warm_up_s:
            self._run(f"warming up, {name}", rate, warm_up_s)
            self._settled()
        return self._result(self._run(f"measuring, {name}", rate, duration_s))

    def play(self, recorded: Recorded, speed: float | None) -> Round:
        """Play a recording and measure, as `measure` does. speed: None is as fast as it goes."""
        for each in self.crew.publishers:
            self.crew.order([each], "take", recorded.share(each.index, self.spec.publishers))
        self.crew.wait_for("begun", self.crew.publishers, READY_S)
        seconds = len(recorded.whole.at_ns) / SLOWEST if speed is None else recorded.span_ns / 1e9 / speed
        start = self._begin(int(slot_s(seconds) * 1e9))
        end = start if speed is None else start + int(recorded.span_ns / speed) + 1
        stretch = Stretch(start, end, None if speed is None else recorded.rate(speed))
        self.crew.doing("playing", seconds)
        self.crew.order(self.crew.publishers, "play", stretch, speed)
        self._finished(seconds)
        self._settle()
        return self._result(stretch)

    def shaped(self, name: str, shape: Shape, slot_ns: int, beside: Callable[[int, int], None]) -> Round:
        """Send at the rates of a shape, and measure as `measure` does. beside: told when it begins and ends"""
        start = self._begin(slot_ns)
        end = start + int(shape.seconds * 1e9)
        self.crew.doing(name, shape.seconds)
        plan = Shaped(start, end, shape.mean, shape, self.spec.publishers, slot_ns)
        self.crew.order(self.crew.publishers, "run", plan)
        beside(start, end)
        self._finished(shape.seconds)
        self._settle()
        return self._result(plan)

    def _run(self, doing: str, rate: float | None, seconds: float) -> Schedule:
        """Send for so long, and wait until it has arrived."""
        start = self._begin(int(slot_s(seconds) * 1e9))
        schedule = Schedule(start, start + int(seconds * 1e9), rate, self.spec.publishers)
        self.crew.doing(doing, seconds)
        self.crew.order(self.crew.publishers, "run", schedule)
        self._finished(seconds)
        self._settle()
        return schedule

    def _begin(self, slot_ns: int) -> int:
        """Have the subscribers count from here on; return when the publishers are to begin, monotonic, in ns."""
        lead_ns = int(START_S * 1e9)
        while True:
            start = time.monotonic_ns() + lead_ns
            self.crew.order(self.crew.subscribers, "measure", start, slot_ns)
            self.crew.wait_for("begun", self.crew.subscribers, READY_S)
            for each in self.crew.publishers:
                each.said["sent"] = (Sent(),)
            for each in self.crew.subscribers:
                each.said["told"] = (Told(),)
            if time.monotonic_ns() < start - lead_ns // 2:
                return start
            lead_ns *= 2

    def _finished(self, seconds: float) -> None:
        self.crew.wait_for("finished", self.crew.publishers, seconds + FINISH_S)
        published = {each.said["ready"][0]: each.said["finished"][0] for each in self.crew.publishers}
        self._span, self._published = between(self._published, published), published

    def _settle(self) -> None:
        """Wait until all that is due is delivered or reported lost, or nothing arrives any more."""
        self.crew.doing("waiting for the last messages", 0.0)
        for each in self.crew.subscribers:
            each.news_at = time.monotonic()
        end = time.monotonic() + SETTLE_S
        due = [self._due(each) for each in self.crew.subscribers]
        self._wait(lambda at, counts: counts.delivered + counts.lost >= due[at], end)
        over = [sum(self._over_due(each).values()) for each in self.crew.subscribers]
        self._wait(lambda at, counts: counts.over_delivered >= over[at], min(end, time.monotonic() + OVER_S))

    def _wait(self, is_done: Callable[[int, Told], bool], end: float) -> None:
        """Listen until it is done at every subscriber, by index, or none has had news for QUIET_S, or until `end`."""
        while not all(is_done(each.index, each.counts) for each in self.crew.subscribers):
            now = time.monotonic()
            if now > end or all(now - each.news_at > QUIET_S for each in self.crew.subscribers):
                break
            self.crew.listen()

    def _settled(self) -> None:
        """What went before the measurement has to be accounted for, or it would be counted there."""
        for each in self.crew.subscribers:
            told, due = each.counts.delivered + each.counts.lost, self._due(each)
            if told != due:
                raise LoadError(f"{each}: of {due:,} messages of the warm-up {told:,} are accounted for")

    def _due(self, subscriber: Worker) -> int:
        return due_to(self._wanted[subscriber.index], self._span)

    # ── the result of a stretch ──────────────────────────────────────────────────────────────────────────────────

    def _result(self, stretch: Stretch) -> Round:
        self.crew.order(self.crew.subscribers, "accounts")
        self.crew.wait_for("accounts", self.crew.subscribers, FINISH_S)
        found: list[Accounts] = [each.said["accounts"][0] for each in self.crew.subscribers]
        slots = over_time([each.slots for each in found])
        whole = merged(slots)
        ends = [each.said["finished"] for each in self.crew.publishers]
        return Round(
            rate=stretch.rate,
            sent=sum(each[1] for each in ends),
            unsent=sum(each[2] for each in ends),
            refused=sum(each[3] for each in ends),
            elapsed_s=(max([stretch.end_ns, *(each.last_ns for each in found)]) - stretch.start_ns) / 1e9,
            quantiles_ms=quantiles_ms(whole),
            lines=tuple(self._lines(found)),
            over=tuple(self._over(each, told.told) for each, told in zip(self.crew.subscribers, found, strict=True)),
            curve_ms=tuple(curve_ms(whole)),
            repaired=tuple(each.told.repaired for each in found),
            slot_s=stretch.slot_ns / 1e9,
            slots=tuple(slots),
            sending_s=(stretch.end_ns - stretch.start_ns) / 1e9,
        )

    def _lines(self, found: list[Accounts]) -> list[Line]:
        now = time.monotonic()
        return [
            line
            for each, accounts in zip(self.crew.subscribers, found, strict=True)
            for line in judge(
                each.index, self._wanted[each.index], self._span, accounts.accounts, now - each.news_at < BUSY_S
            )
        ]

    def _over_due(self, subscriber: Worker) -> dict[str, int]:
        """By filter, what its prefix let through in the last stretch and no filter matches."""
        counts: dict[str, int] = {}
        for each in self._span.values():
            for topic, count in each.items():
                counts[topic] = counts.get(topic, 0) + count
        through = self._through[subscriber.index]
        return {key: sum(counts.get(topic, 0) for topic in topics) for key, topics in through.items()}

    def _over(self, subscriber: Worker, told: Told) -> Over:
        return Over(subscriber.index, told.over_delivered, self._over_due(subscriber))


def over_time(found: Sequence[Sequence[Counts]]) -> list[dict[int, int]]:
    """Return the latencies of all subscribers by slot. found: by subscriber, by slot"""
    return [merged(each) for each in zip_longest(*found, fillvalue={})]

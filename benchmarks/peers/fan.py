"""From publishers to subscribers, each in its process: fan-out, payloads, wildcards, topics, nobody, two servers.

A figure is deliveries a second, from the first message that was sent to the last that any subscriber received. For the
wildcard, where only one message in a hundred matches, and for what nobody wants, it is messages a second: those that
were published until what was sent behind them, or matched last, had arrived. How many messages a run has is found for
each peer in a trial run that does not count. Every topic was sent once before the clock starts.

Beside the figure stands the CPU time of the processes for it, from the first message to the last that was received.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks import lab
from benchmarks.peers.costs import Cost, Costs
from benchmarks.peers.figures import Work
from benchmarks.peers.servers import PAIRS, Servers, servers
from benchmarks.peers.workers import Worker, WorkerError, workers

TOPICS = tuple(f"bench/{number:04}/value" for number in range(1000))
MANY_TOPICS = tuple(f"bench/{number:05}/value" for number in range(10_000))
ALL = "bench/+/value"
SPREAD = tuple(f"group{number % 10}/key{number // 10:02}/value" for number in range(1000))
ONE_PERCENT = "+/key07/value"
LAST = "last/value"
"""What the publisher sends behind what nobody wants, to the one subscriber."""
TRIAL_MSGS = 5_000
FEWEST_MSGS, MOST_MSGS = 1_000, 500_000
MOST_BYTES = 200_000_000
PRIME_TRIES = 100


@dataclass(frozen=True)
class Fan:
    """One setting. share: of the messages that match, one in so many; 0: none does"""

    label: str
    subscribers: int = 1
    payload_bytes: int = 64
    share: int = 1
    publishers: int = 1
    topics: Sequence[str] = TOPICS

    @property
    def topic_filter(self) -> str:
        return {0: LAST, 1: ALL}.get(self.share, ONE_PERCENT)

    def expected(self, published: int) -> int:
        """How many a subscriber receives of so many, by all publishers."""
        return published // self.share if self.share else 1

    def figure(self, published: int, got: int) -> float:
        """What counts: deliveries or, where not all match, messages; less in proportion when some were lost."""
        due = self.expected(published) * self.subscribers
        return float(got) if self.share == 1 else published * got / due

    def count(self, rate: float, run_s: float) -> int:
        """How many messages of each publisher last `run_s`, within the bounds; whole thousands, so shares are exact.

        rate: of figures a second, as measured
        """
        per_publisher = rate / self.publishers / (self.subscribers if self.share == 1 else 1)
        return self._bounded(per_publisher * run_s)

    @property
    def trial(self) -> int:
        """How many messages of each publisher in the trial run."""
        return self._bounded(TRIAL_MSGS)

    def _bounded(self, count: float) -> int:
        most = min(MOST_MSGS, MOST_BYTES // self.payload_bytes)
        return max(FEWEST_MSGS, int(min(most, count)) // 1000 * 1000)


FAN_OUT = [
    Fan("1 subscriber"),
    Fan("4 subscribers", 4),
    Fan("8 subscribers", 8),
    Fan("2 publishers, 8 subscribers", 8, publishers=2),
]
PAYLOADS = [Fan("64 B"), Fan("1 KiB", payload_bytes=1024), Fan("64 KiB", payload_bytes=65_536)]
WILDCARD = [Fan("1 subscriber", share=100, topics=SPREAD), Fan("4 subscribers", 4, share=100, topics=SPREAD)]
TOPICS_10_000 = [Fan("1 subscriber", topics=MANY_TOPICS), Fan("4 subscribers", 4, topics=MANY_TOPICS)]
NOBODY = [Fan("1 publisher", share=0)]
PAIR = [Fan("1 subscriber"), Fan("4 subscribers", 4)]
REPAIR_COST = [Fan("1 subscriber"), Fan("4 subscribers", 4)]


@dataclass(frozen=True)
class Ran:
    """rate: figures a second. lost: share of the deliveries that did not come. cost: CPU times, and what for"""

    rate: float
    lost: float
    cost: Cost


class Field:
    """One peer's servers and processes for a work."""

    def __init__(self, found: Servers, publishers: Sequence[Worker], subscribers: Sequence[Worker]) -> None:
        self._servers, self._publishers, self._subscribers = found, publishers, subscribers

    def run(self, fan: Fan, count: int) -> Ran:
        """Have each publisher send `count` messages. errors: WorkerError when one of the processes could not"""
        giving, taking = self._publishers[: fan.publishers], self._subscribers[: fan.subscribers]
        published = count * fan.publishers
        try:
            self._open(fan, giving, taking, fan.expected(published))
            before = self._cpu_s(giving, taking)
            last = "" if fan.share else LAST
            for each in giving:
                each.ask("publish_all", fan.topics, fan.payload_bytes, count, last)
            began = min(each.answer() for each in giving)
            for each in taking:
                each.ask("result")
            found = [each.answer() for each in taking]
            after = self._cpu_s(giving, taking)
        finally:
            for each in (*giving, *taking):
                each.do("close")
        got, due = sum(number for _, number in found), fan.expected(published) * len(taking)
        rate = fan.figure(published, got) / (max(last for last, _ in found) - began)
        publisher_s, server_s, subscriber_s = (end - start for start, end in zip(before, after, strict=True))
        return Ran(rate, 1 - got / due, Cost(publisher_s, server_s, subscriber_s, published, got))

    def _open(self, fan: Fan, giving: Sequence[Worker], taking: Sequence[Worker], expected: int) -> None:
        """Connect all; return when every subscriber has heard every publisher, and every topic was sent once."""
        warm = fan.expected(len(fan.topics)) * len(giving) if fan.share else 0
        for number, each in enumerate(taking):
            each.ask("open", self._servers.addresses[-1], fan.topic_filter, f"prime/{number}/+", warm, expected)
        for each in giving:
            each.do("open_publisher", self._servers.addresses[0])
        for each in taking:
            each.answer()
        for number, each in enumerate(giving):
            _prime(each, number, taking)
            each.do("warm", fan.topics)
        if not all(each.do("is_warm") for each in taking):
            raise WorkerError("a message of those before the clock starts did not come")

    def _cpu_s(self, giving: Sequence[Worker], taking: Sequence[Worker]) -> tuple[float, float, float]:
        """CPU time so far of publishers, servers and subscribers."""
        giving_pids, taking_pids = [each.pid for each in giving], [each.pid for each in taking]
        publishers, servers, subscribers = (
            sum(lab.cpu_s(pid) for pid in pids) for pids in (giving_pids, self._servers.pids, taking_pids)
        )
        return publishers, servers, subscribers


def _prime(publisher: Worker, number: int, taking: Sequence[Worker]) -> None:
    """Publish to each until it has heard: only then its subscriptions are known to be in force."""
    waiting = dict(enumerate(taking))
    for _ in range(PRIME_TRIES):
        publisher.do("prime", [f"prime/{each}/x" for each in waiting], number)
        for each in waiting.values():
            each.ask("has_heard", number)
        heard = {which for which, each in waiting.items() if each.answer()}
        waiting = {which: each for which, each in waiting.items() if which not in heard}
        if not waiting:
            return
    raise WorkerError(f"{len(waiting)} subscribers heard nothing in {PRIME_TRIES} tries")


@contextlib.contextmanager
def fields(rows: Sequence[str], publishers: int, subscribers: int, count: int) -> Iterator[dict[str, Field | str]]:
    """Start servers and processes of every row, for several works; why not, for one that cannot be started.

    count: servers of each, connected with each other
    """
    with contextlib.ExitStack() as stack:
        found: dict[str, Field | str] = {}
        for row in rows:
            try:
                if count > 1 and row not in PAIRS:
                    raise RuntimeError("has no two servers that share subscribers")
                running = stack.enter_context(servers(row, count))
                hands = stack.enter_context(workers(row, publishers + subscribers))
                found[row] = Field(running, hands[:publishers], hands[publishers:])
            except RuntimeError as error:
                found[row] = str(error)
        yield found


def measure(
    work: Work,
    found: Mapping[str, Field | str],
    fans: Sequence[Fan],
    repeats: int,
    run_s: float,
    say: Callable[[str], None],
    costs: Costs,
) -> None:
    """Run every setting, the rows in turns."""
    work.settings = [fan.label for fan in fans]
    for fan in fans:
        counts = dict.fromkeys(found, fan.trial)
        for repetition in range(repeats + 1):  # the first is the trial
            for row, field in found.items():
                figures = work.of(fan.label, row)
                if isinstance(field, str):
                    figures.note = field
                    continue
                try:
                    ran = field.run(fan, counts[row])
                except WorkerError as error:
                    figures.note = str(error)
                    if repetition:
                        figures.values.append(0.0)
                        costs.failed(work.name, fan.label, row)
                    say(f"{work.name}, {fan.label}: {row} failed: {error}")
                    continue
                if ran.lost:  # it overflowed a queue: half as many
                    counts[row] = max(FEWEST_MSGS, counts[row] // 2)
                elif repetition == 0:
                    counts[row] = fan.count(ran.rate, run_s)
                if repetition:
                    figures.values.append(ran.rate)
                    figures.lost.append(ran.lost)
                    costs.add(work.name, fan.label, row, ran.cost)
                    lost = f", {ran.lost:.2%} lost" if ran.lost else ""
                    say(f"{work.name}, {fan.label}: {row} {ran.rate:,.0f}/s{lost}")

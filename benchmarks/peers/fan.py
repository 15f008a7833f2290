"""From one publisher to several subscribers, each in its process: fan-out, payloads, wildcards, two servers.

A figure is deliveries a second, from the first message that was sent to the last that any subscriber received; for the
wildcard, where only one message in a hundred matches, messages a second that were published and sorted out. How many
messages a run has is found for each peer in a trial run that does not count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.peers.figures import Work
from benchmarks.peers.servers import PAIRS, Servers, servers
from benchmarks.peers.workers import Worker, WorkerError, workers

TOPICS = tuple(f"bench/{number:04}/value" for number in range(1000))
ALL = "bench/+/value"
SPREAD = tuple(f"group{number % 10}/key{number // 10:02}/value" for number in range(1000))
ONE_PERCENT = "+/key07/value"
TRIAL_MSGS = 4_000
FEWEST_MSGS, MOST_MSGS = 1_000, 200_000
MOST_BYTES = 200_000_000
PRIME_TRIES = 100


@dataclass(frozen=True)
class Fan:
    """One setting. share: of the messages that match, one in so many."""

    label: str
    subscribers: int = 1
    payload_bytes: int = 64
    share: int = 1

    @property
    def topics(self) -> Sequence[str]:
        return TOPICS if self.share == 1 else SPREAD

    @property
    def topic_filter(self) -> str:
        return ALL if self.share == 1 else ONE_PERCENT

    def count(self, rate: float, run_s: float) -> int:
        """How many messages last `run_s`, within the bounds; whole thousands, so that shares are exact."""
        most = min(MOST_MSGS, MOST_BYTES // self.payload_bytes)
        return max(FEWEST_MSGS, int(min(most, rate * run_s)) // 1000 * 1000)


FAN_OUT = [Fan("1 subscriber"), Fan("4 subscribers", 4), Fan("8 subscribers", 8)]
PAYLOADS = [Fan("64 B"), Fan("1 KiB", payload_bytes=1024), Fan("64 KiB", payload_bytes=65_536)]
WILDCARD = [Fan("1 subscriber", share=100), Fan("4 subscribers", 4, share=100)]
PAIR = [Fan("1 subscriber"), Fan("4 subscribers", 4)]


class Field:
    """One peer's servers and processes for a work."""

    def __init__(self, found: Servers, hands: list[Worker]) -> None:
        self._addresses = found.addresses
        self._publisher, *self._subscribers = hands

    def run(self, fan: Fan, count: int) -> tuple[float, float]:
        """Return the figure, and the share of messages that was lost."""
        taking = self._subscribers[: fan.subscribers]
        expected = count // fan.share
        try:
            for number, each in enumerate(taking):
                each.ask("open", self._addresses[-1], fan.topic_filter, f"prime/{number}", expected)
            self._publisher.do("open_publisher", self._addresses[0])
            for each in taking:
                each.answer()
            self._prime(taking)
            began = self._publisher.do("publish_all", fan.topics, fan.payload_bytes, count)
            for each in taking:
                each.ask("result")
            found = [each.answer() for each in taking]
        finally:
            for each in (self._publisher, *taking):
                each.do("close")
        got, due = sum(number for _, number in found), expected * len(taking)
        done = count * got / due if fan.share > 1 else got
        return done / (max(last for last, _ in found) - began), 1 - got / due

    def _prime(self, taking: Sequence[Worker]) -> None:
        """Publish to each until it has heard: only then its subscriptions are known to be in force."""
        waiting = dict(enumerate(taking))
        for _ in range(PRIME_TRIES):
            self._publisher.do("prime", [f"prime/{number}" for number in waiting])
            for each in waiting.values():
                each.ask("is_primed")
            heard = {number for number, each in waiting.items() if each.answer()}
            waiting = {number: each for number, each in waiting.items() if number not in heard}
            if not waiting:
                return
        raise WorkerError(f"{len(waiting)} subscribers heard nothing in {PRIME_TRIES} tries")


@contextlib.contextmanager
def fields(peers: Sequence[str], subscribers: int, count: int) -> Iterator[dict[str, Field | str]]:
    """Start servers and processes of every peer, for several works; why not, for one that cannot be started."""
    with contextlib.ExitStack() as stack:
        found: dict[str, Field | str] = {}
        for peer in peers:
            try:
                if count > 1 and peer not in PAIRS:
                    raise RuntimeError("has no two servers that share subscribers")
                running = stack.enter_context(servers(peer, count))
                found[peer] = Field(running, stack.enter_context(workers(peer, subscribers + 1)))
            except RuntimeError as error:
                found[peer] = str(error)
        yield found


def measure(
    work: Work,
    found: dict[str, Field | str],
    fans: Sequence[Fan],
    repeats: int,
    run_s: float,
    say: Callable[[str], None],
) -> None:
    """Run every setting, peers in turns."""
    work.settings = [fan.label for fan in fans]
    for fan in fans:
        counts = dict.fromkeys(found, fan.count(TRIAL_MSGS, 1.0))
        for repetition in range(repeats + 1):  # the first is the trial
            for peer, field in found.items():
                figures = work.of(fan.label, peer)
                if isinstance(field, str):
                    figures.note = field
                    continue
                try:
                    value, lost = field.run(fan, counts[peer])
                except WorkerError as error:
                    figures.note = str(error)
                    if repetition:
                        figures.values.append(0.0)
                    say(f"{work.name}, {fan.label}: {peer} failed: {error}")
                    continue
                if lost:  # it overflowed a queue: half as many
                    counts[peer] = max(FEWEST_MSGS, counts[peer] // 2)
                elif repetition == 0:
                    counts[peer] = fan.count(value if fan.share > 1 else value / fan.subscribers, run_s)
                if repetition:
                    figures.values.append(value)
                    figures.lost.append(lost)
                    say(f"{work.name}, {fan.label}: {peer} {value:,.0f}/s{f', {lost:.2%} lost' if lost else ''}")

"""What a load test is to do: its topics, who holds which filters, at which proxy, and when each message is due. Pure.

    schedule = Schedule(start_ns, warm_ns, end_ns, rate=10_000.0, publishers=4)
    schedule.due_ns(publisher=1, k=0)          # the intended time of publisher 1's first message
    schedule.due(publisher=1, now_ns)          # how many of its messages are due by now

The publishers take turns: together they send at `rate`, evenly. A message that leaves late keeps its intended time,
from which its latency is counted: otherwise a stall would hide just those messages that it delays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric.topics import matches, subscription_prefixes, validate_filter, validate_topic

STAMP_BYTES = 8
"""The intended time in ns, as the first bytes of every payload."""
NUMBER = "{n}"


@dataclass(frozen=True)
class Spec:
    """A load test as it was asked for.

    rate:     messages a second of all publishers together; None: as fast as they can
    filters:  dealt to the subscribers in turn, see `filters_of`
    connect:  bases of proxies; nodes are dealt to them in turn, see `bases_of`
    """

    publishers: int
    subscribers: int
    topics: tuple[str, ...]
    filters: tuple[str, ...]
    size_bytes: int
    rate: float | None
    warm_up_s: float
    duration_s: float
    connect: tuple[str, ...]
    connect_timeout_s: float = 10.0

    def filters_of(self, subscriber: int) -> tuple[str, ...]:
        """The filters of one subscriber, counted from 0: every one has some, and each filter has somebody."""
        own = self.filters[subscriber % len(self.filters) :: self.subscribers]
        return own or (self.filters[subscriber % len(self.filters)],)

    def bases_of(self, node: int) -> tuple[str, ...]:
        """The bases of one node: its own proxy first, then the others, to which it moves when that one goes."""
        at = node % len(self.connect)
        return self.connect[at:] + self.connect[:at]


@dataclass(frozen=True)
class Schedule:
    """One stretch at one rate. Times are monotonic, in ns; what is due before `warm_ns` only warms up."""

    start_ns: int
    warm_ns: int
    end_ns: int
    rate: float | None
    publishers: int

    def due_ns(self, publisher: int, k: int) -> int:
        """The intended time of a publisher's k-th message, both from 0."""
        assert self.rate is not None
        return self.start_ns + int((k * self.publishers + publisher) * 1e9 / self.rate)

    def due(self, publisher: int, now_ns: int) -> int:
        """How many messages of this publisher are due by now, and at the end at most; all of them are before it."""
        assert self.rate is not None
        first = self.due_ns(publisher, 0)
        count = max(0, int((min(now_ns, self.end_ns - 1) - first) * self.rate / 1e9 / self.publishers) + 1)
        while count and self.due_ns(publisher, count - 1) > min(now_ns, self.end_ns - 1):
            count -= 1
        return count

    def scheduled(self, publisher: int) -> int:
        """How many messages this publisher is to send in all."""
        return self.due(publisher, self.end_ns)


def topic_names(pattern: str, count: int) -> tuple[str, ...]:
    """Return `count` topics: the pattern with numbers of equal length from 0 in the place of `{n}`.

    errors: ValueError for a pattern without `{n}` when there is more than one; InvalidTopic
    """
    if NUMBER not in pattern and count > 1:
        raise ValueError(f"{pattern!r} makes one topic, not {count}; right would be one with {NUMBER} in it")
    width = len(str(count - 1))
    names = tuple(pattern.replace(NUMBER, f"{number:0{max(4, width)}}") for number in range(count))
    validate_topic(names[0])
    return names


def default_filter(pattern: str) -> str:
    """Return a filter for every topic of this pattern."""
    levels = ["+" if NUMBER in level else level for level in pattern.split("/")]
    return "/".join(levels)


def matched(filters: Sequence[str], topics: Sequence[str]) -> tuple[str, ...]:
    """Return the topics that at least one of the filters matches."""
    for each in filters:
        validate_filter(each)
    return tuple(topic for topic in topics if any(matches(each, topic) for each in filters))


def let_through(filters: Sequence[str], topics: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return for each filter the topics that its prefix lets through and none of the filters matches.

    A topic that several prefixes let through is put down to the first of them: it comes once.
    """
    found: dict[str, tuple[str, ...]] = {}
    left = set(topics).difference(matched(filters, topics))
    for each in dict.fromkeys(filters):
        prefixes = subscription_prefixes(each)
        found[each] = tuple(
            topic for topic in topics if topic in left and (topic.encode() + b"\0").startswith(prefixes)
        )
        left.difference_update(found[each])
    return found

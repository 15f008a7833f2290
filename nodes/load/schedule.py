"""The plan of a load test: its topics, the filters and proxies of its nodes, and when each message is due. Pure.

    schedule = Schedule(start_ns, end_ns, rate=10_000.0, publishers=4)
    schedule.due_ns(publisher=1, k=0)          # the intended time of publisher 1's first message
    schedule.due(publisher=1, now_ns)          # how many of its messages are due by now

The publishers take turns: together they send at `rate`, evenly. A message that leaves late keeps its intended time,
from which its latency is counted: otherwise a stall would hide just those messages that it delays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric.errors import expected
from fabric.topics import matches, subscription_prefixes, validate_filter, validate_topic

STAMP_BYTES = 8
"""The intended time in ns, as the first bytes of every payload."""
NUMBER = "{n}"
SLOTS_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
MAX_SLOTS = 60
"""So many points in a plot over time; of a test of more than an hour more."""


@dataclass(frozen=True)
class Spec:
    """A load test as it was asked for.

    publishers, subscribers:  how many processes of each
    topics:                   published on in turn
    filters:                  dealt to the subscribers in turn, see `filters_of`
    size_bytes:               of a payload, STAMP_BYTES or more; the mean, where a recording is played
    rate:                     messages a second of all publishers together; None: as fast as they can
    warm_up_s, duration_s:    of the stretch before the measured one, and of that
    connect:                  bases of proxies; nodes are dealt to them in turn, see `bases_of`
    keys, identity:           folder of keys, and whose key all nodes show; None: none
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
    keys: str | None = None
    identity: str | None = None

    def filters_of(self, subscriber: int) -> tuple[str, ...]:
        """Return the filters of one subscriber, from 0. Each subscriber has a filter, each filter a subscriber."""
        own = self.filters[subscriber % len(self.filters) :: self.subscribers]
        return own or (self.filters[subscriber % len(self.filters)],)

    def bases_of(self, node: int) -> tuple[str, ...]:
        """Return the bases of one node: first its proxy, then the others, to which it moves when that one goes."""
        at = node % len(self.connect)
        return self.connect[at:] + self.connect[:at]


@dataclass(frozen=True)
class Stretch:
    """A stretch of a test. Times are monotonic, in ns.

    end_ns: what is due is due before it; the start, where that is not known before
    rate:   messages a second of all publishers together; None: as fast as they can
    """

    start_ns: int
    end_ns: int
    rate: float | None

    @property
    def slot_ns(self) -> int:
        """How long the slots are in which its figures are kept over time."""
        return int(slot_s((self.end_ns - self.start_ns) / 1e9) * 1e9)


@dataclass(frozen=True)
class Schedule(Stretch):
    """One stretch at one rate."""

    publishers: int

    def due_ns(self, publisher: int, k: int) -> int:
        """Return the intended time of a publisher's k-th message; publisher and k count from 0."""
        assert self.rate is not None
        return self.start_ns + int((k * self.publishers + publisher) * 1e9 / self.rate)

    def due(self, publisher: int, now_ns: int) -> int:
        """Return how many messages of this publisher are due by now; all are due before `end_ns`."""
        assert self.rate is not None
        first = self.due_ns(publisher, 0)
        count = max(0, int((min(now_ns, self.end_ns - 1) - first) * self.rate / 1e9 / self.publishers) + 1)
        while count and self.due_ns(publisher, count - 1) > min(now_ns, self.end_ns - 1):
            count -= 1
        return count

    def scheduled(self, publisher: int) -> int:
        """Return how many messages this publisher is to send in all."""
        return self.due(publisher, self.end_ns)


def slot_s(seconds: float) -> float:
    """Return into slots of how many seconds a time is divided, so that there are MAX_SLOTS at most."""
    return next((each for each in SLOTS_S if seconds <= MAX_SLOTS * each), SLOTS_S[-1])


def topic_names(pattern: str, count: int) -> tuple[str, ...]:
    """Return `count` topics: the pattern with numbers of equal length from 0 in the place of `{n}`.

    errors: ValueError for a pattern without `{n}` that must make several topics; InvalidTopic
    """
    if NUMBER not in pattern and count > 1:
        raise ValueError(expected("pattern", pattern, f"one with {NUMBER} in it, which makes {count} topics"))
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

    A topic that several prefixes let through counts for the first of them, since it arrives once.
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

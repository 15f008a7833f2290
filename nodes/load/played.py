"""A recording as the plan of a load test: topics, sizes and times; what its messages said is not sent again. Pure.

    recorded = gather(items)                       # all of it, in the process that starts the others
    plan = Played(recorded.share(publisher, publishers), start_ns, speed=2.0)
    plan.due_ns(k)                                 # the intended time of this publisher's k-th message

A topic belongs to one publisher, so that its messages stay in order.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import msgpack  # type: ignore[import-untyped]

from fabric.errors import TopicError
from fabric.topics import validate_topic
from fabric.wire import PACKING_ERRORS
from nodes.load.schedule import STAMP_BYTES
from nodes.recording.lines import Entry, Item
from nodes.recording.timing import Intended

PREFIX = "load/"
"""In front of every topic: who subscribes to the living ones gets nothing of the test."""
MAX_MESSAGES = 5_000_000
"""16 bytes each, in every process."""


@dataclass(frozen=True)
class Share:
    """The messages of one publisher in their order.

    topics:  each once
    at_ns:   for each message when, in ns since the first of the recording
    which:   for each message the index of its topic
    sizes:   for each message the bytes of its payload, STAMP_BYTES at least
    """

    topics: tuple[str, ...]
    at_ns: array[int]
    which: array[int]
    sizes: array[int]


@dataclass(frozen=True)
class Recorded:
    """What a load test needs of a recording.

    whole:    all messages, as one publisher would send them; at least one. Topics begin with PREFIX, sizes are packed
    skipped:  messages that cannot be published
    """

    whole: Share
    skipped: int

    @property
    def span_ns(self) -> int:
        """From the first message to the last."""
        return self.whole.at_ns[-1]

    @property
    def mean_bytes(self) -> int:
        """Of a payload."""
        return round(sum(self.whole.sizes) / len(self.whole.sizes))

    def rate(self, speed: float) -> float | None:
        """Return the messages a second on average; None when all are due at once."""
        return (len(self.whole.at_ns) - 1) * 1e9 * speed / self.span_ns if self.span_ns else None

    def share(self, publisher: int, publishers: int) -> Share:
        """Return the messages of one publisher, from 0: those of every so many-th topic."""
        whole = self.whole
        own = [k for k, topic in enumerate(whole.which) if topic % publishers == publisher]
        return Share(
            whole.topics[publisher::publishers],
            array("q", [whole.at_ns[k] for k in own]),
            array("L", [whole.which[k] // publishers for k in own]),
            array("L", [whole.sizes[k] for k in own]),
        )


class Played:
    """When the messages of one publisher are due, at a speed. Times are monotonic, in ns."""

    def __init__(self, share: Share, start_ns: int, speed: float) -> None:
        self._at_ns, self._start_ns, self._speed = share.at_ns, start_ns, speed

    def due_ns(self, k: int) -> int:
        """Return the intended time of the k-th message, from 0."""
        return self._start_ns + int(self._at_ns[k] / self._speed)

    def due(self, now_ns: int) -> int:
        """Return how many messages are due by now."""
        count = bisect_right(self._at_ns, (now_ns - self._start_ns) * self._speed)
        while count and self.due_ns(count - 1) > now_ns:  # rounding
            count -= 1
        return count


def gather(items: Iterable[Item]) -> Recorded:
    """Return what a recording holds. Errors: ValueError when it holds no message, or more than MAX_MESSAGES."""
    times, topics = Intended(), dict[str, int]()
    at_ns, which, sizes = array("q"), array("L"), array("L")
    first_ns = skipped = 0
    for item in items:
        if not isinstance(item, Entry):
            continue
        topic, size = PREFIX + item.message.topic, _size(item)
        if size is None or not (topic in topics or _is_valid(topic)):
            skipped += 1
            continue
        time_ns = times.time_ns(item)
        first_ns = first_ns or time_ns
        at_ns.append(max(0, time_ns - first_ns))
        which.append(topics.setdefault(topic, len(topics)))
        sizes.append(size)
        if len(sizes) > MAX_MESSAGES:
            raise ValueError(f"the recording holds more than the {MAX_MESSAGES:,} messages that a load test takes")
    if not at_ns:
        raise ValueError("the recording holds no message")
    return Recorded(Share(tuple(topics), at_ns, which, sizes), skipped)


def _is_valid(topic: str) -> bool:
    try:
        validate_topic(topic)
    except TopicError:
        return False
    return True


def _size(item: Entry) -> int | None:
    """Return the bytes of the payload, packed; None when it cannot be sent."""
    try:
        return max(STAMP_BYTES, len(msgpack.packb(item.message.payload)))
    except PACKING_ERRORS:
        return None

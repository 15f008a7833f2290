"""The books of a load test: for every subscriber and publisher, due = delivered + lost + in flight. Pure.

A subscriber keeps `Books` by number: every message and every reported loss of a topic and publisher must follow right
after the one before. `turn` opens a new page: from there on only what follows is counted. `judge` compares a page with
what the publishers have counted in the same span.

    due        published on topics that the subscriber's filters match
    delivered  handed to the callback, once and in order; some of it was lost on the way, and repaired
    lost       reported by `on_gap`: lost for good
    in_flight  still on its way when the test stopped waiting: only where messages were still arriving
    missing    due, and none of these three. The books do not balance.
    surplus    delivered or reported lost, but never published. The books do not balance.
    wrong      delivered twice or out of order. The books do not balance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

Published = Mapping[int, Mapping[str, int]]
"""publisher -> topic -> how many were published."""


class Account(NamedTuple):
    """What one subscriber has entered for one publisher and topic.

    delivered, lost: since the page was turned
    last:            the last number entered; 0 before the first
    wrong:           entries that did not follow right after the one before, from the beginning
    """

    delivered: int
    lost: int
    last: int
    wrong: int


class Books:
    """The books of one subscriber. `take` is called for every message.

    publishers: the ids of those that count; what others send does not belong to this test
    """

    def __init__(self, publishers: Iterable[int]) -> None:
        self._books: dict[int, dict[str, list[int]]] = {publisher: {} for publisher in publishers}
        """publisher -> topic -> the fields of an `Account`, in a list that `take` and `gap` change in place."""
        self.delivered = self.lost = 0
        """The sums of these since the page was turned, over all publishers and topics."""

    def turn(self) -> None:
        """Count delivered and lost from here on. What was entered before still says which number comes next."""
        for topics in self._books.values():
            for book in topics.values():
                book[0] = book[1] = 0
        self.delivered = self.lost = 0

    def take(self, publisher: int, topic: str, number: int) -> bool:
        """Enter one message. False: its publisher does not count."""
        topics = self._books.get(publisher)
        if topics is None:
            return False
        book = topics.get(topic)
        if book is None:
            book = topics[topic] = [0, 0, 0, 0]
        if number != book[2] + 1:
            book[3] += 1
        book[0] += 1
        book[2] = number
        self.delivered += 1
        return True

    def gap(self, publisher: int, topic: str, first: int, last: int) -> bool:
        """Enter a reported loss of the numbers `first` to `last`. False: its publisher does not count."""
        topics = self._books.get(publisher)
        if topics is None:
            return False
        book = topics.setdefault(topic, [0, 0, 0, 0])
        if first != book[2] + 1:
            book[3] += 1
        book[1] += last - first + 1
        book[2] = last
        self.lost += last - first + 1
        return True

    @property
    def told(self) -> int:
        """Messages delivered or reported lost since the page was turned, over all publishers and topics."""
        return self.delivered + self.lost

    def accounts(self) -> dict[int, dict[str, Account]]:
        return {
            publisher: {topic: Account(*book) for topic, book in list(topics.items())}
            for publisher, topics in self._books.items()
        }


@dataclass(frozen=True)
class Line:
    """One subscriber and one publisher, over all topics; the words are those of the module."""

    subscriber: int
    publisher: int
    due: int
    delivered: int
    lost: int
    in_flight: int
    missing: int
    surplus: int
    wrong: int

    @property
    def balances(self) -> bool:
        return not (self.missing or self.surplus or self.wrong)


def judge(
    subscriber: int,
    wanted: Collection[str],
    published: Published,
    told: Mapping[int, Mapping[str, Account]],
    still_busy: bool,
) -> list[Line]:
    """Return a line for each publisher, in the order of `published`.

    wanted:      the topics that the subscriber's filters match
    told:        its books; a topic on which nothing arrived may be missing
    still_busy:  messages were still arriving there when the test stopped waiting
    """
    none = Account(0, 0, 0, 0)
    lines = []
    for index, (publisher, counts) in enumerate(published.items()):
        accounts = told.get(publisher, {})
        due = delivered = lost = open_ = surplus = wrong = 0
        for topic in {topic for topic in counts if topic in wanted} | accounts.keys():
            count = counts.get(topic, 0) if topic in wanted else 0
            account = accounts.get(topic, none)
            due += count
            delivered += account.delivered
            lost += account.lost
            wrong += account.wrong
            difference = count - account.delivered - account.lost
            open_ += max(0, difference)
            surplus += max(0, -difference)
        in_flight = open_ if still_busy else 0
        lines.append(Line(subscriber, index, due, delivered, lost, in_flight, open_ - in_flight, surplus, wrong))
    return lines


def due_to(wanted: Collection[str], published: Published) -> int:
    """Return how many messages are due to a subscriber of these topics, from all publishers."""
    return sum(count for counts in published.values() for topic, count in counts.items() if topic in wanted)


def between(before: Published, after: Published) -> dict[int, dict[str, int]]:
    """Return what was published from one count to a later one."""
    return {
        publisher: {
            topic: now - before.get(publisher, {}).get(topic, 0)
            for topic, now in counts.items()
            if now > before.get(publisher, {}).get(topic, 0)
        }
        for publisher, counts in after.items()
    }


def words(line: Line) -> str:
    """Return in words what does not balance."""
    wrongs = [
        f"{count:,} {what}"
        for count, what in (
            (line.missing, "neither delivered nor reported lost"),
            (line.surplus, "delivered or reported lost but never published"),
            (line.wrong, "twice or out of order"),
        )
        if count
    ]
    return (
        f"subscriber {line.subscriber}, publisher {line.publisher}: {line.due:,} due, {line.delivered:,} delivered, "
        f"{line.lost:,} reported lost, {line.in_flight:,} in flight: {', '.join(wrongs)}"
    )

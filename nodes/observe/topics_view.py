"""Which topics carry traffic, at what rate, and who published last: what `fabric topics` shows. Pure.

Publishers number the messages of each topic. They are asked twice for these numbers, and the difference is the traffic;
nobody subscribes to anything for it. Call `begin` whenever they are asked, and feed `hear` every answer to the question
"topics", see `fabric.protocol.questions`: rates are between the last two answers of a publisher, by its own clock.
Answers come from peers: anything else is passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fabric.protocol.questions import MAX_TOPIC_CHARS, MAX_TOPICS_TOLD

COLUMNS = ("TOPIC", "MSG/s", "MESSAGES", "PUBLISHERS", "LAST PUBLISHER")
NUMERIC = COLUMNS[1:4]
MAX_COUNTED = 200_000
"""Pairs of publisher and topic that are remembered, 0.5 kB each; beyond, new ones are passed over, and counted."""
MAX_NUMBER = 2**63


class Page(NamedTuple):
    """Where a publisher's answer was broken off: `start` is the place to go on from."""

    publisher: int
    proxy: str
    start: int


@dataclass
class _Count:
    """What one publisher has said of one topic.

    number, at_s: its last number, and when that was, by the publisher's clock
    rate:         messages a second between the last two answers; None before the second
    ago_s:        how long before `at_s` it last published, at most; None: longer than it knows
    """

    number: int
    at_s: float
    rate: float | None = None
    ago_s: float | None = None


@dataclass
class _Publisher:
    """A publisher, and its node.

    counts:    by topic, what it has said
    pass_:     in which pass it answered last
    at_s:      when that was, by its clock
    is_whole:  in that pass it has told the last of its topics
    before_s:  when it answered in the pass before, if it told all of its topics then: a topic that is new since began
               later. None: it has not
    """

    name: str
    proxy: str
    pass_: int
    counts: dict[str, _Count] = field(default_factory=dict)
    at_s: float = 0.0
    is_whole: bool = False
    before_s: float | None = None


@dataclass(frozen=True)
class Topic:
    """One topic, of all its publishers together.

    rate:       messages a second; None while each publisher has answered once
    messages:   since each publisher began
    last:       name of who published last, as far as that can be told: to a quarter of a second, for about 2 s
    last_proxy: its proxy
    """

    topic: str
    rate: float | None
    messages: int
    publishers: int
    last: str
    last_proxy: str


class TopicsView:
    """The answers so far."""

    def __init__(self) -> None:
        self._publishers: dict[int, _Publisher] = {}
        """By publisher id, which is new with each run of a node. `hear` adds."""
        self._counted = 0
        """Pairs of publisher and topic in it, at most `MAX_COUNTED`."""
        self._pass = 0
        """How often publishers were asked. Only `begin` adds to it."""
        self.passed_over = 0
        """Topics that found no room. It only grows."""

    def begin(self) -> None:
        """All are about to be asked once more. Those that did not answer the last time are forgotten."""
        for ident in [each for each, publisher in self._publishers.items() if publisher.pass_ < self._pass]:
            self._counted -= len(self._publishers.pop(ident).counts)
        self._pass += 1

    def hear(self, answer: Mapping[str, Any]) -> Page | None:
        """Take an answer. Return where to ask on when it was broken off."""
        name, proxy, publisher = answer.get("node"), answer.get("proxy"), answer.get("publisher")
        at_s, told, start = answer.get("at"), answer.get("topics"), answer.get("next")
        if answer.get("answer") != "topics" or not (isinstance(name, str) and isinstance(proxy, str)):
            return None
        if not (isinstance(at_s, float) and isinstance(told, list) and type(publisher) is int and type(start) is int):
            return None
        found = self._publishers.setdefault(publisher, _Publisher(name, proxy, self._pass))
        found.proxy = proxy
        if found.pass_ != self._pass:
            found.before_s = found.at_s if found.is_whole else None
            found.pass_, found.is_whole = self._pass, False
        found.at_s, found.is_whole = at_s, found.is_whole or start < 0
        for each in told[:MAX_TOPICS_TOLD]:
            self._hear_of(found, each, at_s)
        return Page(publisher, proxy, start) if start > 0 else None

    def topics(self) -> list[Topic]:
        """Return all topics: the busiest first, then by name."""
        by_topic: dict[str, list[tuple[_Publisher, _Count]]] = {}
        for publisher in self._publishers.values():
            for topic, count in publisher.counts.items():
                by_topic.setdefault(topic, []).append((publisher, count))
        found = [_topic(topic, counts) for topic, counts in by_topic.items()]
        return sorted(found, key=lambda each: (-(each.rate or 0.0), each.topic))

    def busy(self) -> list[Topic]:
        """Return those that carry traffic."""
        return [each for each in self.topics() if each.rate]

    def _hear_of(self, publisher: _Publisher, told: object, at_s: float) -> None:
        if not (isinstance(told, list) and len(told) == 3 and isinstance(told[0], str)):
            return
        topic, number, ago_s = told[0][:MAX_TOPIC_CHARS], told[1], told[2]
        if type(number) is not int or not 0 < number < MAX_NUMBER or not (ago_s is None or isinstance(ago_s, float)):
            return
        old = publisher.counts.get(topic)
        if old is None:
            if self._counted >= MAX_COUNTED:
                self.passed_over += 1
                return
            self._counted += 1
            since_s = publisher.before_s
            began = number / (at_s - since_s) if since_s is not None and at_s > since_s else None
            publisher.counts[topic] = _Count(number, at_s, began, ago_s)
        elif at_s > old.at_s:
            old.rate = max(0, number - old.number) / (at_s - old.at_s)
            old.number, old.at_s, old.ago_s = number, at_s, ago_s


def rows(topics: list[Topic]) -> list[tuple[str, ...]]:
    """Return a row for each, in the order of COLUMNS."""
    return [
        (each.topic, rate(each.rate), f"{each.messages:,}", f"{each.publishers:,}", each.last or "-") for each in topics
    ]


def rate(a_second: float | None) -> str:
    """Return a rate in three digits that mean something: `0.5`, `12.3`, `1,234`; `-` for None."""
    if a_second is None:
        return "-"
    return f"{a_second:,.0f}" if a_second >= 100 or not a_second else f"{a_second:.3g}"


def as_json(topics: list[Topic]) -> list[dict[str, Any]]:
    return [
        {
            "topic": each.topic,
            "rate": None if each.rate is None else round(each.rate, 3),
            "messages": each.messages,
            "publishers": each.publishers,
            "last_publisher": each.last or None,
            "proxy": each.last_proxy or None,
        }
        for each in topics
    ]


def _topic(topic: str, counts: list[tuple[_Publisher, _Count]]) -> Topic:
    rates = [count.rate for _, count in counts if count.rate is not None]
    lately = [each for each in counts if each[1].ago_s is not None] or (counts if len(counts) == 1 else [])
    # Who is as late as another published last if it publishes more.
    last = min(lately, key=lambda each: (each[1].ago_s or 0.0, -(each[1].rate or 0.0)), default=None)
    return Topic(
        topic,
        sum(rates) if rates else None,
        sum(count.number for _, count in counts),
        len(counts),
        last[0].name if last else "",
        last[0].proxy if last else "",
    )

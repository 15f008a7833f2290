"""Questions that an operator asks of proxies and nodes, and what they answer. Pure.

    to a proxy           `markers.question_topic`    {ask: "ping", id, reply_to}
    to a proxy's nodes   `$fabric/proxy/<its id>/ask`  {ask, id, reply_to, topic, one_in, tell_one_in, start, publisher}
                         ask: "why" a topic reaches a node or not; "stats", of the run `topic` alone, if that is given;
                         "subscribers", who holds a filter that covers the filter `topic`; "topics", what was published
                         of those that the filter `topic` matches, from place `start` on, by `publisher` alone, if that
                         is not 0;
                         "page", where its program serves its status page
    a trace              any topic, header `trace`   {ask: "trace", id, reply_to}; who gets it answers
    an answer            reply_to, an inbox          {answer: what was asked, id, node or proxy, …}

Nobody subscribes to anything for this: a proxy hears what is addressed to its incarnation, a node hears its proxy's
announcements. A node that has nothing to say answers only if it is one of the sample that the question wants.

What is never told: filters under `~/`; and filters that begin with `~` or `$` unless they match the topic asked for,
which the operator knows already.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2b
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple

from fabric.errors import TopicError
from fabric.protocol.inboxes import is_inbox
from fabric.protocol.markers import ANNOUNCE
from fabric.topics import (
    RESERVED,
    agreement,
    covers,
    matches,
    scope,
    subscription_prefixes,
    validate_filter,
    validate_topic,
)

EVENT = "$fabric/event/"
"""Then a proxy's name, and the event: what a proxy says that has happened. Payload: a flat map with `event`, `proxy`
and what belongs to it; `untold`: how many events found no room before this one."""
ASKS = ("ping", "why", "stats", "page", "subscribers", "topics", "trace")
MAX_ID_BYTES = 64
MAX_TOLD = 3
"""Filters in one answer."""
MAX_LOOKED_AT = 10_000
"""Filters of a node that are looked at for the nearest, 2 us each, in the thread that receives."""
MAX_FILTER_CHARS = 200
"""Longer ones are cut in answers."""
MAX_TOPICS_LOOKED_AT = 20_000
"""Topics of a publisher that are looked at for one answer, in the thread that receives."""
MAX_TOPIC_CHARS = 500
MAX_TOPICS_TOLD = 1_000
"""Topics in one answer."""
MAX_PINGS_A_SECOND = 2_000
MAX_QUESTIONS_A_SECOND = 20
"""That a proxy, and a node, answers; beyond, they are passed over."""


class Question(NamedTuple):
    """`one_in`: of nodes with nothing to say, one in so many answers; `tell_one_in`: of the others."""

    ask: str
    id: bytes
    reply_to: str
    topic: str = ""
    one_in: int = 1
    tell_one_in: int = 1
    start: int = 0
    publisher: int = 0

    def to_map(self) -> dict[str, Any]:
        return self._asdict()


def read_question(payload: object) -> Question | None:
    """Read what a peer sent; None when it is no question. Input from a peer never raises."""
    if not isinstance(payload, dict) or payload.get("ask") not in ASKS:
        return None
    ident, reply_to, topic = payload.get("id"), payload.get("reply_to"), payload.get("topic", "")
    one_in, tell_one_in = payload.get("one_in", 1), payload.get("tell_one_in", 1)
    if not (isinstance(ident, bytes) and len(ident) <= MAX_ID_BYTES and is_inbox(reply_to)):
        return None
    if not all(type(each) is int and each > 0 for each in (one_in, tell_one_in)):
        return None
    if payload["ask"] == "why" and not _may_be_asked(topic, validate_topic):
        return None
    if payload["ask"] == "stats" and not isinstance(topic, str):
        return None
    if payload["ask"] in ("subscribers", "topics") and not _may_be_asked(topic, validate_filter):
        return None
    if payload["ask"] == "topics" and scope(topic) != "":
        return None
    start, publisher = payload.get("start", 0), payload.get("publisher", 0)
    if not all(type(each) is int and 0 <= each < 2**64 for each in (start, publisher)):
        return None
    return Question(payload["ask"], ident, str(reply_to), topic, one_in, tell_one_in, start, publisher)


def is_question(payload: object) -> bool:
    """Whether this calls itself one: an announcement never does."""
    return isinstance(payload, dict) and "ask" in payload


def trace_headers(ident: bytes, reply_to: str) -> dict[str, Any]:
    """Headers of a trace. A tail tells receivers of any version that there is no message to handle."""
    return {"tail": True, "trace": {"ask": "trace", "id": ident, "reply_to": reply_to}}


def is_asked(question: Question, token: str, has_news: bool) -> bool:
    """Whether the node of this token is one of those that the question wants to hear of."""
    one_in = question.tell_one_in if has_news else question.one_in
    return zlib.crc32(token.encode() + question.id) % one_in == 0


def why(
    topic: str, matching: Iterable[str], held: Iterable[str], is_denied: Callable[[str], object] = lambda each: False
) -> dict[str, Any]:
    """Return a node's answer: the filters that match the topic, and, when there are none, the nearest that do not.

    matching, held: filters of the node: those that match, and all
    is_denied:      whether a filter may not be held; those that match are told apart, under `denied`
    """
    told = [each for each in dict.fromkeys(matching) if scope(each) != "local"]
    matches = [each for each in told if not is_denied(each)]
    denied = {"denied": _cut([each for each in told if each not in matches])} if len(matches) < len(told) else {}
    near: list[str] = []
    if not told:
        others = (each for each in held if not each.startswith(RESERVED))
        looked_at = islice(others, MAX_LOOKED_AT)
        near = nsmallest(MAX_TOLD, looked_at, key=lambda each: (-agreement(each, topic), len(each)))
    return {"matches": _cut(matches), "near": _cut(near), **denied}


def holds(topic_filter: str, acknowledged: Iterable[str]) -> bool:
    """Whether one of these filters alone matches every topic that `topic_filter` matches.

    cost: 0.1 us for each filter without wildcards, which only covers itself, and 5 us for each other
    """
    return any(
        each == topic_filter or (("+" in each or "#" in each) and covers(each, topic_filter)) for each in acknowledged
    )


def topics(
    topic_filter: str,
    counted: Sequence[tuple[bytes, int]],
    start: int,
    ago_s: Callable[[bytes], float | None],
    now: float,
) -> dict[str, Any]:
    """Return a node's answer: what it has published of the topics that a filter matches.

    counted: its topics from place `start` on, as they stand on the wire, and their last numbers; `MAX_TOPICS_LOOKED_AT`
             are looked at
    ago_s:   returns how many seconds ago the last message of a topic was, at most; None: longer than is known
    now:     by the clock of this node, monotonic
    returns: `topics`: lists of topic, last number and seconds, at most `MAX_TOPICS_TOLD`, the topics no longer than
             `MAX_TOPIC_CHARS` each; `next`: the place to go on from, -1 when these were the last; `at`: `now`
    cost:    0.1 us for each that the filter's beginning leaves out, and 3 us for each other
    """
    beginnings = subscription_prefixes(topic_filter)
    told: list[list[Any]] = []
    looked_at = 0
    for raw, number in counted[:MAX_TOPICS_LOOKED_AT]:
        looked_at += 1
        if not raw.startswith(beginnings) or raw[:1] in (b"$", b"~"):
            continue
        topic = raw[:-1].decode()
        if matches(topic_filter, topic):
            told.append([topic[:MAX_TOPIC_CHARS], number, ago_s(raw)])
            if len(told) == MAX_TOPICS_TOLD:
                break
    return {"topics": told, "next": start + looked_at if looked_at < len(counted) else -1, "at": now}


def run_of(token: str) -> str:
    """Return a short name for one run of a node, by which nobody can address it: 16 hexadecimal digits."""
    return blake2b(token.encode(), digest_size=8, person=b"fabric-run").hexdigest()


def nodes_topic(proxy: str) -> str:
    """Return where the nodes of a proxy are asked. They hear it beside what the proxy says of itself, one level up."""
    return f"{ANNOUNCE}{proxy}/ask"


class Budget:
    """So many a second, and no more."""

    def __init__(self, a_second: int) -> None:
        self._a_second = self._left = a_second
        """How many each second; and how many are left of this one, below 0 when more came."""
        self._second = 0.0
        """When this second began, monotonic."""

    def take(self, now: float) -> bool:
        """now: monotonic, in seconds."""
        if now - self._second >= 1.0:
            self._second, self._left = now, self._a_second
        self._left -= 1
        return self._left >= 0


def figures(stats: Mapping[str, Any]) -> dict[str, Any]:
    """What a node tells of its `stats()` when it is asked for them."""
    names = (
        "received", "published", "over_delivered", "gaps", "lost", "unconfirmed", "subscriptions", "waits", "denied",
    )  # fmt: skip
    return {**{name: stats[name] for name in names}, "refused": sum(stats["refused"].values())}


def _cut(filters: list[str]) -> list[str]:
    return [each[:MAX_FILTER_CHARS] for each in filters[:MAX_TOLD]]


def _may_be_asked(topic: object, validate: Callable[[str], object]) -> bool:
    if not isinstance(topic, str):
        return False
    try:
        validate(topic)
        return scope(topic) != "local"
    except TopicError:
        return False

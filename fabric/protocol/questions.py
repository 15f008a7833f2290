"""Questions that an operator asks of proxies and nodes, and what they answer. Pure.

    to a proxy           `markers.question_topic`    {ask: "ping", id, reply_to}
    to a proxy's nodes   `$fabric/proxy/<its id>/ask`  {ask, id, reply_to, topic, one_in, tell_one_in}
                                                     with `ask` "why", "stats" or "page"
    a trace              any topic, header `trace`   {ask: "trace", id, reply_to}; who gets it answers
    an answer            reply_to, an inbox          {answer: what was asked, id, node or proxy, …}

Nobody subscribes to anything for this: a proxy hears what is addressed to its incarnation, a node hears its proxy's
announcements. A node that has nothing to say answers only if it is one of the sample that the question wants.

What is never told: filters under `~/`; and filters that begin with `~` or `$` unless they match the topic asked for,
which the operator knows already.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from itertools import islice
from typing import Any, NamedTuple

from fabric.errors import TopicError
from fabric.protocol.inboxes import is_inbox
from fabric.protocol.markers import ANNOUNCE
from fabric.topics import RESERVED, agreement, scope, validate_topic

MAX_ID_BYTES = 64
MAX_TOLD = 3
"""Filters in one answer."""
MAX_LOOKED_AT = 10_000
"""Filters of a node that are looked at for the nearest, 2 us each, in the thread that receives."""
MAX_FILTER_CHARS = 200
"""Longer ones are cut in answers."""
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

    def to_map(self) -> dict[str, Any]:
        return self._asdict()


def read_question(payload: object) -> Question | None:
    """Read what a peer sent; None when it is no question. Input from a peer never raises."""
    if not isinstance(payload, dict) or payload.get("ask") not in ("ping", "why", "stats", "page", "trace"):
        return None
    ident, reply_to, topic = payload.get("id"), payload.get("reply_to"), payload.get("topic", "")
    one_in, tell_one_in = payload.get("one_in", 1), payload.get("tell_one_in", 1)
    if not (isinstance(ident, bytes) and len(ident) <= MAX_ID_BYTES and is_inbox(reply_to)):
        return None
    if not all(type(each) is int and each > 0 for each in (one_in, tell_one_in)):
        return None
    if payload["ask"] == "why" and not _may_be_asked(topic):
        return None
    return Question(payload["ask"], ident, str(reply_to), topic, one_in, tell_one_in)


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


def _may_be_asked(topic: object) -> bool:
    if not isinstance(topic, str):
        return False
    try:
        validate_topic(topic)
        return scope(topic) != "local"
    except TopicError:
        return False

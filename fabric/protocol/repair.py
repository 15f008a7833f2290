"""How a node asks a publisher for messages that it lost, and gets them. Pure.

ask     `$repair/<publisher>/<token>/<topic>`: the publisher's id as 16 hexadecimal digits, the asker's token, and the
        topic of what is missing, as it is. Payload {id, ranges: [[first, last], …]}. So a proxy with keys sees who asks
        for what: it lets through who may subscribe to the topic, and whose token it is (`fabric.rights`)
answer  `$ack/<token>/p`, sent by the publisher under its id. Payload {id, topic, parts: [bin, …], missing:
        [[first, last, reason], …], done}: the parts as they were sent, in order; what it does not have; and whether
        this was all

Both have the number 1: they are neither counted nor sent again. Who got no answer asks once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from fabric.errors import InvalidTopic
from fabric.topics import valid_name, validate_topic

REPAIR = "$repair/"
RAW_REPAIR = REPAIR.encode()
_PUBLISHER_CHARS = 16
MAX_RANGES = 64
MAX_ASKED = 1_000
"""Of one ask: ranges, and numbers in them."""
MAX_NUMBER = 2**63

Ranges = tuple[tuple[int, int], ...]
"""(first, last) each, in order, not overlapping."""


class Ask(NamedTuple):
    """ident: of this ask, chosen by who asks"""

    publisher: int
    token: str
    topic: str
    ident: int
    ranges: Ranges


class Answer(NamedTuple):
    """missing: (first, last, reason) each, in order, not overlapping. At most `MAX_ASKED` of them, and of parts"""

    ident: int
    topic: str
    parts: tuple[bytes, ...]
    missing: tuple[tuple[int, int, str], ...]
    done: bool


def asks_filter(publisher: int) -> str:
    """Return the filter that brings what a publisher is asked for: one prefix, `$repair/<publisher>/`."""
    return f"{REPAIR}{publisher:016x}/+/#"


def ask_topic(publisher: int, token: str, topic: str) -> str | None:
    """Return where a publisher is asked; None where the topic is so long, or so deep, that it cannot be."""
    found = f"{REPAIR}{publisher:016x}/{token}/{topic}"
    try:
        validate_topic(found)
    except InvalidTopic:
        return None
    return found


def split_ask(raw: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Return publisher, token and topic in the topic of an ask, in bytes; None for any other topic. Never raises."""
    if not raw.startswith(RAW_REPAIR):
        return None
    levels = raw.split(b"/", 3)
    if len(levels) < 4 or len(levels[1]) != _PUBLISHER_CHARS or not levels[2] or not levels[3]:
        return None
    return levels[1], levels[2], levels[3]


def ask_payload(ident: int, ranges: Iterable[tuple[int, int]]) -> dict[str, Any]:
    return {"id": ident, "ranges": [list(each) for each in ranges]}


def read_ask(raw: bytes, payload: object) -> Ask | None:
    """Read an ask; None for anything else. raw: its topic, as UTF-8. Input from a peer never raises."""
    split = split_ask(raw)
    if split is None or not isinstance(payload, dict):
        return None
    ident, ranges = payload.get("id"), payload.get("ranges")
    if type(ident) is not int or not isinstance(ranges, list) or not 1 <= len(ranges) <= MAX_RANGES:
        return None
    if not (all(isinstance(each, list) and len(each) == 2 for each in ranges) and _are_in_order(ranges)):
        return None
    found = tuple((first, last) for first, last in ranges)
    if size_of(found) > MAX_ASKED:
        return None
    try:
        publisher = int(split[0], 16)
        token, topic = split[1].decode(), split[2].decode()
    except ValueError:
        return None
    return Ask(publisher, token, topic, ident, found) if valid_name(token) else None


def answer_payload(answer: Answer) -> dict[str, Any]:
    missing = [list(each) for each in answer.missing]
    return {
        "id": answer.ident,
        "topic": answer.topic,
        "parts": list(answer.parts),
        "missing": missing,
        "done": answer.done,
    }


def read_answer(payload: object) -> Answer | None:
    """Read the payload of an answer; None for anything else. Input from a peer never raises."""
    if not isinstance(payload, dict):
        return None
    ident, topic, parts = payload.get("id"), payload.get("topic"), payload.get("parts")
    missing, done = payload.get("missing"), payload.get("done")
    if not (type(ident) is int and isinstance(topic, str) and isinstance(parts, list) and isinstance(missing, list)):
        return None
    if type(done) is not bool or not all(isinstance(part, bytes) for part in parts):
        return None
    if len(parts) > MAX_ASKED or len(missing) > MAX_ASKED:
        return None
    if not all(isinstance(each, list) and len(each) == 3 and isinstance(each[2], str) for each in missing):
        return None
    if not _are_in_order(missing):
        return None
    return Answer(ident, topic, tuple(parts), tuple((each[0], each[1], each[2]) for each in missing), done)


def size_of(ranges: Ranges) -> int:
    """Return how many numbers there are in these ranges."""
    return sum(last - first + 1 for first, last in ranges)


def missing_of(answer: Answer, asked: Ranges) -> Iterator[tuple[int, int, str]]:
    """Yield what is missing by this answer, of what was asked for: an answer says nothing of other numbers."""
    for first, last, reason in answer.missing:
        for start, end in asked:
            if start <= last and first <= end:
                yield max(first, start), min(last, end), reason


def _are_in_order(ranges: list[list[Any]]) -> bool:
    """Whether each begins with two numbers, the first and the last, above those of the one before."""
    before = 0
    for first, last, *_ in ranges:
        if not (type(first) is int and type(last) is int and before < first <= last <= MAX_NUMBER):
            return False
        before = last
    return True

"""What readers of histories and keepers say to each other. Pure.

A keeper serves `keeper`, or another name that it was given; with `--share 1/2` it serves `keeper-1of2`, too, which is
its own share. The one operation is `history`:

request  {"filter": str, "age_ns": int or nil, "last": int or nil, "limit": int, "after": cursor or nil}
answer   {"after": cursor, "done": bool, "share": [k, n], "filters": [str, …], "messages": [kept, …],
         "holes": [hole, …]}
kept     [topic, publisher, number, sent_ns, payload as msgpack, headers as msgpack or nil]
hole     [topic, publisher, first, last, reason]
cursor   [store, place, upto]: which store, behind which of its rows, and where its end was at the first request
filters  what this keeper keeps

`after` of an answer is where the next request goes on, also when this one came to the end (`done`): what is written
later comes then. With `after` nothing else of the question may change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard, TypeVar

import msgpack  # type: ignore[import-untyped]

from fabric.errors import InvalidFilter, InvalidTopic, RemoteWireError, expected
from fabric.headers import RESERVED
from fabric.payloads import MAX_NESTING, flaw
from fabric.topics import validate_filter, validate_topic
from fabric.wire import NO_HEADERS, PACKING_ERRORS, U64_MAX, Message

KEEPER = "keeper"
"""The name under which keepers serve that were given no other."""
HISTORY = "history"
PAGE_MSGS = 1_000
"""Messages on a page, at most."""
PAGE_BYTES = 256 * 1024
"""Payloads, headers and topics on a page; one message alone may be larger."""
MAX_SHARES = 1_000
MAX_REASON_CHARS = 100
MAX_AGE_NS = 2**62
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SINCE = "seconds (10.0, '90s', '10m', '24h', '7d'), or how many last messages of each topic (100)"

T = TypeVar("T")
Cursor = tuple[str, int, int]
Since = float | int | str | None
"""From when on, in seconds before now (a float, or a str such as `10m`), or how many last messages of each topic (an
int, or a str of digits); None: all that is kept."""


class Hole(NamedTuple):
    """Messages `first` to `last` of one publisher on one topic that the keeper never got, and why."""

    topic: str
    publisher: int
    first: int
    last: int
    reason: str


@dataclass(frozen=True)
class Question:
    """What of a history is wanted.

    age_ns: only what was written within so long before the request; None: of any age
    last:   only so many last messages of each topic; None: all
    limit:  messages on the answer's page, at most
    after:  the cursor of the answer before; None: from the beginning
    """

    topic_filter: str
    age_ns: int | None = None
    last: int | None = None
    limit: int = PAGE_MSGS
    after: Cursor | None = None

    def to_map(self) -> dict[str, Any]:
        after = None if self.after is None else list(self.after)
        return {
            "filter": self.topic_filter,
            "age_ns": self.age_ns,
            "last": self.last,
            "limit": self.limit,
            "after": after,
        }


class Kept(NamedTuple):
    """One message as it is kept. payload, headers: msgpack."""

    topic: str
    publisher: int
    number: int
    sent_ns: int
    payload: bytes
    headers: bytes | None


@dataclass(frozen=True)
class Page:
    """One answer, see above."""

    messages: tuple[Message, ...]
    holes: tuple[Hole, ...]
    after: Cursor
    done: bool
    share: tuple[int, int]
    filters: tuple[str, ...]


def parse_since(since: Since) -> tuple[int | None, int | None]:
    """Return (age_ns, last), of which at most one is not None. Errors: ValueError"""
    if since is None:
        return None, None
    if isinstance(since, str):
        timed = _TIME.fullmatch(since)
        if timed is not None:
            since = float(timed[1]) * _UNITS[timed[2]]
        elif since.isascii() and since.isdigit():
            since = int(since)
    if type(since) is int and 0 < since <= U64_MAX // 2:
        return None, since
    if type(since) is float and 0 < since * 1e9 <= MAX_AGE_NS:
        return int(since * 1e9), None
    raise ValueError(expected("since", since, _SINCE))


def refuse_both(retained: bool, since: Since) -> None:
    """Raise ValueError when a subscription asks for retained values and for a history, whose order would be two."""
    if retained and since is not None:
        raise ValueError(expected("since", since, "None with retained=True: a history holds the last values, too"))


def seconds_of(text: str) -> float:
    """Return the seconds that `90s`, `10m`, `24h` or `7d` means. Errors: ValueError"""
    timed = _TIME.fullmatch(text)
    if timed is None or not float(timed[1]):
        raise ValueError(expected("time", text, "a number with s, m, h or d behind it: 90s, 10m, 24h, 7d"))
    return float(timed[1]) * _UNITS[timed[2]]


def share_name(name: str, share: tuple[int, int]) -> str:
    """Return the service of one share: `keeper-1of2`; the name alone where there is one share only."""
    return name if share[1] == 1 else f"{name}-{share[0]}of{share[1]}"


def question_from(body: object) -> Question:
    """Read a request. Errors: ValueError with what is wrong"""
    if not isinstance(body, dict):
        raise ValueError(expected("question", body, "a map with filter, age_ns, last, limit and after"))
    topic_filter, age_ns, last, limit = (body.get(each) for each in ("filter", "age_ns", "last", "limit"))
    if not isinstance(topic_filter, str):
        raise InvalidFilter(expected("filter", topic_filter, "a str"))
    validate_filter(topic_filter)
    if not (age_ns is None or (type(age_ns) is int and 0 < age_ns <= MAX_AGE_NS)):
        raise ValueError(expected("age_ns", age_ns, f"nil, or an int from 1 to {MAX_AGE_NS}"))
    if not (last is None or (type(last) is int and 0 < last < 2**63)):
        raise ValueError(expected("last", last, "nil, or an int of at least 1"))
    if type(limit) is not int or limit < 1:
        raise ValueError(expected("limit", limit, "an int of at least 1"))
    after = body.get("after")
    cursor = None if after is None else _cursor(after)
    if after is not None and cursor is None:
        raise ValueError(expected("after", after, "nil, or what an answer had there"))
    return Question(topic_filter, age_ns, last, min(limit, PAGE_MSGS), cursor)


def page_to_map(
    messages: Sequence[Kept],
    holes: Sequence[Hole],
    after: Cursor,
    done: bool,
    *,
    share: tuple[int, int] = (1, 1),
    filters: Sequence[str] = (),
) -> dict[str, Any]:
    return {
        "filters": list(filters),
        "messages": [list(each) for each in messages],
        "holes": [list(each) for each in holes],
        "after": list(after),
        "done": done,
        "share": list(share),
    }


def page_from(body: object) -> Page:
    """Read an answer. Errors: RemoteWireError for anything else: what a keeper says is not trusted"""
    told: dict[str, Any] = body if isinstance(body, dict) else {}
    after, share, filters = _cursor(told.get("after")), _share(told.get("share")), _filters(told.get("filters"))
    messages, holes = _each(_message, told.get("messages")), _each(_hole, told.get("holes"))
    done = told.get("done")
    if (
        after
        and share
        and filters is not None
        and isinstance(done, bool)
        and messages is not None
        and holes is not None
    ):
        return Page(messages, holes, after, done, share, filters)
    raise RemoteWireError(
        "invalid page of a history: expected messages, holes, after, done, share, filters", "bad_body"
    )


def _each(read: Callable[[object], T | None], values: object) -> tuple[T, ...] | None:
    """Return what each of a list is; None when one of them is nothing."""
    if not isinstance(values, list):
        return None
    found = [read(each) for each in values]
    return None if None in found else tuple(each for each in found if each is not None)


def _filters(value: object) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    try:
        for each in value:
            validate_filter(each)
    except InvalidFilter:
        return None
    return tuple(value)


def pack(value: Any) -> bytes:
    """Return a payload, or headers, as msgpack."""
    packed: bytes = msgpack.packb(value)
    return packed


def unpack(packed: bytes) -> Any:
    """Return what `pack` was given."""
    return msgpack.unpackb(packed)


def headers_of(headers: Mapping[str, Any]) -> bytes | None:
    """Return headers as they are kept: without the fabric's own, about the way; None where there are no others."""
    plain = {key: value for key, value in headers.items() if key not in RESERVED}
    return pack(plain) if plain else None


def _message(kept: object) -> Message | None:
    if not (isinstance(kept, list) and len(kept) == 6):
        return None
    topic, publisher, number, sent_ns, payload, headers = kept
    if not (_is_topic(topic) and _are_from(0, publisher, sent_ns) and _are_from(1, number)):
        return None
    if not isinstance(payload, bytes) or not (headers is None or isinstance(headers, bytes)):
        return None
    try:
        read = msgpack.unpackb(payload)
        read_headers = NO_HEADERS if headers is None else MappingProxyType(msgpack.unpackb(headers))
    except (*PACKING_ERRORS, msgpack.UnpackException):
        return None
    if flaw(read, len(payload), MAX_NESTING) or flaw(dict(read_headers), 2**31, MAX_NESTING):
        return None
    return Message(topic, read, publisher, number, sent_ns, read_headers)


def _hole(value: object) -> Hole | None:
    if not (isinstance(value, list) and len(value) == 5):
        return None
    topic, publisher, first, last, reason = value
    if not (_is_topic(topic) and isinstance(reason, str) and len(reason) <= MAX_REASON_CHARS):
        return None
    if not (_are_from(0, publisher) and _are_from(1, first, last) and first <= last):
        return None
    return Hole(topic, publisher, first, last, reason)


def _is_topic(value: object) -> TypeGuard[str]:
    try:
        validate_topic(value)  # type: ignore[arg-type]
    except InvalidTopic:
        return False
    return True


def _are_from(least: int, *values: object) -> bool:
    """Whether these are ints of the wire, `least` at least: what it allows a keeper may have got from anybody."""
    return all(type(each) is int and least <= each <= U64_MAX for each in values)


def _cursor(value: object) -> Cursor | None:
    if not (isinstance(value, list | tuple) and len(value) == 3):
        return None
    store, place, upto = value
    if not isinstance(store, str) or not all(type(each) is int and 0 <= each < 2**63 for each in (place, upto)):
        return None
    return store, place, upto


def _share(value: object) -> tuple[int, int] | None:
    if not (isinstance(value, list) and len(value) == 2 and all(type(each) is int for each in value)):
        return None
    which, of = value
    return (which, of) if 1 <= which <= of <= MAX_SHARES else None

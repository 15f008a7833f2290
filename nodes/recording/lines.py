"""A recording as lines of JSON: its form, written and read. Pure.

    {"format": "fabric recording", "version": 1, "recorded_ns": "…", "filters": ["a/#"]}           the first line
    {"topic": "a/b", "payload": 1, "publisher": "…", "number": 7, "sent_ns": "…", "received_ns": "…"}
    {"gap": {"topic": "a/b", "publisher": "…", "first": 8, "last": 9, "lost": 2, "reason": "…", "received_ns": "…"}}
    {"end": {"messages": 1, "lost": 2, "received_ns": "…"}}                                        the last line

A message is what `fabric sub --json` prints, with `received_ns` behind it; its headers, if it has any, are `headers`.
Times are ns since 1970, on the publisher's clock (`sent_ns`) or the recorder's. Ints that may need 64 bits are strings.
Only `topic` and `payload` have to be there, so that what `fabric sub --json` printed is read as well.

A line that cannot be read becomes a `Damaged`, and never ends the reading. The last line without its newline is what a
recorder leaves that was killed: a `CutOff`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from fabric.errors import LocalWireError, expected
from fabric.node.gaps import Gap
from fabric.payloads import dumps, from_json
from fabric.wire import NO_HEADERS, U64_MAX, Message, message_to_json

FORMAT = "fabric recording"
VERSION = 1
MAX_LINE_BYTES = 64 * 1024 * 1024
"""A payload of 8 MiB may need 48 MiB as JSON: six bytes for each control character."""


class Head(NamedTuple):
    """The first line. `recorded_ns`: when the recording began, on the recorder's clock."""

    recorded_ns: int
    filters: tuple[str, ...]


class Entry(NamedTuple):
    """One message. `line`: where it stands, from 1. `received_ns`: on the recorder's clock, 0 when it is not known.

    Of `message`, publisher, number and sent_ns are 0 where the line does not hold them.
    """

    line: int
    message: Message
    received_ns: int


class Loss(NamedTuple):
    """Messages `first` to `last` that the recorder did not get, or for which it had no room.

    lost:   how many of these numbers; where the recorder had no room, others in between may be told apart
    reason: why, "" when that is not known
    line:   where it stands, from 1; 0 while it is in no file
    """

    topic: str
    publisher: int
    first: int
    last: int
    lost: int
    reason: str = ""
    line: int = 0


def loss_of(gap: Gap) -> Loss:
    """Return a gap that a node has told as a loss."""
    return Loss(gap.topic, gap.publisher, gap.first, gap.last, gap.lost, gap.reason)


class End(NamedTuple):
    """The last line: the recorder ended as it was asked to, and wrote so many messages and losses."""

    messages: int
    lost: int


class Damaged(NamedTuple):
    """A line that cannot be read, and why."""

    line: int
    why: str


class CutOff(NamedTuple):
    """The last line, of which a part is missing."""

    line: int


Item = Head | Entry | Loss | End | Damaged | CutOff


class OtherVersion(ValueError):
    """The first line tells of a version that is not read here."""


# ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def head_line(recorded_ns: int, filters: tuple[str, ...]) -> str:
    """Return the first line; no line ends in a newline here."""
    head = {"format": FORMAT, "version": VERSION, "recorded_ns": str(recorded_ns), "filters": list(filters)}
    return dumps(head)


def message_line(message: Message, received_ns: int) -> str:
    return dumps({**message_to_json(message), "received_ns": str(received_ns)})


def gap_line(loss: Loss, received_ns: int) -> str:
    fields = {"topic": loss.topic, "publisher": str(loss.publisher), "first": loss.first, "last": loss.last}
    return dumps({"gap": {**fields, "lost": loss.lost, "reason": loss.reason, "received_ns": str(received_ns)}})


def end_line(messages: int, lost: int, received_ns: int) -> str:
    return dumps({"end": {"messages": messages, "lost": lost, "received_ns": str(received_ns)}})


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def read(readline: Callable[[int], bytes]) -> Iterator[Item]:
    """Yield what the lines hold, in their order; empty lines are passed over.

    readline: of a binary file: returns at most so many bytes, up to a newline
    errors:   OtherVersion when a first line of another version is met
    """
    number = 0
    while raw := readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            whole = _pass_over(raw, readline)
            yield Damaged(number, f"longer than {MAX_LINE_BYTES:,} bytes") if whole else CutOff(number)
        elif raw.strip():
            item = item_of(raw, number)
            yield CutOff(number) if isinstance(item, Damaged) and not raw.endswith(b"\n") else item


def _pass_over(raw: bytes, readline: Callable[[int], bytes]) -> bool:
    """Read up to the end of a line; return whether its newline was there."""
    while raw and not raw.endswith(b"\n"):
        raw = readline(MAX_LINE_BYTES)
    return bool(raw)


def item_of(raw: bytes, number: int) -> Item:
    """Return what one line holds. Errors: OtherVersion."""
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
        return _item(value, number)
    except OtherVersion:
        raise
    except RecursionError:
        return Damaged(number, "nested too deeply")
    except (ValueError, LocalWireError) as error:
        return Damaged(number, str(error))


def _item(value: Any, number: int) -> Item:
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if "topic" in value:
        return _entry(value, number)
    if "gap" in value:
        gap = _Fields(value["gap"])
        first, last = gap.whole("first"), gap.whole("last")
        if not 1 <= first <= last:
            raise ValueError(expected("gap", f"{first} to {last}", "numbers from 1 on, the first not above the last"))
        lost, reason = gap.whole("lost"), gap.text("reason", "")
        return Loss(gap.text("topic"), gap.whole("publisher"), first, last, lost, reason, number)
    if "end" in value:
        end = _Fields(value["end"])
        return End(end.whole("messages"), end.whole("lost"))
    if value.get("format") == FORMAT:
        return _head(value)
    raise ValueError('it has none of "topic", "gap", "end" and "format"')


def _head(value: dict[str, Any]) -> Head:
    if value.get("version") != VERSION:
        raise OtherVersion(expected("version of the recording", value.get("version"), str(VERSION)))
    filters = value.get("filters")
    if not isinstance(filters, list) or not all(isinstance(each, str) for each in filters):
        raise ValueError(expected('"filters"', filters, "a list of strings"))
    return Head(_Fields(value).whole("recorded_ns"), tuple(filters))


def _entry(value: dict[str, Any], number: int) -> Entry:
    fields = _Fields(value)
    if "payload" not in value:
        raise ValueError('"payload" is missing')
    headers: Mapping[str, Any] = NO_HEADERS
    if "headers" in value:
        headers = from_json(value["headers"])
        if not isinstance(headers, dict):
            raise ValueError(expected('"headers"', headers, "an object"))
    publisher, its_number, sent_ns = (fields.whole(name, 0) for name in ("publisher", "number", "sent_ns"))
    message = Message(fields.text("topic"), from_json(value["payload"]), publisher, its_number, sent_ns, headers)
    return Entry(number, message, fields.whole("received_ns", 0))


class _Fields:
    """The fields of one object, checked as they are taken. Errors: ValueError."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(expected("line", value, "an object"))
        self._value = value

    def text(self, name: str, default: str | None = None) -> str:
        value = self._value.get(name, default)
        if not isinstance(value, str):
            raise ValueError(expected(f'"{name}"', value, "a string"))
        return value

    def whole(self, name: str, default: int | None = None) -> int:
        """Return an int of 64 bits, which may be written as a string; `default` where the field is missing."""
        value = self._value.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 20:
            value = int(value)
        if type(value) is not int or not 0 <= value <= U64_MAX:
            raise ValueError(expected(f'"{name}"', value, f"a whole number from 0 to {U64_MAX}"))
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")

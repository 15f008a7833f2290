"""What `fabric sub` shows of messages, and when it has seen enough: templates, conditions, rates.

    {topic}  {payload}  {payload.temp}  {payload.list.0}  {sent}  {sent_ns}  {publisher}  {number}  {headers.x}

A field is a name and a path into what it holds: keys of maps, and places in lists from 0. Nothing else can be reached.
"""

from __future__ import annotations

import operator
import re
import string
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from fabric.errors import LocalWireError, expected
from fabric.payloads import dumps, to_json
from fabric.wire import Message
from nodes.cli.exits import plain
from nodes.cli.ingest import payload_of

MISSING = object()
"""Stands for a field that a message does not have."""
MISSING_TEXT = "-"
REPORT_S = 1.0
MAX_TOPICS = 100_000
"""Topics of one second that are told apart; beyond, they are not counted any more."""
_ESCAPES = {r"\t": "\t", r"\n": "\n", r"\\": "\\"}
_CONDITION = re.compile(r"\s*(?P<field>[^\s=!<>]+)\s*(?:(?P<sign>==|=|!=|<=|>=|<|>)\s*(?P<value>.*\S)\s*)?", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge,
}  # fmt: skip


def rfc3339(ns: int) -> str:
    """Return a time as text, UTC, to the millisecond: such texts compare as their times. ns: since 1970"""
    try:
        at = datetime.fromtimestamp(ns // 1_000_000 / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # a publisher's clock may say anything
        return str(ns)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"


_FIELDS: dict[str, Callable[[Message], Any]] = {
    "topic": lambda message: message.topic,
    "payload": lambda message: message.payload,
    "sent": lambda message: rfc3339(message.sent_ns),
    "sent_ns": lambda message: message.sent_ns,
    "publisher": lambda message: message.publisher,
    "number": lambda message: message.number,
    "headers": lambda message: message.headers,
    "retained": lambda message: "retained" if "retained" in message.headers else MISSING,
}
_WITH_PATH = ("payload", "headers")


class Field:
    """One field of messages: `payload.temp`. errors: ValueError for what is none"""

    def __init__(self, text: str) -> None:
        name, *self._path = text.split(".")
        if name not in _FIELDS or (self._path and name not in _WITH_PATH) or "" in self._path:
            raise ValueError(expected("field", text, f"one of {', '.join(_FIELDS)}; payload.KEY, headers.KEY"))
        self._get = _FIELDS[name]

    def of(self, message: Message) -> Any:
        """Return what a message holds there, or MISSING."""
        value = self._get(message)
        for key in self._path:
            if isinstance(value, list):
                value = value[int(key)] if key.isdecimal() and int(key) < len(value) else MISSING
            elif isinstance(value, Mapping):
                value = value.get(key, MISSING)
            else:
                return MISSING
        return value


class Output:
    r"""A template of lines: text with fields in braces; `{{` and `}}` are braces, and `\t`, `\n` and `\\` as in C.

    Text is shown as it is, but for control characters, which are written out: no message breaks a line or drives a
    terminal. Any other value is shown as JSON, and a field that a message does not have as `-`.
    errors: ValueError for a template that cannot be read
    """

    def __init__(self, template: str) -> None:
        self._pieces: list[tuple[str, Field | None]] = []
        try:
            for literal, name, form, conversion in string.Formatter().parse(template):
                if form or conversion or name == "":
                    raise ValueError("a field's name alone belongs between braces")
                text = re.sub(r"\\[tn\\]", lambda found: _ESCAPES[found[0]], literal)
                self._pieces.append((text, None if name is None else Field(name)))
        except ValueError as error:
            raise ValueError(expected("template", template, f"text like '{{topic}} {{payload}}' ({error})")) from None

    def line(self, message: Message) -> str:
        return "".join(text if field is None else text + text_of(field.of(message)) for text, field in self._pieces)


def text_of(value: Any) -> str:
    """Return a field's value as a line shows it."""
    if value is MISSING:
        return MISSING_TEXT
    if isinstance(value, str):
        return plain(value)
    return dumps(to_json(dict(value) if isinstance(value, Mapping) else value))


class Until:
    """A condition: `payload.done`, which is there and neither null nor false; or compared: `payload.temp>=90`.

    What it is compared with is read as JSON, and is text where it is not JSON. Numbers are compared with numbers, and
    text with text; a field that is missing, or of another kind, meets no condition.
    errors: ValueError for one that cannot be read
    """

    def __init__(self, text: str) -> None:
        found = _CONDITION.fullmatch(text)
        if found is None:
            raise ValueError(expected("condition", text, "FIELD, or FIELD and one of = != < <= > >= and a value"))
        self._field, self._sign = Field(found["field"]), found["sign"]
        try:
            self._value = payload_of(found["value"]) if self._sign else None
        except LocalWireError as error:
            raise ValueError(expected("condition", text, f"a value that can be read ({error})")) from None

    def is_met(self, message: Message) -> bool:
        value = self._field.of(message)
        if value is MISSING:
            return False
        if self._sign is None:
            return value is not None and value is not False
        if _kind(value) is not _kind(self._value):
            return False
        try:
            return _SIGNS[self._sign](value, self._value)
        except TypeError:  # neither map nor null comes before another
            return False


def _kind(value: Any) -> type:
    return float if type(value) in (int, float) else type(value)


class Rates:
    """How many messages come, told each second.

    as_json: as a JSON object, not in words
    now:     monotonic, in seconds
    """

    def __init__(self, now: float, *, as_json: bool) -> None:
        self._as_json, self._since = as_json, now
        """`_since`: when this second began."""
        self._messages = self._total = 0
        """In this second, and in all."""
        self._topics: set[str] = set()
        """Of this second, at most MAX_TOPICS."""

    def take(self, message: Message) -> None:
        self._messages += 1
        self._total += 1
        if len(self._topics) < MAX_TOPICS:
            self._topics.add(message.topic)

    def due(self, now: float, at_ns: int, *, last: bool = False) -> list[str]:
        """Return the line for this second when it is over, or `last`, and begin the next one. at_ns: since 1970"""
        seconds = now - self._since
        if seconds < REPORT_S and not (last and self._messages):
            return []
        rate, at, seconds = self._messages / max(seconds, 1e-6), rfc3339(at_ns), round(seconds, 3)
        topics = len(self._topics)
        fields = {"at": at, "seconds": seconds, "messages": self._messages, "topics": topics, "total": self._total}
        words = f"{at}  {rate:,.0f}/s  {topics:,} topics  {self._total:,} in all"
        self._since, self._messages = now, 0
        self._topics.clear()
        return [dumps({**fields, "rate": round(rate, 3)}) if self._as_json else words]

"""From lines of text to messages: lines of JSON, or CSV with templates. Pure.

    {"topic": "truck/0001/temperature", "payload": 21.5}              one message a line
    --topic 'flight/{carrier}/{tailnum}/dep_delay' --payload '{dep_delay}'      one message a row of CSV

Every line becomes one `Outgoing`, `Skipped` or `Refused`; a bad line never ends the replay.
"""

from __future__ import annotations

import csv
import json
import re
import string
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, NoReturn

from fabric.errors import LocalWireError, expected
from fabric.payloads import from_json

NOT_KNOWN = ("", "NA")
"""How CSV files, those of R among them, write that a value is not known."""
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")  # JSON's numbers: `007` stays text
_NOT_IN_A_LEVEL = re.compile(r"[/+#\0]")


class Outgoing(NamedTuple):
    """A message to be sent; `line` is where it stood, from 1."""

    line: int
    topic: str
    payload: Any


class Skipped(NamedTuple):
    """A row without a value that its topic needs."""

    line: int


class Refused(NamedTuple):
    """A line that is not a message, and why."""

    line: int
    why: str
    upto: int = 0
    """The last one, where it is a span of lines: within quotes that are not closed in time, say. 0: `line`."""

    @property
    def lines(self) -> int:
        return max(self.upto - self.line, 0) + 1


Item = Outgoing | Skipped | Refused


def payload_of(text: str) -> Any:
    """Return what `text` says as JSON (`{"$bin": …}` is bytes), or `text` itself when it is not JSON.

    errors: LocalWireError for a `$bin`, `$float` or `$map` that cannot be read
    """
    try:
        value = _parse(text)
    except ValueError:
        return text
    return from_json(value)


def json_of(text: str) -> Any:
    """Return what `text` says as JSON. errors: ValueError where it is not JSON; LocalWireError as for `payload_of`"""
    try:
        value = _parse(text)
    except ValueError as error:
        raise ValueError(expected("payload", text, f"JSON ({error})")) from None
    return from_json(value)


def from_json_lines(lines: Iterable[str]) -> Iterator[Item]:
    """Read objects with `topic` and `payload`, one a line; other keys and empty lines are passed over."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = _parse(line)
            if not isinstance(value, dict) or not isinstance(value.get("topic"), str):
                raise ValueError('not an object with a "topic" that is a string')
            if "payload" not in value:
                raise ValueError('"payload" is missing (null sends nil)')
            item: Item = Outgoing(number, value["topic"], from_json(value["payload"]))
        except (ValueError, LocalWireError) as error:
            item = Refused(number, f'{error}; a line looks like {{"topic": "a/b", "payload": 1}}')
        yield item


def _parse(text: str) -> Any:
    try:
        return _decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_decode = json.JSONDecoder(parse_constant=_refuse_constant).decode
"""Made once: `json.loads` makes one for each text, which costs more than to read a short one."""


class Template:
    """Text with columns in braces: `flight/{carrier}/{tailnum}`; `{{` and `}}` stand for single braces."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._pieces: list[tuple[str, str | None]] = []
        try:
            for literal, column, form, conversion in string.Formatter().parse(text):
                if column == "" or form or conversion:
                    raise ValueError("a column's name alone belongs between braces")
                self._pieces.append((literal, column))
        except ValueError as error:
            raise ValueError(expected("template", text, f"text like 'flight/{{carrier}}' ({error})")) from None
        self.columns = tuple(column for _, column in self._pieces if column is not None)

    @property
    def is_one_column(self) -> bool:
        """True when it is one column and nothing else."""
        return len(self._pieces) == 1 and self._pieces[0][0] == "" and bool(self.columns)

    def fill(self, row: dict[str, str]) -> str:
        return "".join(literal + (row[column] if column is not None else "") for literal, column in self._pieces)


def from_csv(
    lines: Iterable[str], topic: Template, payload: Template | None, *, strict_json: bool = False
) -> Iterator[Item]:
    """Read rows under a header line.

    topic:   a row in which one of its columns is empty or `NA` is skipped; a value with / + # or NUL is refused
    payload: one column: numbers become numbers, empty and `NA` become nil; more than that: text;
             None: the whole row as a map, each column as said
    strict_json: what `payload` makes of a row is read as JSON, and refused where it is not JSON
    errors:  ValueError when there is no header line, one that cannot be read, or names a column twice, or when a
             template names a column that it does not have
    """
    # Strict: else a quote that stands by itself takes all that follows, up to the next one, for one field.
    reader = csv.reader(lines, strict=True)
    try:
        header = next(reader, None)
    except csv.Error as error:
        raise ValueError(f"the first line is not CSV: {error}") from None
    if not header:
        raise ValueError("no header line: expected the names of the columns in the first line")
    twice = next((column for place, column in enumerate(header) if column in header[:place]), None)
    if twice is not None:
        raise ValueError(expected("header line", twice, "each column's name once"))
    for template in (topic, payload):
        for column in template.columns if template else ():
            if column not in header:
                raise ValueError(expected("column", column, f"one of {', '.join(header)}"))
    return _rows(reader, header, topic, payload, strict_json)


def _rows(
    reader: Any, header: list[str], topic: Template, payload: Template | None, strict_json: bool
) -> Iterator[Item]:
    while True:
        first = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            span = reader.line_num > first
            hint = "; is a quote not closed, or not doubled, in the first of them?" if span else ""
            yield Refused(first, f"not CSV: {error}{hint}", reader.line_num if span else 0)
            continue
        if not values:
            continue
        if len(values) != len(header):
            yield Refused(reader.line_num, f"{len(values)} fields: expected {len(header)}")
            continue
        yield _row(reader.line_num, dict(zip(header, values, strict=True)), topic, payload, strict_json)


def _row(line: int, row: dict[str, str], topic: Template, payload: Template | None, strict_json: bool) -> Item:
    for column in topic.columns:
        if row[column] in NOT_KNOWN:
            return Skipped(line)
        if _NOT_IN_A_LEVEL.search(row[column]):
            return Refused(line, expected(column, row[column], "a level of a topic, without / + # and NUL"))
    if payload is None:
        return Outgoing(line, topic.fill(row), {column: value_of(text) for column, text in row.items()})
    filled = payload.fill(row)
    if strict_json:
        try:
            return Outgoing(line, topic.fill(row), json_of(filled))
        except (ValueError, LocalWireError) as error:
            return Refused(line, str(error))
    return Outgoing(line, topic.fill(row), value_of(filled) if payload.is_one_column else filled)


def value_of(text: str) -> Any:
    """Return a field's value: a number when it is written as one, nil when it is not known, else the text."""
    if text in NOT_KNOWN:
        return None
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if text.lstrip("-").isdigit() else float(text)

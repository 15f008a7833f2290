"""Lines of JSON and rows of CSV become messages, or are refused with a reason; nothing ends a replay half-way."""

from __future__ import annotations

import csv
import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import LocalWireError
from nodes.cli.ingest import Outgoing, Refused, Skipped, Template, from_csv, from_json_lines, payload_of, value_of
from tests.support.processes import ROOT

FLIGHTS = ROOT / "nodes/demo/data/nyc_flights_2013_01.csv.gz"


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("21.5", 21.5),
        ("-5", -5),
        ("true", True),
        ("null", None),
        ('"a"', "a"),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ('{"$bin": "AAE="}', b"\x00\x01"),
        ("hello", "hello"),
        ("", ""),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("007", "007"),
        ("[1", "[1"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_payload_is_json_or_else_text(text: str, payload: Any) -> None:
    assert payload_of(text) == payload


def test_a_mark_that_holds_nonsense_is_an_error_not_text() -> None:
    with pytest.raises(LocalWireError, match="base64"):
        payload_of('{"$bin": "?"}')


def test_lines_of_json() -> None:
    lines = [
        '{"topic": "a/b", "payload": 1}\n',
        "\n",
        '{"topic": "a/b", "payload": {"$bin": "AAE="}, "number": 7}\n',
        '{"topic": "a/b", "payload": null}',
    ]
    assert list(from_json_lines(lines)) == [
        Outgoing(1, "a/b", 1),
        Outgoing(3, "a/b", b"\x00\x01"),
        Outgoing(4, "a/b", None),
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("nonsense", "Expecting value"),
        ('{"topic": 5, "payload": 1}', '"topic" that is a string'),
        ('["a/b", 1]', '"topic" that is a string'),
        ('{"topic": "a/b"}', '"payload" is missing'),
        ('{"topic": "a/b", "payload": NaN}', "NaN is not JSON"),
        ('{"topic": "a/b", "payload": ' + "[" * 100_000, "nested too deeply"),
        ('{"topic": "a/b", "payload": {"$bin": 5}}', "base64"),
    ],
)
def test_a_bad_line_is_refused_with_its_number_and_the_next_is_read(line: str, why: str) -> None:
    refused, good = from_json_lines([line, '{"topic": "a", "payload": 0}'])
    assert isinstance(refused, Refused) and refused.line == 1
    assert why in refused.why and 'a line looks like {"topic"' in refused.why
    assert good == Outgoing(2, "a", 0)


def rows(text: str, topic: str = "t/{a}", payload: str | None = "{b}") -> list[Any]:
    return list(from_csv(text.splitlines(True), Template(topic), Template(payload) if payload is not None else None))


def test_rows_of_csv() -> None:
    assert rows("a,b\nx,1\ny,-2.5\nz,NA\nw,\nv,text\n") == [
        Outgoing(2, "t/x", 1),
        Outgoing(3, "t/y", -2.5),
        Outgoing(4, "t/z", None),
        Outgoing(5, "t/w", None),
        Outgoing(6, "t/v", "text"),
    ]


def test_a_row_whose_topic_lacks_a_value_is_skipped() -> None:
    assert rows("a,b\nNA,1\n,2\nx,3\n") == [Skipped(2), Skipped(3), Outgoing(4, "t/x", 3)]


def test_a_value_that_would_change_the_topics_levels_is_refused() -> None:
    found = rows("a,b\nx/y,1\n+,2\n#,3\nx,4\n")
    assert [type(item) for item in found] == [Refused, Refused, Refused, Outgoing]
    assert found[0].why == "invalid a 'x/y': expected a level of a topic, without / + # and NUL"


def test_a_row_of_another_length_is_refused() -> None:
    assert rows("a,b\nx\nx,1,2\ny,1\n") == [
        Refused(2, "1 fields: expected 2"),
        Refused(3, "3 fields: expected 2"),
        Outgoing(4, "t/y", 1),
    ]


def test_a_field_beyond_the_csv_readers_limit_is_refused_and_the_next_row_read() -> None:
    found = rows(f"a,b\n{'x' * (csv.field_size_limit() + 1)},1\ny,2\n")
    assert isinstance(found[0], Refused) and "field larger than" in found[0].why
    assert found[-1] == Outgoing(3, "t/y", 2)


def test_a_quote_that_stands_by_itself_swallows_no_rows_uncounted() -> None:
    lines = ["a,b", *(f'x{n},"5 inch' if n in (3, 7) else f"x{n},ok" for n in range(1, 11))]
    found = rows("\n".join(lines) + "\n")
    assert [item for item in found if isinstance(item, Refused)] == [
        Refused(4, "not CSV: ',' expected after '\"'; is a quote not closed, or not doubled, in the first of them?", 8)
    ]
    assert [item.line for item in found if isinstance(item, Outgoing)] == [2, 3, 9, 10, 11]
    assert sum(item.lines if isinstance(item, Refused) else 1 for item in found) == 10, "each row is in one count"


def test_an_end_within_quotes_is_refused_with_all_lines_it_took() -> None:
    found = rows('a,b\nx,1\ny,"2\nz,3\n')
    assert found[0] == Outgoing(2, "t/x", 1)
    assert isinstance(found[1], Refused) and (found[1].line, found[1].lines) == (3, 2) and len(found) == 2


def test_text_behind_a_closing_quote_is_refused_on_its_line() -> None:
    found = rows('a,b\nx,"1"2\ny,3\n')
    assert isinstance(found[0], Refused) and (found[0].line, found[0].lines) == (2, 1)
    assert found[1:] == [Outgoing(3, "t/y", 3)]


@pytest.mark.parametrize("header", ["a,b,a", '"a'])
def test_a_header_line_with_a_column_twice_or_an_open_quote_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match=r"once|not CSV"):
        rows(f"{header}\nx,1,2\n")


def test_a_payload_of_more_than_one_column_is_text_and_none_is_the_row() -> None:
    assert rows("a,b\nx,1\n", payload="{a}={b}") == [Outgoing(2, "t/x", "x=1")]
    assert rows("a,b\nx,1\n", payload="7") == [Outgoing(2, "t/x", "7")]
    assert rows("a,b\nx,1\ny,NA\n", payload=None) == [
        Outgoing(2, "t/x", {"a": "x", "b": 1}),
        Outgoing(3, "t/y", {"a": "y", "b": None}),
    ]


@pytest.mark.parametrize(
    ("text", "topic", "why"),
    [
        ("", "t", "no header line"),
        ("a,b\n", "t/{c}", "invalid column 'c': expected one of a, b"),
        ("a,b\n", "t/{}", "a column's name alone belongs between braces"),
        ("a,b\n", "t/{a:>5}", "a column's name alone"),
        ("a,b\n", "t/{a!r}", "a column's name alone"),
        ("a,b\n", "t/{a", "invalid template"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_row(text: str, topic: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        from_csv(text.splitlines(True), Template(topic), None)


def test_double_braces_are_braces() -> None:
    template = Template("{{{a}}}")
    assert template.columns == ("a",) and not template.is_one_column
    assert template.fill({"a": "x"}) == "{x}"


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_written_as_json_come_back(number: float) -> None:
    assert value_of(json.dumps(number)) == number


@pytest.mark.parametrize("text", ["007", "1_000", "٣", "0x1f", "+5", ".5", "5.", "nan", "1e", " 1", "1\n"])
def test_what_is_no_number_in_json_stays_text(text: str) -> None:
    assert value_of(text) == text


def test_the_flights() -> None:
    with gzip.open(FLIGHTS, "rt", encoding="utf-8", newline="") as lines:
        items = list(from_csv(lines, Template("flight/{carrier}/{tailnum}/dep_delay"), Template("{dep_delay}")))
    with gzip.open(FLIGHTS, "rt", encoding="utf-8") as lines:
        plain = [line.rstrip("\n").split(",") for line in lines][1:]  # independent: this file has no quotes
    known = [row for row in plain if row[3] not in ("", "NA")]
    assert len(items) == len(plain) == 27_004
    assert sum(isinstance(item, Skipped) for item in items) == len(plain) - len(known)
    sent = [item for item in items if isinstance(item, Outgoing)]
    assert [item.topic for item in sent] == [f"flight/{row[1]}/{row[3]}/dep_delay" for row in known]
    assert sum(item.payload is None for item in sent) == sum(row[6] in ("", "NA") for row in known)
    assert sum(item.payload or 0 for item in sent) == sum(int(row[6]) for row in known if row[6] not in ("", "NA"))

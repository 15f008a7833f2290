"""Questions and pages of histories: what is read back is what was said, and nothing else is taken."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import RemoteWireError
from fabric.headers import RESERVED
from fabric.protocol.histories import (
    PAGE_MSGS,
    Hole,
    Kept,
    Question,
    headers_of,
    pack,
    page_from,
    page_to_map,
    parse_since,
    question_from,
    seconds_of,
    share_name,
)
from fabric.wire import NO_HEADERS, Message
from tests.support.payload_strategies import PAYLOADS

CURSOR = ("ab" * 16, 7, 9)
KEPT = Kept("a/b", 2**64 - 1, 3, 5, pack({"x": 1.5}), None)


@pytest.mark.parametrize(
    ("since", "found"),
    [
        (None, (None, None)), (10.0, (10 * 10**9, None)), (0.5, (5 * 10**8, None)), (10, (None, 10)),
        ("10m", (600 * 10**9, None)), ("1.5s", (15 * 10**8, None)), ("24h", (86400 * 10**9, None)),
        ("7d", (7 * 86400 * 10**9, None)), ("100", (None, 100)),
    ],
)  # fmt: skip
def test_since_is_a_time_or_a_number_of_messages(since: Any, found: tuple[int | None, int | None]) -> None:
    assert parse_since(since) == found


@pytest.mark.parametrize(
    "since", [0, -1, True, 0.0, -1.0, math.nan, math.inf, 1e300, "", "m", "0", "-3", "3 m", "٣", [], 2**70]
)
def test_no_other_since_is_taken(since: Any) -> None:
    with pytest.raises(ValueError, match=r"invalid since .* expected seconds"):
        parse_since(since)


def test_a_time_is_a_number_with_its_unit() -> None:
    assert [seconds_of(each) for each in ("90s", "10m", "24h", "0.5d")] == [90.0, 600.0, 86400.0, 43200.0]
    for wrong in ("10", "0s", "1y", "s", "-1s"):
        with pytest.raises(ValueError, match="expected a number with s, m, h or d behind it"):
            seconds_of(wrong)


def test_a_share_has_a_name_for_itself() -> None:
    assert (share_name("keeper", (1, 1)), share_name("k", (2, 3))) == ("keeper", "k-2of3")


@pytest.mark.parametrize(
    "question", [Question("a/#"), Question("#", 5, None, 3, CURSOR), Question("a", None, 2**62, PAGE_MSGS)]
)
def test_a_question_is_read_back(question: Question) -> None:
    assert question_from(question.to_map()) == question


def test_a_page_has_a_bound_whatever_is_asked() -> None:
    assert question_from(Question("a", limit=10**9).to_map()).limit == PAGE_MSGS


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filter", None), ("filter", "a/#/b"), ("age_ns", 0), ("age_ns", 1.5), ("age_ns", True), ("last", 0),
        ("last", 2**63), ("limit", 0), ("limit", None), ("after", []), ("after", ["s", -1, 0]), ("after", [1, 2, 3]),
        ("after", ["s", 0, 2**63]),
    ],
)  # fmt: skip
def test_no_other_question_is_taken(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"invalid (filter|age_ns|last|limit|after) "):
        question_from({**Question("a").to_map(), field: value})
    with pytest.raises(ValueError, match="invalid question"):
        question_from([value])


def a_page(**changes: Any) -> dict[str, Any]:
    page = page_to_map([KEPT], [Hole("a/b", 1, 4, 7, "too old")], CURSOR, False, share=(1, 2), filters=["a/#"])
    return {**page, **changes}


def test_a_page_is_read_back() -> None:
    page = page_from(a_page())
    assert page.messages == (Message("a/b", {"x": 1.5}, 2**64 - 1, 3, 5, NO_HEADERS),)
    assert page.holes == (Hole("a/b", 1, 4, 7, "too old"),)
    assert (page.after, page.done, page.share, page.filters) == (CURSOR, False, (1, 2), ("a/#",))


@given(PAYLOADS, st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=2))
def test_every_payload_and_every_header_comes_back(payload: Any, headers: dict[str, Any]) -> None:
    kept = Kept("t", 1, 1, 0, pack(payload), headers_of(headers))
    (message,) = page_from(page_to_map([kept], [], CURSOR, True)).messages
    assert pack(message.payload) == kept.payload
    assert dict(message.headers) == {key: value for key, value in headers.items() if key not in RESERVED}


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": None}, {"messages": [None]}, {"messages": [[1, 2]]},
        {"messages": [list(KEPT._replace(number=-1))]}, {"messages": [list(KEPT._replace(number=0))]},
        {"messages": [list(KEPT._replace(number=2**64))]}, {"messages": [list(KEPT._replace(publisher=2**64))]},
        {"messages": [list(KEPT._replace(sent_ns=2**64))]}, {"messages": [list(KEPT._replace(topic="a/+"))]},
        {"messages": [list(KEPT._replace(topic=""))]}, {"messages": [list(KEPT._replace(topic="a\0"))]},
        {"messages": [list(KEPT._replace(payload=b"\xc1"))]}, {"messages": [list(KEPT._replace(payload=b"\x01\x01"))]},
        {"messages": [list(KEPT._replace(headers=b"\x01"))]},
        {"messages": [list(KEPT._replace(payload=b"\x81\x01\x01"))]},
        {"holes": 1}, {"holes": [["t", 1, 5, 4, ""]]}, {"holes": [["t", 1, 0, 4, ""]]},
        {"holes": [["t", 1, 1, 2**64, ""]]}, {"holes": [["t", -1, 1, 4, ""]]}, {"holes": [["#", 1, 1, 4, ""]]},
        {"holes": [["t", 1, 1, 4, "x" * 101]]}, {"after": None}, {"done": None}, {"share": [3, 2]},
        {"share": [1]},         {"filters": ["#/a"]}, {"filters": None}, {"filters": [1]},
    ],
)  # fmt: skip
def test_no_other_page_is_taken(changes: dict[str, Any]) -> None:
    with pytest.raises(RemoteWireError, match="invalid page of a history"):
        page_from(a_page(**changes))
    nothing: Any
    for nothing in (None, [], "page"):
        with pytest.raises(RemoteWireError):
            page_from(nothing)


def test_headers_of_the_way_are_not_kept() -> None:
    assert headers_of({"moved": True}) is None and headers_of({}) is None
    assert headers_of({"a": 1, "retained": True}) == pack({"a": 1})

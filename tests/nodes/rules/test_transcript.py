"""The lines of one chat: numbered, bounded, once each, in order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.rules.transcript import MAX_BYTES, MAX_LINE_BYTES, MAX_LINES, ChatLine, Transcript, line_of, said


def line(n: int, text: str = "hi", ident: str = "") -> ChatLine:
    return ChatLine(n, "page", "visitor", text, ident or f"i{n}", 1.0)


def test_what_is_said_becomes_a_line() -> None:
    payload = {"from": "Ada", "text": "hi", "id": "x", "more": 1}
    assert said(payload, 3, "ada", 9.0) == ChatLine(3, "ada", "Ada", "hi", "x", 9.0)
    assert said({"text": "hi"}, 3, "page", 9.0) == ChatLine(3, "page", "", "hi", "n3", 9.0)
    assert said({"from": 5, "text": "hi", "id": "x" * 65}, 3, "page", 9.0) == ChatLine(3, "page", "", "hi", "n3", 9.0)


@pytest.mark.parametrize("payload", [None, "hi", {}, {"text": 5}, {"text": "x" * (MAX_LINE_BYTES + 1)}])
def test_what_is_no_line_is_none(payload: Any) -> None:
    assert said(payload, 1, "page", 0.0) is None


@pytest.mark.parametrize(
    "changes",
    [{"n": 0}, {"n": True}, {"n": 2**60}, {"by": "bob"}, {"at": "1"}, {"text": None}, {"id": ""}, {"id": None}],
)
def test_a_line_comes_over_the_wire_as_it_is_or_not_at_all(changes: Any) -> None:
    whole = ChatLine(3, "ada", "Ada", "hi ☺", "x", 9.5)
    assert line_of(whole.as_map(), "ada") == whole
    assert line_of(whole.as_map(), "bob") is None, "of another agent's chat"
    assert line_of({**whole.as_map(), **changes}, "ada") is None
    assert line_of([1], "ada") is None


def test_a_line_is_there_once() -> None:
    transcript = Transcript()
    assert transcript.add(line(1)) and not transcript.add(line(2, ident="i1"))
    assert transcript.lines == (line(1),) and transcript.find("i1") == line(1) and transcript.find("i2") is None


def test_it_is_bounded_in_lines_and_bytes_and_what_goes_is_counted() -> None:
    transcript = Transcript()
    for n in range(1, MAX_LINES + 31):
        transcript.add(line(n))
    assert (len(transcript), transcript.dropped, transcript.lines[0].n) == (MAX_LINES, 30, 31)
    large = Transcript()
    for n in range(1, 11):
        large.add(line(n, "ä" * (MAX_LINE_BYTES // 2 - 10)))
    assert large.size_bytes == sum(each.size_bytes for each in large.lines) <= MAX_BYTES
    assert (len(large), large.dropped, large.last) == (3, 7, 10)
    large.skip()
    assert large.dropped == 8


def test_lines_from_elsewhere_are_put_in_order_and_what_has_no_number_yet_is_last() -> None:
    transcript = Transcript()
    transcript.add(ChatLine(0, "ada", "Ada", "mine", "m", 5.0))
    transcript.add(line(4))
    transcript.add(ChatLine(0, "ada", "Ada", "late", "l", 6.0))
    mine = ChatLine(3, "ada", "Ada", "mine", "m", 5.0)
    assert transcript.merge([line(2), mine, line(4)], dropped=1) == [line(2)]
    assert [each.n for each in transcript.lines] == [2, 3, 4, 0] and transcript.dropped == 1
    assert transcript.merge([line(2), mine, line(4)], dropped=1) == []


@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), max_size=60), st.lists(st.integers(1, 40), max_size=40))
def test_however_lines_come_none_is_double_and_numbers_rise(heard: list[tuple[int, bool]], handed: list[int]) -> None:
    transcript = Transcript()
    for n, numbered in heard:
        transcript.add(line(n if numbered else 0, ident=f"i{n}"))
    transcript.merge([line(n) for n in sorted(set(handed))])
    idents = [each.ident for each in transcript.lines]
    numbers = [each.n for each in transcript.lines if each.n]
    assert len(set(idents)) == len(idents) and numbers == sorted(numbers)
    assert {f"i{n}" for n in handed} <= set(idents)
    assert transcript.size_bytes == sum(each.size_bytes for each in transcript.lines)

"""Contact codes: drawing, reading what people type, capacity, and what logs show."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.rules.contact_codes import CodeFormat, log_code
from nodes.rules.errors import UnknownContactCode

LETTERS = CodeFormat(length=5, alphabet="ABCDEFGHJKLMNPQRSTUVWXYZ")


def test_a_drawn_code_has_the_format_and_reads_as_itself() -> None:
    source = random.Random(1)
    for form in (CodeFormat(), LETTERS, CodeFormat(3, "xyz"), CodeFormat(4, "aA1")):
        for _ in range(200):
            code = form.draw(source)
            assert len(code) == form.length and set(code) <= set(form.alphabet)
            assert form.normalise(code) == code


def test_every_code_can_be_drawn_about_equally_often() -> None:
    form = CodeFormat(length=2, alphabet="0123456789")
    source = random.Random(2)
    drawn = Counter(form.draw(source) for _ in range(20_000))
    assert len(drawn) == form.space == 100
    assert min(drawn.values()) > 120 and max(drawn.values()) < 280  # 200 expected, about 5.6 deviations either way


@pytest.mark.parametrize(
    "typed",
    [
        "012345",
        " 012 345 ",
        "012-345",
        "0 1 2 3 4 5",
        "012\u2013345",
        "012\u00a0345",
        "\uff10\uff11\uff12345",
        "012345\n",
    ],
)
def test_what_people_type_is_read(typed: str) -> None:
    assert CodeFormat().normalise(typed) == "012345"


def test_case_is_ignored_where_the_alphabet_has_one_case() -> None:
    assert LETTERS.normalise("abc-de") == "ABCDE"
    assert CodeFormat(2, "abc").normalise("A B") == "ab"
    with pytest.raises(UnknownContactCode):
        CodeFormat(2, "aB").normalise("ab")


@pytest.mark.parametrize(
    "typed", ["", "01234", "0123456", "01234x", "١٢٣٤٥٦", " " * 500 + "012345", "\ud800" * 6, "0" * 10**6]
)
def test_what_cannot_be_a_code_is_refused_without_repeating_it(typed: str) -> None:
    with pytest.raises(UnknownContactCode, match="a contact code has 6 characters") as caught:
        CodeFormat().normalise(typed)
    assert not typed.strip() or typed.strip() not in str(caught.value)


@given(st.text())
def test_any_text_is_a_code_or_refused(typed: str) -> None:
    try:
        code = LETTERS.normalise(typed)
    except UnknownContactCode:
        return
    assert LETTERS.normalise(code) == code


def test_capacity_must_leave_half_of_the_codes_free() -> None:
    CodeFormat().check_capacity(500_000)
    with pytest.raises(ValueError, match="expected codes of length 7"):
        CodeFormat().check_capacity(500_001)
    with pytest.raises(ValueError, match="expected 1 or more"):
        CodeFormat().check_capacity(0)


@pytest.mark.parametrize(
    ("length", "alphabet"),
    [(0, "01"), (33, "01"), (6, ""), (6, "0"), (6, "00"), (6, "0 1"), (6, "0-1"), (6, "0\x001"), (6, "1\uff11")],
)
def test_a_format_that_cannot_work_is_refused(length: int, alphabet: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        CodeFormat(length, alphabet)


def test_a_log_shows_neither_the_code_nor_the_same_word_under_another_salt() -> None:
    first, second = log_code("012345", b"a" * 16), log_code("012345", b"b" * 16)
    assert first == log_code("012345", b"a" * 16) != second
    assert log_code("012346", b"a" * 16) != first
    assert "012345" not in first

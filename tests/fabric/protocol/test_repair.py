"""What a node asks a publisher for, and what that answers: written and read back, and whatever else is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.protocol.repair import (
    MAX_ASKED,
    MAX_RANGES,
    Answer,
    Ask,
    answer_payload,
    ask_payload,
    ask_topic,
    asks_filter,
    missing_of,
    read_answer,
    read_ask,
    split_ask,
)
from fabric.topics import matches, validate_topic
from tests.support.payload_strategies import PAYLOADS

PUBLISHER = 0xF00D


def test_what_is_asked_is_read_back_and_reaches_the_publisher_alone() -> None:
    topic = ask_topic(PUBLISHER, "0123-1", "truck/1//speed")
    assert topic == "$repair/000000000000f00d/0123-1/truck/1//speed"
    validate_topic(topic)
    assert matches(asks_filter(PUBLISHER), topic) and not matches(asks_filter(PUBLISHER + 1), topic)
    ask = read_ask(topic.encode(), ask_payload(7, [(2, 3), (9, 9)]))
    assert ask == Ask(PUBLISHER, "0123-1", "truck/1//speed", 7, ((2, 3), (9, 9)))


@pytest.mark.parametrize("topic", ["a" * 65_535, "/".join("a" * 200)])
def test_what_cannot_be_asked_for_is_known(topic: str) -> None:
    validate_topic(topic)
    assert ask_topic(PUBLISHER, "0123", topic) is None


@pytest.mark.parametrize(
    "ranges",
    [
        [],
        [[0, 1]],
        [[2, 1]],
        [[1, 2], [2, 3]],
        [[5, 6], [1, 2]],
        [[1, MAX_ASKED + 1]],
        [[1, 600], [601, 1_001]],
        [[1, 2.0]],
        [[True, 2]],
        [[1]],
        "12",
        [[n, n] for n in range(1, MAX_RANGES + 2)],
    ],
)
def test_ranges_that_are_none_are_refused(ranges: Any) -> None:
    assert read_ask(b"$repair/000000000000f00d/0123/a", {"id": 1, "ranges": ranges}) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"$repair/f00d/0123/a",
        b"$repair/000000000000f00d/0123/",
        b"$repair/000000000000f00d//a",
        b"$repair/000000000000f00d/0123",
        b"$repair/00000000000gf00d/0123/a",
        b"$repair/000000000000f00d/\xff/a",
        b"$inbox/000000000000f00d/0123/a",
    ],
)
def test_topics_that_are_none_are_refused(raw: bytes) -> None:
    assert read_ask(raw, ask_payload(1, [(1, 1)])) is None


def test_an_answer_is_read_back() -> None:
    answer = Answer(7, "a/b", (b"a/b\0...",), ((1, 2, "too old"),), True)
    assert read_answer(answer_payload(answer)) == answer


@pytest.mark.parametrize(
    "missing",
    [
        [[2, 1, ""]],
        [[0, 1, ""]],
        [[1, 2**63 + 1, ""]],
        [[1, True, ""]],
        [[1, 2]],
        [[1, 2, 3]],
        [[5, 6, ""], [1, 2, ""]],
        [[1, 2, ""], [2, 3, ""]],
        [[n, n, ""] for n in range(1, MAX_ASKED + 2)],
    ],
)
def test_what_nobody_can_be_missing_is_refused(missing: Any) -> None:
    answer = Answer(7, "a", (), ((1, 2, ""),), True)
    assert read_answer(answer_payload(answer) | {"missing": missing}) is None


def test_more_parts_than_can_be_asked_for_are_refused() -> None:
    answers = (answer_payload(Answer(7, "a", (b"a\0",) * count, (), True)) for count in (MAX_ASKED, MAX_ASKED + 1))
    assert [read_answer(each) is None for each in answers] == [False, True]


@pytest.mark.parametrize(
    ("missing", "found"),
    [
        (((2, 2**63, "gone"),), [(5, 6, "gone"), (9, 9, "gone")]),
        (((1, 4, "a"), (7, 8, "b")), []),
        (((6, 9, "a"), (10, 12, "b")), [(6, 6, "a"), (9, 9, "a")]),
        ((), []),
    ],
)
def test_an_answer_says_nothing_of_what_was_not_asked(missing: Any, found: Any) -> None:
    assert list(missing_of(Answer(7, "a", (), missing, True), ((5, 6), (9, 9)))) == found


@given(PAYLOADS)
def test_whatever_is_sent_it_never_raises(payload: Any) -> None:
    assert read_ask(b"$repair/000000000000f00d/0123/a", payload) is None
    assert read_answer(payload) is None


@given(
    st.fixed_dictionaries(
        {"id": PAYLOADS, "topic": st.text(), "parts": st.lists(PAYLOADS), "missing": PAYLOADS, "done": PAYLOADS}
    )
)
def test_nor_does_what_looks_like_an_answer(payload: Any) -> None:
    answer = read_answer(payload)
    assert answer is None or all(isinstance(part, bytes) for part in answer.parts)


@given(st.binary())
def test_nor_do_topics(raw: bytes) -> None:
    split = split_ask(b"$repair/" + raw)
    assert split is None or all(split)

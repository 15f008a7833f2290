"""What publishers say of their topics, and what comes of it: rates, sums, who was last."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fabric.protocol.questions import MAX_TOPIC_CHARS
from nodes.observe import topics_view
from nodes.observe.topics_view import Page, TopicsView, rows
from tests.support.payload_strategies import PAYLOADS


def answer(publisher: int, at: float, *topics: tuple[str, int, float | None], following: int = -1) -> dict[str, Any]:
    told = [list(each) for each in topics]
    fields = {"answer": "topics", "node": f"n{publisher}", "proxy": "p1", "publisher": publisher}
    return {**fields, "at": at, "topics": told, "next": following}


def view_of(*passes: list[dict[str, Any]]) -> TopicsView:
    view = TopicsView()
    for answers in passes:
        view.begin()
        for each in answers:
            view.hear(each)
    return view


def test_rates_are_between_two_answers_by_the_publishers_clock() -> None:
    view = view_of(
        [answer(1, 100.0, ("a", 10, 0.0), ("b", 5, None)), answer(2, 7.0, ("a", 1, 0.0))],
        [answer(1, 102.0, ("a", 30, 0.5), ("b", 5, None)), answer(2, 8.0, ("a", 6, 0.0))],
    )
    first, second = view.topics()
    assert (first.topic, first.rate, first.messages, first.publishers) == ("a", 15.0, 36, 2)
    assert (first.last, first.last_proxy) == ("n2", "p1")
    assert (second.topic, second.rate, second.messages, second.last) == ("b", 0.0, 5, "n1")
    assert [each.topic for each in view.busy()] == ["a"]
    assert rows(view.topics()) == [("a", "15", "36", "2", "n2"), ("b", "0", "5", "1", "n1")]
    assert topics_view.as_json(view.topics())[0] == {
        "topic": "a", "rate": 15.0, "messages": 36, "publishers": 2, "last_publisher": "n2", "proxy": "p1"
    }  # fmt: skip


def test_after_one_answer_there_is_no_rate() -> None:
    view = view_of([answer(1, 1.0, ("a", 10, 0.0))])
    assert view.busy() == [] and rows(view.topics()) == [("a", "-", "10", "1", "n1")]


def test_a_topic_that_began_between_the_answers_has_a_rate() -> None:
    view = view_of([answer(1, 1.0, ("a", 1, 0.0))], [answer(1, 3.0, ("a", 1, None), ("b", 4, 0.0))])
    assert [(each.topic, each.rate) for each in view.busy()] == [("b", 2.0)]


def test_a_topic_that_was_not_told_before_has_none() -> None:
    """The first time the answer was broken off: it may have had any number."""
    view = view_of(
        [answer(1, 1.0, ("a", 1, 0.0), following=1)], [answer(1, 3.0, ("a", 3, None), ("b", 400, 0.0), following=2)]
    )
    assert [(each.topic, each.rate) for each in view.topics()] == [("a", 1.0), ("b", None)]


def test_pages_of_one_pass_are_one_answer() -> None:
    view = TopicsView()
    view.begin()
    assert view.hear(answer(1, 1.0, ("a", 1, 0.0), following=200)) == Page(1, "p1", 200)
    assert view.hear(answer(1, 1.1, ("b", 1, 0.0))) is None
    view.begin()
    view.hear(answer(1, 3.0, ("a", 3, 0.0), following=200))
    view.hear(answer(1, 3.1, ("b", 5, 0.0), ("c", 2, 0.0)))
    assert [(each.topic, round(each.rate or 0, 3)) for each in view.topics()] == [("b", 2.0), ("a", 1.0), ("c", 1.0)]


def test_of_several_who_have_published_lately_the_busiest_was_last() -> None:
    passes = [[answer(1, at, ("a", int(at), 0.0)), answer(2, at, ("a", int(10 * at), 0.0))] for at in (1.0, 2.0)]
    assert view_of(*passes).topics()[0].last == "n2"


def test_who_was_last_is_not_known_when_it_was_too_long_ago() -> None:
    assert view_of([answer(1, 1.0, ("a", 1, None)), answer(2, 1.0, ("a", 1, None))]).topics()[0].last == ""


def test_who_does_not_answer_any_more_is_forgotten() -> None:
    view = view_of([answer(1, 1.0, ("a", 1, 0.0)), answer(2, 1.0, ("a", 1, 0.0))], [answer(2, 2.0, ("a", 3, 0.0))], [])
    assert [(each.publishers, each.messages) for each in view.topics()] == [(1, 3)]


def test_a_publisher_that_counts_again_has_no_negative_rate() -> None:
    assert view_of([answer(1, 1.0, ("a", 9, 0.0))], [answer(1, 2.0, ("a", 3, 0.0))]).topics()[0].rate == 0.0


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_view, "MAX_COUNTED", 3)
    view = view_of([answer(1, 1.0, *((f"{n}" * 1000, 1, 0.0) for n in range(5)))])
    assert view.passed_over == 2 and {len(each.topic) for each in view.topics()} == {MAX_TOPIC_CHARS}


@given(PAYLOADS)
def test_whatever_a_peer_answers_is_passed_over(payload: Any) -> None:
    view = TopicsView()
    view.begin()
    for told in (payload, [payload], [["a", payload, 0.0]], [["a", 1, payload]]):
        view.hear({**answer(1, 1.0), "topics": told, "next": payload})
        view.hear({**answer(1, 1.0), "topics": told})
    view.hear({"publisher": 1, "answer": "topics", "node": payload, "proxy": payload, "at": payload})
    assert all(isinstance(each.messages, int) for each in view.topics())


@pytest.mark.parametrize(
    ("a_second", "words"), [(None, "-"), (0.0, "0"), (0.5, "0.5"), (12.345, "12.3"), (1234.5, "1,234")]
)
def test_rates_in_words(a_second: float | None, words: str) -> None:
    assert topics_view.rate(a_second) == words

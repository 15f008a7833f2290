"""Questions and answers: what is read, what is told, what never is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from fabric.protocol import questions
from fabric.protocol.questions import Budget, Question, is_asked, read_question, why
from fabric.topics import explain
from tests.support.payload_strategies import PAYLOADS

GOOD = {"ask": "why", "id": b"1", "reply_to": "$inbox/x/a", "topic": "a/b", "one_in": 3, "tell_one_in": 2}


def test_a_question_is_read_as_it_was_asked() -> None:
    assert read_question(GOOD) == Question("why", b"1", "$inbox/x/a", "a/b", 3, 2)
    assert read_question(Question("ping", b"1", "$inbox/x/a").to_map()) == Question("ping", b"1", "$inbox/x/a")
    assert read_question(questions.trace_headers(b"7", "$inbox/x/a")["trace"]) == Question("trace", b"7", "$inbox/x/a")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ask", "else"),
        ("ask", None),
        ("id", "text"),
        ("id", b"x" * 65),
        ("reply_to", "a/b"),
        ("reply_to", "$inbox/+"),
        ("reply_to", "$inbox/\0"),
        ("reply_to", "$fabric/proxy/p1"),
        ("reply_to", "$inbox/" + "x" * 200),
        ("topic", "~/secret"),
        ("topic", "~other/x"),
        ("topic", "a/+"),
        ("topic", ""),
        ("topic", 7),
        ("one_in", 0),
        ("one_in", True),
        ("tell_one_in", "2"),
    ],
)
def test_what_is_no_question_is_none(field: str, value: Any) -> None:
    assert read_question({**GOOD, field: value}) is None


@given(PAYLOADS)
def test_whatever_comes_is_read_without_raising(payload: Any) -> None:
    assert read_question(payload) is None
    assert read_question({"ask": "why", "id": b"", "reply_to": payload, "topic": payload}) is None


def test_an_announcement_is_no_question() -> None:
    assert questions.is_question(GOOD) and questions.is_question({"ask": 1})
    assert not questions.is_question({"id": "p1", "state": "member"}) and not questions.is_question(None)


def test_filters_that_match_are_told() -> None:
    assert why("a/b", ["a/b", "a/#", "a/b"], ["a/b", "a/#", "x"]) == {"matches": ["a/b", "a/#"], "near": []}


def test_where_none_matches_the_nearest_are_told_first() -> None:
    told = why("a/b/c", [], ["x/#", "a/b/d", "a/x", "a/b/+/d", "b"])
    assert told["matches"] == [] and told["near"] == ["a/b/+/d", "a/b/d", "a/x"]
    assert all(explain(each, "a/b/c").startswith("no match") for each in told["near"])


def test_what_is_private_is_not_told() -> None:
    held = ["~/secret", "~pagesession/h/s/x", "$inbox/1/a", "a/b"]
    assert why("a/c", [], held)["near"] == ["a/b"]
    assert why("a/c", ["~/secret", "~pagesession/h/#"], held) == {"matches": ["~pagesession/h/#"], "near": []}


def test_an_answer_is_bounded() -> None:
    told = why("a/b", [], [f"a/{number}/{'x' * 1000}" for number in range(100)])
    assert len(told["near"]) == questions.MAX_TOLD and {len(each) for each in told["near"]} == {
        questions.MAX_FILTER_CHARS
    }
    assert len(why("a/b", [f"a/{'b' * number}" for number in range(100)], [])["matches"]) == questions.MAX_TOLD


def test_a_sample_answers_and_of_those_with_news_another() -> None:
    question = Question("why", b"1", "$inbox/x/a", "a", one_in=10, tell_one_in=2)
    tokens = [f"{number:032x}" for number in range(2_000)]
    quiet = sum(is_asked(question, token, False) for token in tokens)
    news = sum(is_asked(question, token, True) for token in tokens)
    assert 100 < quiet < 400 and 700 < news < 1_300
    assert all(is_asked(question._replace(one_in=1), token, False) for token in tokens[:10])
    other = question._replace(id=b"2")
    assert [is_asked(question, t, False) for t in tokens] != [is_asked(other, t, False) for t in tokens]


def test_a_budget_is_spent_and_filled_again() -> None:
    budget = Budget(3)
    assert [budget.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(10.9) and budget.take(11.0)


@pytest.mark.parametrize(
    ("acknowledged", "asked", "expected"),
    [
        ([], "a", False),
        (["a"], "a", True),
        (["b", "a/#"], "a", True),
        (["a/#"], "a/+", True),
        (["a/+"], "a/#", False),
        (["a/1", "a/2"], "a/+", False),
        (["#"], "$fabric/x", False),
    ],
)
def test_who_holds_a_filter(acknowledged: list[str], asked: str, expected: bool) -> None:
    assert questions.holds(asked, acknowledged) is expected


def test_subscribers_are_asked_for_by_a_filter() -> None:
    asked = {**GOOD, "ask": "subscribers"}
    assert read_question({**asked, "topic": "a/+/#"}) == Question("subscribers", b"1", "$inbox/x/a", "a/+/#", 3, 2)
    assert [read_question({**asked, "topic": each}) for each in ("a/#/b", "~/a", "~x", "", 7)] == [None] * 5


def test_topics_are_asked_for_by_a_filter_of_the_application() -> None:
    asked = {**GOOD, "ask": "topics", "topic": "a/#", "start": 7, "publisher": 2**64 - 1}
    assert read_question(asked) == Question("topics", b"1", "$inbox/x/a", "a/#", 3, 2, 7, 2**64 - 1)
    wrong = ({"topic": "$a/#"}, {"topic": "~pagesession/a/b"}, {"start": -1}, {"start": True}, {"publisher": 2**64})
    assert [read_question({**asked, **each}) for each in wrong] == [None] * 5


def test_what_a_publisher_has_sent_is_told_in_pages() -> None:
    counted = [(b"$fabric/x\0", 1), (b"~pagesession/x\0", 1), (b"b\0", 9)]
    counted += [(f"a/{number}\0".encode(), number + 1) for number in range(1_100)]
    told = questions.topics("a/+", counted, 0, lambda raw: 0.25 if raw == b"a/1\0" else None, 17.5)
    assert told["topics"][:2] == [["a/0", 1, None], ["a/1", 2, 0.25]]
    assert (len(told["topics"]), told["next"], told["at"]) == (questions.MAX_TOPICS_TOLD, 1_003, 17.5)
    told = questions.topics("a/+", counted[1_003:], 1_003, lambda raw: None, 17.5)
    assert told["topics"][0] == ["a/1000", 1_001, None] and len(told["topics"]) == 100 and told["next"] == -1
    assert questions.topics("#", counted[:3], 0, lambda raw: None, 0.0)["topics"] == [["b", 9, None]]


def test_so_many_topics_are_looked_at_and_no_more() -> None:
    counted = [(b"b\0", 1)] * (questions.MAX_TOPICS_LOOKED_AT + 1)
    assert questions.topics("a", counted, 0, lambda raw: None, 0.0)["next"] == questions.MAX_TOPICS_LOOKED_AT
    assert questions.topics("a", counted[1:], 0, lambda raw: None, 0.0)["next"] == -1
    long = questions.topics("#", [(b"x" * 1000 + b"\0", 1)], 0, lambda raw: None, 0.0)
    assert len(long["topics"][0][0]) == questions.MAX_TOPIC_CHARS


def test_figures() -> None:
    names = (
        "received",
        "published",
        "over_delivered",
        "gaps",
        "lost",
        "unconfirmed",
        "subscriptions",
        "waits",
        "denied",
    )
    stats = {**{name: number for number, name in enumerate(names)}, "refused": {"a": 2, "b": 3}, "name": "n"}
    assert questions.figures(stats) == {**{name: number for number, name in enumerate(names)}, "refused": 5}

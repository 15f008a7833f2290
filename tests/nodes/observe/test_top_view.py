"""Nodes by their answers: lag, rates, losses."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.observe.top_view import COLUMNS, FORGET_S, MOST, Top


def answer(publisher: int, name: str = "", **figures: int) -> dict[str, Any]:
    return {"answer": "stats", "publisher": publisher, "node": name or f"n{publisher}", "proxy": "p1", **figures}


@pytest.fixture
def top() -> Top:
    return Top(every_s=2.0)


def test_the_one_furthest_behind_comes_first(top: Top) -> None:
    top.hear(100.0, 0.001, answer(1))
    top.hear(100.0, 0.5, answer(2))
    assert [row[:3] for row in top.slowest(100.0)] == [("n2", "p1", "500"), ("n1", "p1", "1.00")]
    assert len(top.slowest(100.0)[0]) == len(COLUMNS)


def test_one_that_does_not_answer_any_more_falls_behind(top: Top) -> None:
    top.hear(100.0, 0.001, answer(1))
    top.hear(103.0, 0.002, answer(2))
    assert [each["node"] for each in top.as_json(103.0)] == ["n2", "n1"], "it may still be on time"
    assert top.as_json(107.0)[0]["lag_s"] == 3.0 and top.as_json(107.0)[0]["node"] == "n1"


def test_rates_are_between_two_answers(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1, received=1_000, published=7))
    assert top.slowest(100.0)[0][3:5] == ("-", "-")
    top.hear(102.0, 0.1, answer(1, received=4_000, published=7))
    assert top.slowest(102.0)[0][3:5] == ("1,500", "0")
    assert top.as_json(102.0)[0]["in_rate"] == 1_500


def test_losses_by_how_many_and_none_without(top: Top) -> None:
    for publisher, lost in ((1, 5), (2, 0), (3, 70)):
        top.hear(100.0, 0.1, answer(publisher, lost=lost))
    assert [(row[0], row[6]) for row in top.losers(100.0)] == [("n3", "70"), ("n1", "5")]


def test_nodes_of_one_name_are_two_and_a_table_is_bounded(top: Top) -> None:
    for publisher in range(30):
        top.hear(100.0, 0.1, answer(publisher, "worker", lost=1))
    assert len(top.as_json(100.0)) == 30 and len(top.slowest(100.0)) == len(top.losers(100.0)) == MOST


def test_who_has_gone_is_forgotten(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1))
    top.forget(100.0 + FORGET_S - 1)
    assert top.slowest(100.0)
    top.forget(100.0 + FORGET_S)
    assert not top.slowest(100.0)


@pytest.mark.parametrize("change", [{"node": 1}, {"proxy": None}, {"answer": "why"}])
def test_what_is_no_answer_is_passed_over(top: Top, change: dict[str, Any]) -> None:
    top.hear(100.0, 0.1, {**answer(1), **change})
    assert top.as_json(100.0) == []


@pytest.mark.parametrize("value", ["7", True, None, [1], 1.5])
def test_a_figure_that_is_none_counts_nothing(top: Top, value: Any) -> None:
    for now in (100.0, 100.0, 101.0):
        top.hear(now, 0.1, {**answer(1), "lost": value, "received": value})
    assert top.losers(101.0) == [] and top.slowest(101.0)[0][3] == "0"

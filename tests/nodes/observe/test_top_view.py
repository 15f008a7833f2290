"""Nodes by their answers: lag, rates, losses."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.observe.top_view import COLUMNS, FORGET_S, MOST, REMEMBERED, SORTS, Order, Top, cells


def answer(publisher: int, name: str = "", **figures: int) -> dict[str, Any]:
    return {"answer": "stats", "publisher": publisher, "node": name or f"n{publisher}", "proxy": "p1", **figures}


def slowest(top: Top, now: float) -> list[tuple[str, ...]]:
    return [row.cells for row in top.rows(now)]


@pytest.fixture
def top() -> Top:
    return Top(every_s=2.0)


def test_the_one_furthest_behind_comes_first(top: Top) -> None:
    top.hear(100.0, 0.001, answer(1))
    top.hear(100.0, 0.5, answer(2))
    assert [row[:3] for row in slowest(top, 100.0)] == [("n2", "p1", "500"), ("n1", "p1", "1.00")]
    assert len(slowest(top, 100.0)[0]) == len(COLUMNS)


def test_one_that_does_not_answer_any_more_falls_behind(top: Top) -> None:
    top.hear(100.0, 0.001, answer(1))
    top.hear(103.0, 0.002, answer(2))
    assert [each["node"] for each in top.as_json(103.0)] == ["n2", "n1"], "it may still be on time"
    assert top.as_json(107.0)[0]["lag_s"] == 3.0 and top.as_json(107.0)[0]["node"] == "n1"


def test_rates_are_between_two_answers(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1, received=1_000, published=7))
    assert slowest(top, 100.0)[0][3:5] == ("-", "-")
    top.hear(102.0, 0.1, answer(1, received=4_000, published=7))
    assert slowest(top, 102.0)[0][3:5] == ("1,500", "0")
    assert top.as_json(102.0)[0]["in_rate"] == 1_500
    top.hear(102.0, 0.1, answer(2, received=7))
    assert top.received_rate() == 1_500


def test_many_answers_at_once_are_no_rates(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1, received=0))
    for at in range(5):
        top.hear(110.0 + at / 1000, 10.0 - 2 * at, answer(1, received=1_000 * (at + 1)))
    (row,) = top.rows(110.0)
    assert row.cells[3] == "100" and row.trend == (100.0,)
    top.hear(112.0, 0.1, answer(1, received=7_000))
    assert top.received_rate() == 3_000, "what came meanwhile is in the next one"


def test_losses_by_how_many_and_none_without(top: Top) -> None:
    for publisher, lost in ((1, 5), (2, 0), (3, 70)):
        top.hear(100.0, 0.1, answer(publisher, lost=lost))
    assert [(row.cells[0], row.cells[6]) for row in top.losers(100.0)] == [("n3", "70"), ("n1", "5")]


def test_nodes_of_one_name_are_two_and_a_table_is_bounded(top: Top) -> None:
    for publisher in range(30):
        top.hear(100.0, 0.1, answer(publisher, "worker", lost=1))
    assert len(top.as_json(100.0)) == len(top.rows(100.0)) == 30 and len(cells(top.losers(100.0))) == MOST


def test_who_has_gone_is_forgotten(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1))
    top.forget(100.0 + FORGET_S - 1)
    assert slowest(top, 100.0)
    top.forget(100.0 + FORGET_S)
    assert not slowest(top, 100.0)


def test_one_that_does_not_answer_has_gone_when_no_more_are_connected_than_answer(top: Top) -> None:
    top.hear(100.0, 0.1, answer(1, "ended"))
    top.hear(110.0, 0.1, answer(2, "here"))
    for connected, names in ((None, ["ended", "here"]), ({"p1": 2}, ["ended", "here"]), ({"p1": 1}, ["here"])):
        top.forget(110.0, connected)
        assert sorted(slowest(top, 110.0)[at][0] for at in range(len(names))) == names
    top.forget(111.0, {})
    assert slowest(top, 111.0), "it answered a second ago, and its proxy may have announced itself before it came"
    top.forget(116.0, {})
    assert not slowest(top, 116.0), "its proxy has gone, and it does not answer"


@pytest.mark.parametrize("change", [{"node": 1}, {"proxy": None}, {"answer": "why"}])
def test_what_is_no_answer_is_passed_over(top: Top, change: dict[str, Any]) -> None:
    top.hear(100.0, 0.1, {**answer(1), **change})
    assert top.as_json(100.0) == []


@pytest.mark.parametrize("value", ["7", True, None, [1], 1.5])
def test_a_figure_that_is_none_counts_nothing(top: Top, value: Any) -> None:
    for now in (100.0, 100.0, 102.0):
        top.hear(now, 0.1, {**answer(1), "lost": value, "received": value})
    assert top.losers(102.0) == [] and slowest(top, 102.0)[0][3] == "0"


FIGURES = {
    "subscriptions": (1, 3, 2),
    "lost": (0, 9, 4),
    "over_delivered": (5, 0, 7),
    "refused": (2, 1, 0),
    "received": (30, 10, 20),
    "published": (7, 70, 700),
}


@pytest.mark.parametrize(
    ("by", "first"),
    [
        ("lag", "c"),
        ("in", "a"),
        ("out", "c"),
        ("subs", "b"),
        ("lost", "b"),
        ("over", "c"),
        ("refused", "a"),
        ("name", "a"),
    ],
)
def test_nodes_by_each_column_and_the_other_way_round(top: Top, by: str, first: str) -> None:
    for at, name in enumerate("abc"):
        top.hear(100.0, 0.1, answer(at, name))
        top.hear(101.0, at / 10, answer(at, name, **{key: values[at] for key, values in FIGURES.items()}))
    names = [row.cells[0] for row in top.rows(101.0, Order(by))]
    assert names[0] == first and sorted(names) == ["a", "b", "c"]
    assert [row.cells[0] for row in top.rows(101.0, Order(by, reverse=True))] == names[::-1]


def test_those_that_are_equal_stand_by_their_names(top: Top) -> None:
    for at, name in enumerate("cab"):
        top.hear(100.0, 0.1, answer(at, name, lost=7))
    assert [row.cells[0] for row in top.rows(100.0, Order("lost"))] == ["a", "b", "c"]


def test_every_way_to_sort_is_a_column_in_its_order_and_they_go_round() -> None:
    assert sorted(SORTS.values(), key=COLUMNS.index) == [*list(SORTS.values())[-1:], *list(SORTS.values())[:-1]]
    order = Order("lost", reverse=True)
    for _ in SORTS:
        order = order.next()
    assert order == Order("lost", reverse=True) and order.next(-1).next() == order and order.next().by == "over"


def test_a_node_shows_whether_it_loses_now_and_its_last_rates(top: Top) -> None:
    for second in range(REMEMBERED + 5):
        top.hear(100.0 + second, 0.1, answer(1, received=100 * second, published=10 * second, lost=min(second, 3)))
    (row,) = top.rows(170.0)
    assert row.trend == (110.0,) * REMEMBERED and (row.lost, row.losing) == (3, False)
    top.hear(200.0, 0.1, answer(1, lost=4))
    assert top.rows(200.0)[0].losing

"""Tables as text."""

from __future__ import annotations

import pytest

from nodes.observe.tables import fitting, milliseconds, table


def test_columns_are_padded_and_figures_stand_to_the_right() -> None:
    text = table(("NAME", "COUNT"), [("a", "1"), ("longer", "100000")], right=["COUNT"])
    assert text.splitlines() == ["NAME     COUNT", "a            1", "longer  100000"]


def test_no_blanks_at_the_end_of_a_line() -> None:
    assert table(("A", "B"), [("a", "")]).splitlines() == ["A  B", "a"]


@pytest.mark.parametrize(
    ("width", "shown"), [(100, "NSILO"), (21, "NSILO"), (20, "NSIO"), (15, "NSI"), (9, "NS"), (1, "NS")]
)
def test_what_is_too_wide_loses_what_says_nothing_and_then_its_last_columns(width: int, shown: str) -> None:
    columns = ("NAME", "S", "INPUT", "LOST", "OUT")
    rows = [("p1", "m", "12", "0", "7"), ("p2", "m", "", "0", "0")]
    names = [columns[at][0] for at in fitting(columns, rows, width, between=1)]
    assert "".join(names) == shown


@pytest.mark.parametrize(("width", "shown"), [(100, "NSILO"), (17, "NSLO"), (13, "NSL"), (9, "NS")])
def test_some_columns_can_be_said_to_go_first(width: int, shown: str) -> None:
    columns = ("NAME", "S", "INPUT", "LOST", "OUT")
    rows = [("p1", "m", "12", "3", "7")]
    names = [columns[at][0] for at in fitting(columns, rows, width, between=1, least=("INPUT", "OUT"))]
    assert "".join(names) == shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.000352, "0.352"), (0.00523, "5.23"), (0.0124, "12.4"), (1.2344, "1234")],
)
def test_milliseconds(seconds: float | None, words: str) -> None:
    assert milliseconds(seconds) == words

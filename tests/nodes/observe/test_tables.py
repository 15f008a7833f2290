"""Tables as text."""

from __future__ import annotations

import pytest

from nodes.observe.tables import milliseconds, table


def test_columns_are_padded_and_figures_stand_to_the_right() -> None:
    text = table(("NAME", "COUNT"), [("a", "1"), ("longer", "100000")], right=["COUNT"])
    assert text.splitlines() == ["NAME     COUNT", "a            1", "longer  100000"]


def test_no_blanks_at_the_end_of_a_line() -> None:
    assert table(("A", "B"), [("a", "")]).splitlines() == ["A  B", "a"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (0.000352, "0.352"), (0.00523, "5.23"), (0.0124, "12.4"), (1.2344, "1234")],
)
def test_milliseconds(seconds: float | None, words: str) -> None:
    assert milliseconds(seconds) == words

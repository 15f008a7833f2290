"""Figures as a small curve."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.observe.sparkline import BLOCKS, PLAIN, sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6], " ▁▂▃▄▅▆▇"),
        ([0, 0, 0], "     ▁▁▁"),
        ([1, 1000], "      ▂▇"),
        ([None, 5], "       ▇"),
        ([], "        "),
        ([9] * 20, "▇" * 8),
    ],
)
def test_the_last_ones_up_to_the_highest(values: list[float | None], drawn: str) -> None:
    assert sparkline(values, 8) == drawn


def test_several_curves_can_share_a_scale_and_be_of_ascii() -> None:
    assert sparkline([1, 2], 2, highest=14) == "▂▂"
    assert sparkline([0, 7, 14], 3, ascii_only=True) == PLAIN[0] + PLAIN[3] + PLAIN[-1]


@given(st.lists(st.none() | st.floats(0, 1e12)), st.integers(0, 50))
def test_it_is_as_wide_as_wanted_and_only_nothing_is_drawn_lowest(values: list[float | None], width: int) -> None:
    drawn = sparkline(values, width)
    assert len(drawn) == width
    for mark, value in zip(drawn[::-1], values[::-1], strict=False):
        assert (mark == " ") == (value is None) and (mark == BLOCKS[0]) == (value == 0)

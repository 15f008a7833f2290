"""How plots look: ticks with units, names that do not lie on each other, colours that can be told from the paper."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nodes.load.theme import THEMES, Theme, apart, drawn_in, short_count, time_axis


@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_names_are_apart_stay_in_their_order_and_within_the_axes(places: list[float]) -> None:
    found = apart(places, 0.1)
    ranked = sorted(range(len(places)), key=lambda at: places[at])
    moved = [found[at] for at in ranked]
    assert all(after - before >= 0.1 - 1e-9 for before, after in pairwise(moved))
    assert max(found) <= 1.0


def test_names_that_are_apart_already_stay() -> None:
    assert apart([0.2, 0.9, 0.5], 0.1) == [0.2, 0.9, 0.5] and apart([], 0.1) == []


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (0.1, 20.0, ["100 us", "200 us", "500 us", "1 ms"]),
        (0.1, 500.0, ["100 us", "300 us", "1 ms"]),
        (0.1, 5000.0, ["100 us", "1 ms"]),
    ],
)
def test_times_are_ticks_with_units(low: float, high: float, shown: list[str]) -> None:
    axes = Figure().subplots()
    time_axis(axes.yaxis, low, high)
    labels = [text.get_text() for text in axes.get_yticklabels()]
    first = next(at for at, tick in enumerate(axes.get_yticks()) if tick >= low * 0.999)
    assert labels[first : first + len(shown)] == shown and axes.get_ylim() == (low, high)


def test_large_counts_are_short() -> None:
    assert [short_count(each) for each in (0, 950, 20_000, 1_500_000)] == ["0", "950", "20k", "1.5M"]


def brightness(colour: str) -> float:
    """Relative luminance, WCAG 2."""
    linear = [each / 12.92 if each <= 0.03928 else ((each + 0.055) / 1.055) ** 2.4 for each in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_words_and_lines_can_be_told_from_the_paper(theme: Theme) -> None:
    """As WCAG asks for: 4.5 to 1 for words, 3 to 1 for lines."""
    paper = brightness(theme.paper)

    def contrast(colour: str) -> float:
        low, high = sorted((paper, brightness(colour)))
        return (high + 0.05) / (low + 0.05)

    assert all(contrast(each) >= 4.5 for each in (theme.ink, theme.faint, theme.bad))
    assert all(contrast(each) >= 3.0 for each in theme.lines)
    with drawn_in(theme):
        assert Figure().get_facecolor()[:3] == to_rgb(theme.paper)

"""The charts: what lines, names and numbers are in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from matplotlib.figure import Figure

from nodes.load import charts
from nodes.load.charts import Tried, drawn_slots
from nodes.load.latency import curve_ms, merged, quantiles_ms
from nodes.load.report import Round
from nodes.load.theme import LIGHT
from tests.nodes.load.test_report import ROUND

SLOTS: tuple[dict[int, int], ...] = ({500: 900, 2000: 100}, {500: 990, 9000: 10}, {}, {600: 1000}, {700: 5})
WHOLE = merged(SLOTS)
ONE = replace(
    ROUND, slots=SLOTS, slot_s=0.5, sending_s=2.0, quantiles_ms=quantiles_ms(WHOLE), curve_ms=tuple(curve_ms(WHOLE))
)


def texts(*axes: Any) -> str:
    return "\n".join(text.get_text() for each in axes for text in (*each.texts, each.title, each.xaxis.label))


def pair() -> Any:
    return Figure().subplots(2, 1)


def test_over_time_names_are_beside_the_data_and_what_was_due_is_shown() -> None:
    upper, lower = pair()
    charts.over_time(upper, lower, ONE, LIGHT)
    said = texts(upper, lower)
    assert "due\n500/s" in said and "p50" in said and "p99" in said and "p99.9" not in said, "of too few messages"
    assert upper.get_legend() is None and lower.get_legend() is None
    assert all(text.xyann[0] > 1 for each in (upper, lower) for text in each.texts), "off the data"
    assert lower.get_xlim()[1] == 2.0, "a few that are late are no slot"
    p50, p99 = (line.get_ydata() for line in lower.get_lines())
    assert list(p50)[:2] == [0.5, 0.5] and next(iter(p99)) == 2.0


def test_late_messages_that_are_many_are_shown() -> None:
    assert len(drawn_slots(ONE)) == 4
    assert len(drawn_slots(replace(ONE, slots=(*SLOTS[:4], {700: 500})))) == 5
    assert len(drawn_slots(replace(ONE, sending_s=2.5))) == 5, "within the time of sending a drop is a drop"


def test_percentiles_are_named_with_their_values() -> None:
    axes = Figure().subplots()
    charts.percentiles(axes, ONE, LIGHT)
    said = texts(axes)
    assert "p50  500 us" in said and "p99  2.00 ms" in said and "p99.9" in said and "max" in said
    assert [text.get_text() for text in axes.get_xticklabels()][:4] == ["0", "50 %", "90 %", "99 %"]


def test_columns_of_the_heat_map_add_up_to_one() -> None:
    figure = Figure()
    axes = figure.subplots()
    charts.heat(axes, ONE, LIGHT, figure)
    mesh: Any = axes.collections[0]
    columns = mesh.get_array().sum(axis=0)
    assert list(columns) == pytest.approx([1.0, 1.0, 0.0, 1.0])


def tried(limit: float) -> list[Tried]:
    def at(rate: float, ms: float) -> Round:
        found = {name: ms * factor for name, factor in (("p50", 1), ("p99", 3), ("p99.9", 9), ("max", 10))}
        return replace(ONE, rate=rate, quantiles_ms=found)

    measured = ((4e3, 9.0), (1e3, 1.0), (2e3, 2.0))
    return [Tried(rate, [at(rate, ms), at(rate, ms * 2)], rate <= limit) for rate, ms in measured]


def test_over_the_rate_with_limit_and_result() -> None:
    upper, lower = pair()
    charts.over_rate(upper, lower, tried(2e3), 2e3, 20.0, LIGHT)
    said = texts(upper, lower)
    assert "holds: 2,000/s" in said and "limit of\np99, 20 ms" in said and "delivered" in said
    _due, delivered, result = upper.get_lines()
    assert list(delivered.get_xdata()) == [1e3, 2e3, 4e3] and list(result.get_xdata()) == [2e3, 2e3]
    assert len(lower.collections) == 1, "the range of p99"
    assert list(lower.get_lines()[0].get_ydata()) == [1.5, 3.0, 13.5], "medians"


def test_nothing_arrived() -> None:
    nothing = replace(ONE, quantiles_ms={}, curve_ms=(), slots=({}, {}))
    upper, lower = pair()
    charts.over_time(upper, lower, nothing, LIGHT)
    charts.percentiles(Figure().subplots(), nothing, LIGHT)
    figure = Figure()
    charts.heat(figure.subplots(), nothing, LIGHT, figure)
    upper, lower = pair()
    charts.over_rate(upper, lower, [Tried(1e3, [nothing], False)], None, 5.0, LIGHT)

"""The live view: rates between two looks, and what a person sees."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nodes.load import view
from nodes.load.crew import Progress
from nodes.load.view import Rates, live
from nodes.load.worker import Sent, Told

PROGRESS = Progress("1,000/s", 0.5, Sent(1500, 0, 0.5, 3020), Told(3000, 7, 0.0123, 11, 5))


def test_rates_are_of_what_came_between_two_looks() -> None:
    rates = Rates()
    rates.look(10.0, 100, 200)
    assert (rates.sent, rates.delivered) == (0, 0)
    rates.look(10.5, 150, 400)
    assert (rates.sent, rates.delivered) == (100, 400)
    rates.look(11.0, 0, 0)
    assert (rates.sent, rates.delivered) == (0, 0)


def test_a_person_sees_rates_lag_and_losses() -> None:
    rates = Rates()
    rates.look(1.0, 500, 1000)
    rates.look(2.0, 1500, 3000)
    console = Console(file=io.StringIO(), width=100)
    console.print(view._picture(PROGRESS, rates))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    lines = dict(line.strip().split("  ", 1) for line in shown.splitlines()[1:])
    assert {key: value.strip() for key, value in lines.items()} == {
        "sent": "1,500, 1,000/s; publishers 500 ms behind",
        "due": "3,020 to all subscribers",
        "= delivered": "3,000, 2,000/s; 5 of it repaired; 12.3 ms late",
        "+ lost": "7",
        "+ in flight": "13",
        "over-delivered": "11: arrived, and matched nothing",
    }


def test_what_is_shown_as_in_flight_is_never_less_than_nothing() -> None:
    assert Progress("", 0.0, Sent(due=5), Told(delivered=7)).in_flight == 0


def test_live_writes_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with live() as watch:
        watch(PROGRESS)
    assert capsys.readouterr().out == ""

"""The live view: rates between two looks, and what a person sees."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from nodes.load import view
from nodes.load.crew import Progress
from nodes.load.view import Rates, live

PROGRESS = Progress("1,000/s", 0.5, 1500, 3000, 7, 11, 0.0123, 0.5)


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
    for words in ("1,000/s", "2,000/s, 3,000 in all", "12.3 ms", "500.0 ms behind", "7; arrived unmatched 11"):
        assert words in shown


def test_live_writes_to_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with live() as watch:
        watch(PROGRESS)
    assert capsys.readouterr().out == ""

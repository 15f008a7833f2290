"""Signals of commands that run on: the first asks, the second ends the process, and what was before comes back."""

from __future__ import annotations

import os
import signal

import pytest

from nodes.cli.signals import ENDING, on_ending_signal


@pytest.mark.parametrize("number", ENDING)
def test_the_first_one_asks_and_a_second_would_end_the_process(number: signal.Signals) -> None:
    before, asked = signal.getsignal(number), []
    with on_ending_signal(lambda: asked.append(1)):
        os.kill(os.getpid(), number)
        assert asked == [1] and signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before


def test_each_one_asks_where_that_is_wanted() -> None:
    asked: list[int] = []
    with on_ending_signal(lambda: asked.append(1), once=False):
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert asked == [1, 1, 1]


def test_what_was_before_comes_back_after_an_error_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), on_ending_signal(lambda: None):
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before

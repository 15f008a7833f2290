"""Signals of commands that run on: the first asks, the second ends the process, and what was before comes back."""

from __future__ import annotations

import getpass
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nodes.cli.signals import ENDING, TELLS_SENDERS, leaving_at_once, on_ending_signal
from tests.support.processes import Process


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


@pytest.mark.parametrize("is_ended", [False, True])
def test_who_has_begun_nothing_leaves_at_once_whatever_it_waits_for(is_ended: bool) -> None:
    before, asked, passed = signal.getsignal(signal.SIGTERM), [], []
    with on_ending_signal(lambda: asked.append(1)):
        with pytest.raises(SystemExit) as left, leaving_at_once(lambda: is_ended):
            os.kill(os.getpid(), signal.SIGTERM)
            passed.append(1)
        assert left.value.code == 0 and not passed and not asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_was_before_comes_back_after_an_error_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError), on_ending_signal(lambda: None):
        raise ValueError
    assert signal.getsignal(signal.SIGTERM) is before


PROGRAM = """
import threading
from nodes.cli.signals import on_ending_signal_of, signals_held
asked = threading.Event()
def ask(sender):
    print(sender.name, sender.who, sender.where, flush=True)
    asked.set()
with signals_held():
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    with on_ending_signal_of(ask):
        print("here", flush=True)
        asked.wait()
        {then}
print("over", flush=True)
"""


@pytest.fixture
def program(tmp_path: Path, started: list[Process]) -> Callable[[str], Process]:
    def start(then: str) -> Process:
        process = Process([sys.executable, "-c", PROGRAM.format(then=then)], tmp_path)
        started.append(process)
        process.wait_lines(1)
        return process

    return start


@pytest.mark.skipif(not TELLS_SENDERS, reason="this system does not say who sent a signal")
@pytest.mark.parametrize("number", ENDING)
def test_who_sent_it_is_told(program: Callable[[str], Process], number: signal.Signals) -> None:
    """Also where other threads could have taken the signal."""
    process = program("pass")
    process.signal(number)
    assert process.wait() == 0
    told = process.stdout[1]
    assert told.startswith(f"{number.name} {getpass.getuser()} process {os.getpid()} (") and process.stdout[2] == "over"


@pytest.mark.skipif(not TELLS_SENDERS, reason="this system does not say who sent a signal")
@pytest.mark.parametrize("number", ENDING)
def test_a_second_one_ends_the_process_there_too(program: Callable[[str], Process], number: signal.Signals) -> None:
    process = program("threading.Event().wait()")
    process.signal(number)
    process.wait_lines(2)
    process.signal(number)
    assert process.wait() == -number and "over" not in process.stdout

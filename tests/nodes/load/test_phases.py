"""A load test from a file: what it says, and what is wrong with it."""

from __future__ import annotations

import pytest

from nodes.load.phases import STAY_S, Phase, Phases, read
from nodes.load.shape import Piece, Shape, bursts

STEADY = Shape((Piece(5.0, 1000.0, 1000.0),))


def test_all_of_it() -> None:
    found = read("""
        publishers = 2
        subscribers = 3
        topics = 10
        size = 128
        plan = "var"
        [[phases]]
        name = "ramp"
        seconds = 4
        rate = [0, 100]
        [[phases]]
        seconds = 5
        rate = 1000
        churn = 0.5
        requests = 20
        kill = "p2"
        [[phases]]
        seconds = 5
        rate = 10
        burst = { rate = 100, every = 2, for = 0.5 }
        storm = 3
    """)
    assert found == Phases(2, 3, 10, 128, (
        Phase("ramp", Shape((Piece(4.0, 0.0, 100.0),))),
        Phase("phase 2", STEADY, (0.0, 2.0), STAY_S, 20.0, "p2"),
        Phase("phase 3", bursts(5.0, 10.0, 100.0, 2.0, 0.5), (0.0, 0.0, 0.0)),
    ), "var")  # fmt: skip
    assert found.seconds == 14.0


def test_what_may_be_left_out() -> None:
    assert read("[[phases]]\nseconds = 5") == Phases(1, 1, 100, 64, (Phase("phase 1", STEADY),))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x =", "not TOML"),
        ("", "expected one [[phases]] or more"),
        ("phases = 3", "expected one [[phases]] or more"),
        ("rates = 3", "'rates' is not known; there are phases, plan"),
        ("publishers = 0\n[[phases]]\nseconds = 1", "invalid publishers 0: expected a whole number from 1 to 200"),
        ("size = true\n[[phases]]\nseconds = 1", "invalid size True"),
        ("plan = 3\n[[phases]]\nseconds = 1", "invalid plan 3"),
        ("[[phases]]\nrate = 5", "invalid phase 1: seconds None: expected a number above 0"),
        ("[[phases]]\nseconds = 0", "expected a number above 0"),
        ("[[phases]]\nseconds = 1\nrate = [1]", "a number, or [from, to]"),
        ("[[phases]]\nseconds = 1\nrate = [0, 0]", "one of both above 0"),
        ("[[phases]]\nseconds = 1\nrate = 'max'", "expected a number of 0 or more"),
        ("[[phases]]\nseconds = 1\nrate = true", "expected a number of 0 or more"),
        ("[[phases]]\nseconds = 1\nrate = nan", "expected a number of 0 or more"),
        ("[[phases]]\nseconds = 1\nburst = { rate = 5 }", "expected { rate = 20000, every = 2, for = 0.2 }"),
        ("[[phases]]\nseconds = 1\nburst = { rate = 5, every = 1, for = 1 }", "`for` shorter than `every`"),
        ("[[phases]]\nseconds = 1\nstorm = 3\nchurn = 3", "phase 1: storm and churn: expected one of them"),
        ("[[phases]]\nseconds = 1\nstorm = 2001", "2,000 at most"),
        ("[[phases]]\nseconds = 1\nname = 3", "invalid name 3"),
        ("[[phases]]\nseconds = 1\n[[phases]]\nwhat = 3", "phase 2: 'what' is not known"),
        ("[[phases]]\nseconds = 1\nkill = 'p1'", "kill needs a plan"),
    ],
)
def test_what_is_wrong(text: str, words: str) -> None:
    with pytest.raises(ValueError) as found:
        read(text)
    assert words in str(found.value)

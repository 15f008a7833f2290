"""Phases on the shared mesh, and all of them as one round."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.load.books import Line
from nodes.load.crew import LoadError, Progress
from nodes.load.phased import Phased, PhaseFound, in_time, together
from nodes.load.phases import read
from nodes.load.report import Over, Round
from nodes.load.run import LoadRun
from nodes.load.schedule import Spec, topic_names
from tests.nodes.load.test_report import ROUND
from tests.support.processes import ProxyProcess

TEST = """
plan = "somewhere"
[[phases]]
name = "ramp"
seconds = 0.4
rate = [0, 500]
[[phases]]
name = "all"
seconds = 0.6
rate = 200
churn = 5
requests = 30
kill = "p9"
"""


def test_each_phase_has_its_books_and_what_was_done_beside(mesh: list[ProxyProcess]) -> None:
    test = read(TEST)
    killed: list[str] = []
    spec = Spec(1, 2, topic_names("phased/{n}", 4), ("phased/+",), 64, None, 0.0, 1.0, (mesh[0].base,))
    with LoadRun(spec, _) as run:
        run.prime()
        phased = Phased(run, test, killed.append)
        ramp, everything = (phased.run(each) for each in test.phases)
        with pytest.raises(LoadError, match="all: p9 does not run"):
            Phased(run, test, refuse).run(test.phases[1])
    assert isinstance(ramp, PhaseFound) and (ramp.joins, ramp.requests, ramp.killed) == (None, None, "")
    assert ramp.round.sent + ramp.round.unsent == 100 and ramp.round.balances and ramp.round.rate == 250
    assert everything.joins and (everything.joins.succeeded, everything.joins.failed) == (3, 0)
    assert everything.requests and (everything.requests.succeeded, everything.requests.failed) == (18, 0)
    assert killed == ["p9"] and everything.round.balances and everything.round.slot_s == ramp.round.slot_s


def refuse(name: str) -> None:
    raise ValueError(f"{name} does not run")


def test_all_rounds_as_one() -> None:
    slots: tuple[dict[int, int], ...] = ({500: 5}, {600: 5}, {900: 1})
    one = replace(ROUND, slots=slots, slot_s=0.5, sending_s=1.0, lines=(Line(0, 0, 11, 11, 0, 0, 0, 0, 0),))
    other = replace(one, rate=3000.0, lines=(Line(0, 0, 20, 11, 9, 0, 0, 0, 0),), over=(Over(0, 2, {"a": 2}),))
    found: Round = together([one, other])
    assert found.total == Line(0, 0, 31, 22, 9, 0, 0, 0, 0) and found.rate == 2000.0
    assert found.slots == ({500: 5}, {600: 5, 900: 1}) * 2 and found.sending_s == 2.0
    assert found.quantiles_ms["max"] == 0.9 and found.over == (Over(0, 7, {"a": 7}),)
    assert found.repaired == (6,) and found.sent == 2000


def test_slots_in_which_nothing_arrived_are_there_all_the_same() -> None:
    assert in_time(replace(ROUND, slots=({500: 1},), slot_s=0.5, sending_s=2.0)) == [{500: 1}, {}, {}, {}]


def _(progress: Progress) -> None:
    """Nobody watches."""

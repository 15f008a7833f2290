"""A load test as a whole, on the shared mesh: its processes, its rounds, and what happens when one dies."""

from __future__ import annotations

import pytest

from nodes.load import run as run_module
from nodes.load.crew import Progress
from nodes.load.run import LoadRun
from nodes.load.schedule import Spec, topic_names
from tests.support.processes import ProxyProcess

TOPICS = topic_names("run/{n}/x", 10)


def spec(*bases: str) -> Spec:
    filters = ("run/+/x", "run/0003/x", "+/0001/+")
    return Spec(2, 3, TOPICS, filters, 64, 400.0, 0.1, 0.5, bases)


def test_two_rounds_balance_and_say_what_arrived_unmatched(mesh: list[ProxyProcess]) -> None:
    seen: list[Progress] = []
    with LoadRun(spec(mesh[0].base, mesh[1].base), seen.append) as run:
        assert run.covered == ("p1", "p2")
        run.prime()
        first, second = run.measure(400.0), run.measure(800.0)
    assert run.unconfirmed == 0 and seen[-1].accepted > 0
    for found, rate in ((first, 400), (second, 800)):
        # Of every 20 messages of the two publishers the first filter takes all, and each other one two.
        assert found.balances and found.lost == 0 and len(found.lines) == 6
        assert found.sent + found.unsent == rate * 0.6
        assert found.delivered == pytest.approx((found.sent * 5 / 6) * 1.2, rel=0.1)
        assert 0 < found.quantiles_ms["p50"] <= found.quantiles_ms["p99"] <= found.quantiles_ms["max"]
    due = [sum(line.due for line in second.lines if line.subscriber == each) for each in range(3)]
    assert due[0] == 20 + first.sent + second.sent and due[1] == pytest.approx(due[0] / 10, rel=0.1)
    over = second.over[2]
    assert over.by_filter["+/0001/+"] == due[0] - due[2] <= over.arrived, "its prefix is empty: everything comes"
    assert second.over[1].arrived == 0


def test_what_is_missing_is_waited_for_and_then_found(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that claims one message more than it sent: nobody can have been told of it."""
    monkeypatch.setattr(run_module, "QUIET_S", 1.5)
    with LoadRun(spec(mesh[0].base), _) as run:
        run.prime()
        honest = run._finished

        def claim(seconds: float) -> None:
            honest(seconds)
            next(iter(run._published.values()))["run/0003/x"] += 1

        monkeypatch.setattr(run, "_finished", claim)
        found = run.measure(200.0)
    wrong = [(line.subscriber, line.publisher, line.missing) for line in found.lines if not line.balances]
    assert wrong == [(0, 0, 1), (1, 0, 1)] and not found.balances


def _(progress: Progress) -> None:
    """Nobody watches."""

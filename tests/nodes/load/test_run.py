"""A load test as a whole, on the shared mesh: its processes, its rounds, and what happens when one dies."""

from __future__ import annotations

import pytest

from nodes.load import run as run_module
from nodes.load.crew import LoadError, Progress
from nodes.load.report import by_subscriber
from nodes.load.run import LoadRun, over_time
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
    assert run.unconfirmed == 0 and any(each.sent.due for each in seen)
    for found, rate in ((first, 400), (second, 800)):
        # All figures are of the measured half second: neither first messages nor the warm-up are in them.
        assert found.balances and found.loss == 0 and len(found.lines) == 6
        assert found.sent + found.unsent == rate * 0.5
        # Of every 20 messages of the two publishers the first filter takes all, and each other one two.
        due = [each.due for each in by_subscriber(found.lines)]
        assert due[0] == found.sent and due[1:] == pytest.approx([found.sent / 10] * 2, abs=4)
        assert found.total.delivered == sum(due) == sum(sum(slot.values()) for slot in found.slots)
        assert 0 < found.quantiles_ms["p50"] <= found.quantiles_ms["p99"] <= found.quantiles_ms["max"]
        over = found.over[2]
        assert over.by_filter["+/0001/+"] == due[0] - due[2] <= over.arrived, "its prefix is empty: everything comes"
        assert found.over[1].arrived == 0


def test_a_stretch_of_another_length_and_without_warming_up(mesh: list[ProxyProcess]) -> None:
    doing: list[str] = []
    with LoadRun(spec(mesh[0].base), lambda progress: doing.append(progress.doing)) as run:
        run.prime()
        found = run.measure(None, 0.1, 0.0)
    assert found.rate is None and found.balances and found.sent > 0 == found.unsent
    assert not any("warming up" in each for each in doing) and found.elapsed_s >= 0.1


def test_what_is_missing_is_waited_for_and_then_found(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publisher that claims one message more than it sent: nobody can have been told of it."""
    monkeypatch.setattr(run_module, "QUIET_S", 1.5)
    with LoadRun(spec(mesh[0].base), _) as run:
        run.prime()
        cook(run, monkeypatch)
        found = run.measure(200.0, warm_up_s=0.0)
    wrong = [(line.subscriber, line.publisher, line.missing) for line in found.lines if not line.balances]
    assert wrong == [(0, 0, 1), (1, 0, 1)] and not found.balances


def cook(run: LoadRun, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = run._finished

    def claim(seconds: float) -> None:
        honest(seconds)
        publisher, counts = next(iter(run._span.items()))
        run._span = {**run._span, publisher: {**counts, "run/0003/x": counts["run/0003/x"] + 1}}

    monkeypatch.setattr(run, "_finished", claim)


def test_what_the_warm_up_leaves_open_would_be_counted_later_and_ends_the_run(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "QUIET_S", 1.5)
    wanted = "subscriber 0: of 21 messages of the warm-up 20 are accounted for"
    with pytest.raises(LoadError, match=wanted), LoadRun(spec(mesh[0].base), _) as run:
        run.prime()
        cook(run, monkeypatch)
        run.measure(200.0)


def test_latencies_of_all_subscribers_by_slot() -> None:
    assert over_time([[{1: 2}, {}, {5: 1}], [{1: 1, 3: 1}]]) == [{1: 3, 3: 1}, {}, {5: 1}]


def _(progress: Progress) -> None:
    """Nobody watches."""

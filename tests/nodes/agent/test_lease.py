"""An agent's lease by its own clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.agent.lease import RENEWALS, Lease


def present(asked_at: float = 10.0) -> Lease:
    lease = Lease(9.0)
    assert lease.take_due(asked_at)
    lease.answered(asked_at)
    lease.renewed(asked_at)
    return lease


def test_it_is_asked_for_at_once_and_then_three_times_each() -> None:
    lease = Lease(9.0)
    assert not lease.is_signed_in and lease.take_due(0.0) and not lease.take_due(99.0)
    lease = present(10.0)
    assert lease.is_signed_in and not lease.take_due(12.9)
    assert lease.take_due(10.0 + 9.0 / RENEWALS)


def test_it_is_counted_from_when_the_renewal_was_asked() -> None:
    lease = present(10.0)
    assert lease.runs(18.9) and not lease.runs(19.0)
    lease.renewed(8.0)
    assert lease.runs(18.9), "an older renewal that comes late takes nothing away"
    lease.renewed(12.0)
    assert lease.runs(20.9) and not lease.runs(21.0)


def test_it_runs_out_once_and_a_renewal_makes_that_good() -> None:
    lease = present(10.0)
    assert not lease.run_out(18.9)
    assert lease.run_out(19.0) and not lease.run_out(20.0)
    assert lease.state == "uncertain" and not lease.runs(18.0)
    lease.renewed(19.5)
    assert lease.state == "present" and lease.runs(28.0)


def test_what_is_lost_is_news_once_and_asked_for_at_once() -> None:
    lease = present(10.0)
    assert lease.lost(11.0) and not lease.is_signed_in and not lease.runs(11.0)
    assert lease.take_due(11.0)
    assert not lease.lost(11.5) and lease.take_due(11.5)


def test_what_is_put_off_is_asked_then_and_what_is_hastened_waits_for_its_answer() -> None:
    lease = present(10.0)
    lease.put_off(11.0)
    assert not lease.take_due(10.9) and lease.take_due(11.0)
    lease.hasten(11.5)
    assert not lease.take_due(11.5), "an answer is awaited"
    lease.answered(11.0)
    lease.hasten(11.6)
    assert lease.take_due(11.6)


@given(st.lists(st.tuples(st.sampled_from(["renewed", "run_out", "lost"]), st.floats(0, 100))))
def test_it_runs_only_within_its_length_of_an_answered_renewal(steps: list[tuple[str, float]]) -> None:
    lease, asked, now = Lease(9.0), -99.0, 0.0
    for step, seconds in steps:
        now += seconds
        match step:
            case "renewed":
                lease.renewed(now)
                asked = now
            case "run_out":
                lease.run_out(now)
            case "lost":
                lease.lost(now)
                asked = -99.0
        assert not lease.runs(now) or now < asked + 9.0

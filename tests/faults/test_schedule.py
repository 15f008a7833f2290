"""Schedules of faults: repeated by their seed, never two faults at one target, and every kind comes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.schedule import LASTS_S, PAUSE_S, draw, steps

TARGETS = {
    "kill": ["p1", "p2", "f1"],
    "restart": ["p1", "p2", "f1"],
    "stand still": ["p1", "p2", "f1", "w1"],
    "cut": ["h1", "h2"],
    "slow": ["w1"],
    "full disk": ["store"],
}


def test_the_seed_repeats_the_schedule() -> None:
    first, again, other = (draw(seed, targets=TARGETS, over_s=5, count=5) for seed in (1, 1, 2))
    assert first == again != other
    assert str(first[0]) == str(again[0]) and f"{first[0].what} {first[0].target} for" in str(first[0])


def test_a_target_suffers_one_fault_at_a_time_and_all_kinds_come() -> None:
    kinds: Counter[str] = Counter()
    at_once = 0
    for seed in range(200):
        schedule = draw(seed, targets=TARGETS, over_s=5, count=5)
        assert len(schedule) == 5 and schedule == sorted(schedule)
        for number, fault in enumerate(schedule):
            kinds[fault.what] += 1
            assert 0 <= fault.at_s <= 5 and fault.target in TARGETS[fault.what]
            assert LASTS_S[fault.what][0] <= fault.for_s <= LASTS_S[fault.what][1]
            for later in schedule[number + 1 :]:
                at_once += later.at_s < fault.end_s
                assert later.target != fault.target or later.at_s >= fault.end_s + PAUSE_S
    assert kinds.keys() == LASTS_S.keys() and at_once > 100


def test_longer_ones() -> None:
    longest = max(
        fault.for_s
        for seed in range(50)
        for fault in draw(seed, targets={"cut": ["h1", "h2", "h3"]}, over_s=60, count=3, times=12)
    )
    assert LASTS_S["cut"][1] < longest <= LASTS_S["cut"][1] * 12


def test_what_cannot_be_done_is_not_drawn_and_what_does_not_fit_is_said() -> None:
    only = {"kill": ["p1", "p2", "p3"], "cut": []}
    assert {fault.what for fault in draw(3, targets=only, over_s=5, count=4)} == {"kill"}
    with pytest.raises(ValueError, match="50 faults do not fit into 1 s"):
        draw(1, targets=only, over_s=1, count=50)
    with pytest.raises(ValueError, match="no such kind of fault"):
        draw(1, targets={"flood": ["h1"]}, over_s=1, count=1)


def test_every_fault_begins_and_ends_in_the_order_of_time() -> None:
    schedule = draw(5, targets=TARGETS, over_s=5, count=6)
    order = steps(schedule)
    assert [at_s for at_s, _, _ in order] == sorted(at_s for at_s, _, _ in order) and len(order) == 12
    for fault in schedule:
        assert order.index((fault.at_s, True, fault)) < order.index((fault.end_s, False, fault))

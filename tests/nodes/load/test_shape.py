"""Rates that change over time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.load.shape import Piece, Shape, Shaped, bursts

S = 1_000_000_000
RATES = st.floats(0.5, 5000)
PIECES = st.lists(st.builds(Piece, st.floats(0.05, 3), RATES, RATES), min_size=1, max_size=4)


@given(PIECES, st.floats(0, 1))
def test_when_and_how_many_say_the_same(pieces: list[Piece], share: float) -> None:
    shape = Shape(tuple(pieces))
    at = share * shape.seconds
    assert shape.when(shape.count(at)) == pytest.approx(at, abs=1e-6, rel=1e-6)


@given(PIECES, st.integers(1, 5), st.floats(0, 1.5))
def test_what_is_due_is_what_was_intended_by_then(pieces: list[Piece], publishers: int, share: float) -> None:
    shape = Shape(tuple(pieces))
    plan = Shaped(7 * S, 7 * S + int(shape.seconds * S), shape.mean, shape, publishers, S)
    now = 7 * S + int(share * shape.seconds * S)
    for publisher in range(publishers):
        count = plan.due(publisher, now)
        if count:
            assert plan.due_ns(publisher, count - 1) <= min(now, plan.end_ns - 1)
        assert plan.due_ns(publisher, count) > now - 1000 or plan.due_ns(publisher, count) >= plan.end_ns - 1000


def test_a_ramp_sends_as_many_as_its_mean() -> None:
    shape = Shape((Piece(10.0, 100.0, 300.0),))
    plan = Shaped(0, 10 * S, shape.mean, shape, 2, S)
    assert (shape.seconds, shape.mean) == (10.0, 200.0) and plan.scheduled(0) + plan.scheduled(1) == 2000
    assert plan.slot_ns == S
    half = plan.due(0, 5 * S) + plan.due(1, 5 * S)
    assert half == pytest.approx(750, abs=2), "100/s to 200/s in the first half"
    assert Piece(2.0, 0.0, 10.0).when(2.5) == pytest.approx(1.0) and Piece(2.0, 0.0, 10.0).when(0) == 0.0


def test_bursts() -> None:
    shape = bursts(5.0, 10.0, 100.0, every_s=2.0, for_s=0.5)
    assert [(round(each.seconds, 6), each.first) for each in shape.pieces] == [
        (1.5, 10.0), (0.5, 100.0), (1.5, 10.0), (0.5, 100.0), (1.0, 10.0)
    ]  # fmt: skip
    assert shape.count(2.0) == pytest.approx(65.0)

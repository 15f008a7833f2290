"""Back-off: its bounds, its lower bound from a Busy answer, its end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.rules.backoff import Backoff


def test_the_widest_delay_doubles_up_to_the_cap() -> None:
    patience = Backoff(base_s=1.0, cap_s=5.0, attempts=6)
    assert [patience.delay_s(n, 1.0) for n in range(1, 7)] == [1.0, 2.0, 4.0, 5.0, 5.0, None]
    assert patience.delay_s(3, 0.0) == 0.0
    assert patience.delay_s(3, 0.5) == 2.0


def test_it_gives_up_after_the_last_attempt() -> None:
    assert Backoff(attempts=1).delay_s(1, 0.5) is None
    assert Backoff(attempts=2).delay_s(1, 0.5) is not None
    assert Backoff(attempts=2).delay_s(3, 0.5, retry_after_s=9.0) is None


def test_a_busy_answer_is_a_lower_bound_and_the_jitter_still_spreads() -> None:
    patience = Backoff(base_s=1.0, cap_s=5.0)
    assert patience.delay_s(1, 0.0, retry_after_s=3.0) == 3.0
    assert patience.delay_s(1, 0.5, retry_after_s=3.0) == 3.5


@pytest.mark.parametrize(("asked", "waited"), [(1e300, 60.0), (float("inf"), 60.0), (-5.0, 0.0), (float("nan"), 0.0)])
def test_an_absurd_wish_of_a_peer_is_bounded(asked: float, waited: float) -> None:
    assert Backoff().delay_s(1, 0.0, retry_after_s=asked) == waited


@given(st.integers(1, 10**6), st.floats(0, 1, exclude_max=True), st.floats(0, 60))
def test_every_delay_is_within_its_bounds(attempt: int, drawn: float, asked: float) -> None:
    patience = Backoff(base_s=0.5, cap_s=20.0, attempts=10**6 + 1)
    delay_s = patience.delay_s(attempt, drawn, asked)
    assert delay_s is not None and asked <= delay_s <= asked + 20.0


@pytest.mark.parametrize("bad", [{"base_s": 0.0}, {"base_s": 30.0}, {"attempts": 0}, {"max_retry_after_s": -1.0}])
def test_a_back_off_that_cannot_work_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected 0 < base_s <= cap_s"):
        Backoff(**bad)  # type: ignore[arg-type]

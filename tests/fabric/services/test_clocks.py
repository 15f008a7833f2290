"""Clocks: lateness beside the quick messages, however the clocks differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.services.clocks import MAX_PEERS, WINDOW_S, Clocks, words

S = 10**9
WALL = 1_700_000_000 * S


@pytest.mark.parametrize("ahead_s", [0, 3, 60, -60, 3_600, -86_400])
def test_lateness_does_not_depend_on_the_clocks(ahead_s: int) -> None:
    clocks = Clocks()

    def heard(at_s: float, delay_s: float) -> float:
        arrived = WALL + int((at_s + delay_s) * S)
        return clocks.heard("peer", WALL + int(at_s * S) - ahead_s * S, arrived, at_s + delay_s)

    assert heard(0, 0.001) == 0
    assert heard(1, 5.0) == pytest.approx(4.999)
    assert heard(9, 0.003) == pytest.approx(0.002)
    assert clocks.ahead_s("peer") == pytest.approx(ahead_s + 0.001)
    assert clocks.widest_s == pytest.approx(abs(ahead_s + 0.001))


def test_the_first_message_of_a_peer_is_not_late() -> None:
    clocks = Clocks()
    assert clocks.ahead_s("peer") is None and clocks.widest_s == 0
    assert clocks.heard("peer", WALL - 60 * S, WALL, 0.0) == 0
    assert clocks.heard("other", WALL, WALL, 0.0) == 0, "each has its own clock"


def test_a_clock_that_is_set_forward_shows_at_once_and_one_set_back_in_a_minute() -> None:
    clocks = Clocks()
    assert clocks.heard("peer", WALL, WALL, 0.0) == 0
    assert clocks.heard("peer", WALL + 10 * S, WALL, 1.0) == 0
    assert clocks.heard("peer", WALL, WALL, 2.0) == pytest.approx(10)
    late = [clocks.heard("peer", WALL, WALL, 2.0 + second) for second in range(int(2 * WINDOW_S) + 1)]
    assert late[0] == pytest.approx(10) and late[-1] == 0


def test_what_is_known_has_a_bound() -> None:
    clocks = Clocks()
    for number in range(MAX_PEERS + 10):
        clocks.heard(number, WALL, WALL, 0.0)
        clocks.heard("kept", WALL, WALL, 0.0)
    assert clocks.ahead_s(0) is None and clocks.ahead_s("kept") == 0


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.floats(0, 1e6)), max_size=50))
def test_nothing_is_late_by_less_than_nothing(heard: list[tuple[int, int, float]]) -> None:
    clocks = Clocks()
    for sent_ns, wall_ns, now in sorted(heard, key=lambda each: each[2]):
        assert clocks.heard("peer", sent_ns, wall_ns, now) >= 0


def test_words() -> None:
    assert words(61.23) == words(-61.23) == "clocks differ by 61.2 s"
    assert words(0.2) == words(None) == ""

"""What the browsers of one host and of one network may cost together."""

from __future__ import annotations

from nodes.gateway.budgets import Budgets, Debt, Shares
from nodes.gateway.limits import Limits

LIMITS = Limits(rate=10, burst=20, byte_rate=1_000, byte_burst=5_000)
SHARES = Shares(sockets=2, new_rate=2, new_burst=4, back_rate=5, back_burst=10)
HOST, NEIGHBOUR, ELSEWHERE = "203.0.113.9", "203.0.113.10", "198.51.100.1"


def test_a_debt_is_told_and_made_good_by_time() -> None:
    debt = Debt(2.0, 4.0, 10.0)
    assert [debt.take(2, 10.0) for _ in range(4)] == [0.0, 0.0, 1.0, 2.0]
    assert debt.take(1, 5.0) == 2.5, "no clock that goes back"
    assert debt.take(0, 12.5) == 0.0
    debt.give_back(3)
    assert debt.take(3, 12.5) == 0.0
    assert debt.take(4, 1_000.0) == 0.0 and debt.take(1, 1_000.0) == 0.5, "never more than the burst"


def test_sockets_of_one_host_share_their_messages_and_others_have_theirs() -> None:
    budgets = Budgets(LIMITS, SHARES)
    waits = [budgets.wait_s(HOST, 1, 0.0) for _ in range(60)]
    assert waits[:40] == [0.0] * 40 and waits[40] == 1 / 20 and waits[59] == 1.0
    assert budgets.wait_s(ELSEWHERE, 1, 0.0) == 0.0
    assert budgets.wait_s(HOST, 1, 60.0) == 0.0


def test_bytes_are_shared_too() -> None:
    budgets = Budgets(LIMITS, SHARES)
    assert [budgets.wait_s(HOST, 5_000, 0.0) for _ in range(3)] == [0.0, 0.0, 2.5]


def test_hosts_of_one_network_share_twice_as_much() -> None:
    budgets = Budgets(LIMITS, SHARES)
    waits = [budgets.wait_s(f"203.0.113.{number}", 1, 0.0) for number in range(90)]
    assert waits[:80] == [0.0] * 80 and waits[80] > 0.0
    of_v6 = [budgets.wait_s(f"2001:db8:1:{number:x}::/64", 1, 0.0) for number in range(90)]
    assert of_v6[:80] == [0.0] * 80 and of_v6[80] > 0.0


def test_what_would_wait_too_long_spends_nothing() -> None:
    budgets = Budgets(LIMITS, SHARES)
    budgets.wait_s(HOST, 10_000, 0.0)
    assert budgets.wait_s(HOST, 4_000, 0.0, 1.0) == 2.0
    assert budgets.wait_s(HOST, 1_000, 0.0, 1.0) == 0.5, "the one before has spent nothing"


def test_new_sessions_have_a_rate_for_each_host_and_network() -> None:
    budgets = Budgets(LIMITS, SHARES)
    assert [budgets.may_begin(HOST, 0.0) for _ in range(5)] == [True] * 4 + [False]
    assert [budgets.may_begin(NEIGHBOUR, 0.0) for _ in range(4)] == [True] * 4
    assert not budgets.may_begin("203.0.113.11", 0.0), "eight of the network"
    assert budgets.may_begin(ELSEWHERE, 0.0) and budgets.may_begin(HOST, 1.0)


def test_sessions_that_come_back_have_a_lane_that_new_ones_cannot_fill() -> None:
    budgets = Budgets(LIMITS, SHARES)
    while budgets.may_begin(HOST, 0.0):
        pass
    assert [budgets.may_come_back(HOST, 0.0) for _ in range(11)] == [True] * 10 + [False]


def test_shares_go_with_the_rate_of_new_sessions() -> None:
    assert Shares.of(2.0) == Shares()
    assert Shares.of(20.0) == Shares(new_rate=20, new_burst=1_000, back_rate=500, back_burst=10_000)


def test_so_many_hosts_are_remembered_and_those_that_are_busy_first() -> None:
    budgets = Budgets(LIMITS, SHARES, max_keys=4)
    while budgets.may_begin(HOST, 0.0):
        pass
    for number in range(50):
        budgets.may_begin(f"10.0.{number}.1", 0.0)
        assert not budgets.may_begin(HOST, 0.0)
    assert len(budgets) == 4


def test_those_without_an_address_are_one_host_of_one_network() -> None:
    budgets = Budgets(LIMITS, SHARES)
    assert [budgets.may_begin("unknown", 0.0) for _ in range(5)] == [True] * 4 + [False]

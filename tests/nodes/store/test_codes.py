"""Codes and places: drawn, given back, and never more than there are; on both databases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fabric.errors import Busy
from nodes.rules.contact_codes import CodeFormat
from nodes.store import codes, expiry, pages
from nodes.store.records import Page
from nodes.store.store import Store

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def test_a_code_is_drawn_once_until_it_is_given_back(bench: Bench) -> None:
    store = bench.open(capacity=1, codes=CodeFormat(1, "01"))
    with store.transaction() as tx:
        assert {codes.draw(tx), codes.draw(tx)} == {"0", "1"}
        with pytest.raises(Busy, match="nearly all contact codes"):
            codes.draw(tx)
        codes.give_back(tx, ["1"])
        assert codes.draw(tx) == "1", "it needs no rest"


def test_a_code_that_rests_says_whether_it_was_used(bench: Bench) -> None:
    bench.store = bench.open(quarantine_s=50.0)
    drawn = bench.do(lambda tx: [codes.draw(tx), codes.draw(tx)])
    assert not bench.do(codes.was_used, drawn[0]), "it is held"
    bench.do(codes.rest, drawn[0], used=True)
    bench.do(codes.rest, drawn[1], used=False)
    assert [bench.do(codes.was_used, c) for c in drawn] == [True, False]
    bench.pass_time(51)
    assert not bench.do(codes.was_used, drawn[0])


def test_places_are_counted_once_and_again_after_a_rollback(bench: Bench) -> None:
    bench.store = bench.open(capacity=2)
    bench.page("s1")
    with bench.store.transaction() as tx:
        tx.begin_savepoint()
        codes.take_place(tx, "host")
        assert tx.places_left == codes.count_places(tx) == 0
        with pytest.raises(Busy, match="all 2 places are taken"):
            codes.take_place(tx, "host")
        tx.roll_back_savepoint()
        assert tx.places_left is None and codes.count_places(tx) == 1
        tx.release_savepoint()


@pytest.mark.parametrize("capacity", [1, 7])
def test_two_frame_nodes_at_once_never_exceed_the_capacity(bench: Bench, capacity: int) -> None:
    outcomes: list[object] = []

    def ask(store: Store, name: str) -> None:
        for begin in range(0, 10, 5):
            sessions = [f"{name}{n}" for n in range(begin, begin + 5)]
            grants = [lambda tx, s=session: pages.grant_code(tx, s, "home", 30.0) for session in sessions]
            outcomes.extend(store.commit_together(grants))

    threads = [threading.Thread(target=ask, args=(bench.open(capacity=capacity), name)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Busy) for outcome in outcomes) == 20 - capacity
    assert bench.do(expiry.counts)["pages"] == capacity


def test_who_asks_for_all_places_leaves_the_last_ones_to_known_hosts_up_to_their_share(bench: Bench) -> None:
    def grant(host: str, number: int) -> Page:
        page: Page = bench.do(pages.grant_code, f"{host}-{number}", "home", 600.0, "code", "", host)
        return page

    def is_refused(host: str, number: int, why: str) -> None:
        bench.refused(Busy, lambda tx: pages.grant_code(tx, f"{host}-{number}", "home", 600.0, "code", "", host), why)

    bench.store = bench.open(capacity=40)
    for number in range(20):
        grant("old", number)
    bench.pass_time(61)
    for number in range(16):
        grant("greedy", number)
    is_refused("greedy", 16, "the last places are for other page hosts")
    is_refused("invented", 0, "the last places are for other page hosts")
    assert grant("old", 20).code and grant("greedy", 0).code, "who has a place keeps it"
    bench.pass_time(61)  # now greedy is known, too, and 40 places are for two
    assert grant("greedy", 16).code
    is_refused("old", 21, "the last places are for other page hosts")
    assert grant("greedy", 17).code and grant("greedy", 18).code
    is_refused("greedy", 19, "all 40 places are taken")


def test_one_host_alone_takes_all_places(bench: Bench) -> None:
    bench.store = bench.open(capacity=20)
    for number in range(20):
        bench.pass_time(10)
        assert bench.do(pages.grant_code, f"page-{number}", "home", 600.0, "code", "", "only").code

"""Codes and places: drawn, given back, and never more than there are; on both databases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from fabric.errors import Busy
from nodes.rules.contact_codes import CodeFormat
from nodes.store import codes, expiry, pages
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
        codes.take_place(tx)
        assert tx.places_left == codes.count_places(tx) == 0
        with pytest.raises(Busy, match="all 2 places are taken"):
            codes.take_place(tx)
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

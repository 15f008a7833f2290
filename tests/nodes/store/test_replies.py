"""Requests are answered once, however often they come; on both databases."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from fabric.errors import Busy, NotAllowed
from nodes.rules.errors import UnknownContactCode
from nodes.store import pages, replies
from nodes.store.store import Store
from nodes.store.transaction import Transaction

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


class Counted:
    """An operation that counts how often it has run."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self) -> dict[str, Any]:
        self.runs += 1
        return {"run": self.runs, "code": "0042", "nothing": None}


def test_a_replayed_key_gets_the_same_reply_and_nothing_happens(bench: Bench) -> None:
    operation = Counted()
    first = bench.do(replies.once, "k1", {"op": "x", "n": 1}, operation)
    assert bench.do(replies.once, "k1", {"n": 1, "op": "x"}, operation) == first
    bench.store = bench.open()
    assert bench.do(replies.once, "k1", {"op": "x", "n": 1}, operation) == first
    assert operation.runs == 1
    assert bench.do(replies.once, "k2", {"op": "x", "n": 1}, operation)["run"] == 2


def test_a_key_is_replayed_within_one_batch_too(bench: Bench) -> None:
    operation = Counted()
    ask = [lambda tx: replies.once(tx, "k1", {"op": "x"}, operation)] * 2
    first, second = bench.store.commit_together(ask)
    assert first == second == {"run": 1, "code": "0042", "nothing": None}


def test_a_request_that_fails_leaves_no_reply(bench: Bench) -> None:
    def broken(tx: Transaction) -> dict[str, Any]:
        replies.once(tx, "k1", {}, Counted())
        raise ZeroDivisionError

    outcomes = bench.store.commit_together([broken, lambda tx: replies.once(tx, "k2", {}, Counted())])
    assert isinstance(outcomes[0], ZeroDivisionError)
    assert [row[0] for row in bench.tables("replies")["replies"]] == ["k2"]


def test_a_key_for_another_request_is_refused(bench: Bench) -> None:
    bench.do(lambda tx: replies.once(tx, "k1", {"op": "x"}, Counted()))
    bench.refused(
        NotAllowed, lambda tx: replies.once(tx, "k1", {"op": "y"}, Counted()), "'k1' has been used for another request"
    )


def test_a_reply_is_kept_for_its_time_only(bench: Bench) -> None:
    operation = Counted()
    bench.do(replies.once, "k1", {}, operation)
    bench.pass_time(250)
    bench.do(replies.once, "k1", {}, operation)
    assert operation.runs == 1
    bench.pass_time(51)
    assert bench.do(replies.once, "k1", {"op": "y"}, operation)["run"] == 2


def test_a_refused_request_can_be_tried_again_under_its_key(bench: Bench) -> None:
    bench.store = bench.open(capacity=1)
    bench.page("s1")

    def ask(tx: Transaction) -> dict[str, Any]:
        return replies.once(tx, "k1", {"op": "grant"}, lambda: {"code": pages.grant_code(tx, "s2", "home", 30.0).code})

    bench.refused(Busy, ask)
    bench.do(pages.release, "s1")
    code = bench.do(ask)["code"]
    assert code == bench.code("s2")


def test_a_wrong_code_costs_one_attempt_however_often_it_is_replayed(bench: Bench) -> None:
    bench.agent("a")

    def ask(tx: Transaction) -> dict[str, Any]:
        return replies.once(tx, "k1", {"op": "join"}, lambda: pages.join(tx, "a", "000000", "node")._asdict())

    errors = {str(bench.refused(UnknownContactCode, ask)) for _ in range(3)}
    assert len(errors) == 1
    assert bench.wrong_codes_at("node") == 1


def test_two_frame_nodes_with_one_key_at_once_do_it_once(bench: Bench) -> None:
    operation = Counted()
    inside, found = threading.Event(), []
    others = [bench.open(), bench.open()]

    def slowly() -> dict[str, Any]:
        threads[1].start()  # the other one asks while this one is in the middle
        inside.wait(0.2)
        return operation()

    def ask(store: Store, work: Any) -> None:
        with store.transaction() as tx:
            found.append(replies.once(tx, "k1", {}, work))

    threads = [threading.Thread(target=ask, args=(s, w)) for s, w in zip(others, (slowly, operation), strict=True)]
    threads[0].start()
    threads[0].join()
    threads[1].join()
    assert operation.runs == 1 and found[0] == found[1]

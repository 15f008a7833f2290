"""One transaction: one moment, locks, savepoints; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nodes.store import pages

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def test_all_that_happens_in_it_happens_at_one_moment(bench: Bench) -> None:
    with bench.store.transaction() as tx:
        first = pages.grant_code(tx, "s1", "home", 30.0)
        bench.now += 5
        second = pages.grant_code(tx, "s2", "home", 30.0)
    assert first.lease_until == second.lease_until == tx.now + 30.0


def test_a_savepoint_takes_back_what_came_after_it(bench: Bench) -> None:
    with bench.store.transaction() as tx:
        pages.grant_code(tx, "s1", "home", 30.0)
        assert not tx.uses_savepoints
        tx.begin_savepoint()
        pages.grant_code(tx, "s2", "home", 30.0)
        assert tx.places_left == 98
        tx.roll_back_savepoint()
        assert tx.uses_savepoints and tx.places_left is None
        tx.release_savepoint()
        pages.grant_code(tx, "s3", "home", 30.0)
    assert [row[0] for row in bench.tables("pages")["pages"]] == ["s1", "s3"]


def test_of_two_transactions_one_has_the_lock_until_its_commit(postgres: PostgresServer) -> None:
    from tests.support.stores import Bench

    bench = Bench(postgres.create_database())
    with bench.store.transaction() as one, bench.open().transaction() as other:
        one.lock(7)
        assert one.try_lock(7) and not other.try_lock(7) and other.try_lock(8)
    with bench.store.transaction() as later:
        assert later.try_lock(7)
    bench.close()


@pytest.mark.parametrize("key", [1, 0x5C0DE5])
def test_sqlite_has_one_writer_and_needs_no_lock(bench: Bench, key: int) -> None:
    with bench.store.transaction() as tx:
        tx.lock(key)
        assert tx.try_lock(key)

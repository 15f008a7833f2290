"""A store that goes away and comes back: who is refused, who tries it, and what is logged."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric.errors import Busy, FabricError
from nodes.frame_node.watched_store import WatchedStore
from nodes.rules.errors import LeaseExpired
from nodes.store import expiry, pages
from nodes.store.records import Page
from nodes.store.store import Store
from nodes.store.transaction import Transaction


class Away:
    """The write lock of a SQLite file, held as by a program that forgot it."""

    def __init__(self, path: Path) -> None:
        self._other = sqlite3.connect(path)

    def begin(self) -> None:
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self._other.execute("ROLLBACK")

    def close(self) -> None:
        self._other.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/store.db")
    with store.transaction() as tx:
        tx.sql.exec_driver_sql("PRAGMA busy_timeout = 20")
    yield store
    store.close()


@pytest.fixture
def away(store: Store, tmp_path: Path) -> Iterator[Away]:
    away = Away(tmp_path / "store.db")
    yield away
    away.close()


def grant(session: str) -> Callable[[Transaction], Page]:
    return lambda tx: pages.grant_code(tx, session, "home", 30.0)


def renew(tx: Transaction) -> Page:
    return pages.renew(tx, "never")


def test_while_it_answers_each_run_has_its_outcome(store: Store) -> None:
    watched = WatchedStore(store)
    page, refused = watched.commit([grant("s1"), renew])
    assert page.session == "s1" and isinstance(refused, LeaseExpired)
    with watched.transaction() as tx:
        assert expiry.counts(tx)["pages"] == 1 and watched.lock.locked()
    assert watched.answers and watched.problem() == "" and not watched.lock.locked()


def test_while_it_is_away_only_a_probe_tries_it(store: Store, away: Away, caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    watched = WatchedStore(store, clock=lambda: now)
    away.begin()
    with pytest.raises(Busy, match="the store does not answer: OperationalError"):
        watched.commit([grant("s1")])
    now += 5
    assert not watched.answers and watched.problem() == "the store has been away for 5 s"
    with pytest.raises(Busy):
        watched.probe(grant("s1"))
    away.end()
    tried: list[Transaction] = []
    with pytest.raises(Busy, match="the store does not answer; try again later") as caught:
        watched.commit([tried.append])
    assert not tried and caught.value.retry_after_s == 1.0, "it is not even tried"
    watched.probe(grant("s1"))
    assert watched.answers and watched.commit([grant("s1")])[0].version == 2
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2, "once away, once back"
    assert "OperationalError: database is locked" in said[0] and "answers again, after 5.0 s" in said[1]


def test_a_probe_that_fails_for_another_reason_has_found_the_store(store: Store, away: Away) -> None:
    def broken(tx: Transaction) -> None:
        raise ZeroDivisionError

    watched = WatchedStore(store)
    away.begin()
    with pytest.raises(Busy):
        watched.probe(broken)
    away.end()
    for run, error in ((broken, ZeroDivisionError), (renew, FabricError)):
        with pytest.raises(error):
            watched.probe(run)
        assert watched.answers

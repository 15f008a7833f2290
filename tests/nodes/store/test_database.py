"""Opening the two databases: durable, checked, and clear about what is wrong."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, text, update

from fabric.errors import Busy
from nodes.store.database import open_database
from nodes.store.schema import about, metadata

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytest_plugins = ("tests.support.stores",)


def ask(engine: Engine, question: str) -> object:
    with engine.begin() as connection:
        return connection.execute(text(question)).scalar()


@contextmanager
def listening(target: Any, what: str, hear: Callable[..., None]) -> Iterator[None]:
    event.listen(target, what, hear)
    try:
        yield
    finally:
        event.remove(target, what, hear)


def test_sqlite_is_durable_and_waits_for_other_writers(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/store.db")
    assert ask(engine, "PRAGMA journal_mode") == "wal"
    assert ask(engine, "PRAGMA synchronous") == 2  # FULL
    assert ask(engine, "PRAGMA busy_timeout") == 5000
    engine.dispose()


def test_a_write_lock_is_taken_before_the_first_read(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/store.db")
    other = sqlite3.connect(tmp_path / "store.db", timeout=0)
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.close()
    engine.dispose()


def test_postgresql_is_durable_whatever_its_default(postgres: PostgresServer) -> None:
    engine = open_database(postgres.create_database())
    assert ask(engine, "SHOW synchronous_commit") == "on"
    assert ask(engine, "SHOW lock_timeout") == "5s"
    assert ask(engine, "SHOW transaction_isolation") == "read committed"
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://host/db", "oracle://host/db"])
def test_any_other_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected sqlite:///path/to/file or postgresql://"):
        open_database(url)


def test_what_is_no_url_is_refused() -> None:
    with pytest.raises(ValueError, match="expected sqlite:///path/to/file or postgresql://"):
        open_database("store.db")


def test_a_server_that_is_not_there_is_busy(tmp_path: Path) -> None:
    with pytest.raises(Busy, match="the store does not answer"):
        open_database(f"postgresql://postgres@/x?host={tmp_path}")
    with pytest.raises(Busy, match="the store does not answer"):
        open_database(f"sqlite:///{tmp_path}/no/such/folder/store.db")


def test_tables_are_made_once_by_the_first_that_opens_it(database: str) -> None:
    engines: list[Engine] = []
    threads = [threading.Thread(target=lambda: engines.append(open_database(database))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(engines) == 4
    with engines[0].begin() as connection:
        for name in metadata.tables:
            rows = connection.execute(text(f"SELECT count(*) FROM {name}")).scalar()
            assert rows == (1 if name == "about" else 0)
    for engine in engines:
        engine.dispose()


def test_another_version_of_the_schema_is_refused(database: str) -> None:
    engine = open_database(database)
    with engine.begin() as connection:
        connection.execute(update(about).values(schema_version=99))
    engine.dispose()
    opened: list[object] = []
    with (
        listening(Engine, "connect", lambda connection, _record: opened.append(connection)),
        listening(Engine, "close", lambda connection, _record: opened.remove(connection)),
        pytest.raises(ValueError, match="schema version 99; this program knows version 3"),
    ):
        open_database(database)
    assert not opened, "no connection is left behind"

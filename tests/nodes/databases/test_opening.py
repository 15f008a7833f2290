"""Opening the two databases: durable, checked, and clear about what is wrong."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine, text

from fabric.errors import Busy
from nodes.databases.opening import open_database as open_with
from nodes.databases.opening import why_store
from nodes.store.database import open_database

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer

pytest_plugins = ("tests.support.stores",)


def ask(engine: Engine, question: str) -> object:
    with engine.begin() as connection:
        return connection.execute(text(question)).scalar()


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


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0o000, 0o022], ids=oct)
def test_sqlite_is_for_its_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        engine = open_database(f"sqlite:///{tmp_path}/store.db")
        ask(engine, "SELECT 1")
    finally:
        os.umask(before)
    assert modes(tmp_path) == dict.fromkeys(("store.db", "store.db-wal", "store.db-shm"), 0o600)
    engine.dispose()


def test_a_store_that_others_could_read_is_taken_from_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One of a version before, also while another frame node has it open."""
    other = sqlite3.connect(tmp_path / "store.db")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE a (b)")
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    assert len(modes(tmp_path)) == 3
    engine = open_database(f"sqlite:///{tmp_path}/store.db")
    assert set(modes(tmp_path).values()) == {0o600}
    assert f"{tmp_path}/store.db could be used by others" in caplog.text
    other.close()
    engine.dispose()


@pytest.mark.parametrize(
    "url",
    [
        "sesam", "sesam:sesam", "postgresql:/u:sesam@h/d", "postgresql://u:sesam", "postgresql://u@h:sesam/d",
        "postgresql://u:x@sesam@127.0.0.1/d", "postgresql://u:p?x@sesam@127.0.0.1/d", "postgresql://u:p/x@h/sesam@h/d",
        "postgresql://u:p/sesam@h:d", "postgresql://u:sesam@127.0.0.1:1/d?bad=1", "postgresql://h/d?port=sesam",
        "postgresql://u:sesam@127.0.0.1:1/d", "postgresql://u@127.0.0.1:1/d?password=sesam", "sqlite:///file:sesam?uri=1",
    ],
)  # fmt: skip
def test_no_error_tells_a_password(url: str) -> None:
    """What stands at a wrong place may be it, too."""
    with pytest.raises((ValueError, Busy)) as caught:
        open_database(url)
    told = [str(caught.value), *([why_store(caught.value)] if isinstance(caught.value, Busy) else [])]
    assert "sesam" not in " ".join(told)


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


def test_why_is_the_database_s_own_words_in_one_line() -> None:
    class Cause(Exception):
        orig = ValueError("connection refused\nIs the server running?")

    error = Busy("the store does not answer")
    assert why_store(error) == "the store does not answer"
    error.__cause__ = Cause()
    assert why_store(error) == "ValueError: connection refused"


def test_a_transaction_that_only_reads_waits_for_no_writer(database: str) -> None:
    engine = open_database(database)
    with engine.begin() as writer:
        writer.execute(text("UPDATE about SET private = 'x'"))
        with engine.connect().execution_options(reads=True) as reader, reader.begin():
            assert reader.execute(text("SELECT private FROM about")).scalar() != "x"
    engine.dispose()


def test_what_prepares_it_runs_in_its_first_transaction(database: str) -> None:
    with pytest.raises(ZeroDivisionError):
        open_with(database, lambda connection: [connection.execute(text("CREATE TABLE t (a INTEGER)")), 1 / 0])
    engine = open_with(database, lambda connection: connection.execute(text("CREATE TABLE t (a INTEGER)")))
    engine.dispose()

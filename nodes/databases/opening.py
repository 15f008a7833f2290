"""The two databases: how each is opened, what is durable, and which of their errors mean what."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeGuard

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from fabric import private_files
from fabric.errors import Busy, expected

log = logging.getLogger("nodes.store")

URL_WORDS = "sqlite:///path/to/file or postgresql://user@host/database"
_NO_URL = f"invalid store URL: expected {URL_WORDS}; in user and password %40 stands for @, %3A for : and %2F for /"
_DIALECT = re.compile(r"[a-z0-9]{1,20}(\+[a-z0-9]{1,20})?")

LOCK_TIMEOUT_MS = 5_000
"""How long a statement waits for somebody else's lock, in milliseconds; sqlite3 has the same default."""

IDLE_TIMEOUT_MS = 30_000
"""After this a server ends the transaction of a node that stopped in the middle, and frees what it had locked."""

CONNECT_S = 5
"""How long a connection may take, in seconds."""

WAL_AGAIN_S = 0.01

SCHEMA_LOCK = 0x5C0DB
"""The lock of PostgreSQL under which tables are made: two nodes may start at once."""

_POSTGRES_SETTINGS = (
    "SET synchronous_commit = on",
    f"SET lock_timeout = {LOCK_TIMEOUT_MS}",
    f"SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}",
)
_SQLITE_SETTINGS = (
    f"PRAGMA busy_timeout = {LOCK_TIMEOUT_MS}",
    "PRAGMA synchronous = FULL",  # a commit is on the disk before it returns, also over a loss of power
)
_MAGIC = b"SQLite format 3\0"
"""What a database begins with; a new one is empty."""
_BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite puts beside a database."""
_TAKEN_BACK = ("40001", "40P01")  # serialisation failure, deadlock


def open_database(url: str, prepare: Callable[[Connection], object]) -> Engine:
    """Return an engine for `url`.

    url:     `sqlite:///path/to/file`, or `postgresql://…`, which means psycopg 3
    prepare: called within the first transaction, which no other one runs beside, to make the tables
    errors:  ValueError for any other; Busy when the database does not answer
    """
    kind = url.split(":", 1)[0]
    file = url.removeprefix("sqlite:///")
    if kind in ("postgresql", "postgresql+psycopg"):
        engine = _open_postgres(_parsed(url))
    elif kind == "sqlite" and file not in (url, "", ":memory:") and not file.startswith("file:"):
        parsed = _parsed(url)
        _make_private(str(parsed.database))
        engine = create_engine(parsed, hide_parameters=True)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        known = _DIALECT.fullmatch(kind) is not None and "://" in url  # the rest may hold a password, or be one
        raise ValueError(expected("start of the store URL", kind, URL_WORDS) if known else _NO_URL)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
            prepare(connection)
    except BaseException as error:
        engine.dispose()
        if isinstance(error, DBAPIError):
            raise as_busy(error) from error
        raise
    return engine


def _parsed(url: str) -> URL:
    """Errors: ValueError without a word of `url`: what stands at a wrong place may be the password."""
    with contextlib.suppress(ArgumentError, ValueError):
        parsed = make_url(url)
        # A password with an @ in it would end early, and the rest of it be looked for as a host.
        if parsed.get_backend_name() == "sqlite" or "@" not in f"{parsed.host}{parsed.database}":
            return parsed
    raise ValueError(_NO_URL)


def _make_private(file: str) -> None:
    """Have the database be for its owner only, whatever the umask. Its -wal and -shm get the mode that it has.

    errors: PermissionError when others can read it, and it is not ours
    """
    try:
        with open(private_files.open_file(file, os.O_RDWR | os.O_CREAT), "rb") as found:
            if found.read(len(_MAGIC)) not in (_MAGIC, b""):
                return  # it is something else, and SQLite says so
    except OSError:
        return  # SQLite says why
    for each in (file, *(file + ending for ending in _BESIDE)):
        with contextlib.suppress(FileNotFoundError):
            if private_files.tighten(each):
                log.warning("%s could be used by others; from now on by its owner only", each)


def is_taken_back(error: DBAPIError) -> bool:
    """Say whether the transaction was lost by no mistake in it, and may simply be run again."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _TAKEN_BACK


def ends_transaction(error: BaseException) -> TypeGuard[DBAPIError]:
    """Say whether the whole transaction is lost with `error`: it was taken back, or the database is out of reach."""
    return isinstance(error, DBAPIError) and (is_taken_back(error) or type(error.orig).__name__ == "OperationalError")


def as_busy(error: DBAPIError) -> Busy:
    """Return what a sender is told when the database does not serve us now."""
    return Busy(f"the store does not answer: {type(error.orig).__name__}; try again later", retry_after_s=1.0)


def shown(url: str) -> str:
    """Return a store's URL as it may be shown: without a password, and without what stands behind a `?`."""
    parsed = _parsed(url)
    return URL.create(
        parsed.drivername, parsed.username, host=parsed.host, port=parsed.port, database=parsed.database
    ).render_as_string()


def why_store(error: Busy) -> str:
    """Return the database's own words for why it does not answer, in one line."""
    original: Any = getattr(error.__cause__, "orig", None)
    words = str(original).strip().splitlines() if original is not None else []
    return f"{type(original).__name__}: {words[0]}" if words else str(error)


def _open_postgres(url: URL) -> Engine:
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="READ COMMITTED",
            connect_args={"connect_timeout": CONNECT_S},
            hide_parameters=True,  # codes and session ids stay out of messages and logs; the same for SQLite
        )
    except ArgumentError:
        raise ValueError(_NO_URL) from None
    except ModuleNotFoundError as error:
        raise ValueError(f"the store is PostgreSQL, but {error}: install the extra 'postgres'") from error
    event.listen(engine, "connect", _set_up_postgres)
    return engine


def _set_up_postgres(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        for setting in _POSTGRES_SETTINGS:
            cursor.execute(setting)
    connection.commit()


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # sqlite3 begins no transaction by itself; the "begin" event does
    for setting in _SQLITE_SETTINGS:
        connection.execute(setting)
    mode = _switch_to_wal(connection)
    if mode != "wal":
        raise ValueError(f"SQLite's journal mode is {mode!r} and cannot be 'wal': is the file on a network drive?")


def _begin_sqlite(connection: Connection) -> None:
    """The write lock is taken before the first read: a lock taken later could not wait for the other writer.

    With the execution option `reads` the transaction only reads, and waits for no writer.
    """
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reads") else "BEGIN IMMEDIATE")


def _switch_to_wal(connection: sqlite3.Connection) -> str:
    """Return the journal mode that came of it. Here alone SQLite does not wait while another one does the same."""
    end = time.monotonic() + LOCK_TIMEOUT_MS / 1000
    while True:
        try:
            return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(WAL_AGAIN_S)

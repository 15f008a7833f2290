"""Alembic's steps, on both databases: new, brought up, and from a program that is newer."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, create_engine, inspect, make_url, text

from fabric.errors import Busy
from nodes.databases.migrations import Migrations
from nodes.databases.opening import open_database
from nodes.keep.schema import metadata as keep_tables
from nodes.store.schema import metadata

pytest_plugins = ("tests.support.stores",)

STORE = Migrations("nodes.store", metadata)


def version(url: str) -> str | None:
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg") if url.startswith("postgres") else url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    engine.dispose()
    return found


def test_a_new_database_begins_with_the_newest_version(database: str) -> None:
    for _ in range(2):
        engine = open_database(database, STORE.bring_up)
        with engine.connect() as connection:
            assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}
        engine.dispose()
    assert version(database) == STORE.versions()[0]


def test_a_version_that_is_not_known_is_refused_and_nothing_changes(database: str) -> None:
    def newer(connection: Connection) -> None:
        STORE.bring_up(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '99'"))

    open_database(database, newer).dispose()
    with pytest.raises(ValueError, match=f"schema version 99; this program knows {STORE.versions()[0]} only"):
        open_database(database, STORE.bring_up)
    assert version(database) == "99"


def test_a_step_that_fails_is_undone_as_a_whole(database: str) -> None:
    """Brought up from version 1, whose tables are not there."""
    with pytest.raises(Busy, match="the store does not answer"):
        open_database(database, lambda connection: STORE.bring_up(connection, "1"))
    open_database(database, STORE.bring_up).dispose()
    assert version(database) == STORE.versions()[0]


def test_every_schema_of_the_project_has_its_versions() -> None:
    for package, tables in (("nodes.store", metadata), ("nodes.keep", keep_tables)):
        assert Migrations(package, tables).versions()[-1] == "1"

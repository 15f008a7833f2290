"""The frame nodes' tables: made once, and refused where this program does not know their version."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, create_engine, event, inspect, make_url, text, update

from nodes.store import chats, codes, expiry, pages
from nodes.store.database import MIGRATIONS, open_database
from nodes.store.schema import SCHEMA_VERSION, about, metadata

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


@contextmanager
def listening(target: Any, what: str, hear: Callable[..., None]) -> Iterator[None]:
    event.listen(target, what, hear)
    try:
        yield
    finally:
        event.remove(target, what, hear)


NEW = ("consent", "agent_name", "capability", "asked_by", "ask_until", "refusal")


def shape(url: str) -> dict[str, list[str]]:
    """The columns and indexes of each table."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg") if url.startswith("postgres") else url)
    found = inspect(engine)
    shapes = {}
    for name in set(metadata.tables) & set(found.get_table_names()):
        columns = [f"{each['name']} {'NULL' if each['nullable'] else 'NOT NULL'}" for each in found.get_columns(name)]
        shapes[name] = sorted([*columns, *(str(each["name"]) for each in found.get_indexes(name))])
    engine.dispose()
    return shapes


def set_back(url: str, version: int) -> None:
    """Make it a store of this earlier version."""
    engine = open_database(url)
    with engine.begin() as connection:
        for table in ("pages", "agents"):
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN key"))
        for column in ("pages DROP COLUMN host", "pages DROP COLUMN begun_at", "agents DROP COLUMN since"):
            connection.execute(text(f"ALTER TABLE {column}"))
        connection.execute(text("ALTER TABLE about DROP COLUMN private"))
        if version == 1:
            connection.execute(text("DROP INDEX ix_pages_ask_until"))
            for column in NEW:
                connection.execute(text(f"ALTER TABLE pages DROP COLUMN {column}"))
            connection.execute(text("UPDATE pages SET offer_until = NULL WHERE chat = 'invited'"))
        else:
            connection.execute(text("DROP TABLE handles"))
        connection.execute(text(f"UPDATE about SET schema_version = {version}"))
        connection.execute(text("DROP TABLE alembic_version"))  # which those before Alembic did not have
    engine.dispose()


def test_every_version_has_a_way_on() -> None:
    assert MIGRATIONS.versions() == [str(version) for version in range(SCHEMA_VERSION, 0, -1)]


@pytest.mark.parametrize("version", [1, 2])
def test_an_earlier_store_gets_the_shape_of_a_new_one_and_what_nobody_can_prove_ends(
    bench: Bench, version: int
) -> None:
    code = bench.code("s1")
    bench.joined("s2", "ann")
    fresh = shape(bench.url)
    bench.close()
    set_back(bench.url, version)
    assert shape(bench.url) != fresh
    bench.store = bench.open()
    assert shape(bench.url) == fresh
    changes = bench.do(expiry.expire)
    assert {each.page.session for each in changes if each.what == "page_gone"} == {"s1", "s2"}
    assert {each.agents for each in changes if each.what == "agent_gone"} == {("ann",)}
    assert bench.do(codes.was_used, code) is False, "it rests, and nobody has used it"
    begun = bench.do(pages.grant_code, "s3", "home", 30.0, "ask", "0" * 32)
    assert len(bench.store.private()) == 32 and bench.store.private() == bench.open().private()
    assert (begun.consent, begun.key) == ("ask", "0" * 32) and begun.code not in (None, code)


def test_an_invitation_that_had_no_time_out_ends(bench: Bench) -> None:
    bench.agent("ann")
    bench.page("s1")
    assert bench.do(chats.propose, "ann", "s1").chat == "invited"
    bench.close()
    set_back(bench.url, 1)
    bench.store = bench.open()
    bench.do(expiry.expire)
    assert bench.tables("pages")["pages"][0][metadata.tables["pages"].c.keys().index("chat")] == "closed"


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

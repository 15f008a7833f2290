"""A store of an earlier version is brought to the present one, with what it holds; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from nodes.store import chats, codes, expiry, pages
from nodes.store.database import open_database
from nodes.store.migrations import STATEMENTS
from nodes.store.schema import SCHEMA_VERSION, metadata

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

NEW = ("consent", "agent_name", "capability", "asked_by", "ask_until", "refusal")


def shape(url: str) -> dict[str, list[str]]:
    """The columns and indexes of each table."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg") if url.startswith("postgres") else url)
    found = inspect(engine)
    shapes = {}
    for name in metadata.tables:
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
        connection.execute(text(f"UPDATE about SET schema_version = {version}"))
    engine.dispose()


def test_every_version_has_a_way_on() -> None:
    assert set(STATEMENTS) == set(range(1, SCHEMA_VERSION))


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

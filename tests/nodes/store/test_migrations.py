"""A store of an earlier version is brought to the present one, with what it holds; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import create_engine, inspect, make_url, text

from nodes.store import chats, expiry, pages
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


def set_back(url: str) -> None:
    """Make it a store of version 1."""
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_pages_ask_until"))
        for column in NEW:
            connection.execute(text(f"ALTER TABLE pages DROP COLUMN {column}"))
        connection.execute(text("UPDATE pages SET offer_until = NULL WHERE chat = 'invited'"))
        connection.execute(text("UPDATE about SET schema_version = 1"))
    engine.dispose()


def test_every_version_has_a_way_on() -> None:
    assert set(STATEMENTS) == set(range(1, SCHEMA_VERSION))


def test_a_store_of_version_1_keeps_its_pages_and_gets_the_shape_of_a_new_one(bench: Bench) -> None:
    code = bench.code("s1")
    bench.joined("s2", "ann")
    fresh = shape(bench.url)
    bench.close()
    set_back(bench.url)
    assert shape(bench.url) != fresh
    bench.store = bench.open()
    assert shape(bench.url) == fresh
    kept = bench.do(pages.renew, "s1")
    assert (kept.code, kept.consent, kept.refusal, kept.asked_by) == (code, "code", None, None)
    joined = bench.do(pages.renew, "s2")
    assert (joined.cobrowse, joined.agent, joined.agent_name, joined.capability) == ("joined", "ann", None, None)
    assert bench.do(pages.stop, "s2", 1, "ann").code, "it goes on"
    assert bench.do(pages.grant_code, "s3", "home", 30.0, "ask").consent == "ask"


def test_an_invitation_that_had_no_time_out_ends(bench: Bench) -> None:
    bench.agent("ann")
    bench.page("s1")
    assert bench.do(chats.propose, "ann", "s1").chat == "invited"
    bench.close()
    set_back(bench.url)
    bench.store = bench.open()
    changes = [(each.what, each.page and each.page.chat) for each in bench.do(expiry.expire)]
    assert changes == [("chat_lapsed", "idle")]

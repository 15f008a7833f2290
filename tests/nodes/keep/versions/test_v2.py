"""Step 2 of a keeper's store: it finds histories, leaves them, and gains a table of retained values."""

from __future__ import annotations

from sqlalchemy import text

from fabric.protocol.histories import Question
from nodes.keep.store import KeepStore
from nodes.keep.versions import v2
from tests.support.kept import kept, kept_value, read_all

pytest_plugins = ("tests.support.stores",)


def test_it_stands_behind_the_one_before() -> None:
    assert (v2.revision, v2.down_revision) == ("2", "1")


def test_a_store_of_version_1_keeps_its_history_and_takes_values_from_then_on(database: str) -> None:
    store = KeepStore(database)
    store.write([kept("a", 1)], [], 1)
    with store.transaction() as sql:
        sql.execute(text("DROP TABLE retained"))
        sql.execute(text("UPDATE alembic_version SET version_num = '1'"))
    store.close()
    store = KeepStore(database)
    value = kept_value("a", 5, "x", expires_ns=10)
    store.write([kept("a", 2)], [], 2, [value])
    assert read_all(store, Question("#"))[0] == [("a", 1), ("a", 2)]
    assert list(store.retained(9)) == [value]
    store.close()

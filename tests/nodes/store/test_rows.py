"""Rows of pages and agents: found, locked, written under the next version; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from nodes.rules.errors import LeaseExpired
from nodes.store import rows, schema
from nodes.store.expected import Expected
from nodes.store.records import new_page

if TYPE_CHECKING:
    from nodes.store.transaction import Transaction
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def count(tx: Transaction) -> int:
    return int(tx.sql.execute(select(func.count()).select_from(schema.pages)).scalar_one())


def test_every_save_is_the_next_version(bench: Bench) -> None:
    page = bench.page("s1")
    with bench.store.transaction() as tx:
        saved = rows.save_page(tx, page._replace(home="other"))
        assert saved == page._replace(home="other", version=page.version + 1) == rows.find_page(tx, "s1")
        assert rows.find_page(tx, "never") is None


def test_a_new_page_is_written_at_once_unless_more_are_expected(bench: Bench) -> None:
    with bench.store.transaction() as tx:
        rows.add_page(tx, new_page("s1", "home", 30.0, tx.now))
        assert count(tx) == 1 and not tx.new_pages
        tx.expected = Expected(absent={"s2", "s3"})
        assert rows.find_page(tx, "s2") is None
        rows.add_page(tx, new_page("s2", "home", 30.0, tx.now))
        assert count(tx) == 1 and [page.session for page in tx.new_pages] == ["s2"]
        found = rows.find_page(tx, "s2")
        assert found is not None and count(tx) == 2, "it is written before it is looked for again"
        assert rows.find_page(tx, "s3") is None
        rows.add_page(tx, new_page("s3", "home", 30.0, tx.now))
        assert count(tx) == 3 and not tx.new_pages, "the last that was expected"


def test_a_page_is_live_until_it_is_gone_or_its_lease_is_over(bench: Bench) -> None:
    page = bench.page("s1")
    assert bench.do(rows.live_page, "s1") == page
    bench.pass_time(30)
    for session in ("s1", "never"):
        bench.refused(LeaseExpired, lambda tx, s=session: rows.live_page(tx, s), "no such page session")  # type: ignore[misc]


def test_an_agent_is_there_while_its_lease_runs(bench: Bench) -> None:
    bench.agent("a")
    bench.do(rows.check_agent, "a")
    bench.refused(LeaseExpired, lambda tx: rows.check_agent(tx, "b"), "sign in again")
    bench.pass_time(30)
    bench.refused(LeaseExpired, lambda tx: rows.check_agent(tx, "a"), "sign in again")
    rows.expect_agent(("a",))
    with pytest.raises(LeaseExpired):
        rows.expect_agent(None)

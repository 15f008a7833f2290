"""The tables themselves guarantee what they promise; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from nodes.store import rows, schema
from nodes.store.records import Page, new_page

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def test_the_database_itself_refuses_two_pages_with_one_code(bench: Bench) -> None:
    for session, code in (("s1", "123456"), ("s2", None), ("s3", None)):
        page = new_page(session, "home", 30.0, 0.0)._replace(code=code)
        bench.do(rows.add_page, page)
    twin = new_page("s4", "home", 30.0, 0.0)._replace(code="123456")
    with pytest.raises(IntegrityError):
        bench.do(lambda tx: tx.sql.execute(insert(schema.pages), twin._asdict()))
    with pytest.raises(IntegrityError):
        twice = [{"code": "123456", "free_at": None, "used": False}] * 2
        bench.do(lambda tx: tx.sql.execute(insert(schema.codes), twice))


def test_a_page_record_is_a_row_of_its_table() -> None:
    assert Page._fields == tuple(schema.pages.c.keys())


def test_every_table_is_explained() -> None:
    explained = {line.split()[0] for line in (schema.__doc__ or "").splitlines() if line.strip()}
    assert set(schema.metadata.tables) <= explained

"""Grants that are prepared together: the same outcome as one by one, and nothing is left of what was not used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from fabric.errors import Busy
from nodes.rules.contact_codes import CodeFormat
from nodes.store import expiry, grants, pages, replies
from nodes.store.transaction import Transaction

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def expected(tx: Transaction, *sessions: str, keys: tuple[str, ...] = ()) -> None:
    grants.expect(tx, {key: replies.digest_of({"key": key}) for key in keys}, set(sessions))


def test_what_was_prepared_is_used(bench: Bench) -> None:
    bench.page("there")
    statements: list[str] = []

    def grant(tx: Transaction) -> list[Any]:
        expected(tx, "there", "s1", "s2", keys=("k1", "k2", "k3"))
        event.listen(tx.sql, "before_cursor_execute", lambda *args: statements.append(args[2]))
        names = {"k1": "s1", "k2": "s2", "k3": "there"}
        return [
            replies.once(tx, key, {"key": key}, lambda name=name: pages.grant_code(tx, name, "home", 30.0)._asdict())  # type: ignore[misc]
            for key, name in names.items()
        ]

    one, two, there = bench.do(grant)
    assert len({one["code"], two["code"], there["code"]}) == 3 and there["version"] == 2
    assert sum("INSERT INTO pages" in statement for statement in statements) == 1
    assert not [statement for statement in statements if "INSERT INTO codes" in statement or "ON CONFLICT" in statement]
    assert bench.do(replies.once, "k1", {"key": "k1"}, dict) == one, "the reply is kept"
    assert bench.page("s1").code == one["code"]


def test_what_was_prepared_and_not_used_is_free_again(bench: Bench) -> None:
    bench.page("there")
    before = bench.tables(), bench.tables("replies")
    bench.do(lambda tx: expected(tx, "s1", "s2", "there", keys=("k1", "k2")))
    assert (bench.tables(), bench.tables("replies")) == before


def test_no_more_codes_are_drawn_than_there_are_places(bench: Bench) -> None:
    bench.store = bench.open(capacity=2)

    def grant(tx: Transaction) -> list[Any]:
        expected(tx, "s1", "s2", "s3", "s4")
        assert len(tx.expected.codes) == 2
        granted = [pages.grant_code(tx, name, "home", 30.0).code for name in ("s1", "s2")]
        with pytest.raises(Busy, match="all 2 places are taken"):
            pages.grant_code(tx, "s3", "home", 30.0)
        return granted

    assert len(set(bench.do(grant))) == 2
    assert [row[0] for row in bench.tables("pages")["pages"]] == ["s1", "s2"]


def test_codes_that_rest_or_are_held_are_not_drawn(bench: Bench) -> None:
    """Nearly all of the ten codes are used; the grants get what is left, or Busy."""
    bench.store = bench.open(capacity=5, codes=CodeFormat(1), quarantine_s=50.0)
    held = {bench.code(f"held {n}") for n in range(3)}
    for _ in range(4):
        bench.page("rests"), bench.do(pages.release, "rests")
    resting = {row[0] for row in bench.tables("codes")["codes"] if row[1] is not None}
    assert len(held | resting) == 7

    def grant(tx: Transaction) -> set[str | None]:
        expected(tx, "s1", "s2")
        return {pages.grant_code(tx, name, "home", 30.0).code for name in ("s1", "s2")}

    found = bench.do(grant)
    assert len(found) == 2 and not found & (held | resting)
    bench.do(lambda tx: (pages.release(tx, "held 0"), pages.release(tx, "held 1")))
    bench.pass_time(49)
    bench.do(expiry.expire)
    bench.pass_time(2)
    again = {bench.code(f"late {n}") for n in range(5)}
    assert len(again) == 5, "those that have rested can be drawn again"


def test_in_a_savepoint_nothing_is_prepared(bench: Bench) -> None:
    """What is rolled back to a savepoint must take everything along."""

    def failing(tx: Transaction) -> None:
        expected(tx, "s1", "s2", keys=("k1",))
        pages.grant_code(tx, "s1", "home", 30.0)
        raise ZeroDivisionError

    def grant(tx: Transaction) -> str | None:
        expected(tx, "s2")
        assert not tx.expected.codes and not tx.expected.absent
        return pages.grant_code(tx, "s2", "home", 30.0).code

    failed, code = bench.store.commit_together([failing, grant])
    assert isinstance(failed, ZeroDivisionError) and isinstance(code, str)
    assert [row[0] for row in bench.tables("pages")["pages"]] == ["s2"]
    assert [row[0] for row in bench.tables("codes")["codes"]] == [code] and not bench.tables("replies")["replies"]

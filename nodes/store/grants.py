"""Many grants in one transaction: what each would ask the database for is asked for all of them at once.

`expect` only prepares: it claims keys, looks which pages are new, and draws codes. The rules stay in `replies.once` and
`pages.grant_code`, which take from that what they would otherwise ask for. `finish` writes all new pages together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from nodes.store import codes, replies, rows, schema
from nodes.store.expected import Expected
from nodes.store.transaction import Transaction

_INSERT: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _claiming(table: Table, free_again: str, values: Mapping[str, Any]) -> dict[str, Executable]:
    """For each database, the statement that takes many rows, and returns the keys of those it got.

    A row that exists is taken when its time `free_again` is over, and then made as new.
    """
    key = table.primary_key.columns[0]
    statements: dict[str, Executable] = {}
    for database, insert in _INSERT.items():
        adding = insert(table).values({key.name: bindparam(key.name), **values})
        statements[database] = adding.on_conflict_do_update(
            index_elements=[key],
            set_={name: adding.excluded[name] for name in values},
            where=table.c[free_again] <= bindparam("now"),
        ).returning(key)
    return statements


_CLAIM_CODES = _claiming(schema.codes, "free_at", {"free_at": None, "used": False})
_CLAIM_KEYS = _claiming(
    schema.replies, "until", {"digest": bindparam("digest"), "reply": "", "until": bindparam("until")}
)
_FIND_SESSIONS = select(schema.pages.c.session).where(
    schema.pages.c.session.in_(bindparam("of_sessions", expanding=True))
)


def expect(tx: Transaction, digests: Mapping[str, str], sessions: set[str]) -> None:
    """Prepare for grants to `sessions`; until `finish` nothing else may be asked of this transaction.

    digests: of the requests (`replies.digest_of`), by their keys
    cost:    five statements for all, where each grant alone takes four; nothing where a savepoint could undo it
    """
    if tx.uses_savepoints or not sessions:
        return
    until = tx.now + tx.options.reply_s
    claims = [{"key": key, "digest": digests[key], "until": until, "now": tx.now} for key in sorted(digests)]
    keys = set(_claim(tx, _CLAIM_KEYS, claims))
    absent = sessions - set(tx.sql.execute(_FIND_SESSIONS, {"of_sessions": sorted(sessions)}).scalars())
    # The lock for places comes before any code, as in `grant_code`: the other way round two could block each other.
    wanted = min(len(absent), codes.count_places(tx))
    drawn = {tx.options.codes.draw(tx.rng) for _ in range(wanted)}
    claimed = _claim(tx, _CLAIM_CODES, [{"code": code, "now": tx.now} for code in sorted(drawn)])
    tx.expected = Expected(keys, absent, claimed)


def finish(tx: Transaction) -> None:
    """Write the new pages and the replies to be kept; give back what was prepared and not used.

    A Store calls it before each commit. In the middle it ends what `expect` has begun.
    """
    rows.write_new(tx)
    replies.write_new(tx)
    unused, tx.expected = tx.expected, Expected()
    codes.give_back(tx, unused.codes)
    replies.drop(tx, unused.keys)


def _claim(tx: Transaction, statements: Mapping[str, Executable], claims: list[dict[str, Any]]) -> list[str]:
    """Take these rows, and return the keys of those that were free."""
    if not claims:
        return []
    return list(tx.sql.execute(statements[tx.sql.dialect.name], claims).scalars())

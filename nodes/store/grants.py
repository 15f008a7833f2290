"""Many grants in one transaction: what each would ask the database for is asked for all of them at once.

`expect_grants` only prepares: it claims keys, looks which pages are new, and draws codes. The rules stay in `once` and
`grant_code`, which take from that what they would otherwise ask for; `finish` writes all new pages together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Executable, Table, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from nodes.store.expiry import ExpiryOperations
from nodes.store.schema import codes, pages, replies

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


_CLAIM_CODES = _claiming(codes, "free_at", {"free_at": None, "used": False})
_CLAIM_KEYS = _claiming(replies, "until", {"digest": bindparam("digest"), "reply": "", "until": bindparam("until")})
_FIND_SESSIONS = select(pages.c.session).where(pages.c.session.in_(bindparam("of_sessions", expanding=True)))


class GrantOperations(ExpiryOperations):
    """Preparing many grants."""

    def expect_grants(self, digests: Mapping[str, str], sessions: set[str]) -> None:
        """Prepare for grants to `sessions`; until `finish` nothing else may be asked of this transaction.

        digests: of the requests (`digest_of`), by their keys
        cost:    five statements for all, where each grant alone takes four; nothing where a savepoint could undo it
        """
        if self._in_savepoint or not sessions:
            return
        until = self.now + self._options.reply_s
        claims = [{"key": key, "digest": digests[key], "until": until, "now": self.now} for key in sorted(digests)]
        self._claimed = set(self._claim(_CLAIM_KEYS, claims))
        found = self._sql.execute(_FIND_SESSIONS, {"of_sessions": sorted(sessions)}).scalars()
        self._absent = sessions - set(found)
        # The lock for places comes before any code, as in `grant_code`: the other way round two could block each other.
        wanted = min(len(self._absent), self._count_places())
        drawn = {self._options.codes.draw(self._rng) for _ in range(wanted)}
        self._drawn = self._claim(_CLAIM_CODES, [{"code": code, "now": self.now} for code in sorted(drawn)])

    def _claim(self, statements: Mapping[str, Executable], rows: list[dict[str, Any]]) -> list[str]:
        if not rows:
            return []
        return list(self._sql.execute(statements[self._sql.dialect.name], rows).scalars())

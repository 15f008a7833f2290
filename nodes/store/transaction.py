"""What every operation of the store stands on: one connection, one moment, and the rules for both databases.

An operation checks first and writes last: when it refuses (any FabricError), it has changed nothing, except what the
refusal itself must leave, such as a counted attempt. Rows are locked in one order, agents before pages before codes.
SQLite runs one writing transaction at a time and needs no locks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.sql import bindparam

from fabric.errors import Busy, FabricError, NotAllowed
from nodes.rules.contact_codes import RandomSource
from nodes.rules.errors import UnknownContactCode
from nodes.store.records import Page, StoreOptions
from nodes.store.schema import codes, pages, replies

PLACES_LOCK = 0x5C0DE5  # any numbers, as long as nobody else on the database uses them
OFFERS_LOCK = 0x5C0FFE

Reply = dict[str, Any]

_PG_NOW = text("SELECT extract(epoch FROM clock_timestamp())::float8")
_PG_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_PG_TRY_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")

_COUNT_LIVE = select(func.count()).select_from(pages).where(pages.c.gone_at.is_(None))
_FIND_PAGE = select(pages).where(pages.c.session == bindparam("session")).with_for_update()
_SAVE_PAGE = (
    update(pages)
    .where(pages.c.session == bindparam("of_session"))
    .values({name: bindparam(name) for name in Page._fields if name != "session"})
)
_INSERT_PAGE = insert(pages)
_GIVE_BACK = delete(codes).where(codes.c.code == bindparam("of_code"))
_CLAIM_KEY = text(
    "INSERT INTO replies (key, digest, reply, until) VALUES (:key, :digest, '', :until)"
    " ON CONFLICT (key) DO UPDATE SET digest = excluded.digest, reply = '', until = excluded.until"
    " WHERE replies.until <= :now RETURNING key"
)
_FIND_REPLY = select(replies.c.digest, replies.c.reply).where(replies.c.key == bindparam("of_key"))
_SAVE_REPLY = update(replies).where(replies.c.key == bindparam("of_key")).values(reply=bindparam("reply"))
_DROP_REPLY = delete(replies).where(replies.c.key == bindparam("of_key"))


class BaseTransaction:
    """One transaction. `now` is the store's clock at its beginning, which is the moment of all that happens in it."""

    def __init__(
        self, connection: Connection, options: StoreOptions, rng: RandomSource, clock: Callable[[], float]
    ) -> None:
        self._sql = connection
        self._options = options
        self._rng = rng
        self._postgres = connection.dialect.name == "postgresql"
        # The one place that decides whose clock rules. Hosts that share a database must not use their own.
        self.now: float = connection.execute(_PG_NOW).scalar_one() if self._postgres else clock()
        self._places_left: int | None = None
        self._replies: list[dict[str, str]] = []
        self._in_savepoint = False
        # What was prepared for grants: claimed keys, sessions that have no page yet, codes that were drawn; and pages
        # that have begun and are not written yet. See `grants`.
        self._claimed: set[str] = set()
        self._absent: set[str] = set()
        self._drawn: list[str] = []
        self._begun: list[dict[str, Any]] = []

    def once(self, key: str, request: Mapping[str, Any], operation: Callable[[], Reply]) -> Reply:
        """Run `operation` and keep its reply under `key`; for the same key again, return that reply and do nothing.

        key:      chosen by the sender, random
        request:  what was asked, as JSON values; the same key with another request is NotAllowed
        errors:   those of `operation`. A wrong code is kept like a reply, since it has cost an attempt; other refusals
                  are not, so that the same request can be tried again
        cost:     one statement, and a share of another. The key is claimed first, so that of two frame nodes that have
                  it one waits for the other
        """
        digest = digest_of(request)
        if key in self._claimed:
            self._claimed.discard(key)
        else:
            claim = {"key": key, "digest": digest, "until": self.now + self._options.reply_s, "now": self.now}
            if self._sql.execute(_CLAIM_KEY, claim).first() is None:
                return self._replayed(key, digest)
        try:
            reply = operation()
        except UnknownContactCode as error:
            self._replies.append({"of_key": key, "reply": json.dumps({"unknown_contact_code": str(error)})})
            raise
        except FabricError:
            self._sql.execute(_DROP_REPLY, {"of_key": key})
            raise
        self._replies.append({"of_key": key, "reply": json.dumps({"reply": reply})})
        return reply

    def finish(self) -> None:
        """Write what is still to be written: new pages, and the replies to be kept, each in one statement; give back
        what was prepared for grants and not used. To be called before the commit.

        A reply whose request was rolled back to its savepoint has lost its key, and is written nowhere.
        """
        self._write_begun()
        if self._replies:
            self._sql.execute(_SAVE_REPLY, self._replies)
            self._replies = []
        if self._drawn:
            self._sql.execute(_GIVE_BACK, [{"of_code": code} for code in self._drawn])
            self._drawn = []
        if self._claimed:
            self._sql.execute(_DROP_REPLY, [{"of_key": key} for key in self._claimed])
            self._claimed = set()
        self._absent = set()

    # In plain SQL: SQLAlchemy's nested transactions compile these anew each time.

    def begin_savepoint(self) -> None:
        self._in_savepoint = True
        self._sql.exec_driver_sql("SAVEPOINT request")

    def roll_back_savepoint(self) -> None:
        """Undo all since the savepoint, which stays; places are counted anew, since their lock may be undone."""
        self._sql.exec_driver_sql("ROLLBACK TO SAVEPOINT request")
        self._places_left = None

    def release_savepoint(self) -> None:
        self._sql.exec_driver_sql("RELEASE SAVEPOINT request")

    def _replayed(self, key: str, digest: str) -> Reply:
        self.finish()  # the first request may be in this very transaction
        row = self._sql.execute(_FIND_REPLY, {"of_key": key}).one()
        if row.digest != digest:
            raise NotAllowed(f"idempotency key {key!r} has been used for another request; each request needs its own")
        kept = json.loads(row.reply)
        if "unknown_contact_code" in kept:
            raise UnknownContactCode(kept["unknown_contact_code"])
        reply: Reply = kept["reply"]
        return reply

    def _find_page(self, session: str) -> Page | None:
        """Return the page, locked until the transaction ends, whether it is live or gone."""
        if session in self._absent:
            self._absent.discard(session)
            return None
        self._write_begun()
        row = self._sql.execute(_FIND_PAGE, {"session": session}).first()
        return None if row is None else Page._make(row)

    def _insert_page(self, page: Page) -> None:
        """Write a new page; many that were expected are written together."""
        self._begun.append(page._asdict())
        if not (self._absent or self._drawn):
            self._write_begun()

    def _write_begun(self) -> None:
        if self._begun:
            begun, self._begun = self._begun, []
            self._sql.execute(_INSERT_PAGE, begun)

    def _save_page(self, page: Page) -> Page:
        """Write the whole page under its next version, and return it."""
        page = page._replace(version=page.version + 1)
        values = page._asdict()
        values["of_session"] = values.pop("session")
        self._sql.execute(_SAVE_PAGE, values)
        return page

    def _take_place(self) -> None:
        """Count one more live page, or be Busy. The first one of a transaction locks and counts, the others subtract.

        cost: on PostgreSQL all grants of all frame nodes go one transaction after the other from here to the commit,
              which is why grants are committed many at a time
        """
        if self._count_places() <= 0:
            raise Busy(
                f"all {self._options.capacity} places are taken; try again later", self._options.busy_retry_after_s
            )
        self._places_left = self._count_places() - 1

    def _count_places(self) -> int:
        if self._places_left is None:
            if self._postgres:
                self._sql.execute(_PG_LOCK, {"key": PLACES_LOCK})
            self._places_left = self._options.capacity - int(self._sql.execute(_COUNT_LIVE).scalar_one())
        return self._places_left

    def _may_offer(self) -> bool:
        """Take the right to offer chats until the commit; False when another frame node is at it."""
        return not self._postgres or bool(self._sql.execute(_PG_TRY_LOCK, {"key": OFFERS_LOCK}).scalar_one())


def digest_of(request: Mapping[str, Any]) -> str:
    """Return what stands for a request in the table of replies: equal for equal JSON values."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

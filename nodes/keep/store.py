"""A keeper's store: writes batches, reads pages, deletes what is kept no longer. SQLite or PostgreSQL.

Writers of one store take turns, so that ids are seen in the order in which they were given: a reader that goes on
behind an id misses nothing. Reading order: `write`, `page`; `retention` deletes.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from fabric.protocol.histories import Hole, Kept
from nodes.databases.migrations import Migrations
from nodes.databases.opening import as_busy, ends_transaction, open_database
from nodes.keep import retained
from nodes.keep.retained import RetainedValue
from nodes.keep.schema import (
    BEGINNING_BYTES,
    about,
    batches,
    holes,
    lasts,
    messages,
    metadata,
    signed,
    topics,
    unsigned,
)

MIGRATIONS = Migrations("nodes.keep", metadata)
WRITERS_LOCK = 0x4EE9
MAX_KNOWN_TOPICS = 100_000
IN_ONE_QUESTION = 500
"""Values in one IN (…): SQLite before 3.32 takes 999 variables in all."""
_OWN_BYTES = 64
"""What a message takes beside topic, payload and headers; about."""

_FIND_TOPICS = select(topics.c.digest, topics.c.id).where(topics.c.digest.in_(bindparam("digests", expanding=True)))
LAST_ID = select(about.c.last_id)
_NEW = select(func.count(), func.coalesce(func.sum(messages.c.size), 0), func.max(messages.c.id)).where(
    messages.c.id > bindparam("after")
)
_COLUMNS = "topic, publisher, number, sent_ns, size, payload, headers"
_INSERT_SQLITE = f"INSERT OR IGNORE INTO messages ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_POSTGRES = (
    f"INSERT INTO messages ({_COLUMNS}) SELECT {_COLUMNS} FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[],"
    f" %s::bigint[], %s::integer[], %s::bytea[], %s::bytea[]) WITH ORDINALITY AS new({_COLUMNS}, place)"
    " ORDER BY place ON CONFLICT DO NOTHING"
)
_ADD_BATCH = insert(batches)
_COUNT = update(about).values(
    last_id=bindparam("new_last_id"),
    messages=about.c.messages + bindparam("more_messages"),
    bytes=about.c.bytes + bindparam("more_bytes"),
)
_ADD_HOLE = insert(holes)
_LASTS = (
    select(topics.c.topic, lasts.c.publisher, lasts.c.number)
    .join(topics, topics.c.id == lasts.c.topic)
    .where(lasts.c.kept_ns >= bindparam("since"))
    .order_by(lasts.c.kept_ns.desc())
    .limit(bindparam("most"))
)


class Last(NamedTuple):
    """The highest number of a publisher on a topic that was written."""

    topic: str
    publisher: int
    number: int


@dataclass(frozen=True)
class Totals:
    """What is kept: its messages, and their bytes with topic, payload, headers and a little more for each."""

    messages: int
    bytes: int


class KeepStore:
    """A database of histories. Several threads may use one.

    url: see `nodes.databases.opening.open_database`
    """

    def __init__(self, url: str) -> None:
        self._engine = open_database(url, _prepare)
        """The pool of connections; never changes."""
        self._postgres = self._engine.dialect.name == "postgresql"
        self._topics: dict[str, int] = {}
        """Ids of topics that were committed, at most `MAX_KNOWN_TOPICS`. Only the writer's thread uses it."""
        with self.transaction(writes=False) as sql:
            self.id = str(sql.execute(select(about.c.store)).scalar_one())
        """Which store this is; drawn with it."""

    @contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[Connection]:
        """Give a connection in a transaction, committed at the end, or rolled back by any exception.

        errors: Busy when the database cannot be reached, stays locked or takes the transaction back
        """
        try:
            with self._engine.begin() if writes else self._reading() as sql:
                if writes and self._postgres:
                    sql.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITERS_LOCK})
                yield sql
        except DBAPIError as error:
            if not ends_transaction(error):
                raise
            raise as_busy(error) from error

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """SQLite: without the lock of writers, which every other transaction takes at its beginning."""
        with self._engine.connect().execution_options(reads=True) as sql, sql.begin():
            yield sql

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    def write(
        self, batch: Sequence[Kept], missing: Sequence[Hole], now_ns: int, values: Sequence[RetainedValue] = ()
    ) -> int:
        """Write messages, holes and retained values, all or nothing; return how many messages are new: others were
        there already.

        now_ns: by the keeper's clock
        errors: Busy
        """
        if len(self._topics) > MAX_KNOWN_TOPICS:
            self._topics.clear()
        with self.transaction() as sql:
            named = {*(each.topic for each in batch), *(each.topic for each in missing)}
            ids = self._topic_ids(sql, named.union(each.topic for each in values))
            before = int(sql.execute(LAST_ID).scalar_one())
            if batch:
                self._insert_messages(sql, [_row(each, ids[each.topic]) for each in batch])
            count, size, last_id = sql.execute(_NEW, {"after": before}).one()
            if count:
                sql.execute(_ADD_BATCH, {"last_id": last_id, "kept_ns": now_ns})
                sql.execute(_COUNT, {"new_last_id": last_id, "more_messages": count, "more_bytes": size})
            if batch:
                self._raise_lasts(sql, batch, ids, now_ns)
            if missing:
                at = last_id if count else before + 1  # before the next message, whichever that is
                sql.execute(_ADD_HOLE, [_hole_row(each, ids[each.topic], at, now_ns) for each in missing])
            retained.write(sql, values, ids, now_ns)
        self._topics.update(ids)
        return int(count)

    def _topic_ids(self, sql: Connection, wanted: set[str]) -> dict[str, int]:
        """Return the id of each; those that are new get one."""
        known = {each: self._topics[each] for each in wanted if each in self._topics}
        unknown = sorted(wanted - known.keys())
        if not unknown:
            return known
        digests = {_digest(each): each for each in unknown}
        rows = [
            {"digest": digest, "beginning": each.encode()[:BEGINNING_BYTES], "topic": each}
            for digest, each in digests.items()
        ]
        sql.execute(self._insert(topics), rows)
        for some in chunks(list(digests)):
            for digest, ident in sql.execute(_FIND_TOPICS, {"digests": some}):
                known[digests[bytes(digest)]] = int(ident)
        return known

    def _raise_lasts(self, sql: Connection, batch: Iterable[Kept], ids: dict[str, int], now_ns: int) -> None:
        highest: dict[tuple[int, int], int] = {}
        for each in batch:
            pair = (ids[each.topic], signed(each.publisher))
            highest[pair] = max(each.number, highest.get(pair, 0))
        rows = [
            {"topic": topic, "publisher": publisher, "number": number, "kept_ns": now_ns}
            for (topic, publisher), number in highest.items()
        ]
        add = sqlite.insert(lasts) if not self._postgres else postgresql.insert(lasts)
        sql.execute(
            add.on_conflict_do_update(
                index_elements=["topic", "publisher"],
                set_={"number": add.excluded.number, "kept_ns": add.excluded.kept_ns},
                where=add.excluded.number > lasts.c.number,
            ),
            rows,
        )

    def _insert_messages(self, sql: Connection, rows: list[tuple[Any, ...]]) -> None:
        """In plain SQL: SQLAlchemy would look at each row, which is half of what a message costs here."""
        if self._postgres:
            sql.exec_driver_sql(_INSERT_POSTGRES, tuple(map(list, zip(*rows, strict=True))))
        else:
            sql.exec_driver_sql(_INSERT_SQLITE, rows)

    def _insert(self, table: Any) -> Any:
        """Return an INSERT that passes over what is there already."""
        return (postgresql if self._postgres else sqlite).insert(table).on_conflict_do_nothing()

    # ── what is kept ─────────────────────────────────────────────────────────────────────────────────────────────

    def lasts(self, since_ns: int, most: int) -> list[Last]:
        """Return the last numbers written since then, at most so many, the newest ones."""
        with self.transaction(writes=False) as sql:
            found = sql.execute(_LASTS, {"since": since_ns, "most": most})
            return [Last(str(topic), unsigned(publisher), int(number)) for topic, publisher, number in found]

    def retained(self, now_ns: int) -> Iterator[RetainedValue]:
        """Yield the retained values, and what cleared others lately; not what has expired. Errors: Busy"""
        after, is_more = 0, True
        while is_more:
            with self.transaction(writes=False) as sql:
                values, after = retained.page(sql, after, now_ns)
            yield from values
            is_more = after > 0

    def totals(self) -> Totals:
        """Return how much is kept."""
        with self.transaction(writes=False) as sql:
            return Totals(*sql.execute(select(about.c.messages, about.c.bytes)).one())


def size_of(kept: Kept | RetainedValue) -> int:
    """Return for how many bytes a message counts, or a value."""
    return len(kept.topic) + len(kept.payload) + len(kept.headers or b"") + _OWN_BYTES


def _row(kept: Kept, topic: int) -> tuple[Any, ...]:
    """In the order of `_COLUMNS`."""
    return (
        topic,
        signed(kept.publisher),
        signed(kept.number),
        signed(kept.sent_ns),
        size_of(kept),
        kept.payload,
        kept.headers,
    )


def _hole_row(hole: Hole, topic: int, at: int, now_ns: int) -> dict[str, Any]:
    return {
        "at": at,
        "topic": topic,
        "publisher": signed(hole.publisher),
        "first": signed(hole.first),
        "last": signed(hole.last),
        "reason": hole.reason[:32],
        "kept_ns": now_ns,
    }


def _digest(topic: str) -> bytes:
    return blake2b(topic.encode(), digest_size=16).digest()


def chunks(values: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(values), IN_ONE_QUESTION):
        yield values[first : first + IN_ONE_QUESTION]


def _prepare(connection: Connection) -> None:
    MIGRATIONS.bring_up(connection)
    if connection.execute(select(about.c.store)).scalar() is None:
        connection.execute(insert(about).values(store=secrets.token_hex(16), last_id=0, messages=0, bytes=0))

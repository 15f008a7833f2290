"""How long a keeper keeps, and the deleting. By count for each topic, by age, by bytes in all; the oldest goes first.

A sweep deletes at most so much in one transaction, so that writing is held up for a moment only, and says whether
there is more. Reading order: `Retention`; `Sweeper.sweep`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, select, update

from nodes.keep import retained
from nodes.keep.schema import about, batches, holes, lasts, messages
from nodes.keep.store import LAST_ID, KeepStore

STEP_ROWS = 5_000
LASTS_S = 7 * 86400.0
"""For so long a publisher's last number is known after its last message. Publishers are new with each run of a node."""

_M = messages.c
_OLDEST = select(_M.id).where(_M.id <= bindparam("upto")).order_by(_M.id).limit(bindparam("most")).scalar_subquery()
_DELETE_OLDEST = delete(messages).where(_M.id.in_(_OLDEST)).returning(_M.size)
_OLDER = select(func.coalesce(func.max(batches.c.last_id), 0)).where(batches.c.kept_ns < bindparam("before_ns"))
_TOPICS_WRITTEN = select(_M.topic).distinct().where(_M.id > bindparam("after"), _M.id <= bindparam("upto"))
_LEAST = select(func.coalesce(func.min(_M.id), bindparam("otherwise")))
_TOO_MANY = (
    select(_M.id).where(_M.topic == bindparam("of_topic")).order_by(_M.id.desc()).offset(bindparam("last")).limit(1)
)
_DELETE_OF_TOPIC = (
    delete(messages).where(_M.topic == bindparam("of_topic"), _M.id <= bindparam("upto")).returning(_M.size)
)
_COUNT = update(about).values(
    messages=about.c.messages - bindparam("fewer_messages"), bytes=about.c.bytes - bindparam("fewer_bytes")
)


@dataclass(frozen=True)
class Retention:
    """What is kept; None: no bound. Each that is given holds.

    last:      so many last messages of each topic
    for_s:     what was written within so many seconds, by the keeper's clock
    max_bytes: so many bytes in all, payloads, headers and topics, and 64 for each message. A database takes more
    """

    last: int | None = None
    for_s: float | None = None
    max_bytes: int | None = None


class Sweeper:
    """Deletes what is kept no longer, step by step. For one thread."""

    def __init__(self, store: KeepStore, retention: Retention) -> None:
        self._store, self._retention = store, retention
        self._counted = 0
        """Up to this id every topic was looked at for `last`."""
        self._gone = 0
        """Messages deleted in this step, whose transaction is not over yet."""
        self.deleted = 0
        """Messages deleted since the start."""

    def sweep(self, now_ns: int) -> bool:
        """Take a step; return whether there is more to delete now. Errors: Busy"""
        wanted, self._gone = self._retention, 0
        with self._store.transaction() as sql:
            more = False
            if wanted.for_s is not None:
                upto = int(sql.execute(_OLDER, {"before_ns": now_ns - int(wanted.for_s * 1e9)}).scalar_one())
                more |= self._delete_oldest(sql, upto, STEP_ROWS) == STEP_ROWS
            if wanted.max_bytes is not None:
                more |= self._fit(sql, wanted.max_bytes)
            if wanted.last is not None:
                more |= self._count(sql, wanted.last)
            self._tidy(sql, now_ns)
        self.deleted += self._gone
        return more

    def _fit(self, sql: Connection, max_bytes: int) -> bool:
        kept, size = sql.execute(select(about.c.messages, about.c.bytes)).one()
        if size <= max_bytes or not kept:
            return False
        # As many as it is too much by, were all of one size; the next step sees to the rest.
        rows = max(1, min(STEP_ROWS, int((size - max_bytes) * kept / size)))
        end = int(sql.execute(LAST_ID).scalar_one())
        self._delete_oldest(sql, end, rows)
        return int(sql.execute(select(about.c.bytes)).scalar_one()) > max_bytes

    def _count(self, sql: Connection, last: int) -> bool:
        """Look at the topics written since the last time: at all of them with the first step after the start."""
        end = int(sql.execute(LAST_ID).scalar_one())
        least = int(sql.execute(_LEAST, {"otherwise": end + 1}).scalar_one())
        begin = max(self._counted, least - 1)
        upto = min(end, begin + STEP_ROWS)
        for (topic,) in sql.execute(_TOPICS_WRITTEN, {"after": begin, "upto": upto}).all():
            behind = sql.execute(_TOO_MANY, {"of_topic": topic, "last": last}).scalar()
            if behind is not None:
                self._deleted(
                    sql, [size for (size,) in sql.execute(_DELETE_OF_TOPIC, {"of_topic": topic, "upto": behind})]
                )
        self._counted = upto
        return upto < end

    def _delete_oldest(self, sql: Connection, upto: int, most: int) -> int:
        sizes = [int(size) for (size,) in sql.execute(_DELETE_OLDEST, {"upto": upto, "most": most})]
        self._deleted(sql, sizes)
        return len(sizes)

    def _deleted(self, sql: Connection, sizes: list[int]) -> None:
        if sizes:
            self._gone += len(sizes)
            sql.execute(_COUNT, {"fewer_messages": len(sizes), "fewer_bytes": sum(sizes)})

    def _tidy(self, sql: Connection, now_ns: int) -> None:
        """What belongs to nothing that is kept goes, too."""
        end = int(sql.execute(LAST_ID).scalar_one())
        least = int(sql.execute(_LEAST, {"otherwise": end + 1}).scalar_one())
        sql.execute(delete(batches).where(batches.c.last_id < least))
        sql.execute(delete(holes).where(holes.c.at < least))
        retained.tidy(sql, now_ns)
        sql.execute(delete(lasts).where(lasts.c.kept_ns < now_ns - int(LASTS_S * 1e9)))

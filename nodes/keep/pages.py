"""Reading a keeper's store, page by page: what matches a filter, in the order in which it was written.

What a filter matches is found among the topics first, and kept for the pages that follow. A filter that matches few
topics is read by the index of each, where they are rare; any other by going through all that was written, at most
`SCAN_ROWS` rows a page.
Reading order: `Pages.page`.
"""

from __future__ import annotations

import heapq
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from fabric.errors import ServiceError
from fabric.protocol.histories import PAGE_BYTES, Cursor, Hole, Kept, Question
from fabric.topics import subscription_prefixes
from fabric.trie import SubscriptionTrie
from nodes.keep.schema import BEGINNING_BYTES, batches, holes, messages, signed, topics, unsigned
from nodes.keep.store import LAST_ID, KeepStore, chunks

SCAN_ROWS = 10_000
STEP_ROWS = 1_250
"""Of these, so many are asked for at once: a page is often full after the first time."""
FEW_TOPICS = 50
TRIED_ROWS = 2_500
"""For few topics so many rows are gone through before their indexes are taken: they may be most of what there is."""
THERE_ROWS = 10_000
"""Numbers of a hole that are there all the same: so many are asked for at once."""
MAX_HOLES = 1_000
"""Holes on a page, but for those of one batch, which come together."""
BATCH_HOLES = 10_000
"""More than a batch has."""
MAX_PLANS = 8
"""Filters whose topics are remembered, for the readers that are in the middle."""

_M = messages.c
_ROWS = select(_M.id, _M.topic, _M.publisher, _M.number, _M.sent_ns, _M.size, _M.payload, _M.headers)
_SCAN = (
    select(_M.id, _M.topic, _M.size)
    .where(_M.id > bindparam("after"), _M.id <= bindparam("end"))
    .order_by(_M.id)
    .limit(bindparam("most"))
)
_OF_TOPIC = (
    select(_M.id, _M.size)
    .where(_M.topic == bindparam("of_topic"), _M.id > bindparam("after"), _M.id <= bindparam("end"))
    .order_by(_M.id)
    .limit(bindparam("most"))
)
_THESE = _ROWS.where(_M.id.in_(bindparam("ids", expanding=True))).order_by(_M.id)
_NEWEST_TOPIC = select(func.coalesce(func.max(topics.c.id), 0))
_OLDER_THAN = select(func.coalesce(func.max(batches.c.last_id), 0)).where(batches.c.kept_ns < bindparam("before_ns"))
_FROM_LAST = (
    select(topics.c.id,
           select(_M.id).where(_M.topic == topics.c.id, _M.id <= bindparam("upto")).order_by(_M.id.desc())
           .limit(1).offset(bindparam("but")).scalar_subquery())
    .where(topics.c.id.in_(bindparam("ids", expanding=True)))
)  # fmt: skip
_HOLES = (
    select(holes.c.at, topics.c.topic, holes.c.publisher, holes.c.first, holes.c.last, holes.c.reason, topics.c.id)
    .join(topics, topics.c.id == holes.c.topic)
    .where(holes.c.at > bindparam("after"), holes.c.at <= bindparam("upto"))
    .order_by(holes.c.at, holes.c.id)
    .limit(bindparam("most"))
)
_THERE = select(_M.number).where(
    _M.topic == bindparam("of_topic"),
    _M.publisher == bindparam("of_publisher"),
    _M.number >= bindparam("first"),
    _M.number <= bindparam("last"),
).order_by(_M.number).limit(bindparam("most"))  # fmt: skip


@dataclass
class _Plan:
    """What a filter matches."""

    topics: dict[int, str]
    """Topics by id. Grows with those that are new."""
    newest: int
    """The newest topic that was looked at."""
    starts: dict[int, int]
    """By topic, the first id that is among the wanted last ones; empty where all are wanted."""


class Pages:
    """Answers questions from a store. Several threads may ask."""

    def __init__(self, store: KeepStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        """Guards `_plans`, and what is in them."""
        self._plans: OrderedDict[tuple[str, int | None, int], _Plan] = OrderedDict()
        """By filter, `last` and the end at the first request; the least recently used first. At most `MAX_PLANS`."""

    def page(self, question: Question, now_ns: int) -> tuple[list[Kept], list[Hole], Cursor, bool]:
        """Return messages, holes, where to go on, and whether this is the end for now.

        now_ns: by the keeper's clock
        errors: Busy; ServiceError for a cursor of another store
        """
        with self._store.transaction(writes=False) as sql:
            end = int(sql.execute(LAST_ID).scalar_one())
            place, upto = self._begin(sql, question, end, now_ns)
            with self._lock:
                plan = self._plan(sql, question, upto)
            ids, reached = _ids(sql, plan, _Range(place, end, question.limit))
            after = max(place, end) if reached is None else reached
            noted, cut = _noted(sql, place if question.after else place - 1, after)
            if cut is not None:
                after, reached = cut, cut
            found = _read(sql, plan, [ident for ident in ids if ident <= after])
            missing = [hole for each in noted if each.id in plan.topics for hole in _still_missing(sql, each)]
        return found, missing, (self._store.id, after, upto), reached is None

    def _begin(self, sql: Connection, question: Question, end: int, now_ns: int) -> tuple[int, int]:
        """Return behind which id to read, and where the end was at the first request."""
        if question.after is not None:
            store, place, upto = question.after
            if store != self._store.id:
                raise ServiceError("this keeper has another store: keepers of one name are to have one, or shares")
            return place, upto
        if question.age_ns is None:
            return 0, end
        return int(sql.execute(_OLDER_THAN, {"before_ns": now_ns - question.age_ns}).scalar_one()), end

    # ── plans ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _plan(self, sql: Connection, question: Question, upto: int) -> _Plan:
        key = (question.topic_filter, question.last, upto if question.last is not None else 0)
        plan = self._plans.pop(key, None) or _Plan({}, 0, {})
        newest = int(sql.execute(_NEWEST_TOPIC).scalar_one())
        if newest > plan.newest:
            new = _matching(sql, question.topic_filter, plan.newest)
            plan.topics.update(new)
            plan.newest = newest
            if question.last is not None:
                plan.starts.update(_starts(sql, list(new), question.last, upto))
        self._plans[key] = plan
        while len(self._plans) > MAX_PLANS:
            self._plans.popitem(last=False)
        return plan


@dataclass(frozen=True)
class _Range:
    """Ids behind `after` up to `end`, `limit` of them at most. PostgreSQL writes on between two statements: what is
    above `end` is for the next page."""

    after: int
    end: int
    limit: int


def _ids(sql: Connection, plan: _Plan, wanted: _Range) -> tuple[list[int], int | None]:
    """Return the ids for a page, and up to which id everything was looked at; None: to the end."""
    is_few = len(plan.topics) <= FEW_TOPICS
    ids, reached = _ids_of_all(sql, plan, wanted, TRIED_ROWS if is_few else SCAN_ROWS)
    if is_few and reached is not None and len(ids) < wanted.limit // 2:
        return _ids_of_few(sql, plan, wanted)
    return ids, reached


def _ids_of_all(sql: Connection, plan: _Plan, wanted: _Range, most: int) -> tuple[list[int], int | None]:
    """Go through what was written, at most so many rows."""
    at = max(wanted.after, min(plan.starts.values(), default=0) - 1)
    ids: list[int] = []
    total = looked_at = 0
    while looked_at < most:
        rows = sql.execute(_SCAN, {"after": at, "end": wanted.end, "most": STEP_ROWS}).all()
        for ident, topic, size in rows:
            if topic in plan.topics and ident >= plan.starts.get(topic, 0):
                total += size
                if ids and (total > PAGE_BYTES or len(ids) == wanted.limit):
                    return ids, ids[-1]
                ids.append(ident)
        if len(rows) < STEP_ROWS:
            return ids, None
        at = rows[-1][0]
        looked_at += len(rows)
    return ids, at


def _ids_of_few(sql: Connection, plan: _Plan, wanted: _Range) -> tuple[list[int], int | None]:
    """Go through the index of each topic."""
    each = []
    for topic in list(plan.topics):
        after = max(wanted.after, plan.starts.get(topic, 0) - 1)
        these = {"of_topic": topic, "after": after, "end": wanted.end, "most": wanted.limit + 1}
        each.append([(int(ident), int(size)) for ident, size in sql.execute(_OF_TOPIC, these)])
    ids: list[int] = []
    total = 0
    for ident, size in heapq.merge(*each):
        total += size
        if ids and (total > PAGE_BYTES or len(ids) == wanted.limit):
            return ids, ids[-1]
        ids.append(ident)
    return ids, None


def _matching(sql: Connection, topic_filter: str, after: int) -> dict[int, str]:
    """Return the topics that match, of those whose ids are above `after`."""
    wanted: SubscriptionTrie[bool] = SubscriptionTrie()
    wanted.add(topic_filter, True)
    found = {}
    for prefix in subscription_prefixes(topic_filter):
        for ident, topic in sql.execute(_topics_from(prefix, after)):
            if wanted.match(topic):
                found[int(ident)] = str(topic)
    return found


def _topics_from(prefix: bytes, after: int) -> Select[Any]:
    """Return the question for topics that begin so; a prefix with a NUL is the one topic before it."""
    begin, ended, _ = prefix.partition(b"\0")
    begin = begin[:BEGINNING_BYTES]
    asked = select(topics.c.id, topics.c.topic).where(topics.c.id > after)
    if ended:
        return asked.where(topics.c.beginning == begin)
    if not begin:
        return asked
    return asked.where(topics.c.beginning >= begin, topics.c.beginning < _behind(begin))


def _behind(begin: bytes) -> bytes:
    """Return the least bytes above all that begin so. UTF-8 has no 0xff."""
    return begin + b"\xff" * (BEGINNING_BYTES + 1 - len(begin))


def _starts(sql: Connection, ids: list[int], last: int, upto: int) -> dict[int, int]:
    found = {}
    for some in chunks(ids):
        for topic, first in sql.execute(_FROM_LAST, {"ids": some, "upto": upto, "but": last - 1}):
            found[int(topic)] = int(first or 0)
    return found


def _read(sql: Connection, plan: _Plan, ids: list[int]) -> list[Kept]:
    found = []
    for some in chunks(ids):
        for _, topic, publisher, number, sent_ns, _, payload, headers in sql.execute(_THESE, {"ids": some}):
            plain = None if headers is None else bytes(headers)
            found.append(
                Kept(
                    plan.topics[topic], unsigned(publisher), unsigned(number), unsigned(sent_ns), bytes(payload), plain
                )
            )
    return found


def _noted(sql: Connection, after: int, upto: int) -> tuple[list[Any], int | None]:
    """Return the rows of holes, and where the page has to end because there are too many; None: it need not."""
    rows = list(sql.execute(_HOLES, {"after": after, "upto": upto, "most": MAX_HOLES + 1}).all())
    if len(rows) <= MAX_HOLES:
        return rows, None
    cut = int(rows[-1].at) - 1
    if rows[0].at <= cut:
        return [row for row in rows if row.at <= cut], cut
    cut = int(rows[0].at)  # those of one batch come together
    return list(sql.execute(_HOLES, {"after": after, "upto": cut, "most": BATCH_HOLES}).all()), cut


def _still_missing(sql: Connection, noted: Any) -> Iterator[Hole]:
    """Yield what is missing, less what another keeper of this store has got."""
    these = {"of_topic": noted.id, "of_publisher": noted.publisher, "last": noted.last}
    begin, publisher = unsigned(noted.first), unsigned(noted.publisher)
    while True:
        there = [
            unsigned(each) for (each,) in sql.execute(_THERE, {**these, "first": signed(begin), "most": THERE_ROWS})
        ]
        for number in there:
            if number > begin:
                yield Hole(noted.topic, publisher, begin, number - 1, noted.reason)
            begin = number + 1
        if len(there) < THERE_ROWS:
            break
    if begin <= unsigned(noted.last):
        yield Hole(noted.topic, publisher, begin, unsigned(noted.last), noted.reason)

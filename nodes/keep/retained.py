"""Retained values in a keeper's store: the newest of each topic, with what cleared it.

A value is the newest by its stamp, (sent_ns, publisher), as everywhere in the mesh. What was cleared, or has expired,
is remembered for `CLEARED_S`, so that a publisher or a proxy that was away does not bring back what was there before.
Reading order: `value_of`; `write`, `page`; `tidy`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from fabric.protocol.histories import headers_of, pack
from fabric.protocol.retained import AHEAD_NS, MAX_EXPIRES_S, RETAIN, Stamp
from fabric.wire import Message
from nodes.keep.schema import retained, signed, topics, unsigned

CLEARED_S = 86400.0
PAGE_ROWS = 1_000
_SECOND_NS = 1_000_000_000

_R = retained.c
_PAGE = (
    select(_R.topic, topics.c.topic, _R.stamp, _R.number, _R.expires_ns, _R.cleared, _R.payload, _R.headers)
    .join(topics, topics.c.id == _R.topic)
    .where(_R.topic > bindparam("after"), or_(_R.expires_ns.is_(None), _R.expires_ns > bindparam("now_ns")))
    .order_by(_R.topic)
    .limit(PAGE_ROWS)
)
_TIDY = delete(retained).where(
    or_(
        and_(_R.cleared, _R.kept_ns < bindparam("before_ns")),
        _R.expires_ns < bindparam("before_ns"),
    )
)


class RetainedValue(NamedTuple):
    """The value of a topic, or what cleared it.

    expires_ns: when it is no more, by the keeper's clock, in ns since 1970; None: never
    payload, headers: msgpack; headers without the fabric's own
    """

    topic: str
    sent_ns: int
    publisher: int
    number: int
    expires_ns: int | None
    cleared: bool
    payload: bytes
    headers: bytes | None

    @property
    def stamp(self) -> Stamp:
        """The larger one is the newer."""
        return self.sent_ns, self.publisher

    def at(self, now_ns: int) -> RetainedValue:
        """Return what it is by then: what has expired is as if it had been cleared."""
        if self.expires_ns is None or self.expires_ns > now_ns:
            return self
        return self._replace(expires_ns=None, cleared=True, payload=pack(None), headers=None)

    def left_s(self, now_ns: int) -> int | None:
        """Return how many whole seconds it has left, rounded up, 1 at least; None: it never expires."""
        return None if self.expires_ns is None else max(1, -((now_ns - self.expires_ns) // _SECOND_NS))


def is_ahead(message: Message, now_ns: int) -> bool:
    """Whether a message says that it was sent so far in the future that nothing could replace its value till then. No
    proxy keeps it either."""
    return message.sent_ns > now_ns + AHEAD_NS


def value_of(message: Message, now_ns: int) -> RetainedValue | None:
    """Return what a message, as it was published, is to retain; None: nothing. Input from a peer never raises.

    now_ns: since 1970; what is ahead of it (`is_ahead`) is no value
    """
    left_s = message.headers.get(RETAIN)
    if type(left_s) is not int or not 0 <= left_s <= MAX_EXPIRES_S or is_ahead(message, now_ns):
        return None
    cleared = message.payload is None
    return RetainedValue(
        message.topic,
        message.sent_ns,
        message.publisher,
        message.number,
        now_ns + left_s * _SECOND_NS if left_s and not cleared else None,
        cleared,
        pack(message.payload),
        headers_of(message.headers),
    )


def newest(values: Iterable[RetainedValue]) -> list[RetainedValue]:
    """Return the newest value of each topic."""
    found: dict[str, RetainedValue] = {}
    for value in values:
        before = found.get(value.topic)
        if before is None or value.stamp > before.stamp:
            found[value.topic] = value
    return list(found.values())


def write(sql: Connection, values: Sequence[RetainedValue], ids: dict[str, int], now_ns: int) -> None:
    """Write values, where they are newer than what is there. Within a transaction that writes.

    ids: of their topics
    """
    rows = [
        {
            "topic": ids[each.topic],
            "stamp": each.sent_ns.to_bytes(8, "big") + each.publisher.to_bytes(8, "big"),
            "number": signed(each.number),
            "expires_ns": each.expires_ns,
            "cleared": each.cleared,
            "payload": each.payload,
            "headers": each.headers,
            "kept_ns": now_ns,
        }
        for each in newest(values)
    ]
    add = (postgresql if sql.dialect.name == "postgresql" else sqlite).insert(retained)
    new = add.excluded
    columns = ("stamp", "number", "expires_ns", "cleared", "payload", "headers", "kept_ns")
    upsert = add.on_conflict_do_update(
        index_elements=["topic"], set_={name: new[name] for name in columns}, where=new.stamp > _R.stamp
    )
    if rows:
        sql.execute(upsert, rows)


def page(sql: Connection, after: int, now_ns: int) -> tuple[list[RetainedValue], int]:
    """Return what is there behind a topic's id, `PAGE_ROWS` at most, and the id to go on behind; 0: that was all."""
    rows = sql.execute(_PAGE, {"after": after, "now_ns": now_ns}).all()
    return [_value(*row[1:]) for row in rows], int(rows[-1][0]) if len(rows) == PAGE_ROWS else 0


def _value(
    topic: str, stamp: Any, number: int, expires_ns: int | None, cleared: bool, payload: Any, headers: Any
) -> RetainedValue:
    whole = bytes(stamp)
    sent_ns, publisher = int.from_bytes(whole[:8], "big"), int.from_bytes(whole[8:], "big")
    others = None if headers is None else bytes(headers)
    return RetainedValue(topic, sent_ns, publisher, unsigned(number), expires_ns, bool(cleared), bytes(payload), others)


def tidy(sql: Connection, now_ns: int) -> None:
    """Forget what was cleared, or has expired, long ago."""
    sql.execute(_TIDY, {"before_ns": now_ns - int(CLEARED_S * _SECOND_NS)})

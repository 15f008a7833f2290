"""The contact codes and the places for those who hold them: taken, given back, resting.

Only a code that nobody holds and that has rested is handed out; the primary key of the table decides between two at
once. A page keeps its place from its first code until it is gone.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, select, text, update

from fabric.errors import Busy
from nodes.store import rows, schema
from nodes.store.records import Page
from nodes.store.transaction import Transaction

PLACES_LOCK = 0x5C0DE5
"""Any number that nobody else on the database locks."""

RESERVE = 10
"""One in so many places is kept for hosts that are known."""

CODE_TRIES = 40
"""Draws for one code. With half of all codes taken, one request in 10**12 finds none."""

_COUNT_LIVE = select(func.count()).select_from(schema.pages).where(schema.pages.c.gone_at.is_(None))
_COUNT_BY_HOST = (
    select(schema.pages.c.host, func.count().label("pages"), func.min(schema.pages.c.begun_at).label("begun_at"))
    .where(schema.pages.c.gone_at.is_(None))
    .group_by(schema.pages.c.host)
)
_CLAIM_CODE = text(
    "INSERT INTO codes (code, free_at, used) VALUES (:code, NULL, false)"
    " ON CONFLICT (code) DO UPDATE SET free_at = NULL, used = false WHERE codes.free_at <= :now RETURNING code"
)
_IS_CODE = schema.codes.c.code == bindparam("of_code")
_REST_CODE = update(schema.codes).where(_IS_CODE).values(free_at=bindparam("free_at"), used=bindparam("used"))
_WAS_USED = select(schema.codes.c.used).where(_IS_CODE, schema.codes.c.free_at > bindparam("now"))
_GIVE_BACK = delete(schema.codes).where(_IS_CODE)


def take_place(tx: Transaction, host: str) -> None:
    """Count one more live page. The first one of a transaction locks and counts, the others subtract.

    The last tenth of the places is for hosts that are no strangers: that have had a page for `window_s`, and no more
    pages than their share of all places. So who asks for all codes at once leaves some for the pages of others.

    host:   whose page it is
    errors: Busy when all places are taken, or all that this host may take
    cost:   on PostgreSQL all grants of all frame nodes go one transaction after the other from here to the commit,
            which is why grants are committed many at a time
    """
    left = count_places(tx)
    if left <= 0:
        raise Busy(f"all {tx.options.capacity} places are taken; try again later", tx.options.busy_retry_after_s)
    if left <= tx.options.capacity // RESERVE:
        _take_of_reserve(tx, host)
    tx.places_left = left - 1


def _take_of_reserve(tx: Transaction, host: str) -> None:
    """Count one more page of a host among the last places. errors: Busy. Cost: a walk over the live pages, once."""
    if tx.pages_of is None:
        rows.write_new(tx)
        found = tx.sql.execute(_COUNT_BY_HOST).all()
        tx.pages_of = {str(row.host): (int(row.pages), float(row.begun_at)) for row in found}
    known = {name for name, (_, begun_at) in tx.pages_of.items() if begun_at <= tx.now - tx.options.window_s}
    pages, begun_at = tx.pages_of.get(host, (0, tx.now))
    # Where nobody is known yet, as after a start, there is nobody to keep places for.
    if known and (host not in known or pages * len(known) >= tx.options.capacity):
        raise Busy("the last places are for other page hosts; try again later", tx.options.busy_retry_after_s)
    tx.pages_of[host] = pages + 1, begun_at


def count_places(tx: Transaction) -> int:
    """Return how many places are left, which stays true until the commit."""
    if tx.places_left is None:
        tx.lock(PLACES_LOCK)
        tx.places_left = tx.options.capacity - int(tx.sql.execute(_COUNT_LIVE).scalar_one())
    return tx.places_left


def draw(tx: Transaction) -> str:
    """Take a free code. errors: Busy when none was found in `CODE_TRIES` draws."""
    prepared = tx.expected.take_code()
    if prepared is not None:
        return prepared
    for _ in range(CODE_TRIES):
        code = tx.options.codes.draw(tx.rng)
        if tx.sql.execute(_CLAIM_CODE, {"code": code, "now": tx.now}).first() is not None:
            return code
    raise Busy("nearly all contact codes are held or resting; use longer ones", tx.options.busy_retry_after_s)


def with_new(tx: Transaction, page: Page) -> Page:
    """Return the page with a code if it is idle and has none. If none is free it asks again by `grant_code`."""
    if page.cobrowse != "idle" or page.code is not None:
        return page
    try:
        return page._replace(code=draw(tx))
    except Busy:
        return page


def rest(tx: Transaction, code: str, used: bool) -> None:
    """Take a code from its page; it rests for `quarantine_s`. used: whether an agent has joined with it."""
    until = tx.now + tx.options.quarantine_s
    tx.sql.execute(_REST_CODE, {"of_code": code, "free_at": until, "used": used})


def was_used(tx: Transaction, code: str) -> bool:
    """Say whether `code` rests since an agent has joined with it."""
    return bool(tx.sql.execute(_WAS_USED, {"of_code": code, "now": tx.now}).scalar())


def give_back(tx: Transaction, codes: Iterable[str]) -> None:
    """Let go of codes that were claimed and that no page has held; they need no rest."""
    given = [{"of_code": code} for code in codes]
    if given:
        tx.sql.execute(_GIVE_BACK, given)

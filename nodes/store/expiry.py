"""What ends by itself: leases of pages and agents, offers, requests, and rows that nobody needs any more."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, select

from nodes.store import agents, asks, chats, pages, rows, schema
from nodes.store.records import Change, Page
from nodes.store.transaction import Transaction

# A row that another frame node has locked is being changed there, and is looked at again next time.
_OFFERS_OVER = (
    select(schema.pages)
    .where(schema.pages.c.chat.in_(("offered", "invited")), schema.pages.c.offer_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_AGENTS_OVER = (
    select(schema.agents.c.agent)
    .where(schema.agents.c.lease_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_ASKS_OVER = (
    select(schema.pages)
    .where(schema.pages.c.cobrowse == "asked", schema.pages.c.ask_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_PAGES_OVER = (
    select(schema.pages)
    .where(schema.pages.c.gone_at.is_(None), schema.pages.c.lease_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DROP = (
    delete(schema.codes).where(schema.codes.c.free_at <= bindparam("now")),
    delete(schema.replies).where(schema.replies.c.until <= bindparam("now")),
    delete(schema.handles).where(schema.handles.c.until <= bindparam("now")),
    delete(schema.refusals).where(schema.refusals.c.until <= bindparam("now")),
    delete(schema.pages).where(schema.pages.c.gone_at <= bindparam("forget")),
    delete(schema.attempts).where(
        schema.attempts.c.since <= bindparam("window"), schema.attempts.c.locked_until <= bindparam("now")
    ),
)
_COUNTS = select(
    func.count().label("pages"),
    func.count(schema.pages.c.code).label("codes"),
    func.count().filter(schema.pages.c.cobrowse.in_(("joined", "stopping"))).label("sessions"),
    func.count().filter(schema.pages.c.chat.in_(("waiting", "offered"))).label("waiting"),
).where(schema.pages.c.gone_at.is_(None))
_RESTING = select(func.count().label("resting")).where(schema.codes.c.free_at > bindparam("now"))
_AGENTS = select(func.count().label("agents")).select_from(schema.agents)


def expire(tx: Transaction, limit: int = 200) -> list[Change]:
    """End what is over, at most `limit` of each kind, and return what became of it.

    Two frame nodes at once each get a part of it, and nothing twice.
    """
    over = {"now": tx.now, "limit": limit}
    # Agents before pages, the order of all locks.
    changes: list[Change] = []
    for agent in list(tx.sql.execute(_AGENTS_OVER, over).scalars()):
        changes += agents.end(tx, agent)
    for row in list(tx.sql.execute(_OFFERS_OVER, over)):
        page = Page._make(row)
        is_offer = page.chat == "offered"
        after = chats.requeue(tx, page, "timeout") if is_offer else chats.lapse(tx, page)
        changes.append(Change("chat_requeued" if is_offer else "chat_lapsed", after, (str(row.chat_agent),)))
    for row in list(tx.sql.execute(_ASKS_OVER, over)):
        asked = Page._make(row)
        declined = asks.over(tx, asked, asked.cobrowsing().after("timeout"), "timeout")
        changes.append(Change("ask_over", rows.save_page(tx, declined), (str(row.agent),)))
    for row in list(tx.sql.execute(_PAGES_OVER, over)):
        changes.append(pages.end(tx, Page._make(row)))
    return changes


def clean(tx: Transaction) -> int:
    """Delete rows that nobody needs any more, and return how many. Once in a while is enough."""
    before = {
        "now": tx.now,
        "forget": tx.now - tx.options.forget_s,
        "window": tx.now - tx.options.window_s,
    }
    return sum(tx.sql.execute(statement, before).rowcount for statement in _DROP)


def counts(tx: Transaction) -> dict[str, int]:
    """Return how many pages are live, hold a code, are in session, wait for a chat; codes rest; agents are there.

    cost: a walk over the live pages, and over the codes that rest
    """
    found: dict[str, int] = {}
    for statement in (_COUNTS, _RESTING, _AGENTS):
        row = tx.sql.execute(statement, {"now": tx.now}).mappings().one()
        found |= {str(name): int(count) for name, count in row.items()}
    return found

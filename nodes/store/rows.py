"""Rows of pages and agents: how the operations find them, lock them, and write a page's next version."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from nodes.rules.errors import LeaseExpired
from nodes.store import handles, schema
from nodes.store.records import Page
from nodes.store.transaction import Transaction

_FIND_PAGE = select(schema.pages).where(schema.pages.c.session == bindparam("session")).with_for_update()
_SAVE_PAGE = (
    update(schema.pages)
    .where(schema.pages.c.session == bindparam("of_session"))
    .values({name: bindparam(name) for name in Page._fields if name != "session"})
)
_INSERT_PAGE = insert(schema.pages)
_LIVE_AGENT = (
    select(schema.agents.c.name)
    .where(schema.agents.c.agent == bindparam("of_agent"), schema.agents.c.lease_until > bindparam("now"))
    .with_for_update(read=True)  # its end waits until we are done
)


def find_page(tx: Transaction, session: str) -> Page | None:
    """Return the page, locked until the transaction ends, whether it is live or gone; None when there is no row."""
    if tx.expected.take_absent(session):
        return None
    write_new(tx)
    row = tx.sql.execute(_FIND_PAGE, {"session": session}).first()
    return None if row is None else Page._make(row)


def live_page(tx: Transaction, session: str) -> Page:
    """Return the page, locked until the transaction ends. errors: LeaseExpired when it is gone, or its lease over."""
    page = find_page(tx, session)
    if page is None or not page.is_live(tx.now):
        raise LeaseExpired("there is no such page session, or its lease has run out")
    return page


def add_page(tx: Transaction, page: Page) -> None:
    """Write a new page; many that were expected are written together."""
    tx.new_pages.append(page)
    if not tx.expected.more_pages:
        write_new(tx)


def write_new(tx: Transaction) -> None:
    """Write the pages that have begun, in one statement."""
    if tx.new_pages:
        begun, tx.new_pages = tx.new_pages, []
        tx.sql.execute(_INSERT_PAGE, [page._asdict() for page in begun])


def save_page(tx: Transaction, page: Page) -> Page:
    """Write the whole page under its next version, and return it; who is engaged with it knows it by a handle."""
    page = page._replace(version=page.version + 1)
    values = page._asdict()
    values["of_session"] = values.pop("session")
    tx.sql.execute(_SAVE_PAGE, values)
    handles.give(tx, page, page.engaged())
    return page


def check_agent(tx: Transaction, agent: str) -> str:
    """Keep a signed-in agent from ending before the commit; return its name. errors: LeaseExpired when it is not."""
    row = tx.sql.execute(_LIVE_AGENT, {"of_agent": agent, "now": tx.now}).first()
    expect_agent(row)
    return "" if row is None else str(row.name)


def expect_agent(row: object) -> None:
    """Raise LeaseExpired when a live agent was looked for and `row` is None."""
    if row is None:
        raise LeaseExpired("this agent is not signed in, or its lease has run out; sign in again")

"""The handles by which agents know pages: of one page each agent has its own, and none tells the session's name.

A handle holds while its agent is engaged with the page, and `propose_s` longer: so long the agent may propose a chat.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, select, text

from nodes.rules.errors import LeaseExpired
from nodes.rules.proofs import handle_of
from nodes.store.records import Page
from nodes.store.schema import handles
from nodes.store.transaction import Transaction

_GIVE = text(
    "INSERT INTO handles (handle, session, agent, until) VALUES (:handle, :session, :agent, :until)"
    " ON CONFLICT (handle) DO UPDATE SET until = excluded.until"
)
_FIND = select(handles.c.session).where(
    handles.c.handle == bindparam("of_handle"),
    handles.c.agent == bindparam("of_agent"),
    handles.c.until > bindparam("now"),
)


def give(tx: Transaction, page: Page, agents: Iterable[str]) -> None:
    """Let these agents, who are engaged with the page, know it by their handles from now on. Cost: one statement."""
    until = tx.now + tx.options.propose_s
    given = [
        {"handle": handle_of(page.key, page.session, agent), "session": page.session, "agent": agent, "until": until}
        for agent in sorted(agents)
    ]
    if given:
        tx.sql.execute(_GIVE, given)


def session_of(tx: Transaction, agent: str, handle: str) -> str:
    """Return the session that `agent` knows by `handle`. errors: LeaseExpired when it knows none by that."""
    found = tx.sql.execute(_FIND, {"of_handle": handle, "of_agent": agent, "now": tx.now}).scalar()
    if found is None:
        raise LeaseExpired("no such page session, its lease has run out, or this agent was not engaged with it of late")
    return str(found)

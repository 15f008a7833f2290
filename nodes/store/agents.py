"""The store's operations on agents: signing in, availability, leases, and what becomes of their pages when they go."""

from __future__ import annotations

import hmac
import math
from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, insert, or_, select, text, update

from fabric.errors import Busy
from nodes.store import asks, codes, handles, rows, schema
from nodes.store.records import Agent, Change, Page
from nodes.store.transaction import Transaction

_AGENTS, _BUTTONS, _PAGES = schema.agents.c, schema.agent_buttons.c, schema.pages.c
_FIND_AGENT = select(schema.agents).where(_AGENTS.agent == bindparam("of_agent")).with_for_update()
_SIGN_IN = text(
    "INSERT INTO agents (agent, name, available, lease_s, lease_until, key, since)"
    " VALUES (:agent, :name, false, :lease_s, :lease_until, :key, :now)"
    " ON CONFLICT (agent) DO UPDATE"
    " SET name = excluded.name, lease_s = excluded.lease_s, lease_until = excluded.lease_until"
)
_DROP_BUTTONS = delete(schema.agent_buttons).where(_BUTTONS.agent == bindparam("of_agent"))
_ADD_BUTTON = insert(schema.agent_buttons)
_FIND_BUTTONS = select(_BUTTONS.button).where(_BUTTONS.agent == bindparam("of_agent")).order_by("button")
_UPDATE_LIVE = (
    update(schema.agents)
    .where(_AGENTS.agent == bindparam("of_agent"), _AGENTS.lease_until > bindparam("now"))
    .returning(_AGENTS.agent)
)
_SET_AVAILABLE = _UPDATE_LIVE.values(available=bindparam("on"))
_RENEW_AGENT = _UPDATE_LIVE.values(lease_until=_AGENTS.lease_s + bindparam("now"))
_FIND_KEYS = select(_AGENTS.agent, _AGENTS.key).where(_AGENTS.agent.in_(bindparam("of_agents", expanding=True)))
_DROP_AGENT = delete(schema.agents).where(_AGENTS.agent == bindparam("of_agent"))
_PAGES_OF = select(schema.pages).where(
    or_(_PAGES.agent == bindparam("of_agent"), _PAGES.chat_agent == bindparam("of_agent")), _PAGES.gone_at.is_(None)
)
_PAGES_OF_TO_CHANGE = _PAGES_OF.order_by(_PAGES.session).with_for_update()
_BUTTONS_AVAILABLE = (
    select(_BUTTONS.button, func.count())
    .join(schema.agents, _AGENTS.agent == _BUTTONS.agent)
    .where(_AGENTS.available, _AGENTS.lease_until > bindparam("now"))
    .group_by(_BUTTONS.button)
)


def sign_in(tx: Transaction, agent: str, name: str, buttons: Iterable[str], lease_s: float, key: str = "") -> Agent:
    """Sign an agent in, not available yet, or change its name and buttons while it is signed in.

    key:     of this lease: whoever has it acts as the agent until the lease is over
    errors:  Busy, with what is left of it, while another lease of this agent runs
    """
    row = tx.sql.execute(_FIND_AGENT, {"of_agent": agent}).first()
    if row is not None and row.lease_until <= tx.now:
        end(tx, agent)
    elif row is not None and not hmac.compare_digest(str(row.key), key):
        left_s = row.lease_until - tx.now
        raise Busy(f"this agent is signed in elsewhere, for {math.ceil(left_s)} s at least; try again then", left_s)
    signing = {"agent": agent, "name": name, "lease_s": lease_s, "lease_until": tx.now + lease_s, "key": key}
    tx.sql.execute(_SIGN_IN, {**signing, "now": tx.now})
    tx.sql.execute(_DROP_BUTTONS, {"of_agent": agent})
    served = [{"agent": agent, "button": button} for button in sorted(set(buttons))]
    if served:
        tx.sql.execute(_ADD_BUTTON, served)
    return _agent(tx, agent)


def set_available(tx: Transaction, agent: str, on: bool) -> Agent:
    """Say whether the agent takes chats; what it has been offered already stays. errors: LeaseExpired."""
    rows.expect_agent(tx.sql.execute(_SET_AVAILABLE, {"of_agent": agent, "on": on, "now": tx.now}).first())
    return _agent(tx, agent)


def renew(tx: Transaction, agent: str) -> Agent:
    """Renew an agent's lease by the length it signed in with; return it with the pages it is engaged with.

    errors: LeaseExpired: its sessions and chats are over, and it signs in again
    """
    rows.expect_agent(tx.sql.execute(_RENEW_AGENT, {"of_agent": agent, "now": tx.now}).first())
    found = _agent(tx, agent)
    for page in found.pages:
        handles.give(tx, page, [agent])
    return found


def sign_out(tx: Transaction, agent: str) -> list[Change]:
    """End an agent and all it is engaged with; nothing for one that is not signed in."""
    row = tx.sql.execute(_FIND_AGENT, {"of_agent": agent}).first()
    return [] if row is None else end(tx, agent)


def keys_of(tx: Transaction, agents: Iterable[str]) -> dict[str, str]:
    """Return the key of each of these agents that has a lease. Cost: one statement; none for nobody."""
    wanted = sorted(set(agents))
    if not wanted:
        return {}
    return {str(agent): str(key) for agent, key in tx.sql.execute(_FIND_KEYS, {"of_agents": wanted})}


def buttons_available(tx: Transaction) -> dict[str, int]:
    """Return how many agents are available for each button; a button without any is not in it."""
    return {str(button): int(count) for button, count in tx.sql.execute(_BUTTONS_AVAILABLE, {"now": tx.now})}


def end(tx: Transaction, agent: str) -> list[Change]:
    """Delete an agent; its requests and sessions end, acknowledged by that; its offers go back to the queue, its chats
    close."""
    key = keys_of(tx, [agent]).get(agent, "")
    changes = []
    for page in [Page._make(row) for row in tx.sql.execute(_PAGES_OF_TO_CHANGE, {"of_agent": agent})]:
        after, what = page, []
        if page.agent == agent and page.cobrowse == "asked":
            after = asks.over(tx, after, after.cobrowsing().after("agent_lost"), "agent_lost")
            what.append("ask_over")
        elif page.agent == agent:
            after = after.with_cobrowsing(after.cobrowsing().after("agent_lost"))
            what.append("stopped")
        if page.chat_agent == agent:
            after = after.after_chat("agent_lost")
            what.append("chat_requeued" if after.chat == "waiting" else "chat_closed")
            if page.chat == "invited":
                after = after.after_visibility("hide")  # of one that was open, what was said can be read still
        saved = rows.save_page(tx, codes.with_new(tx, after))
        changes += [Change(each, saved, (agent,)) for each in what]
    tx.sql.execute(_DROP_BUTTONS, {"of_agent": agent})
    tx.sql.execute(_DROP_AGENT, {"of_agent": agent})
    return [*changes, Change("agent_gone", None, (agent,), key)]


def _agent(tx: Transaction, agent: str) -> Agent:
    row = tx.sql.execute(_FIND_AGENT, {"of_agent": agent}).one()
    buttons = tuple(tx.sql.execute(_FIND_BUTTONS, {"of_agent": agent}).scalars())
    engaged = tuple(Page._make(each) for each in tx.sql.execute(_PAGES_OF, {"of_agent": agent}))
    return Agent(row.agent, row.name, row.available, row.lease_s, buttons, engaged)

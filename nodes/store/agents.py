"""The store's operations on agents: signing in, availability, leases, and what becomes of their pages when they go."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import bindparam, delete, func, insert, or_, select, text, update

from nodes.rules.errors import LeaseExpired
from nodes.store.pages import PageOperations
from nodes.store.records import Agent, Change, Page
from nodes.store.schema import agent_buttons, agents, pages

_FIND_AGENT = select(agents).where(agents.c.agent == bindparam("of_agent")).with_for_update()
_SIGN_IN = text(
    "INSERT INTO agents (agent, name, available, lease_s, lease_until)"
    " VALUES (:agent, :name, false, :lease_s, :lease_until)"
    " ON CONFLICT (agent) DO UPDATE"
    " SET name = excluded.name, lease_s = excluded.lease_s, lease_until = excluded.lease_until"
)
_DROP_BUTTONS = delete(agent_buttons).where(agent_buttons.c.agent == bindparam("of_agent"))
_ADD_BUTTON = insert(agent_buttons)
_BUTTONS = select(agent_buttons.c.button).where(agent_buttons.c.agent == bindparam("of_agent")).order_by("button")
_IS_LIVE = (agents.c.agent == bindparam("of_agent")) & (agents.c.lease_until > bindparam("now"))
_SET_AVAILABLE = update(agents).where(_IS_LIVE).values(available=bindparam("on")).returning(agents.c.agent)
_RENEW_AGENT = (
    update(agents).where(_IS_LIVE).values(lease_until=agents.c.lease_s + bindparam("now")).returning(agents.c.agent)
)
_DROP_AGENT = delete(agents).where(agents.c.agent == bindparam("of_agent"))
_PAGES_OF = select(pages).where(
    or_(pages.c.agent == bindparam("of_agent"), pages.c.chat_agent == bindparam("of_agent")), pages.c.gone_at.is_(None)
)
_PAGES_OF_TO_CHANGE = _PAGES_OF.order_by(pages.c.session).with_for_update()
_BUTTONS_AVAILABLE = (
    select(agent_buttons.c.button, func.count())
    .join(agents, agents.c.agent == agent_buttons.c.agent)
    .where(agents.c.available, agents.c.lease_until > bindparam("now"))
    .group_by(agent_buttons.c.button)
)


class AgentOperations(PageOperations):
    """What an agent asks of the store about itself."""

    def sign_in(self, agent: str, name: str, buttons: Iterable[str], lease_s: float) -> Agent:
        """Sign an agent in, not available yet, or change its name and buttons while it is signed in."""
        row = self._sql.execute(_FIND_AGENT, {"of_agent": agent}).first()
        if row is not None and row.lease_until <= self.now:
            self._end_agent(agent)
        signing = {"agent": agent, "name": name, "lease_s": lease_s, "lease_until": self.now + lease_s}
        self._sql.execute(_SIGN_IN, signing)
        self._sql.execute(_DROP_BUTTONS, {"of_agent": agent})
        rows = [{"agent": agent, "button": button} for button in sorted(set(buttons))]
        if rows:
            self._sql.execute(_ADD_BUTTON, rows)
        return self._agent(agent)

    def availability(self, agent: str, on: bool) -> Agent:
        """Say whether the agent takes chats; what it has been offered already stays. errors: LeaseExpired."""
        self._expect(self._sql.execute(_SET_AVAILABLE, {"of_agent": agent, "on": on, "now": self.now}).first())
        return self._agent(agent)

    def renew_agent(self, agent: str) -> Agent:
        """Renew an agent's lease by the length it signed in with; return it with the pages it is engaged with.

        errors: LeaseExpired: its sessions and chats are over, and it signs in again
        """
        self._expect(self._sql.execute(_RENEW_AGENT, {"of_agent": agent, "now": self.now}).first())
        return self._agent(agent)

    def sign_out(self, agent: str) -> list[Change]:
        """End an agent and all it is engaged with; nothing for one that is not signed in."""
        row = self._sql.execute(_FIND_AGENT, {"of_agent": agent}).first()
        return [] if row is None else self._end_agent(agent)

    def buttons_available(self) -> dict[str, int]:
        """Return how many agents are available for each button; a button without any is not in it."""
        rows = self._sql.execute(_BUTTONS_AVAILABLE, {"now": self.now})
        return {str(button): int(count) for button, count in rows}

    # --- shared by the operations

    def _expect(self, row: object) -> None:
        if row is None:
            raise LeaseExpired("this agent is not signed in, or its lease has run out; sign in again")

    def _agent(self, agent: str) -> Agent:
        row = self._sql.execute(_FIND_AGENT, {"of_agent": agent}).one()
        buttons = tuple(self._sql.execute(_BUTTONS, {"of_agent": agent}).scalars())
        engaged = tuple(Page._make(each) for each in self._sql.execute(_PAGES_OF, {"of_agent": agent}))
        return Agent(row.agent, row.name, row.available, row.lease_s, buttons, engaged)

    def _end_agent(self, agent: str) -> list[Change]:
        """Delete an agent; its sessions end, acknowledged by that, its offers go back to the queue, its chats close."""
        changes = []
        for page in [Page._make(row) for row in self._sql.execute(_PAGES_OF_TO_CHANGE, {"of_agent": agent})]:
            after, told = page, []
            if page.agent == agent:
                after = after.with_cobrowsing(after.cobrowsing().after("agent_lost"))
                told.append("stopped")
            if page.chat_agent == agent:
                after = after.after_chat("agent_lost")
                told.append("chat_requeued" if after.chat == "waiting" else "chat_closed")
                if after.chat == "closed":
                    after = after.after_visibility("hide")
            saved = self._save_page(self._with_new_code(after))
            changes += [Change(what, saved, (agent,)) for what in told]
        self._sql.execute(_DROP_BUTTONS, {"of_agent": agent})
        self._sql.execute(_DROP_AGENT, {"of_agent": agent})
        return [*changes, Change("agent_gone", None, (agent,))]

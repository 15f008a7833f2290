"""What ends by itself: leases of pages and agents, offers, and rows that nobody needs any more."""

from __future__ import annotations

from sqlalchemy import bindparam, delete, func, select

from nodes.store.chats import ChatOperations
from nodes.store.records import Change, Page
from nodes.store.schema import agents, attempts, codes, pages, refusals, replies

# Whatever another frame node has locked is being changed there, and is looked at again next time.
_OFFERS_OVER = (
    select(pages)
    .where(pages.c.chat == "offered", pages.c.offer_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_AGENTS_OVER = (
    select(agents.c.agent)
    .where(agents.c.lease_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_PAGES_OVER = (
    select(pages)
    .where(pages.c.gone_at.is_(None), pages.c.lease_until <= bindparam("now"))
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DROP = (
    delete(codes).where(codes.c.free_at <= bindparam("now")),
    delete(replies).where(replies.c.until <= bindparam("now")),
    delete(refusals).where(refusals.c.until <= bindparam("now")),
    delete(pages).where(pages.c.gone_at <= bindparam("forget")),
    delete(attempts).where(attempts.c.since <= bindparam("window"), attempts.c.locked_until <= bindparam("now")),
)
_COUNTS = select(
    func.count().label("pages"),
    func.count(pages.c.code).label("codes"),
    func.count(pages.c.agent).label("sessions"),
    func.count().filter(pages.c.chat.in_(("waiting", "offered"))).label("waiting"),
).where(pages.c.gone_at.is_(None))
_RESTING = select(func.count().label("resting")).where(codes.c.free_at > bindparam("now"))
_AGENTS = select(func.count().label("agents")).select_from(agents)


class ExpiryOperations(ChatOperations):
    """What a frame node asks of the store at every tick."""

    def expire(self, limit: int = 200) -> list[Change]:
        """End what is over, at most `limit` of each kind, and return what became of it.

        Two frame nodes at once each get a part of it, and nothing twice.
        """
        over = {"now": self.now, "limit": limit}
        # Agents before pages, the order of all locks.
        changes: list[Change] = []
        for agent in list(self._sql.execute(_AGENTS_OVER, over).scalars()):
            changes += self._end_agent(agent)
        for row in list(self._sql.execute(_OFFERS_OVER, over)):
            page = self._requeue(Page._make(row), "timeout")
            changes.append(Change("chat_requeued", page, (str(row.chat_agent),)))
        for row in list(self._sql.execute(_PAGES_OVER, over)):
            changes.append(self._end_page(Page._make(row)))
        return changes

    def clean(self) -> int:
        """Delete rows that nobody needs any more, and return how many. Once in a while is enough."""
        before = {
            "now": self.now,
            "forget": self.now - self._options.forget_s,
            "window": self.now - self._options.window_s,
        }
        return sum(self._sql.execute(statement, before).rowcount for statement in _DROP)

    def counts(self) -> dict[str, int]:
        """Return how many pages are live, hold a code, are in session, wait for a chat; codes rest; agents are there.

        cost: a walk over the live pages, and over the codes that rest
        """
        found: dict[str, int] = {}
        for statement in (_COUNTS, _RESTING, _AGENTS):
            row = self._sql.execute(statement, {"now": self.now}).mappings().one()
            found |= {str(name): int(count) for name, count in row.items()}
        return found

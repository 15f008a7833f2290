"""The store's operations on chats: the queue of each button, offers, proactive chats.

A page that waits has a number; the lowest is offered first, to the available agent of its button with the fewest chats,
one offer at a time for each agent. A chat that is declined keeps its number, and rests for the agent who let it go.
"""

from __future__ import annotations

from sqlalchemy import bindparam, func, select, text

from fabric.errors import NotAllowed
from nodes.store import asks, rows
from nodes.store.records import Page
from nodes.store.schema import agent_buttons, agents, pages, refusals
from nodes.store.transaction import Transaction

OFFERS_LOCK = 0x5C0FFE
"""Any number that nobody else on the database locks."""

_NEXT_NUMBER = select(func.coalesce(func.max(pages.c.queue_no), 0) + 1)
_REFUSE = text(
    "INSERT INTO refusals (session, agent, until) VALUES (:session, :agent, :until)"
    " ON CONFLICT (session, agent) DO UPDATE SET until = excluded.until"
)

_chat_of = pages.alias("chat_of")
_OPEN_CHATS = (
    select(func.count())
    .select_from(_chat_of)
    .where(_chat_of.c.chat_agent == agents.c.agent, _chat_of.c.chat.in_(("open", "invited")))
    .scalar_subquery()
)
_HAS_OFFER = select(_chat_of.c.session).where(_chat_of.c.chat_agent == agents.c.agent, _chat_of.c.chat == "offered")
_FREE_AGENTS = (
    select(agent_buttons.c.button, agents.c.agent)
    .join(agents, agents.c.agent == agent_buttons.c.agent)
    .where(
        agents.c.available,
        agents.c.lease_until > bindparam("now"),
        ~_HAS_OFFER.exists(),
        bindparam("chats_per_agent") > _OPEN_CHATS,
    )
)
_HAS_REFUSED = select(refusals.c.session).where(
    refusals.c.session == bindparam("session"), refusals.c.agent == agents.c.agent, refusals.c.until > bindparam("now")
)
_AGENT_FOR = (
    _FREE_AGENTS.where(agent_buttons.c.button == bindparam("button"), ~_HAS_REFUSED.exists())
    .order_by(_OPEN_CHATS, agents.c.agent)
    .limit(1)
    .with_for_update(of=agents, skip_locked=True)
)
_HEAD_OF_QUEUE = (
    select(pages)
    .where(
        pages.c.chat == "waiting",
        pages.c.lease_until > bindparam("now"),
        pages.c.button.in_(select(_FREE_AGENTS.subquery("free").c.button)),
    )
    .order_by(pages.c.queue_no, pages.c.session)
    .limit(bindparam("limit"))
    .with_for_update(of=pages, skip_locked=True)
)


def trigger(tx: Transaction, session: str, button: str) -> Page:
    """Put a page into the queue of `button`, or take up the agent's invitation; the frame is shown.

    errors: LeaseExpired; StateError while a chat waits or runs
    """
    page = rows.live_page(tx, session)
    after = page.after_chat("trigger").after_visibility("show")
    if after.chat == "waiting":
        after = after._replace(button=button, queue_no=tx.sql.execute(_NEXT_NUMBER).scalar_one())
    return rows.save_page(tx, after)


def offer(tx: Transaction, limit: int = 100) -> list[Page]:
    """Offer what waits to the agents who are free; return the pages offered, each with its `chat_agent`.

    Call it after anything that could have freed an agent or filled a queue, in the same transaction. While another
    frame node offers, this one offers nothing.
    cost: one statement when nothing can be offered, two more for each page that waits for a free agent's button
    """
    if not tx.try_lock(OFFERS_LOCK):
        return []
    now = {"now": tx.now, "chats_per_agent": tx.options.chats_per_agent}
    offered = []
    for page in [Page._make(row) for row in tx.sql.execute(_HEAD_OF_QUEUE, {"limit": limit, **now})]:
        asking = {"session": page.session, "button": page.button, **now}
        found = tx.sql.execute(_AGENT_FOR, asking).first()
        if found is not None:
            until = tx.now + tx.options.offer_s
            after = page.after_chat("offer")._replace(chat_agent=found.agent, offer_until=until)
            offered.append(rows.save_page(tx, after))
    return offered


def accept(tx: Transaction, agent: str, session: str) -> Page:
    """Open the chat that `agent` was offered.

    errors: LeaseExpired; NotAllowed when it is offered to another; StateError when it is offered to nobody
    """
    page = _offered_to(tx, agent, session, "accept")
    return rows.save_page(tx, page.after_chat("accept").after_visibility("show"))


def decline(tx: Transaction, agent: str, session: str) -> Page:
    """Put the chat that `agent` was offered back into its place; its request ends. errors: as for `accept`."""
    page = _offered_to(tx, agent, session, "decline")
    return requeue(tx, asks.over_with_chat(tx, page, "withdrawn"), "decline")


def stop(tx: Transaction, session: str, agent: str | None = None) -> Page:
    """End a chat for the page (`agent` None) or for its agent, with a request that came from it.

    Again: nothing changes. One that was open can be read still; the frame is hidden when none was.

    errors: LeaseExpired; NotAllowed for an agent that is not in this chat; StateError when there was none
    """
    page = rows.live_page(tx, session)
    if page.chat == "closed":
        return page
    if agent is not None and (page.chat_agent != agent or page.chat == "offered"):
        raise NotAllowed("only the agent in a chat may stop it; one that is offered may be declined")
    after = page.after_chat("withdraw" if agent is not None and page.chat == "invited" else "stop")
    stopped = after if page.chat == "open" else after.after_visibility("hide")
    return rows.save_page(tx, asks.over_with_chat(tx, stopped, "declined" if agent is None else "withdrawn"))


def propose(tx: Transaction, agent: str, session: str) -> Page:
    """Let `agent` propose a chat to a page that it was engaged with of late; the frame is shown, the visitor decides.

    The proposal ends after `offer_s`.

    errors: LeaseExpired; StateError while another chat waits or runs
    """
    rows.check_agent(tx, agent)
    page = rows.live_page(tx, session)
    until = tx.now + tx.options.offer_s
    invited = page.after_chat("proactive").after_visibility("show")
    return rows.save_page(tx, invited._replace(chat_agent=agent, offer_until=until))


def lapse(tx: Transaction, page: Page) -> Page:
    """End a proposal that nobody has answered; the frame stays as it is."""
    return rows.save_page(tx, page.after_chat("timeout"))


def requeue(tx: Transaction, page: Page, event: str) -> Page:
    """Put an offered chat back into its place by `event`; it rests for the agent that let it go."""
    until = tx.now + tx.options.refusal_s
    tx.sql.execute(_REFUSE, {"session": page.session, "agent": page.chat_agent, "until": until})
    return rows.save_page(tx, page.after_chat(event))


def _offered_to(tx: Transaction, agent: str, session: str, event: str) -> Page:
    rows.check_agent(tx, agent)
    page = rows.live_page(tx, session)
    page.after_chat(event)  # nothing is offered: a StateError, which says more than whose it is
    if page.chat_agent != agent:
        raise NotAllowed("this chat is offered to another agent")
    return page

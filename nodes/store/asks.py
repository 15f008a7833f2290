"""The store's operations on requests: an agent asks a page's visitor, who allows it, declines it, or does not answer.

A request takes the page's code, however the agent has found the page. So no second agent can ask by it meanwhile, and
one who was declined, or has hit a stranger, cannot ask again by what it knows. The page gets another code when the
request is over. In a chat, where no code is in the way, one who was declined, or was not answered, rests before it asks
again. A request by code that was not allowed counts as a wrong code, whatever has ended it but the page's own
end: who takes a request back, or signs out, has tried a code all the same.
"""

from __future__ import annotations

from fabric.errors import NotAllowed
from nodes.rules.cobrowse import Cobrowse, asks_again_at, rest_left_s
from nodes.rules.errors import AskedTooSoon
from nodes.store import attempts, codes, rows
from nodes.store.records import Page
from nodes.store.transaction import Transaction

ASKING_CHATS = ("offered", "open")
"""In these an agent may ask the visitor of its chat; one that waits in the agent's list is `offered`."""


def ask(tx: Transaction, agent: str, session: str, capability: str = "view") -> Page:
    """Let `agent` ask the visitor with whom it is in a chat, or whose chat it was offered. The offer waits as long.

    errors:  LeaseExpired for a page that is gone, or an agent that is not signed in; NotAllowed for any other agent;
             StateError while a request waits or co-browsing runs; AskedTooSoon, which says how many seconds are left,
             when the last request of this agent was declined, or not answered, less than `ask_rest_s` ago
    """
    name = rows.check_agent(tx, agent)
    page = rows.live_page(tx, session)
    if page.chat_agent != agent or page.chat not in ASKING_CHATS:
        raise NotAllowed(
            "only the agent in a chat, or to whom it is offered, may ask its visitor; others need the code"
        )
    left_s = rest_left_s(attempts.locked_until(tx, _resting(agent, session)), tx.now)
    if left_s:
        raise AskedTooSoon(f"this agent may ask this visitor again in {left_s} s")
    asked = begin(tx, page, agent, name, capability, by="chat")
    if asked.offer_until is not None and asked.ask_until is not None:
        asked = asked._replace(offer_until=max(asked.offer_until, asked.ask_until))
    return rows.save_page(tx, asked)


def begin(tx: Transaction, page: Page, agent: str, name: str, capability: str, by: str) -> Page:
    """Return the page with this request, not saved. by: `code` or `chat`. errors: StateError unless it is idle."""
    after = page.cobrowsing().after("ask")
    if page.code is not None:
        codes.rest(tx, page.code, used=True)
    return page.with_cobrowsing(after)._replace(
        code=None,
        agent=agent,
        agent_name=name,
        capability=capability,
        asked_by=by,
        ask_until=tx.now + tx.options.ask_s,
        refusal=None,
    )


def allow(tx: Transaction, session: str, epoch: int) -> Page:
    """Let the agent who asks join: the visitor's yes to the request of `epoch`. The frame is shown.

    One that is over, or was allowed already, changes nothing; one whose time is over ends, as by the clock.
    errors:  LeaseExpired when the page is gone; NotAllowed for an epoch that has not begun; StateError while nobody
             has asked in it
    """
    page = rows.live_page(tx, session)
    if epoch > page.epoch:
        raise NotAllowed(f"epoch {epoch} has not begun; the present one is {page.epoch}")
    if epoch < page.epoch or page.cobrowse == "joined":
        return page
    if page.ask_until is not None and page.ask_until <= tx.now:
        return rows.save_page(tx, over(tx, page, page.cobrowsing().after("timeout"), "timeout"))
    return rows.save_page(tx, page.with_cobrowsing(page.cobrowsing().after("allow")).after_visibility("show"))


def over(tx: Transaction, page: Page, after: Cobrowse, reason: str) -> Page:
    """Return the page, not saved, with its request ended that was not allowed, and with a new code.

    after:   its co-browsing then
    reason:  one of `cobrowse.REASONS`
    """
    if page.asked_by == "code" and page.agent is not None:
        attempts.count_declined(tx, page.agent)
    again_at = asks_again_at(reason, tx.now, tx.options.ask_rest_s)
    if page.agent is not None and again_at is not None:
        attempts.lock(tx, _resting(page.agent, page.session), again_at)
    return codes.with_new(tx, page.with_cobrowsing(after)._replace(refusal=reason))


def _resting(agent: str, session: str) -> str:
    """Return by what name the rest of an agent that has asked this page is kept among the attempts."""
    return f"ask {session} {agent}"


def over_with_chat(tx: Transaction, page: Page, reason: str) -> Page:
    """Return the page, not saved: a request that came from the chat ends with it."""
    if page.asked_by != "chat":
        return page
    return over(tx, page, page.cobrowsing().after("stop"), reason)

"""The store's operations on pages: codes, leases, co-browsing, visibility."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, update

from fabric.errors import NotAllowed
from nodes.rules import chat
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.store import asks, attempts, codes, rows, schema
from nodes.store.records import Change, Page, new_page
from nodes.store.transaction import Transaction

_FIND_BY_CODE = select(schema.pages).where(schema.pages.c.code == bindparam("of_code")).with_for_update()
_RENEW = (
    update(schema.pages)
    .where(schema.pages.c.gone_at.is_(None), schema.pages.c.lease_until > bindparam("now"))
    .values(lease_until=schema.pages.c.lease_s + bindparam("now"))
    .returning(*schema.pages.c)
)
_RENEW_PAGE = _RENEW.where(schema.pages.c.session == bindparam("of_session"))
_RENEW_PAGES = _RENEW.where(schema.pages.c.session.in_(bindparam("of_sessions", expanding=True)))
_FIND_KEYS = select(schema.pages.c.session, schema.pages.c.key).where(
    schema.pages.c.session.in_(bindparam("of_sessions", expanding=True))
)
_DROP_REFUSALS = delete(schema.refusals).where(schema.refusals.c.session == bindparam("of_session"))


def grant_code(
    tx: Transaction,
    session: str,
    home: str,
    lease_s: float,
    consent: str = "code",
    key: str = "",
    host: str = "",
) -> Page:
    """Begin a page session, or continue one, with a lease of `lease_s` seconds; return it with its code.

    A page that has a code keeps it (a reload changes `home` at most), one in session has none until that is over,
    and one that was gone comes back as a new page which continues its version and epoch. A request that waits for an
    answer goes on over a reload.
    consent: one of `cobrowse.CONSENTS`
    key:     of the session, from which its name follows
    host:    a name of who asks, by which places are shared out
    errors: Busy when there is no place, or no free code was found
    """
    page = rows.find_page(tx, session)
    if page is not None and page.gone_at is None and not page.is_live(tx.now):
        page = end(tx, page).page
    if page is None or page.gone_at is not None:
        codes.take_place(tx, host)
        begun = new_page(session, home, lease_s, tx.now, consent, key, host)
        if page is None:
            begun = begun._replace(code=codes.draw(tx), version=1)
            rows.add_page(tx, begun)
            return begun
        return rows.save_page(tx, begun._replace(code=codes.draw(tx), version=page.version, epoch=page.epoch))
    kept = page._replace(home=home, lease_s=lease_s, lease_until=tx.now + lease_s, consent=consent, key=key, host=host)
    if page.code is None and page.cobrowse == "idle":
        kept = kept._replace(code=codes.draw(tx))
    return rows.save_page(tx, kept)


def renew(tx: Transaction, session: str) -> Page:
    """Renew a page's lease by the length it was granted with, and return the page as it is now.

    errors: LeaseExpired when the lease has run out: the page asks for a code again, under the same session
    """
    row = tx.sql.execute(_RENEW_PAGE, {"of_session": session, "now": tx.now}).first()
    if row is None:
        raise LeaseExpired("this page session has no lease, or it has run out; ask for a code again")
    return Page._make(row)


def renew_many(tx: Transaction, sessions: Sequence[str]) -> dict[str, Page | None]:
    """Renew the leases of many pages at once; None for one whose lease has run out. Cost: one statement."""
    renewed: dict[str, Page | None] = dict.fromkeys(sessions)
    for row in tx.sql.execute(_RENEW_PAGES, {"of_sessions": list(renewed), "now": tx.now}):
        renewed[row.session] = Page._make(row)
    return renewed


def keys_of(tx: Transaction, sessions: Sequence[str]) -> dict[str, str]:
    """Return the keys of these sessions, gone ones too; what has no row is not in it. Cost: one statement."""
    return {str(session): str(key) for session, key in tx.sql.execute(_FIND_KEYS, {"of_sessions": list(sessions)})}


def engaged(tx: Transaction, session: str) -> tuple[str, ...]:
    """Return the agents who ask, are in session or in chat with a page."""
    page = rows.find_page(tx, session)
    return () if page is None else page.engaged()


def release(tx: Transaction, session: str) -> Change | None:
    """End a page that closes; None when there is none, or it is gone already."""
    page = rows.find_page(tx, session)
    return None if page is None or page.gone_at is not None else end(tx, page)


def join(tx: Transaction, agent: str, code: str, node: str) -> Page:
    """Let `agent` join the page that holds `code` (normalised), or ask its visitor; the code is used up by either.

    node:    the frame node that serves this request; wrong codes count for it too
    returns: the page, `joined` if its visitor consents by the code; else `asked`
    errors:  LeaseExpired for an agent that is not signed in; NotAllowed while it is locked out; Busy while the
             frame node has seen too many wrong codes; UnknownContactCode, which costs an attempt
    """
    name = rows.check_agent(tx, agent)
    attempts.check(tx, agent, node)
    row = tx.sql.execute(_FIND_BY_CODE, {"of_code": code}).first()
    page = None if row is None else Page._make(row)
    if page is None or not page.is_live(tx.now):
        attempts.count_wrong_code(tx, agent, node)
        used = codes.was_used(tx, code)
        why = "another agent has used it" if used else "it was mistyped, or its page is gone"
        raise UnknownContactCode(f"no page holds this contact code: {why}")
    if page.consent == "ask":
        return rows.save_page(tx, asks.begin(tx, page, agent, name, "view", by="code"))
    joined = page.with_cobrowsing(page.cobrowsing().after("join")).after_visibility("show")
    codes.rest(tx, code, used=True)
    joined = joined._replace(code=None, agent=agent, agent_name=name, capability="view", refusal=None)
    return rows.save_page(tx, joined)


def stop(tx: Transaction, session: str, epoch: int, agent: str | None = None) -> Page:
    """End co-browsing by force, at once, for the page (`agent` None) or for the agent in session; return the page.

    A request that waits for an answer is declined by the page's stop, and taken back by the agent's.

    epoch:   the one the sender means to end; for one that is over, nothing changes
    returns: `stopping` until the agent confirms. An agent that stops has confirmed by that: it handles no more
    errors:  LeaseExpired when the page is gone; NotAllowed for an agent that is not in session with it
    """
    page = rows.live_page(tx, session)
    before = page.cobrowsing()
    if agent is not None and page.agent != agent and epoch < before.epoch:
        return page
    if agent is not None and (page.agent != agent or epoch > before.epoch):
        raise NotAllowed("only the agent in session with a page may stop its co-browsing, in its present epoch")
    after = before.stopped(epoch)
    # Also when the page has stopped the same epoch just before.
    if agent is not None and after.state == "stopping" and after.epoch == epoch + 1:
        after = after.after("confirm")
    if after == before:
        return page
    if before.state == "asked":
        return rows.save_page(tx, asks.over(tx, page, after, "declined" if agent is None else "withdrawn"))
    return rows.save_page(tx, codes.with_new(tx, page.with_cobrowsing(after)))


def confirm_stop(tx: Transaction, agent: str, session: str, epoch: int) -> Page:
    """Note that `agent` handles no update before `epoch` any more; return the page, idle and with a new code.

    Confirming again changes nothing. errors: LeaseExpired when the page is gone; NotAllowed when it is another
    agent's session, or an epoch that has not begun; StateError when nobody has stopped it
    """
    page = rows.live_page(tx, session)
    if epoch > page.epoch:
        raise NotAllowed(f"epoch {epoch} has not begun; the present one is {page.epoch}")
    if page.agent is None:
        return page
    if page.agent != agent:
        raise NotAllowed("another agent is in session with this page; it alone can confirm the stop")
    if epoch < page.epoch:
        return page  # a confirmation of an earlier stop, come late
    return rows.save_page(tx, codes.with_new(tx, page.with_cobrowsing(page.cobrowsing().after("confirm"))))


def set_visibility(tx: Transaction, session: str, event: str) -> Page:
    """Apply `show`, `minimise` or `hide` to the page's frame; errors: LeaseExpired, StateError."""
    page = rows.live_page(tx, session)
    after = page.after_visibility(event)
    return page if after == page else rows.save_page(tx, after)


def end(tx: Transaction, page: Page) -> Change:
    """Make a page gone: its code rests, its session and chat are over, its epoch is raised."""
    gone = page.with_cobrowsing(page.cobrowsing().after("page_lost"))
    if page.cobrowse == "asked":
        gone = gone._replace(refusal="page_lost")
    if chat.MACHINE.allows(gone.chat, "stop"):
        gone = gone.after_chat("stop")
    if page.code is not None:
        codes.rest(tx, page.code, used=False)
    tx.sql.execute(_DROP_REFUSALS, {"of_session": page.session})
    return Change("page_gone", rows.save_page(tx, gone._replace(code=None, gone_at=tx.now)), page.engaged())

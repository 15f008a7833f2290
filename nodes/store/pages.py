"""The store's operations on pages: codes, leases, co-browsing, visibility."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, text, update

from fabric.errors import Busy, NotAllowed
from nodes.rules import chat
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.store.attempts import AttemptOperations
from nodes.store.records import Change, Page, new_page
from nodes.store.schema import agents, codes, pages, refusals

CODE_TRIES = 40
"""Draws for one code. With half of all codes taken, one request in 10**12 finds none."""

_FIND_BY_CODE = select(pages).where(pages.c.code == bindparam("of_code")).with_for_update()
_RENEW_PAGE = (
    update(pages)
    .where(
        pages.c.session == bindparam("of_session"), pages.c.gone_at.is_(None), pages.c.lease_until > bindparam("now")
    )
    .values(lease_until=pages.c.lease_s + bindparam("now"))
    .returning(*pages.c)
)
_RENEW_PAGES = (
    update(pages)
    .where(
        pages.c.session.in_(bindparam("of_sessions", expanding=True)),
        pages.c.gone_at.is_(None),
        pages.c.lease_until > bindparam("now"),
    )
    .values(lease_until=pages.c.lease_s + bindparam("now"))
    .returning(*pages.c)
)
# Only a code that nobody holds and that has rested is taken; the primary key decides between two at once.
_CLAIM_CODE = text(
    "INSERT INTO codes (code, free_at, used) VALUES (:code, NULL, false)"
    " ON CONFLICT (code) DO UPDATE SET free_at = NULL, used = false WHERE codes.free_at <= :now RETURNING code"
)
_REST_CODE = (
    update(codes)
    .where(codes.c.code == bindparam("of_code"))
    .values(free_at=bindparam("free_at"), used=bindparam("used"))
)
_WAS_USED = select(codes.c.used).where(codes.c.code == bindparam("of_code"), codes.c.free_at > bindparam("now"))
_LIVE_AGENT = (
    select(agents.c.agent)
    .where(agents.c.agent == bindparam("of_agent"), agents.c.lease_until > bindparam("now"))
    .with_for_update(read=True)  # its end waits until we are done
)
_DROP_REFUSALS = delete(refusals).where(refusals.c.session == bindparam("of_session"))


class PageOperations(AttemptOperations):
    """What a page, and an agent in session with it, ask of the store."""

    def grant_code(self, session: str, home: str, lease_s: float) -> Page:
        """Begin a page session, or continue one, with a lease of `lease_s` seconds; return it with its code.

        A page that has a code keeps it (a reload changes `home` at most), one in session has none until that is over,
        and one that was gone comes back as a new page which continues its version and epoch.
        errors: Busy when there is no place, or no free code was found
        """
        page = self._find_page(session)
        if page is not None and page.gone_at is None and not page.is_live(self.now):
            page, _ = self._ended(page)
        if page is None or page.gone_at is not None:
            self._take_place()
            begun = new_page(session, home, lease_s, self.now)
            if page is None:
                begun = begun._replace(code=self._draw_code(), version=1)
                self._insert_page(begun)
                return begun
            return self._save_page(begun._replace(code=self._draw_code(), version=page.version, epoch=page.epoch))
        kept = page._replace(home=home, lease_s=lease_s, lease_until=self.now + lease_s)
        if page.code is None and page.cobrowse == "idle":
            kept = kept._replace(code=self._draw_code())
        return self._save_page(kept)

    def renew(self, session: str) -> Page:
        """Renew a page's lease by the length it was granted with, and return the page as it is now.

        errors: LeaseExpired when the lease has run out: the page asks for a code again, under the same session
        """
        row = self._sql.execute(_RENEW_PAGE, {"of_session": session, "now": self.now}).first()
        if row is None:
            raise LeaseExpired("this page session has no lease, or it has run out; ask for a code again")
        return Page._make(row)

    def renew_many(self, sessions: Sequence[str]) -> dict[str, Page | None]:
        """Renew the leases of many pages at once; None for one whose lease has run out. Cost: one statement."""
        renewed: dict[str, Page | None] = dict.fromkeys(sessions)
        for row in self._sql.execute(_RENEW_PAGES, {"of_sessions": list(renewed), "now": self.now}):
            renewed[row.session] = Page._make(row)
        return renewed

    def engaged(self, session: str) -> tuple[str, ...]:
        """Return the agents in session or in chat with a page."""
        page = self._find_page(session)
        return () if page is None else _agents_of(page)

    def release_page(self, session: str) -> Change | None:
        """End a page that closes; None when there is none, or it is gone already."""
        page = self._find_page(session)
        return None if page is None or page.gone_at is not None else self._end_page(page)

    def join(self, agent: str, code: str, node: str) -> Page:
        """Let `agent` join the page that holds `code` (normalised), which uses the code up; return the page.

        node:    the frame node that serves this request; wrong codes count for it too
        errors:  LeaseExpired for an agent that is not signed in; NotAllowed while it is locked out; Busy while the
                 frame node has seen too many wrong codes; UnknownContactCode, which costs an attempt
        """
        self._live_agent(agent)
        self._check_attempts(agent, node)
        row = self._sql.execute(_FIND_BY_CODE, {"of_code": code}).first()
        page = None if row is None else Page._make(row)
        if page is None or not page.is_live(self.now):
            self._count_wrong_code(agent, node)
            used = self._sql.execute(_WAS_USED, {"of_code": code, "now": self.now}).scalar()
            why = "another agent has used it" if used else "it was mistyped, or its page is gone"
            raise UnknownContactCode(f"no page holds this contact code: {why}")
        joined = page.with_cobrowsing(page.cobrowsing().after("join"))._replace(agent=agent).after_visibility("show")
        self._rest_code(code, used=True)
        return self._save_page(joined._replace(code=None))

    def stop(self, session: str, epoch: int, agent: str | None = None) -> Page:
        """End co-browsing by force, at once, for the page (`agent` None) or for the agent in session; return the page.

        epoch:   the one the sender means to end; for one that is over, nothing changes
        returns: `stopping` until the agent confirms. An agent that stops has confirmed by that: it handles no more
        errors:  LeaseExpired when the page is gone; NotAllowed for an agent that is not in session with it
        """
        page = self._live_page(session)
        before = page.cobrowsing()
        if agent is not None and page.agent != agent and epoch < before.epoch:
            return page
        if agent is not None and (page.agent != agent or epoch > before.epoch):
            raise NotAllowed("only the agent in session with a page may stop its co-browsing, in its present epoch")
        after = before.stopped(epoch)
        # Also when the page has stopped the same epoch just before.
        if agent is not None and after.state == "stopping" and after.epoch == epoch + 1:
            after = after.after("confirm")
        return page if after == before else self._save_page(self._with_new_code(page.with_cobrowsing(after)))

    def confirm_stop(self, agent: str, session: str, epoch: int) -> Page:
        """Note that `agent` handles no update before `epoch` any more; return the page, idle and with a new code.

        Confirming again changes nothing. errors: LeaseExpired when the page is gone; NotAllowed when it is another
        agent's session, or an epoch that has not begun; StateError when nobody has stopped it
        """
        page = self._live_page(session)
        if epoch > page.epoch:
            raise NotAllowed(f"epoch {epoch} has not begun; the present one is {page.epoch}")
        if page.agent is None:
            return page
        if page.agent != agent:
            raise NotAllowed("another agent is in session with this page; it alone can confirm the stop")
        if epoch < page.epoch:
            return page  # a confirmation of an earlier stop, come late
        return self._save_page(self._with_new_code(page.with_cobrowsing(page.cobrowsing().after("confirm"))))

    def set_visibility(self, session: str, event: str) -> Page:
        """Apply `show`, `minimise` or `hide` to the frame; errors: LeaseExpired, StateError."""
        page = self._live_page(session)
        after = page.after_visibility(event)
        return page if after == page else self._save_page(after)

    # --- shared by the operations

    def _live_page(self, session: str) -> Page:
        page = self._find_page(session)
        if page is None or not page.is_live(self.now):
            raise LeaseExpired("there is no such page session, or its lease has run out")
        return page

    def _live_agent(self, agent: str) -> None:
        if self._sql.execute(_LIVE_AGENT, {"of_agent": agent, "now": self.now}).first() is None:
            raise LeaseExpired("this agent is not signed in, or its lease has run out; sign in again")

    def _end_page(self, page: Page) -> Change:
        """Make a page gone: its code rests, its session and chat are over, its epoch is raised."""
        gone, engaged = self._ended(page)
        return Change("page_gone", gone, engaged)

    def _ended(self, page: Page) -> tuple[Page, tuple[str, ...]]:
        engaged = _agents_of(page)
        gone = page.with_cobrowsing(page.cobrowsing().after("page_lost"))
        if chat.MACHINE.allows(gone.chat, "stop"):
            gone = gone.after_chat("stop")
        if page.code is not None:
            self._rest_code(page.code, used=False)
        self._sql.execute(_DROP_REFUSALS, {"of_session": page.session})
        return self._save_page(gone._replace(code=None, gone_at=self.now)), engaged

    def _with_new_code(self, page: Page) -> Page:
        """Return the page with a code if it is idle and has none. If none is free it asks again by `grant_code`."""
        if page.cobrowse != "idle" or page.code is not None:
            return page
        try:
            return page._replace(code=self._draw_code())
        except Busy:
            return page

    def _draw_code(self) -> str:
        """Take a free code; Busy when none was found in `CODE_TRIES` draws."""
        if self._drawn:
            return self._drawn.pop()
        for _ in range(CODE_TRIES):
            code = self._options.codes.draw(self._rng)
            if self._sql.execute(_CLAIM_CODE, {"code": code, "now": self.now}).first() is not None:
                return code
        raise Busy("nearly all contact codes are held or resting; use longer ones", self._options.busy_retry_after_s)

    def _rest_code(self, code: str, used: bool) -> None:
        until = self.now + self._options.quarantine_s
        self._sql.execute(_REST_CODE, {"of_code": code, "free_at": until, "used": used})


def _agents_of(page: Page) -> tuple[str, ...]:
    return tuple(dict.fromkeys(agent for agent in (page.agent, page.chat_agent) if agent is not None))

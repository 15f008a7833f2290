"""The page sessions of one gateway: new ones, those that come back, those that move here from another gateway.

A token that holds names the gateway where its session was last. If that one lives it is asked to let the session go
(`page_moves`), which it refuses while the page's browser still answers there.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nodes.gateway.browser_messages import Hello
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.ended import session_name, token_name
from nodes.gateway.endings import Endings
from nodes.gateway.gateways import Gateways
from nodes.gateway.hub import Hub
from nodes.gateway.page_moves import Moves
from nodes.gateway.page_session import PageSession
from nodes.gateway.places import Places
from nodes.gateway.tokens import ROTATE_S, TOKEN_S, Token, public_name, read_token
from nodes.gateway.window import Line

log = logging.getLogger("nodes.gateway")

OLDER = math.ceil(TOKEN_S / ROTATE_S) + 1
"""So many generations before a token may not be too old yet, if its document stayed open."""


class Crowded(Exception):
    """There is no place for another session at present."""


class Sessions:
    """All sessions here. Used in the event loop.

    gateways: the others, which have sessions, too
    endings:  where sessions are said to be over, at whichever gateway

    A session has a place while it has a browser, and from when an agent has had to do with it until it ends. One that
    waits for its browser without a place is kept as long as others, but makes way when there are too many of them.
    """

    def __init__(self, hub: Hub, gateways: Gateways, endings: Endings) -> None:
        self._hub, self._endings = hub, endings
        self._here: dict[str, PageSession] = {}
        """By id: every session from `_add` to `_remove`, with a browser or waiting for one."""
        self._by_name: dict[str, PageSession] = {}
        """Those of `_here` by the names that frame nodes and agents know them by."""
        self._places = Places()
        """Those of `_here` that have a place."""
        self._resting: OrderedDict[str, PageSession] = OrderedDict()
        """Those of `_here` that have none, by id, in the order in which their browsers left; at most `max_pages`."""
        self._opening: dict[str, tuple[asyncio.Lock, int]] = {}
        """By id: the lock of `_one_at_a_time`, and how many hold it or wait for it; none stays at 0."""
        self._moves = Moves(hub, gateways, self._let_go_to, self._origin_of)
        hub.on_connection.append(self._tell_connection)

    def __len__(self) -> int:
        return len(self._here)

    @property
    def connected(self) -> int:
        """How many have a browser at present. From any thread."""
        return sum(session.window.line is not None for session in list(self._here.values()))

    async def origin(self, session: str, home: str) -> str | None:
        """Return the origin of a session's page, wherever it is: the gateway there has compared it with those that it
        allows. None when that is not known.

        session:  its name, as frame nodes and agents know it
        home:     where the session is
        """
        return await self._moves.origin(session, home)

    # ── browsers ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def open(self, hello: Hello, address: str, line: Line) -> PageSession:
        """Give a browser its session: the one its token names, if that holds, or a new one. The browser is welcomed.

        errors:  Crowded; a session that comes back has a place in any case, if not too many come back at once
        """
        token, why = self._read(hello)
        if token is not None:
            if not self._hub.budgets.may_come_back(address, time.monotonic()):
                raise Crowded("too many pages of one address come back at once")
            async with self._one_at_a_time(token.session):
                session, why = await self._resume(token, hello, address)
                if session is not None:
                    session.join(line, hello, token.generation, True, None)
                    self._end_older(token)
                    return session
        self._check_room(address)
        session = self._add(PageSession(self._hub, hello.origin, address, hello.buttons))
        session.join(line, hello, 0, False, why)
        return session

    def left(self, session: PageSession, line: Line) -> None:
        """A socket is gone. If it was this session's browser, it waits for another one."""
        if not session.window.leave(line) or self._here.get(session.ident) is not session:
            return
        if session.was_engaged:
            return
        self._places.free(session)
        self._resting[session.ident] = session
        while len(self._resting) > self._hub.settings.max_pages:
            self._make_way(next(iter(self._resting.values())))

    def has_frame_node(self) -> bool:
        """Whether any frame node is announced. From any thread."""
        return self._moves.frame_node_lives()

    def end(self, session: PageSession) -> None:
        """The visitor has left."""
        if self._here.get(session.ident) is session:
            self._remove(session)
        self._endings.end(session_name(session.ident), time.time() + TOKEN_S)
        session.close(release=True)

    def tick(self, now: float) -> None:
        """About every second."""
        may_retry = self.has_frame_node()
        for session in list(self._here.values()):
            if session.page.has_moved:
                self._let_go(session, "this session goes on at another gateway")
            elif session.window.left_at is not None and now - session.window.left_at > self._hub.settings.resume_s:
                self.end(session)
            else:
                session.tick(now, may_retry)

    def tell_rules(self) -> None:
        """The operator's rules are new."""
        for session in list(self._here.values()):
            session.tell_rules()

    def drain(self, last: str) -> None:
        """Send all browsers away, with a last message; the sessions stay alive at the frame node."""
        for session in list(self._here.values()):
            session.window.end(CloseCode.RESTARTING, last=last)

    def close(self) -> None:
        """Let all sessions go. Not in the event loop."""
        for session in list(self._here.values()):
            session.close(release=False)
        self._here.clear()
        self._by_name.clear()
        self._moves.close()

    # ── coming back ──────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, hello: Hello) -> tuple[Token | None, str | None]:
        if hello.token is None:
            return None, None
        token = read_token(self._hub.settings.secret, hello.token, hello.origin)
        if token is None:
            self._hub.counts["unknown_tokens"] += 1
            return None, "unknown"
        return token, None

    async def _resume(self, token: Token, hello: Hello, address: str) -> tuple[PageSession | None, str | None]:
        """Find the session of a token that is genuine, wherever it is; or say why it is not given."""
        session = self._here.get(token.session)
        if session is None:
            why = await self._fetch(token, hello.instance)
            if why is not None:
                return None, why
            begun = token.session, token.generation, hello.chat
            return self._add(PageSession(self._hub, hello.origin, address, hello.buttons, *begun)), None
        why = await self._why_not(session, token.generation, hello.instance)
        if why is not None:
            return None, why
        self._resting.pop(token.session, None)
        self._places.take(session)
        return session, None

    async def _why_not(self, session: PageSession, generation: int, instance: str) -> str | None:
        """Say why a document may not have a session that lives here; None: it may."""
        if not session.rotation.accepts(generation, time.monotonic()):
            self._hub.counts["expired_tokens"] += 1
            return "expired"
        line = session.window.line
        if line is not None and session.instance != instance and await line.is_alive():
            return "in_use"
        return None

    async def _fetch(self, token: Token, instance: str) -> str | None:
        """Have the gateway where a session lives let it go; None: it has, or is dead."""
        if session_name(token.session) in self._endings:
            return "over"
        if token_name(token.session, token.generation) in self._endings:
            self._hub.counts["expired_tokens"] += 1
            return "expired"
        own = self._hub.node.home
        home = (self._moves.home_of(token.session) or own) if token.home == own else token.home
        if home == own:
            return "over"
        if not 0 <= time.time() - token.issued_at < TOKEN_S:
            self._hub.counts["expired_tokens"] += 1
            return "expired"
        return await self._moves.fetch(token.session, token.generation, instance, home)

    def _end_older(self, token: Token) -> None:
        """This one was shown: those before it are no good any more, also where nothing is known of the session."""
        for generation in range(max(1, token.generation - OLDER), token.generation):
            self._endings.end(token_name(token.session, generation), time.time() + TOKEN_S)

    async def _let_go_to(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Another gateway has a browser with a token of this session; see `Moves`."""
        name, generation, instance, home = (asked[key] for key in ("session", "generation", "instance", "home"))
        async with self._one_at_a_time(name):
            session = self._here.get(name)
            if session is None:
                moved_to = self._moves.home_of(name)
                return {"moved_to": moved_to, "why": "over" if moved_to is None else None}
            why = await self._why_not(session, generation, instance)
            if why is None:
                self._let_go(session, "this session goes on at another gateway")
                self._moves.went(name, home)
            return {"moved_to": None, "why": why}

    def _origin_of(self, session: str) -> str | None:
        found = self._by_name.get(session)
        return None if found is None else found.origin

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _make_way(self, session: PageSession) -> None:
        """Too many rest: this one ends, unless an agent has come to it meanwhile."""
        if session.was_engaged:
            self._resting.pop(session.ident)
            self._places.take(session)
        else:
            self.end(session)

    def _check_room(self, address: str) -> None:
        """Take what a new session needs. Errors: Crowded."""
        settings = self._hub.settings
        if not self._places.has_room(address, settings.max_pages, settings.max_of_address):
            raise Crowded("too many pages here")
        if not self._hub.budgets.may_begin(address, time.monotonic()):
            raise Crowded("too many new pages of one address at once")

    def _add(self, session: PageSession) -> PageSession:
        self._here[session.ident] = self._by_name[session.page.session] = session
        self._places.take(session)
        self._moves.came(session.ident)
        return session

    def _remove(self, session: PageSession) -> None:
        del self._here[session.ident], self._by_name[session.page.session]
        self._resting.pop(session.ident, None)
        self._places.free(session)

    def _let_go(self, session: PageSession, why: str) -> None:
        self._remove(session)
        session.close(release=False)
        session.window.end(CloseCode.ENDED_ELSEWHERE, why)
        log.info("session %s is let go", public_name(session.ident))

    @asynccontextmanager
    async def _one_at_a_time(self, name: str) -> AsyncIterator[None]:
        """Of two documents that come with one session's token, the second sees what the first was given."""
        lock, waiting = self._opening.get(name, (asyncio.Lock(), 0))
        self._opening[name] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._opening[name]
            if waiting == 1:
                del self._opening[name]
            else:
                self._opening[name] = lock, waiting - 1

    def _tell_connection(self, text: str) -> None:
        for session in self._here.values():
            session.window.pass_on(text)

"""The page sessions of one gateway: new ones, those that come back, those that move here from another gateway.

A token that holds names the gateway where its session was last. If that one lives it is asked to let the session go,
which it refuses while the page's browser still answers there; if it is gone the session is taken over as it is, since
all its state is at the frame node. Gateways find each other as services, `gateway-<home>`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fabric.errors import FabricError, StateError
from fabric.services import Client, Request, Server, each
from fabric.services.presence import Watcher
from nodes.gateway.browser_messages import Hello
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.hub import Hub
from nodes.gateway.page_session import PageSession
from nodes.gateway.tokens import TOKEN_S, Token, public_name, read_token
from nodes.gateway.window import Line

log = logging.getLogger("nodes.gateway")

MOVE_S = 4.0
"""How long another gateway may take to let a session go, longer than it is announced; then it is taken for dead."""
SILENT_S = 10.0
"""So long it is not asked again; by then its announcements have ended."""
MAX_MOVES = 3
"""So many gateways are asked, one after the other, where a session went."""
MAX_MOVED = 10_000


class Sessions:
    """All sessions here. Used in the event loop."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._here: dict[str, PageSession] = {}
        self._addresses: Counter[str] = Counter()
        self._opening: dict[str, tuple[asyncio.Lock, int]] = {}
        self._moved: OrderedDict[str, str] = OrderedDict()
        self._silent: dict[str, float] = {}
        self._closed = False
        self._client = Client(hub.node)
        self._others = Watcher(hub.node)
        self._others.watch()
        self._server = Server(hub.node, _service(hub.node.home), each(self._serve), workers=4)
        hub.on_connection.append(self._tell_connection)

    def __len__(self) -> int:
        return len(self._here)

    @property
    def connected(self) -> int:
        """How many have a browser at present. From any thread."""
        return sum(session.window.line is not None for session in list(self._here.values()))

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until other gateways can ask here. Not in the event loop."""
        return self._server.wait_ready(timeout_s)

    # ── browsers ─────────────────────────────────────────────────────────────────────────────────────────────────

    def count_of(self, address: str) -> int:
        """How many sessions browsers of this address have begun here."""
        return self._addresses[address]

    async def open(self, hello: Hello, address: str, line: Line) -> PageSession:
        """Give a browser its session: the one its token names, if that holds, or a new one. The browser is welcomed."""
        token, why = self._read(hello)
        if token is not None:
            async with self._one_at_a_time(token.session):
                session, why = await self._resume(token, hello, address)
                if session is not None:
                    session.join(line, hello, token.generation, True, None)
                    return session
        session = self._add(PageSession(self._hub, hello.origin, address, hello.buttons))
        session.join(line, hello, 0, False, why)
        return session

    def end(self, session: PageSession) -> None:
        """The visitor has left."""
        if self._here.get(session.page.session) is session:
            self._remove(session)
        session.close(release=True)

    def tick(self, now: float) -> None:
        """About every second."""
        for session in list(self._here.values()):
            if session.page.has_moved:
                self._let_go(session, "this session goes on at another gateway")
            elif session.window.left_at is not None and now - session.window.left_at > self._hub.settings.resume_s:
                self.end(session)
            else:
                session.tick(now)

    def drain(self, last: str) -> None:
        """Send all browsers away, with a last message; the sessions stay alive at the frame node."""
        for session in list(self._here.values()):
            session.window.end(CloseCode.RESTARTING, last=last)

    def close(self) -> None:
        """Let all sessions go. Not in the event loop."""
        self._closed = True
        for session in list(self._here.values()):
            session.close(release=False)
        self._here.clear()
        self._server.close()
        self._others.close()
        self._client.close()

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
            here = PageSession(self._hub, hello.origin, address, hello.buttons, token.session, token.generation)
            return self._add(here), None
        why = await self._why_not(session, token.generation, hello.instance)
        return (None, why) if why is not None else (session, None)

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
        home, own = token.home, self._hub.node.home
        home = self._moved.get(token.session, home) if home == own else home
        if home == own:
            return "over"
        if not 0 <= time.time() - token.issued_at < TOKEN_S:
            self._hub.counts["expired_tokens"] += 1
            return "expired"
        body = {"session": token.session, "generation": token.generation, "instance": instance, "home": own}
        for _ in range(MAX_MOVES):
            if home == own or not self._answers(home):
                return None
            try:
                answer = await self._client.request_async(_service(home), "let_go", body, deadline_s=MOVE_S)
            except FabricError as error:
                log.info("gateway %s did not answer, its session is taken over: %s", home, error)
                self._silent[home] = time.monotonic()
                return None
            if answer.get("moved_to") is None:
                why = answer.get("why")
                return why if isinstance(why, str) else None
            home = str(answer["moved_to"])
        return "unknown"

    def _answers(self, home: str) -> bool:
        """Whether a gateway may live: it is announced, and has answered when it was last asked."""
        silent_at = self._silent.get(home)
        if silent_at is not None and time.monotonic() - silent_at > SILENT_S:
            del self._silent[home]
            silent_at = None
        return silent_at is None and bool(self._others.live(_service(home)))

    # ── other gateways, in a worker thread ───────────────────────────────────────────────────────────────────────

    def _serve(self, request: Request) -> dict[str, Any]:
        if request.op != "let_go":
            raise StateError("gateway", "serving", request.op, "expected let_go")
        return asyncio.run_coroutine_threadsafe(self._let_go_to(request.body), self._hub.loop).result(2 * MOVE_S)

    async def _let_go_to(self, body: dict[str, Any]) -> dict[str, Any]:
        """Another gateway has a browser with a token of this session."""
        name, generation, instance, home = (body[key] for key in ("session", "generation", "instance", "home"))
        async with self._one_at_a_time(name):
            session = self._here.get(name)
            if session is None:
                return {"moved_to": self._moved.get(name), "why": None if name in self._moved else "over"}
            why = await self._why_not(session, generation, instance)
            if why is None:
                self._let_go(session, "this session goes on at another gateway")
                self._moved[name] = home
                while len(self._moved) > MAX_MOVED:
                    self._moved.popitem(last=False)
            return {"moved_to": None, "why": why}

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _add(self, session: PageSession) -> PageSession:
        self._here[session.page.session] = session
        self._addresses[session.address] += 1
        self._moved.pop(session.page.session, None)
        return session

    def _remove(self, session: PageSession) -> None:
        del self._here[session.page.session]
        self._addresses[session.address] -= 1
        if not self._addresses[session.address]:
            del self._addresses[session.address]

    def _let_go(self, session: PageSession, why: str) -> None:
        self._remove(session)
        session.close(release=False)
        session.window.end(CloseCode.ENDED_ELSEWHERE, why)
        log.info("session %s is let go", public_name(session.page.session))

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


def _service(home: str) -> str:
    return f"gateway-{home}"

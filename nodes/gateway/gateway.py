"""The gateway: pages and agents in browsers, on one node of the fabric. aiohttp serves; the rest is in its parts.

    gateway = Gateway(node, settings, agents, files)
    await gateway.start(host, port)          # serves from now on; `is_ready` once others can ask it, too
    await gateway.drain()                    # browsers are sent away, sessions stay alive at the frame node

Reading order: `docs/web-protocol.md`; what decides and is pure: `policy`, `selectors`, `privacy_rules`,
`privacy_trial`, `limits`, `budgets`, `places`, `ended`, `news`, `tokens`, `outbox`, `close_codes`, `browser_messages`,
`browser_protocol`; `privacy_problems`, `hub`, `gateways`, `endings`, `window`, `subscriptions`, `page_session`,
`page_registry`, `page_moves`; `credentials`, `lockout`, `lanes`, `sign_in`, `console`, `console_registry`; `addresses`,
`forwarded`, `callers`, `files`, `http_server`, `sign_in_requests`, `socket`; this.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from fabric.node.node import Node
from fabric.payloads import dumps
from fabric.sockets import raise_descriptor_limit
from nodes.gateway.browser_messages import Bye, Hello
from nodes.gateway.browser_protocol import parse_agent, parse_page
from nodes.gateway.callers import Callers
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.console_registry import Consoles
from nodes.gateway.credentials import Credential
from nodes.gateway.ended import cookie_name
from nodes.gateway.endings import EndedFile, Endings
from nodes.gateway.files import Files
from nodes.gateway.gateways import Gateways
from nodes.gateway.http_server import body, common_headers, json_answer, runner
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.page_registry import Crowded, Sessions
from nodes.gateway.privacy_rules import Rules
from nodes.gateway.privacy_trial import read_trial
from nodes.gateway.sign_in import SignIn
from nodes.gateway.sign_in_requests import SignInRequests
from nodes.gateway.socket import Ended, Socket, run
from nodes.gateway.tokens import COOKIE_S
from nodes.gateway.unknown_origins import UnknownOrigins

BACKLOG = 4_096
MAX_BODY_BYTES = 16 * 1024
PAGES_A_SECOND = 500
"""So many are expected to come back in a second when they are sent away together."""
BACK_PLACES = 20
"""One in so many more sockets than `max_pages` is for sessions that come back, and such as have not said hello yet."""
TICK_S = 1.0


class Gateway:
    """Made in the event loop, on a node that is connected."""

    def __init__(
        self,
        node: Node,
        settings: Settings,
        agents: Mapping[str, Credential],
        files: Files,
        rules: Rules | None = None,
        ended: EndedFile | None = None,
    ) -> None:
        """Errors: OSError, Exposed, when `ended` cannot be read.

        rules:  the operator's, on what leaves pages; `set_rules` gives others
        ended:  keeps what has ended over a restart
        """
        self.hub = Hub(node, settings, rules)
        gateways = self._gateways = Gateways(self.hub)
        self._endings = Endings(self.hub, gateways, ended)
        self.sessions = Sessions(self.hub, gateways, self._endings)
        sign_in = SignIn(settings.secret, agents, self._endings)
        self.consoles = Consoles(self.hub, gateways, self.sessions.origin)
        self._callers = Callers(settings.proxies, self.hub.counts, settings.public_url, settings.is_loopback)
        self._sign_in = SignInRequests(sign_in, self._callers, self.hub.counts, self._sign_out)
        self._settings, self._files = settings, files
        self._unknown_origins = UnknownOrigins(settings.policy.origins)
        files.on_frame = self._frame_wanted
        self._draining = False
        """Set once, by `drain`: no browser is let in any more."""
        self._sockets: set[Socket] = set()
        """All that are open, from the WebSocket's first answer until it is closed; at most `_most_sockets` of pages."""
        self._most_sockets = settings.max_pages + settings.max_pages // BACK_PLACES + 1
        self._before_hello: Counter[str] = Counter()
        """Sockets without a session yet, by host; none stays at 0."""
        self._runner = runner(self._app(), self.hub.counts)
        self._site: web.TCPSite | None = None
        """What listens, from `start` on."""
        self._ticking: asyncio.Task[None] | None = None
        """The task of `_tick`, from `start` to `drain`."""

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; return the port. Errors: OSError when that cannot be."""
        raise_descriptor_limit()
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port, ssl_context=tls, backlog=BACKLOG)
        await self._site.start()
        self._ticking = asyncio.create_task(self._tick())
        return int(self._runner.addresses[0][1])

    async def is_ready(self, timeout_s: float) -> bool:
        """Wait until other gateways can ask this one; False when that took longer."""
        return await asyncio.to_thread(self._gateways.wait_ready, timeout_s)

    async def has_frame_node(self, timeout_s: float) -> bool:
        """Wait until a frame node is announced; False when that took longer."""
        end = time.monotonic() + timeout_s
        while not (found := self.sessions.has_frame_node()) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return found

    def set_rules(self, rules: Rules) -> None:
        """Have these rules hold from now on, on all pages that are here, too. In the event loop."""
        self.hub.rules = rules
        self.sessions.tell_rules()

    async def drain(self) -> None:
        """Send all browsers away, and let all sessions go; ends the gateway, and not its node."""
        self._draining = True
        if self._site is not None:
            await self._site.stop()  # or those that are sent away would be back at once
        reconnect_s = round(max(1.0, min(30.0, self.sessions.connected / PAGES_A_SECOND)), 1)
        last = dumps({"t": "drain", "reconnect_s": reconnect_s})
        self.sessions.drain(last)
        self.consoles.drain(last)
        await asyncio.gather(*(socket.ended() for socket in self._sockets))
        await self._runner.cleanup()
        if self._ticking is not None:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        await self._endings.written()
        self._gateways.end()
        await asyncio.to_thread(self.consoles.close)
        await asyncio.to_thread(self.sessions.close)

    def figures(self) -> dict[str, Any]:
        """Return figures. From any thread."""
        return {
            "sessions": len(self.sessions),
            "browsers": self.sessions.connected,
            "agents": len(self.consoles),
            "opened": self.hub.opened,
            "refused": dict(self.hub.counts),
        }

    def problem(self) -> str:
        """Say why browsers are better sent elsewhere; nothing when all is well. From any thread."""
        if self._draining:
            return "draining"
        if not self.hub.connection["connected"]:
            return "not connected with the fabric"
        return "" if self.sessions.has_frame_node() else "no frame node is there"

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[common_headers(self._callers.is_secure)])
        app.add_routes(
            [
                web.get("/ws/page", self._page),
                web.get("/ws/agent", self._agent),
                *self._sign_in.routes(),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                *([web.post("/privacy/rules", self._trial)] if self._files.shop else []),
                *self._files.routes(),
            ]
        )
        return app

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now = time.monotonic()
            self.sessions.tick(now)
            self.consoles.tick(now)
            self._gateways.tick(now)
            await self._endings.tick(now)

    async def _sign_out(self, agent: str, nonce: str) -> None:
        """An agent signs out: its cookie is no good any more, anywhere."""
        self._endings.end(cookie_name(nonce), time.time() + COOKIE_S)
        self.consoles.sign_out(agent)
        await self._endings.written()

    # ── sockets ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._callers.check_origin(request)
        address = self._callers.address(request)
        silent = self._before_hello[address] >= self._settings.max_of_address
        if self._draining or silent or len(self._sockets) >= self._most_sockets:
            self.hub.counts["full"] += 1
            raise web.HTTPServiceUnavailable(
                text="too many pages here\n", headers={"Retry-After": "5", "Connection": "close"}
            )
        socket = Socket(self.hub, request, address)
        await socket.prepare()
        self._sockets.add(socket)
        try:
            with contextlib.suppress(Ended):
                hello = await self._hello(socket, self._callers.own_origin(request), address)
                await self._serve_page(socket, hello, address)
        finally:
            await socket.ended()
            self._sockets.discard(socket)
        return socket.ws

    async def _hello(self, socket: Socket, own: str, address: str) -> Hello:
        """Return the first message, which must be a `hello` from a page that may hold the frame. Errors: Ended."""
        self._before_hello[address] += 1
        try:
            async with asyncio.timeout(self._settings.limits.hello_s):
                hello = await socket.message(parse_page)
        except TimeoutError:
            socket.end(CloseCode.TRY_LATER)
            raise Ended from None
        finally:
            self._before_hello[address] -= 1
            if not self._before_hello[address]:
                del self._before_hello[address]
        if not isinstance(hello, Hello):
            socket.end(CloseCode.HELLO_EXPECTED)
            raise Ended
        if not self._settings.policy.allows_origin(hello.origin, own):
            self.hub.counts["wrong_origin"] += 1
            self._unknown_origins.wanted(hello.origin, own)
            socket.end(CloseCode.WRONG_ORIGIN)
            raise Ended
        return hello

    def _frame_wanted(self, request: web.Request) -> None:
        """A browser asks for the frame; the Referer says for which page."""
        page = request.headers.get("Referer")
        if page is not None and request.headers.get("Sec-Fetch-Dest", "iframe") in ("iframe", "frame"):
            self._unknown_origins.wanted(page, self._callers.own_origin(request))

    async def _serve_page(self, socket: Socket, hello: Hello, address: str) -> None:
        try:
            session = await self.sessions.open(hello, address, socket)
        except Crowded as crowded:
            self.hub.counts["full"] += 1
            socket.end(CloseCode.TRY_LATER, str(crowded))
            return

        async def read() -> None:
            while True:
                message = await socket.message(parse_page)
                if isinstance(message, Bye):
                    self.sessions.end(session)
                    socket.end(CloseCode.GOODBYE)
                    return
                await socket.do(session.do, message)

        try:
            await run(socket, session.window.take, read)
        finally:
            self.sessions.left(session, socket)

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        self._callers.check_origin(request)
        credential = self._sign_in.agent(request)
        if credential is None:
            raise web.HTTPUnauthorized(text="not signed in\n")
        if self._draining:
            raise web.HTTPServiceUnavailable(text="the gateway restarts\n", headers={"Retry-After": "1"})
        socket = Socket(self.hub, request)
        await socket.prepare()
        self._sockets.add(socket)
        try:
            seen = request.query.get("seen", "")
            console = await self.consoles.open(credential, socket, int(seen) if _is_number(seen) else None)

            async def read() -> None:
                while True:
                    await socket.do(console.do, await socket.message(parse_agent))

            try:
                await run(socket, console.window.take, read)
            finally:
                console.leave(socket)
        finally:
            await socket.ended()
            self._sockets.discard(socket)
        return socket.ws

    # ── health ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _trial(self, request: web.Request) -> web.StreamResponse:
        """The page to try rules on has them read."""
        self._callers.check_origin(request)
        return json_answer(read_trial((await body(request)).decode(errors="replace")))

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return json_answer({"ok": True})

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        why = self.problem()
        return json_answer({"ready": not why, "why": why}, 503 if why else 200)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16

"""The gateway: pages and agents in browsers, on one node of the fabric. aiohttp serves; the rest is in its parts.

    gateway = Gateway(node, settings, agents, files)
    await gateway.start(host, port)          # serves from now on; `is_ready` once others can ask it, too
    await gateway.drain()                    # browsers are sent away, sessions stay alive at the frame node

Reading order: `docs/web-protocol.md`; the decisions `policy`, `limits`, `tokens`,
`outbox`, `browser_protocol`, all pure; `hub`, `page_session`, `page_registry`; `credentials`,
`sign_in`, `console`, `console_registry`; `files`, `http_server`, `socket`; this.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
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
from nodes.gateway.close_codes import CloseCode
from nodes.gateway.console_registry import Consoles
from nodes.gateway.credentials import Credential
from nodes.gateway.files import COMMON, Files
from nodes.gateway.http_server import body, runner
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.page_registry import Sessions
from nodes.gateway.policy import origin_of
from nodes.gateway.sign_in import Refused, SignIn
from nodes.gateway.socket import Ended, Socket, run
from nodes.gateway.tokens import COOKIE_S

COOKIE = "site_connect_agent"
BACKLOG = 4_096
MAX_BODY_BYTES = 16 * 1024
PAGES_A_SECOND = 500
"""So many are expected to come back in a second when they are sent away together."""
TICK_S = 1.0


class Gateway:
    """Made in the event loop, on a node that is connected."""

    def __init__(self, node: Node, settings: Settings, agents: Mapping[str, Credential], files: Files) -> None:
        self.hub = Hub(node, settings)
        self.sessions = Sessions(self.hub)
        self._sign_in = SignIn(settings.secret, agents)
        self.consoles = Consoles(self.hub, self._sign_in.end)
        self._settings, self._files = settings, files
        self._draining = False
        self._sockets: set[Socket] = set()
        self._before_hello: Counter[str] = Counter()
        """Sockets without a session yet, by address."""
        self._runner = runner(self._app(), self.hub.counts)
        self._site: web.TCPSite | None = None
        self._ticking: asyncio.Task[None] | None = None

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
        return await asyncio.to_thread(self.sessions.wait_ready, timeout_s)

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
        return "" if self.hub.connection["connected"] else "not connected with the fabric"

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[_headers])
        app.add_routes(
            [
                web.get("/ws/page", self._page),
                web.get("/ws/agent", self._agent),
                web.post("/agent/sign_in", self._post_sign_in),
                web.post("/agent/sign_out", self._post_sign_out),
                web.get("/agent/me", self._get_me),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
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

    # ── sockets ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        address = self._address(request)
        of_address = self.sessions.count_of(address) + self._before_hello[address]
        full = len(self._sockets) >= self._settings.max_pages or of_address >= self._settings.max_of_address
        if self._draining or full:
            self.hub.counts["full"] += 1
            raise web.HTTPServiceUnavailable(
                text="too many pages here\n", headers={"Retry-After": "5", "Connection": "close"}
            )
        socket = Socket(self.hub, request)
        await socket.prepare()
        self._sockets.add(socket)
        try:
            with contextlib.suppress(Ended):
                hello = await self._hello(socket, _own_origin(request, self._settings.behind_proxy), address)
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
            socket.end(CloseCode.NO_HELLO)
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
            socket.end(CloseCode.WRONG_ORIGIN)
            raise Ended
        return hello

    async def _serve_page(self, socket: Socket, hello: Hello, address: str) -> None:
        session = await self.sessions.open(hello, address, socket)

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
            session.window.leave(socket)

    async def _agent(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        credential = self._sign_in.agent(request.cookies.get(COOKIE))
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

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _post_sign_in(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        try:
            said = json.loads(await body(request))
            agent, password = said["agent"], said["password"]
        except (ValueError, TypeError, KeyError, RecursionError):
            agent = password = None
        if not isinstance(agent, str) or not isinstance(password, str):
            return _json({"ok": False, "why": "right would be a JSON object with agent and password"}, 400)
        try:
            credential, cookie = await self._sign_in.sign_in(agent[:100], password, self._address(request))
        except Refused as refused:
            locked = {"Retry-After": str(int(refused.retry_after_s) + 1)} if refused.retry_after_s else {}
            self.hub.counts["sign_ins_refused"] += 1
            return _json({"ok": False, "why": refused.why}, 429 if locked else 401, locked)
        response = _json({"ok": True, **_shown(credential)})
        secure = _own_origin(request, self._settings.behind_proxy).startswith("https:")
        response.set_cookie(
            COOKIE, cookie, max_age=int(COOKIE_S), path="/", httponly=True, samesite="Strict", secure=secure
        )
        return response

    async def _post_sign_out(self, request: web.Request) -> web.StreamResponse:
        self._check_origin(request)
        cookie = request.cookies.get(COOKIE, "")
        credential, nonce = self._sign_in.agent(cookie), self._sign_in.nonce(cookie)
        if credential is not None and nonce is not None:
            self._sign_in.end(nonce)
            self.consoles.sign_out(credential.agent, nonce)
        response = _json({"ok": True})
        response.del_cookie(COOKIE, path="/")
        return response

    async def _get_me(self, request: web.Request) -> web.StreamResponse:
        credential = self._sign_in.agent(request.cookies.get(COOKIE))
        return _json({"why": "not signed in"}, 401) if credential is None else _json(_shown(credential))

    async def _healthz(self, request: web.Request) -> web.StreamResponse:
        return _json({"ok": True})

    async def _readyz(self, request: web.Request) -> web.StreamResponse:
        why = self.problem()
        return _json({"ready": not why, "why": why}, 503 if why else 200)

    def _check_origin(self, request: web.Request) -> None:
        """Refuse what another site's page sends."""
        if request.headers.get("Origin") != _own_origin(request, self._settings.behind_proxy):
            self.hub.counts["wrong_origin"] += 1
            raise web.HTTPForbidden(text="this is for pages of the gateway itself\n")

    def _address(self, request: web.Request) -> str:
        """Whom pages and wrong passwords are counted for. A proxy's own word is the last one in the header."""
        if self._settings.behind_proxy:
            return request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip() or "unknown"
        return request.remote or "unknown"


def _own_origin(request: web.Request, behind_proxy: bool) -> str:
    """Return this gateway's origin as the browser sees it."""
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme) if behind_proxy else request.scheme
    try:
        return origin_of(f"{scheme}://{request.host}")
    except ValueError:
        raise web.HTTPBadRequest(text="the Host is none\n") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 16


def _shown(credential: Credential) -> dict[str, Any]:
    return {"agent": credential.agent, "name": credential.name, "buttons": list(credential.buttons)}


def _json(body: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    text = dumps(body) + "\n"
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


@web.middleware
async def _headers(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every answer has the usual headers, errors too."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        error.headers.update({name: value for name, value in COMMON.items() if name not in error.headers})
        raise
    if not response.prepared:
        for name, value in COMMON.items():
            response.headers.setdefault(name, value)
    return response

"""Gateways as processes, browsers without a browser, and stand-ins for what a gateway's parts need beside them.

    with site(folder) as world:
        url = start_gateway(world, "--agents", agents_file(folder)).url
        async with Browser(url) as browser:
            await browser.hello()
            code = (await browser.told("~/site_connect/ready"))["code"]

`Browser` and `console` are aiohttp clients that speak docs/web-protocol.md. `told` and `get` read on from where the
last message was found, and keep what they pass in `messages`.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from fabric import private_files
from fabric.node.coverage import CoverageEvent
from fabric.node.node import NodeState
from nodes.gateway.credentials import make
from tests.support.processes import FabricProcess
from tests.support.site import Site
from tests.support.status_pages import ASK, StatusPage
from tests.support.waiting import PATIENCE_S

PASSWORD = "correct horse"
SHOP = "https://shop.example.org"


class GatewayProcess(FabricProcess):
    """`fabric gateway`; `url` is where it serves."""

    def wait_ready(self) -> GatewayProcess:
        self.url = str(self.wait_event("ready")["url"])
        self.status = StatusPage.of(self)
        return self

    def figure(self, name: str) -> float:
        """Return one of its metrics; 0 for one that has not been counted yet."""
        return self.status.metrics().get(f"fabric_gateway_{name}", 0.0)

    def refused(self, kind: str) -> float:
        return self.figure(f'refused_total{{kind="{kind}"}}')

    def hang_up(self) -> None:
        """Have it read its rules again."""
        self.popen.send_signal(signal.SIGHUP)

    def again(self, listen: str | None = None) -> GatewayProcess:
        """Start it once more, at the same port."""
        args = [*self.args]
        args[args.index("--listen") + 1] = self.url
        return GatewayProcess(args, self.log_dir)


def start_gateway(world: Site, *options: str, at: int = 0) -> GatewayProcess:
    """Start `fabric gateway`. Who has a code joins at once, unless options say else: most tests are of other things."""
    args = ["gateway", "--listen", "http://127.0.0.1:0", "--connect", world.proxies[at].base, "--allow-origin", SHOP]
    more = () if "--http" in options else ASK
    consent = () if "--consent" in options else ("--consent", "code")
    gateway = GatewayProcess([*args, *options, *more, *consent], world.folder)
    world.started.append(gateway)
    return gateway.wait_ready()


def agents_file(folder: Path, *agents: str) -> str:
    """A file with these agents; all have PASSWORD, and serve the button `help`."""
    path = folder / "agents.jsonl"
    made = [make(agent, agent.title(), ["help"], PASSWORD, agent.encode().ljust(16)) for agent in agents]
    private_files.write(path, "".join(f"{each.to_line()}\n" for each in made).encode())
    return str(path)


def secret_file(folder: Path) -> str:
    path = folder / "secret"
    private_files.write(path, b"s" * 32)
    return str(path)


class StandInNode:
    """A node that says what a test wants."""

    def __init__(self) -> None:
        self.state: list[Callable[[NodeState], object]] = []
        self.coverage: list[Callable[[CoverageEvent], object]] = []

    def stats(self) -> dict[str, Any]:
        return {"state": "connected", "covered": ["p1"], "missing": []}

    def on_state(self, fun: Callable[[NodeState], object]) -> None:
        self.state.append(fun)

    def on_coverage(self, fun: Callable[[CoverageEvent], object]) -> None:
        self.coverage.append(fun)


class StandInLine:
    """What a socket is to a window. It takes messages when it is woken, unless it is stuck."""

    def __init__(self, take: Callable[[], list[str]]) -> None:
        self._take = take
        self.messages: list[dict[str, Any]] = []
        self.ended: list[tuple[int, str]] = []
        self.is_stuck, self.quiet_s = False, 0.0
        self._changed = asyncio.Event()

    def woken(self) -> None:
        if not self.is_stuck:
            self.messages += map(json.loads, self._take())
            self._changed.set()

    def end(self, code: int, why: str = "", last: str = "") -> None:
        self.ended.append((code, why))
        self._changed.set()

    async def is_alive(self) -> bool:
        return True

    async def get(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return a message of this kind with these fields, that came or comes."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.messages:
                    if message["t"] == kind and all(message.get(name) == value for name, value in wanted.items()):
                        return message
                self._changed.clear()
                await self._changed.wait()

    async def until_ended(self) -> tuple[int, str]:
        """Return the first code it was closed with, and why."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.ended:
                self._changed.clear()
                await self._changed.wait()
        return self.ended[0]


class Line:
    """A WebSocket to a gateway, with all messages that came."""

    def __init__(
        self,
        url: str,
        path: str,
        *,
        origin: str | None = None,
        cookie: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        self.url, self._path = url, path
        self.cookie = cookie
        self._headers = {"Origin": url if origin is None else origin, **(headers or {})}
        if cookie:
            self._headers["Cookie"] = cookie
        self.messages: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self._read = 0

    async def __aenter__(self) -> Any:
        self._http = aiohttp.ClientSession()
        try:
            self.ws = await self._http.ws_connect(self.url + self._path, headers=self._headers, max_msg_size=0)
        except aiohttp.ClientError:
            await self._http.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.ws.close()
        await self._http.close()

    async def send(self, kind: str, **fields: Any) -> None:
        await self.ws.send_str(json.dumps({"t": kind, **fields}))

    async def next(self) -> dict[str, Any] | None:
        """Return the next message; None at the end, and `close_code` says how it ended."""
        message = await self.ws.receive(PATIENCE_S)
        if message.type is not aiohttp.WSMsgType.TEXT:
            # What came; the client's own word is 1006 where its answer found the connection closed already.
            came = message.data if message.type is aiohttp.WSMsgType.CLOSE else None
            self.close_code = self.ws.close_code if came is None else came
            return None
        self.messages.append(json.loads(message.data))
        return self.messages[-1]

    async def get(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return the next message of this kind with these fields."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._read < len(self.messages):
                    message = self.messages[self._read]
                    self._read += 1
                    if message["t"] == kind and all(message.get(name) == value for name, value in wanted.items()):
                        return message
                if await self.next() is None:
                    raise AssertionError(
                        f"closed with {self.close_code} instead of {kind} {wanted}: {self.messages[-5:]}"
                    )

    async def had(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """Return a message of this kind with these fields, that came or comes; `get` reads on from where it was."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for message in self.messages:
                    if message["t"] == kind and all(message.get(name) == value for name, value in wanted.items()):
                        return message
                assert await self.next() is not None, f"closed with {self.close_code} without {kind} {wanted}"

    def forget(self) -> None:
        """Drop what came: for tests with very many messages."""
        self.messages.clear()
        self._read = 0

    async def until_closed(self) -> int:
        """Read to the end; return the close code."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.next() is not None:
                pass
        assert self.close_code is not None
        return self.close_code


class Browser(Line):
    """The frame of a page in a browser."""

    def __init__(self, url: str, *, page: str = SHOP, headers: dict[str, str] | None = None) -> None:
        super().__init__(url, "/ws/page", headers=headers)
        self.page = page
        self.instance = secrets.token_urlsafe(16)
        self.token: str | None = None

    async def hello(self, **fields: Any) -> dict[str, Any]:
        """Say hello, and return the welcome."""
        hello = {"v": 1, "origin": self.page, "instance": self.instance, "token": self.token, "seen": None}
        await self.send("hello", **{**hello, "buttons": [], **fields})
        welcome = await self.get("welcome")
        self.token = welcome["token"]
        await self.send("token")
        return welcome

    async def told(self, topic: str) -> Any:
        """Return the payload of what is told next under this topic, or was with the welcome."""
        kind = "site" if topic.startswith("~/") else "message"
        return (await self.get(kind, topic=topic))["payload"]

    def comes_back(self, url: str | None = None, *, same_document: bool = True) -> Browser:
        """The browser as it comes back, not yet connected."""
        other = Browser(url or self.url, page=self.page)
        other.token = self.token
        if same_document:
            other.instance = self.instance
        return other


async def sign_in(url: str, agent: str, password: str = PASSWORD) -> tuple[int, dict[str, Any], str]:
    """Sign an agent in; return the status, the body, and the cookie."""
    body = {"agent": agent, "password": password}
    async with (
        aiohttp.ClientSession(headers={"Origin": url}) as http,
        http.post(f"{url}/agent/sign_in", json=body) as answer,
    ):
        return answer.status, await answer.json(), answer.headers.get("Set-Cookie", "").partition(";")[0]


async def console(url: str, agent: str) -> Line:
    """Sign an agent in, and return its console, not yet connected."""
    status, body, cookie = await sign_in(url, agent)
    assert status == 200, body
    return Line(url, "/ws/agent", cookie=cookie)


async def joined(browser: Browser, agent: Line) -> str:
    """Bring an agent and a page into session; return the session."""
    await browser.hello(buttons=["help"])
    code = (await browser.told("~/site_connect/ready"))["code"]
    if not (await agent.get("welcome"))["signed_in"]:  # the frame node takes its time
        await agent.get("event", event="signed_in")
    await agent.send("join", id=1, code=code)
    session = str((await agent.get("reply", id=1, ok=True))["state"]["session"])
    await browser.told("~pagesession/cobrowsing/snapshot_request")
    await browser.send("update", epoch=1, event='{"all": 1}', snapshot=True)
    await agent.get("event", event="update")
    return session

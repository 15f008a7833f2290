"""A WebSocket to a browser, page or console: reading within limits, writing what waits, ending it with a reason.

One task reads, one writes; `woken` and `end` may be called at any time in
the event loop. A browser that does not read is given up after `END_S`: its connection is aborted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import WSMsgType, web

from fabric.errors import FabricError
from fabric.payloads import dumps
from nodes.gateway.browser_messages import BrowserMessage
from nodes.gateway.browser_protocol import Malformed, is_update
from nodes.gateway.close_codes import RULES, CloseCode
from nodes.gateway.hub import Hub
from nodes.gateway.limits import Allowance, Verdict
from nodes.gateway.window import refused

M = TypeVar("M", bound=BrowserMessage)
READ = (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.PING, WSMsgType.PONG)
log = logging.getLogger("nodes.gateway")

END_S = 2.0
STUCK_S = 0.5
"""A message that takes so long to be written finds its browser not reading."""
MAX_WAIT_S = 2.0
"""How long a message waits for what its host and network may send together; one that had to wait longer is dropped."""
ALIVE_S = 1.0
"""How long a browser has to answer a ping when another document claims its session."""


class Ended(Exception):
    """The browser has gone, or is to go: there is nothing more to read."""


class Socket:
    """One WebSocket. `take` gives what waits to be written.

    host:  whose shared budget it spends from; None: nobody's, as of an agent who has signed in
    """

    def __init__(self, hub: Hub, request: web.Request, host: str | None = None) -> None:
        self._hub, self._request, self._host = hub, request, host
        self.ws = web.WebSocketResponse(
            heartbeat=hub.settings.beat_s, autoping=False, compress=False, max_msg_size=hub.settings.limits.hard_bytes
        )
        self._allowance = Allowance(hub.settings.limits, time.monotonic())
        """What the browser may still send. Spent by the task that reads."""
        self._something = asyncio.Event()
        """Set by `woken`: there is something to write. Cleared by the task that writes."""
        self._pong = asyncio.Event()
        """Cleared by `is_alive` before it pings, set by the task that reads when a pong comes."""
        self._ending: asyncio.Task[None] | None = None
        """The close that is under way, or over. Set once, by the first `end`; from then on nothing more is said."""
        self._writing_since: float | None = None
        """When the message was begun that is being written, on the monotonic clock; None between two."""
        self._said_at = time.monotonic()
        """When something was written last."""

    # ── for the window ───────────────────────────────────────────────────────────────────────────────────────────

    def woken(self) -> None:
        self._something.set()

    @property
    def is_stuck(self) -> bool:
        """Whether the browser, or the way to it, has taken nothing for a while."""
        return self._writing_since is not None and time.monotonic() - self._writing_since > STUCK_S

    @property
    def quiet_s(self) -> float:
        """How long nothing was written."""
        return time.monotonic() - self._said_at

    def end(self, code: CloseCode, why: str = "", last: str = "") -> None:
        """Close it after a last message; `why`: instead of the code's own reason. Does not wait."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(code, why or RULES[code].reason, last))

    async def ended(self) -> None:
        """Wait for an `end` that is under way."""
        if self._ending is not None:
            await self._ending

    async def is_alive(self) -> bool:
        """Whether the browser answers a ping."""
        if self.ws.closed or self._ending is not None:
            return False
        self._pong.clear()
        try:
            async with asyncio.timeout(ALIVE_S):
                await self.ws.ping()
                await self._pong.wait()
        except (TimeoutError, ConnectionError):
            return False
        return True

    async def prepare(self) -> None:
        await self.ws.prepare(self._request)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def message(self, parse: Callable[[str], M]) -> M:
        """Return the next message that is one and within the limits. Errors: Ended."""
        while True:
            text = await self._text()
            try:
                message = parse(text)
            except Malformed as error:
                await self.refuse(error.of, error.ident, error)
                verdict = self._allowance.strike("malformed", str(error), time.monotonic())
            else:
                late = self._allowance.check_size(message.t, _size_bytes(text), time.monotonic())
                if late is None:
                    return message
                verdict = late
            await self._judge(verdict)

    async def refuse(self, of: str, ident: int | None, why: object) -> None:
        """Say that a message was not done: its kind, its id if it has one, and why."""
        self._hub.counts["refused"] += 1
        await self.say(refused(of, ident, why))

    async def say(self, message: dict[str, Any]) -> None:
        """Say something at once, past what waits. Errors: Ended."""
        if self._ending is None and not self.ws.closed:
            try:
                # What a browser sent may come back in words, and need not be text that can be sent.
                await self.ws.send_str(dumps(message).encode("utf-8", "backslashreplace").decode())
            except ConnectionError:
                raise Ended from None

    async def do(self, what: Callable[[M], None], message: M) -> None:
        """Have a message done; what is refused is said. Errors: Ended."""
        try:
            what(message)
        except (FabricError, KeyError) as error:
            await self.refuse(message.t, message.id, error)

    async def _judge(self, verdict: Verdict) -> None:
        self._hub.counts[f"limit_{verdict.what}"] += 1
        if verdict.tell and verdict.what != "malformed":
            await self.say({"t": "limit", "what": verdict.what, "why": verdict.why})
        if verdict.close:
            self.end(CloseCode.OVER_LIMIT, f"went on past a limit: {verdict.why}")
            raise Ended

    async def _text(self) -> str:
        """Return the next text within the limits; an empty one for bytes, which are no message. Errors: Ended."""
        while True:
            message = await self.ws.receive()
            if message.type not in READ:
                raise Ended
            if not await self._spend(message.data):
                continue
            match message.type:
                case WSMsgType.TEXT:
                    return str(message.data)
                case WSMsgType.PING:
                    await self._answer_ping(message.data)
                case WSMsgType.PONG:
                    self._pong.set()
                case _:
                    return ""

    async def _spend(self, data: str | bytes) -> bool:
        """Spend what came from the limits of this socket and of its host; False when it is dropped. Errors: Ended."""
        now, size_bytes = time.monotonic(), _size_bytes(data)
        verdict = self._allowance.take(size_bytes, now, is_update=isinstance(data, str) and is_update(data))
        if self._host is not None:
            wait_s = self._hub.budgets.wait_s(self._host, size_bytes, now, MAX_WAIT_S)
            if wait_s > MAX_WAIT_S:
                verdict = self._allowance.strike("rate", "more than one address may send", now)
            if wait_s:
                self._hub.counts["slowed"] += 1
                await asyncio.sleep(min(wait_s, MAX_WAIT_S))
        if verdict is not None:
            await self._judge(verdict)
        return verdict is None

    async def _answer_ping(self, data: bytes) -> None:
        try:
            await self.ws.pong(data)
        except ConnectionError:
            raise Ended from None

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def write(self, take: Callable[[], list[str]]) -> None:
        """Write what waits, whenever woken, until the connection is gone."""
        try:
            while True:
                texts = take()
                if not texts:
                    await self._something.wait()
                    self._something.clear()
                for text in texts:
                    self._said_at = self._writing_since = time.monotonic()
                    await self.ws.send_str(text)
                self._writing_since = None
        except ConnectionError:
            pass  # the task that reads hears of it, too
        except Exception:
            log.exception("nothing more can be written to a browser")
            self.end(CloseCode.FAILED)

    async def _end(self, code: CloseCode, why: str, last: str) -> None:
        try:
            async with asyncio.timeout(END_S):
                if last:
                    await self.ws.send_str(last)
                await self.ws.close(code=code, message=why.encode()[:120])
        except (TimeoutError, ConnectionError):
            # One that has it all, and has not answered yet, may still read why; for one that does not read, no more.
            transport = self._request.transport
            if transport is not None and transport.get_write_buffer_size():
                transport.abort()


def _size_bytes(data: str | bytes) -> int:
    return len(data.encode("utf-8", "replace")) if isinstance(data, str) else len(data)


async def run(socket: Socket, take: Callable[[], list[str]], read: Callable[[], Any]) -> None:
    """Write and read until the browser is gone, or is to go."""
    writer = asyncio.create_task(socket.write(take))
    try:
        await read()
    except Ended:
        pass
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)

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
log = logging.getLogger("nodes.gateway")

END_S = 2.0
STUCK_S = 0.5
"""A message that takes so long to be written finds its browser not reading."""
ALIVE_S = 1.0
"""How long a browser has to answer a ping when another document claims its session."""


class Ended(Exception):
    """The browser has gone, or is to go: there is nothing more to read."""


class Socket:
    """One WebSocket. `take` gives what waits to be written."""

    def __init__(self, hub: Hub, request: web.Request) -> None:
        self._hub, self._request = hub, request
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
            now, size_bytes = time.monotonic(), len(text.encode("utf-8", "replace"))
            verdict = self._allowance.take(size_bytes, now, is_update=is_update(text))
            if verdict is None:
                try:
                    message = parse(text)
                except Malformed as error:
                    await self.refuse(error.of, error.ident, error)
                    verdict = self._allowance.strike("malformed", str(error), now)
                else:
                    verdict = self._allowance.check_size(message.t, size_bytes, now)
                    if verdict is None:
                        return message
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
        while True:
            message = await self.ws.receive()
            match message.type:
                case WSMsgType.TEXT:
                    return str(message.data)
                case WSMsgType.BINARY:
                    return ""
                case WSMsgType.PING:
                    await self._answer_ping(message.data)
                case WSMsgType.PONG:
                    self._pong.set()
                case _:
                    raise Ended

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

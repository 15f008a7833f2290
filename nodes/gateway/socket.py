"""A WebSocket to a browser: reading within limits, writing what waits, ending it with a reason.

`Socket` is what pages and consoles share. One task reads, one writes; `woken` and `end` may be called at any time in
the event loop. A browser that does not read is given up after `END_S`: its connection is aborted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from fabric.errors import FabricError
from fabric.payloads import dumps
from nodes.gateway.browser_protocol import Malformed
from nodes.gateway.close_codes import RULES, CloseCode
from nodes.gateway.hub import Hub
from nodes.gateway.limits import Allowance, Verdict
from nodes.gateway.page_session import refused

log = logging.getLogger("nodes.gateway")

END_S = 2.0
STUCK_S = 0.5
"""A frame that takes so long to be written finds its browser not reading."""
ALIVE_S = 1.0
"""How long a browser has to answer a ping when another document claims its session."""


class Ended(Exception):
    """The browser has gone, or is to go: there is nothing more to read."""


class Socket:
    """One WebSocket. `take` gives what waits to be written."""

    def __init__(self, hub: Hub, request: web.Request) -> None:
        self._hub, self._request = hub, request
        self._limits = hub.settings.limits
        self.ws = web.WebSocketResponse(
            heartbeat=hub.settings.beat_s, autoping=False, compress=False, max_msg_size=self._limits.hard_bytes
        )
        self._allowance = Allowance(self._limits, time.monotonic())
        self._something = asyncio.Event()
        self._pong = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._writing_since: float | None = None
        self._said_at = time.monotonic()

    # ── for whoever it belongs to ────────────────────────────────────────────────────────────────────────────────

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
        """Close it after a last frame; `why`: instead of the code's own reason. Does not wait."""
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

    async def frame(self, parse: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
        """Return the next frame that is one and within the limits. Errors: Ended."""
        while True:
            text = await self._text()
            now, size_bytes = time.monotonic(), len(text.encode("utf-8", "replace"))
            verdict = self._allowance.take(size_bytes, now)
            if verdict is None:
                try:
                    frame = parse(text)
                except Malformed as error:
                    await self.refuse({"t": "refused", "id": error.ident, "of": error.of, "why": str(error)})
                    verdict = self._allowance.strike("malformed", str(error), now)
                else:
                    verdict = self._allowance.check_size(frame["t"], size_bytes, now)
                    if verdict is None:
                        return frame
            await self._judge(verdict)

    async def refuse(self, frame: dict[str, Any]) -> None:
        """Say something at once, past what waits."""
        self._hub.counts["refused"] += 1
        await self.say(frame)

    async def say(self, frame: dict[str, Any]) -> None:
        if self._ending is None and not self.ws.closed:
            try:
                # What a browser sent may come back in words, and need not be text that can be sent.
                await self.ws.send_str(dumps(frame).encode("utf-8", "backslashreplace").decode())
            except ConnectionError:
                raise Ended from None

    async def do(self, what: Callable[[dict[str, Any]], None], frame: dict[str, Any]) -> None:
        """Have a frame done; what is refused is said."""
        try:
            what(frame)
        except (FabricError, KeyError) as error:
            why = error if isinstance(error, FabricError) else FabricError(str(error))
            await self.refuse(refused(frame, why))

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
                frames = take()
                if not frames:
                    await self._something.wait()
                    self._something.clear()
                for text in frames:
                    self._said_at = self._writing_since = time.monotonic()
                    await self.ws.send_str(text)
                self._writing_since = None
        except ConnectionError:
            pass  # whoever reads hears of it, too
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

"""Many pages at a gateway, without browsers: a process of aiohttp WebSockets that speak docs/web-protocol.md.

    crowd = Crowd(url, pages=1_000, processes=2)
    crowd.connect()                    # all at once; the moments at which each was welcomed and had its code
    crowd.heard(number)                # latencies of message `number`, from the moment it was due
    crowd.come_back()                  # after the gateway has gone: all reconnect as the protocol says

Times are of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import secrets
import time
from multiprocessing.connection import Connection
from typing import Any

import aiohttp

from fabric.sockets import raise_descriptor_limit

TOPIC = "bench/all"
FIRST_S, LONGEST_S = 0.5, 15.0
PATIENCE_S = 120.0
context = multiprocessing.get_context("spawn")


class Page:
    """One page, whatever sockets it has had."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http, self._url = http, url
        self.instance = secrets.token_urlsafe(16)
        self.token: str | None = None
        self.session, self.code = "", ""
        self.welcomed_at = self.ready_at = 0.0
        self.resumed = False
        self.heard: dict[int, float] = {}
        self.seen = 0
        self.subscription = 1
        """The id of the subscription to TOPIC; one higher each time that its ack says that it may miss something."""
        self.reconnect_s = FIRST_S
        self.ready, self.acked, self.gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.tries = 0

    async def open(self) -> None:
        """Connect, again and again with back-off, until welcomed; then a task reads."""
        self.gone.clear()
        self.ready.clear()
        self.welcomed_at = self.ready_at = 0.0
        delay_s = FIRST_S
        while True:
            self.tries += 1
            try:
                ws = await self._http.ws_connect(f"{self._url}/ws/page", headers={"Origin": self._url}, compress=0)
                await self._hello(ws)
                break
            except (aiohttp.ClientError, ConnectionError, TimeoutError, TypeError):  # TypeError: closed, no welcome
                await asyncio.sleep(delay_s * random.uniform(0.5, 1.0))
                delay_s = min(2 * delay_s, LONGEST_S)
        self._reading = asyncio.create_task(self._read(ws))

    async def _hello(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        hello = {"t": "hello", "v": 1, "origin": self._url, "instance": self.instance, "token": self.token}
        await ws.send_str(json.dumps({**hello, "seen": self.seen, "buttons": []}))
        welcome = json.loads(await ws.receive_str(timeout=PATIENCE_S))
        self.welcomed_at = time.monotonic()
        self.session, self.token, self.resumed = welcome["session"], welcome["token"], welcome["resumed"]
        await ws.send_str('{"t":"token"}')
        await self._subscribe(ws)

    async def _subscribe(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        await ws.send_str(json.dumps({"t": "subscribe", "id": self.subscription, "filter": TOPIC}))

    async def _read(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            now = time.monotonic()
            frame = json.loads(message.data)
            self.seen = frame.get("seq", self.seen)
            kind = frame["t"]
            if kind == "message" and frame["topic"] == TOPIC:
                self.heard[frame["payload"]["n"]] = now - frame["payload"]["due"]
            elif kind == "ack" and frame["error"] is None:
                self.acked.set()
            elif kind == "ack":  # no proxy answered in time, on a busy machine: what is published now may pass it by
                await ws.send_str(json.dumps({"t": "unsubscribe", "id": self.subscription}))
                self.subscription += 1
                await self._subscribe(ws)
            elif kind == "drain":
                self.reconnect_s = frame["reconnect_s"]
            elif kind == "site" and "code" in frame["payload"]:
                self.ready_at, self.code = now, frame["payload"]["code"]
                self.ready.set()
        self.acked.clear()
        self.gone.set()


async def _serve(url: str, count: int, pipe: Connection) -> None:
    """Run one process of the crowd: do what the pipe says."""
    raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        pages = [Page(http, url) for _ in range(count)]
        pipe.send("here")
        while True:
            command, *arguments = await loop.run_in_executor(None, pipe.recv)
            if command == "connect":
                await asyncio.gather(*(_first(page) for page in pages))
                pipe.send([(page.welcomed_at, page.ready_at) for page in pages])
            elif command == "heard":
                pipe.send(await _heard(pages, arguments[0]))
            elif command == "come_back":
                before = {page.session: page.code for page in pages}
                await asyncio.gather(*(_back(page) for page in pages))
                kept = sum(
                    page.resumed and page.session in before and page.code == before[page.session] for page in pages
                )
                pipe.send([(page.welcomed_at, kept if page is pages[0] else 0) for page in pages])
            else:
                return


async def _first(page: Page) -> None:
    await page.open()
    await page.ready.wait()
    await page.acked.wait()


async def _back(page: Page) -> None:
    await page.gone.wait()
    await asyncio.sleep(random.uniform(0, page.reconnect_s))
    await page.open()
    await page.ready.wait()
    await page.acked.wait()


async def _heard(pages: list[Page], number: int) -> list[float]:
    end = time.monotonic() + PATIENCE_S
    while not all(number in page.heard for page in pages) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    return [page.heard[number] for page in pages if number in page.heard]


def _main(url: str, count: int, pipe: Connection) -> None:
    asyncio.run(_serve(url, count, pipe))


class Crowd:
    """The pages, in a few processes."""

    def __init__(self, url: str, pages: int, processes: int) -> None:
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        for number in range(processes):
            count = pages // processes + (number < pages % processes)
            here, there = context.Pipe()
            process = context.Process(target=_main, args=(url, count, there), daemon=True)
            process.start()
            self._pipes.append(here)
            self._processes.append(process)
        for pipe in self._pipes:
            pipe.recv()

    def connect(self) -> list[tuple[float, float]]:
        """Connect all at once; return when each was welcomed and when it had its code."""
        return self._ask("connect")

    def heard(self, number: int) -> list[float]:
        """Return the latencies of a message, in seconds, of all pages that got it."""
        return self._ask("heard", number)

    def expect_back(self) -> None:
        """All pages are about to lose their gateway."""
        for pipe in self._pipes:
            pipe.send(("come_back",))

    def back(self) -> tuple[list[float], int]:
        """Return when each was welcomed again, and how many have kept their session."""
        answers = [answer for pipe in self._pipes for answer in pipe.recv()]
        return [moment for moment, _ in answers], sum(kept for _, kept in answers)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(("end",))
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()

    def _ask(self, *command: Any) -> list[Any]:
        for pipe in self._pipes:
            pipe.send(command)
        return [answer for pipe in self._pipes for answer in pipe.recv()]

"""Connections without a request, slow ones, and what is no HTTP: they end, and the log stays quiet."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from nodes.gateway.http_server import body, common_headers, runner

PATIENCE_S = 20.0
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def _read(request: web.Request) -> web.StreamResponse:
    return web.Response(text=f"{len(await body(request, 0.3))} bytes\n")


def serve(story: Callable[[int], Awaitable[None]]) -> Counter[str]:
    """Play a story with the port of a server that lets go after half a second; return what it counted."""

    async def run() -> None:
        app = web.Application()
        app.add_routes([web.get("/", _read), web.post("/", _read)])
        serving = runner(app, counts, idle_s=0.5)
        await serving.setup()
        await web.TCPSite(serving, "127.0.0.1", 0).start()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await story(serving.addresses[0][1])
        finally:
            await serving.cleanup()

    counts: Counter[str] = Counter()
    asyncio.run(run())
    return counts


async def answers(port: int, said: bytes, trickle: bytes = b"") -> bytes:
    """Say something, then one byte after the other; return all that comes until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    reading = asyncio.create_task(reader.read())
    while not reading.done():
        writer.write(trickle)
        await asyncio.wait({reading}, timeout=0.05)
    writer.close()
    return b"" if reading.exception() else reading.result()


def test_no_answer_tells_versions() -> None:
    async def story(port: int) -> None:
        for said in (ASK + b"\r\n", b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\xff\r\n\r\n"):
            head = (await answers(port, said)).partition(b"\r\n\r\n")[0].lower()
            assert b"server: fabric" in head and b"aiohttp" not in head and b"python" not in head

    serve(story)


@pytest.mark.parametrize("path", ["/", "/nothing", "/fails"])
@pytest.mark.parametrize("secure", [True, False])
def test_every_answer_has_the_usual_headers_and_over_tls_one_more(path: str, secure: bool) -> None:
    async def fails(request: web.Request) -> web.StreamResponse:
        raise web.HTTPForbidden

    async def story() -> None:
        app = web.Application(middlewares=[common_headers(lambda request: secure)])
        app.add_routes([web.get("/", _read), web.get("/fails", fails)])
        async with TestClient(TestServer(app)) as client:
            headers = (await client.get(path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert ("max-age=31536000" in headers.get("Strict-Transport-Security", "")) is secure

    asyncio.run(story())


def test_who_asks_nothing_or_only_begins_to_is_let_go() -> None:
    async def story(port: int) -> None:
        silent, half, slow, second = await asyncio.gather(
            answers(port, b""),
            answers(port, ASK),
            answers(port, ASK + b"A: ", b"a"),
            answers(port, ASK + b"\r\n" + ASK),
        )
        assert (silent, half, slow) == (b"", b"", b"")
        assert second.startswith(b"HTTP/1.1 200 ") and second.count(b"HTTP/1.1") == 1

    serve(story)


def test_a_body_that_takes_too_long_is_not_waited_for() -> None:
    async def story(port: int) -> None:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        assert (await answers(port, head + b"a")).startswith(b"HTTP/1.1 408 ")
        assert b"1000 bytes" in await answers(port, head + b"a" * 1000)

    serve(story)


def test_garbage_and_bodies_that_break_off_are_no_errors_of_the_gateway(caplog: pytest.LogCaptureFixture) -> None:
    async def story(port: int) -> None:
        for garbage in (
            b"\0\xff\r\n\r\n",
            b"GET /\xff HTTP/1.1\r\n\r\n",
            b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n",
        ):
            assert b" 400 " in await answers(port, garbage)
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.1)
        writer.close()
        await answers(port, ASK + b"\r\n")

    assert serve(story)["no_requests"] == 3
    assert not caplog.records

"""Signing in and out by HTTP: cookies, lock-out, and what is not a sign-in."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp
import pytest

from tests.support.gateways import Line, agents_file, sign_in, start_gateway
from tests.support.site import Site, site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def url(world: Site) -> str:
    return start_gateway(world, "--agents", agents_file(world.folder, "dan", "eve", "fay", "gus")).url


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_signing_in_and_out(url: str) -> None:
    async def story() -> None:
        status, body, cookie = await sign_in(url, "dan")
        assert (status, body) == (200, {"ok": True, "agent": "dan", "name": "Dan", "buttons": ["help"]})
        async with aiohttp.ClientSession(headers={"Origin": url, "Cookie": cookie}) as http:
            async with http.get(f"{url}/agent/me") as answer:
                assert answer.status == 200 and (await answer.json())["agent"] == "dan"
            async with Line(url, "/ws/agent", cookie=cookie) as agent:
                await agent.get("welcome", agent="dan")
                async with http.post(f"{url}/agent/sign_out") as answer:
                    assert answer.status == 200
                assert await agent.until_closed() == 4001
            async with http.get(f"{url}/agent/me") as answer:
                assert answer.status == 401
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with Line(url, "/ws/agent", cookie=cookie):
                pass
        assert caught.value.status == 401

    play(story())


def test_wrong_passwords_are_locked_out(url: str) -> None:
    async def story() -> None:
        statuses = [(await sign_in(url, "eve", "wrong horse"))[0] for _ in range(7)]
        assert statuses == [401] * 5 + [429] * 2
        assert (await sign_in(url, "eve"))[0] == 429
        evil = {"Origin": "https://evil.example.org"}
        async with aiohttp.ClientSession(headers={"Origin": url}) as http:
            async with http.post(
                f"{url}/agent/sign_in", json={"agent": "fay", "password": "x"}, headers=evil
            ) as answer:
                assert answer.status == 403
            for nonsense in (b"", b"{", b"[]", b'{"agent":1,"password":"x"}', b"[" * 10_000):
                async with http.post(f"{url}/agent/sign_in", data=nonsense) as answer:
                    assert answer.status == 400
            async with http.post(f"{url}/agent/sign_in", data=b"x" * 100_000) as answer:
                assert answer.status == 413

    play(story())


def test_a_browser_that_has_signed_in_before_is_not_locked_out_by_others(url: str) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession(headers={"Origin": url}, cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
            body = {"agent": "gus", "password": "correct horse"}
            async with http.post(f"{url}/agent/sign_in", json=body) as answer:
                assert answer.status == 200
            async with http.post(f"{url}/agent/sign_out") as answer:
                assert answer.status == 200
            for _ in range(6):
                await sign_in(url, "gus", "wrong horse")
            assert (await sign_in(url, "gus"))[0] == 429
            async with http.post(f"{url}/agent/sign_in", json=body) as answer:
                assert answer.status == 200

    play(story())


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(url: str) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession(headers={"Origin": url}) as http:
            body = {"agent": "fay", "password": "correct horse"}
            async with http.post(f"{url}/agent/sign_in", json=body) as answer:
                cookies = [each.split("; ") for each in answer.headers.getall("Set-Cookie")]
                flags = {name.partition("=")[0]: set(words) for name, *words in cookies}
                assert flags.keys() == {"site_connect_agent", "site_connect_device"}
                for words in flags.values():
                    assert {"HttpOnly", "SameSite=Strict"} <= words and "Secure" not in words
                assert {"Path=/", f"Max-Age={12 * 3600}"} <= flags["site_connect_agent"]
                assert {"Path=/agent/", f"Max-Age={90 * 86400}"} <= flags["site_connect_device"]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"

    play(story())

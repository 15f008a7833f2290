"""Attacks from a browser, through a real gateway at a real proxy: each is refused, and the others notice nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Coroutine, Iterator
from typing import Any

import psutil
import pytest

from tests.support.gateways import Browser, GatewayProcess, start_gateway
from tests.support.site import Site, site

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(world: Site) -> GatewayProcess:
    return start_gateway(world, "--public-subscribe", "news/#", "--public-publish", "news/+")


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def rss_bytes(*pids: int) -> list[int]:
    return [psutil.Process(pid).memory_info().rss for pid in pids]


def test_long_filters_cost_no_proxy_any_memory(world: Site, gateway: GatewayProcess) -> None:
    """6.5 MB of filters from one page cost 2.2 GB at the proxies."""

    async def story() -> None:
        async with Browser(gateway.url) as browser:
            await browser.hello()
            before = rss_bytes(world.proxies[0].pid, gateway.pid)
            for ident in range(1, 101):
                await browser.send("subscribe", id=ident, filter="news/" + secrets.token_hex(32_700))
                refused = await browser.get("refused", of="subscribe")
                assert "512 bytes" in refused["why"]
            most = 8 * 1024 // 505  # of all filters of a page
            for ident in range(101, 101 + most):
                await browser.send("subscribe", id=ident, filter="news/" + secrets.token_hex(250))
                await browser.get("ack", id=ident, ok=True)
            for ident in range(200, 250):
                await browser.send("subscribe", id=ident, filter="news/" + secrets.token_hex(250))
                assert "8192 bytes" in (await browser.get("refused", id=ident))["why"]
            after = rss_bytes(world.proxies[0].pid, gateway.pid)
            assert all(now - then < 30 * MIB for then, now in zip(before, after, strict=True)), (before, after)

    play(story())


def test_an_update_of_a_million_values_is_refused_and_others_are_served(gateway: GatewayProcess) -> None:
    """Three seconds of CPU each, and one may follow every four seconds."""
    bomb = '{"t":"update","epoch":1,"event":[' + ",".join(["[]"] * 1_300_000) + '],"snapshot":false}'

    async def story() -> None:
        async with Browser(gateway.url) as browser, Browser(gateway.url) as other:
            await browser.hello()
            await other.hello()
            before_s = cpu_s(gateway)
            for _ in range(2):
                await browser.ws.send_str(bomb)
                assert "values" in (await browser.get("refused"))["why"]
            await browser.ws.send_str(json.dumps({"t": "publish", "topic": "news/a", "payload": "x" * 300_000}))
            await browser.get("limit", what="size")
            await other.send("publish", id=1, topic="news/a", payload=1)
            await other.get("done", id=1)
            assert cpu_s(gateway) - before_s < 1.0, "decoding one of them took 2.5 s"

    play(story())


def cpu_s(gateway: GatewayProcess) -> float:
    times = psutil.Process(gateway.pid).cpu_times()
    return float(times.user + times.system)

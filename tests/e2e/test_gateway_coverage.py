"""Pages are told what of the mesh their gateway reaches: a proxy that dies, and one that is back."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.gateways import Browser, start_gateway
from tests.support.site import site


def test_coverage_lost_and_regained_is_told_and_subscriptions_hold_again(tmp_path: Path) -> None:
    with site(tmp_path, proxies=2) as world:
        gateway = start_gateway(world, "--public-subscribe", "news/#", "--public-publish", "news/+")
        second = start_gateway(world, "--public-publish", "news/+", "--connect", world.base)

        async def story() -> None:
            async with Browser(gateway.url) as browser, Browser(second.url) as speaker:
                assert (await browser.hello())["connection"]["covered"] == ["p1", "p2"]
                await speaker.hello()
                await browser.send("subscribe", id=1, filter="news/#")
                assert (await browser.get("ack", id=1))["covered"] == ["p1", "p2"]
                world.proxies[1].kill()
                lost = await browser.get("connection", covered=["p1"])
                assert lost["missing"] == ["p2"] and lost["connected"]
                world.started.append(world.proxies[1].again())
                await asyncio.to_thread(world.started[-1].wait_event, "ready")
                assert (await browser.get("connection", covered=["p1", "p2"]))["missing"] == []
                await speaker.send("publish", id=1, topic="news/a", payload="after")
                assert (await browser.get("message", topic="news/a"))["payload"] == "after"

        asyncio.run(story())

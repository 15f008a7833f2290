"""What one browser can do to a gateway: too much, nonsense, nothing, or not reading. Others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp
import pytest

from fabric import Node
from nodes.gateway.budgets import Shares
from nodes.gateway.files import Files
from nodes.gateway.forwarded import Proxies
from nodes.gateway.gateway import Gateway
from nodes.gateway.hub import Settings
from nodes.gateway.limits import Limits
from tests.support.gateways import (
    SHOP,
    Browser,
    GatewayProcess,
    Line,
    agents_file,
    console,
    joined,
    sign_in,
    start_gateway,
)
from tests.support.site import Site, site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(world: Site) -> GatewayProcess:
    public = ("--public-subscribe", "news/#", "--public-publish", "news/+", "--rate", "200", "--queue", "50")
    return start_gateway(world, "--agents", agents_file(world.folder, "ada"), "--max-pages", "40", *public)


@pytest.fixture
def url(gateway: GatewayProcess) -> Iterator[str]:
    yield gateway.url
    assert gateway.alive


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_page_over_its_rate_is_told_and_then_closed(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, Browser(url) as other:
            await other.hello()
            await browser.hello()
            flood = [json.dumps({"t": "publish", "topic": "news/flood", "payload": n}) for n in range(1_500)]
            for text in flood:
                if browser.ws.closed:
                    break
                try:
                    await browser.ws.send_str(text)
                except ConnectionError:
                    break
            assert await browser.until_closed() == 4008
            limits = [message for message in browser.messages if message["t"] == "limit"]
            assert limits and limits[0]["what"] == "rate" and "200" in limits[0]["why"]
            await other.send("publish", id=1, topic="news/other", payload=1)
            await other.get("done", id=1)

    play(story())


def test_a_page_that_strays_is_told_and_goes_on(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            await browser.hello()
            await browser.send("publish", id=1, topic="news/a", payload="x" * 300_000)
            told = await browser.get("limit", what="size")
            assert "262144" in told["why"]
            await browser.send("dance", id=2)
            await browser.get("refused", of="dance")
            await browser.ws.send_str('{"t":"\\ud800"}')
            await browser.get("refused", of="\ud800")
            for ident in range(10, 120):
                await browser.send("subscribe", id=ident, filter=f"news/{ident}")
            refused = await browser.get("refused", of="subscribe")
            assert "at most 100" in refused["why"]
            await browser.send("publish", id=3, topic="news/a", payload=1)
            await browser.get("done", id=3)

    play(story())


def test_a_message_beyond_all_measure_is_not_read(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            await browser.hello()
            try:
                await browser.ws.send_str("x" * (9 * 1024 * 1024))
            except ConnectionError:
                pass
            assert await browser.until_closed() in (1009, 1006)

    play(story())


def test_who_does_not_read_is_cut_off_with_a_reason_and_others_get_everything(
    url: str, world: Site, gateway: GatewayProcess
) -> None:
    async def story() -> None:
        async with Browser(url) as slow, Browser(url) as quick:
            for browser in (slow, quick):
                await browser.hello()
                await browser.send("subscribe", id=1, filter="news/#")
                await browser.get("ack", id=1, ok=True)
            sent = 0  # nobody reads `slow` any more: TCP holds the gateway up
            while not gateway.refused("too_slow"):
                for _ in range(5):
                    sent += 1
                    node.publish("news/big", {"n": sent, "fill": "x" * 100_000})
                    assert (await quick.get("message", topic="news/big"))["payload"]["n"] == sent
                quick.forget()
            node.publish("news/big", {"n": sent + 1})
            assert (await quick.get("message", topic="news/big"))["payload"]["n"] == sent + 1
            assert await slow.until_closed() in (4009, 1006)
            assert len(slow.messages) < sent

    with Node(world.base) as node:
        play(story())


def malformed(draw: random.Random) -> str | bytes:
    """What is not a message: noise, JSON of other shapes, or a real one with something changed."""
    real = [
        {"t": "subscribe", "id": 1, "filter": "news/#"},
        {"t": "publish", "id": 2, "topic": "news/a", "payload": {"x": 1}},
        {"t": "update", "epoch": 1, "event": [], "snapshot": True},
        {"t": "hello", "v": 1, "origin": "x", "instance": "i" * 16, "token": None},
        {"t": "stop", "id": 3},
    ]
    wrong: list[Any] = [
        None,
        "",
        -1,
        2**80,
        1.5,
        [],
        {},
        "\x00",
        "#",
        "~/x",
        "$fabric/x",
        "é" * 50,
        "\ud800",
        {"$bin": 1},
        [[[[]]]],
    ]
    kind = draw.randrange(5)
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        return "".join(chr(draw.randrange(32, 0x300)) for _ in range(draw.randrange(100)))
    if kind == 2:
        return json.dumps(draw.choice(wrong))
    if kind == 3:
        text = json.dumps(draw.choice(real))
        return text[: draw.randrange(len(text))]
    message = {**draw.choice(real)}
    for name in draw.sample(sorted(message), draw.randrange(1, len(message))):
        message[name] = draw.choice(wrong)
    return json.dumps(message)


def test_ten_thousand_malformed_messages_get_nothing_and_break_nothing(url: str, gateway: GatewayProcess) -> None:
    """Each socket that sends them is closed after a while; seeded, so that what breaks something is found again."""

    async def story() -> None:
        draw, sent, closed = random.Random(11), 0, 0
        async with Browser(url) as witness:
            await witness.hello()
            code = (await witness.told("~/site_connect/ready"))["code"]
            while sent < 10_000:
                async with Browser(url) as browser:
                    if draw.random() < 0.8:
                        await browser.hello()
                    for _ in range(draw.randrange(100, 400)):
                        sent += 1
                        message = malformed(draw)
                        try:
                            await (browser.ws.send_str if isinstance(message, str) else browser.ws.send_bytes)(message)
                        except ConnectionError:
                            break
                    reading = asyncio.create_task(browser.until_closed())
                    await asyncio.wait({reading}, timeout=0.2)
                    closed += reading.done()
                    reading.cancel()
                    told = [message for message in browser.messages if message["t"] == "message"]
                    assert code not in str(browser.messages) and all(m["topic"] == "news/a" for m in told)
            assert closed > 10
            await witness.send("publish", id=1, topic="news/after", payload=1)
            await witness.get("done", id=1)
            assert gateway.refused("limit_malformed") > 1_000

    play(story())


def test_an_agent_s_window_is_bounded_alike(url: str) -> None:
    async def story() -> None:
        status, _, cookie = await sign_in(url, "ada")
        assert status == 200
        async with Line(url, "/ws/agent", cookie=cookie) as agent:
            await agent.get("welcome")
            for _ in range(150):
                try:
                    await agent.ws.send_str("nonsense")
                except ConnectionError:
                    break
            assert await agent.until_closed() == 4008

    play(story())


def test_beyond_its_places_a_gateway_says_so(url: str) -> None:
    async def story() -> None:
        browsers = [Browser(url) for _ in range(40)]
        try:
            for browser in browsers:
                await browser.__aenter__()
                await browser.hello()
            one_more = Browser(url)
            async with one_more:
                await one_more.send("hello", v=1, origin=SHOP, instance=one_more.instance)
                assert await one_more.until_closed() == 1013
            await browsers[7].ws.close()
            async with browsers[7].comes_back() as back, Browser(url) as fresh:
                assert (await back.hello())["resumed"], "for one that comes back there is a place"
                await fresh.send("hello", v=1, origin=SHOP, instance=fresh.instance)
                assert await fresh.until_closed() == 1013
            silent = [Browser(url) for _ in range(6)]
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                for browser in silent:
                    browsers.append(await browser.__aenter__())
            assert caught.value.status == 503
            assert caught.value.headers is not None and caught.value.headers["Retry-After"] == "5"
        finally:
            for browser in browsers:
                await browser.__aexit__()

    play(story())


def test_one_address_has_so_many_places(world: Site) -> None:
    with world.scene():
        gateway = start_gateway(world, "--max-of-address", "2", "--behind-proxy")

        async def story() -> None:
            def from_(address: str) -> Browser:
                return Browser(gateway.url, headers={"X-Forwarded-For": f"6.6.6.6, {address}"})

            async def refused(address: str) -> None:
                async with from_(address) as browser:
                    await browser.send("hello", v=1, origin=SHOP, instance=browser.instance)
                    assert await browser.until_closed() == 1013 and browser.messages == []

            async with from_("10.0.0.1") as one, from_("10.0.0.1") as two:
                await one.hello()
                await two.hello()
                await refused("10.0.0.1")
                async with from_("10.0.0.2") as other, from_("10.0.0.3") as another:
                    await other.hello()
                    await another.hello()
                    await refused("10.0.0.4")  # their network has twice as many
                    async with from_("10.0.1.1") as elsewhere:
                        await elsewhere.hello()
                await two.send("bye")
                await two.until_closed()
                async with from_("10.0.0.1") as again:
                    await again.hello()
            async with from_("10.0.0.9"), from_("10.0.0.9"):  # silent ones
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    async with from_("10.0.0.9"):
                        pass
                assert caught.value.status == 503
            async with from_("2001:db8:1:2::1") as one, from_("2001:db8:1:2:9::9") as two:
                await one.hello()
                await two.hello()
                await refused("2001:db8:1:2:ffff::1")  # one customer has the whole /64

        play(story())


def test_pings_count_as_messages_and_are_not_answered_for_ever(url: str, gateway: GatewayProcess) -> None:
    """54,720 a second from one socket passed no limit."""

    async def story() -> None:
        async with Browser(url) as browser:
            await browser.hello()
            await browser.ws.ping(b"first")
            for _ in range(3_000):
                try:
                    await browser.ws.ping(b"x" * 100)
                except ConnectionError:
                    break
            assert await browser.until_closed() in (4008, 1006)
            assert gateway.refused("limit_rate") > 50

    play(story())


def test_places_of_pages_that_no_agent_has_had_to_do_with_are_free_when_they_leave(world: Site) -> None:
    """A thousand sessions of one address held a tenth of all places for 30 s after their sockets were gone."""
    with world.scene():
        gateway = start_gateway(world, "--max-of-address", "3", "--agents", agents_file(world.folder, "ada"))

        async def story() -> None:
            first: list[Browser] = []
            for _ in range(5):
                for _ in range(3):
                    browser = Browser(gateway.url)
                    async with browser:
                        await browser.hello()
                    first.append(browser)
            async with first[0].comes_back() as again:
                assert (await again.hello())["resumed"], "it was kept, though"

            async with Browser(gateway.url) as viewed, await console(gateway.url, "ada") as agent:
                await joined(viewed, agent)
            async with Browser(gateway.url) as one, Browser(gateway.url) as two, Browser(gateway.url) as three:
                await one.hello()
                await two.hello()
                await three.send("hello", v=1, origin=SHOP, instance=three.instance)
                assert await three.until_closed() == 1013, "the page that was viewed keeps its place"
                async with viewed.comes_back() as back:
                    assert (await back.hello())["resumed"]

        play(story())


def test_new_pages_of_one_address_have_a_rate_and_those_that_come_back_do_not_share_it(world: Site) -> None:
    """Hello and bye again and again burnt 227 codes a second."""
    with world.scene():
        gateway = start_gateway(world, "--new-rate", "0.1")  # five at once, then one in ten seconds

        async def story() -> None:
            kept = Browser(gateway.url)
            async with kept:
                await kept.hello()
            begun = 0
            for _ in range(12):
                async with Browser(gateway.url) as browser:
                    await browser.send("hello", v=1, origin=SHOP, instance=browser.instance)
                    if (first := await browser.next()) is None:
                        assert browser.close_code == 1013
                        continue
                    assert first["t"] == "welcome"
                    begun += 1
                    await browser.send("bye")
                    await browser.until_closed()
            assert begun in (4, 5)
            async with kept.comes_back() as again:
                assert (await again.hello())["resumed"]

        play(story())


def test_what_one_address_sends_above_its_share_waits_and_then_is_dropped(world: Site) -> None:
    """A hundred sockets, each within its own limits, sent 6,216 messages a second, and others waited for 5.5 s."""

    async def story() -> None:
        limits = Limits(rate=20, burst=20)
        settings = Settings(secret=b"s" * 32, limits=limits, shares=Shares(sockets=2), proxies=Proxies.of(()))
        running = Gateway(node, settings, {}, Files(frozenset()))
        url = f"http://127.0.0.1:{await running.start('127.0.0.1', 0)}"
        assert await running.is_ready(20)
        try:
            crowd = [Browser(url, page=url, headers={"X-Forwarded-For": "10.0.0.1"}) for _ in range(8)]
            async with contextlib.AsyncExitStack() as stack:
                for browser in crowd:
                    await stack.enter_async_context(browser)
                    await browser.hello()
                other = await stack.enter_async_context(Browser(url, page=url, headers={"X-Forwarded-For": "10.9.9.9"}))
                await other.hello()
                sent = len(crowd) * 18
                for browser in crowd:
                    for _ in range(18):
                        await browser.send("beat")
                for ident in range(1, 16):
                    await other.send("publish", id=ident, topic="~pagesession/chat/typing", payload=None)
                    await other.get("done", id=ident)
                assert running.hub.counts["slowed"] > 0, f"{sent} messages of 40 a second"
                await crowd[0].send("publish", id=1, topic="~pagesession/chat/typing", payload=None)
                await crowd[0].get("done", id=1)  # slowed, and not shut out
        finally:
            await running.drain()

    with Node(world.base) as node:
        play(story())

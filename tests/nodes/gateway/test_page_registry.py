"""Sessions that come back to their gateway; a second document; stolen and expired tokens."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from nodes.gateway.tokens import TOKEN_S, Token, read_token, write_token
from tests.support.gateways import SHOP, Browser, GatewayProcess, agents_file, console, secret_file, start_gateway
from tests.support.site import Site, site
from tests.support.waiting import until

SECRET = b"s" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site"), proxies=2) as found:
        yield found


def start(world: Site, at: int = 0) -> GatewayProcess:
    secret, agents = secret_file(world.folder), agents_file(world.folder, "ada", "bob")
    public = ("--public-subscribe", "news/#", "--public-publish", "news/+")
    return start_gateway(world, "--secret-file", secret, "--agents", agents, "--resume", "2", *public, at=at)


@pytest.fixture(scope="module")
def pair(world: Site) -> list[GatewayProcess]:
    """Two gateways, at different proxies, that share a secret."""
    return [start(world, at) for at in (0, 1)]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


async def code_of(browser: Browser) -> str:
    return str((await browser.told("~/site_connect/ready"))["code"])


def codes(welcome: dict[str, Any]) -> list[str]:
    return [each["payload"]["code"] for each in welcome["retained"] if each["topic"] == "~/site_connect/ready"]


def test_a_lost_socket_misses_nothing(pair: list[GatewayProcess]) -> None:
    url = pair[0].url

    async def story() -> None:
        async with Browser(url) as browser, Browser(url) as other:
            first = await browser.hello()
            code = await code_of(browser)
            await browser.send("subscribe", id=1, filter="news/#")
            await browser.get("ack", id=1)
            await other.hello()
            await other.send("publish", id=1, topic="news/a", payload=1)
            await browser.get("message", topic="news/a")
            seen = max(each.get("seq", 0) for each in browser.messages)
            await browser.ws.close()
            for number in (2, 3):
                await other.send("publish", id=number, topic="news/a", payload=number)
                await other.get("done", id=number)
            async with browser.comes_back() as again:
                welcome = await again.hello(seen=seen)
                assert welcome["resumed"] and not welcome["missed"] and welcome["session"] == first["session"]
                assert codes(welcome) == [code] and welcome["token"] != first["token"]
                got = [await again.get("message", topic="news/a") for _ in range(2)]
                assert [each["payload"] for each in got] == [2, 3] and got[0]["seq"] > seen
                await again.send("subscribe", id=1, filter="news/#")
                assert (await again.get("ack", id=1))["ok"]
                await again.send("subscribe", id=1, filter="news/other")
                assert "no other subscription" in (await again.get("refused", id=1))["why"]

    play(story())


def test_a_document_that_is_loaded_anew_keeps_session_and_co_browse(pair: list[GatewayProcess]) -> None:
    url = pair[0].url

    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as agent:
            await browser.hello(buttons=["help"])
            await browser.send("subscribe", id=1, filter="news/#")
            await agent.send("join", id=1, code=await code_of(browser))
            assert (await agent.get("reply", id=1))["ok"]
            await browser.told("~pagesession/cobrowsing/snapshot_request")
            await browser.ws.close()
            async with browser.comes_back(same_document=False) as again:
                welcome = await again.hello(buttons=["sales"])
                topics = [each["topic"] for each in welcome["retained"]]
                assert welcome["resumed"] and "~pagesession/cobrowsing/start" in topics
                assert not [topic for topic in topics if "/help/" in topic]
                await again.send("update", epoch=1, event='{"anew": 1}', snapshot=True)
                assert (await agent.get("event", event="update"))["update"] == '{"anew": 1}'
                await again.send("subscribe", id=1, filter="~pagesession/#")
                assert (await again.get("ack", id=1))["ok"], "ids begin anew in a new document"
                await again.send("stop", id=2)
                confirm = await agent.get("confirm")
                await agent.send("handled", confirm=confirm["confirm"])
                await again.get("stopped", id=2)

    play(story())


def test_a_duplicated_tab_gets_a_session_of_its_own(pair: list[GatewayProcess]) -> None:
    async def story() -> None:
        async with Browser(pair[0].url) as browser:
            first = await browser.hello()
            code = await code_of(browser)
            for gateway in pair:
                async with browser.comes_back(gateway.url, same_document=False) as tab:
                    reading = asyncio.create_task(browser.get("beat"))  # one who reads answers pings, as browsers do
                    welcome = await tab.hello()
                    reading.cancel()
                    assert (welcome["resumed"], welcome["why"]) == (False, "in_use")
                    assert welcome["session"] != first["session"] and await code_of(tab) != code
            await browser.send("publish", id=1, topic="~pagesession/x", payload=1)
            await browser.get("done", id=1)

    play(story())


def test_the_same_document_takes_over_at_once(pair: list[GatewayProcess]) -> None:
    async def story() -> None:
        async with Browser(pair[0].url) as browser:
            first = await browser.hello()
            async with browser.comes_back() as again:
                assert (await again.hello(seen=0))["session"] == first["session"]
                assert await browser.until_closed() == 4001

    play(story())


def test_a_token_that_does_not_hold_gets_a_new_session(pair: list[GatewayProcess]) -> None:
    async def story() -> None:
        async with Browser(pair[0].url) as browser:
            first = await browser.hello()
            code = await code_of(browser)
            token = read_token(SECRET, first["token"], SHOP)
            assert token is not None and token.session != first["session"]
            content = json.dumps(["page", token.session, 1, token.home, token.issued_at]).encode()
            forged = base64.urlsafe_b64encode(content).decode().rstrip("=")
            old = token.issued_at - TOKEN_S - 1
            tries = {
                first["token"][:-2] + "xx": "unknown",
                f"{forged}.{first['token'].partition('.')[2]}": "unknown",
                write_token(b"t" * 32, token, SHOP): "unknown",
                write_token(SECRET, token, pair[0].url): "unknown",
                token.session: "unknown",
                write_token(SECRET, Token(token.session, 7, token.home, token.issued_at), SHOP): "expired",
                write_token(SECRET, Token("of-a-gateway-long-gone", 1, "0" * 32, old), SHOP): "expired",
            }
            for stolen, why in tries.items():
                thief = Browser(pair[0].url)
                thief.token = stolen
                async with thief:
                    welcome = await thief.hello()
                    assert (welcome["resumed"], welcome["why"]) == (False, why)
                    assert welcome["session"] != first["session"] and await code_of(thief) != code
            await browser.ws.close()
            async with browser.comes_back() as again:
                assert (await again.hello(seen=0))["session"] == first["session"], "nobody has taken it"

    play(story())


def test_a_session_waits_for_its_page_and_then_is_over(pair: list[GatewayProcess]) -> None:
    async def story() -> None:
        url = pair[1].url
        async with Browser(url) as browser, await console(url, "ada") as agent:
            await browser.hello()
            code = await code_of(browser)
            await browser.ws.close()
            await asyncio.to_thread(until, lambda: not pair[1].figure("browsers"), "its socket is gone")
            await asyncio.to_thread(until, lambda: not pair[1].figure("sessions"), "its session is over")
            while True:  # the frame node hears of it a moment later
                await agent.send("join", id=1, code=code)
                reply = await agent.get("reply", id=1)
                if not reply["ok"]:
                    break
            assert reply["error"] == "UnknownContactCode"
            async with browser.comes_back() as again:
                assert (await again.hello())["why"] == "over"

    play(story())


def test_a_session_that_is_over_stays_so_after_a_restart(world: Site) -> None:
    """A token of it is good for half an hour, and a gateway that was started again knows no session."""
    with world.scene():
        kept = world.folder / "over.ended"
        options = ("--secret-file", secret_file(world.folder), "--ended", str(kept))
        gateway = start_gateway(world, *options)

        async def story(gateway: GatewayProcess) -> None:
            left, stays = Browser(gateway.url), Browser(gateway.url)
            async with left, stays:
                await left.hello()
                await stays.hello()
                await left.send("bye")
                assert await left.until_closed() == 1000
                until(lambda: "session " in kept.read_text(), "it is kept")
                gateway.kill()
            gateway = gateway.again().wait_ready()
            world.started.append(gateway)
            async with left.comes_back(gateway.url) as again, stays.comes_back(gateway.url) as too:
                welcome = await again.hello()
                assert (welcome["resumed"], welcome["why"]) == (False, "over")
                assert (await too.hello())["resumed"]

        play(story(gateway))


def test_an_old_token_opens_nothing_at_a_gateway_that_was_started_again(world: Site) -> None:
    """It knows no session, and took any token that was not older than half an hour."""
    with world.scene():
        kept = world.folder / "tokens.ended"
        gateway = start_gateway(world, "--secret-file", secret_file(world.folder), "--ended", str(kept))

        async def story(gateway: GatewayProcess) -> None:
            browser, tokens = Browser(gateway.url), []
            for _ in range(3):
                async with browser:
                    await browser.hello()
                    tokens.append(browser.token)
                browser = browser.comes_back()
            until(lambda: "token " in kept.read_text(), "it is kept")
            gateway.kill()
            gateway = gateway.again().wait_ready()
            world.started.append(gateway)
            thief = Browser(gateway.url)
            thief.token = tokens[0]
            async with thief, browser.comes_back(gateway.url) as true:
                welcome = await thief.hello()
                assert (welcome["resumed"], welcome["why"]) == (False, "expired")
                assert (await true.hello())["resumed"]

        play(story(gateway))

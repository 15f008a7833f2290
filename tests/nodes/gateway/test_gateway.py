"""A gateway as a process: what it serves to whom, a co-browse and a chat through its sockets, its end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from typing import Any

import aiohttp
import pytest

from fabric import Node
from fabric.services.server import Server
from nodes.gateway.files import Files
from nodes.gateway.gateway import Gateway
from nodes.gateway.hub import Settings
from nodes.gateway.limits import Limits
from nodes.rules.topics import FRAME_SERVICE
from tests.support.gateways import SHOP, Browser, GatewayProcess, Line, agents_file, console, start_gateway
from tests.support.processes import ProxyProcess
from tests.support.site import Site, site
from tests.support.waiting import until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(world: Site) -> GatewayProcess:
    agents = agents_file(world.folder, "ada", "bob", "cyd", "fay")
    public = ("--public-subscribe", "news/#", "--public-publish", "news/+", "--public-retain", "news/kept")
    return start_gateway(world, "--agents", agents, "--demo-shop", *public)


@pytest.fixture
def url(gateway: GatewayProcess) -> str:
    return gateway.url


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_page_gets_a_code_and_what_its_buttons_say(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            welcome = await browser.hello(buttons=["sales"])
            assert (welcome["resumed"], welcome["why"], welcome["missed"]) == (False, None, False)
            assert welcome["connection"]["connected"] and welcome["connection"]["covered"] == ["p1"]
            code = (await browser.told("~/site_connect/ready"))["code"]
            assert len(code) == 6
            retained = (await browser.get("retained"))["messages"]
            assert {"topic": "~/site_connect/ready", "payload": {"code": code}} in retained
            await browser.told("~/site_connect/chat_button/sales/disabled")
            assert welcome["session"] not in str(browser.token)

    play(story())


def test_a_whole_co_browse_with_a_stop_by_the_visitor(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as agent:
            await browser.hello()
            code = (await browser.told("~/site_connect/ready"))["code"]
            await agent.send("join", id=1, code=f" {code[:3]}-{code[3:]} ")
            state = (await agent.get("reply", id=1, ok=True))["state"]
            assert state["cobrowse"] == "joined" and "code" not in state and "lease_s" not in state
            started = await browser.told("~pagesession/cobrowsing/start")
            assert started == {"epoch": 1, "agent": "ada"}
            await browser.told("~pagesession/cobrowsing/snapshot_request")
            await browser.send("update", epoch=1, event='{"all": "of it"}', snapshot=True)
            await browser.send("update", epoch=1, event='{"n": 2}')
            await browser.send("update", epoch=7, event='{"of": "another epoch"}')
            first, second = [await agent.get("event", event="update") for _ in range(2)]
            assert (first["update"], first["snapshot"], second["update"]) == ('{"all": "of it"}', True, '{"n": 2}')

            await browser.send("stop", id=5)
            await browser.send("update", epoch=1, event='{"after": "the stop"}')
            await agent.get("event", event="stopped", by="page")
            confirm = await agent.get("confirm", session=state["session"])
            assert not [each for each in browser.messages if each["t"] == "stopped"], "the console has not confirmed"
            await agent.send("handled", confirm=confirm["confirm"])
            await browser.get("stopped", id=5)
            assert (await browser.told("~/site_connect/new_code"))["code"] != code
            await agent.send("ping", at=1.5)
            await agent.get("pong", at=1.5)
            assert len([each for each in agent.messages if each.get("event") == "update"]) == 2
            assert code not in str(agent.messages[1:]) and "after" not in str(agent.messages)

    play(story())


def test_a_stop_by_the_agent(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "bob") as agent:
            await browser.hello()
            code = (await browser.told("~/site_connect/ready"))["code"]
            await agent.send("join", id=1, code=code)
            session = (await agent.get("reply", id=1, ok=True))["state"]["session"]
            await browser.told("~pagesession/cobrowsing/start")
            await agent.send("stop", id=2, session=session)
            await agent.get("reply", id=2, ok=True)
            assert await browser.told("~pagesession/cobrowsing/stop") == {"epoch": 1}
            await browser.told("~/site_connect/new_code")
            await agent.get("state", session=session, state=None)
            await agent.send("stop", id=3, session=session)
            assert "not in session" in (await agent.get("refused", id=3))["why"]

    play(story())


def test_a_chat_from_its_button_to_its_end(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "cyd") as agent:
            await browser.hello(buttons=["help"])
            await agent.send("available", on=True, buttons=["help"])
            await browser.told("~/site_connect/chat_button/help/enabled")
            await browser.send("publish", id=1, topic="~pagesession/chat/trigger", payload={"button": "help"})
            await browser.get("done", id=1)
            offered = await agent.get("event", event="chat_offered", button="help")
            await agent.send("accept", id=1, session=offered["session"])
            assert (await agent.get("reply", id=1, ok=True))["state"]["chat"] == "open"
            assert (await browser.told("~pagesession/chat/accepted"))["agent"] == "cyd"
            await agent.send("say", id=2, session=offered["session"], text="Hello ☺")
            said = await browser.told("~pagesession/chat/message")
            assert (said["from"], said["text"]) == ("Cyd", "Hello ☺")
            assert (await agent.get("reply", id=2, ok=True))["message_id"] == said["id"]
            mine = {"from": "visitor", "text": "hi", "id": "x1"}
            await browser.send("publish", topic="~pagesession/chat/message", payload=mine)
            heard = (await agent.get("event", event="chat_message"))["message"]
            assert {**heard, **mine, "n": 2, "by": "page"} == heard
            await browser.send("publish", topic="~pagesession/chat/stop", payload=None)
            await agent.get("event", event="chat_closed")
            await agent.send("available", on=False)
            await browser.told("~/site_connect/chat_button/help/disabled")
            own = [each for each in browser.messages if each.get("payload") == mine]
            assert own == [], "a page has delivered its own already"

    play(story())


def test_topics_of_the_fabric_come_as_far_as_they_are_public(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as one, Browser(url) as two:
            await one.hello()
            await two.hello()
            await one.send("subscribe", id=1, filter="news/#")
            await one.send("subscribe", id=2, filter="news/a")
            ack = await one.get("ack", id=1)
            assert ack["ok"] and ack["covered"] == ["p1"] and ack["error"] is None
            await one.get("ack", id=2)
            await two.send("publish", id=1, topic="news/a", payload={"$bin": "AAE="})
            await two.get("done", id=1)
            got = [await one.get("message", topic="news/a") for _ in range(2)]
            assert sorted(each["ids"][0] for each in got) == [1, 2]
            assert got[0]["payload"] == {"$bin": "AAE="} and got[0]["number"] == 1
            await one.send("unsubscribe", id=1)
            await two.send("publish", topic="news/b", payload=1)
            await two.send("publish", topic="news/a", payload=2)
            assert (await one.get("message"))["payload"] == 2
            for ident, (kind, where) in enumerate(
                [("subscribe", "#"), ("subscribe", "$site_connect/buttons"), ("subscribe", "~/x"),
                 ("subscribe", "$SYS/#"), ("publish", "news"), ("publish", "~/x"), ("publish", "$fabric/x"),
                 ("publish", "$site_connect/buttons"),
                 ("publish", "~pagesession/cobrowsing/update"), ("publish", "~pagesession/frame/state"),
                 ("subscribe", "~pagesession/#/x")], 10,
            ):  # fmt: skip
                await one.send(kind, id=ident, **{"filter" if kind == "subscribe" else "topic": where}, payload=None)
                refused = await one.get("refused", id=ident, of=kind)
                assert refused["why"], where

    play(story())


def test_what_is_retained_in_the_fabric_comes_before_the_ack_and_pages_retain_what_they_may(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as one, Browser(url) as two:
            await one.hello()
            await two.hello()
            await one.send("subscribe", id=1, filter="news/+")
            await one.get("ack", id=1)
            await one.send("publish", id=1, topic="news/kept", payload={"n": 1}, retain=True, expires_s=3600)
            assert "retained" not in await one.get("message", topic="news/kept"), "what comes live is not marked"
            for refused in ({"topic": "news/a"}, {"topic": "other"}):
                await one.send("publish", id=2, **refused, payload=1, retain=True)
                assert (await one.get("refused", id=2))["error"] == "NotAllowed"
            await two.send("subscribe", id=7, filter="news/+", retained=True)
            told = await two.get("message", topic="news/kept")
            assert (told["payload"], told["retained"], told["ids"]) == ({"n": 1}, True, [7])
            assert (await two.get("ack", id=7))["ok"]
            await one.send("publish", id=3, topic="news/kept", retain=True)
            cleared = await two.get("message", topic="news/kept")
            assert cleared["payload"] is None and "retained" not in cleared

    play(story())


def test_a_page_hears_nothing_of_another_s_session(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as one, Browser(url) as two:
            await one.hello()
            await two.hello()
            for browser in (one, two):
                await browser.send("subscribe", id=1, filter="~pagesession/#")
                await browser.get("ack", id=1, ok=True)
            await one.send("publish", id=2, topic="~pagesession/mine", payload="secret")
            await one.get("done", id=2)
            await one.send("subscribe", id=3, filter="news/#")
            await one.get("ack", id=3)
            await two.send("publish", id=3, topic="news/after", payload=1)
            await one.get("message", topic="news/after")
            assert "secret" not in str(one.messages) + str(two.messages)

    play(story())


def test_a_wrong_origin_gets_nothing(url: str) -> None:
    async def story() -> None:
        for origin in ("https://evil.example.org", "null", "", SHOP, url.replace("http:", "https:")):
            for path in ("/ws/page", "/ws/agent"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                    async with Line(url, path, origin=origin):
                        pass
                assert caught.value.status == 403
        async with Browser(url, page="https://evil.example.org") as browser:
            hello = {"v": 1, "origin": browser.page, "instance": browser.instance}
            await browser.send("hello", **hello)
            assert await browser.until_closed() == 4003 and browser.messages == []

    play(story())


def test_what_comes_first_must_be_a_hello(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            await browser.send("subscribe", id=1, filter="news/#")
            assert await browser.until_closed() == 4000 and browser.messages == []

    play(story())


def test_health_and_what_is_not_there(url: str) -> None:
    async def story() -> None:
        async with aiohttp.ClientSession() as http:
            for path, status in (
                ("/healthz", 200),
                ("/readyz", 200),
                ("/nothing", 404),
                ("/agent/../../etc/passwd", 404),
            ):
                async with http.get(url + path) as answer:
                    assert answer.status == status, path
                    assert answer.headers["Referrer-Policy"] == "no-referrer"

    play(story())


def test_without_a_frame_node_it_is_not_ready(mesh: list[ProxyProcess]) -> None:
    """Pages could not get a contact code: a balancer sends them elsewhere."""

    async def story() -> None:
        running = Gateway(node, Settings(secret=b"s" * 32), {}, Files(frozenset()))
        url = f"http://127.0.0.1:{await running.start('127.0.0.1', 0)}"
        assert await running.is_ready(20)
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
            assert (answer.status, (await answer.json())["why"]) == (503, "no frame node is there")
        with Node(mesh[1].base) as other, Server(other, FRAME_SERVICE, lambda requests: []):
            await asyncio.to_thread(until, lambda: running.problem() == "", "it is ready")
        await asyncio.to_thread(until, lambda: bool(running.problem()), "the frame node is missed")
        await running.drain()

    with Node(mesh[0].base) as node:
        play(story())


def test_goodbye_ends_the_session_for_good(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "fay") as agent:
            await browser.hello()
            code = (await browser.told("~/site_connect/ready"))["code"]
            await browser.send("bye")
            assert await browser.until_closed() == 1000
            again = browser.comes_back()
            async with again:
                assert (await again.hello())["why"] == "over"
                assert (await again.told("~/site_connect/ready"))["code"] != code
            await agent.send("join", id=1, code=code)
            assert (await agent.get("reply", id=1))["error"] == "UnknownContactCode"

    play(story())


def test_sigterm_sends_everybody_away_and_ends_with_0(world: Site) -> None:
    with world.scene():
        gateway = start_gateway(world)

        async def story() -> None:
            async with Browser(gateway.url) as browser:
                await browser.hello()
                await browser.told("~/site_connect/ready")
                gateway.signal(signal.SIGTERM)
                assert (await browser.get("drain"))["reconnect_s"] >= 1
                assert await browser.until_closed() == 1012

        play(story())
        assert gateway.wait() == 0


def test_a_gateway_in_this_process_with_little_patience(world: Site) -> None:
    async def story() -> None:
        settings = Settings(secret=b"s" * 32, limits=Limits(hello_s=1.0), beat_s=2.0)
        running = Gateway(node, settings, {}, Files(frozenset()))
        url = f"http://127.0.0.1:{await running.start('127.0.0.1', 0)}"
        assert await running.is_ready(20)
        await asyncio.to_thread(until, lambda: running.problem() == "", "it is ready")
        async with Browser(url, page=url) as browser:
            assert (await browser.hello())["heartbeat_s"] == 2.0
            async with Browser(url, page=url) as quiet:
                assert await quiet.until_closed() == 1013 and quiet.messages == []
            await browser.get("beat")
            assert running.figures()["browsers"] == 1
            reading = asyncio.create_task(browser.until_closed())
            await running.drain()
            assert await reading == 1012 and running.problem() == "draining"

    with Node(world.base) as node:
        play(story())

"""Consoles of agents: one window an agent, what a new window is told, a window that does not confirm a stop."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, cast
from unittest.mock import AsyncMock, Mock

import pytest

from fabric.node.node import Node
from nodes.gateway import console as console_module
from nodes.gateway.console import Console
from nodes.gateway.credentials import make
from nodes.gateway.hub import Hub, Settings
from tests.support.gateways import (
    SHOP,
    Browser,
    GatewayProcess,
    Line,
    StandInLine,
    StandInNode,
    agents_file,
    console,
    joined,
    start_gateway,
)
from tests.support.site import Site, site


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(world: Site) -> GatewayProcess:
    return start_gateway(world, "--agents", agents_file(world.folder, "ada", "bob", "cyd", "dan", "fay"))


@pytest.fixture
def url(gateway: GatewayProcess) -> str:
    return gateway.url


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_a_newer_window_takes_over_with_a_fresh_snapshot(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as old:
            session = await joined(browser, old)
            async with await console(url, "ada") as new:
                welcome = await new.get("welcome")
                assert [page["session"] for page in welcome["pages"]] == [session]
                assert welcome["pages"][0]["cobrowse"] == "joined" and "code" not in welcome["pages"][0]
                assert await old.until_closed() == 4001
                await browser.told("~pagesession/cobrowsing/snapshot_request")
                await browser.send("update", epoch=1, event='{"not": "before the snapshot"}')
                await browser.send("update", epoch=1, event='{"all": 2}', snapshot=True)
                assert (await new.get("event", event="update"))["update"] == '{"all": 2}'
                await new.send("snapshot", session=session)
                await browser.told("~pagesession/cobrowsing/snapshot_request")

    play(story())


def test_the_console_hears_of_which_site_a_page_is_whatever_the_page_says(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as agent:
            session = await joined(browser, agent)
            await agent.had("origin", session=session, origin=SHOP)
            async with await console(url, "ada") as again:
                await again.had("origin", session=session, origin=SHOP)

    play(story())


def test_an_update_that_was_lost_before_the_gateway_is_a_gap_for_the_agent(url: str) -> None:
    """What the frame drops has a number, too; so the agent asks for a snapshot instead of going on behind a hole."""

    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as agent:
            await joined(browser, agent)  # with a first update
            await browser.send("update", epoch=1, n=2, event='{"two": 2}')
            await browser.send("update", epoch=1, n=4, event='{"behind": "a hole"}')
            await browser.told("~pagesession/cobrowsing/snapshot_request")
            await browser.send("update", epoch=1, n=5, event='{"all": 5}', snapshot=True)
            seen = [await agent.get("event", event="update") for _ in range(2)]
            assert [(each["n"], each["update"]) for each in seen] == [(2, '{"two": 2}'), (5, '{"all": 5}')]

    play(story())


def test_a_window_that_does_not_confirm_a_stop_is_closed_and_the_stop_goes_on(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser, await console(url, "bob") as agent:
            await joined(browser, agent)
            await browser.send("stop", id=1)
            await agent.get("confirm")
            assert await agent.until_closed() == 4009
            await browser.get("stopped", id=1)

    play(story())


def test_a_stop_with_no_window_open_is_confirmed_at_once(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            async with await console(url, "cyd") as agent:
                await joined(browser, agent)
            await browser.send("stop", id=1)
            await browser.get("stopped", id=1)

    play(story())


def test_what_an_agent_may_not_serve_is_refused(url: str) -> None:
    async def story() -> None:
        async with await console(url, "dan") as agent, Browser(url) as browser:
            await browser.hello(buttons=["help"])
            await agent.get("welcome", buttons=["help"], serving=["help"], available=False)
            await agent.send("available", on=True, buttons=["sales"])
            assert "may serve: help" in (await agent.get("refused", of="available"))["why"]
            await agent.send("available", on=True)
            await browser.told("~/site_connect/chat_button/help/enabled")
            await agent.get("buttons", available={"help": 1})
            await agent.send("available", on=True, buttons=[])
            await browser.told("~/site_connect/chat_button/help/disabled")
            await agent.send("say", id=5, session="x" * 22, text="hi")
            assert "not in chat" in (await agent.get("refused", id=5))["why"]
            await agent.send("join", id=6, code="0")
            assert (await agent.get("reply", id=6))["ok"] is False

    play(story())


def test_what_a_visitor_wrote_while_no_window_was_open_is_not_lost(url: str) -> None:
    async def story() -> None:
        async with Browser(url) as browser:
            async with await console(url, "fay") as agent:
                session = await joined(browser, agent)
                await agent.send("proactive", id=2, session=session)
                await agent.get("reply", id=2, ok=True)
                await browser.send("publish", topic="~pagesession/chat/trigger", payload={"button": "help"})
                await agent.get("event", event="chat_open")
                await browser.send("publish", topic="~pagesession/chat/message", payload={"text": "one"})
                one = await agent.get("event", event="chat_message")
            await browser.send("publish", id=5, topic="~pagesession/chat/message", payload={"text": "two"})
            await browser.get("done", id=5)
            for query, texts in (
                ("", ["two"]),
                (f"?seen={one['seq'] - 1}", ["one", "two"]),
                (f"?seen={one['seq']}", ["two"]),
            ):
                async with Line(url, f"/ws/agent{query}", cookie=agent.cookie) as window:
                    for text in texts:
                        assert (await window.get("event", event="chat_message"))["message"]["text"] == text

    play(story())


def test_an_agent_hears_a_page_only_while_it_is_joined_or_in_chat(url: str) -> None:
    """A proposed chat gives no right to hear anything, nor does another agent's handle; an end is an end."""

    async def story() -> None:
        async with Browser(url) as browser, await console(url, "ada") as ada, await console(url, "bob") as bob:
            session = await joined(browser, bob)
            await bob.send("stop", id=9, session=session)
            code = (await browser.told("~/site_connect/new_code"))["code"]
            await ada.get("welcome", signed_in=True)
            await ada.send("join", id=1, code=code)
            theirs = (await ada.get("reply", id=1, ok=True))["state"]["session"]
            await browser.told("~pagesession/cobrowsing/snapshot_request")
            await bob.send("proactive", id=8, session=theirs)
            assert (await bob.get("reply", id=8))["error"] == "LeaseExpired"
            await bob.send("proactive", id=1, session=session)
            await bob.get("reply", id=1, ok=True)
            await browser.told("~pagesession/proactive/trigger")

            async def says(text: str) -> None:
                await browser.send("publish", topic="~pagesession/form/iban", payload={"iban": text})

            await says("while invited")
            assert (await ada.get("event", event="message"))["payload"] == {"iban": "while invited"}
            await browser.send("publish", topic="~pagesession/chat/trigger", payload={"button": "any"})
            await bob.get("event", event="chat_open")
            watching = asyncio.create_task(bob.get("event", event="message"))
            while not watching.done():  # until its gateway has subscribed
                await says("in chat")
                await asyncio.sleep(0.05)
            await bob.send("stop_chat", id=2, session=session)
            await bob.get("event", event="chat_closed")
            await browser.send("stop", id=1)
            await ada.send("handled", confirm=(await ada.get("confirm"))["confirm"])
            await browser.get("stopped", id=1)
            await says("when all is over")
            for agent in (ada, bob):
                await agent.send("ping", at=1)
                await agent.get("pong")
            assert heard(bob) == {"in chat"}
            assert heard(ada) == {"while invited", "in chat"}

    def heard(agent: Line) -> set[str]:
        told = [each for each in agent.messages if each.get("topic") == "~pagesession/form/iban"]
        return {each["payload"]["iban"] for each in told}

    play(story())


@pytest.fixture(scope="module")
def asking(world: Site) -> GatewayProcess:
    return start_gateway(world, "--agents", agents_file(world.folder, "gus"), "--consent", "ask")


def test_a_visitor_is_asked_first_and_answers(asking: GatewayProcess) -> None:
    """Nothing of the page reaches the agent before, whatever browsers send; a request is allowed in its own epoch."""
    url = asking.url

    async def story() -> None:
        async with Browser(url) as browser, await console(url, "gus") as agent:
            await browser.hello()
            code = (await browser.told("~/site_connect/ready"))["code"]
            await agent.get("welcome", signed_in=True)
            await agent.send("join", id=1, code=code)
            await agent.get("event", event="requested", epoch=1, capability="view")
            state = (await agent.get("reply", id=1, ok=True))["state"]
            assert (state["cobrowse"], state["capability"], state["asked_by"]) == ("asked", "view", "code")
            request = {"epoch": 1, "agent": "gus", "name": "Gus", "capability": "view", "by": "code"}
            assert await browser.told("~pagesession/cobrowsing/asked") == request
            await browser.send("update", epoch=1, event='{"before": "it is allowed"}', snapshot=True)
            await agent.send("snapshot", session=state["session"])
            await agent.send("shown", session=state["session"], epoch=1)
            await browser.send("publish", id=1, topic="~pagesession/cobrowsing/allow", payload={"epoch": "1"})
            assert "`epoch`" in (await browser.get("refused", id=1))["why"]
            await browser.send("publish", id=2, topic="~pagesession/cobrowsing/asked", payload=request)
            await browser.get("refused", id=2)
            await browser.send("publish", id=3, topic="~pagesession/cobrowsing/decline", payload={"epoch": 1})
            await browser.get("done", id=3)
            retained = {"topic": "~pagesession/cobrowsing/asked", "payload": request}
            assert any(retained in each["messages"] for each in browser.messages if each["t"] == "retained")
            await agent.get("event", event="request_declined", epoch=1, reason="declined")
            second = (await browser.told("~/site_connect/new_code"))["code"]
            await agent.send("join", id=2, code=second)
            assert (await browser.told("~pagesession/cobrowsing/asked"))["epoch"] == 2
            await agent.get("event", event="requested", epoch=2)  # the page may hear of it first
            await agent.send("stop", id=3, session=state["session"])
            await agent.get("reply", id=3, ok=True)
            assert (await browser.told("~pagesession/cobrowsing/declined"))["reason"] == "withdrawn"
            third = (await browser.told("~/site_connect/new_code"))["code"]
            await agent.send("join", id=4, code=third)
            assert (await browser.told("~pagesession/cobrowsing/asked"))["epoch"] == 3
            for epoch in (1, 2, 3):
                payload = {"epoch": epoch}
                await browser.send("publish", id=epoch + 3, topic="~pagesession/cobrowsing/allow", payload=payload)
            assert (await browser.told("~pagesession/cobrowsing/start"))["epoch"] == 3
            await agent.get("event", event="joined", epoch=3)
            said = str(browser.messages)
            assert said.count("snapshot_request") <= 1 and "cobrowsing/shown" not in said
            assert "before" not in str(agent.messages) and code not in str(agent.messages[1:])
            await agent.send("ask", id=5, session=state["session"])
            assert "others need the code" in (await agent.get("reply", id=5, ok=False))["why"]
            await agent.send("ask", id=6, session=state["session"], capability="control")
            assert "expected 'view'" in (await agent.get("refused", id=6))["why"]

    play(story())


def test_a_stop_that_comes_while_a_window_is_welcomed_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """That window never hears of it: its welcome comes first, and takes the place of what was passing."""
    agent, confirmed = Mock(), Mock()
    monkeypatch.setattr(console_module, "Agent", agent)

    def pages() -> list[Any]:
        agent.call_args.kwargs["on_confirm"]("s" * 16, confirmed)  # as the node's I/O thread would
        return []

    async def story() -> None:
        settings = Settings(secret=b"s" * 32, confirm_s=0.0)
        credential = make("ada", "Ada", [], "correct horse", bytes(16))
        found = Console(Hub(cast(Node, StandInNode()), settings), credential, AsyncMock(return_value=None))
        agent.return_value.pages, agent.return_value.chats = pages, list
        line = StandInLine(found.window.take)
        found.join(line, None, None)
        confirmed.assert_called_once_with()
        await line.get("welcome")
        agent.return_value.pages = list
        found.tick(1e9)
        assert line.ended == []

    play(story())

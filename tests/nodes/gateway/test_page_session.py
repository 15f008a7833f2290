"""A page's session at a gateway, on a real node and without a socket: what goes out, in which order, what is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from fabric import Node
from fabric.errors import FabricError
from nodes.agent.agent import Agent
from nodes.gateway.browser_messages import PAGE, Hello, PageMessage
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.limits import Limits
from nodes.gateway.page_session import PageSession
from nodes.gateway.policy import Policy
from nodes.rules.backoff import Backoff
from nodes.rules.proofs import engagement_of
from nodes.rules.spoken import by_agent
from tests.support.gateways import StandInLine
from tests.support.site import Site, site

Story = Callable[[Hub], Coroutine[Any, Any, None]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture
def play(world: Site) -> Callable[[Story], None]:
    def run(story: Story) -> None:
        async def with_hub() -> None:
            policy = Policy.of(["news/#"], ["news/+"], [])
            settings = Settings(secret=b"s" * 32, policy=policy, limits=Limits(queue_messages=20), consent="code")
            await story(Hub(node, settings))

        with Node(world.base) as node:
            asyncio.run(with_hub())

    return run


def said(t: str, **fields: Any) -> PageMessage:
    return PAGE[t](t=t, **fields)


def hello(instance: str, seen: int | None = None) -> Hello:
    return Hello(t="hello", v=1, origin="https://a.org", instance=instance * 16, seen=seen, buttons=("help",))


def opened(hub: Hub, *buttons: str) -> PageSession:
    return PageSession(hub, "https://a.org", "10.0.0.1", buttons)


def joined(session: PageSession, hello: Hello, used: int = 0, resumed: bool = False) -> StandInLine:
    line = StandInLine(session.window.take)
    session.join(line, hello, used, resumed, None)
    return line


def test_the_welcome_comes_first_and_numbers_go_up(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub, "help")
        line = joined(session, hello("a"))
        await line.get("site", topic="~/site_connect/ready")
        await line.get("retained")
        assert line.messages[0]["t"] == "welcome" and line.messages[0]["seq"] == 0
        numbers = [each["seq"] for each in line.messages[1:] if "seq" in each]
        assert numbers == list(range(1, len(numbers) + 1))
        session.close(release=True)

    play(story)


def test_what_was_said_while_nobody_was_there_comes_with_the_next_window(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        first = joined(session, hello("a"))
        await first.get("site", topic="~/site_connect/ready")
        session.window.leave(first)
        session.do(said("publish", id=1, topic="~pagesession/show_frame", payload=None))
        second = joined(session, hello("a", seen=0), 1, True)
        await second.get("site", topic="~/site_connect/ready")
        assert second.messages[0]["resumed"] and not second.messages[0]["missed"]
        assert not [each for each in second.messages if each["t"] == "done"], "answers are for the socket that asked"
        joined(session, hello("b"), 2, True)
        assert [code for code, _ in second.ended] == [4001] and session.rotation.generation == 3
        session.close(release=True)

    play(story)


def test_its_own_publishes_do_not_come_back_and_others_do(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        line = joined(session, hello("a"))
        session.do(said("subscribe", id=1, filter="news/#"))
        session.do(said("subscribe", id=2, filter="~pagesession/#"))
        assert (await line.get("ack", id=1))["ok"] and (await line.get("ack", id=2))["ok"]
        session.do(said("publish", id=3, topic="~pagesession/mine", payload=1))
        wire = f"~pagesession/{hub.node.home}/{session.page.session}/theirs"
        said_by_ada = {"from": "an agent"}
        key = engagement_of(session.page.key, session.page.session, "ada")
        headers = by_agent(key, "ada", "~pagesession/theirs", said_by_ada, time.time())
        hub.node.publish(wire, said_by_ada, headers)
        hub.node.publish("news/a", 2)
        await line.get("message", topic="~pagesession/theirs")
        await line.get("message", topic="news/a", ids=[1])
        assert not [each for each in line.messages if each.get("topic") == "~pagesession/mine"]
        session.do(said("unsubscribe", id=1))
        session.do(said("unsubscribe", id=1))
        session.close(release=True)

    play(story)


@pytest.mark.parametrize(
    "message",
    [
        said("subscribe", id=1, filter="#"),
        said("subscribe", id=1, filter="~/x"),
        said("publish", id=1, topic="~/x", payload=1),
        said("publish", id=1, topic="news/a/b", payload=1),
        said("publish", id=1, topic="~pagesession/cobrowsing/start", payload=1),
        said("publish", id=1, topic="news/a", payload="\ud800"),
        said("publish", id=1, topic="news/a", payload=2**64),
        hello("a"),
        said("retry"),
    ],
)
def test_what_it_may_not_is_an_error_and_changes_nothing(play: Callable[[Story], None], message: PageMessage) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        with pytest.raises(FabricError):
            session.do(message)
        session.do(said("subscribe", id=1, filter="news/#"))
        session.close(release=True)

    play(story)


def test_a_filter_of_the_fabric_is_held_at_the_node_and_ends_with_the_session(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        line = joined(session, hello("a"))
        with patch.object(session.page, "subscribe") as at_the_page:
            session.do(said("subscribe", id=1, filter="news/#"))
            session.do(said("subscribe", id=2, filter="news/a"))
        at_the_page.assert_not_called()
        for ident in (1, 2):
            await line.get("ack", id=ident, ok=True)
        hub.node.publish("news/a", "one")
        for ident in (1, 2):
            await line.get("message", topic="news/a", ids=[ident], payload="one")
        session.do(said("unsubscribe", id=2))
        hub.node.publish("news/a", "two")
        await line.get("message", ids=[1], payload="two")
        session.close(release=True)
        hub.node.publish("news/a", "three")
        done = asyncio.Event()
        hub.node.subscribe(
            "news/last", lambda message: hub.call(done.set), lambda ack: hub.node.publish("news/last", 0)
        )
        await asyncio.wait_for(done.wait(), 20)
        told = [(each.get("ids"), each["payload"]) for each in line.messages if each["t"] == "message"]
        assert ([2], "two") not in told and "three" not in str(told)

    play(story)


def test_an_update_without_a_session_or_of_another_epoch_is_counted_and_dropped(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        session.do(said("update", epoch=1, event="x", snapshot=False))
        assert hub.counts["updates_of_no_session"] == 1
        session.close(release=True)

    play(story)


def test_a_browser_that_hears_nothing_gets_a_beat(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        session = opened(hub)
        line = joined(session, hello("a"))
        await line.get("retained")
        session.tick(0.0, False)
        line.quiet_s = hub.settings.beat_s
        session.tick(0.0, False)
        await line.get("beat")
        assert len([each for each in line.messages if each["t"] == "beat"]) == 1
        session.close(release=True)

    play(story)


def test_while_it_is_viewed_the_agent_hears_how_current_its_picture_is(play: Callable[[Story], None]) -> None:
    async def story(hub: Hub) -> None:
        pulses: list[Any] = []
        session = opened(hub)
        line = joined(session, hello("a"))
        code = (await line.get("site", topic="~/site_connect/ready"))["payload"]["code"]
        session.tick(time.monotonic(), False)
        with Agent(hub.node, "ada", "Ada", on_event=pulses.append) as agent:
            await asyncio.to_thread(agent.wait_ready, 10)
            await asyncio.wrap_future(agent.join(code))
            await line.get("message", topic="~pagesession/cobrowsing/snapshot_request")
            session.do(said("update", epoch=1, n=4, event="x", snapshot=True))
            session.do(said("beat", n=6))
            now = time.monotonic()
            session.tick(now + 2, False)
            await line.get("beat")
            session.window.leave(line)
            session.tick(now + 4, False)
            found = [each for each in pulses if each["event"] == "pulse"]
            while len(found) < 2:
                await asyncio.sleep(0.01)
                found = [each for each in pulses if each["event"] == "pulse"]
        assert [(each["epoch"], each["n"], each["open"]) for each in found] == [(1, 6, True), (1, 6, False)]
        assert [round(each["silent_s"]) for each in found] == [2, 4]
        session.close(release=True)

    play(story)


def test_a_page_that_gave_up_asks_again_once_there_is_a_frame_node(tmp_path: Path) -> None:
    """With and without another document: nobody has to press anything."""

    async def story(hub: Hub, world: Site) -> None:
        session = opened(hub)
        first = joined(session, hello("a"))
        await first.get("site", topic="~/site_connect/error")
        session.tick(0.0, False)
        assert session.page.has_failed, "there is no frame node to ask"
        line = joined(session, hello("b"), 1, True)
        await asyncio.to_thread(world.start_frame)
        session.tick(time.monotonic(), True)
        await line.get("site", topic="~/site_connect/ready")
        session.close(release=True)

    async def with_hub(node: Node, world: Site) -> None:
        await story(Hub(node, Settings(secret=b"s" * 32, backoff=Backoff(base_s=0.01, attempts=1))), world)

    with site(tmp_path, "none") as world, Node(world.base) as node:
        asyncio.run(with_hub(node, world))

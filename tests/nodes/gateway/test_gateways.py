"""What gateways tell each other over the fabric: each word reaches its handler, and a forger nobody's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.errors import RequestTimeout
from nodes.gateway.gateways import ALIVE_S, Gateways
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.news import sealed
from nodes.rules.topics import GATEWAYS
from tests.support.keys import KeyFolder
from tests.support.site import Site, site
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


def test_those_with_one_secret_hear_each_other_and_no_forger(world: Site) -> None:
    """Any node could close every console by a message that says whose window was opened elsewhere."""

    async def story(here: Node, there: Node, forger: Node) -> None:
        hub = Hub(here, Settings(secret=b"s" * 32))
        one, two = Gateways(hub), Gateways(Hub(there, Settings(secret=b"s" * 32)))
        heard: list[Any] = []
        last = asyncio.Event()
        one.on("window", heard.append)
        one.on("last", lambda _: last.set())
        assert await asyncio.to_thread(one.wait_ready, PATIENCE_S)
        other = sealed(b"t" * 32, {"window": "bob"}, "elsewhere", time.time(), "n")
        for payload in ({"window": "bob", "home": "elsewhere"}, other, None, {"news": "[]", "seal": ""}):
            forger.publish_system(GATEWAYS, payload)
        one.tell("window", "its own")
        two.tell("window", "ada")
        two.tell("of another version", 1)
        deadline = time.monotonic() + PATIENCE_S
        while hub.counts["unsealed_news"] < 4 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        two.tell("last", None)
        await asyncio.wait_for(last.wait(), PATIENCE_S)
        assert heard == ["ada"] and hub.counts["unsealed_news"] == 4
        assert one.is_alive(there.home) and not one.is_alive("elsewhere"), "nobody lives by a forger's word"

    with Node(world.base) as here, Node(world.base) as there, Node(world.base) as forger:
        asyncio.run(story(here, there, forger))


def test_they_ask_each_other_and_one_that_ends_is_not_waited_for(world: Site) -> None:
    with Node(world.base) as here, Node(world.base) as there:
        asyncio.run(questions(here, there))


def test_with_keys_the_rights_of_gateways_are_enough(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", {"p1": "proxy", "g1": "gateway", "g2": "gateway"})
    with folder.proxy("p1") as proxy, folder.node(proxy, "g1") as here, folder.node(proxy, "g2") as there:
        asyncio.run(questions(here, there))


async def questions(here: Node, there: Node) -> None:
    settings = Settings(secret=b"s" * 32)
    hub = Hub(here, settings)
    one, two = Gateways(hub), Gateways(Hub(there, settings))

    async def double(body: dict[str, Any]) -> dict[str, Any]:
        return {"found": 2 * body["number"]}

    two.answer("double", double)
    for each in (one, two):
        assert await asyncio.to_thread(each.wait_ready, PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        while not (one.is_alive(there.home) and two.is_alive(here.home)):
            one.tick(time.monotonic())
            two.tick(time.monotonic())
            await asyncio.sleep(0.05)
    answers = await asyncio.gather(*(one.ask(there.home, "double", {"number": n}, PATIENCE_S) for n in range(20)))
    assert answers == [{"found": 2 * n} for n in range(20)]
    for home, what, body in (
        (there.home, "other", {}),
        (there.home, "double", {}),
        ("elsewhere", "double", {"number": 1}),
    ):
        with pytest.raises(RequestTimeout):
            await one.ask(home, what, body, 0.3)
    two.end()
    async with asyncio.timeout(PATIENCE_S):
        while one.is_alive(there.home):
            await asyncio.sleep(0.01)
    one.tick(time.monotonic() + ALIVE_S)

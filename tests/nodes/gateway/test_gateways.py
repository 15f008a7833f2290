"""What gateways tell each other over the fabric: each word reaches its handler, and a forger nobody's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from nodes.gateway.gateways import Gateways
from nodes.gateway.hub import Hub, Settings
from nodes.gateway.news import sealed
from nodes.rules.topics import GATEWAYS
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
        acked = asyncio.Event()
        probe = here.subscribe("probe", lambda message: None, lambda ack: hub.call(acked.set))
        await asyncio.wait_for(acked.wait(), PATIENCE_S)
        here.unsubscribe(probe)
        other = sealed(b"t" * 32, {"window": "bob"}, "elsewhere", time.time(), "n")
        for payload in ({"window": "bob", "home": "elsewhere"}, other, None, {"news": "[]", "seal": ""}):
            forger.publish(GATEWAYS, payload)
        one.tell("window", "its own")
        two.tell("window", "ada")
        two.tell("of another version", 1)
        deadline = time.monotonic() + PATIENCE_S
        while hub.counts["unsealed_news"] < 4 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        two.tell("last", None)
        await asyncio.wait_for(last.wait(), PATIENCE_S)
        assert heard == ["ada"] and hub.counts["unsealed_news"] == 4

    with Node(world.base) as here, Node(world.base) as there, Node(world.base) as forger:
        asyncio.run(story(here, there, forger))

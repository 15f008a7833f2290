"""The agents of several gateways: one window each, one end for a cookie, and a co-browse that outlives a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest

from nodes.gateway import console_registry
from nodes.gateway.console_registry import Consoles
from nodes.gateway.credentials import make
from tests.support.gateways import (
    Browser,
    GatewayProcess,
    Line,
    agents_file,
    console,
    joined,
    secret_file,
    sign_in,
    start_gateway,
)
from tests.support.site import Site, site
from tests.support.waiting import PATIENCE_S


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("site")) as found:
        yield found


def start(world: Site) -> GatewayProcess:
    agents = agents_file(world.folder, "ada", "bob")
    return start_gateway(world, "--agents", agents, "--secret-file", secret_file(world.folder))


def test_a_co_browse_outlives_its_gateway(world: Site) -> None:
    with world.scene():
        first = start(world)

        async def story() -> None:
            browser, agent = Browser(first.url), await console(first.url, "bob")
            async with browser, agent:
                session = await joined(browser, agent)
                first.signal(15)
                closed = await asyncio.gather(agent.until_closed(), browser.until_closed())  # as browsers, both read
                assert set(closed) == {1012}
            await asyncio.to_thread(first.wait)
            second = first.again()
            world.started.append(second)
            await asyncio.to_thread(second.wait_ready)
            again, window = browser.comes_back(second.url), Line(second.url, "/ws/agent", cookie=agent.cookie)
            async with again, window:
                assert (await again.hello(seen=0))["resumed"]
                await again.told("~pagesession/cobrowsing/start")
                (page,) = (await window.get("welcome", signed_in=True))["pages"]
                assert (page["session"], page["cobrowse"]) == (session, "joined")
                await again.told("~pagesession/cobrowsing/snapshot_request")
                await again.send("update", epoch=1, event='{"after": 1}', snapshot=True)
                assert (await window.get("event", event="update"))["update"] == '{"after": 1}'

        asyncio.run(story())


def test_one_window_an_agent_also_with_several_gateways_and_one_end(world: Site) -> None:
    with world.scene():
        one, other = start(world), start(world)
        url = one.url

        async def story() -> None:
            async with Browser(url) as browser, await console(url, "ada") as here:
                session = await joined(browser, here)
                async with Line(other.url, "/ws/agent", cookie=here.cookie) as there:
                    (page,) = (await there.get("welcome"))["pages"]
                    assert (page["session"], page["cobrowse"]) == (session, "joined")
                    assert await here.until_closed() == 4001
                    await browser.told("~pagesession/cobrowsing/snapshot_request")
                    await browser.send("update", epoch=1, event='{"all": 2}', snapshot=True)
                    await there.get("event", event="update")
                    async with aiohttp.ClientSession(headers={"Origin": url, "Cookie": here.cookie}) as http:
                        async with http.post(f"{url}/agent/sign_out") as answer:
                            assert answer.status == 200
                        assert await there.until_closed() == 4001
                        async with http.get(f"{other.url}/agent/me") as answer:
                            assert answer.status == 401
                await browser.told("~pagesession/cobrowsing/stop")

        asyncio.run(story())


def test_a_window_whose_agent_signs_out_while_it_waits_is_closed_not_welcomed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def console_of(hub: object, credential: object, origin: object) -> Any:
        made.append(Mock(signed_in=asyncio.Event(), window=Mock(line=None)))
        return made[-1]

    async def story() -> None:
        consoles, line = Consoles(Mock(on_connection=[]), Mock(), Mock()), Mock()
        opening = asyncio.create_task(consoles.open(make("ada", "Ada", [], "correct horse", bytes(16)), line, None))
        await asyncio.sleep(0)
        consoles.sign_out("ada")
        made[0].signed_in.set()
        await opening
        assert line.end.call_args.args[0] == 4001
        made[0].join.assert_not_called()

    monkeypatch.setattr(console_registry, "Console", console_of)
    asyncio.run(story())


async def me(url: str, cookie: str) -> int:
    async with aiohttp.ClientSession(headers={"Cookie": cookie}) as http, http.get(f"{url}/agent/me") as answer:
        return answer.status


def test_who_has_signed_out_stays_out_over_restarts_and_where_nobody_heard_of_it(world: Site) -> None:
    with world.scene():
        agents = ("--agents", agents_file(world.folder, "ada", "bob"))
        secret = ("--secret-file", secret_file(world.folder))
        here = start_gateway(world, *agents, *secret, "--ended", str(world.folder / "here.ended"))
        there = start_gateway(world, *agents, *secret, "--ended", str(world.folder / "there.ended"))

        async def story(here: GatewayProcess, there: GatewayProcess) -> None:
            _, _, cookie = await sign_in(here.url, "ada")
            _, _, stays = await sign_in(here.url, "bob")
            assert await me(there.url, cookie) == 200
            there.kill()
            asking = aiohttp.ClientSession(headers={"Origin": here.url, "Cookie": cookie})
            async with asking as http, http.post(f"{here.url}/agent/sign_out") as answer:
                assert answer.status == 200
            here.kill()
            here = here.again().wait_ready()
            world.started.append(here)
            assert await me(here.url, cookie) == 401
            there = there.again().wait_ready()
            world.started.append(there)
            async with asyncio.timeout(PATIENCE_S):
                while await me(there.url, cookie) != 401:
                    await asyncio.sleep(0.05)
            assert await me(here.url, stays) == await me(there.url, stays) == 200

        asyncio.run(story(here, there))

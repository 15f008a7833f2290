"""Client: futures, asyncio, deadlines, wrong use, closing, and hostile replies."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from fabric import AsyncNode, Node
from fabric.errors import Busy, LocalWireError, NotAllowed, RequestTimeout, StateError
from fabric.services import Client, Request, Server, each
from tests.fabric.services.test_server import junk
from tests.support.keys import KeyFolder
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, Box, mesh, until


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with mesh(tmp_path_factory.mktemp("proxy"), 1) as proxies:
        yield proxies[0]


@pytest.fixture
def node(proxy: ProxyProcess) -> Iterator[Node]:
    with Node(proxy.base, name="client") as node:
        yield node


@pytest.fixture
def server(proxy: ProxyProcess) -> Iterator[Server]:
    """`echo`: answers with the body; op `never` waits for the test's end."""
    end = threading.Event()

    def handle(request: Request) -> Any:
        return end.wait(PATIENCE_S) if request.op == "never" else request.body

    with Node(proxy.base, name="server") as node, Server(node, "echo", each(handle), workers=2, max_batch=1) as server:
        yield server
        end.set()


def test_bodies_there_and_back(node: Node, server: Server) -> None:
    with Client(node) as client:
        for body in (None, True, -5, 1.5, "ä", b"\0\xff", [1, [2]], {"a": {"b": None}}):
            assert client.request("echo", "x", body) == body
        (instance,) = client.instances("echo")
        assert (instance.id, instance.state, instance.inbox) == (server.instance, "serving", server.inbox)
        assert client.stats()["replies"] == client.stats()["requests"] == 8


def test_nobody_there_in_time(node: Node) -> None:
    with Client(node) as client:
        began = time.monotonic()
        with pytest.raises(RequestTimeout, match="no instance of service 'nothing' was there"):
            client.request("nothing", "x", deadline_s=0.3)
        assert 0.3 <= time.monotonic() - began < 2.0
        assert client.stats()["timeouts"] == 1 and client.stats()["open"] == 0


def test_a_service_that_comes_later_is_found(node: Node, proxy: ProxyProcess) -> None:
    with Client(node) as client:
        future = client.submit("later", "x", 5, deadline_s=PATIENCE_S)
        with Node(proxy.base) as other, Server(other, "later", each(lambda request: request.body)):
            assert future.result(PATIENCE_S) == 5


def test_the_deadline_holds_though_the_server_never_answers(node: Node, server: Server) -> None:
    with Client(node) as client:
        with pytest.raises(RequestTimeout, match="may have been done"):
            client.request("echo", "never", deadline_s=1.2)
        assert client.stats()["retries"] >= 1, "asked again under the same key"
    assert server.stats()["handled"] == 0 and server.stats()["in_flight"] == 1


def test_the_deadline_holds_though_the_io_thread_stands_still(node: Node, server: Server) -> None:
    over = threading.Event()
    node.subscribe("~/stall", lambda message: over.wait(PATIENCE_S))
    with Client(node) as client:
        assert client.request("echo", "x", 1) == 1
        node.publish("~/stall", None)
        began = time.monotonic()
        with pytest.raises(RequestTimeout):
            client.request("echo", "x", 2, deadline_s=0.2)
        assert time.monotonic() - began < 5.0
        over.set()
        assert client.request("echo", "x", 3) == 3


def test_a_cancelled_future_is_forgotten(node: Node, server: Server) -> None:
    with Client(node) as client:
        future = client.submit("echo", "never")
        assert future.cancel() and client.stats()["open"] == 0
        with pytest.raises(CancelledError):
            future.result(0)
        assert client.request("echo", "x", 1) == 1


def test_a_callback_of_a_future_that_exits_harms_no_other(
    node: Node, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    def leave(future: object) -> None:
        raise SystemExit(0)

    client = Client(node)
    bad, good = client.submit("echo", "never"), client.submit("echo", "never")
    bad.add_done_callback(leave)
    client.close()
    with pytest.raises(StateError):
        good.result(PATIENCE_S)
    assert "a callback of a request raised" in caplog.text


def test_a_callback_of_a_future_may_ask_on(node: Node, server: Server) -> None:
    """It runs in the I/O thread, where nothing may wait: `submit` does not, `request` says so."""
    results = Box()
    with Client(node) as client:

        def then(future: Any) -> None:
            results(future.result())
            if future.result() < 3:
                client.submit("echo", "x", future.result() + 1).add_done_callback(then)
            else:
                try:
                    client.request("echo", "x")
                except StateError as error:
                    results(type(error))

        client.submit("echo", "x", 1).add_done_callback(then)
        assert results.wait(4) == [1, 2, 3, StateError]


def test_for_asyncio(proxy: ProxyProcess, server: Server) -> None:
    async def main() -> None:
        async with AsyncNode(proxy.base) as node:
            with Client(node.node) as client:
                bodies = await asyncio.gather(*(client.request_async("echo", "x", number) for number in range(200)))
                assert bodies == list(range(200))
                task = asyncio.create_task(client.request_async("echo", "never"))
                await asyncio.sleep(0.01)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert client.stats()["open"] == 0
                with pytest.raises(RequestTimeout):
                    await client.request_async("nothing", "x", deadline_s=0.1)

    asyncio.run(main())


def test_wrong_use(node: Node, server: Server) -> None:
    with Client(node) as client:
        wrong: list[tuple[Any, Any]] = [("a/b", "x"), ("", "x"), ("echo", ""), ("echo", "x" * 101), ("echo", None)]
        for service, operation in wrong:
            with pytest.raises(ValueError, match=r"^invalid (service|op) .*: expected "):
                client.submit(service, operation)
        for deadline_s in (0, -1, float("nan"), float("inf"), 1e6):
            with pytest.raises(ValueError, match="deadline_s"):
                client.submit("echo", "x", deadline_s=deadline_s)
        for key in ("", "k" * 201, 5):
            with pytest.raises(ValueError, match="key"):
                client.submit("echo", "x", key=key)  # type: ignore[arg-type]
        assert client.stats()["requests"] == 0
        for body in ({1, 2}, 2**70, "x" * 9_000_000, {"d": {"e": object()}}):
            with pytest.raises(LocalWireError):
                client.request("echo", "x", body)
        assert client.stats()["open"] == 0
    with pytest.raises(ValueError, match="at least 1"):
        Client(node, attempts=0)


def test_too_many_open_requests(node: Node, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fabric.services.client.MAX_OPEN_CALLS", 2)
    with Client(node) as client:
        futures = [client.submit("echo", "never") for _ in range(2)]
        with pytest.raises(Busy, match="2 requests are open"):
            client.request("echo", "x")
        futures[0].cancel()
        assert client.request("echo", "x", 1) == 1


def test_close_fails_what_is_open(node: Node, server: Server) -> None:
    client = Client(node)
    future = client.submit("echo", "never")
    client.close()
    client.close()
    with pytest.raises(StateError, match="closed before"):
        future.result(0)
    with pytest.raises(StateError):
        client.request("echo", "x")
    assert not node._engine._attached


def test_it_ends_with_its_node(proxy: ProxyProcess, server: Server) -> None:
    with Node(proxy.base) as node:
        client = Client(node)
        future = client.submit("echo", "never")
    with pytest.raises(StateError):
        future.result(0)


def test_several_clients_on_one_node(node: Node, server: Server) -> None:
    with Client(node) as one, Client(node) as two:
        futures = [client.submit("echo", "x", number) for number in range(50) for client in (one, two)]
        assert [future.result(PATIENCE_S) for future in futures] == [number for number in range(50) for _ in range(2)]
        assert one.stats()["late"] == two.stats()["late"] == 0


def test_hostile_replies(node: Node, server: Server, proxy: ProxyProcess) -> None:
    """Junk in the inbox, with ids of open calls too, ends none of them and raises nothing in the I/O thread."""
    chance = random.Random(6)
    with Client(node) as client, Node(proxy.base) as hostile:
        future = client.submit("echo", "never", deadline_s=PATIENCE_S)
        until(lambda: server.stats()["requests"], "the request is there")
        sent = 500
        for _ in range(sent):
            payload = junk(chance)
            if isinstance(payload, dict) and isinstance(payload.get("from"), str):
                payload.pop("ok", None)  # whoever knows the inbox could forge an answer; peers are not authenticated
            hostile.publish_system(client._inbox, payload, {"id": chance.choice([1, 2, -1, None, "1", 1.0, True])})
        until(lambda: client.stats()["malformed"] == sent, "all are counted")
        assert not future.done() and client.request("echo", "x", 1) == 1
        assert node.stats()["failed_callbacks"] == 0
        future.cancel()


def test_who_may_not_ask_hears_it_at_once(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path, {"p1": "proxy", "shop": "shop"}, {"shop": {"request": ["stock-*"]}})
    with folder.proxy("p1") as proxy:
        assert proxy.wait_ready(PATIENCE_S)
        with folder.node(proxy, "shop") as shop, Client(shop) as client:
            with pytest.raises(NotAllowed, match="shop may not request 'till'"):
                client.request("till", "count", deadline_s=PATIENCE_S)
            with pytest.raises(RequestTimeout):
                client.request("stock-1", "count", deadline_s=0.2)
            assert client.stats()["open"] == 0

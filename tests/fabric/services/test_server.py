"""Server: batches, keys, limits, deadlines, errors, closing, and a hostile inbox."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, RequestTimeout, ServiceError, StateError
from fabric.services import Client, Request, Server, each
from tests.support.keys import KeyFolder
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, Box, mesh, until


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyProcess]:
    with mesh(tmp_path_factory.mktemp("proxy"), 1) as proxies:
        yield proxies[0]


@pytest.fixture
def node(proxy: ProxyProcess) -> Iterator[Node]:
    with Node(proxy.base, name="server") as node:
        yield node


@pytest.fixture
def client(proxy: ProxyProcess) -> Iterator[Client]:
    with Node(proxy.base, name="client") as node, Client(node) as client:
        yield client


class Gate:
    """A handler of batches that waits until it is opened; `batches` are what it was given."""

    def __init__(self) -> None:
        self.batches = Box()
        self._open = threading.Event()

    def __call__(self, requests: list[Request]) -> list[Any]:
        self.batches([request.body for request in requests])
        self._open.wait(PATIENCE_S)
        return [request.body for request in requests]

    def open(self) -> None:
        self._open.set()


def test_what_waits_together_is_handled_together(node: Node, client: Client) -> None:
    gate = Gate()
    with Server(node, "batch", gate, max_batch=4) as server:
        first = client.submit("batch", "x", 0)
        gate.batches.wait(1)
        others = [client.submit("batch", "x", number) for number in range(1, 11)]
        until(lambda: server.stats()["in_flight"] == 11, "all wait")
        gate.open()
        assert [future.result(PATIENCE_S) for future in (first, *others)] == list(range(11))
        sizes = [len(batch) for batch in gate.batches.items]
        assert sizes == [1, 4, 4, 2]
        assert [body for batch in gate.batches.items for body in batch] == list(range(11)), "in the order they came"
        until(lambda: server.stats()["replies"] == 11, "the last answer is counted, behind which it was heard")
        stats = server.stats()
        assert (stats["handled"], stats["batches"], stats["in_flight"]) == (11, 4, 0)
        assert stats["waited_s"] > 0


@pytest.mark.parametrize("error", [SystemExit(0), asyncio.CancelledError(), GeneratorExit(), KeyboardInterrupt()])
@pytest.mark.parametrize("batches", [False, True])
def test_a_handler_that_exits_ends_no_worker(node: Node, client: Client, error: BaseException, batches: bool) -> None:
    def handle(request: Request) -> Any:
        if request.op == "exit":
            raise error
        return request.body

    handler = (lambda requests: [handle(request) for request in requests]) if batches else each(handle)
    with Server(node, "exits", handler):
        for number in range(3):
            with pytest.raises(ServiceError, match=f"failed with {type(error).__name__}"):
                client.request("exits", "exit", number)
            assert client.request("exits", "x", number) == number


def test_several_workers_handle_at_once(node: Node, client: Client) -> None:
    meeting = threading.Barrier(3)
    with Server(node, "meet", each(lambda request: meeting.wait(PATIENCE_S)), workers=3, max_batch=1):
        futures = [client.submit("meet", "x") for _ in range(3)]
        assert sorted(future.result(PATIENCE_S) for future in futures) == [0, 1, 2]


def test_one_key_is_done_once(node: Node, client: Client) -> None:
    done = Box()

    def handle(request: Request) -> int:
        done(request.key)
        return len(done)

    with Server(node, "once", each(handle)) as server:
        assert [client.request("once", "x", "same", key="k1") for _ in range(5)] == [1] * 5
        assert client.request("once", "x", "same", key="k2") == 2
        assert done.items == ["k1", "k2"] and server.stats()["duplicates"] == 4
        with pytest.raises(NotAllowed, match="another request"):
            client.request("once", "x", "other", key="k1")
        with pytest.raises(NotAllowed):
            client.request("once", "y", "same", key="k1")
        assert len(done) == 2


def test_one_key_twice_at_once_is_done_once(node: Node, client: Client) -> None:
    gate = Gate()
    with Server(node, "twice", gate) as server:
        futures = [client.submit("twice", "x", 7, key="k") for _ in range(5)]
        until(lambda: server.stats()["duplicates"] == 4, "all five are there")
        gate.open()
        assert [future.result(PATIENCE_S) for future in futures] == [7] * 5
        assert gate.batches.items == [[7]]


def test_a_refusal_is_remembered_but_not_a_busy_one(node: Node, client: Client) -> None:
    calls = Box()

    def handle(request: Request) -> Any:
        calls(request.op)
        raise Busy("full", 0.5) if request.op == "busy" else NotAllowed("no")

    with Server(node, "refuses", each(handle)):
        for _ in range(2):
            with pytest.raises(NotAllowed):
                client.request("refuses", "not", key="k1")
            with pytest.raises(Busy) as caught:
                client.request("refuses", "busy", key="k2")
            assert caught.value.retry_after_s == 0.5
    assert sorted(calls.items) == ["busy", "busy", "not"]


def test_too_many_in_flight_is_busy(node: Node, client: Client) -> None:
    gate = Gate()
    with Server(node, "full", gate, max_in_flight=3, max_batch=1) as server:
        futures = [client.submit("full", "x", number) for number in range(3)]
        until(lambda: server.stats()["in_flight"] == 3, "it is full")
        with pytest.raises(Busy) as caught:
            client.request("full", "x", 3)
        assert 0 < caught.value.retry_after_s <= 5
        gate.open()
        assert [future.result(PATIENCE_S) for future in futures] == [0, 1, 2]
        assert client.request("full", "x", 4) == 4
        assert server.stats()["busy"] == 1


def test_what_waited_too_long_is_not_done(node: Node, client: Client) -> None:
    gate = Gate()
    with Server(node, "late", gate, max_batch=1) as server:
        first = client.submit("late", "x", "first")
        gate.batches.wait(1)
        with pytest.raises(RequestTimeout):
            client.request("late", "x", "second", deadline_s=0.3)
        until(lambda: server.stats()["in_flight"] == 2, "it waits")
        time.sleep(0.4)  # its time passes, by the server's clock too: that is what is tested
        gate.open()
        assert first.result(PATIENCE_S) == "first"
        until(lambda: server.stats()["expired"], "the other is thrown away")
        assert gate.batches.items == [["first"]]


@pytest.mark.plain_sockets
def test_a_deadline_that_has_passed_is_refused(node: Node, client: Client, proxy: ProxyProcess) -> None:
    done, answers = Box(), Box()
    with Server(node, "stale", each(done)) as server, Node(proxy.base) as other:
        server.wait_ready()
        inbox = "$inbox/tester/replies"
        assert other.wait_ack(other.subscribe(inbox, answers), PATIENCE_S).ok
        headers = {"reply_to": inbox, "id": 5, "deadline_ns": time.time_ns() - 10**9}
        other.publish_system(server.inbox, {"op": "x", "key": "k", "body": None}, headers)
        (answer,) = answers.wait(1)
        assert answer.headers["id"] == 5 and answer.payload["error"]["kind"] == "RequestTimeout"
        assert not done.items and server.stats()["expired"] == 1


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (NotAllowed("not yours"), NotAllowed, "not yours"),
        (StateError("chat", "idle", "accept", "nothing waits"), StateError, "nothing waits"),
        (RuntimeError("a secret path"), ServiceError, "failed with RuntimeError"),
        ({1, 2}, ServiceError, "failed with LocalWireError"),
        (2**70, ServiceError, "failed with LocalWireError"),
        ("x" * 9_000_000, ServiceError, "failed with LocalWireError"),
    ],
    ids=["of the service", "of a machine", "a bug", "no payload", "an int too large", "too many bytes"],
)
def test_errors_of_a_handler(node: Node, client: Client, error: Any, kind: type, words: str) -> None:
    def handle(request: Request) -> Any:
        if isinstance(error, Exception):
            raise error
        return error

    with Server(node, "errs", each(handle)) as server:
        with pytest.raises(kind, match=words) as caught:
            client.request("errs", "x")
        assert type(caught.value) is kind and "secret" not in str(caught.value)
        assert server.stats()["failed"] == (kind is ServiceError)


def test_one_that_fails_harms_no_other_of_its_batch(node: Node, client: Client) -> None:
    def handle(request: Request) -> int:
        return 10 // int(request.body)

    with Server(node, "div", each(handle)):
        futures = [client.submit("div", "x", number) for number in (5, 0, 2)]
        assert futures[0].result(PATIENCE_S) == 2 and futures[2].result(PATIENCE_S) == 5
        with pytest.raises(ServiceError, match="ZeroDivisionError"):
            futures[1].result(PATIENCE_S)


@pytest.mark.parametrize("replies", [[], [1, 2], None, 5], ids=repr)
def test_a_handler_that_returns_too_few(node: Node, client: Client, replies: Any) -> None:
    with Server(node, "few", lambda requests: replies) as server:
        for _ in range(2):
            with pytest.raises(ServiceError, match="TypeError"):
                client.request("few", "x", key="k")
        assert server.stats()["in_flight"] == 0 and server.stats()["kept"] == 0, "a failure is not kept"


def test_a_handler_may_publish_and_ask(node: Node, client: Client) -> None:
    seen = Box()
    assert node.wait_ack(node.subscribe("told/#", seen), PATIENCE_S).ok
    with Server(node, "inner", each(lambda request: request.body * 2)), Client(node) as inner:

        def handle(request: Request) -> Any:
            node.publish("told/x", request.body)
            return inner.request("inner", "double", request.body)

        with Server(node, "outer", each(handle)):
            assert client.request("outer", "x", 21) == 42
            assert seen.wait(1)[0].payload == 21


def test_close_finishes_what_is_in_flight_and_takes_no_more(node: Node, client: Client) -> None:
    gate = Gate()
    server = Server(node, "ends", gate)
    future = client.submit("ends", "x", 1)
    gate.batches.wait(1)
    closing = threading.Thread(target=server.close)
    closing.start()
    until(lambda: [each.state for each in client.instances("ends")] == ["draining"], "it says that it drains")
    late = client.submit("ends", "x", 2, deadline_s=0.5)
    gate.open()
    assert future.result(PATIENCE_S) == 1
    closing.join(PATIENCE_S)
    assert not closing.is_alive()
    until(lambda: client.instances("ends") == [], "its last word came", 3.0)
    with pytest.raises(RequestTimeout, match="no instance"):
        late.result(PATIENCE_S)
    server.close()
    assert gate.batches.items == [[1]]


def test_close_in_the_handler_is_an_error(node: Node, client: Client) -> None:
    def handle(request: Request) -> None:
        server.close()

    with Server(node, "self", each(handle)) as server, pytest.raises(StateError):
        client.request("self", "x")


def test_a_handler_that_never_returns_is_left_behind(node: Node, client: Client) -> None:
    gate = Gate()
    server = Server(node, "stuck", gate)
    future = client.submit("stuck", "x", deadline_s=1.0)
    gate.batches.wait(1)
    began = time.monotonic()
    server.close(0.2)
    assert time.monotonic() - began < 2.0
    with pytest.raises(RequestTimeout):
        future.result(PATIENCE_S)
    gate.open()  # the thread ends: `nothing_left_behind` looks


def test_it_ends_with_its_node(proxy: ProxyProcess, client: Client) -> None:
    with Node(proxy.base) as node:
        Server(node, "mortal", each(lambda request: 1))
        assert client.request("mortal", "x") == 1
    until(lambda: client.instances("mortal") == [], "its last word came", 3.0)


def test_bad_arguments(node: Node) -> None:
    wrong: list[dict[str, Any]] = [{"workers": 0}, {"max_batch": 0}, {"max_in_flight": 0}]
    for options in wrong:
        with pytest.raises(ValueError, match="at least 1"):
            Server(node, "x", each(print), **options)
    with pytest.raises(ValueError, match="invalid service"):
        Server(node, "a/b", each(print))
    assert not node._engine._attached


def junk(chance: random.Random) -> Any:
    """A payload at random, often nearly right."""
    simple: list[Any] = [None, True, -1, 2**64 - 1, 1.5, "x", "k" * 300, b"\xff" * 50, [], {}, [[[]]], {"op": {}}]
    if chance.random() < 0.5:
        return chance.choice(simple)
    return {
        field: chance.choice(simple) for field in ("op", "key", "body", "from", "ok", "error") if chance.random() < 0.6
    }


@pytest.mark.plain_sockets
def test_a_hostile_inbox(node: Node, client: Client, proxy: ProxyProcess) -> None:
    """Whatever comes, nothing is raised in the I/O thread, it is counted, and the service goes on."""
    chance = random.Random(5)
    reply_tos = ["$inbox/tester/replies", "truck/1", "$fabric/proxy/p1", "", 5, None, "$inbox/+/x", "~/x", "a\0b"]
    ids, deadlines = [0, 1, -1, None, "x", 2**64 - 1], [None, 0, -5, 2**63, "x", time.time_ns() + 10**10]
    heard = Box()
    with Server(node, "target", each(lambda request: request.body)) as server, Node(proxy.base) as hostile:
        server.wait_ready()
        for topic in ("truck/#", "$inbox/tester/#"):
            assert hostile.wait_ack(hostile.subscribe(topic, heard), PATIENCE_S).ok
        sent = 500
        for _ in range(sent):
            headers = {}
            for field, values in (("reply_to", reply_tos), ("id", ids), ("deadline_ns", deadlines)):
                if chance.random() < 0.8:
                    headers[field] = chance.choice(values)
            hostile.publish_system(server.inbox, junk(chance), headers)
        assert client.request("target", "x", "still here") == "still here"
        names = ("requests", "malformed", "refused", "expired")
        until(lambda: sum(server.stats()[name] for name in names) >= sent + 1, "all are counted")
        assert node.stats()["failed_callbacks"] == 0
        assert all(message.topic == "$inbox/tester/replies" for message in heard.items), "it answers to inboxes only"


def test_who_may_not_serve_hears_it_at_once_and_one_that_may_not_any_more_goes_on_quietly(tmp_path: Path) -> None:
    rights = {"till": {"serve": ["till"]}}
    folder = KeyFolder(tmp_path, {"p1": "proxy", "shop": "till", "asker": "node"}, rights)
    with folder.proxy("p1") as proxy:
        assert proxy.wait_ready(PATIENCE_S)
        with folder.node(proxy, "shop") as shop, folder.node(proxy, "asker") as asker, Client(asker) as client:
            with pytest.raises(NotAllowed, match="shop may not serve 'stock': it needs the right, and has 'till'"):
                Server(shop, "stock", each(lambda request: 1))
            with Server(shop, "till", each(lambda request: 1)):
                assert client.request("till", "count", deadline_s=PATIENCE_S) == 1
                folder.roles["till"] = {"serve": ["other"]}
                folder.write()
                until(lambda: shop.why_not("serve", "till"), "it knows its new rights")
                denied = shop.stats()["denied"]
                until(lambda: shop.stats()["denied"] > denied, "an announcement was refused, and counted")
                assert shop.stats()["failed_callbacks"] == 0

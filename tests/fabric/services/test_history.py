"""Reading a history from a keeper that says what the test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from fabric import Node
from fabric.errors import InvalidFilter, NotAllowed, RemoteWireError, RequestTimeout, ScopeError, StateError
from fabric.protocol.histories import Hole, Kept, pack
from fabric.services import Client, Server, each
from fabric.services.history import History
from tests.support.fake_keeper import FakeKeeper
from tests.support.waiting import PATIENCE_S, mesh

HOLE = Hole("t", 1, 4, 7, "too old")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mesh(tmp_path_factory.mktemp("proxies"), 1) as (proxy,):
        yield proxy.base


@pytest.fixture
def node(base: str) -> Iterator[Node]:
    with Node(base) as node:
        yield node


@pytest.fixture
def client(node: Node) -> Iterator[Client]:
    with Client(node) as client:
        yield client


def a_log(*numbers: int, topic: str = "t", sent_ns: int | None = None) -> list[Kept | Hole]:
    return [Kept(topic, 1, number, number if sent_ns is None else sent_ns, pack(number), None) for number in numbers]


def numbers(history: History) -> list[int]:
    return [message.number for message in history]


def test_pages_come_one_after_the_other(node: Node, client: Client) -> None:
    keeper = FakeKeeper(node)
    keeper.log += [*a_log(1, 2, 3), HOLE, *a_log(8, 9, 10, 11)]
    history = History(client, "t", deadline_s=PATIENCE_S)
    assert numbers(history) == [1, 2, 3, 8, 9, 10, 11] and history.holes == [HOLE]
    assert keeper.pages == 3 and numbers(history) == [], "it stays at its end"
    keeper.log += a_log(12)
    history.read_on()
    assert numbers(history) == [12] and history.is_kept("any/topic")
    keeper.close()


def test_a_limit_ends_it(node: Node, client: Client) -> None:
    keeper = FakeKeeper(node)
    keeper.log += a_log(*range(1, 30))
    assert numbers(History(client, "t", limit=4)) == [1, 2, 3, 4]
    assert keeper.pages < 5, "it is not read to its end"
    keeper.close()


def test_shares_are_merged_by_the_publishers_clocks(node: Node, client: Client) -> None:
    keepers = [FakeKeeper(node, share=(each, 2)) for each in (1, 2)]
    keepers[0].log += a_log(1, 4, 5, 9, topic="a")
    keepers[1].log += a_log(2, 3, 6, 7, 8, topic="b")
    assert numbers(History(client, "#")) == list(range(1, 10))
    for keeper in keepers:
        keeper.close()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"topic_filter": "a/#/b"}, InvalidFilter), ({"topic_filter": "~/a"}, ScopeError), ({"since": 0}, ValueError),
        ({"limit": 0}, ValueError), ({"limit": True}, ValueError), ({"keeper": "a/b"}, ValueError),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_at_once(client: Client, options: dict[str, object], error: type) -> None:
    with pytest.raises(error):
        History(client, **{"topic_filter": "a", **options})  # type: ignore[arg-type]


def test_errors_of_the_keeper_come_while_it_is_read(node: Node, client: Client) -> None:
    with pytest.raises(RequestTimeout):
        next(History(client, "t", deadline_s=0.3))

    def refuse(request: object) -> None:
        raise NotAllowed("not for you")

    with Server(node, "keeper", each(refuse)) as server:
        assert server.wait_ready(PATIENCE_S)
        with pytest.raises(NotAllowed, match="not for you"):
            next(History(client, "t"))
    with Server(node, "keeper", each(lambda request: {"messages": 1})) as server:
        assert server.wait_ready(PATIENCE_S)
        with pytest.raises(RemoteWireError, match="invalid page of a history"):
            next(History(client, "t"))


def test_it_stops_when_it_is_told_to(node: Node, client: Client) -> None:
    keeper = FakeKeeper(node)
    keeper.gate.clear()
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: next(History(client, "t", stopped=stop.is_set)))
        stop.set()
        assert isinstance(reading.exception(PATIENCE_S), StateError)
    keeper.close()


def test_a_proxy_is_all_it_takes(base: str) -> None:
    """`Node.history` needs no client of the program's."""
    with Node(base) as node, Node(base) as other:
        keeper = FakeKeeper(other)
        keeper.log += a_log(1, 2)
        assert [message.payload for message in node.history("t")] == [1, 2]
        keeper.close()

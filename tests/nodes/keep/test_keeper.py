"""A keeper on a real proxy: what it keeps, what it answers, and what it missed while it was away."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Message, Node
from fabric.errors import InvalidFilter, NotAllowed, ServiceError
from fabric.protocol.histories import HISTORY, Hole, Question, unpack
from fabric.services import Client
from nodes.keep.keeper import Keeper, share_of
from nodes.keep.retention import Retention
from nodes.keep.store import KeepStore
from tests.support.kept import SECOND, kept_value
from tests.support.keys import KeyFolder
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, mesh, until

Start = Callable[..., Keeper]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.fixture
def nodes(proxies: list[ProxyProcess]) -> Iterator[list[Node]]:
    """One that publishes at the first proxy, and one that reads at the second."""
    with Node(proxies[0].base) as first, Node(proxies[1].base) as second:
        yield [first, second]


@pytest.fixture
def start(proxies: list[ProxyProcess], tmp_path: Path) -> Iterator[Start]:
    """start(*filters, file=…, **options): a keeper, ready; closed at the end of the test."""
    opened: list[tuple[Keeper, KeepStore, Node]] = []

    def begin(*filters: str, file: str = "keep.db", **options: Any) -> Keeper:
        store = KeepStore(f"sqlite:///{tmp_path}/{file}")
        node = Node(proxies[0].base)
        keeper = Keeper(node, store, filters, **options)
        opened.append((keeper, store, node))
        assert keeper.wait_ready(PATIENCE_S) and keeper.problem() == ""
        return keeper

    yield begin
    for keeper, store, node in reversed(opened):
        keeper.close()
        node.close()
        store.close()


def values(node: Node, topic_filter: str) -> dict[str, Any]:
    """What a subscriber that comes now is told before its ack."""
    got: list[Message] = []
    ident = node.subscribe(topic_filter, got.append, retained=True)
    assert node.wait_ack(ident, PATIENCE_S).ok
    node.unsubscribe(ident)
    return {message.topic: message.payload for message in got}


def payloads(node: Node, topic_filter: str, **options: Any) -> list[Any]:
    return [message.payload for message in node.history(topic_filter, **options)]


def test_what_matches_is_kept_whole_and_once(start: Start, nodes: list[Node]) -> None:
    start("k1/#", "k1/+/x")
    publisher, reader = nodes
    for number in range(5):
        publisher.publish("k1/a/x", {"n": number}, {"h": number})
        publisher.publish("k0/a/x", "other")
    found = list(reader.history("k1/#"))
    assert [(each.topic, each.payload, each.number, dict(each.headers)) for each in found] == [
        ("k1/a/x", {"n": number}, number + 1, {"h": number}) for number in range(5)
    ]
    assert {each.publisher for each in found} == {publisher.publisher}
    assert all(each.sent_ns > 0 for each in found) and payloads(reader, "k0/#") == []


def test_since_and_limit(start: Start, nodes: list[Node]) -> None:
    start("k2/#")
    publisher, reader = nodes
    for number in range(30):
        publisher.publish(f"k2/{number % 3}", number)
    assert payloads(reader, "k2/#", since=2) == list(range(24, 30))
    assert payloads(reader, "k2/1", since="3", limit=2) == [22, 25]
    assert payloads(reader, "k2/#", since="1h") == payloads(reader, "k2/#", since=3600.0) == list(range(30))


def test_what_it_keeps_no_longer_is_not_in_it(start: Start, nodes: list[Node]) -> None:
    keeper = start("k3/#", retention=Retention(last=3))
    publisher, reader = nodes
    for number in range(10):
        publisher.publish("k3/a", number)
    assert payloads(reader, "k3/a")[-3:] == [7, 8, 9]
    until(lambda: keeper.figures()["deleted"] == 7, "it has been swept")
    assert payloads(reader, "k3/a") == [7, 8, 9]


def test_retained_values_are_kept_beside_the_history_and_what_was_set_before_is_learned(
    start: Start, nodes: list[Node]
) -> None:
    publisher, _ = nodes
    publisher.publish("k8/early", "e", {"h": 1}, retain=True)
    until(lambda: publisher.stats()["unconfirmed"] == 0, "it is at its proxy")
    keeper = start("k8/#", "k8/+")
    publisher.publish("k8/a", 1, retain=True, expires_s=60)
    publisher.publish("k8/a", 2)
    publisher.publish("k8/b", 3, retain=True)
    publisher.publish("k8/b", None, retain=True)
    publisher.publish("k8/end", "end", retain=True)
    assert payloads(publisher, "k8/#") == [1, 2, 3, None, "end"], "what was retained is no message of now"
    now_ns = time.time_ns()
    found = {each.topic: each for each in keeper._store.retained(now_ns)}
    assert {topic: unpack(each.payload) for topic, each in found.items()} == {
        "k8/early": "e", "k8/a": 1, "k8/b": None, "k8/end": "end"
    }  # fmt: skip
    assert unpack(found["k8/early"].headers or b"") == {"h": 1} and found["k8/b"].cleared
    assert 50 < (found["k8/a"].left_s(now_ns) or 0) <= 60
    assert keeper.figures()["values"] >= 5 and keeper.figures()["dropped"] == 0


def test_what_it_holds_goes_with_what_is_newer_and_with_its_end(start: Start, nodes: list[Node]) -> None:
    publisher, reader = nodes
    keeper = start("k11/#")
    held = keeper._node._engine.up.reholding
    for topic in ("k11/a", "k11/b"):
        keeper._store.write([], [], 1, [kept_value(topic, 5, "lost")])
    reader.hold("k11/c", "handed", sent_ns=5)
    until(lambda: len(held) == 2, "both are given back")
    publisher.publish("k11/a", None, retain=True)
    until(lambda: len(held) == 1, "the other ingress has it, and the keeper has heard of it")
    keeper.close()
    assert len(held) == 0


def test_what_somebody_hands_to_the_mesh_though_it_was_cleared_is_cleared_once_more(
    start: Start, nodes: list[Node]
) -> None:
    publisher, reader = nodes
    keeper = start("k12/#")
    assert keeper._returner is not None
    until(lambda: keeper._returner.asked == 1, "it has looked")  # type: ignore[union-attr]
    now_ns = time.time_ns()
    keeper._store.write([], [], now_ns, [kept_value("k12/a", now_ns, None)])
    publisher.hold("k12/a", "from before", sent_ns=now_ns - SECOND)
    publisher.hold("k12/b", "b", sent_ns=5)
    until(lambda: set(values(reader, "k12/#")) >= {"k12/b"}, "it is handed out")
    until(lambda: values(reader, "k12/#") == {"k12/b": "b"}, "the keeper has corrected it")


def test_a_value_of_the_future_is_a_message_and_no_value(start: Start, nodes: list[Node]) -> None:
    now_ns = time.time_ns()
    keeper = start("k13/#", clock_ns=lambda: now_ns - 3600 * SECOND)
    nodes[0].publish("k13/a", 1, retain=True)
    until(lambda: payloads(nodes[1], "k13/#") == [1], "the message is kept")
    assert list(keeper._store.retained(0)) == []
    assert keeper.figures()["values_ahead"] == 1 and keeper.figures()["values"] == 0


def test_without_retained_it_keeps_histories_alone(start: Start, nodes: list[Node]) -> None:
    keeper = start("k9/#", retained=False)
    nodes[0].publish("k9/a", 1, retain=True)
    assert payloads(nodes[1], "k9/#") == [1] and list(keeper._store.retained(0)) == []
    assert "given_back" not in keeper.figures()


def test_its_own_node_and_what_it_closes_with(start: Start, nodes: list[Node]) -> None:
    """What was taken is written before it ends."""
    keeper = start("k4/#")
    publisher, _ = nodes
    for number in range(2000):
        publisher.publish("k4/a", number)
    until(lambda: keeper.figures()["written"] + keeper.figures()["waiting"] > 0, "something has come")
    assert keeper.close() == 0 and keeper.close() == 0
    figures = keeper.figures()
    assert figures["waiting"] == 0 and figures["dropped"] == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (None, "invalid question"), ({**Question("#").to_map(), "limit": 0}, "invalid limit"),
        ({**Question("#").to_map(), "filter": "#/a"}, "invalid filter"),
        ({**Question("#").to_map(), "after": ["f" * 32, 0, 0]}, "this keeper has another store"),
    ],
)  # fmt: skip
def test_what_is_no_question_is_refused(start: Start, nodes: list[Node], body: Any, words: str) -> None:
    start("k5/#")
    with Client(nodes[1]) as client:
        with pytest.raises(ServiceError, match=words):
            client.request("keeper", HISTORY, body, deadline_s=PATIENCE_S)
        with pytest.raises(ServiceError, match="invalid operation 'other': expected history"):
            client.request("keeper", "other", None, deadline_s=PATIENCE_S)


def test_several_keepers_of_one_name_share_a_store(start: Start, nodes: list[Node]) -> None:
    first, second = start("k6/#"), start("k6/#")
    publisher, reader = nodes
    for number in range(100):
        publisher.publish(f"k6/{number % 7}", number)
    until(
        lambda: sum(each.figures()["written"] + each.figures()["doubles"] for each in (first, second)) == 200,
        "all came",
    )
    assert first.figures()["written"] + second.figures()["written"] == 100
    assert sorted(payloads(reader, "k6/#")) == list(range(100))


def test_several_keepers_of_one_name_share_the_load(start: Start, nodes: list[Node]) -> None:
    keepers = [start("k7/#", file=f"k7-{each}.db", share=(each, 3)) for each in (1, 2, 3)]
    publisher, reader = nodes
    for number in range(90):
        publisher.publish(f"k7/{number % 30}", number)
    assert payloads(reader, "k7/#") == list(range(90)), "merged by the publishers' clocks"
    written = [keeper.figures()["written"] for keeper in keepers]
    assert sum(written) == 90 and all(written)
    assert payloads(reader, "k7/4") == [4, 34, 64]
    assert payloads(reader, "k7/#", limit=4) == [0, 1, 2, 3]


def test_a_topic_is_always_of_the_same_share() -> None:
    assert share_of("truck/0001/temperature", 5) == share_of("truck/0001/temperature", 5) == 3
    assert {share_of(f"t/{number}", 4) for number in range(100)} == {1, 2, 3, 4}


def test_what_it_missed_comes_from_the_publishers(start: Start, nodes: list[Node]) -> None:
    publisher, reader = nodes
    first = start("k8/#")
    publisher.publish("k8/a", 1)
    assert payloads(reader, "k8/#") == [1]
    first.close()
    for number in (2, 3, 4):
        publisher.publish("k8/a", number)
    second = start("k8/#")
    publisher.publish("k8/a", 5)
    until(lambda: second.figures()["written"] == 4, "what it missed has come")
    assert payloads(reader, "k8/#") == [1, 2, 3, 4, 5]


def test_what_it_never_got_is_written_down(start: Start, proxies: list[ProxyProcess], nodes: list[Node]) -> None:
    _, reader = nodes
    with Node(proxies[0].base, repair_bytes=0) as publisher:
        first = start("k9/#")
        publisher.publish("k9/a", 1)
        assert payloads(reader, "k9/#") == [1]
        first.close()
        for number in (2, 3, 4):
            publisher.publish("k9/a", number)
        start("k9/#")
        publisher.publish("k9/a", 5)
        until(lambda: payloads(reader, "k9/#") == [1, 5], "it has given up what it missed")
        kept = reader.history("k9/#")
        list(kept)
    (hole,) = kept.holes
    assert hole == Hole("k9/a", publisher.publisher, 2, 4, hole.reason) and hole.reason


@pytest.mark.parametrize("filters", [(), ("a/#/b",), ("~/a",), tuple(f"a/{number}" for number in range(101))])
def test_what_it_cannot_keep_is_refused(nodes: list[Node], tmp_path: Path, filters: tuple[str, ...]) -> None:
    store = KeepStore(f"sqlite:///{tmp_path}/keep.db")
    with pytest.raises((ValueError, InvalidFilter), match="invalid filter"):
        Keeper(nodes[0], store, filters)
    store.close()


def test_with_keys_only_who_may_subscribe_may_read(tmp_path: Path) -> None:
    folder = KeyFolder(
        tmp_path / "keys",
        {"p1": "proxy", "k1": "keeper", "n1": "node", "g1": "observer", "s1": "small"},
        {"small": {"subscribe": ["a/#"], "request": ["keeper"]}},
    )
    store = KeepStore(f"sqlite:///{tmp_path}/keep.db")
    with (
        folder.proxy("p1") as proxy,
        folder.node(proxy, "k1") as node,
        folder.node(proxy, "n1") as publisher,
        folder.node(proxy, "s1") as small,
        folder.node(proxy, "g1") as observer,
    ):
        keeper = Keeper(node, store, ["#"], keys=folder.path)
        assert keeper.wait_ready(PATIENCE_S)
        publisher.publish("a/1", 1)
        publisher.publish("b/1", 2)
        assert payloads(publisher, "#") == [1, 2]
        assert payloads(small, "a/#") == [1]
        for reader, topic_filter, words in (
            (small, "#", "s1 may not subscribe to"),
            (observer, "a/#", "may not request"),
        ):
            with pytest.raises(NotAllowed, match=words):
                payloads(reader, topic_filter)
        assert keeper.figures()["denied"] == 1
        with pytest.raises(NotAllowed, match="may not serve 'keeper'"):
            Keeper(publisher, store, ["#"])
        keeper.close()
    store.close()

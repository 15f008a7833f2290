"""First the history, then what is live: on a real proxy, with a keeper that says what the test wants."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import InvalidFilter, ScopeError
from fabric.node.coverage import Ack
from fabric.protocol.histories import Hole, Kept
from fabric.services.catch_up import CatchUp
from fabric.services.client import Client
from fabric.wire import Message
from tests.support.fake_keeper import FakeKeeper, kept
from tests.support.waiting import PATIENCE_S, Box, mesh, until


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mesh(tmp_path_factory.mktemp("proxies"), 1) as (proxy,):
        yield proxy.base


@pytest.fixture
def publisher(base: str) -> Iterator[Node]:
    with Node(base) as node:
        yield node


@pytest.fixture
def reader(base: str) -> Iterator[Node]:
    with Node(base) as node:
        yield node


@pytest.fixture
def keeper(base: str) -> Iterator[FakeKeeper]:
    with Node(base) as node:
        keeper = FakeKeeper(node)
        yield keeper
        keeper.close()


def sent(publisher: Node, topic: str, *payloads: Any) -> list[Kept | Hole]:
    """Publish, and return what a keeper has of it, once it has reached the proxy."""
    log: list[Kept | Hole] = [
        kept(Message(topic, payload, publisher.publisher, publisher.publish(topic, payload), time.time_ns()))
        for payload in payloads
    ]
    until(lambda: publisher.stats()["unconfirmed"] == 0, "they are at the proxy")
    return log


def test_the_history_then_the_ack_then_what_is_live(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.log += sent(publisher, "c1", 1, 2, 3, 4)
    got, order = Box(), []
    reader.subscribe("c1", got, lambda ack: order.append((len(got), ack.ok)), since="1h")
    assert got.wait(4) and until(lambda: order, "the ack")
    assert order == [(4, True)]
    publisher.publish("c1", 5)
    assert [each.payload for each in got.wait(5)] == [1, 2, 3, 4, 5]


def test_what_came_live_meanwhile_comes_once_and_behind(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.log += sent(publisher, "c2", 1, 2, 3)
    keeper.gate.clear()
    got, acked = Box(), threading.Event()
    subscription = reader.subscribe("c2", got, lambda ack: acked.set(), since=10)
    beside = Box()
    reader.subscribe("c2", beside)
    assert reader.wait_ack(subscription, PATIENCE_S).ok, "the mesh's ack does not wait for the history"
    on_both_ways = sent(publisher, "c2", 4, 5)
    live_only = sent(publisher, "c2", 6)
    assert beside.wait(3)
    keeper.log += on_both_ways
    keeper.gate.set()
    assert [each.payload for each in got.wait(6)] == [1, 2, 3, 4, 5, 6]
    assert acked.wait(PATIENCE_S) and len(got) == 6 and live_only
    publisher.publish("c2", 7)
    assert [each.payload for each in got.wait(7)][-1] == 7


def test_it_is_read_on_until_it_reaches_what_came_live(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    """What is on its way to the keeper, and was published before the subscription."""
    first = sent(publisher, "c3", 1)
    on_its_way = sent(publisher, "c3", 2)
    keeper.log += first
    keeper.gate.clear()
    got = Box()
    reader.wait_ack(reader.subscribe("c3", got, since="1h"), PATIENCE_S)
    beside = Box()
    reader.subscribe("c3", beside)
    late = sent(publisher, "c3", 3)
    assert beside.wait(1), "3 is held back"
    keeper.gate.set()
    until(lambda: keeper.pages >= 3, "it asks again")
    keeper.log += [*on_its_way, *late]
    assert [each.payload for each in got.wait(3)] == [1, 2, 3]


def test_holes_are_told_as_gaps(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    (one,) = sent(publisher, "c4", 1)
    keeper.log += [one, Hole("c4", publisher.publisher, 2, 4, "too old")]
    gaps, acked = Box(), threading.Event()
    reader.on_gap(gaps)
    reader.subscribe("c4", lambda message: None, lambda ack: acked.set(), since="1h")
    (gap,) = gaps.wait(1)
    assert (gap.topic, gap.first, gap.last, gap.lost, gap.reason) == ("c4", 2, 4, 3, "too old")
    assert acked.wait(PATIENCE_S)


def test_without_a_keeper_it_is_live_all_the_same_and_says_so(publisher: Node, base: str) -> None:
    got: Box = Box()
    acks: list[Ack] = []
    with Node(base) as reader:
        catching_up = CatchUp(reader, Client(reader), "c5", got, acks.append, "1h", deadline_s=0.3)
        until(lambda: acks, "it has given up")
        assert not acks[0].ok and "no history: " in (acks[0].error or "") and acks[0].covered
        publisher.publish("c5", 1)
        assert got.wait(1)
        catching_up.close()


def test_a_history_that_does_not_get_there_is_told(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.gate.clear()
    got: Box = Box()
    acks: list[Ack] = []
    catching_up = CatchUp(reader, Client(reader), "c6", got, acks.append, "1h", patience_s=0.2)
    reader.wait_ack(catching_up.subscription, PATIENCE_S)
    beside = Box()
    reader.subscribe("c6", beside)
    publisher.publish("c6", 1)
    assert beside.wait(1), "it is held back"
    keeper.gate.set()
    assert [each.payload for each in got.wait(1)] == [1]
    until(lambda: acks, "the ack")
    assert not acks[0].ok and "does not reach what comes live within 0.2 s" in (acks[0].error or "")
    catching_up.close()


def test_it_takes_no_more_than_there_is_room_for(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.log += sent(publisher, "c7", *range(10))
    got, acked, room = Box(), threading.Event(), [3]
    reader.catch_up("c7", got, lambda ack: acked.set(), "1h", room=lambda: room[0] - len(got))
    got.wait(3)
    for _ in range(3):
        pages = keeper.pages
        time.sleep(0.02)
        assert len(got) == 3 and keeper.pages >= pages
    room[0] = 100
    assert [each.payload for each in got.wait(10)] == list(range(10)) and acked.wait(PATIENCE_S)


def test_a_handler_that_raises_harms_nothing(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.log += sent(publisher, "c8", 1, 2, 3)
    got = Box()

    def take(message: Message) -> None:
        got(message)
        if message.payload == 2:
            raise ZeroDivisionError

    reader.subscribe("c8", take, since="1h")
    assert [each.payload for each in got.wait(3)] == [1, 2, 3]


def test_it_can_be_ended_while_it_reads(publisher: Node, reader: Node, keeper: FakeKeeper) -> None:
    keeper.log += sent(publisher, "c9", 1)
    keeper.gate.clear()
    got = Box()
    subscription = reader.subscribe("c9", got, since="1h")
    reader.wait_ack(subscription, PATIENCE_S)
    reader.unsubscribe(subscription)
    keeper.gate.set()
    with pytest.raises(KeyError):
        reader.unsubscribe(subscription)
    publisher.publish("c9", 2)
    assert len(got) == 0
    reader.subscribe("c9", got, since="1h")
    reader.close()


@pytest.mark.parametrize("since", [0, -1.0, "soon", True])
def test_an_invalid_since_is_refused_at_once(reader: Node, since: Any) -> None:
    reader.history("a")  # which has its client from then on
    held = reader.stats()["subscriptions"]
    with pytest.raises(ValueError, match="invalid since"):
        reader.subscribe("a", print, since=since)
    for topic_filter, error in (("a/#/b", InvalidFilter), ("~/a", ScopeError)):
        with pytest.raises(error):
            reader.subscribe(topic_filter, print, since="1h")
    assert reader.stats()["subscriptions"] == held

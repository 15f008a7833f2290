"""Counting subscribers: what is counted, once each, over all proxies, until there are enough."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fabric import AsyncNode, Node
from fabric.errors import InvalidFilter, ScopeError, StateError
from fabric.node.census import ROUNDS, Census
from fabric.node.coverage import Ack
from fabric.protocol.questions import read_question
from fabric.wire import Message
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S

OWN, OTHER, THIRD = 1, 2, 3


class Asking:
    """Stands for the node that asks; `answer` is what others say to the last question."""

    publisher = OWN

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.hear: Callable[[Message], object] = lambda message: None
        self.ok = True

    def subscribe(self, topic_filter: str, msg_fun: Callable[[Message], object]) -> int:
        self.hear = msg_fun
        return 1

    def unsubscribe(self, subscription: int) -> None: ...

    def wait_ack(self, subscription: int, timeout_s: float) -> Ack:
        if not self.ok:
            raise TimeoutError
        return Ack(True, ("p1", "p2"), (), 0.0)

    def new_token(self) -> str:
        return "0" * 32

    def publish_system(self, topic: str, payload: Any, *, timeout_s: float | None = None) -> int:
        self.asked.append((topic, read_question(payload)))
        return 1

    def stats(self) -> dict[str, Any]:
        return {"covered": ["p1", "p2"]}

    def answer(self, publisher: int, **fields: Any) -> None:
        payload = {"answer": "subscribers", "id": self.asked[-1][1].id, **fields}
        self.hear(Message("$inbox/x/answers", payload, publisher, 1, 0, {}))


def test_each_proxys_nodes_are_asked_and_each_counts_once() -> None:
    node = Asking()
    with Census(node, "load/#") as census:
        assert not census.wait(2, 0.01) and census.count == 0
        assert [topic for topic, _ in node.asked] == ["$fabric/proxy/p1/ask", "$fabric/proxy/p2/ask"]
        assert {(each.ask, each.topic) for _, each in node.asked} == {("subscribers", "load/#")}
        node.answer(OTHER)
        node.answer(OTHER)
        node.answer(OWN)
        assert census.count == 1 and not census.wait(2, 0.01)
        node.answer(THIRD)
        assert census.wait(2, 0.01) and census.count == 2


@pytest.mark.parametrize("payload", [None, {}, {"id": 7}, {"id": b"old", "answer": "subscribers"}, {"answer": "why"}])
def test_what_answers_nothing_is_passed_over(payload: Any) -> None:
    node = Asking()
    census = Census(node, "a")
    census.wait(1, 0.01)
    node.hear(Message("$inbox/x/answers", payload, OTHER, 1, 0, {}))
    node.answer(OTHER, answer="why")
    assert census.count == 0


def test_nothing_is_asked_while_no_answer_could_come() -> None:
    node = Asking()
    node.ok = False
    assert not Census(node, "a").wait(1, 0.01) and node.asked == []


def test_one_who_has_left_is_counted_no_more() -> None:
    node = Asking()
    census = Census(node, "a")
    census.wait(2, 0.01)
    node.answer(OTHER)
    assert census.count == 1
    census.wait(2, 0.5)  # two questions more, and nobody answers
    assert len(node.asked) >= 3 * 2 and census.count == 0
    for _ in range(2 * ROUNDS):
        census._ask(0.0)
    assert len(census._rounds) == ROUNDS


@pytest.mark.parametrize(("given", "error"), [("a/#/b", InvalidFilter), ("~/a", ScopeError), ("~x/a", ScopeError)])
def test_filters_that_nobody_can_hold(given: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Census(Asking(), given)


def test_subscribers_at_all_proxies_are_counted(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as asking, Node(mesh[0].base) as first, Node(mesh[1].base) as second:
        asking.wait_ack(asking.subscribe("load/#", lambda message: None), PATIENCE_S)
        with pytest.raises(TimeoutError, match=r"0 of 1 subscribers of 'load/\+' were there within 0.3 s"):
            asking.wait_subscribers("load/+", 1, 0.3)
        for _ in range(2):
            first.wait_ack(first.subscribe("load/#", lambda message: None), PATIENCE_S)
        later = threading.Timer(0.3, lambda: second.subscribe("#", lambda message: None))
        later.start()
        assert asking.wait_subscribers("load/+", 2, PATIENCE_S) == 2
        later.join()
        first.subscribe("load/1", lambda message: None)  # covers itself only
        assert asking.wait_subscribers("load/1", 2, PATIENCE_S) == 2
        with pytest.raises(TimeoutError, match="2 of 3"):
            asking.wait_subscribers("load/+", 3, 0.5)


def test_what_is_published_when_they_are_there_reaches_them(mesh: list[ProxyProcess]) -> None:
    came = threading.Event()
    with Node(mesh[0].base) as asking, Node(mesh[1].base) as other:
        threading.Timer(0.1, lambda: other.subscribe("a/+", lambda message: came.set())).start()
        asking.wait_subscribers("a/b", 1, PATIENCE_S)
        asking.publish("a/b", 1)
        assert came.wait(PATIENCE_S)


def test_wrong_use(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node:
        with pytest.raises(ValueError, match="expected a whole number above 0"):
            node.wait_subscribers("a", 0)
        raised: list[Exception] = []
        done = threading.Event()

        def within(message: Message) -> None:
            try:
                node.wait_subscribers("a", 1)
            except StateError as error:
                raised.append(error)
            done.set()

        node.wait_ack(node.subscribe("a", within), PATIENCE_S)
        node.publish("a", 1)
        assert done.wait(PATIENCE_S) and raised


def test_asyncio_waits_for_them_too(mesh: list[ProxyProcess]) -> None:
    async def main() -> int:
        async with AsyncNode(mesh[0].base) as asking, AsyncNode(mesh[1].base) as other:
            await other.subscribe("a/#")
            return await asking.wait_subscribers("a/b", 1, PATIENCE_S)

    assert asyncio.run(main()) == 1

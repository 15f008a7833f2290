"""Nodes and proxies that are asked: over a real mesh, and what wrong questions do to them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fabric import Node
from fabric.errors import NotConnected
from fabric.node.respondent import Respondent
from fabric.protocol.markers import question_topic
from fabric.protocol.questions import MAX_QUESTIONS_A_SECOND, Question, trace_headers
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, mesh, until

REPLY = "$inbox/asker/a"


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("mesh"), 2) as proxies:
        yield proxies


@pytest.fixture
def asker(proxies: list[ProxyProcess]) -> Iterator[Node]:
    with Node(proxies[0].base, name="asker") as node:
        yield node


@pytest.fixture
def node(proxies: list[ProxyProcess]) -> Iterator[Node]:
    """A node at the other proxy."""
    with Node(proxies[1].base, name="n2") as node:
        for topic_filter in ("a/+/c", "x/y", "~/secret"):
            assert node.wait_ack(node.subscribe(topic_filter, lambda message: None), 10).ok
        until(lambda: node.stats()["proxy"], "it knows its proxy")
        yield node


def answers(asker: Node) -> Box:
    box = Box()
    assert asker.wait_ack(asker.subscribe(REPLY, lambda message: box(message.payload)), 10).ok
    return box


def ask(asker: Node, question: Question, proxy: str = "p2") -> None:
    asker.publish_system(f"$fabric/proxy/{proxy}/ask", question.to_map())


def test_the_nodes_of_a_proxy_say_where_their_pages_are(asker: Node, node: Node) -> None:
    box = answers(asker)
    ask(asker, Question("page", b"1", REPLY))
    assert box.wait(1) == [{"answer": "page", "id": b"1", "node": "n2", "proxy": "p2", "page": None}]
    node.status_page = {"url": "http://127.0.0.1:9101", "process": "n2"}
    ask(asker, Question("page", b"2", REPLY, "", 1_000_000_000, 1_000_000_000))
    assert box.wait(2)[-1]["page"] == node.status_page, "one that has a page is in every sample"


def test_the_nodes_of_a_proxy_say_why(asker: Node, node: Node) -> None:
    box = answers(asker)
    ask(asker, Question("why", b"1", REPLY, "a/b/c"))
    (answer,) = box.wait(1)
    found = {"answer": "why", "id": b"1", "node": "n2", "proxy": "p2", "matches": ["a/+/c"], "near": []}
    assert answer == found
    ask(asker, Question("why", b"2", REPLY, "a/b/d"))
    assert box.wait(2)[1] == {**found, "id": b"2", "matches": [], "near": ["a/+/c", "x/y"]}


def test_they_give_their_figures(asker: Node, node: Node) -> None:
    box = answers(asker)
    ask(asker, Question("stats", b"1", REPLY))
    (answer,) = box.wait(1)
    assert (answer["node"], answer["lost"]) == ("n2", 0) and answer["subscriptions"] == node.stats()["subscriptions"]


def test_a_trace_is_answered_by_who_gets_it_and_handled_by_nobody(asker: Node, node: Node) -> None:
    box, handled = answers(asker), Box()
    held = node.subscribe("a/#", handled)
    assert node.wait_ack(held, 10).ok
    asker._engine.up.publish(asker._engine.up.prefix("a/b/c"), None, trace_headers(b"7", REPLY))
    (answer,) = box.wait(1)
    assert answer == {"answer": "trace", "id": b"7", "node": "n2", "proxy": "p2", "topic": "a/b/c"}
    asker.publish("a/z", 1)
    assert [message.topic for message in handled.wait(1)] == ["a/z"]


def test_a_proxy_answers_where_its_incarnation_is_asked(asker: Node) -> None:
    box, announced = answers(asker), Box()
    asker.subscribe("$fabric/proxy/p2", lambda message: announced(message.payload))
    topic = question_topic(announced.wait(1)[0]["incarnation"])
    for ident in (b"1", b"2"):
        asker.publish_system(topic, Question("ping", ident, REPLY).to_map())
    assert box.wait(2) == [{"answer": "ping", "id": ident, "proxy": "p2"} for ident in (b"1", b"2")]


@pytest.mark.parametrize("payload", [{"ask": "why"}, {"ask": []}, {"ask": "ping", "id": b"", "reply_to": "a"}])
def test_wrong_questions_are_passed_over(asker: Node, node: Node, payload: Any) -> None:
    box, announced = answers(asker), Box()
    asker.subscribe("$fabric/proxy/p2", lambda message: announced(message.payload))
    topic = question_topic(announced.wait_for(lambda items: "incarnation" in items[0], "one")[0]["incarnation"])
    for where in ("$fabric/proxy/p2/ask", topic):
        asker.publish_system(where, payload)
    asker._engine.up.publish(asker._engine.up.prefix("a/b/c"), None, {"tail": True, "trace": payload})
    ask(asker, Question("stats", b"1", REPLY))
    asker.publish_system(topic, Question("ping", b"2", REPLY).to_map())
    assert {each["id"] for each in box.wait(2)} == {b"1", b"2"}
    assert node.stats()["refused_answers"] == 0 and node.stats()["failed_callbacks"] == 0


def test_a_node_says_what_it_has_published(asker: Node, node: Node) -> None:
    box = answers(asker)
    for _ in range(3):
        node.publish("out/1", 1)
    ask(asker, Question("topics", b"1", REPLY, "out/#"))
    (answer,) = box.wait(1)
    assert answer["topics"] == [["out/1", 3, 0.0]] and (answer["node"], answer["next"]) == ("n2", -1)
    ask(asker, Question("topics", b"2", REPLY, "out/#", publisher=node.publisher + 1))
    ask(asker, Question("topics", b"3", REPLY, "out/#", publisher=node.publisher))
    assert [each["id"] for each in box.wait(2)] == [b"1", b"3"]


def test_who_holds_a_filter_says_so_and_nobody_else(asker: Node, node: Node) -> None:
    box = answers(asker)
    for ident, topic_filter in ((b"1", "a/#"), (b"2", "x/+"), (b"3", "a/b/c"), (b"4", "x/y")):
        ask(asker, Question("subscribers", ident, REPLY, topic_filter))
    found = [{"answer": "subscribers", "id": ident, "node": "n2", "proxy": "p2"} for ident in (b"3", b"4")]
    assert box.wait(2) == found


def test_more_questions_than_it_answers_in_a_second_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[str] = []
    respondent = Respondent("t", dict, lambda topic: [], list, dict, lambda topic, answer: published.append(topic))
    monkeypatch.setattr("fabric.node.respondent.time", SimpleNamespace(monotonic=lambda: 5.0))
    for _ in range(3 * MAX_QUESTIONS_A_SECOND):
        respondent.question_heard(Question("why", b"1", REPLY, "a").to_map())
    assert published == [REPLY] * MAX_QUESTIONS_A_SECOND


def test_one_that_cannot_be_answered_harms_nobody() -> None:
    def publish(topic: str, answer: dict[str, Any]) -> None:
        raise NotConnected("no proxy")

    respondent = Respondent("t", dict, lambda topic: ["a"], list, dict, publish)
    respondent.question_heard(Question("why", b"1", REPLY, "a").to_map())
    respondent.trace_heard("a", Question("trace", b"1", REPLY).to_map())

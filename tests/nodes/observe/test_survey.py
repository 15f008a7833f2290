"""Asking over a real mesh, from the operator's side."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from fabric import Node
from fabric.errors import NotConnected
from fabric.node.coverage import Ack
from fabric.protocol.views import Record
from fabric.wire import Message
from nodes.observe import survey as module
from nodes.observe.survey import Survey
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, mesh, until


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("mesh"), 2) as proxies:
        yield proxies


@pytest.fixture
def survey(proxies: list[ProxyProcess]) -> Iterator[Survey]:
    with Node(proxies[0].base) as node:
        survey = Survey(node)
        assert survey.open(PATIENCE_S)
        yield survey


@pytest.fixture
def other(proxies: list[ProxyProcess]) -> Iterator[Node]:
    """A node at the second proxy."""
    with Node(proxies[1].base, name="other") as node:
        assert node.wait_ack(node.subscribe("a/+", lambda message: None), 10).ok
        until(lambda: node.stats()["proxy"], "it knows its proxy")
        yield node


def test_it_knows_the_proxies_and_how_many_nodes_they_have(survey: Survey, other: Node) -> None:
    assert [record.id for record in survey.records()] == ["p1", "p2"]
    until(lambda: survey.nodes() == {"p1": 0, "p2": 1}, "its own node is not counted, the other is")


def test_each_proxy_answers(survey: Survey) -> None:
    for record in survey.records():
        ((elapsed_s, answer),) = survey.ping(record).wait(1, PATIENCE_S)
        assert (answer["answer"], answer["proxy"]) == ("ping", record.id) and 0 < elapsed_s < PATIENCE_S


def test_one_that_is_not_there_does_not(survey: Survey) -> None:
    assert survey.ping(Record("p9", "0" * 32, "tcp://127.0.0.1:1")).wait(1, 0.2) == []


def test_nodes_answer_but_not_the_operators_own(survey: Survey, other: Node) -> None:
    asked, trace = survey.ask_nodes("why", ["p1", "p2"], "a/b"), survey.trace("a/b")
    assert [answer["matches"] for _, answer in asked.wait(1, PATIENCE_S)] == [["a/+"]]
    ((_, answer),) = trace.wait(1, PATIENCE_S)
    assert (answer["node"], answer["publisher"]) == ("other", other._engine.up.publisher)
    assert survey.ask_nodes("stats", ["p1"]).wait(1, 0.2) == []


def test_a_peer_that_makes_up_answers_fills_neither_memory_nor_screen(
    survey: Survey, other: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ANSWERS", 3)
    ident, asked = survey._new()
    made_up = {"answer": "why", "id": ident, "node": "n" * 5_000, "proxy": "p" * 5_000}
    for _ in range(5):
        other.publish_system(survey._inbox, made_up, timeout_s=1.0)
    other.publish_system(survey._inbox, {"id": (end := survey._new())[0], "node": 7}, timeout_s=1.0)
    assert end[1].wait(1, PATIENCE_S)[0][1]["node"] == 7
    answers = [answer for _, answer in asked.wait(3, PATIENCE_S)]
    assert [(len(each["node"]), len(each["proxy"])) for each in answers] == [(module.MAX_NAME_CHARS,) * 2] * 3


def test_an_answer_waits_behind_the_messages_of_its_node(survey: Survey, other: Node) -> None:
    held_up, go_on = threading.Event(), threading.Event()

    def slow(message: Message) -> None:
        held_up.set()
        go_on.wait(PATIENCE_S)

    assert other.wait_ack(other.subscribe("slow", slow), 10).ok
    survey.node.publish("slow", 1)
    assert held_up.wait(PATIENCE_S)
    asked = survey.ask_nodes("stats", ["p2"])
    assert asked.wait(1, 0.3) == []
    go_on.set()
    ((elapsed_s, _),) = asked.wait(1, PATIENCE_S)
    assert elapsed_s > 0.3


def test_answers_to_one_question_are_not_those_to_another(survey: Survey, other: Node) -> None:
    first, second = (survey.ask_nodes("stats", ["p2"]) for _ in range(2))
    assert len(first.wait(1, PATIENCE_S)) == len(second.wait(1, PATIENCE_S)) == 1


def test_questions_are_forgotten(survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_REMEMBERED", 2)
    records = survey.records()
    for _ in range(5):
        survey.ping(records[0])
    assert len(survey._asked) == 2


def test_an_inbox_that_is_not_acknowledged_is_told(
    proxies: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Node(proxies[0].base) as node:
        monkeypatch.setattr(node, "wait_ack", lambda held, timeout_s: Ack(False, (), ("p1",), 0.1, "no answer"))
        with pytest.raises(NotConnected, match=r"not acknowledged an inbox for answers within 0\.1 s"):
            Survey(node).open(0.1)

"""The spaces of an agent's sessions: what is for it, and that nothing is missed once it is told so."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fabric import Node
from fabric.wire import Message
from nodes.agent.interface import Input, PageUpdated, Say, SessionSpoke, SpaceWatched
from nodes.agent.spaces import Spaces, spoken
from nodes.rules import topics
from nodes.rules.agreement import sealed
from nodes.rules.proofs import FRESH_S, key_of
from nodes.rules.spoken import by_page, is_agents
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

PLACE, SESSION = f"{'h' * 32}/{'n' * 32}", "s" * 22
KEY, SHARED = key_of("lease of ada"), key_of("shared with the page")
SEALED = sealed(KEY, SHARED, SESSION)


@pytest.mark.parametrize(
    ("topic", "by", "event"),
    [
        (topics.UPDATE, "page", PageUpdated(SESSION, 5)),
        (topics.UPDATE, "ada", None),
        (topics.STATE, None, None),
        (topics.STATE, "page", None),
        (topics.STATE, "bob", None),
        (topics.SNAPSHOT_REQUEST, "bob", None),
        (topics.MESSAGE, "page", SessionSpoke(SESSION, topics.MESSAGE, 5)),
        (topics.MESSAGE, "ada", None),
        ("~pagesession/a/b/c", "bob", SessionSpoke(SESSION, "~pagesession/a/b/c", 5)),
    ],
)
def test_what_a_message_is_for_an_agent(topic: str, by: str | None, event: Input | None) -> None:
    headers: dict[str, Any] = {} if by is None else {"by": by}
    message = Message(topics.in_space(PLACE, topic), 5, 7, 1, 0, headers)
    assert spoken("ada", SESSION, message) == event


def test_nothing_is_missed_from_when_it_is_told_until_it_hears_no_more(mesh: list[ProxyProcess]) -> None:
    heard = Box()
    with Node(mesh[0].base) as node, Node(mesh[1].base) as page:
        spaces = Spaces(node, "ada", KEY, heard)
        spaces.watch(SESSION, PLACE, SEALED)
        assert heard.wait() == [SpaceWatched(SESSION, PLACE)] and len(spaces) == 1
        topic, at = topics.in_space(PLACE, topics.UPDATE), time.time()
        forged = [
            {"by": "page"},
            by_page({"bob": SHARED}, topics.UPDATE, "u", at),
            by_page({"ada": key_of("evil")}, topics.UPDATE, "u", at),
            by_page({"ada": SHARED}, topics.PULSE, "u", at),
            by_page({"ada": SHARED}, topics.UPDATE, "v", at),
            by_page({"ada": SHARED}, topics.UPDATE, "u", at - FRESH_S - 1),
            {**by_page({"ada": SHARED}, topics.UPDATE, "u", at), "at": at + 1},
        ]
        for headers in (*forged, by_page({"ada": SHARED, "bob": KEY}, topics.UPDATE, "u", at)):
            page.publish(topic, "u", headers)
        assert heard.wait(2)[1:] == [PageUpdated(SESSION, "u")] and spaces.unproven == len(forged)
        filters = node.stats()["interest"]
        spaces.unwatch(SESSION)
        spaces.unwatch(SESSION)
        until(lambda: node.stats()["interest"] != filters, "it is subscribed no more")
        assert len(spaces) == 0
        spaces.watch(SESSION, PLACE, SEALED)
        spaces.close()


def test_what_it_says_carries_its_name(mesh: list[ProxyProcess]) -> None:
    arrived = Box()
    with Node(mesh[0].base) as node, Node(mesh[0].base) as page:
        assert page.wait_ack(page.subscribe(topics.in_space(PLACE, "#"), arrived), 10).ok
        spaces = Spaces(node, "ada", KEY, print)
        spaces.publish(Say(SESSION, PLACE, topics.MESSAGE, {"text": "nothing is shared yet"}))
        spaces.watch(SESSION, PLACE, SEALED)
        spaces.publish(Say(SESSION, PLACE, topics.MESSAGE, {"text": "hi"}))
        spaces.say(Say(SESSION, PLACE, topics.SNAPSHOT_REQUEST, {"epoch": 1}))
        said = {topics.SPACE + m.topic.split("/", 3)[3]: m for m in arrived.wait(2)}
    assert {topic: (m.payload, m.headers["by"]) for topic, m in said.items()} == {
        topics.MESSAGE: ({"text": "hi"}, "ada"),
        topics.SNAPSHOT_REQUEST: ({"epoch": 1}, "ada"),
    }
    assert all(is_agents(SHARED, "ada", m.headers, topic, m.payload, time.time()) for topic, m in said.items())


def test_a_chat_is_handed_over_by_the_page_it_names(mesh: list[ProxyProcess]) -> None:
    topic, payload = topics.agent_chat("ada"), {"session": SESSION, "lines": [], "dropped": 0}
    with Node(mesh[0].base) as node:
        spaces = Spaces(node, "ada", KEY, print)
        told = Message(topic, payload, 7, 1, 0, by_page({"ada": SHARED}, topic, payload, time.time()))
        assert not spaces.is_handed_over(told), "not before its visitor has let the agent in"
        spaces.watch(SESSION, PLACE, SEALED)
        assert spaces.is_handed_over(told)
        for forged in (payload | {"lines": [1]}, payload | {"session": "another"}, {}, None, 5):
            assert not spaces.is_handed_over(told._replace(payload=forged))
        assert not spaces.is_handed_over(told._replace(headers={"by": "page"})) and spaces.unproven == 7
        spaces.close()


def test_without_a_key_nothing_is_heard(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node:
        spaces = Spaces(node, "ada", KEY, print)
        for nothing in (None, "", "x" * 32):
            spaces.watch(SESSION, PLACE, nothing)
        assert len(spaces) == 0

"""The spaces of an agent's sessions: what is for it, and that nothing is missed once it is told so."""

from __future__ import annotations

from typing import Any

import pytest

from fabric import Node
from fabric.wire import Message
from nodes.agent.interface import Input, PageUpdated, Say, SessionSpoke, SpaceWatched
from nodes.agent.spaces import Spaces, spoken
from nodes.rules import topics
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

HOME, SESSION = "h" * 32, "s" * 22


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
    message = Message(topics.on_the_wire(HOME, SESSION, topic), 5, 7, 1, 0, headers)
    assert spoken("ada", SESSION, message) == event


def test_nothing_is_missed_from_when_it_is_told_until_it_hears_no_more(mesh: list[ProxyProcess]) -> None:
    heard = Box()
    with Node(mesh[0].base) as node, Node(mesh[1].base) as page:
        spaces = Spaces(node, "ada", heard)
        spaces.watch(SESSION, HOME)
        assert heard.wait() == [SpaceWatched(SESSION, HOME)] and len(spaces) == 1
        page.publish(topics.on_the_wire(HOME, SESSION, topics.UPDATE), "u", {"by": "page"})
        assert heard.wait(2)[1] == PageUpdated(SESSION, "u")
        filters = node.stats()["interest"]
        spaces.unwatch(SESSION)
        spaces.unwatch(SESSION)
        until(lambda: node.stats()["interest"] != filters, "it is subscribed no more")
        assert len(spaces) == 0
        spaces.watch(SESSION, HOME)
        spaces.close()


def test_what_it_says_carries_its_name(mesh: list[ProxyProcess]) -> None:
    arrived = Box()
    with Node(mesh[0].base) as node, Node(mesh[0].base) as page:
        assert page.wait_ack(page.subscribe(topics.on_the_wire(HOME, SESSION, "#"), arrived), 10).ok
        spaces = Spaces(node, "ada", print)
        spaces.publish(Say(SESSION, HOME, topics.MESSAGE, {"text": "hi"}))
        spaces.say(Say(SESSION, HOME, topics.SNAPSHOT_REQUEST, {"epoch": 1}))
        said = {m.topic.rpartition("/")[2]: (m.payload, dict(m.headers)) for m in arrived.wait(2)}
    assert said == {
        "message": ({"text": "hi"}, {"by": "ada"}),
        "snapshot_request": ({"epoch": 1}, {"by": "ada"}),
    }

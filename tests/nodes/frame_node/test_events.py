"""What is published after a commit: to whom, what an agent does not see, and what is counted when nobody takes it."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from fabric import Node
from fabric.errors import FabricError, HighWaterMarkReached, ScopeError
from nodes.frame_node.events import PUBLISH_S, Events
from nodes.frame_node.touched import Touched
from nodes.store.records import new_page
from tests.support.proven import agent_key, page_key, page_name

SESSION = page_name("one")
PAGE = new_page(SESSION, "home", 30.0, 0.0, key=page_key(SESSION))._replace(version=3, code="012345", agent="ann")


class Wire:
    """A node's `publish`: keeps what was published, or refuses it.

    refusals: the error for each publish to come, in their order; None, or no more, lets it pass
    """

    def __init__(self, *refusals: FabricError | None) -> None:
        self.refusals = list(refusals)
        self.published: list[tuple[str, Any]] = []
        self.waits_s: list[float] = []

    def publish(self, topic: str, payload: Any, *, timeout_s: float) -> int:
        self.waits_s.append(timeout_s)
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        self.published.append((topic, payload))
        return len(self.published)

    publish_system = publish


def events(wire: Wire) -> Events:
    return Events(cast(Node, wire))


def touched(*agents: str) -> Touched:
    whole = Touched()
    whole.page(PAGE, also=agents)
    whole.keys = {agent: agent_key(agent) for agent in ("ann", "bob")}
    return whole


def test_a_page_and_each_agent_concerned_are_told_and_no_agent_sees_the_code() -> None:
    wire = Wire()
    events(wire).tell_pages(touched("bob"))
    (page_topic, to_page), *others = wire.published
    assert page_topic == f"~pagesession/home/{PAGE.session}/frame/state"
    assert (to_page["code"], to_page["version"], to_page["lease_s"]) == ("012345", 3, 30.0)
    assert {topic for topic, _ in others} == {"$site_connect/agent/ann/state", "$site_connect/agent/bob/state"}
    assert all(state["version"] == 3 and "012345" not in map(str, state.values()) for _, state in others)


def test_buttons_are_told_when_they_have_changed_or_it_is_time() -> None:
    wire = Wire()
    telling = events(wire)
    for available, always in (({}, False), ({"help": 1}, False), ({"help": 1}, False), ({"help": 1}, True)):
        telling.tell_buttons(available, always)
    assert wire.published == [("$site_connect/buttons", {"help": 1})] * 2


def test_a_transport_that_is_full_is_waited_for_once_and_what_it_refuses_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire(ScopeError("no"), HighWaterMarkReached("full"))
    telling = events(wire)
    telling.tell_pages(touched("bob"))
    assert wire.waits_s == [PUBLISH_S, PUBLISH_S, 0.0], "only what the transport refuses costs the others their wait"
    assert telling.untold == 2 and len(wire.published) == 1
    assert "2 of 3 events could not be published: full" in caplog.text
    telling.tell_pages(touched())
    assert wire.waits_s[3:] == [PUBLISH_S, PUBLISH_S] and telling.untold == 2, "the next batch waits again"


def test_codes_and_sessions_are_logged_as_hashes_that_are_equal_within_one_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "nodes.frame_node")
    one, other = events(Wire()), events(Wire())
    for telling in (one, one, other):
        telling.tell_pages(touched())
    first, second, third = [record.getMessage() for record in caplog.records]
    assert first == second != third
    assert "version 3 epoch 1: co-browsing idle, chat idle, code #" in first
    assert not [secret for secret in ("012345", PAGE.session) if secret in caplog.text]

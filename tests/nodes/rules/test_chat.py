"""The chat of one page."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.chat import MACHINE
from tests.support.machines import assert_sound, walk


def test_the_table_is_sound() -> None:
    assert_sound(MACHINE)


def test_a_chat_from_trigger_to_stop_and_the_next_one() -> None:
    assert walk(MACHINE, "trigger", "offer", "accept") == "open"
    assert walk(MACHINE, "trigger", "offer", "accept", "stop", "trigger") == "waiting"


@pytest.mark.parametrize("event", ["decline", "timeout", "agent_lost"])
def test_an_offer_that_nobody_takes_goes_back_to_the_queue(event: str) -> None:
    assert walk(MACHINE, "trigger", "offer", event) == "waiting"
    assert walk(MACHINE, "trigger", "offer", event, "offer", "accept") == "open"


def test_a_proactive_chat_opens_when_the_visitor_takes_it_up() -> None:
    assert walk(MACHINE, "proactive", "trigger") == "open"
    assert walk(MACHINE, "proactive", "stop") == "closed"
    assert walk(MACHINE, "proactive", "agent_lost") == "closed"
    assert walk(MACHINE, "trigger", "stop", "proactive") == "invited"


def test_an_agent_that_vanishes_ends_an_open_chat() -> None:
    assert walk(MACHINE, "trigger", "offer", "accept", "agent_lost") == "closed"


@pytest.mark.parametrize("state", ["waiting", "offered", "invited", "open", "closed"])
def test_a_chat_can_be_stopped_whenever_there_is_one(state: str) -> None:
    assert MACHINE.after(state, "stop") == "closed"


@pytest.mark.parametrize(
    ("state", "event"),
    [("idle", "stop"), ("idle", "accept"), ("waiting", "accept"), ("waiting", "trigger"), ("open", "proactive")],
)
def test_what_does_not_belong_is_refused(state: str, event: str) -> None:
    with pytest.raises(StateError):
        MACHINE.after(state, event)

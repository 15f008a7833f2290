"""The differences of two state maps."""

from __future__ import annotations

import pytest

from nodes.page.events import chat_events
from nodes.rules import chat, topics
from nodes.rules.state_map import START, StateMap


def chat_state(name: str, agent: str | None = None) -> StateMap:
    return {**START, "chat": name, "chat_agent": agent, "button": "help"}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (("idle", None), ("waiting", None), []),
        (("waiting", None), ("offered", "a"), []),
        (("offered", "a"), ("open", "a"), ["accepted"]),
        (("idle", None), ("open", "a"), ["accepted"]),
        (("idle", None), ("invited", "a"), ["trigger"]),
        (("invited", "a"), ("open", "a"), ["accepted"]),
        (("invited", "a"), ("closed", None), ["stop"]),
        (("open", "a"), ("closed", None), ["stop"]),
        (("open", "a"), ("waiting", None), ["stop"]),
        (("open", "a"), ("open", "b"), ["stop", "accepted"]),
        (("waiting", None), ("closed", None), ["stop"]),
        (("closed", None), ("closed", None), []),
        (("idle", None), ("closed", None), []),
        (("open", "a"), ("open", "a"), []),
    ],
)
def test_what_a_page_is_told_of_its_chat(
    old: tuple[str, str | None], new: tuple[str, str | None], told: list[str]
) -> None:
    events = chat_events(chat_state(*old), chat_state(*new))
    assert [event.topic.rpartition("/")[2] for event in events] == told


def test_every_pair_of_chat_states_has_an_answer() -> None:
    for before in chat.MACHINE.states:
        for after in chat.MACHINE.states:
            told = [event.topic for event in chat_events(chat_state(before, "a"), chat_state(after, "b"))]
            assert (topics.ACCEPTED in told) == (after == "open")
            assert told.count(topics.CHAT_STOPPED) <= 1

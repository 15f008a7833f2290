"""The differences of two state maps, and what is a state map at all."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.page import events
from nodes.page.events import START, chat_events, is_state
from nodes.rules import chat
from tests.support.page_world import SESSION, state


def chat_state(name: str, agent: str | None = None) -> dict[str, Any]:
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
            topics = [event.topic for event in chat_events(chat_state(before, "a"), chat_state(after, "b"))]
            assert (events.ACCEPTED in topics) == (after == "open")
            assert topics.count(events.CHAT_STOPPED) <= 1


def test_a_state_map_is_known() -> None:
    assert is_state(state(1), SESSION)
    without_code = state(1)
    del without_code["code"]
    assert is_state(without_code, SESSION), "as agents get it"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "x",
        {},
        state(1, session="another"),
        state(True),
        {**state(1), "version": "1"},
        {**state(1), "version": None},
        state(1, epoch=1.5),
        state(1, cobrowse="flying"),
        state(1, cobrowse=["idle"]),
        state(1, visibility={}),
        state(1, visibility="huge"),
        state(1, chat=7),
        state(1, agent=7),
        state(1, code=111111),
    ],
)
def test_what_is_no_state_map_is_refused(wrong: Any) -> None:
    assert not is_state(wrong, SESSION)

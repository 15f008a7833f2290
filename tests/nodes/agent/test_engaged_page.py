"""A page that an agent is engaged with: what the agent is to it, updates and their gaps, its end."""

from __future__ import annotations

from typing import Any

import pytest

from fabric.errors import StateError
from nodes.agent.engaged_page import AGAIN_S, EngagedPage, View, session_of, view_of
from nodes.agent.interface import Ask, Effect, Say, Tell, Unwatch, Watch
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import START, StateMap
from nodes.rules.topics import SNAPSHOT_REQUEST

JOINED: StateMap = {**START, "home": "h1", "version": 1, "cobrowse": "joined", "epoch": 3, "agent": "ada"}
CHAT: StateMap = {**START, "home": "h1", "version": 1, "chat": "open", "chat_agent": "ada", "button": "help"}


def names(effects: list[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Tell)]


def joined() -> EngagedPage:
    page = EngagedPage("ada", "s", 0.0)
    page.take(JOINED, 0.0)
    return page


@pytest.mark.parametrize(
    ("agent", "changes", "view"),
    [
        ("ada", {}, View(Cobrowse("joined", 3), "idle", "h1")),
        ("bob", {}, View(Cobrowse("idle", 3), "idle", None)),
        ("ada", {"gone": True}, View(Cobrowse("idle", 3), "idle", None)),
        ("bob", {"chat": "offered", "chat_agent": "bob"}, View(Cobrowse("idle", 3), "offered", None)),
        ("bob", {"chat": "open", "chat_agent": "bob"}, View(Cobrowse("idle", 3), "open", "h1")),
        ("bob", {"chat": "open", "chat_agent": "ada"}, View(Cobrowse("idle", 3), "idle", None)),
        ("ada", {"cobrowse": "stopping"}, View(Cobrowse("stopping", 3), "idle", None)),
    ],
)
def test_what_an_agent_is_to_a_page(agent: str, changes: Any, view: View) -> None:
    assert view_of(agent, {**JOINED, **changes}, 0) == view


def test_its_own_stop_counts_before_the_frame_node_has_heard_of_it() -> None:
    assert session_of("ada", JOINED) == Cobrowse("joined", 3)
    assert view_of("ada", JOINED, 4).cobrowsing == Cobrowse("stopping", 4)


def test_joined_its_space_is_heard_and_a_snapshot_is_wanted_when_that_holds() -> None:
    page = EngagedPage("ada", "s", 0.0)
    effects = page.take(JOINED, 0.0)
    assert effects == [Tell("joined", {"session": "s", "epoch": 3}), Watch("s", "h1")]
    assert page.want_snapshot(0.0) == [Say("s", "h1", SNAPSHOT_REQUEST, {"epoch": 3, "agent": "ada"})]
    assert page.tick(AGAIN_S - 0.1) == []
    assert len(page.tick(AGAIN_S)) == 1


def test_in_chat_already_a_snapshot_is_wanted_at_once() -> None:
    page = EngagedPage("ada", "s", 0.0)
    assert page.take(CHAT, 0.0) == [Tell("chat_open", {"session": "s", "button": "help"}), Watch("s", "h1")]
    effects = page.take({**CHAT, "version": 2, "cobrowse": "joined", "agent": "ada"}, 0.0)
    assert [type(effect) for effect in effects] == [Tell, Say]


def test_where_an_update_stands() -> None:
    page = joined()
    assert page.place_of(1, False) == "unsynced"
    assert page.place_of(5, True) == "next"
    page.handed_on(5, True)
    assert [page.place_of(n, False) for n in (5, 6, 7)] == ["gap", "next", "gap"]
    page.handed_on(6, False)
    assert page.place_of(7, False) == "next"
    page.unsync()
    assert page.place_of(7, False) == "unsynced"


def test_a_stop_is_asked_until_it_is_answered_and_once() -> None:
    page = joined()
    stop = Ask("stop", {"agent": "ada", "session": "s", "epoch": 3})
    assert page.stop(0.0) == [Tell("stopped", {"session": "s", "epoch": 3, "by": "agent"}), stop]
    with pytest.raises(StateError):
        page.stop(0.0)
    page.put_off(stop, 2.0)
    assert page.tick(1.9) == [] and page.tick(2.0) == [stop] and page.tick(9.0) == []
    page.put_off(Ask("stop", {}), 2.0)
    assert page.tick(9.0) == [], "the failure of another request"
    page.put_off(stop, 9.0)
    page.ended(stop)
    assert page.tick(99.0) == []


def test_a_stop_by_the_page_is_confirmed_once_and_forgotten_when_it_is_over() -> None:
    page = joined()
    stopping: StateMap = {**JOINED, "version": 2, "cobrowse": "stopping", "epoch": 4}
    confirm = Ask("confirm_stop", {"agent": "ada", "session": "s", "epoch": 4})
    effects = page.take(stopping, 0.0)
    assert effects == [Tell("stopped", {"session": "s", "epoch": 3, "by": "page"}), Unwatch("s"), confirm]
    assert page.take({**stopping, "version": 3}, 0.0) == []
    page.put_off(confirm, 1.0)
    page.take({**stopping, "version": 4, "cobrowse": "idle", "agent": None}, 0.0)
    assert page.tick(9.0) == []


def test_let_go_it_tells_the_end_of_all_that_was_told() -> None:
    page = joined()
    page.take({**JOINED, "version": 2, "chat": "open", "chat_agent": "ada"}, 0.0)
    effects = page.let_go(0.0)
    assert names(effects) == ["stopped", "chat_closed"] and effects[-1] == Unwatch("s")
    page = EngagedPage("ada", "s", 0.0)
    page.take({**CHAT, "chat": "offered"}, 0.0)
    assert page.let_go(0.0) == [Tell("chat_withdrawn", {"session": "s", "button": "help"})]
    page = joined()
    page.take({**JOINED, "version": 2, "gone": True}, 0.0)
    assert page.let_go(0.0) == [Tell("page_gone", {"session": "s"})]


def test_an_epoch_that_is_below_one_it_has_seen_is_over_for_good() -> None:
    page = joined()
    page.take({**JOINED, "version": 2, "cobrowse": "idle", "agent": None, "epoch": 5}, 0.0)
    assert page.take({**JOINED, "version": 3, "epoch": 4}, 0.0) == [Watch("s", "h1")]
    assert page.view.cobrowsing == Cobrowse("stopping", 5)

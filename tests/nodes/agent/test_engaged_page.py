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

JOINED: StateMap = {**START, "space": "h1/s", "version": 1, "cobrowse": "joined", "epoch": 3, "agent": "ada"}
ASKED: StateMap = {**JOINED, "cobrowse": "asked", "agent_name": "Ada", "capability": "view", "asked_by": "code"}
CHAT: StateMap = {**START, "space": "h1/s", "version": 1, "chat": "open", "chat_agent": "ada", "button": "help"}


def names(effects: list[Effect]) -> list[str]:
    return [effect.event for effect in effects if isinstance(effect, Tell)]


def joined() -> EngagedPage:
    page = EngagedPage("ada", "s", 0.0)
    page.take(JOINED, 0.0)
    return page


@pytest.mark.parametrize(
    ("agent", "changes", "view"),
    [
        ("ada", {}, View(Cobrowse("joined", 3), "idle", "h1/s")),
        ("bob", {}, View(Cobrowse("idle", 3), "idle", None)),
        ("ada", {"gone": True}, View(Cobrowse("idle", 3), "idle", None)),
        ("bob", {"chat": "offered", "chat_agent": "bob"}, View(Cobrowse("idle", 3), "offered", None)),
        ("bob", {"chat": "open", "chat_agent": "bob"}, View(Cobrowse("idle", 3), "open", "h1/s")),
        ("bob", {"chat": "open", "chat_agent": "ada"}, View(Cobrowse("idle", 3), "idle", None)),
        ("ada", {"cobrowse": "stopping"}, View(Cobrowse("stopping", 3), "idle", None)),
        ("ada", {"cobrowse": "asked"}, View(Cobrowse("asked", 3), "idle", None)),
        ("bob", {"cobrowse": "asked"}, View(Cobrowse("idle", 3), "idle", None)),
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
    assert effects == [Tell("joined", {"session": "s", "epoch": 3}), Watch("s", "h1/s", None)]
    assert page.want_snapshot(0.0) == [Say("s", "h1/s", SNAPSHOT_REQUEST, {"epoch": 3, "agent": "ada"})]
    assert page.tick(AGAIN_S - 0.1) == []
    assert len(page.tick(AGAIN_S)) == 1


def test_in_chat_already_a_snapshot_is_wanted_at_once() -> None:
    page = EngagedPage("ada", "s", 0.0)
    assert page.take(CHAT, 0.0) == [Tell("chat_open", {"session": "s", "button": "help"}), Watch("s", "h1/s", None)]
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


def asking() -> EngagedPage:
    page = EngagedPage("ada", "s", 0.0)
    assert page.take(ASKED, 0.0) == [Tell("requested", {"session": "s", "epoch": 3, "capability": "view"})]
    return page


def test_before_it_is_allowed_nothing_is_heard_of_the_page_and_no_snapshot_asked_for() -> None:
    page = asking()
    assert page.view.space is None and not page.accepts(3)
    assert page.want_snapshot(0.0) == [] and page.tick(99.0) == []
    assert page.take({**ASKED, "version": 2, "visibility": "shown"}, 0.0) == [], "told once"
    effects = page.take({**JOINED, "version": 3}, 0.0)
    assert effects == [Tell("joined", {"session": "s", "epoch": 3}), Watch("s", "h1/s", None)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"epoch": 4, "refusal": "declined"}, "declined"),
        ({"epoch": 4, "refusal": "timeout"}, "timeout"),
        ({"epoch": 7, "refusal": "timeout"}, "unknown"),
        ({"epoch": 4, "refusal": "page_lost", "gone": True}, "page_lost"),
    ],
)
def test_a_request_that_is_over_is_told_with_its_reason(changes: Any, reason: str) -> None:
    page = asking()
    over: StateMap = {**START, "space": "h1/s", "version": 2, **changes}
    assert page.take(over, 0.0) == [Tell("request_declined", {"session": "s", "epoch": 3, "reason": reason})]


def test_an_agent_takes_its_request_back_and_an_allow_that_crosses_comes_too_late() -> None:
    page = asking()
    stop = Ask("stop", {"agent": "ada", "session": "s", "epoch": 3})
    told = Tell("request_declined", {"session": "s", "epoch": 3, "reason": "withdrawn"})
    assert page.stop(0.0) == [told, stop]
    with pytest.raises(StateError):
        page.stop(0.0)
    assert names(page.take({**JOINED, "version": 2}, 0.0)) == []
    assert page.view.cobrowsing == Cobrowse("stopping", 4) and not page.accepts(3) and page.want_snapshot(0.0) == []
    assert page.take({**START, "version": 3, "epoch": 4, "refusal": "withdrawn"}, 0.0) == [Unwatch("s")]


def test_one_request_after_the_other() -> None:
    page = asking()
    effects = page.take({**ASKED, "version": 2, "epoch": 4}, 0.0)
    assert names(effects) == ["request_declined", "requested"]


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
    assert page.take({**JOINED, "version": 3, "epoch": 4}, 0.0) == [Watch("s", "h1/s", None)]
    assert page.view.cobrowsing == Cobrowse("stopping", 5)

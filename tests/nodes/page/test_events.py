"""What a page's subscribers are told: the differences of two views, and what a late subscriber gets."""

from __future__ import annotations

import pytest

from nodes.page.events import View, changes, chat_changes, retained, view_of
from nodes.rules import chat, topics
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import START, StateMap

BLANK = View(Cobrowse(), None, None, "hidden", "idle", None, None)
JOINED = BLANK._replace(cobrowsing=Cobrowse("joined", 3), agent="ada")


ASKED = BLANK._replace(
    cobrowsing=Cobrowse("asked", 3), agent="ada", agent_name="Ada", capability="view", asked_by="code"
)
REQUEST = {"epoch": 3, "agent": "ada", "name": "Ada", "capability": "view", "by": "code"}


def in_chat(name: str, agent: str | None = None) -> View:
    return BLANK._replace(chat=name, chat_agent=agent, button="help")


@pytest.mark.parametrize(
    ("before", "after", "told"),
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
    before: tuple[str, str | None], after: tuple[str, str | None], told: list[str]
) -> None:
    events = chat_changes(in_chat(*before), in_chat(*after))
    assert [event.topic.rpartition("/")[2] for event in events] == told


def test_every_pair_of_chat_states_has_an_answer() -> None:
    for before in chat.MACHINE.states:
        for after in chat.MACHINE.states:
            told = [event.topic for event in chat_changes(in_chat(before, "a"), in_chat(after, "b"))]
            assert (topics.ACCEPTED in told) == (after == "open")
            assert told.count(topics.CHAT_STOPPED) <= 1


def test_a_view_is_the_state_with_its_own_stops_and_requests_as_if_they_were_done() -> None:
    state: StateMap = {**START, "cobrowse": "joined", "epoch": 3, "agent": "ada", "chat": "open", "button": "help"}
    state["chat_agent"] = "bob"
    assert view_of(state, 3, []) == JOINED._replace(chat="open", chat_agent="bob", button="help")
    assert view_of(state, 5, []).cobrowsing == Cobrowse("stopping", 5)
    asked = [("set_visibility", {"event": event}) for event in ("show", "minimise")]
    view = view_of(state, 3, [*asked, ("stop_chat", {}), ("trigger", {"button": "x"})])
    assert view == JOINED._replace(visibility="minimised", chat="closed", button="help")
    assert view_of(START, 1, [("stop_chat", {})]).chat == "idle"


def test_a_view_that_stays_tells_nothing() -> None:
    for view in (BLANK, JOINED, BLANK._replace(code="1", visibility="shown"), in_chat("open", "ada")):
        assert changes(view, view, first_code=True) == []


def test_changes_are_told_in_the_order_of_a_session() -> None:
    after = JOINED._replace(cobrowsing=Cobrowse("joined", 4), agent="bob", visibility="shown", code="1")
    assert changes(JOINED, after, first_code=True) == [
        (topics.STOPPED, {"epoch": 3}),
        (topics.STARTED, {"epoch": 4, "agent": "bob"}),
        (topics.READY, {"code": "1"}),
        (topics.SHOW, {}),
    ]
    assert changes(JOINED, BLANK, first_code=False) == [(topics.STOPPED, {"epoch": 3})]
    assert changes(after, after._replace(code="2"), first_code=False) == [(topics.NEW_CODE, {"code": "2"})]
    assert changes(after, after._replace(code=None), first_code=False) == [], "it was used up by a join"


def test_a_request_is_told_once_and_then_how_it_went() -> None:
    assert changes(BLANK, ASKED, first_code=False) == [(topics.ASKED, REQUEST)]
    assert changes(ASKED, ASKED._replace(visibility="shown"), first_code=False) == [(topics.SHOW, {})]
    allowed = ASKED._replace(cobrowsing=Cobrowse("joined", 3), asked_by=None)
    assert changes(ASKED, allowed, first_code=False) == [(topics.STARTED, {"epoch": 3, "agent": "ada"})]
    nameless = ASKED._replace(agent_name=None)
    assert changes(BLANK, nameless, first_code=False)[0].payload["name"] == "ada"


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (BLANK._replace(cobrowsing=Cobrowse("idle", 4)), "declined"),  # by the page itself, just now
        (BLANK._replace(cobrowsing=Cobrowse("idle", 4), refusal="timeout"), "timeout"),
        (BLANK._replace(cobrowsing=Cobrowse("idle", 4), refusal="withdrawn"), "withdrawn"),
        (BLANK._replace(cobrowsing=Cobrowse("idle", 6), refusal="timeout"), "unknown"),
        (ASKED._replace(cobrowsing=Cobrowse("stopping", 4)), "unknown"),
    ],
)
def test_a_request_that_was_not_allowed_is_over_for_a_reason(after: View, reason: str) -> None:
    (told,) = [event for event in changes(ASKED, after, first_code=False) if event.topic == topics.DECLINED]
    assert told.payload == {"epoch": 3, "agent": "ada", "capability": "view", "reason": reason}


def test_one_request_follows_another_and_a_session_that_was_missed() -> None:
    next_one = ASKED._replace(cobrowsing=Cobrowse("asked", 4), agent="bob", agent_name="Bob")
    told = [event.topic for event in changes(ASKED, next_one, first_code=False)]
    assert told == [topics.DECLINED, topics.ASKED]
    assert [event.topic for event in changes(JOINED, next_one, first_code=False)] == [topics.STOPPED, topics.ASKED]
    another = JOINED._replace(cobrowsing=Cobrowse("joined", 5))
    assert [event.topic for event in changes(ASKED, another, first_code=False)] == [topics.DECLINED, topics.STARTED]


@pytest.mark.parametrize(
    ("view", "is_ready", "codes", "ended_epoch", "topics_told"),
    [
        (BLANK, False, 0, None, []),
        (BLANK._replace(code="1"), True, 1, None, [topics.READY]),
        (BLANK._replace(code="1"), True, 2, None, [topics.READY, topics.NEW_CODE]),
        (BLANK, True, 2, 7, [topics.READY, topics.STOPPED]),
        (BLANK, False, 2, 7, [topics.STOPPED]),
        (JOINED, True, 1, 2, [topics.READY, topics.STARTED]),
        (ASKED, True, 1, None, [topics.READY, topics.ASKED]),
        (ASKED, True, 1, 2, [topics.READY, topics.ASKED, topics.STOPPED]),
    ],
)
def test_what_a_late_subscriber_is_told(
    view: View, is_ready: bool, codes: int, ended_epoch: int | None, topics_told: list[str]
) -> None:
    buttons = {"help": True, "sales": False, "other": None}
    events = retained(view, is_ready=is_ready, codes=codes, ended_epoch=ended_epoch, buttons=buttons)
    told_of_buttons = [f"{topics.BUTTON}help/enabled", f"{topics.BUTTON}sales/disabled"]
    assert [event.topic for event in events] == [*topics_told, *told_of_buttons]
    for topic, payload in events:
        assert topic not in (topics.READY, topics.NEW_CODE) or payload == {"code": view.code}
        assert topic != topics.STOPPED or payload == {"epoch": ended_epoch}
        assert topic != topics.STARTED or payload == {"epoch": 3, "agent": "ada"}
        assert topic != topics.ASKED or payload == REQUEST

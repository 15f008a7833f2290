"""The frame of a page: codes, retries, stops, requests; and every way in which word may be late or lost."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import HighWaterMarkReached, NotAllowed, StateError
from nodes.page.frame_core import AGAIN_S, FrameCore
from nodes.page.interface import (
    Ask,
    FrameAttached,
    FrameNodeAnswered,
    FrameNodeRejected,
    FrameNodeWasBusy,
    LeaseKept,
    PageCame,
    PageChoseButtons,
    PageRetried,
)
from nodes.page.requests import MAX_REQUESTS
from nodes.rules import chat, cobrowse, topics, visibility
from tests.support.page_world import SESSION, World, state


def test_whoever_comes_second_starts_the_request() -> None:
    page_first, frame_first = World(), World()
    page_first.come()
    assert not page_first.asked
    page_first.attach()
    frame_first.attach()
    assert not frame_first.asked
    frame_first.come()
    for world in (page_first, frame_first):
        assert world.operations() == ["grant_code"]
        body = {"session": SESSION, "home": world.frame.home, "lease_s": 10.0, "consent": "code"}
        assert world.asked[0].body == body
        assert world.topics() == []
        world.answer(state(1))
        assert world.told == [("~/site_connect/ready", {"code": "111111"})]


def test_the_reply_may_come_after_the_event_and_ready_is_told_once() -> None:
    world = World().come().attach()
    world.hear(state(1))
    assert world.topics() == [], "hearsay before the grant"
    world.answer(state(1))
    world.hear(state(1))
    assert world.topics() == ["ready"]


def test_busy_then_retry_then_ready() -> None:
    world = World().come().attach()
    world.refuse(retry_after_s=2.0)
    assert world.told == [("~/site_connect/retry", {"attempt": 1, "next_try_s": 2.5, "reason": "busy"})]
    assert world.frame.due_s() == 2.5
    world.tick(2.4)
    assert len(world.asked) == 1
    world.tick(0.1)
    assert len(world.asked) == 2 and world.asked[0].key != world.asked[1].key
    assert world.frame.due_s() is None, "an answer is awaited"
    world.answer(state(1))
    assert world.topics() == ["retry", "ready"]


def test_busy_for_ever_then_error_then_another_round() -> None:
    world = World(attempts=3).come().attach()
    for _ in range(2):
        world.refuse()
        world.tick(10)
    world.refuse()
    assert world.told[-1] == ("~/site_connect/error", {"attempts": 3, "reason": "busy"})
    assert world.topics() == ["retry", "retry", "error"]
    world.tick(1000)
    assert len(world.asked) == 3 and world.frame.due_s() is None
    world.handle(PageRetried())
    world.answer(state(1))
    assert world.topics() == ["ready"]
    with pytest.raises(StateError):
        world.handle(PageRetried())


def test_a_code_that_no_frame_node_has_kept_is_not_shown_and_asked_for_again() -> None:
    world = World().ready()
    world.topics()
    world.tick(9)
    world.handle(LeaseKept(world.now))
    world.tick(9.5)
    assert world.topics() == [] and world.frame.due_s() == 19.0, "kept for ten seconds since it was asked"
    world.tick(0.5)
    assert [event.topic for event in world.frame.retained()] == []
    assert world.operations()[-1] == "grant_code"
    world.refuse()
    assert world.topics() == ["retry"]
    world.tick(10)
    world.answer(state(2, code="222222"))
    assert world.told[-1] == ("~/site_connect/new_code", {"code": "222222"}) or world.topics()[-1] == "ready"


def test_a_running_session_does_not_end_by_a_frame_node_that_is_silent() -> None:
    world = World().ready()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    world.topics()
    world.tick(60)
    assert world.topics() == [] and world.frame.is_ready


def test_a_session_and_a_new_code() -> None:
    world = World().ready()
    world.topics()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada", visibility="shown"))
    assert world.topics() == ["cobrowsing/start", "show_frame"]
    world.hear(state(3, code=None, cobrowse="stopping", epoch=2, agent="ada", visibility="shown"))
    assert world.topics() == ["cobrowsing/stop"]
    world.hear(state(4, code="222222", epoch=2, visibility="shown"))
    assert world.told == [("~/site_connect/new_code", {"code": "222222"})]


def test_old_news_and_other_news_change_nothing() -> None:
    world = World().ready()
    world.hear(state(5, code=None, cobrowse="joined", agent="ada"))
    world.topics()
    world.hear(state(4, epoch=9))
    world.hear(state(5))
    world.hear(state(99, session="t" * 22))
    world.hear({"nonsense": 1})
    assert world.topics() == [] and world.frame.cobrowsing.state == "joined"


def test_what_was_missed_in_between_is_told_as_far_as_it_matters() -> None:
    world = World().ready()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    world.topics()
    world.hear(state(7, code=None, cobrowse="joined", epoch=4, agent="bob"))
    assert world.topics() == ["cobrowsing/stop", "cobrowsing/start"]


def test_no_free_code_after_a_session_is_asked_for() -> None:
    world = World().ready()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    assert len(world.asked) == 1
    world.hear(state(3, code=None, epoch=2))
    assert world.operations() == ["grant_code"] * 2
    world.refuse()
    assert world.frame.is_ready and world.frame.due_s() is not None
    world.tick(10)
    world.answer(state(4, code="333333", epoch=2))
    assert world.told[-1] == ("~/site_connect/new_code", {"code": "333333"})


# ── stops ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def joined() -> World:
    world = World().ready()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    world.topics()
    return world


def test_a_stop_is_at_once_here_and_acknowledged_by_the_frame_nodes_state() -> None:
    world = joined()
    number = world.stop()
    assert world.topics() == ["cobrowsing/stop"] and not world.update()
    assert world.asked[-1].operation == "stop" and world.asked[-1].body == {"session": SESSION, "epoch": 1}
    world.hear(state(3, code=None, cobrowse="joined", agent="ada", visibility="shown"))
    assert not world.update(), "a state from before the stop does not bring the session back"
    world.answer(state(4, code=None, cobrowse="stopping", epoch=2, agent="ada", visibility="shown"), "stop")
    assert world.acknowledged == []
    world.hear(state(5, code="222222", epoch=2, visibility="shown"))
    assert world.acknowledged == [number] and world.topics() == ["show_frame", "new_code"]


def test_a_second_stop_is_the_same_stop() -> None:
    world = joined()
    numbers = [world.stop() for _ in range(3)]
    assert world.operations().count("stop") == 1 and world.topics() == ["cobrowsing/stop"]
    world.answer(state(4, epoch=2), "stop")
    assert world.acknowledged == numbers


def test_a_stop_that_nobody_hears_is_asked_again_until_it_is() -> None:
    world = joined()
    world.stop()
    for _ in range(20):
        world.refuse(operation="stop")
        world.tick(AGAIN_S)
    assert world.operations().count("stop") == 21
    world.answer(state(4, epoch=2), "stop")
    world.tick(100)
    assert world.operations().count("stop") == 21 and world.acknowledged == [1]


def test_a_stop_without_a_session_keeps_a_join_from_starting_one() -> None:
    world = World().ready()
    world.stop()
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    assert "cobrowsing/start" not in world.topics() and not world.update()
    world.answer(state(3, code=None, cobrowse="stopping", epoch=2, agent="ada"), "stop")
    assert not world.acknowledged
    world.hear(state(4, epoch=2))
    assert world.acknowledged == [1]


def test_a_stop_that_no_frame_node_can_ever_have_heard_of_is_over_at_once() -> None:
    world = World().come()
    assert world.stop() == 1 and world.acknowledged == [1]
    world.attach()
    world.answer(state(1))
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    assert world.update(), "it concerned nothing that comes later"


@pytest.mark.parametrize("resumed", [True, False])
def test_a_stop_before_the_first_word_ends_the_session_that_the_first_word_shows(resumed: bool) -> None:
    """The page was loaded again in mid-session, or its first request is under way."""
    world = World(resumed=resumed).come()
    if not resumed:
        world.attach()
    number = world.stop()
    assert world.acknowledged == []
    if resumed:
        world.attach()
    world.answer(state(7, code=None, cobrowse="joined", epoch=5, agent="ada"))
    assert not world.update() and "cobrowsing/start" not in world.topics()
    assert world.asked[-1].body == {"session": SESSION, "epoch": 5}
    world.answer(state(8, code=None, cobrowse="stopping", epoch=6, agent="ada"), "stop")
    world.hear(state(9, epoch=6))
    assert world.acknowledged == [number]


def test_a_frame_node_that_has_forgotten_the_page_is_told_its_epoch() -> None:
    """The store was lost: the page's epoch never falls, or an old update could be taken for a new one."""
    world = joined()
    world.stop()
    world.answer(state(4, epoch=2), "stop")
    world.lose()
    world.answer(state(1, code="555555", epoch=1))
    assert world.asked[-1].operation == "stop" and world.asked[-1].body["epoch"] == 1
    world.answer(state(2, code="555555", epoch=2), "stop")
    world.hear(state(3, code=None, cobrowse="joined", epoch=2, agent="ada"))
    assert world.update()


# ── the lease ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_lease_ends_the_session_and_begins_anew() -> None:
    world = joined()
    world.lose()
    assert world.topics() == ["cobrowsing/stop"] and not world.update()
    assert world.asked[-1].operation == "grant_code"
    world.answer(state(9, code="444444", epoch=2))
    assert world.told == [("~/site_connect/new_code", {"code": "444444"})]


def test_gone_comes_as_a_state_too() -> None:
    world = joined()
    world.hear(state(3, code=None, epoch=2, gone=True))
    assert world.topics() == ["cobrowsing/stop"] and world.operations()[-1] == "grant_code"


def test_a_heartbeat_asked_before_the_grant_says_nothing() -> None:
    world = World().come().attach()
    world.now = 5.0
    world.answer(state(1))
    world.lose(4.9)
    assert world.frame.is_ready
    world.lose(5.1)
    assert not world.frame.is_ready


def test_a_stop_that_finds_the_lease_lost_is_acknowledged_with_the_next_code() -> None:
    world = joined()
    world.stop()
    world.refuse(operation="stop")
    world.lose()
    world.answer(state(9, code="444444", epoch=2))
    assert world.acknowledged == [1]


# ── what the visitor asks ────────────────────────────────────────────────────────────────────────────────────────────


def test_requests_go_one_after_the_other_under_one_key_each() -> None:
    world = World().ready()
    world.topics()
    world.publish("~pagesession/show_frame")
    world.publish("~pagesession/minimize_frame")
    assert world.operations()[1:] == ["set_visibility"]
    first = world.asked[-1]
    world.refuse(operation="set_visibility")
    world.tick(AGAIN_S)
    assert world.asked[-1] == first
    world.answer(state(2, visibility="shown"), "set_visibility")
    assert world.asked[-1].body["event"] == "minimise" and world.asked[-1].key != first.key
    world.answer(state(3, visibility="minimised"), "set_visibility")
    assert world.topics() == ["show_frame", "minimize_frame"], "told when published, and not again"


def test_what_is_refused_is_told_and_what_was_told_too_early_is_put_right() -> None:
    world = World().ready()
    world.topics()
    world.publish("~pagesession/minimize_frame")
    world.reject("a hidden frame", "set_visibility")
    assert [topic.rpartition("/")[2] for topic, _ in world.told] == ["minimize_frame", "refused", "hide_frame"]
    assert world.told[1][1] == {"what": "set_visibility", "why": "a hidden frame", "error": "NotAllowed"}


def test_a_chat_that_the_visitor_stops_is_told_once() -> None:
    world = World().ready()
    world.hear(state(2, chat="open", chat_agent="ada", button="help", visibility="shown"))
    world.topics()
    world.publish("~pagesession/chat/stop")
    world.hear(state(3, chat="open", chat_agent="ada", button="help", visibility="shown", epoch=2))
    world.answer(state(4, chat="closed", visibility="hidden", epoch=2), "stop_chat")
    assert world.topics() == ["chat/stop", "hide_frame"]


def test_too_many_requests_are_refused() -> None:
    world = World().ready()
    for _ in range(MAX_REQUESTS):
        world.publish("~pagesession/chat/trigger", {"button": "help"})
    with pytest.raises(HighWaterMarkReached):
        world.publish("~pagesession/chat/trigger", {"button": "help"})


def test_buttons_are_told_when_they_change() -> None:
    world = World(buttons=("help", "sales"))
    for available in ({}, {"help": 2}, {"help": 1}, {"help": True, "sales": 1}, {"sales": 1, "other": 3}):
        world.count(available)
    assert world.topics() == [
        "chat_button/help/disabled",
        "chat_button/sales/disabled",
        "chat_button/help/enabled",
        "chat_button/help/disabled",
        "chat_button/sales/enabled",
    ]


def test_what_the_page_shows_is_the_state_with_its_own_requests_as_if_they_were_done() -> None:
    world = World()
    assert not world.frame.is_known
    world.ready()
    assert world.frame.is_known
    world.hear(state(2, visibility="shown", chat="open", chat_agent="ada", button="help"))
    view = world.frame.view()
    assert (view.visibility, view.chat, view.chat_agent, view.button) == ("shown", "open", "ada", "help")
    world.publish(topics.MINIMISE)
    world.publish(topics.CHAT_STOPPED)
    view = world.frame.view()
    assert (view.visibility, view.chat, view.chat_agent, view.button) == ("minimised", "closed", None, "help")


def test_buttons_that_stay_keep_what_was_told_of_them() -> None:
    world = World(buttons=("help", "sales")).ready()
    world.count({"help": 1})
    world.topics()
    world.handle(PageChoseButtons(("help", "billing"), None))
    world.count({"help": 1})
    assert world.topics() == ["chat_button/billing/disabled"]


# ── requests of an agent ─────────────────────────────────────────────────────────────────────────────────────────────


def asked(version: int = 2, epoch: int = 1) -> dict[str, Any]:
    return state(
        version, code=None, cobrowse="asked", epoch=epoch, agent="ada", agent_name="Ada", capability="view",
        asked_by="code",
    )  # fmt: skip


def test_a_request_is_told_and_allowed_by_the_frame_node_alone() -> None:
    world = World().ready()
    world.topics()
    world.hear(asked())
    assert world.told == [
        (topics.ASKED, {"epoch": 1, "agent": "ada", "name": "Ada", "capability": "view", "by": "code"})
    ]
    assert not world.update() and world.frame.cobrowsing.state == "asked"
    world.publish(topics.ALLOW, {"epoch": 1})
    assert world.last("allow").body == {"session": SESSION, "epoch": 1}
    assert not world.update(), "it is not allowed before the frame node says so"
    world.topics()
    world.answer(state(3, code=None, cobrowse="joined", agent="ada", visibility="shown"), "allow")
    assert world.topics() == ["cobrowsing/start", "show_frame"] and world.update()


def test_an_allow_goes_to_the_frame_node_again_until_it_is_answered() -> None:
    world = World().ready()
    world.hear(asked())
    world.publish(topics.ALLOW, {"epoch": 1})
    world.refuse(operation="allow")
    world.tick(AGAIN_S)
    allows = [ask for ask in world.asked if ask.operation == "allow"]
    assert len(allows) == 2 and allows[0] == allows[1]


def test_a_decline_counts_at_once_and_no_word_that_comes_late_undoes_it() -> None:
    world = World().ready()
    world.hear(asked())
    world.topics()
    world.publish(topics.DECLINE, {"epoch": 1})
    assert world.told[0] == (topics.DECLINE, {"epoch": 1})
    about = {"epoch": 1, "agent": "ada", "capability": "view", "reason": "declined"}
    assert world.told[1:] == [(topics.DECLINED, about)]
    assert world.last("stop").body == {"session": SESSION, "epoch": 1}
    world.topics()
    world.hear(state(3, code=None, cobrowse="joined", agent="ada", visibility="shown"))
    assert world.topics() == ["show_frame"] and not world.update(), "allowed elsewhere, just before: it is stopping"
    world.answer(state(4, code="222222", epoch=2, visibility="shown", refusal="declined"), "stop")
    assert world.topics() == ["new_code"]


def test_who_has_allowed_may_think_better_of_it_before_it_begins() -> None:
    world = World().ready()
    world.hear(asked())
    world.publish(topics.ALLOW, {"epoch": 1})
    world.publish(topics.DECLINE, {"epoch": 1})
    assert world.last("stop").body["epoch"] == 1, "it does not wait for the answer to the other"
    world.topics()
    world.answer(state(3, code=None, cobrowse="joined", agent="ada"), "allow")
    assert world.topics() == [] and not world.update()
    world.answer(state(4, code=None, cobrowse="stopping", epoch=2, agent="ada"), "stop")
    world.hear(state(5, code="222222", epoch=2))
    assert world.topics() == ["new_code"]


def test_a_decline_of_another_request_does_nothing_and_one_that_was_allowed_meanwhile_is_stopped() -> None:
    world = World().ready()
    world.hear(asked(epoch=3))
    for epoch in (1, 2, 4):
        world.publish(topics.DECLINE, {"epoch": epoch})
    assert world.frame.cobrowsing == cobrowse.Cobrowse("asked", 3) and "stop" not in world.operations()
    world.hear(state(3, code=None, cobrowse="joined", epoch=3, agent="ada"))
    world.topics()
    world.publish(topics.DECLINE, {"epoch": 2})
    world.publish(topics.DECLINE, {"epoch": 3})
    assert world.frame.cobrowsing == cobrowse.Cobrowse("stopping", 4) and not world.update()
    assert world.topics() == ["cobrowsing/decline", "cobrowsing/decline", "cobrowsing/stop"]
    assert world.last("stop").body["epoch"] == 3


def test_a_stop_while_asked_declines_and_is_acknowledged() -> None:
    world = World().ready()
    world.hear(asked())
    world.topics()
    number = world.stop()
    assert world.topics() == ["cobrowsing/declined"] and world.last("stop").body["epoch"] == 1
    world.answer(state(3, code="222222", epoch=2, refusal="declined"), "stop")
    assert world.acknowledged == [number] and world.topics() == ["new_code"]


@pytest.mark.parametrize("reason", cobrowse.REASONS)
def test_a_request_that_ends_elsewhere_is_told_with_its_reason(reason: str) -> None:
    world = World().ready()
    world.hear(asked())
    world.topics()
    world.hear(state(3, code="222222", epoch=2, refusal=reason))
    assert world.told[0][1]["reason"] == reason and world.topics() == ["cobrowsing/declined", "new_code"]


def test_a_lost_lease_ends_a_request() -> None:
    world = World().ready()
    world.hear(asked())
    world.topics()
    world.lose()
    assert world.told[0][1]["reason"] == "page_lost" and world.topics() == ["cobrowsing/declined"]
    world.answer(state(5, epoch=2))
    assert world.topics() == ["new_code"]


def test_a_page_that_is_loaded_again_hears_of_the_request() -> None:
    world = World(resumed=True).come().attach()
    world.answer(asked())
    assert world.topics() == ["cobrowsing/asked"]
    found: list[Any] = []
    world.subscribe("~pagesession/cobrowsing/asked", found)
    assert [message.headers for message in found] == [{"retained": True}]


def test_an_answer_before_the_frame_nodes_first_word_reaches_it() -> None:
    """A gateway that has just taken the page over knows nothing yet; the visitor sees the request all the same."""
    world = World(resumed=True).come().attach()
    world.publish(topics.DECLINE, {"epoch": 1})
    assert world.last("stop").body == {"session": SESSION, "epoch": 1}
    world.answer(asked())
    assert world.topics() == ["cobrowsing/decline"], "a request that is declined is not told any more"
    other = World(resumed=True).come().attach()
    other.publish(topics.ALLOW, {"epoch": 1})
    assert other.last("allow").body["epoch"] == 1


@pytest.mark.parametrize("payload", [None, {}, {"epoch": "1"}, {"epoch": -1}, {"epoch": True}, 1, [1]])
def test_an_answer_names_its_request(payload: Any) -> None:
    world = World().ready()
    world.hear(asked())
    for topic in (topics.ALLOW, topics.DECLINE):
        with pytest.raises(NotAllowed, match="expected a map with `epoch`"):
            world.publish(topic, payload)
    assert world.operations() == ["grant_code"]


def test_consent_is_what_the_page_has_chosen() -> None:
    frame = FrameCore(SESSION, "run", consent="ask")
    frame.handle(PageCame(), 0.0)
    (ask,) = frame.handle(FrameAttached("h" * 32), 0.0)
    assert isinstance(ask, Ask) and ask.body["consent"] == "ask"


# ── any sequence of inputs ───────────────────────────────────────────────────────────────────────────────────────────

STATES = st.fixed_dictionaries(
    {
        "cobrowse": st.sampled_from(cobrowse.MACHINE.states),
        "code": st.sampled_from([None, "111111", "222222"]),
        "visibility": st.sampled_from(visibility.MACHINE.states),
        "chat": st.sampled_from(chat.MACHINE.states),
        "chat_agent": st.sampled_from([None, "ada", "bob"]),
        "gone": st.sampled_from([False, False, False, True]),
    }
)
RISES = st.sampled_from([1, 1, 1, 0, 0, -3])
STEPS = st.one_of(
    st.tuples(st.just("state"), RISES, RISES, STATES),
    st.tuples(st.just("answer"), RISES, RISES, STATES),
    st.tuples(st.sampled_from(["busy", "reject"])),
    st.tuples(st.just("visit"), st.sampled_from(sorted(topics.VISITORS)), st.sampled_from([0, 0, -1, 1])),
    st.tuples(st.just("lose"), st.sampled_from([0.0, 5.0])),
    st.tuples(st.just("tick"), st.sampled_from([0.0, 0.6, 9.0])),
    st.tuples(st.just("count"), st.dictionaries(st.sampled_from(["help", "sales"]), st.integers(0, 1))),
    st.tuples(st.just("buttons"), st.lists(st.sampled_from(["help", "sales"]), unique=True)),
    st.tuples(st.sampled_from(["stop", "update"])),
    st.tuples(st.sampled_from(["came", "attached", "retry"])),
)
JOINED = {"cobrowse": "joined", "code": None, "visibility": "shown", "chat": "open", "chat_agent": "ada", "gone": False}
IN_SESSION = [("came",), ("attached",), ("answer", 1, 0, JOINED)]


class Story:
    """A page to which anything happens; `check` holds it to what it told."""

    def __init__(self, resumed: bool) -> None:
        self.world = World(resumed=resumed, buttons=("help",))
        self.version, self.epoch, self.lowest, self.answered = 0, 1, 1, 0
        self.stopped = 0

    def step(self, what: str, *with_: Any) -> None:
        world = self.world
        before, session, is_known = inside(world.frame), world.frame.cobrowsing, world.frame.is_known
        try:
            self._step(what, *with_)
        except StateError:
            assert inside(world.frame) == before, "what is refused changes nothing"
        ended_here = what in ("stop", "lose") and world.frame.cobrowsing.state not in ("asked", "joined")
        declined = what == "visit" and with_ == (topics.DECLINE, 0) and session.state in ("asked", "joined")
        if (what == "stop" and is_known) or declined or (ended_here and session.state in ("asked", "joined")):
            self.stopped = session.epoch - (session.state == "stopping")
        self.check()

    def _step(self, what: str, *with_: Any) -> None:
        world = self.world
        match what:
            case "state" | "answer" | "busy" | "reject":
                self._frame_node(what, *with_)
            case "visit":
                epoch = max(0, world.frame.cobrowsing.epoch + with_[1])
                world.publish(with_[0], {"button": "help", "epoch": epoch})
            case "lose":
                world.lose(world.now - with_[0])
            case "tick":
                world.tick(with_[0])
            case "count":
                world.count(with_[0])
            case "buttons":
                world.handle(PageChoseButtons(tuple(with_[0]), {"help": 1}))
            case "stop":
                world.stop()
            case "update":
                world.update()
            case "came" | "attached":
                world.come() if what == "came" else world.attach()
            case "retry":
                world.handle(PageRetried())

    def _frame_node(self, what: str, *with_: Any) -> None:
        """Its states go on from the last one, or back; each request is answered once, in order."""
        world = self.world
        if what == "state":
            return world.hear(self._state(*with_))
        open_asks = world.asked[self.answered :]
        if not open_asks:
            return None
        self.answered += 1
        ask = open_asks[0]
        if what == "answer":
            return world.handle(FrameNodeAnswered(ask, self._state(*with_)))
        if what == "reject" and ask.operation not in ("grant_code", "stop"):
            return world.handle(FrameNodeRejected(ask, "no"))
        return world.handle(FrameNodeWasBusy(ask, "busy", 0.0, 0.5))

    def _state(self, version_rises: int, epoch_rises: int, changes: dict[str, Any]) -> dict[str, Any]:
        self.version = max(0, self.version + version_rises)
        self.epoch = max(1, self.epoch + epoch_rises)
        agent = None if changes["cobrowse"] == "idle" else "ada"
        return state(self.version, epoch=self.epoch, agent=agent, **changes)

    def check(self) -> None:
        frame, told = self.world.frame, Told(self.world.story)
        view = frame.view()
        assert frame.epoch >= max(self.lowest, frame.state["epoch"]), "it never falls"
        self.lowest = frame.epoch
        assert view.cobrowsing.epoch == frame.epoch
        assert told.session == (frame.epoch if view.cobrowsing.state == "joined" else None)
        assert told.request == (frame.epoch if view.cobrowsing.state == "asked" else None)
        assert view.code in (None, told.code)
        assert (told.visibility, told.open_with) == (view.visibility, view.chat_agent if view.chat == "open" else None)
        sent = [send.payload["epoch"] for send in self.world.sent if send.topic == topics.UPDATE]
        assert sent == sorted(sent)
        assert frame.epoch > self.stopped, "what was stopped is over"
        by_key = {ask.key: ask for ask in self.world.asked}
        assert all(by_key[ask.key] == ask for ask in self.world.asked), "a key is of one request"
        assert {(e.topic, str(e.payload)) for e in frame.retained()} == told.retained(frame)


class Told:
    """What a subscriber makes of all that it was told."""

    def __init__(self, story: list[tuple[str, Any]]) -> None:
        self.session = self.request = self.code = self.open_with = None
        self.visibility = "hidden"
        self._last: dict[str, tuple[str, Any]] = {}
        for topic, payload in story:
            self._take(topic, payload)

    def _take(self, topic: str, payload: Any) -> None:
        shown = {topics.SHOW: "shown", topics.MINIMISE: "minimised", topics.HIDE: "hidden"}
        match topic:
            case topics.ASKED:
                assert self.request is None and self.session is None
                self.request = payload["epoch"]
            case topics.DECLINED:
                assert self.request == payload["epoch"], "what was asked"
                self.request = None
            case topics.STARTED:
                assert self.session is None and self.request in (None, payload["epoch"])
                self.request = None
                self.session = payload["epoch"]
            case topics.STOPPED:
                assert self.session == payload["epoch"], "what stops is what was started"
                self.session = None
            case topics.READY | topics.NEW_CODE:
                assert (topic == topics.READY) == (self.code is None), "the first code, and no other, makes ready"
                self.code = payload["code"]
            case topics.ACCEPTED:
                self.open_with = payload["agent"]
            case topics.CHAT_STOPPED:
                self.open_with = None
            case topics.SHOW | topics.MINIMISE | topics.HIDE:
                self.visibility = shown[topic]
        if topic in (topics.STARTED, topics.STOPPED):
            self._last["session"] = topic, payload
        elif topic == topics.ASKED or topic in (topics.READY, topics.NEW_CODE):
            self._last[topic] = topic, payload
        elif topic.startswith(topics.BUTTON):
            self._last[payload["button"]] = topic, payload

    def retained(self, frame: FrameCore) -> set[tuple[str, str]]:
        """The last word of each kind, while it is true."""
        last = {name: each for name, each in self._last.items() if name in self._shown(frame)}
        if topics.READY in last:
            last[topics.READY] = topics.READY, {"code": frame.state["code"]}
        return {(topic, str(payload)) for topic, payload in last.values()}

    def _shown(self, frame: FrameCore) -> set[str]:
        shown = {"session", *frame._buttons}
        if frame.is_ready:
            shown.add(topics.READY)
        if frame.cobrowsing.state == "asked":
            shown.add(topics.ASKED)
        code = self._last.get(topics.NEW_CODE, ("", {"code": ""}))[1]["code"]
        return {*shown, topics.NEW_CODE} if code == frame.state["code"] else shown


def inside(frame: FrameCore) -> Any:
    """All that the frame keeps."""
    parts = {name: part for name, part in vars(frame).items() if name not in ("_loading", "_requests")}
    return copy.deepcopy((parts, vars(frame._loading), vars(frame._requests)))


@given(st.booleans(), st.booleans(), st.lists(STEPS, min_size=10, max_size=40))
@settings(max_examples=200, deadline=None)
def test_whatever_happens_the_page_has_been_told_what_is_true_and_no_update_leaves_after_a_stop(
    resumed: bool, in_session: bool, steps: list[Any]
) -> None:
    story = Story(resumed)
    for what, *with_ in [*(IN_SESSION if in_session else []), *steps]:
        story.step(what, *with_)

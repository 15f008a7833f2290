"""The frame of a page: codes, retries, stops, requests; and every way in which word may be late or lost."""

from __future__ import annotations

import random

import pytest

from fabric.errors import HighWaterMarkReached, StateError
from nodes.page.frame_core import AGAIN_S, MAX_REQUESTS
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
        assert world.asked[0].body == {"session": SESSION, "home": world.frame.home, "lease_s": 10.0}
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
    assert world.frame.due() == 2.5
    world.tick(2.4)
    assert len(world.asked) == 1
    world.tick(0.1)
    assert len(world.asked) == 2 and world.asked[0].key != world.asked[1].key
    assert world.frame.due() is None, "an answer is awaited"
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
    assert len(world.asked) == 3 and world.frame.due() is None
    world.act(world.frame.retry(world.now))
    world.answer(state(1))
    assert world.topics() == ["ready"]
    with pytest.raises(StateError):
        world.frame.retry(world.now)


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
    assert world.frame.loading == "ready" and world.frame.due() is not None
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
    world.act(world.frame.gone(world.now, world.now))
    world.answer(state(1, code="555555", epoch=1))
    assert world.asked[-1].operation == "stop" and world.asked[-1].body["epoch"] == 1
    world.answer(state(2, code="555555", epoch=2), "stop")
    world.hear(state(3, code=None, cobrowse="joined", epoch=2, agent="ada"))
    assert world.update()


# ── the lease ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_lease_ends_the_session_and_begins_anew() -> None:
    world = joined()
    world.act(world.frame.gone(world.now, world.now))
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
    world.act(world.frame.gone(4.9, world.now))
    assert world.frame.loading == "ready"
    world.act(world.frame.gone(5.1, world.now))
    assert world.frame.loading == "waiting"


def test_a_stop_that_finds_the_lease_lost_is_acknowledged_with_the_next_code() -> None:
    world = joined()
    world.stop()
    world.refuse(operation="stop")
    world.act(world.frame.gone(world.now, world.now))
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
    world.act(world.frame.rejected(world.asked[-1], "a hidden frame", world.now))
    assert [topic.rpartition("/")[2] for topic, _ in world.told] == ["minimize_frame", "refused", "hide_frame"]
    assert world.told[1][1] == {"what": "set_visibility", "why": "a hidden frame"}


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
        world.act(world.frame.buttons(available))
    assert world.topics() == [
        "chat_button/help/disabled",
        "chat_button/sales/disabled",
        "chat_button/help/enabled",
        "chat_button/help/disabled",
        "chat_button/sales/enabled",
    ]


def test_what_a_browser_that_is_loaded_again_is_told_of_frame_and_chat() -> None:
    world = World()
    assert world.frame.told() is None
    world.ready()
    world.hear(state(2, visibility="shown", chat="open", chat_agent="ada", button="help"))
    assert world.frame.told() == {"visibility": "shown", "chat": "open", "chat_agent": "ada", "button": "help"}


def test_updates_never_leave_outside_a_session_whatever_happens() -> None:
    """Random inputs in random order; the epoch of what leaves never falls, and never is one that was stopped."""
    rng = random.Random(7)
    for _ in range(300):
        world = World().ready()
        stopped, version, epoch = 0, 1, 1
        for _ in range(60):
            match rng.randrange(7):
                case 0:
                    cobrowsing = world.frame.cobrowsing
                    stopped = max(stopped, cobrowsing.epoch - (cobrowsing.state == "stopping"))
                    world.stop()
                case 1:
                    version += 1
                    epoch += rng.randrange(2)
                    name = rng.choice(["idle", "joined", "stopping"])
                    agent = None if name == "idle" else "ada"
                    world.hear(state(version, cobrowse=name, epoch=epoch, agent=agent, code=None))
                case 2:
                    world.hear(state(rng.randrange(version + 1), cobrowse="joined", epoch=rng.randrange(9), agent="a"))
                case 3:
                    world.act(world.frame.gone(world.now, world.now))
                case 4 if world.asked:
                    reply = state(version, epoch=epoch, code=None)
                    world.act(world.frame.answered(rng.choice(world.asked[-3:]), reply, world.now))
                case 5:
                    world.tick(rng.random())
                case 6:
                    world.update()
        epochs = [send.payload["epoch"] for send in world.sent if send.topic.endswith("/update")]
        assert epochs == sorted(epochs)
        assert all(world.frame.cobrowsing.epoch >= each for each in epochs)
        if stopped:
            late = len(world.sent)
            world.update()
            assert all(send.payload["epoch"] > stopped for send in world.sent[late:])


def test_buttons_that_stay_keep_what_was_told_of_them() -> None:
    world = World(buttons=("help", "sales")).ready()
    world.act(world.frame.buttons({"help": 1}))
    world.topics()
    assert world.frame.set_buttons(("help", "billing")) == ["sales"]
    world.act(world.frame.buttons({"help": 1}))
    assert world.topics() == ["chat_button/billing/disabled"]

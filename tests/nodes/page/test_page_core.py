"""A page's local broker: at once and alone, in order once attached, and nothing local ever beyond it."""

from __future__ import annotations

from typing import Any

import pytest

from fabric.errors import HighWaterMarkReached, InvalidFilter, InvalidTopic, LocalWireError, ScopeError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.page.interface import (
    FabricSpoke,
    FabricWasFull,
    Hold,
    PageChoseButtons,
    Release,
    Send,
    SessionsAcked,
    SessionSpoke,
)
from nodes.page.page_core import MAX_WAITING, UNSENT_AGAIN_S
from nodes.rules import topics
from nodes.rules.proofs import key_of
from nodes.rules.state_map import proven
from tests.support.page_world import KEY, World, made, state


def wire(topic: str, payload: Any) -> Message:
    return Message(topic, payload, 7, 1, 0, {})


def test_the_broker_works_alone() -> None:
    world = World()
    into: list[Message] = []
    world.subscribe("~/a/+", into)
    world.subscribe("~pagesession/#", into)
    world.publish("~/a/b", 1)
    world.publish("~pagesession/x", 2)
    assert [message.payload for message in into] == [1, 2]
    assert [ident for ident, _ in world.acks] == [1, 3], "what is local is acked at once, the session's not yet"


def test_what_is_meant_for_beyond_waits_in_order() -> None:
    world = World()
    first = world.subscribe("truck/#", [])
    world.publish("truck/1", 1)
    second = world.subscribe("+/x", [])
    world.publish("~pagesession/x", 2)
    world.publish("~/x", 3)
    assert not world.sent and not world.held
    world.perform(world.core.unsubscribe(second))
    world.attach()
    assert world.held == [Hold(first, "truck/#")]
    assert world.sent == [Send("truck/1", 1), Send("~pagesession/x", 2)]
    world.publish("truck/2", 4)
    assert world.sent[-1] == Send("truck/2", 4)
    world.perform(world.core.unsubscribe(first))
    assert world.held[-1] == Release(first)


def test_the_queue_is_bounded_and_what_is_refused_has_not_happened() -> None:
    world = World()
    for number in range(MAX_WAITING):
        world.publish("a", number)
    before = len(world.told)
    with pytest.raises(HighWaterMarkReached):
        world.publish("~pagesession/x", 1)
    with pytest.raises(HighWaterMarkReached):
        world.subscribe("a/#", [])
    world.publish("~/x", 1)
    assert len(world.told) == before + 1
    world.attach()
    assert [send.payload for send in world.sent] == list(range(MAX_WAITING)) and not world.held


def test_what_the_fabric_does_not_take_waits_and_keeps_its_place() -> None:
    world = World().ready()
    world.handle(FabricWasFull((Send("a", 1),)))
    world.publish("a", 2)
    assert not world.sent and world.core.due_s() == UNSENT_AGAIN_S
    world.tick(UNSENT_AGAIN_S / 2)
    assert not world.sent
    world.tick(UNSENT_AGAIN_S)
    assert [send.payload for send in world.sent] == [1, 2] and world.core.due_s() == 10.0, "its lease"


def test_acks_of_the_session_come_with_the_hosts() -> None:
    world = World()
    world.now = 2.0
    world.handle(SessionsAcked(Ack(False, (), ("p1",), 1.0, "nobody")))
    assert [(ident, ack.ok, ack.error) for ident, ack in world.acks[1:]] == [(2, False, "nobody")], "a failure is told"
    late = world.subscribe("~pagesession/late")
    world.now = 5.0
    world.handle(SessionsAcked(Ack(True, ("p1",), (), 1.0)))
    assert world.acks[-1] == (late, Ack(True, ("p1",), (), 3.0))
    last = world.subscribe("~pagesession/last")
    assert world.acks[-1][0] == last and world.acks[-1][1].ok


@pytest.mark.parametrize(
    ("topic", "payload", "error"),
    [
        ("", 1, InvalidTopic),
        ("a/#", 1, InvalidTopic),
        ("$fabric/x", 1, ScopeError),
        ("~other/x", 1, ScopeError),
        ("a", object(), LocalWireError),
        ("a", 2**64, LocalWireError),
        ("~pagesession/a", {1: 2}, LocalWireError),
        *[(topic, {}, ScopeError) for topic in sorted(topics.DECIDED)],
    ],
)
def test_what_may_not_be_published_is_refused_and_leaves_no_trace(topic: str, payload: Any, error: type) -> None:
    for world in (World(), World().ready()):
        world.told.clear()
        with pytest.raises(error):
            world.publish(topic, payload)
        world.attach() if world.frame.home is None else None
        assert not world.sent and not world.told


def test_a_bad_filter_is_refused() -> None:
    world = World()
    for topic_filter, error in (("a/#/b", InvalidFilter), ("~x/#", ScopeError)):
        with pytest.raises(error):
            world.subscribe(topic_filter, [])
    with pytest.raises(KeyError):
        world.core.unsubscribe(99)


def test_a_late_subscriber_gets_the_current_state_once_and_marked() -> None:
    world = World(buttons=("help",)).ready()
    world.count({"help": 1})
    into: list[Message] = []
    world.subscribe("~/#", into)
    world.subscribe("~/site_connect/ready", into)
    assert [(message.topic.rpartition("/")[2], message.headers) for message in into] == [
        ("ready", {"retained": True}),
        ("enabled", {"retained": True}),
        ("ready", {"retained": True}),
    ]
    into = []
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    world.subscribe("~pagesession/cobrowsing/+", into)
    world.subscribe("~/site_connect/ready", into)
    assert [message.topic for message in into] == ["~pagesession/cobrowsing/start", "~/site_connect/ready"]
    assert into[-1].payload == {"code": None}, "the code was used up by the join"
    into = []
    world.hear(state(3, code="222222", epoch=2))
    world.subscribe("#", into)
    world.subscribe("~/site_connect/+", into)
    world.subscribe("~pagesession/#", into)
    assert [(m.topic.rpartition("/")[2], m.payload.get("code")) for m in into] == [
        ("ready", "222222"),
        ("new_code", "222222"),
        ("stop", None),
    ]


def test_a_lost_code_is_shown_to_nobody() -> None:
    world = World().ready()
    world.lose()
    into: list[Message] = []
    world.subscribe("~/site_connect/+", into)
    assert into == []


def test_updates_are_numbered_within_their_session() -> None:
    world = World().ready()
    assert not world.update() and not world.sent
    for version, epoch in ((2, 1), (4, 2)):
        world.hear(state(version, code=None, cobrowse="joined", agent="ada", epoch=epoch))
        assert world.update("x") and world.update("y", snapshot=True)
        world.stop()
        assert not world.update("z")
        world.answer(state(version + 1, epoch=epoch + 1), "stop")
    assert [(send.payload, send.at_once) for send in world.sent] == [
        ({"epoch": epoch, "n": n, "event": event, "snapshot": n == 2}, True)
        for epoch in (1, 2)
        for n, event in ((1, "x"), (2, "y"))
    ]


def test_what_comes_over_the_wire_reaches_the_page_unless_the_frame_node_decides_it() -> None:
    world = World().ready()
    world.told.clear()
    for topic in sorted(topics.DECIDED | topics.VISITORS):
        world.handle(SessionSpoke(wire(topic, {"evil": 1})))
    assert world.told == []
    message = wire("~pagesession/of/the/site", {"from": "ada", "text": "hi"})
    world.handle(SessionSpoke(message))
    news = made(2, code=None, cobrowse="joined", agent="ada")
    forged = {**proven(news, KEY), "version": 2**60}
    for each in (news, forged, proven(news, key_of("another")), proven(news, KEY, 5.0), None, {"evil": 1}):
        world.handle(SessionSpoke(wire(topics.STATE, each)))
    assert [topic for topic, _ in world.told] == [message.topic] and world.counted == ["unproven"] * 7
    world.handle(SessionSpoke(wire(topics.STATE, proven(news, KEY))))
    assert [topic for topic, _ in world.told] == [message.topic, "~pagesession/cobrowsing/start"]


def test_a_snapshot_request_that_comes_before_the_news_of_the_session_waits_for_it() -> None:
    world = World().ready()
    world.told.clear()
    request = wire(topics.SNAPSHOT_REQUEST, {"epoch": 1, "agent": "ada"})
    world.handle(SessionSpoke(request))
    assert world.told == []
    world.hear(state(2, code=None, cobrowse="joined", agent="ada"))
    assert world.topics() == ["cobrowsing/start", "cobrowsing/snapshot_request"]
    world.handle(SessionSpoke(request))
    assert world.topics() == ["cobrowsing/snapshot_request"]


def test_messages_of_the_fabric_reach_the_subscription_that_asked() -> None:
    world = World().attach()
    into: list[Message] = []
    ident = world.subscribe("truck/#", into)
    world.handle(FabricSpoke(ident, wire("truck/1", 5)))
    assert into == [wire("truck/1", 5)]
    world.perform(world.core.unsubscribe(ident))
    assert world.core.handle(FabricSpoke(ident, wire("truck/1", 6)), world.now) == []


def test_a_handler_that_unsubscribes_another_silences_it_at_once() -> None:
    world = World()
    into: list[Message] = []
    second = 0

    def first(message: Message) -> None:
        world.perform(world.core.unsubscribe(second))

    _, effects = world.core.subscribe("~/x", first, 0.0)
    world.perform(effects)
    second = world.subscribe("~/x", into)
    world.publish("~/x")
    assert into == []


def test_without_an_echo_a_page_hears_only_what_comes_from_elsewhere() -> None:
    world = World(echo=False).ready()
    world.topics()
    world.publish("~pagesession/mine", 1)
    world.publish(topics.SHOW)
    world.hear(state(2, cobrowse="joined", agent="ada", code=None))
    assert world.update("x", snapshot=True)
    world.handle(SessionSpoke(wire("~pagesession/theirs", 2)))
    assert world.topics() == ["cobrowsing/start", "theirs"]
    assert [send.topic for send in world.sent] == ["~pagesession/mine", topics.UPDATE]


def test_an_update_of_another_epoch_goes_nowhere() -> None:
    world = World().ready()
    world.hear(state(2, cobrowse="joined", agent="ada", code=None, epoch=4))
    assert world.core.send_update("x", False, 3) == [] and world.core.send_update("x", False, 5) == []
    (sent, _) = world.core.send_update("x", False, 4)
    assert isinstance(sent, Send) and sent.payload["n"] == 1


def test_an_update_keeps_the_number_it_was_given_where_it_was_made() -> None:
    world = World().ready()
    world.hear(state(2, cobrowse="joined", agent="ada", code=None))
    sent = [world.core.send_update("x", False, 1, number)[0] for number in (4, 7, None)]
    assert [each.payload["n"] for each in sent if isinstance(each, Send)] == [4, 7, 8]


def test_a_pulse_goes_to_the_agent_in_session_and_never_waits() -> None:
    world = World().ready()
    assert world.core.send_pulse(4, 0.5, True) == [], "nobody views it"
    world.hear(state(2, cobrowse="joined", agent="ada", code=None, epoch=4))
    pulse = {"epoch": 4, "n": 7, "silent_s": 0.5, "open": False}
    assert world.core.send_pulse(7, 0.5, False) == [Send(topics.PULSE, pulse, at_once=True)]


def test_a_viewed_page_that_lives_here_says_every_second_that_it_is_there() -> None:
    world, elsewhere = World().ready(), World(echo=False).ready()
    for each in (world, elsewhere):
        each.tick(1)
        assert not each.sent, "nobody views it"
        each.hear(state(2, cobrowse="joined", agent="ada", code=None, epoch=1))
        each.perform([*each.core.send_update("x", snapshot=True)])
        del each.sent[:]
    for _ in range(4):
        world.tick(0.5)
        elsewhere.tick(0.5)
    pulse = {"epoch": 1, "n": 1, "silent_s": 0.0, "open": True}
    assert world.sent == [Send(topics.PULSE, pulse)] * 2 and world.core.due_s() is not None
    assert not elsewhere.sent, "its gateway knows better"
    del world.sent[:]
    world.tick(0.49)  # almost due
    world.handle(FabricWasFull((Send("a", 1),)))
    world.now += UNSENT_AGAIN_S / 2
    world.tick(UNSENT_AGAIN_S / 4)
    assert not world.sent, "none piles up while the fabric takes nothing"


def test_other_buttons_are_told_and_those_that_went_are_forgotten() -> None:
    world = World(buttons=("help", "sales")).ready()
    available = {"help": 1, "billing": 2}
    world.count(available)
    world.topics()
    world.handle(PageChoseButtons(("help", "billing"), available))
    assert world.topics() == ["chat_button/billing/enabled"], "help is as it was"
    retained = {event.topic for event in world.frame.retained() if event.topic.startswith(topics.BUTTON)}
    assert retained == {f"{topics.BUTTON}{name}/enabled" for name in ("help", "billing")}
    world.handle(PageChoseButtons((), None))
    assert [event.topic for event in world.frame.retained()] == [topics.READY]


# --- what the page's program retains


def test_a_late_subscriber_is_told_the_last_values_before_its_ack_and_marked() -> None:
    world = World()
    live: list[Message] = []
    world.subscribe("~/#", live)
    for topic, payload in (("~/a", 1), ("~/a", 2), ("~/b", 1), ("~/b", None), ("~/c/d", 3)):
        world.publish(topic, payload, 0)
    world.publish("~/e", 4)
    assert [message.payload for message in live] == [1, 2, 1, None, 3, 4]
    assert not any(message.headers for message in live), "what comes live is not marked"
    into: list[Message] = []
    _, effects = world.core.subscribe("~/#", into.append, 0.0)
    assert [type(effect).__name__ for effect in effects] == ["Deliver", "Deliver", "Acked"]
    world.perform(effects)
    assert [(each.topic, each.payload, each.headers) for each in into] == [
        ("~/a", 2, {"retained": True}),
        ("~/c/d", 3, {"retained": True}),
    ]
    for topic_filter in ("~/+/x", "#", "+/a"):
        world.subscribe(topic_filter, into)
    assert len(into) == 2


def test_what_is_retained_is_a_copy_and_expires() -> None:
    world = World()
    payload = {"n": [1]}
    world.publish("~/a", payload, 10)
    payload["n"].append(2)
    into: list[Message] = []
    world.now = 9.0
    world.subscribe("~/a", into)
    world.now = 10.0
    world.subscribe("~/a", into)
    assert [message.payload for message in into] == [{"n": [1]}]


def test_what_the_session_is_told_can_be_retained_in_the_page_and_the_rest_in_the_fabric() -> None:
    world = World().ready()
    world.publish("~pagesession/x", 1, 0)
    world.publish("a/b", 2, 60)
    assert world.sent[-2:] == [Send("~pagesession/x", 1), Send("a/b", 2, keep_s=60)]
    into: list[Message] = []
    world.subscribe("~pagesession/+", into)
    assert [message.payload for message in into] == [1]
    wanted = world.subscribe("a/+", into, retained=True)
    assert world.held[-1] == Hold(wanted, "a/+", retained=True)


def test_a_page_that_retains_too_much_is_told_and_nothing_has_changed() -> None:
    world = World()
    for number in range(1_000):
        world.publish(f"~/{number}", number, 0)
    into: list[Message] = []
    world.subscribe("~/more", into)
    with pytest.raises(HighWaterMarkReached, match="retains 1000 topics"):
        world.publish("~/more", 1, 0)
    with pytest.raises(LocalWireError):
        world.publish("~/1", object(), 0)
    assert not into
    world.publish("~/1", None, 0)
    world.publish("~/more", 1, 0)
    assert [message.payload for message in into] == [1]

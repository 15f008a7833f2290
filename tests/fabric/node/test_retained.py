"""What a subscription that wants retained values is given: the newest of each topic, before its ack, nothing older."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fabric.node.held_values import HeldValues
from fabric.node.interest import MAX_PREFIX_BYTES
from fabric.node.retained import LastKnown, Retained, wanted_prefixes
from fabric.protocol.retained import AHEAD_NS, Batch, NotKept
from fabric.topics import subscription_prefixes
from fabric.wire import Message, encode
from tests.support.retained import retained_part


class World:
    """One node's retained values; what is handed to handlers is in `got`, by subscription."""

    def __init__(self, local: HeldValues[str, Message] | None = None) -> None:
        self.got: dict[int, list[Message]] = {}
        self.handlers: dict[int, LastKnown] = {}
        self.ended: set[int] = set()
        self.waiting: set[int] = set()
        self.refused: list[str] = []
        self.full: list[NotKept] = []
        self.retained = Retained(
            lambda fun, *args: fun(*args),
            lambda ident: ident not in self.ended,
            lambda error: self.refused.append(error.kind),
            self.full.append,
            lambda: bool(self.waiting),
            local,
            lambda: 0.0,
        )

    def want(self, ident: int, topic_filter: str) -> LastKnown:
        self.got[ident] = []
        handler = self.handlers[ident] = LastKnown(self.got[ident].append)
        self.retained.wanted(ident, topic_filter, handler)
        self.waiting.add(ident)
        return handler

    def batch(self, *parts: bytes, age: float = 0.0, now: float = 0.0) -> None:
        self.retained.batch_came(Batch(b"n", 0, True, parts, (age,) * len(parts)), now)

    def told(self, ident: int, now: float = 0.0, *, is_ok: bool = True) -> list[tuple[str, Any]]:
        self.waiting.discard(ident)
        self.retained.acked(ident, is_ok=is_ok, now=now)
        return [(message.topic, message.payload) for message in self.got[ident]]


def live(topic: str, sent_ns: int, payload: Any, publisher: int = 7) -> Message:
    return Message(topic, payload, publisher, 1, sent_ns)


def test_the_newest_over_all_proxies_comes_marked_and_the_oldest_topic_first() -> None:
    world = World()
    world.want(1, "t/#")
    world.batch(retained_part("t/b", 7, 20, "b"), retained_part("t/a", 7, 10, "old", headers={"x": 1}))
    world.batch(retained_part("t/a", 8, 30, "new", headers={"x": 2}), retained_part("t/b", 8, 19, "older"))
    assert world.told(1) == [("t/b", "b"), ("t/a", "new")]
    assert dict(world.got[1][1].headers) == {"x": 2, "retained": True}
    assert world.got[1][1][2:5] == (8, 1, 30)


def test_what_was_cleared_or_has_expired_does_not_come() -> None:
    world = World()
    world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "a"), retained_part("b", 7, 10, "b", expires_s=5))
    world.batch(retained_part("a", 8, 11, None), retained_part("c", 7, 10, "c", expires_s=5), age=4.5)
    world.batch(retained_part("d", 7, 10, "d", expires_s=5), age=5.0)
    assert world.told(1, now=1.0) == [("b", "b")]


def test_what_is_expired_when_the_ack_comes_does_not_come() -> None:
    world = World()
    world.want(1, "#")
    world.batch(retained_part("b", 7, 10, "b", expires_s=5), age=2.0)
    assert world.told(1, now=3.0) == []


def test_nothing_older_follows_what_came_live() -> None:
    world = World()
    handler = world.want(1, "#")
    handler(live("a", 10, "live"))
    handler(live("b", 10, "live"))
    world.batch(retained_part("a", 7, 10, "the same"), retained_part("b", 7, 11, "newer"))
    assert world.told(1) == [("a", "live"), ("b", "live"), ("b", "newer")]


def test_what_was_gathered_is_older_than_a_clear_that_was_sent_again_meanwhile() -> None:
    world = World()
    handler = world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "old"))
    handler.offer(live("a", 11, None, publisher=8))
    assert world.told(1) == []


def test_a_clear_is_told_where_something_older_came_live_and_late() -> None:
    world = World()
    handler = world.want(1, "#")
    handler(live("a", 10, "late"))
    handler(live("b", 10, "late"))
    world.batch(retained_part("a", 8, 11, None), retained_part("b", 8, 11, "short", expires_s=5), age=4.0)
    assert world.told(1, now=2.0) == [("a", "late"), ("b", "late"), ("a", None), ("b", None)]


def test_what_is_live_is_never_held_back() -> None:
    world = World()
    handler = world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    assert world.told(1) == [("a", "kept")]
    handler(live("a", 5, "late"))
    assert [message.payload for message in world.got[1]] == ["kept", "late"]
    assert not world.got[1][1].headers


@pytest.mark.parametrize("ahead_ns", [1, 3_600 * 10**9, 2**63])
def test_what_came_live_from_the_future_does_not_stand_in_the_way_of_values(ahead_ns: int) -> None:
    got: list[Message] = []
    handler = LastKnown(got.append, wall_ns=lambda: 100)
    handler(live("a", 100 + AHEAD_NS + ahead_ns, "ahead"))
    handler.offer(live("a", 99, "missed")._replace(headers={"held": True, "retain": 0}))
    handler(live("a", 100 + AHEAD_NS, "a minute ahead"))
    handler.offer(live("a", 101, "older")._replace(headers={"held": True, "retain": 0}))
    assert [message.payload for message in got] == ["ahead", "missed", "a minute ahead"]


def test_a_value_that_is_sent_again_comes_only_if_it_is_news() -> None:
    world = World()
    handler = world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    world.told(1)
    for sent_ns, payload in ((10, "the same"), (9, "older"), (11, "newer"), (11, "again"), (12, None)):
        handler.offer(live("a", sent_ns, payload)._replace(headers={"held": True, "retain": 0}))
    handler.offer(live("b", 5, None))
    assert [message.payload for message in world.got[1]] == ["kept", "newer", None]
    assert dict(world.got[1][1].headers) == {"retained": True}


@pytest.mark.parametrize("first", ["live", "gathered", "offered"])
def test_a_value_that_a_keeper_gave_back_is_not_told_again(first: str) -> None:
    """It has its time, and the keeper's node for a publisher."""
    world = World()
    handler = world.want(1, "#")
    payload = {"a": [1, None, b"x"]}
    if first == "live":
        handler.came_live(live("a", 10, payload))
    elif first == "gathered":
        world.batch(retained_part("a", 7, 10, payload))
        world.told(1)
    else:
        handler.offer(live("a", 10, payload))
    handler.offer(live("a", 10, {"a": [1, None, b"x"]}, publisher=8))
    world.waiting.add(1)
    world.batch(retained_part("a", 9, 10, payload))
    world.told(1)
    assert [message.payload for message in world.got[1]] == [payload]
    handler.offer(live("a", 10, "another of the same time", publisher=10))
    handler.offer(live("a", 10, payload, publisher=9))
    assert [message.payload for message in world.got[1]] == [payload, "another of the same time"]


def test_what_was_not_to_be_retained_is_no_value_that_could_be_given_back() -> None:
    world = World()
    handler = world.want(1, "#")
    handler(live("a", 10, "the same"))
    handler.offer(live("a", 10, "the same", publisher=8))
    assert len(world.got[1]) == 2


def test_a_payload_that_a_handler_has_spoilt_harms_no_other() -> None:
    world = World()
    handler = world.want(1, "#")
    handler.came_live(live("a", 10, {"spoilt": object()}))
    handler.offer(live("a", 11, "newer"))
    assert len(world.got[1]) == 2


def test_only_what_the_filter_matches_comes() -> None:
    world = World()
    world.want(1, "t/+/x")
    world.want(2, "t/1/#")
    world.batch(*(retained_part(topic, 7, 10, topic) for topic in ("t/1/x", "t/1/y", "t/2/x", "u")))
    assert [topic for topic, _ in world.told(1)] == ["t/1/x", "t/2/x"]
    assert [topic for topic, _ in world.told(2)] == ["t/1/x", "t/1/y"]


def test_a_clear_is_told_as_soon_as_there_is_something_to_clear() -> None:
    """The value's publisher had lost its proxy, and sends it late. Told once, like all that is retained."""
    world = World()
    handler = world.want(1, "#")
    world.batch(*(retained_part(topic, 8, 20, None) for topic in "abc"))
    assert world.told(1) == []
    handler.came_live(live("a", 10, "late"))
    handler.came_live(live("a", 11, "late, too"))
    handler.came_live(live("b", 21, "newer"))
    handler.came_live(live("b", 10, "late, and no clear any more"))
    handler(live("c", 10, "late"))
    assert [(message.topic, message.payload, dict(message.headers)) for message in world.got[1]] == [
        ("a", "late", {}), ("a", None, {"retained": True}), ("a", "late, too", {}),
        ("b", "newer", {}), ("b", "late, and no clear any more", {}),
        ("c", "late", {}), ("c", None, {"retained": True}),
    ]  # fmt: skip


def test_where_the_ack_fails_nothing_comes() -> None:
    world = World()
    world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    assert world.told(1, is_ok=False) == []
    world.retained.tick(0.0)
    assert world.told(1) == [], "it waits no more"


def test_what_was_gathered_is_forgotten_when_nobody_waits_or_the_proxy_is_lost() -> None:
    world = World()
    world.want(1, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    world.retained.proxy_lost()
    assert world.told(1) == []
    world.want(2, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    world.retained.tick(0.0)
    assert world.told(2) == [("a", "kept")]
    world.retained.ended(2)
    world.retained.tick(0.0)
    world.want(3, "#")
    assert world.told(3) == []


def test_what_was_gathered_for_another_filter_is_not_told() -> None:
    world = World()
    world.want(1, "a/#")
    world.batch(retained_part("a/b", 7, 10, "kept"))
    assert world.told(1) == [("a/b", "kept")]
    world.retained.ended(1)
    world.want(2, "c/#")
    assert world.told(2) == []


def test_one_answer_may_be_that_of_several_subscriptions() -> None:
    """What waits for nobody any more is handed out to one after the other."""
    world = World()
    world.want(1, "#")
    world.want(2, "#")
    world.batch(retained_part("a", 7, 10, "kept"))
    world.waiting.clear()
    assert world.told(1) == world.told(2) == [("a", "kept")]


def test_a_handler_that_ends_its_subscription_is_called_no_more() -> None:
    world = World()
    got: list[Message] = []

    def take(message: Message) -> None:
        got.append(message)
        world.ended.add(1)

    world.retained.wanted(1, "#", LastKnown(take))
    world.batch(retained_part("a", 7, 10, "a"), retained_part("b", 7, 11, "b"))
    world.retained.acked(1, is_ok=True, now=0.0)
    assert [message.payload for message in got] == ["a"]


@pytest.mark.parametrize(
    "part", [b"a", b"a/#\0", b"~/a\0\x90", encode("a", 1, 1, 1, 1), encode("a", 1, 1, 1, 1, {"retain": "soon"})]
)
def test_what_cannot_be_read_is_counted_and_harms_no_other(part: bytes) -> None:
    world = World()
    world.want(1, "#")
    world.batch(part, retained_part("b", 7, 10, "b"))
    assert world.told(1) == [("b", "b")] and len(world.refused) == 1


def test_what_a_subscription_remembers_is_bounded() -> None:
    got: list[Message] = []
    handler = LastKnown(got.append, max_known=2)
    for topic in ("a", "b", "c"):
        handler(live(topic, 10, 1))
    handler.offer(live("b", 10, "known"))
    handler.offer(live("a", 10, "forgotten"))
    assert [message.payload for message in got] == [1, 1, 1, "forgotten"]


def test_who_keeps_values_is_told_how_long_they_last_and_what_was_cleared() -> None:
    world = World()
    got: list[Message] = []
    handler = LastKnown(got.append, as_published=True)
    world.retained.wanted(1, "#", handler)
    handler(live("plain", 99, "says nothing of the value"))
    world.batch(
        retained_part("short", 7, 10, "s", expires_s=60),
        retained_part("plain", 7, 11, "kept"),
        retained_part("cleared", 7, 12, None),
        age=20.0,
    )
    world.retained.acked(1, is_ok=True, now=5.5)
    assert [(message.topic, message.payload, dict(message.headers)) for message in got[1:]] == [
        ("short", "s", {"retained": True, "retain": 35}),
        ("plain", "kept", {"retained": True, "retain": 0}),
        ("cleared", None, {"retained": True, "retain": 0}),
    ]
    handler.offer(live("short", 10, "known")._replace(headers={"held": True, "retain": 3}))
    handler.offer(live("short", 11, "newer")._replace(headers={"held": True, "retain": 3}))
    assert [message.payload for message in got[4:]] == ["newer"]
    handler.offer(live("short", 9, "somebody still has it")._replace(headers={"held": True, "retain": 3}))
    assert [message.payload for message in got[5:]] == ["somebody still has it"]


def test_what_is_asked_for_once_more_is_told_as_far_as_it_is_news() -> None:
    world = World()
    world.want(1, "#")
    world.batch(*(retained_part(topic, 7, 10, topic) for topic in "abc"))
    world.told(1)
    world.waiting.add(1)
    world.batch(retained_part("a", 7, 10, "a"), retained_part("b", 8, 11, "newer"), retained_part("c", 8, 11, None))
    world.batch(retained_part("d", 8, 11, None), retained_part("e", 8, 12, "e", expires_s=5))
    assert world.told(1, now=1.0)[3:] == [("b", "newer"), ("c", None), ("e", "e")]
    assert all(message.headers == {"retained": True} for message in world.got[1])
    known = world.told(1)
    world.retained.tick(1.0)
    world.waiting.add(1)
    assert world.told(1) == known, "what was gathered is forgotten"


# ── local topics ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_local_values_are_kept_replaced_cleared_and_expire() -> None:
    world = World()
    for sent_ns, (topic, payload, expires_s) in enumerate(
        [("~/a", 1, 0), ("~/a", 2, 0), ("~/b", 1, 0), ("~/b", None, 0), ("~/c", 1, 5), ("~/d/e", 1, 0)], 1
    ):
        world.retained.local_came(live(topic, sent_ns, payload), 10, expires_s)
    world.want(1, "~/#")
    world.want(2, "~/+")
    assert world.told(1, now=4.0) == [("~/a", 2), ("~/c", 1), ("~/d/e", 1)]
    assert world.told(2, now=5.0) == [("~/a", 2)]
    assert world.got[1][0].headers == {"retained": True}


def test_local_values_over_the_bound_are_told() -> None:
    world = World(HeldValues(max_topics=1))
    world.retained.local_came(live("~/a", 1, 1), 10, 0)
    world.retained.local_came(live("~/b", 2, 1), 10, 0)
    assert world.full == [NotKept("~/b", 2, "local")]
    world.retained.tick(0.0)


# ── what is asked for ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("topic_filter", ["a/b", "a/+", "a/#", "#", "+/b", "a/" + "b" * 1000 + "/#"])
def test_a_filter_wants_what_it_subscribes_to(topic_filter: str) -> None:
    assert wanted_prefixes(topic_filter) == subscription_prefixes(topic_filter)


def test_a_long_filter_wants_more_than_it_matches_in_a_few_bytes() -> None:
    topic_filter = "a/" + "b" * 4000 + "/#"
    [prefix] = wanted_prefixes(topic_filter)
    assert prefix == b"a/" and len(prefix) <= MAX_PREFIX_BYTES
    assert all(each.startswith(prefix) for each in subscription_prefixes(topic_filter))


def test_in_any_order_a_subscriber_ends_with_the_newest_and_nothing_older_follows_it() -> None:
    """What was set before the marker comes in batches, of several proxies; what is set after it, live."""
    rng = random.Random(5)
    for _ in range(300):
        world = World()
        handler = world.want(1, "#")
        history = [(sent_ns, rng.randrange(3)) for sent_ns in range(1, 8)]
        cut = rng.randrange(len(history) + 1)
        for sent_ns, publisher in rng.sample(history[:cut], cut):
            if rng.random() < 0.7 or sent_ns == cut:
                world.batch(retained_part("t", publisher, sent_ns, sent_ns))
            if rng.random() < 0.3:
                handler(live("t", sent_ns, sent_ns, publisher))
        came_live = len(world.got[1])
        world.told(1)
        for sent_ns, publisher in history[cut:]:
            handler(live("t", sent_ns, sent_ns, publisher))
        payloads = [message.payload for message in world.got[1]]
        assert max(payloads, default=0) == len(history)
        retained = [message.payload for message in world.got[1] if message.headers]
        assert all(each > max(payloads[:came_live], default=0) for each in retained)
        assert len(payloads) == len(set(payloads)) or came_live > 1

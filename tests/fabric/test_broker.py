"""Broker: who gets what, in which order, and a cache of routes that never shows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fabric.broker import Broker, Route, Subscription
from fabric.errors import InvalidFilter, RemoteWireError
from fabric.topics import matches
from tests.support import small_world


def publish(broker: Broker[object], topic: str, message: object) -> None:
    """Hand a message round as the broker's docstring says."""
    raw = topic.encode()
    route = broker.routes.get(raw) or broker.route(raw)
    for subscription in route.subscriptions:
        if subscription.active:
            subscription.handler(message)  # type: ignore[operator]


# --- subscriptions and ids


def test_ids_count_from_1_and_are_never_used_again() -> None:
    broker: Broker[str] = Broker()
    assert [broker.subscribe("a", "x"), broker.subscribe("a", "x")] == [1, 2]
    assert broker.unsubscribe(2) == "a"
    assert broker.subscribe("b", "y") == 3
    assert len(broker) == 2


def test_an_invalid_filter_changes_nothing() -> None:
    broker: Broker[str] = Broker()
    with pytest.raises(InvalidFilter):
        broker.subscribe("a/#/b", "x")
    assert len(broker) == 0
    assert broker.subscribe("a", "x") == 1


def test_an_unknown_id_is_told_apart_from_one_that_is_gone() -> None:
    broker: Broker[str] = Broker()
    broker.unsubscribe(broker.subscribe("a", "x"))
    for call in (broker.get, broker.unsubscribe):
        with pytest.raises(KeyError, match="no subscription 1: it was unsubscribed before"):
            call(1)
        with pytest.raises(KeyError, match="no subscription 2: subscribe"):
            call(2)
        with pytest.raises(KeyError, match="no subscription 0"):
            call(0)


def test_get_returns_the_subscription() -> None:
    broker: Broker[str] = Broker()
    subscription = broker.get(broker.subscribe("a/+", "x"))
    assert (subscription.id, subscription.filter, subscription.handler, subscription.active) == (1, "a/+", "x", True)
    broker.unsubscribe(1)
    assert not subscription.active
    assert repr(subscription) == "Subscription(1, 'a/+', active=False)"


def test_filters_are_distinct_and_in_order() -> None:
    broker: Broker[str] = Broker()
    for topic_filter in ("b", "a/#", "b"):
        broker.subscribe(topic_filter, "x")
    assert broker.filters() == ("b", "a/#")
    broker.unsubscribe(1)
    assert broker.filters() == ("a/#", "b")
    broker.unsubscribe(3)
    assert broker.filters() == ("a/#",)


# --- matching


def handlers(broker: Broker[str], topic: str) -> tuple[str, ...]:
    return tuple(subscription.handler for subscription in broker.match(topic))


def test_overlapping_filters_each_get_the_message_in_the_order_they_were_made() -> None:
    broker: Broker[str] = Broker()
    for topic_filter in ("#", "a/b", "+/b", "a/#", "a/+", "a/c", "a/b"):
        broker.subscribe(topic_filter, topic_filter)
    assert handlers(broker, "a/b") == ("#", "a/b", "+/b", "a/#", "a/+", "a/b")


def test_one_handler_subscribed_twice_is_called_twice() -> None:
    broker: Broker[object] = Broker()
    seen: list[object] = []
    broker.subscribe("a", seen.append)
    broker.subscribe("+", seen.append)
    publish(broker, "a", 1)
    assert seen == [1, 1]


def test_topics_are_not_only_ascii() -> None:
    broker: Broker[str] = Broker()
    broker.subscribe("Straße/+/température", "x")
    route = broker.route("Straße/東京/température".encode())
    assert route.topic == "Straße/東京/température"
    assert [subscription.handler for subscription in route.subscriptions] == ["x"]
    assert not broker.route("Straße/東京/temperature".encode()).subscriptions


def test_a_leading_wildcard_gets_no_system_topic() -> None:
    broker: Broker[str] = Broker()
    broker.subscribe("#", "all")
    broker.subscribe("$fabric/#", "system")
    assert handlers(broker, "$fabric/proxy") == ("system",)
    assert handlers(broker, "a") == ("all",)


def test_every_small_world_topic_goes_where_matches_says() -> None:
    broker: Broker[str] = Broker()
    every = small_world.filters(depth=2)
    for topic_filter in every:
        broker.subscribe(topic_filter, topic_filter)
    for topic in small_world.topics(depth=3):
        assert handlers(broker, topic) == tuple(one for one in every if matches(one, topic))


# --- the cache of routes


def test_a_route_is_kept_and_found_again() -> None:
    broker: Broker[str] = Broker()
    broker.subscribe("a/+", "x")
    route = broker.route(b"a/b")
    assert broker.routes == {b"a/b": route}
    assert (route.topic, route.lasts) == ("a/b", {})


@pytest.mark.parametrize("change", ["subscribe", "unsubscribe"])
def test_a_change_of_subscriptions_empties_the_same_dict(change: str) -> None:
    broker: Broker[str] = Broker()
    ident = broker.subscribe("a", "x")
    routes = broker.routes
    broker.route(b"a")
    if change == "subscribe":
        broker.subscribe("+", "y")
    else:
        broker.unsubscribe(ident)
    assert routes == {}
    assert broker.routes is routes
    assert [one.handler for one in broker.route(b"a").subscriptions] == (["x", "y"] if change == "subscribe" else [])


def test_the_cache_never_holds_more_topics_than_it_may() -> None:
    broker: Broker[str] = Broker(max_routes=10)
    routes = broker.routes
    sizes = []
    for number in range(25):
        broker.route(b"t/%d" % number)
        sizes.append(len(routes))
    assert max(sizes) == 10
    assert sizes[-1] == 5
    assert broker.routes is routes


def test_the_cache_never_holds_more_bytes_than_it_may() -> None:
    broker: Broker[str] = Broker(max_route_bytes=1000)
    for number in range(50):
        broker.route(b"%0300d" % number)
        assert sum(map(len, broker.routes)) <= 1000
    assert len(broker.routes) > 1
    broker.subscribe("a", "x")
    for number in range(3):
        broker.route(b"%0300d" % number)
    assert len(broker.routes) == 3, "emptied, it counts from nothing again"


def test_asking_again_for_a_kept_route_counts_its_bytes_once() -> None:
    broker: Broker[str] = Broker(max_route_bytes=100)
    broker.route(b"other")
    for _ in range(50):
        broker.route(b"0123456789")
    assert set(broker.routes) == {b"other", b"0123456789"}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "bad_topic"),
        (b"\xff", "bad_topic"),
        (b"a/+", "bad_topic"),
        (b"~/x", "local_scope"),
        (b"~y/x", "local_scope"),
    ],
)
def test_what_is_no_topic_is_refused_and_not_kept(raw: bytes, kind: str) -> None:
    broker: Broker[str] = Broker()
    broker.subscribe("#", "x")
    with pytest.raises(RemoteWireError) as caught:
        broker.route(raw)
    assert caught.value.kind == kind
    assert broker.routes == {}


def test_last_numbers_outlive_the_cache() -> None:
    numbers: dict[str, dict[int, int]] = {}
    broker: Broker[str] = Broker(lambda topic: numbers.setdefault(topic, {}))
    broker.subscribe("a", "x")
    broker.route(b"a").lasts[7] = 1
    broker.subscribe("+", "y")
    assert broker.route(b"a").lasts is numbers["a"]
    assert broker.route(b"a").lasts == {7: 1}


def test_topics_that_nobody_wants_leave_no_trace_in_the_numbers() -> None:
    asked: list[str] = []

    def lasts(topic: str) -> dict[int, int]:
        asked.append(topic)
        return {}

    broker: Broker[str] = Broker(lasts)
    broker.subscribe("a/wanted", "x")
    for raw in (b"a/1", b"a/wanted", b"a/2"):
        broker.route(raw)
    assert asked == ["a/wanted"]
    assert len(broker.routes) == 3, "but their routes are kept, to be quick about them"


@pytest.mark.parametrize("max_routes", [0, -5])
def test_a_cache_of_no_routes_is_refused(max_routes: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Broker(max_routes=max_routes)


# --- changes from inside a handler


def test_a_handler_that_unsubscribes_another_silences_it_at_once() -> None:
    broker: Broker[object] = Broker()
    seen: list[str] = []

    def first(message: object) -> None:
        seen.append("first")
        if broker.get(1).active and len(broker) == 3:
            broker.unsubscribe(2)

    broker.subscribe("a", first)
    broker.subscribe("a", lambda message: seen.append("second"))
    broker.subscribe("a", lambda message: seen.append("third"))
    publish(broker, "a", 1)
    publish(broker, "a", 2)
    assert seen == ["first", "third", "first", "third"]


def test_a_handler_may_unsubscribe_itself() -> None:
    broker: Broker[object] = Broker()
    seen: list[object] = []

    def once(message: object) -> None:
        seen.append(message)
        broker.unsubscribe(1)

    broker.subscribe("a", once)
    publish(broker, "a", 1)
    publish(broker, "a", 2)
    assert seen == [1]
    assert len(broker) == 0


def test_a_handler_that_subscribes_hears_from_the_next_message_on() -> None:
    broker: Broker[object] = Broker()
    late: list[object] = []

    def first(message: object) -> None:
        if len(broker) == 1:
            broker.subscribe("+", late.append)

    broker.subscribe("a", first)
    publish(broker, "a", 1)
    assert late == []
    publish(broker, "a", 2)
    assert late == [2]


# --- any history

NAMES = st.sampled_from(["a", "b", "", "$s", "~pagesession", "é"])
TOPICS = st.lists(NAMES, min_size=1, max_size=3).map("/".join).filter(bool)


@st.composite
def filters(draw: st.DrawFn) -> str:
    levels = draw(st.lists(st.one_of(NAMES, st.just("+")), min_size=1, max_size=3))
    if draw(st.booleans()):
        levels[-1] = "#"
    return "/".join(levels) or "+"


class AnyHistory(RuleBasedStateMachine):
    """A dict of filters by id is all a broker is, but for speed."""

    def __init__(self) -> None:
        super().__init__()
        self.broker: Broker[int] = Broker(max_routes=4)
        self.model: dict[int, str] = {}
        self.routes = self.broker.routes

    @rule(topic_filter=filters())
    def subscribe(self, topic_filter: str) -> None:
        ident = self.broker.subscribe(topic_filter, len(self.model))
        assert ident not in self.model
        self.model[ident] = topic_filter

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        ident = data.draw(st.sampled_from(sorted(self.model)))
        subscription = self.broker.get(ident)
        assert self.broker.unsubscribe(ident) == self.model.pop(ident)
        assert not subscription.active

    @rule(topic=TOPICS)
    def route(self, topic: str) -> None:
        raw = topic.encode()
        route = self.routes.get(raw) or self.broker.route(raw)
        assert [one.id for one in route.subscriptions] == [i for i, held in self.model.items() if matches(held, topic)]

    @invariant()
    def nothing_stale(self) -> None:
        assert self.broker.routes is self.routes
        assert len(self.routes) <= 4
        assert len(self.broker) == len(self.model)
        assert Counter(self.broker.filters()) == Counter(set(self.model.values()))
        for raw, route in self.routes.items():
            assert all(one.active for one in route.subscriptions)
            assert route.topic.encode() == raw


class TestAnyHistory(AnyHistory.TestCase):  # type: ignore[misc, valid-type]
    settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@settings(deadline=None)
@given(raw=st.binary(max_size=40))
def test_any_bytes_give_a_route_or_a_remote_wire_error(raw: bytes) -> None:
    broker: Broker[str] = Broker()
    ident = broker.subscribe("#", "x")
    try:
        route = broker.route(raw)
    except RemoteWireError:
        assert raw not in broker.routes
    else:
        every = (broker.get(ident),) if not route.topic.startswith(("$", "~")) else ()
        assert route == Route(raw.decode(), every, {}, every[0].handler if len(every) == 1 else None)
        assert all(isinstance(one, Subscription) for one in route.subscriptions)

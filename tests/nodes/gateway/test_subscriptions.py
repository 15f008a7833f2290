"""What a page's browser has subscribed to: where each filter is held, acks, and ids that are used again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fabric.errors import InvalidFilter, NotAllowed, StateError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.gateway.subscriptions import Subscriptions

ACK = Ack(True, ("p1",), (), 0.1)


class StandIn:
    """A broker that keeps what it was given, and calls back when a test says so."""

    def __init__(self) -> None:
        self.held: dict[int, tuple[str, Callable[[Message], Any], Callable[[Ack], Any]]] = {}
        self.retained: list[bool] = []
        self.closed = False
        self._last = 100

    def subscribe(
        self, topic: str, msg_fun: Callable[[Message], Any], ack_fun: Callable[[Ack], Any], /, *, retained: bool = False
    ) -> int:
        if topic == "bad":
            raise InvalidFilter("bad")
        self.retained.append(retained)
        self._last += 1
        self.held[self._last] = topic, msg_fun, ack_fun
        return self._last

    def unsubscribe(self, subscription: int, /) -> None:
        if self.closed:
            raise StateError("node", "closed", "unsubscribe")
        del self.held[subscription]

    @property
    def filters(self) -> list[str]:
        return [topic for topic, _, _ in self.held.values()]


class World:
    def __init__(self) -> None:
        self.node, self.page = StandIn(), StandIn()
        self.heard: list[tuple[Any, int]] = []
        self.acked: list[tuple[int, Ack]] = []
        self.all = Subscriptions(
            self.node,
            self.page,
            3,
            1_000,
            lambda message, ident: self.heard.append((message.payload, ident)),
            lambda ident, ack: self.acked.append((ident, ack)),
        )


def message(payload: Any) -> Message:
    return Message("news/a", payload, 1, 1, 1, {})


def test_filters_of_the_fabric_are_held_at_the_node_and_those_of_the_session_at_the_page() -> None:
    world = World()
    world.all.subscribe(1, "news/#", "")
    world.all.subscribe(2, "~pagesession/#", "pagesession")
    assert (world.node.filters, world.page.filters) == (["news/#"], ["~pagesession/#"])
    for broker, payload in ((world.node, "of the fabric"), (world.page, "of the session")):
        ((_, hear, ack),) = broker.held.values()
        ack(ACK)
        hear(message(payload))
    assert world.acked == [(1, ACK), (2, ACK)]
    assert world.heard == [("of the fabric", 1)], "the session tells its messages itself, subscribed or not"


def test_asked_again_it_tells_its_ack_again_once_it_has_one() -> None:
    world = World()
    world.all.subscribe(1, "news/#", "")
    world.all.subscribe(1, "news/#", "")
    assert world.acked == []
    ((_, _, ack),) = world.node.held.values()
    ack(ACK)
    world.all.subscribe(1, "news/#", "")
    assert world.acked == [(1, ACK), (1, ACK)] and world.node.filters == ["news/#"]
    with pytest.raises(NotAllowed, match="no other subscription"):
        world.all.subscribe(1, "news/a", "")


def test_what_comes_late_for_an_id_does_not_reach_the_next_with_the_same_id() -> None:
    world = World()
    world.all.subscribe(1, "news/#", "")
    ((_, hear, ack),) = world.node.held.values()
    world.all.clear()
    assert world.node.filters == []
    world.all.subscribe(1, "news/a", "")
    hear(message("late"))
    ack(ACK)
    assert (world.heard, world.acked) == ([], [])
    world.all.subscribe(1, "news/a", "")
    assert world.acked == [], "the ack was another's"


def test_it_ends_once_and_an_id_that_is_not_there_is_nothing() -> None:
    world = World()
    world.all.subscribe(1, "news/#", "")
    world.all.unsubscribe(1)
    world.all.unsubscribe(1)
    assert world.node.filters == []


def test_one_that_cannot_be_held_changes_nothing_and_there_are_so_many_at_most() -> None:
    world = World()
    with pytest.raises(InvalidFilter):
        world.all.subscribe(1, "bad", "")
    for ident in (1, 2, 3):
        world.all.subscribe(ident, "news/#", "")
    with pytest.raises(NotAllowed, match="at most 3"):
        world.all.subscribe(4, "news/#", "")
    world.all.unsubscribe(2)
    world.all.subscribe(4, "news/#", "")
    assert len(world.node.held) == 3


def test_all_filters_of_a_page_together_are_bounded() -> None:
    world = World()
    world.all.subscribe(1, "news/" + "é" * 245, "")  # 495 bytes
    world.all.subscribe(2, "~pagesession/" + "x" * 480, "pagesession")
    with pytest.raises(NotAllowed, match="at most 1000 bytes"):
        world.all.subscribe(3, "news/abcdefgh", "")
    world.all.subscribe(3, "news/abc", "")
    world.all.unsubscribe(1)
    world.all.subscribe(1, "news/" + "x" * 400, "")
    assert len(world.node.held) == 2


def test_a_node_that_is_closed_has_ended_them_already() -> None:
    world = World()
    world.all.subscribe(1, "news/#", "")
    world.node.closed = True
    world.all.clear()
    world.all.unsubscribe(1)


def test_what_is_retained_is_asked_for_where_the_browser_wants_it() -> None:
    world = World()
    world.all.subscribe(1, "news/a", "")
    world.all.subscribe(2, "news/b", "", retained=True)
    assert world.node.retained == [False, True]

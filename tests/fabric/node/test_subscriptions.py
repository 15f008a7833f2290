"""Subscriptions of a node: ids, acks that come, and who waits for one that has ended."""

from __future__ import annotations

import threading

import pytest

from fabric.broker import Broker
from fabric.node.coverage import Ack
from fabric.node.receiver import MessageFun
from fabric.node.subscriptions import Subscriptions

ACK = Ack(True, ("p1",), (), 0.001)


@pytest.fixture
def subscriptions() -> Subscriptions:
    broker: Broker[MessageFun] = Broker()
    return Subscriptions(threading.RLock(), broker)


def test_an_ack_is_told_once_and_kept_while_the_subscription_lasts(subscriptions: Subscriptions) -> None:
    ident = subscriptions.add("a/#", print, print)
    with pytest.raises(TimeoutError, match=f"no ack for subscription {ident} within 0 s"):
        subscriptions.wait_ack(ident, 0)
    assert subscriptions.acked(ident, ACK) is print
    assert subscriptions.acked(ident, ACK) is None
    assert subscriptions.wait_ack(ident, 0) == ACK
    assert subscriptions.remove(ident) == "a/#"
    with pytest.raises(KeyError, match="unsubscribed before"):
        subscriptions.wait_ack(ident, 0)


def test_the_ack_of_one_that_has_ended_is_told_and_not_kept(subscriptions: Subscriptions) -> None:
    ident = subscriptions.add("a/#", print, print)
    subscriptions.remove(ident)
    assert subscriptions.acked(ident, ACK) is print
    forgotten = subscriptions.add("a/#", print, print)
    subscriptions.remove(forgotten)
    subscriptions.forget(forgotten)
    assert subscriptions.acked(forgotten, ACK) is None
    with pytest.raises(KeyError):
        subscriptions.remove(ident)


def test_who_waits_is_woken_by_the_ack(subscriptions: Subscriptions) -> None:
    ident = subscriptions.add("a/#", print, None)
    found: list[Ack] = []
    waiter = threading.Thread(target=lambda: found.append(subscriptions.wait_ack(ident, 30)))
    waiter.start()
    assert subscriptions.acked(ident, ACK) is None
    waiter.join(30)
    assert found == [ACK]


def test_filters_are_those_held(subscriptions: Subscriptions) -> None:
    for each in ("a/#", "a/#", "+/b"):
        subscriptions.add(each, print, None)
    subscriptions.add_own("$fabric/proxy/p1", print)
    assert sorted(subscriptions.filters()) == ["$fabric/proxy/p1", "+/b", "a/#"]
    assert sorted(subscriptions.filters_matching("a/b")) == ["+/b", "a/#", "a/#"]
    assert len(subscriptions) == 4

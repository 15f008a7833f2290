"""A page's end of the fabric, on a node that is a real one or says what a full or closed one says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from fabric import Node
from fabric.errors import HighWaterMarkReached, StateError
from nodes.page.fabric_end import FabricEnd
from nodes.page.host import host_of
from nodes.page.interface import FabricAcked, FabricSpoke, Hold, Send
from nodes.rules.proofs import engagement_of, key_of, name_of
from nodes.rules.spoken import is_pages
from nodes.rules.topics import UPDATE
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

KEY = key_of("s" * 22)
SESSION = name_of(KEY)


def test_what_it_holds_speaks_to_the_page_until_it_is_released(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node, Node(mesh[1].base) as other:
        said = Box()
        end = FabricEnd(host_of(node), SESSION, KEY, said)
        assert end.send(Hold(7, "truck/#")) and end.send(Hold(8, "ship/#"))
        said.wait_for(lambda items: sum(isinstance(each, FabricAcked) for each in items) == 2, "both acks")
        other.publish("truck/1", "a")
        until(lambda: any(isinstance(each, FabricSpoke) for each in said.items), "the message")
        (spoke,) = [each for each in said.items if isinstance(each, FabricSpoke)]
        assert (spoke.subscription, spoke.message.topic, spoke.message.payload) == (7, "truck/1", "a")
        held = end.host.node.stats()["interest"]
        end.release(7)
        end.release(7)
        until(lambda: node.stats()["interest"] != held, "it is held no more")
        end.close()


def test_what_is_of_the_session_carries_the_mark_of_the_page(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node, Node(mesh[0].base) as other:
        end, arrived = FabricEnd(host_of(node), SESSION, KEY, print), Box()
        assert other.wait_ack(other.subscribe(f"~pagesession/{node.home}/{SESSION}/#", arrived), 10).ok
        assert other.wait_ack(other.subscribe("truck/1", arrived), 10).ok
        assert end.send(Send("~pagesession/x", 1), ("ada", "bob")) and end.send(Send("truck/1", 2), ("ada",))
        marks = {m.topic.rpartition("/")[2]: dict(m.headers) for m in arrived.wait(2)}
        assert marks["1"] == {} and marks["x"]["by"] == "page" and set(marks["x"]["proofs"]) == {"ada", "bob"}
        key, now = engagement_of(KEY, SESSION, "ada"), time.time()
        assert is_pages(key, "ada", marks["x"], "~pagesession/x", 1, now)
        assert not is_pages(key, "bob", marks["x"], "~pagesession/x", 1, now), "each agent has its own proof"


class Failing:
    """A host whose node says what a full or closed one says."""

    def __init__(self, error: Exception) -> None:
        self.counts, self.error, self.node = {"dropped": 0}, error, self

    def topic(self, session: str, topic: str) -> str:
        return topic

    def publish(self, *_: Any, **__: Any) -> None:
        raise self.error

    subscribe = publish


def test_a_fabric_that_takes_nothing_at_present_is_told_apart_from_one_that_is_closed() -> None:
    full: Any = Failing(HighWaterMarkReached("full"))
    end = FabricEnd(full, SESSION, KEY, print)
    assert not end.send(Send("x", 1)) and not end.send(Hold(1, "x"))
    with pytest.raises(HighWaterMarkReached):
        end.send(Send(UPDATE, 1, at_once=True))
    assert full.counts["dropped"] == 0
    closed: Any = Failing(StateError("node", "closed", "publish"))
    end = FabricEnd(closed, SESSION, KEY, print)
    assert end.send(Send("x", 1)) and end.send(Hold(1, "x"))
    assert closed.counts["dropped"] == 2

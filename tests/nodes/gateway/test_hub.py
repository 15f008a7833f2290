"""What all browsers of a gateway share: the crossing from the node's thread, the connection, one encoding for many."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any, cast

from fabric.node.coverage import CoverageEvent
from fabric.node.node import Node, NodeState
from fabric.wire import Message
from nodes.gateway.hub import Hub, Settings, numbered
from tests.support.gateways import StandInNode


class Sleeper:
    def __init__(self) -> None:
        self.is_woken = False
        self.calls = 0
        self.called = asyncio.Event()

    def woken(self) -> None:
        self.calls += 1
        self.called.set()


def make() -> tuple[Hub, StandInNode]:
    node = StandInNode()
    return Hub(cast(Node, node), Settings(secret=b"s" * 32)), node


def message(payload: Any = 1) -> Message:
    return Message("news/a", payload, 2**64 - 1, 7, 123, {})


def test_many_calls_from_another_thread_are_one_in_the_event_loop() -> None:
    async def story() -> None:
        hub, _ = make()
        sleepers = [Sleeper() for _ in range(3)]

        def wake() -> None:
            for _ in range(100):
                for sleeper in sleepers:
                    hub.wake(sleeper)

        thread = threading.Thread(target=wake)
        thread.start()
        thread.join()  # the event loop stands still meanwhile
        await asyncio.wait_for(sleepers[2].called.wait(), 10)
        assert [sleeper.calls for sleeper in sleepers] == [1, 1, 1]
        hub.wake(sleepers[0])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sleepers[0].calls == 2

    asyncio.run(story())


def test_a_message_of_the_fabric_is_encoded_once_for_all_who_gave_it_one_id() -> None:
    async def story() -> None:
        hub, _ = make()
        one = message({"x": b"\0"})
        text = hub.fabric_text(one, 1)
        assert hub.fabric_text(one, 1) is text
        assert hub.fabric_text(one, 2) != text and hub.fabric_text(message(2), 1) != text
        assert json.loads("{" + text) == {
            "t": "message", "ids": [1], "topic": "news/a", "payload": {"x": {"$bin": "AA=="}}, "number": 7,
            "publisher": str(2**64 - 1), "sent_ns": "123",
        }  # fmt: skip

    asyncio.run(story())


def test_a_change_of_what_the_fabric_reaches_is_told_once() -> None:
    async def story() -> None:
        hub, node = make()
        told: list[dict[str, Any]] = []
        hub.on_connection.append(lambda text: told.append(json.loads(text)))
        assert hub.connection == {"connected": True, "covered": ["p1"], "missing": []}
        for event in (CoverageEvent(("p1",), ("p2",), ("p2",), ()), CoverageEvent(("p1",), ("p2",), (), ())):
            node.coverage[0](event)
            await asyncio.sleep(0)
        node.state[0](NodeState("moving", "tcp://127.0.0.1:1"))
        await asyncio.sleep(0)
        assert [(each["connected"], each["missing"]) for each in told] == [(True, ["p2"]), (False, ["p2"])]

    asyncio.run(story())


def test_a_message_to_be_numbered_is_json_without_its_brace() -> None:
    assert json.loads('{"seq":1,' + numbered({"t": "site"})) == {"seq": 1, "t": "site"}

"""A window: who has it, what goes out first, what waits while nobody is there, who is cut off."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from typing import Any, cast

from fabric.node.node import Node
from nodes.gateway.hub import Hub, Settings, numbered
from nodes.gateway.limits import Limits
from nodes.gateway.window import BEAT, Window, refused
from tests.support.gateways import StandInLine, StandInNode


def play(story: Callable[[Hub], Coroutine[Any, Any, None]]) -> None:
    async def with_hub() -> None:
        settings = Settings(secret=b"s" * 32, limits=Limits(queue_messages=20))
        await story(Hub(cast(Node, StandInNode()), settings))

    asyncio.run(with_hub())


def make(hub: Hub) -> Window:
    return Window(hub, lambda: None)


def said(number: int) -> str:
    return numbered({"t": "said", "n": number})


def welcomed(window: Window, seen: int | None = None, *, same_document: bool = True) -> StandInLine:
    line = StandInLine(window.take)
    window.take_over(line, "another one")

    def welcome(seq: int, complete: bool) -> dict[str, Any]:
        return {"t": "welcome", "seq": seq, "complete": complete}

    window.welcome(seen, welcome, same_document=same_document)
    return line


def test_the_welcome_goes_out_before_what_waited_and_knows_the_last_number() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        for number in (1, 2):
            window.push("said", said(number))
        line = welcomed(window)
        await line.get("said", n=2)
        assert line.messages == [
            {"t": "welcome", "seq": 2, "complete": True},
            {"seq": 1, "t": "said", "n": 1},
            {"seq": 2, "t": "said", "n": 2},
        ]

    play(story)


def test_there_is_a_line_or_a_time_since_when_there_is_none() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        assert window.line is None and window.left_at is not None
        one = welcomed(window)
        assert window.line is one and window.left_at is None
        two = welcomed(window)
        assert one.ended == [(4001, "another one")] and two.ended == [] and hub.opened == 2
        assert not window.leave(one), "its socket was taken over"
        assert window.line is two and window.left_at is None
        assert window.leave(two) and window.line is None and window.left_at is not None

    play(story)


def test_what_was_said_meanwhile_comes_with_the_next_line_and_what_was_passing_does_not() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        first = welcomed(window)
        window.push("said", said(1))
        await first.get("said", n=1)
        window.leave(first)
        window.pass_on({"t": "done"})
        window.push("said", said(2))
        window.push("fabric", numbered({"t": "message"}))
        second = welcomed(window, seen=0)
        await second.get("message")
        assert [each["t"] for each in second.messages] == ["welcome", "said", "said", "message"]
        third = welcomed(window, seen=1, same_document=False)
        await third.get("said", n=2)
        assert [each["t"] for each in third.messages] == ["welcome", "said"], "fabric messages are for one document"

    play(story)


def test_without_a_browser_the_oldest_goes_when_too_much_waits() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        for number in range(1, 31):
            window.push("said", said(number))
        line = welcomed(window, seen=0)
        await line.get("said", n=30)
        assert [each["n"] for each in line.messages[1:]] == list(range(11, 31)) and not line.messages[0]["complete"]

    play(story)


def test_states_are_looked_at_once_for_all_changes_and_what_is_told_goes_out_at_once() -> None:
    async def story(hub: Hub) -> None:
        looks: list[int] = []

        def tell_states() -> None:
            looks.append(len(looks))
            window.pass_on({"t": "states"})

        window = Window(hub, tell_states)
        line = welcomed(window)
        await line.get("welcome")

        def change() -> None:
            for number in range(10):
                window.states_changed = True
                window.push("said", said(number))

        thread = threading.Thread(target=change)
        thread.start()
        thread.join()  # the event loop stands still meanwhile
        await line.get("states")
        assert looks == [0] and not window.states_changed
        window.leave(line)
        window.states_changed = True
        window.push("said", said(11))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looks == [0] and window.states_changed, "nobody is there to be told"

    play(story)


def test_a_browser_that_is_stuck_is_cut_off_and_a_burst_is_not() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        line = welcomed(window)
        for number in range(40):
            window.pass_on({"t": "done", "id": number})
        await line.get("done", id=39)
        assert line.ended == []
        line.is_stuck = True
        for number in range(40):
            window.pass_on({"t": "done", "id": number})
        code, why = await line.until_ended()
        assert code == 4009 and "more than 20 messages" in why and hub.counts["too_slow"] == 1
        assert not window.tick()

    play(story)


def test_a_quiet_line_hears_a_beat_at_the_tick() -> None:
    async def story(hub: Hub) -> None:
        window = make(hub)
        assert not window.tick()
        line = welcomed(window)
        assert window.tick()
        line.quiet_s = hub.settings.beat_s
        assert window.tick()
        assert await line.get("beat") == json.loads(BEAT) and len(line.messages) == 2

    play(story)


def test_a_refusal_names_the_message_and_says_why() -> None:
    told = {"t": "refused", "id": 7, "of": "publish", "error": "ValueError", "why": "no"}
    assert refused("publish", 7, ValueError("no")) == told

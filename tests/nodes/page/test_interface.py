"""Inputs and effects are data: each input is taken by a page's core, and nothing that is handed over can be changed."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from fabric.errors import StateError
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.page import interface
from nodes.page.interface import Effect, FrameEffect, Input, Send
from tests.support.page_world import SESSION, World, state

ASK = interface.Ask("trigger", {"session": SESSION, "button": "help"}, "key")
INPUTS: list[Input] = [
    interface.PageCame(),
    interface.PageRetried(),
    interface.PageStopped(1),
    interface.PageDeclined(1),
    interface.PageChoseButtons(("help",), {"help": 1}),
    interface.VisitorAsked("stop_chat", {}),
    interface.LineCame(),
    interface.FrameAttached("h" * 32),
    interface.FrameNodeAnswered(ASK, state(2)),
    interface.FrameNodeWasBusy(ASK, "busy", 0.0, 0.5),
    interface.FrameNodeRejected(ASK, "no"),
    interface.FrameNodeTold(state(2)),
    interface.LeaseLost(0.0),
    interface.LeaseKept(0.0),
    interface.ButtonsCounted({"help": 1}),
    interface.ClockTicked(),
    interface.SessionsAcked(Ack(True, (), (), 0.0)),
    interface.SessionSpoke(Message("~pagesession/x", 1, 7, 1, 0, {})),
    interface.FabricSpoke(1, Message("x", 1, 7, 1, 0, {})),
    interface.FabricAcked(1, Ack(True, (), (), 0.0)),
    interface.FabricWasFull((Send("x", 1),)),
]


def test_the_list_above_is_whole() -> None:
    assert {type(each) for each in INPUTS} == set(get_args(Input))


@pytest.mark.parametrize("event", INPUTS, ids=lambda event: type(event).__name__)
def test_a_page_that_is_ready_takes_every_input_or_refuses_it_by_its_table(event: Input) -> None:
    world = World().ready()
    refused = (interface.PageCame, interface.PageRetried, interface.FrameAttached)
    if isinstance(event, refused):
        with pytest.raises(StateError):
            world.handle(event)
    else:
        effects: list[Any] = world.core.handle(event, 0.0)
        assert {type(each) for each in effects} <= set(get_args(Effect))


def test_what_is_no_input_is_an_error() -> None:
    with pytest.raises(AssertionError):
        World().handle("nonsense")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted({*get_args(Input), *get_args(Effect), *get_args(FrameEffect)}, key=str))
def test_nothing_that_is_handed_over_can_be_changed(kind: Any) -> None:
    assert issubclass(kind, tuple) or vars(kind)["__dataclass_params__"].frozen

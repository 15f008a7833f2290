"""Inputs and effects are data: an agent's core takes each input, and nothing that is handed over can be changed."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from nodes.agent import interface
from nodes.agent.agent_core import AgentCore
from nodes.agent.interface import Effect, Input
from tests.support.page_world import PLACE, SESSION, state

ASK = interface.Ask("accept", {"session": SESSION})
JOINED = state(1, cobrowse="joined", agent="ada")
INPUTS: list[Input] = [
    interface.AgentSetAvailable(True),
    interface.AgentChoseButtons(("help",)),
    interface.AgentStopped(SESSION),
    interface.AgentWantedSnapshot(SESSION),
    interface.AgentShowed(SESSION, 1),
    interface.AgentSaid(SESSION, "i", "hi", 1.0),
    interface.AgentDismissedChat(SESSION),
    interface.FrameNodeAnswered(ASK, JOINED, 0.0),
    interface.FrameNodeFailed(ASK),
    interface.FrameNodeRejected(ASK),
    interface.FrameNodeTold(JOINED),
    interface.LeaseDoubted(),
    interface.LeaseLost(),
    interface.SpaceWatched(SESSION, PLACE),
    interface.PageUpdated(SESSION, {"epoch": 1, "n": 1, "event": "x", "snapshot": True}),
    interface.SessionSpoke(SESSION, "~pagesession/x", 1),
    interface.ChatHandedOver({"session": SESSION, "lines": [], "dropped": 0}),
    interface.ClockTicked(),
]


def test_the_list_above_is_whole() -> None:
    assert {type(each) for each in INPUTS} == set(get_args(Input))


@pytest.mark.parametrize("event", INPUTS, ids=lambda event: type(event).__name__)
def test_an_agent_in_session_takes_every_input(event: Input) -> None:
    core = AgentCore("ada", "Ada")
    core.handle(interface.FrameNodeTold(JOINED), 0.0)
    effects: list[Any] = core.handle(event, 0.0)
    assert {type(each) for each in effects} <= set(get_args(Effect))


def test_what_is_no_input_is_an_error() -> None:
    with pytest.raises(AssertionError):
        AgentCore("ada", "Ada").handle("nonsense", 0.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", sorted({*get_args(Input), *get_args(Effect)}, key=str))
def test_nothing_that_is_handed_over_can_be_changed(kind: Any) -> None:
    assert vars(kind)["__dataclass_params__"].frozen

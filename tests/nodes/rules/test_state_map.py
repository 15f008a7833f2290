"""What is a state map, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules.state_map import is_state
from tests.support.page_world import SESSION, state


def test_a_state_map_is_known() -> None:
    assert is_state(state(1), SESSION)
    without_code = state(1)
    del without_code["code"]
    assert is_state(without_code, SESSION), "as agents get it"


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "x",
        {},
        state(1, session="another"),
        state(True),
        {**state(1), "version": "1"},
        {**state(1), "version": None},
        state(1, epoch=1.5),
        state(1, cobrowse="flying"),
        state(1, cobrowse=["idle"]),
        state(1, visibility={}),
        state(1, visibility="huge"),
        state(1, chat=7),
        state(1, agent=7),
        state(1, code=111111),
    ],
)
def test_what_is_no_state_map_is_refused(wrong: Any) -> None:
    assert not is_state(wrong, SESSION)

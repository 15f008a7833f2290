"""What is a state map, and what is not."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules.proofs import key_of
from nodes.rules.state_map import FIELDS, is_state, opened, proven
from tests.support.page_world import KEY, SESSION, made, state


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


def test_a_proof_covers_every_field_and_the_moment_of_the_request() -> None:
    whole = made(1, agent="ada", agent_name="Ada", capability="view", asked_by="code", refusal="timeout", button="help")
    whole["chat_agent"] = "ada"
    told = proven(whole, KEY, 5.0)
    assert opened(told, KEY, 5.0) == whole and set(whole) == set(FIELDS)
    assert opened({**told, "more": "evil"}, KEY, 5.0) == whole, "what the proof does not cover is not taken"
    assert opened(told, KEY, 6.0) is opened(told, KEY) is opened(told, key_of("another"), 5.0) is None
    for name in FIELDS:
        for other in ("other", 2**63 - 1, None, True, ["x"]):
            assert other == whole[name] or opened({**told, name: other}, KEY, 5.0) is None  # type: ignore[literal-required]
    assert opened({key: value for key, value in told.items() if key != "proof"}, KEY, 5.0) is None


@pytest.mark.parametrize("wrong", [None, 5, [], "x", {}, {"proof": 5}, {"proof": "0" * 32, "agent": {1, 2}}])
def test_what_is_no_proven_map_is_none(wrong: Any) -> None:
    assert opened(wrong, KEY) is None

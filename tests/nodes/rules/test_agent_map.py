"""An agent's map on its way: whole, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules.agent_map import opened_agent, proven_agent
from nodes.rules.proofs import key_of
from tests.support.page_world import made

KEY = key_of("ada")
AGENT: dict[str, Any] = {"agent": "ada", "name": "Ada", "available": True, "buttons": ["help"], "lease_s": 10.0}
PAGES = [made(3), made(4, session="t" * 22)]


def test_what_a_frame_node_answers_is_opened_by_its_agent() -> None:
    told = proven_agent({**AGENT, "pages": PAGES}, KEY, 5.0)
    assert opened_agent(told, KEY, 5.0) == {**AGENT, "pages": PAGES}
    assert opened_agent({**told, "more": 1}, KEY, 5.0) == {**AGENT, "pages": PAGES}
    assert opened_agent(told, KEY, 6.0) is None and opened_agent(told, key_of("bob"), 5.0) is None


def test_nobody_takes_a_page_out_or_puts_one_in() -> None:
    told = proven_agent({**AGENT, "pages": PAGES}, KEY, 5.0)
    other = proven_agent({**AGENT, "pages": [made(9)]}, KEY, 5.0)["pages"]
    first, second = told["pages"]
    for pages in ([], [first], [second, first], [*told["pages"], *other], [{**first, "version": 9}, second], [5], 7):
        assert opened_agent({**told, "pages": pages}, KEY, 5.0) is None
    assert opened_agent({**told, "available": False}, KEY, 5.0) is None


@pytest.mark.parametrize("reply", [None, 5, "x", [], {}, {"pages": []}, {"pages": [None]}])
def test_what_is_no_map_is_none(reply: object) -> None:
    assert opened_agent(reply, KEY, 5.0) is None

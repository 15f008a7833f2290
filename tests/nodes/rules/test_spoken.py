"""What a page and an agent say to each other is proven: by whom, to whom, what, on which topic, and when."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules.proofs import FRESH_S, key_of
from nodes.rules.spoken import by_agent, by_page, is_agents, is_pages
from nodes.rules.topics import BY, MESSAGE, UPDATE

KEY, OTHER = key_of("shared with ada"), key_of("shared with bob")
TEXT = {"text": "hi", "from": "Ada", "id": "1"}


def test_what_an_agent_says() -> None:
    told = by_agent(KEY, "ada", MESSAGE, TEXT, 100.0)
    assert told[BY] == "ada" and is_agents(KEY, "ada", told, MESSAGE, TEXT, 100.0 + FRESH_S)
    assert not is_agents(OTHER, "ada", told, MESSAGE, TEXT, 100.0) and not is_agents(
        KEY, "bob", told, MESSAGE, TEXT, 100.0
    )
    assert not is_agents(KEY, "ada", told, UPDATE, TEXT, 100.0)
    assert not is_agents(KEY, "ada", told, MESSAGE, {**TEXT, "text": "ho"}, 100.0)
    assert not is_agents(KEY, "ada", told, MESSAGE, TEXT, 101.0 + FRESH_S)
    assert not is_agents(KEY, "ada", {**told, "at": 101.0}, MESSAGE, TEXT, 101.0)
    assert not is_pages(KEY, "ada", {**told, "proofs": {"ada": told["proof"]}}, MESSAGE, TEXT, 100.0), "no page has"


def test_what_a_page_says_is_proven_to_each_agent_by_itself() -> None:
    told = by_page({"ada": KEY, "bob": OTHER}, MESSAGE, TEXT, 100.0)
    assert told[BY] == "page"
    assert is_pages(KEY, "ada", told, MESSAGE, TEXT, 100.0) and is_pages(OTHER, "bob", told, MESSAGE, TEXT, 100.0)
    assert not is_pages(KEY, "bob", told, MESSAGE, TEXT, 100.0) and not is_pages(
        OTHER, "eve", told, MESSAGE, TEXT, 100.0
    )
    assert not is_agents(KEY, "ada", {**told, "proof": told["proofs"]["ada"]}, MESSAGE, TEXT, 100.0), "no agent has"


@pytest.mark.parametrize(
    "changes",
    [
        {"at": None},
        {"at": "100"},
        {"at": True},
        {"at": float("nan")},
        {"proof": None, "proofs": None},
        {"proof": 5, "proofs": ["ada"]},
        {"proof": "0" * 32, "proofs": {"ada": "0" * 32}},
    ],
)
def test_headers_that_are_none_prove_nothing(changes: dict[str, Any]) -> None:
    one = {**by_agent(KEY, "ada", MESSAGE, TEXT, 100.0), **changes}
    other = {**by_page({"ada": KEY}, MESSAGE, TEXT, 100.0), **changes}
    assert not is_agents(KEY, "ada", one, MESSAGE, TEXT, 100.0) and not is_pages(
        KEY, "ada", other, MESSAGE, TEXT, 100.0
    )

"""The lines that a frame keeps, sealed: it gives them back, and can neither make one up nor move one."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.gateway.chat_lines import is_chat, opened, sealed_chat, sealing
from nodes.page.page_chat import Kept
from nodes.rules.transcript import MAX_LINES, ChatLine

SECRET, SESSION = b"s" * 32, "x" * 22
LINES = (ChatLine(1, "page", "visitor", "one ☺", "a", 5.25), ChatLine(2, "ada", "Ada", "two", "b", 6.0))


def chat() -> dict[str, Any]:
    return sealed_chat(SECRET, SESSION, Kept("ada", LINES, 3))


def test_what_was_sealed_comes_back_in_order() -> None:
    given = chat()
    assert is_chat(given) and given["dropped"] == 3
    assert opened(SECRET, SESSION, {**given, "lines": given["lines"][::-1]}) == Kept("ada", LINES)
    for line, whole in zip(LINES, given["lines"], strict=True):
        added = sealing(SECRET, SESSION, "ada", line)
        assert {key: whole[key] for key in ("id", "n", "at", "seal")} | {"agent": "ada"} == added


@pytest.mark.parametrize(
    "changes",
    [{"text": "forged"}, {"n": 3}, {"by": "page"}, {"from": "Bob"}, {"id": "c"}, {"at": 7.0}, {"seal": ""}, {"seal": 1},
     {"seal": "ä"}],
)  # fmt: skip
def test_a_line_that_was_changed_is_not_taken(changes: Any) -> None:
    given = chat()
    given["lines"][1] |= changes
    assert opened(SECRET, SESSION, given) == Kept("ada", LINES[:1])


def test_nothing_is_taken_of_another_session_agent_or_secret() -> None:
    assert opened(SECRET, "y" * 22, chat()) is None
    assert opened(b"t" * 32, SESSION, chat()) is None
    assert opened(SECRET, SESSION, {**chat(), "agent": "bob"}) is None


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"agent": "ada"}, {"agent": "a b", "lines": []}, {"agent": "ada", "lines": [1]},
     {"agent": "ada", "lines": [{}] * (MAX_LINES + 1)}],
)  # fmt: skip
def test_what_is_no_chat_is_refused(value: Any) -> None:
    assert not is_chat(value)
    assert is_chat({"agent": "ada", "lines": [{}]})

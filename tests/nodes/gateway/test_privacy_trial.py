"""What the page to try rules on is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nodes.gateway.privacy_trial import EXPECTED, read_trial


def ask(text: str, address: Any = "https://shop.example.org/cart?x", private: Any = False) -> dict[str, Any]:
    return read_trial(json.dumps({"text": text, "address": address, "private": private}))


def test_rules_are_those_of_the_address() -> None:
    text = '[[rules]]\npages = ["https://shop.example.org/*"]\nmask = [".a"]'
    assert ask(text) == {"rules": {"private": False, "rules": [{"paths": ["/*"], "mask": [".a"]}]}}
    assert ask(text, "https://other.example", True) == {"rules": {"private": True, "rules": []}}


def test_what_is_wrong_is_said_as_of_the_file() -> None:
    assert ask("[[rules]]\nmask = ['p::before']")["why"].startswith("rule 1 (line 1), mask: invalid selector")
    assert "invalid origin" in ask("", "shop")["why"]


@pytest.mark.parametrize(
    "body", ["", "[]", "{", '{"text": 1}', "[" * 5_000, '"x"', '{"text": "", "address": "", "private": 1}']
)
def test_what_is_no_question_is_answered_with_what_was_expected(body: str) -> None:
    assert read_trial(body) == {"why": f"invalid message: {EXPECTED}"}

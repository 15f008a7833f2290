"""Close codes: every one has its rule, and what is written from the table is up to date."""

from __future__ import annotations

import json
import re

import pytest

from nodes.gateway.close_codes import (
    BEGIN,
    COMMAND,
    END,
    PAGE,
    RULES,
    SCRIPT,
    CloseCode,
    Reconnect,
    inserted,
    javascript,
)
from tests.support.processes import ROOT


def test_every_code_has_a_rule_that_can_be_sent() -> None:
    assert list(RULES) == sorted(CloseCode)
    for code, rule in RULES.items():
        assert code in (1000, 1009, 1011, 1012, 1013) or 4000 <= code <= 4999, "RFC 6455 §7.4 reserves the others"
        assert rule.least_s == 0 or rule.reconnect is Reconnect.BACK_OFF


def test_the_protocol_s_table_is_up_to_date() -> None:
    assert PAGE.read_text() == inserted(PAGE.read_text()), f"run: {COMMAND}"


def test_the_browser_s_module_is_up_to_date() -> None:
    assert SCRIPT.read_text() == javascript(), f"run: {COMMAND}"


def test_the_browser_s_module_says_what_the_rules_say() -> None:
    found = {
        int(code): json.loads(re.sub(r"(\w+):", r'"\1":', fields))
        for code, fields in re.findall(r"^  (\d+): (\{.*\}),$", javascript(), re.MULTILINE)
    }
    assert found == {
        code: {"name": code.name.lower(), "reconnect": str(rule.reconnect), "least_s": rule.least_s}
        for code, rule in RULES.items()
    }


@pytest.mark.parametrize("document", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_a_page_without_its_markers_is_refused(document: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        inserted(document)


def test_no_module_spells_a_close_code() -> None:
    """A number in the code would be a second table."""
    numbers = re.compile(r"\b(end|close)\((code=)?\d{4}\b")
    for path in (ROOT / "nodes" / "gateway").glob("*.py"):
        assert not numbers.search(path.read_text()), path.name

"""Which texts are selectors of elements. A browser agrees: tests/e2e/test_privacy_rules.py asks one."""

from __future__ import annotations

import pytest

from nodes.gateway.selectors import MAX_CHARS, MAX_DEPTH, problem

GOOD = (
    "p", "*", ".a", "#b", "p.a#b", "a b", "a>b", "a > b ~ c + d", "a, b", " .a , .b ", "[title]", "[data-x='a b']",
    '[href^="https://x"]', "[a=b i]", "[ a = b ]", ".a\\:b", "._x", ".-x", ".--x", "my-card", ".größe", ":root",
    "p:first-child", "li:nth-child(2n + 1)", "a:not(.b, .c > d)", "tr:has(> td .x)", ":is(a, b):hover", "input:checked",
)  # fmt: skip
BAD = (
    "", "  ", ",", "a,", ",a", "a,,b", "a >", "> a", "a > > b", "#1", ".1a", ".", "#", "[", "[]", "[a", "[a=]",
    "[a='b]",
    "a]", "a)", ":not(", ":not()", ":not(a", "a:no-such-class", "p::before", "p:before", "a{}", "a;b", "<p>", "a/b",
    "[[", "@media", "a|||b", ":nth-child()", "a:hover(b)", "a !b", "$a", ".a\\",
)  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_what_browsers_take_is_taken(text: str) -> None:
    assert problem(text) == ""


@pytest.mark.parametrize("text", BAD)
def test_what_no_browser_takes_or_names_no_element_is_refused(text: str) -> None:
    assert problem(text)


def test_what_is_expected_is_said() -> None:
    assert problem("p::before") == "a selector of elements; ::pseudo-elements are none"
    assert problem("a:fist-child") == "a pseudo-class that is known here instead of :fist-child"
    assert problem("a > {") == "a CSS selector; there is none before '{'"
    assert problem("a:not(b") == "a closing bracket before ''"


def test_it_has_bounds() -> None:
    assert problem("a" * MAX_CHARS) == "" and str(MAX_CHARS) in problem("a" * (MAX_CHARS + 1))
    nested = "{}".join([":is(" * depth + "a" + ")" * depth for depth in (MAX_DEPTH,)])
    assert problem(nested) == "" and "brackets" in problem(f":is({nested})")

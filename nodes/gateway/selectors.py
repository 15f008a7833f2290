"""Whether a text is a CSS selector that a browser takes, and that names elements. Pure.

A browser has the last word: what only newer ones know is taken here. What is refused is what no browser takes, and what
could never match an element, such as `p::before`: a rule with it would hide nothing, without a word.

Source: Selectors Level 4, §17 (the grammar).
"""

from __future__ import annotations

import re

MAX_CHARS = 500
MAX_DEPTH = 8
"""Of brackets within brackets, as in `:not(:is(…))`."""
_NAME = r"(?:--|-?(?:[A-Za-z_\u0080-\uffff]|\\[^\n]))(?:[\w\u0080-\uffff-]|\\[^\n])*"
_STRING = r'"(?:[^"\\\n]|\\[^\n])*"|' + r"'(?:[^'\\\n]|\\[^\n])*'"
_COMPOUND = re.compile(
    rf"""(?P<type>\*|{_NAME})
    |   [.#]{_NAME}
    |   \[\s*{_NAME}\s*(?:[~|^$*]?=\s*(?:{_NAME}|{_STRING})\s*(?:[iIsS]\s*)?)?\]
    |   :(?P<pseudo>[a-z-]+)(?P<open>\()?""",
    re.VERBOSE,
)
_ENDS = ("", ",", ")")
_COMBINATOR = re.compile(r"\s*[>+~]\s*|\s+")
_LISTS = frozenset({"not", "is", "where", "has", "host", "host-context"})
_COUNTS = frozenset({"nth-child", "nth-last-child", "nth-of-type", "nth-last-of-type", "lang", "dir"})
_NAMED_STATES = """root empty first-child last-child only-child first-of-type last-of-type only-of-type checked disabled
    enabled required optional read-only read-write placeholder-shown default indeterminate valid invalid in-range
    out-of-range link any-link target scope defined open focus focus-within focus-visible hover active host"""
_STATES = frozenset(_NAMED_STATES.split())


def problem(text: str) -> str:
    """Say what is expected of a list of selectors instead of `text`; nothing when it can be used."""
    if not text.strip():
        return "a CSS selector"
    if len(text) > MAX_CHARS:
        return f"at most {MAX_CHARS} characters"
    try:
        end = _selectors(text, 0, 0)
    except _NotOne as error:
        return str(error)
    return "" if end == len(text) else f"a CSS selector; it ends before {text[end : end + 20]!r}"


class _NotOne(ValueError):
    """No selector; the words say what was expected."""


def _selectors(text: str, at: int, depth: int) -> int:
    """Return where the list of selectors that begins at `at` ends. Errors: _NotOne."""
    if depth > MAX_DEPTH:
        raise _NotOne(f"at most {MAX_DEPTH} brackets within each other")
    while True:
        at = _selector(text, _after_space(text, at), depth)
        at = _after_space(text, at)
        if text[at : at + 1] != ",":
            return at
        at += 1


def _selector(text: str, at: int, depth: int) -> int:
    if depth and (relative := re.compile(r"[>+~]\s*").match(text, at)):
        at = relative.end()  # within :has()
    while True:
        after = _compound(text, at, depth)
        if after == at:
            raise _NotOne(f"a CSS selector; there is none before {text[at : at + 20]!r}")
        at = after
        combinator = _COMBINATOR.match(text, at)
        if combinator is None:
            return at
        after = combinator.end()
        if combinator.group().isspace() and text[after : after + 1] in _ENDS:
            return at
        at = after


def _compound(text: str, at: int, depth: int) -> int:
    start = at
    while found := _COMPOUND.match(text, at):
        if found["type"] and at > start:
            break
        at = found.end()
        if found["pseudo"]:
            at = _pseudo(text, at, found["pseudo"], bool(found["open"]), depth)
    if text[at : at + 2] == "::":
        raise _NotOne("a selector of elements; ::pseudo-elements are none")
    return at


def _pseudo(text: str, at: int, name: str, is_open: bool, depth: int) -> int:
    if not is_open and name in _STATES:
        return at
    if is_open and name in _LISTS:
        at = _after_space(text, _selectors(text, at, depth + 1))
    elif is_open and name in _COUNTS:
        found = re.compile(r"[\w\s+\"'-]+").match(text, at)
        if found is None:
            raise _NotOne(f"something in the brackets of :{name}()")
        at = found.end()
    else:
        raise _NotOne(f"a pseudo-class that is known here instead of :{name}{'(' if is_open else ''}")
    if text[at : at + 1] != ")":
        raise _NotOne(f"a closing bracket before {text[at : at + 20]!r}")
    return at + 1


def _after_space(text: str, at: int) -> int:
    while text[at : at + 1].isspace():
        at += 1
    return at

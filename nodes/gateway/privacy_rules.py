"""The operator's rules on what leaves the pages of sites: `fabric gateway --privacy FILE`. Pure.

    [[rules]]
    pages = ["https://shop.example.org/checkout/*"]
    mask = [".address"]
    pause = "payment page"

What the keys mean is in docs/how-to/privacy.md. The file is checked here, all of it; `Rules.of` gives what concerns the
pages of one origin, which their script applies (nodes/web/src/page/policy.js).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.errors import expected
from nodes.gateway import selectors
from nodes.gateway.policy import origin_of

MAX_RULES = 200
MAX_ENTRIES = 100
"""Of one list in one rule."""
MAX_REASON_CHARS = 80
_PAGES = re.compile(r"(?:(https?://[^/\s?#]+)|(\*))?(/[^\s?#]*)?", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"[A-Za-z_][\w:.-]{0,63}\*?", re.ASCII)
_NEVER = re.compile(r"on|srcdoc$|nonce$|.*(token|csrf|xsrf|secret|passw|session)", re.IGNORECASE)
"""Attributes that no rule may allow: handlers, whole pages, tokens."""


@dataclass(frozen=True)
class Pages:
    """One pattern of addresses: which origins, and which paths."""

    origin: re.Pattern[str]
    path: str


@dataclass(frozen=True)
class Rule:
    """pages: where it holds; none: everywhere. told: what it says, as the page's script reads it."""

    pages: tuple[Pages, ...]
    told: Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """is_private: whether what no page marks and no rule shows is masked, everywhere."""

    rules: tuple[Rule, ...] = ()
    is_private: bool = False

    def of(self, origin: str) -> dict[str, Any]:
        """Return what holds on pages of this origin, as a welcome carries it: see docs/web-protocol.md."""
        told = []
        for rule in self.rules:
            paths = [pages.path for pages in rule.pages if pages.origin.fullmatch(origin)]
            if paths or not rule.pages:
                told.append({"paths": paths or ["*"], **rule.told})
        return {"private": self.is_private, "rules": told}


def read_rules(text: str, *, is_private: bool = False) -> Rules:
    """Read the file of rules. Errors: ValueError, with the place and what was expected there.

    is_private: makes all pages private, besides what the file says
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"expected TOML: {error}") from None
    for name in found.keys() - {"rules"}:
        raise ValueError(expected("key", name, "tables [[rules]] only"))
    rules = found.get("rules", [])
    if not isinstance(rules, list) or len(rules) > MAX_RULES or not all(isinstance(each, dict) for each in rules):
        raise ValueError(f"rules: expected at most {MAX_RULES} tables [[rules]]")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*rules\s*\]\]", line)]
    return Rules(tuple(_rule(each, _place(at, lines)) for at, each in enumerate(rules)), is_private)


def _place(at: int, lines: list[int]) -> str:
    return f"rule {at + 1}" + (f" (line {lines[at]})" if at < len(lines) else "")


def _rule(table: dict[str, Any], place: str) -> Rule:
    told: dict[str, Any] = {}
    pages: tuple[Pages, ...] = ()
    for key, value in table.items():
        if key == "pages":
            pages = tuple(_pages(each, f"{place}, pages") for each in _list(value, f"{place}, pages"))
            if not pages:
                raise ValueError(f"{place}, pages: expected one pattern or more; leave it out for all pages")
        elif key in _KEYS:
            told[key] = _KEYS[key](value, f"{place}, {key}")
        else:
            raise ValueError(f"{place}: {expected('key', key, ', '.join(['pages', *_KEYS]))}")
    return Rule(pages, told)


def _list(value: Any, place: str) -> list[str]:
    if not isinstance(value, list) or len(value) > MAX_ENTRIES or not all(isinstance(each, str) for each in value):
        raise ValueError(f"{place}: expected a list of at most {MAX_ENTRIES} strings")
    return value


def _pages(text: str, place: str) -> Pages:
    found = _PAGES.fullmatch(text)
    origin = found[1] or found[2] or "*" if found else ""
    if not text or found is None or (origin != "*" and not _is_origin(origin.replace("*", "1"))):
        raise ValueError(f"{place}: {expected('pattern', text, 'https://shop.example.org/checkout/*, or /checkout/*')}")
    parts = re.split(r"(\*)", origin.lower() if "*" in origin else origin_of(origin))
    pattern = ".*" if origin == "*" else "".join("[^/]*" if part == "*" else re.escape(part) for part in parts)
    return Pages(re.compile(pattern), found[3] or ("*" if origin != "*" or text == "*" else "/"))


def _is_origin(text: str) -> bool:
    try:
        return bool(origin_of(text))
    except ValueError:
        return False


def _selectors(value: Any, place: str) -> list[str]:
    for each in (found := _list(value, place)):
        if wanted := selectors.problem(each):
            raise ValueError(f"{place}: {expected('selector', each, wanted)}")
    return found


def _attributes(value: Any, place: str) -> list[str]:
    for each in (found := _list(value, place)):
        if not _ATTRIBUTE.fullmatch(each):
            raise ValueError(f"{place}: {expected('attribute', each, 'a name, or the start of names and *')}")
    return [each.lower() for each in found]


def _allowed(value: Any, place: str) -> list[str]:
    for each in (found := _attributes(value, place)):
        if _NEVER.match(each):
            raise ValueError(f"{place}: {expected('attribute', each, 'none that holds scripts, pages or tokens')}")
    return found


def _queries(value: Any, place: str) -> list[str]:
    for each in (found := _list(value, place)):
        parts = re.fullmatch(r"(https?://[^/\s?#]+)/\S*", each)
        if parts is None or not _is_origin(parts[1]):
            raise ValueError(f"{place}: {expected('address', each, 'https://cdn.example.org/…, with a path')}")
    return found


def _switch(value: Any, place: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{place}: {expected('value', value, 'true or false')}")
    return value


def _address(value: Any, place: str) -> str:
    if value not in ("site", "path"):
        wanted = '"site" or "path"'
        raise ValueError(f"{place}: {expected('value', value, wanted)}")
    return str(value)


def _reason(value: Any, place: str) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_REASON_CHARS:
        wanted = f"a reason in 1 to {MAX_REASON_CHARS} characters, as visitors and agents read it"
        raise ValueError(f"{place}: {expected('value', value, wanted)}")
    return value.strip()


_KEYS: Mapping[str, Callable[[Any, str], Any]] = {
    "private": _switch,
    "block": _selectors,
    "mask": _selectors,
    "show": _selectors,
    "deny_attributes": _attributes,
    "allow_attributes": _allowed,
    "queries": _queries,
    "address": _address,
    "pause": _reason,
}

"""From a browser's text to a message of `browser_messages`: every field is checked here. Pure.

    match parse_page(text):
        case Subscribe(id=ident, filter=topic_filter): ...

`parse_page` and `parse_agent` raise `Malformed`, which says what is wrong and what was expected, and never repeats a
token or a password.

What a text costs is bounded before it is decoded: a JSON text of a few MB can hold a million values, and decoding them
would hold up everybody. A page update is text within the text, and so one value however large it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from fabric.errors import FabricError
from fabric.payloads import from_json
from nodes.gateway.browser_messages import (
    AGENT,
    PAGE,
    AgentMessage,
    BrowserMessage,
    PageMessage,
    fields_of,
    is_message_id,
)
from nodes.rules.fields import Field

MAX_VALUES = 20_000
"""Values that one message may hold; they take some 30 ms to be decoded, checked and passed on."""
_STRING = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string of JSON; also one that never ends, so that no text is gone through twice."""
_UPDATE = re.compile(r'\s{0,9}\{\s{0,9}"t"\s{0,9}:\s{0,9}"update"')


class Malformed(ValueError):
    """A text that is not one of the messages.

    of:     the kind of message it wants to be, as far as that is known
    ident:  its id, if it has one that fits
    """

    def __init__(self, why: str, of: str = "", ident: int | None = None) -> None:
        super().__init__(why)
        self.of, self.ident = of, ident


M = TypeVar("M", bound=BrowserMessage)

_FIELDS: Mapping[type[BrowserMessage], Mapping[str, tuple[Field, bool]]] = {
    kind: fields_of(kind) for kind in (*PAGE.values(), *AGENT.values())
}


def parse_page(text: str) -> PageMessage:
    """Return a page's message. Errors: Malformed."""
    return _parse(text, PAGE)


def parse_agent(text: str) -> AgentMessage:
    """Return a console's message. Errors: Malformed."""
    return _parse(text, AGENT)


def is_update(text: str) -> bool:
    """Say whether a text begins as a page update does; only such a one may be large. Nothing is decoded."""
    return _UPDATE.match(text) is not None


def holds_more_than(text: str, most: int) -> bool:
    """Say whether a JSON text may hold more values than `most`. Nothing is decoded. Cost: 15 ms/MB at most."""
    if _brackets_and_commas(text) <= most:
        return False
    bare, strings = _STRING.subn("", text, 2 * most + 1)
    return strings > 2 * most or _brackets_and_commas(bare) > most


def _brackets_and_commas(text: str) -> int:
    return text.count("[") + text.count("{") + text.count(",")


def _parse(text: str, kinds: Mapping[str, type[M]]) -> M:
    if holds_more_than(text, MAX_VALUES):
        raise Malformed(f"invalid message: expected at most {MAX_VALUES} values")
    try:
        said = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("invalid message: expected one JSON object") from None
    kind = said.get("t") if isinstance(said, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        why = f"invalid message: expected `t` to be one of {', '.join(kinds)}"
        raise Malformed(why, kind[:40] if isinstance(kind, str) else "")
    ident = said.get("id")
    ident = ident if is_message_id(ident) else None
    found: dict[str, Any] = {}
    for name, (what, required) in _FIELDS[kinds[kind]].items():
        if name not in said:
            if required:
                raise Malformed(f"{kind}: missing `{name}`: expected {what.expected}", kind, ident)
            continue
        value = said[name]
        if not what.fits(value):
            raise Malformed(f"{kind}: invalid `{name}`: expected {what.expected}", kind, ident)
        try:
            found[name] = from_json(value) if what.payload else tuple(value) if isinstance(value, list) else value
        except FabricError as error:
            raise Malformed(f"{kind}: invalid `{name}`: {error}", kind, ident) from None
    return kinds[kind](t=kind, **found)


def _no_constant(name: str) -> Any:
    raise ValueError(f"invalid number: expected JSON, which has no {name}")

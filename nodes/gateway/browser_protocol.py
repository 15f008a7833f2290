"""From a browser's text to a message of `browser_messages`: every field is checked here. Pure.

    match parse_page(text):
        case Subscribe(id=ident, filter=topic_filter): ...

`parse_page` and `parse_agent` raise `Malformed`, which says what is wrong and what was expected, and never repeats a
token or a password.
"""

from __future__ import annotations

import json
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


def _parse(text: str, kinds: Mapping[str, type[M]]) -> M:
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

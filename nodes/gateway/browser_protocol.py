"""The JSON frames that browsers send, as `docs/web-protocol.md` has them: every field is checked here. Pure.

`parse_page` and `parse_agent` return a map with exactly the fields of its kind, those left out with their default, or
raise `Malformed`, which says what is wrong and what would be right, and never repeats a token or a password.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.errors import FabricError
from fabric.payloads import from_json
from nodes.frame_node.operations import MAX_BUTTONS, MAX_EPOCH

Check = Callable[[Any], bool]
_MISSING: Any = object()


class Malformed(ValueError):
    """A frame that is none.

    of:  its kind, as far as that is known
    ident: its id
    """

    def __init__(self, why: str, of: str = "", ident: int | None = None) -> None:
        super().__init__(why)
        self.of, self.ident = of, ident


@dataclass(frozen=True)
class Field:
    """One field: whether a value is right, what would be, and what it is when it is left out."""

    is_right: Check
    right: str
    default: Any = _MISSING
    payload: bool = False


def _fits(pattern: str) -> Check:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _whole(least: int) -> Check:
    return lambda value: type(value) is int and least <= value <= MAX_EPOCH


def _text(most: int) -> Check:
    return lambda value: isinstance(value, str) and len(value) <= most


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _true_or_false(value: Any) -> bool:
    return isinstance(value, bool)


_is_button = _fits(r"[A-Za-z0-9_.:@-]{1,64}")


def _buttons(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_BUTTONS and all(map(_is_button, value))


_BUTTONS = f"a list of at most {MAX_BUTTONS} button ids, each 1 to 64 letters, digits or _ . : @ -"
ID = Field(_whole(1), "a whole number from 1")
OPTIONAL_ID = Field(_or_none(_whole(1)), "a whole number from 1, or null", None)
TOPIC = Field(_text(65_535), "a string")
PAYLOAD = Field(lambda value: True, "anything", None, payload=True)
EPOCH = Field(_whole(0), "a whole number from 0")
SESSION = Field(_fits(r"[A-Za-z0-9_-]{16,64}"), "a session that `welcome` or an event named")

PAGE: dict[str, dict[str, Field]] = {
    "hello": {
        "v": Field(lambda value: type(value) is int and value == 1, "1, the version of the protocol"),
        "origin": Field(_text(500), "the origin of the page that holds the frame"),
        "instance": Field(_fits(r"[A-Za-z0-9_-]{16,64}"), "16 to 64 letters, digits or _ -, drawn by each document"),
        "token": Field(_or_none(_text(1_000)), "the token that came last, or null", None),
        "seen": Field(_or_none(_whole(0)), "the last `seq`, or null", None),
        "buttons": Field(_buttons, _BUTTONS, ()),
        "title": Field(_or_none(_text(1_000)), "a string of at most 1000 characters", None),
    },
    "subscribe": {"id": ID, "filter": TOPIC},
    "unsubscribe": {"id": ID},
    "publish": {"id": OPTIONAL_ID, "topic": TOPIC, "payload": PAYLOAD},
    "update": {"epoch": EPOCH, "event": PAYLOAD, "snapshot": Field(_true_or_false, "true or false", False)},
    "stop": {"id": ID},
    "retry": {},
    "token": {},
    "bye": {},
}
AGENT: dict[str, dict[str, Field]] = {
    "available": {
        "on": Field(_true_or_false, "true or false"),
        "buttons": Field(_or_none(_buttons), _BUTTONS, None),
    },
    "join": {"id": ID, "code": Field(_text(100), "a contact code as typed")},
    **{name: {"id": ID, "session": SESSION} for name in ("accept", "decline", "stop_chat", "proactive", "stop")},
    "say": {"id": ID, "session": SESSION, "text": Field(_text(20_000), "a string of at most 20000 characters")},
    "snapshot": {"session": SESSION},
    "handled": {"confirm": ID},
    "ping": {"at": Field(lambda value: type(value) in (int, float) and abs(value) < 2**63, "a number")},
}


def parse_page(text: str) -> dict[str, Any]:
    """Return a page's frame. Errors: Malformed."""
    return _parse(text, PAGE)


def parse_agent(text: str) -> dict[str, Any]:
    """Return a console's frame. Errors: Malformed."""
    return _parse(text, AGENT)


def _parse(text: str, kinds: Mapping[str, Mapping[str, Field]]) -> dict[str, Any]:
    try:
        frame = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("a frame is one JSON object") from None
    kind = frame.get("t") if isinstance(frame, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise Malformed(f"`t` must be one of {', '.join(kinds)}", kind[:40] if isinstance(kind, str) else "")
    ident = frame.get("id")
    ident = ident if ID.is_right(ident) else None
    found: dict[str, Any] = {"t": kind}
    for name, field in kinds[kind].items():
        value = frame.get(name, field.default)
        if value is _MISSING or (name in frame and not field.is_right(value)):
            state = "missing" if value is _MISSING else "not right"
            raise Malformed(f"{kind}: `{name}` is {state}: must be {field.right}", kind, ident)
        try:
            found[name] = from_json(value) if field.payload else value
        except FabricError as error:
            raise Malformed(f"{kind}: `{name}`: {error}", kind, ident) from None
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

"""The JSON frames that browsers send, as `docs/web-protocol.md` has them: every field is checked here. Pure.

`parse_page` and `parse_agent` return a map with exactly the fields of its kind, those left out with their default, or
raise `Malformed`, which says what is wrong and what would be right, and never repeats a token or a password.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fabric.errors import FabricError
from fabric.payloads import from_json
from nodes.rules.fields import (
    BUTTONS,
    CODE,
    EPOCH,
    REQUIRED,
    SESSION_WORDS,
    Field,
    is_session,
    is_true_or_false,
    or_none,
    string,
    whole,
)


class Malformed(ValueError):
    """A frame that is none.

    of:  its kind, as far as that is known
    ident: its id
    """

    def __init__(self, why: str, of: str = "", ident: int | None = None) -> None:
        super().__init__(why)
        self.of, self.ident = of, ident


ID = Field(whole(1), "a whole number from 1")
OPTIONAL_ID = Field(or_none(whole(1)), "a whole number from 1, or null", default=None)
TOPIC = Field(string(65_535), "a string")
PAYLOAD = Field(lambda value: True, "anything", default=None, payload=True)
SESSION = Field(is_session, "a session that `welcome` or an event named")

PAGE: dict[str, dict[str, Field]] = {
    "hello": {
        "v": Field(lambda value: type(value) is int and value == 1, "1, the version of the protocol"),
        "origin": Field(string(500), "the origin of the page that holds the frame"),
        "instance": Field(is_session, f"{SESSION_WORDS}, drawn by each document"),
        "token": Field(or_none(string(1_000)), "the token that came last, or null", default=None),
        "seen": Field(or_none(whole(0)), "the last `seq`, or null", default=None),
        "buttons": Field(BUTTONS.fits, BUTTONS.expected, default=()),
        "title": Field(or_none(string(1_000)), "a string of at most 1000 characters", default=None),
    },
    "subscribe": {"id": ID, "filter": TOPIC},
    "unsubscribe": {"id": ID},
    "publish": {"id": OPTIONAL_ID, "topic": TOPIC, "payload": PAYLOAD},
    "update": {
        "epoch": EPOCH,
        "n": OPTIONAL_ID,
        "event": PAYLOAD,
        "snapshot": Field(is_true_or_false, "true or false", default=False),
    },
    "stop": {"id": ID},
    "retry": {},
    "token": {},
    "bye": {},
}
AGENT: dict[str, dict[str, Field]] = {
    "available": {
        "on": Field(is_true_or_false, "true or false"),
        "buttons": Field(or_none(BUTTONS.fits), BUTTONS.expected, default=None),
    },
    "join": {"id": ID, "code": CODE},
    **{name: {"id": ID, "session": SESSION} for name in ("accept", "decline", "stop_chat", "proactive", "stop")},
    "say": {"id": ID, "session": SESSION, "text": Field(string(20_000), "a string of at most 20000 characters")},
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
    ident = ident if ID.fits(ident) else None
    found: dict[str, Any] = {"t": kind}
    for name, field in kinds[kind].items():
        value = frame.get(name, field.default)
        if value is REQUIRED or (name in frame and not field.fits(value)):
            state = "missing" if value is REQUIRED else "not right"
            raise Malformed(f"{kind}: `{name}` is {state}: must be {field.expected}", kind, ident)
        try:
            found[name] = from_json(value) if field.payload else value
        except FabricError as error:
            raise Malformed(f"{kind}: `{name}`: {error}", kind, ident) from None
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")

"""What may be asked of a frame node, and the checks on it: everything from the wire passes here before the store.

A request is an operation's name and a body, a map. `parse` returns exactly the fields that the operation takes, or says
which one is wrong and what would be right; fields it does not know are ignored. `for_page` and `for_agent` are what
leaves again: an agent never sees a page's code. Codes and session ids must not be logged, so no message repeats one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric.errors import NotAllowed
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.fields import (
    AGENT,
    BUTTON,
    BUTTONS,
    BY_AGENT,
    CODE,
    EPOCH,
    HOME,
    LEASE_S,
    NAME,
    ON,
    SESSION,
    SESSIONS,
    VISIBILITY_EVENT,
    Field,
)
from nodes.rules.state_map import StateMap
from nodes.store.records import Page

OPERATIONS: dict[str, dict[str, Field]] = {
    # a page's
    "grant_code": {"session": SESSION, "home": HOME, "lease_s": LEASE_S},
    "renew": {"session": SESSION},
    "renew_many": {"sessions": SESSIONS},
    "release_page": {"session": SESSION},
    "set_visibility": {"session": SESSION, "event": VISIBILITY_EVENT},
    "trigger": {"session": SESSION, "button": BUTTON},
    # a page's, or an agent's, who then says who it is
    "stop": {"session": SESSION, "epoch": EPOCH, "agent": BY_AGENT},
    "stop_chat": {"session": SESSION, "agent": BY_AGENT},
    # an agent's
    "sign_in": {"agent": AGENT, "name": NAME, "buttons": BUTTONS, "lease_s": LEASE_S},
    "availability": {"agent": AGENT, "on": ON},
    "renew_agent": {"agent": AGENT},
    "sign_out": {"agent": AGENT},
    "join": {"agent": AGENT, "code": CODE},
    "confirm_stop": {"agent": AGENT, "session": SESSION, "epoch": EPOCH},
    "accept": {"agent": AGENT, "session": SESSION},
    "decline": {"agent": AGENT, "session": SESSION},
    "proactive": {"agent": AGENT, "session": SESSION},
    # anybody's
    "buttons_available": {},
}
"""Every operation of the store that can be asked for, with its fields: arguments of the same name."""


def parse(operation: object, body: object, codes: CodeFormat) -> dict[str, Any]:
    """Return the operation's arguments from a request's `body`.

    codes:   how contact codes look; a typed one is returned as it is stored
    errors:  NotAllowed for what cannot be asked, with the field, its value and what would be right;
             UnknownContactCode for what cannot be a code
    """
    fields = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if fields is None:
        raise NotAllowed(f"operation {_shown(operation)}: must be one of {', '.join(OPERATIONS)}")
    if not isinstance(body, Mapping):
        raise NotAllowed(f"{operation}: the body is {_shown(body)}: must be a map of its fields")
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        value = body.get(name)
        if value is None and not field.optional:
            raise NotAllowed(f"{operation}: field {name!r} is missing: must be {field.expected}")
        if value is not None:
            if not field.fits(value):
                shown = f"not right ({type(value).__name__})" if field.secret else _shown(value)
                raise NotAllowed(f"{operation}: field {name!r} is {shown}: must be {field.expected}")
            arguments[name] = codes.normalise(value) if field is CODE else value
    return arguments


def for_page(page: Page) -> StateMap:
    """Return what a page may know of itself."""
    return {**for_agent(page), "code": page.code, "lease_s": page.lease_s}


def for_agent(page: Page) -> StateMap:
    """Return what an agent may know of a page it is engaged with: all but its code and its lease."""
    return {
        "session": page.session,
        "home": page.home,
        "version": page.version,
        "gone": page.gone_at is not None,
        "cobrowse": page.cobrowse,
        "epoch": page.epoch,
        "agent": page.agent,
        "visibility": page.visibility,
        "chat": page.chat,
        "button": page.button,
        "chat_agent": page.chat_agent,
    }


def _shown(value: object) -> str:
    """The value for a message, shortened; a huge one is not even formatted in full."""
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return f"a {type(value).__name__}"

"""What may be asked of a frame node, and the checks on it: everything from the wire passes here before the store.

A request is an operation's name and a body, a map. `parse` returns exactly the fields that the operation takes, or says
which one is wrong and what would be right; fields it does not know are ignored. `for_page` and `for_agent` are what
leaves again: an agent never sees a page's code. Codes and session ids must not be logged, so no message repeats one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabric.errors import NotAllowed
from nodes.rules.contact_codes import MAX_TYPED_CHARACTERS, CodeFormat
from nodes.store import agents, chats, pages
from nodes.store.records import Agent, Page
from nodes.store.transaction import Transaction

MAX_BUTTONS = 100
MAX_SESSIONS = 1_000
"""Pages that one `renew_many` may renew; a host of more asks more than once."""
MIN_LEASE_S = 0.5
MAX_LEASE_S = 600.0
MAX_EPOCH = 2**53
"""The largest whole number that every language on the wire reads exactly."""


@dataclass(frozen=True)
class Field:
    """One field of a request: whether a value is right, and how to say what would be."""

    is_right: Callable[[Any], bool]
    right: str
    secret: bool = False
    optional: bool = False


def _matches(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= 255 and value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_EPOCH


_is_id = _matches(r"[A-Za-z0-9_.:@-]{1,64}")


_is_session = _matches(r"[A-Za-z0-9_-]{16,64}")


def _are(each: Callable[[Any], bool], most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) <= most and all(map(each, value))


_ID = "1 to 64 letters, digits or _ . : @ -"

SESSION = Field(_is_session, "a session id, 16 to 64 letters, digits or _ -", secret=True)
SESSIONS = Field(_are(_is_session, MAX_SESSIONS), f"a list of at most {MAX_SESSIONS} session ids", secret=True)
HOME = Field(_matches(r"[A-Za-z0-9_.:@-]{1,255}"), "the page's home, 1 to 255 letters, digits or _ . : @ -")
AGENT = Field(_is_id, f"an agent's id, {_ID}")
BUTTON = Field(_is_id, f"a chat button's id, {_ID}")
BUTTONS = Field(_are(_is_id, MAX_BUTTONS), f"a list of at most {MAX_BUTTONS} chat button ids, each {_ID}")
NAME = Field(_is_name, "a name, 1 to 255 printable characters")
LEASE_S = Field(
    lambda value: _is_number(value) and MIN_LEASE_S <= value <= MAX_LEASE_S,
    f"seconds, from {MIN_LEASE_S:g} to {MAX_LEASE_S:g}",
)
EPOCH = Field(_is_count, "an epoch, a whole number from 0")
ON = Field(lambda value: isinstance(value, bool), "true or false")
EVENT = Field(lambda value: value in ("show", "minimise", "hide"), "'show', 'minimise' or 'hide'")
CODE = Field(
    lambda value: isinstance(value, str) and len(value) <= MAX_TYPED_CHARACTERS,
    "a contact code as typed, a string",
    secret=True,
)

_BY_AGENT = Field(_is_id, AGENT.right, optional=True)


@dataclass(frozen=True)
class Operation:
    """One operation that may be asked for.

    call:          the store's function; its arguments are the transaction and the fields, by their names
    fields:        what a request of it consists of, by name
    reads:         it is the same when done twice, so no reply is kept for it, and nobody else hears of it
    frees_agents:  a waiting chat may have found its agent after it
    moves_agents:  the number of available agents may have changed after it
    takes_node:    `call` takes one argument more, `node`: the name of the frame node that serves the request
    former_agents: returns the agents of the page before it; they must hear of it, though they may be in it no more
    """

    call: Callable[..., object]
    fields: Mapping[str, Field]
    reads: bool = False
    frees_agents: bool = False
    moves_agents: bool = False
    takes_node: bool = False
    former_agents: Callable[[Transaction, str], Sequence[str]] | None = None


OPERATIONS: dict[str, Operation] = {
    # a page's
    "grant_code": Operation(pages.grant_code, {"session": SESSION, "home": HOME, "lease_s": LEASE_S}),
    "renew": Operation(pages.renew, {"session": SESSION}, reads=True),
    "renew_many": Operation(pages.renew_many, {"sessions": SESSIONS}, reads=True),
    "release_page": Operation(pages.release, {"session": SESSION}),
    "set_visibility": Operation(pages.set_visibility, {"session": SESSION, "event": EVENT}),
    "trigger": Operation(chats.trigger, {"session": SESSION, "button": BUTTON}, frees_agents=True),
    # a page's, or an agent's, who then says who it is
    "stop": Operation(pages.stop, {"session": SESSION, "epoch": EPOCH, "agent": _BY_AGENT}),
    "stop_chat": Operation(
        chats.stop, {"session": SESSION, "agent": _BY_AGENT}, frees_agents=True, former_agents=pages.engaged
    ),
    # an agent's
    "sign_in": Operation(
        agents.sign_in,
        {"agent": AGENT, "name": NAME, "buttons": BUTTONS, "lease_s": LEASE_S},
        frees_agents=True,
        moves_agents=True,
    ),
    "availability": Operation(agents.set_available, {"agent": AGENT, "on": ON}, frees_agents=True, moves_agents=True),
    "renew_agent": Operation(agents.renew, {"agent": AGENT}, reads=True),
    "sign_out": Operation(agents.sign_out, {"agent": AGENT}, frees_agents=True, moves_agents=True),
    "join": Operation(pages.join, {"agent": AGENT, "code": CODE}, takes_node=True),
    "confirm_stop": Operation(pages.confirm_stop, {"agent": AGENT, "session": SESSION, "epoch": EPOCH}),
    "accept": Operation(chats.accept, {"agent": AGENT, "session": SESSION}, frees_agents=True),
    "decline": Operation(chats.decline, {"agent": AGENT, "session": SESSION}, frees_agents=True),
    "proactive": Operation(chats.propose, {"agent": AGENT, "session": SESSION}),
    # anybody's
    "buttons_available": Operation(agents.buttons_available, {}, reads=True),
}
"""Every operation that a frame node answers, by its name on the wire."""


def parse(operation: object, body: object, codes: CodeFormat) -> dict[str, Any]:
    """Return the operation's arguments from a request's `body`.

    codes:   how contact codes look; a typed one is returned as it is stored
    errors:  NotAllowed for what cannot be asked, with the field, its value and what would be right;
             UnknownContactCode for what cannot be a code
    """
    found = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if found is None:
        raise NotAllowed(f"operation {_shown(operation)}: must be one of {', '.join(OPERATIONS)}")
    if not isinstance(body, Mapping):
        raise NotAllowed(f"{operation}: the body is {_shown(body)}: must be a map of its fields")
    arguments: dict[str, Any] = {}
    for name, field in found.fields.items():
        value = body.get(name)
        if value is None and not field.optional:
            raise NotAllowed(f"{operation}: field {name!r} is missing: must be {field.right}")
        if value is not None:
            if not field.is_right(value):
                shown = f"not right ({type(value).__name__})" if field.secret else _shown(value)
                raise NotAllowed(f"{operation}: field {name!r} is {shown}: must be {field.right}")
            arguments[name] = codes.normalise(value) if field is CODE else value
    return arguments


def for_page(page: Page) -> dict[str, Any]:
    """Return what a page may know of itself."""
    return {**for_agent(page), "code": page.code, "lease_s": page.lease_s}


def for_agent(page: Page) -> dict[str, Any]:
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


def agent_map(agent: Agent) -> dict[str, Any]:
    """Return an agent's state as it leaves the frame node."""
    return {
        "agent": agent.agent,
        "name": agent.name,
        "available": agent.available,
        "buttons": list(agent.buttons),
        "lease_s": agent.lease_s,
        "pages": [for_agent(page) for page in agent.pages],
    }


def _shown(value: object) -> str:
    """The value for a message, shortened; a huge one is not even formatted in full."""
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return f"a {type(value).__name__}"

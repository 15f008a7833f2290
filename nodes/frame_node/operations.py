"""What may be asked of a frame node, and the checks on it: everything from the wire passes here before the store.

A request is an operation's name and a body, a map. `parse` returns exactly the fields that the operation takes, or says
which one is wrong and what is expected; fields it does not know are ignored. `for_page` and `for_agent` are what
leaves again: an agent never sees a page's code. Codes and session ids must not be logged, so no message repeats one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fabric.errors import NotAllowed
from nodes.rules.agreement import sealed
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.fields import (
    AGENT,
    BUTTON,
    BUTTONS,
    BY_AGENT,
    CAPABILITY,
    CODE,
    CONSENT,
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
from nodes.rules.proofs import engagement_of, handle_of
from nodes.rules.state_map import StateMap
from nodes.store import agents, asks, chats, pages
from nodes.store.records import Agent, Page
from nodes.store.transaction import Transaction


@dataclass(frozen=True)
class Operation:
    """One operation that may be asked for.

    call:          the store's function; its arguments are the transaction and the fields, by their names
    fields:        what a request of it consists of, by name
    reads:         it is the same when done twice, so no reply is kept for it, and nobody else hears of it
    frees_agents:  a waiting chat may have found its agent after it
    moves_agents:  the number of available agents may have changed after it
    takes_node:    `call` takes one argument more, `node`: the name of the frame node that serves the request
    brings_key:    who asks hands its key over, and need not be known; `call` takes one argument more, `key`
    former_agents: returns the agents of the page before it; they must hear of it, though they may be in it no more
    """

    call: Callable[..., object]
    fields: Mapping[str, Field]
    reads: bool = False
    frees_agents: bool = False
    moves_agents: bool = False
    takes_node: bool = False
    brings_key: bool = False
    former_agents: Callable[[Transaction, str], Sequence[str]] | None = None

    @property
    def is_anybodys(self) -> bool:
        """Whether it needs no proof."""
        return not self.fields


OPERATIONS: dict[str, Operation] = {
    # a page's
    "grant_code": Operation(
        pages.grant_code,
        {"session": SESSION, "home": HOME, "lease_s": LEASE_S, "consent": CONSENT},
        brings_key=True,
    ),
    "renew": Operation(pages.renew, {"session": SESSION}, reads=True),
    "renew_many": Operation(pages.renew_many, {"sessions": SESSIONS}, reads=True),
    "release_page": Operation(pages.release, {"session": SESSION}),
    "set_visibility": Operation(pages.set_visibility, {"session": SESSION, "event": VISIBILITY_EVENT}),
    "trigger": Operation(chats.trigger, {"session": SESSION, "button": BUTTON}, frees_agents=True),
    "allow": Operation(asks.allow, {"session": SESSION, "epoch": EPOCH}, former_agents=pages.engaged),
    # a page's, or an agent's, who then says who it is
    "stop": Operation(pages.stop, {"session": SESSION, "epoch": EPOCH, "agent": BY_AGENT}, former_agents=pages.engaged),
    "stop_chat": Operation(
        chats.stop, {"session": SESSION, "agent": BY_AGENT}, frees_agents=True, former_agents=pages.engaged
    ),
    # an agent's
    "sign_in": Operation(
        agents.sign_in,
        {"agent": AGENT, "name": NAME, "buttons": BUTTONS, "lease_s": LEASE_S},
        brings_key=True,
        frees_agents=True,
        moves_agents=True,
    ),
    "availability": Operation(agents.set_available, {"agent": AGENT, "on": ON}, frees_agents=True, moves_agents=True),
    "renew_agent": Operation(agents.renew, {"agent": AGENT}, reads=True),
    "sign_out": Operation(agents.sign_out, {"agent": AGENT}, frees_agents=True, moves_agents=True),
    "join": Operation(pages.join, {"agent": AGENT, "code": CODE}, takes_node=True),
    "ask": Operation(asks.ask, {"agent": AGENT, "session": SESSION, "capability": CAPABILITY}),
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
    errors:  NotAllowed for what cannot be asked, with the field, its value and what is expected;
             UnknownContactCode for what cannot be a code
    """
    found = OPERATIONS.get(operation) if isinstance(operation, str) else None
    if found is None:
        raise NotAllowed(f"invalid operation {_shown(operation)}: expected one of {', '.join(OPERATIONS)}")
    if not isinstance(body, Mapping):
        raise NotAllowed(f"{operation}: invalid body {_shown(body)}: expected a map of its fields")
    arguments: dict[str, Any] = {}
    for name, field in found.fields.items():
        value = body.get(name)
        if value is None and not field.optional:
            raise NotAllowed(f"{operation}: missing {name}: expected {field.expected}")
        if value is not None:
            if not field.fits(value):
                shown = _kind(value) if field.secret else _shown(value)
                raise NotAllowed(f"{operation}: invalid {name} {shown}: expected {field.expected}")
            arguments[name] = codes.normalise(value) if field is CODE else value
    return arguments


def for_page(page: Page) -> StateMap:
    """Return what a page may know of itself."""
    return {
        "session": page.session,
        "home": page.home,
        "code": page.code,
        "lease_s": page.lease_s,
        **_for_both(page),
    }


def for_agent(page: Page, agent: str, key: str) -> StateMap:
    """Return what an agent may know of a page it is engaged with, or was: by its own handle, without code and lease.

    Where it hears the page, and the key of what they say to each other, it learns once the visitor has let it in.
    key:  of the agent's lease, with which that is sealed
    """
    handle = handle_of(page.key, page.session, agent)
    is_viewing = page.agent == agent and page.cobrowse in ("joined", "stopping")
    is_in = page.gone_at is None and (is_viewing or (page.chat_agent == agent and page.chat == "open"))
    engagement = sealed(key, engagement_of(page.key, page.session, agent), handle) if is_in else None
    space = f"{page.home}/{page.session}" if is_in else None
    return {"session": handle, "space": space, "engagement": engagement, **_for_both(page)}


def _for_both(page: Page) -> StateMap:
    return {
        "version": page.version,
        "gone": page.gone_at is not None,
        "cobrowse": page.cobrowse,
        "epoch": page.epoch,
        "agent": page.agent,
        "agent_name": page.agent_name,
        "capability": page.capability,
        "asked_by": page.asked_by,
        "refusal": page.refusal,
        "visibility": page.visibility,
        "chat": page.chat,
        "button": page.button,
        "chat_agent": page.chat_agent,
    }


def agent_map(agent: Agent, key: str) -> dict[str, Any]:
    """Return an agent's state as it leaves the frame node. `key`: of its lease."""
    return {
        "agent": agent.agent,
        "name": agent.name,
        "available": agent.available,
        "buttons": list(agent.buttons),
        "lease_s": agent.lease_s,
        "pages": [for_agent(page, agent.agent, key) for page in agent.pages],
    }


def _shown(value: object) -> str:
    """The value for a message, shortened; a huge one is not even formatted in full, and what a map or a list holds may
    be secret."""
    if isinstance(value, str | bytes):
        return repr(value[:40]) + ("…" if len(value) > 40 else "")
    if isinstance(value, bool | float | None) or (isinstance(value, int) and abs(value) < 2**64):
        return repr(value)
    return _kind(value)


def _kind(value: object) -> str:
    return f"({type(value).__name__}, not shown)"

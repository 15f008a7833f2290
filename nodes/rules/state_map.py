"""The state map: what a frame node tells about a page, to the page and to the agents engaged with it. Pure.

It reaches them as an event, in a reply, or with a heartbeat's reply. `version` grows with every change, and a map
replaces another one only when its version is higher. So it does not matter which way it came, or how often.

On its way it carries a proof by the key of who is to take it (`nodes.rules.proofs`): what does not hold was not said by
a frame node, and is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeGuard, cast

from fabric.wire import PACKING_ERRORS
from nodes.rules import cobrowse
from nodes.rules.proofs import proof, proves

VISIBILITIES = ("shown", "minimised", "hidden")


class StateMap(TypedDict, total=False):
    """A page's state. The map for an agent has no `code`, no `lease_s` and no `home`."""

    session: str  # the page session's name; for an agent: its own handle of it
    home: str  # the node that hosts the page now (pages only)
    space: str | None  # where the agent hears the page, `<home>/<name>`; None without consent (agents only)
    engagement: str | None  # the key that it shares with the page, sealed for it; None without consent (agents only)
    version: int  # from 0; grows with every change that is committed
    gone: bool  # the page has ended: no change follows
    cobrowse: str  # state of `cobrowse.MACHINE`: idle, asked, joined, stopping
    epoch: int  # of co-browsing; a stop raises it, updates and answers of an older one do nothing
    agent: str | None  # the agent who asks or views, None while idle
    agent_name: str | None  # what the visitor reads of that agent
    capability: str | None  # what is asked for, or was allowed: one of `cobrowse.CAPABILITIES`; None while idle
    asked_by: str | None  # how the agent has found the page: code, chat; None but while asked
    refusal: str | None  # how the last request ended, one of `cobrowse.REASONS`; None before one, and from the next on
    visibility: str  # state of `visibility.MACHINE`: shown, minimised, hidden
    chat: str  # state of `chat.MACHINE`
    button: str | None  # the chat button that was pressed
    chat_agent: str | None  # the agent who was offered the chat, has accepted it, or invites
    code: str | None  # the contact code; None while it is used up (pages only)
    lease_s: float  # for how long a renewal holds (pages only)


FIELDS = tuple(StateMap.__annotations__)
"""All that a proof covers, in its order."""

_COBROWSING = cobrowse.MACHINE.states
_WORDS = ("agent", "agent_name", "capability", "asked_by", "refusal", "code", "button", "chat_agent", "space")

START: StateMap = {
    "version": -1,
    "code": None,
    "cobrowse": "idle",
    "epoch": 1,
    "agent": None,
    "agent_name": None,
    "capability": None,
    "asked_by": None,
    "refusal": None,
    "visibility": "hidden",
    "chat": "idle",
    "button": None,
    "chat_agent": None,
    "space": None,
    "engagement": None,
}
"""What a page holds before the first state map."""


def is_state(state: object, session: str) -> TypeGuard[StateMap]:
    """Say whether this, which came over the wire, is a state map of `session`, for a page or for an agent."""
    if not isinstance(state, Mapping) or state.get("session") != session:
        return False
    return (
        all(type(state.get(name)) is int for name in ("version", "epoch"))
        and state.get("cobrowse") in _COBROWSING
        and state.get("visibility") in VISIBILITIES  # what came may not be hashable
        and isinstance(state.get("chat"), str)
        and all(isinstance(state.get(name), str | None) for name in _WORDS)
    )


def proven(state: StateMap, key: str, at: float = 0.0) -> dict[str, object]:
    """Return a state map as it travels to who has `key`. `at`: of the request that it answers; 0 for an event."""
    return {**state, "proof": proof(key, *_said(state, at))}


def opened(state: object, key: str, at: float = 0.0) -> StateMap | None:
    """Return what came over the wire, without its proof and what that does not cover; None when it does not hold."""
    if not isinstance(state, Mapping):
        return None
    try:
        holds = proves(key, state.get("proof"), *_said(state, at))
    except PACKING_ERRORS:
        return None
    if not holds:
        return None
    return cast(StateMap, {name: state[name] for name in FIELDS if name in state})


def _said(state: Mapping[str, object], at: float) -> tuple[object, ...]:
    return "state", at, *map(state.get, FIELDS)

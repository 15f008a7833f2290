"""The state map: what a frame node tells about a page, to the page and to the agents engaged with it. Pure.

It reaches them as an event, in a reply, or with a heartbeat's reply. `version` grows with every change, and a map
replaces another one only when its version is higher. So it does not matter which way it came, or how often.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, TypeGuard

VISIBILITIES = ("shown", "minimised", "hidden")


class StateMap(TypedDict, total=False):
    """A page's state. The map for an agent has no `code` and no `lease_s`."""

    session: str  # the page session's id
    home: str  # the node that hosts the page now
    version: int  # from 0; grows with every change that is committed
    gone: bool  # the page has ended: no change follows
    cobrowse: str  # state of `cobrowse.MACHINE`: idle, joined, stopping
    epoch: int  # of co-browsing; a stop raises it, updates of an older one are refused
    agent: str | None  # the agent who views, None while idle
    visibility: str  # state of `visibility.MACHINE`: shown, minimised, hidden
    chat: str  # state of `chat.MACHINE`
    button: str | None  # the chat button that was pressed
    chat_agent: str | None  # the agent who was offered the chat, has accepted it, or invites
    code: str | None  # the contact code; None while it is used up (pages only)
    lease_s: float  # for how long a renewal holds (pages only)


START: StateMap = {
    "version": -1,
    "code": None,
    "cobrowse": "idle",
    "epoch": 1,
    "agent": None,
    "visibility": "hidden",
    "chat": "idle",
    "button": None,
    "chat_agent": None,
}
"""What a page holds before the first state map."""


def is_state(state: object, session: str) -> TypeGuard[StateMap]:
    """Say whether this, which came over the wire, is a state map of `session`, for a page or for an agent."""
    if not isinstance(state, Mapping) or state.get("session") != session:
        return False
    return (
        all(type(state.get(name)) is int for name in ("version", "epoch"))
        and state.get("cobrowse") in ("idle", "joined", "stopping")
        and state.get("visibility") in VISIBILITIES  # what came may not be hashable
        and isinstance(state.get("chat"), str)
        and all(isinstance(state.get(name), str | None) for name in ("agent", "code", "button", "chat_agent"))
    )

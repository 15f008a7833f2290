"""What a page's subscribers are told when its state at the frame node changes: pure functions of two state maps.

A state map (`frame_node.operations.for_page`) reaches the page as an event, in a reply, or with a heartbeat's reply;
whichever comes first is told, and a version not above the one held is no news. So an event that was missed is made good
by the next heartbeat, on this very path.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nodes.rules.state_map import StateMap
from nodes.rules.topics import (
    ACCEPTED,
    BUTTON,
    CHAT_STOPPED,
    HIDE,
    MINIMISE,
    NEW_CODE,
    PROACTIVE,
    READY,
    SHOW,
    STARTED,
    STOPPED,
)

VISIBILITY = {"shown": SHOW, "minimised": MINIMISE, "hidden": HIDE}


class Event(NamedTuple):
    """One message for the page's own subscribers.

    group:  if not empty, a late subscriber gets it, too, until one of the same group follows
    """

    topic: str
    payload: dict[str, Any]
    group: str = ""


def ready(state: StateMap) -> Event:
    return Event(READY, {"code": state["code"]}, "ready")


def new_code(state: StateMap) -> Event:
    return Event(NEW_CODE, {"code": state["code"]}, "code")


def started(state: StateMap) -> Event:
    return Event(STARTED, {"epoch": state["epoch"], "agent": state["agent"]}, "cobrowsing")


def stopped(epoch: int) -> Event:
    """`epoch` is the one that is over."""
    return Event(STOPPED, {"epoch": epoch}, "cobrowsing")


def button(name: str, enabled: bool) -> Event:
    return Event(f"{BUTTON}{name}/{'enabled' if enabled else 'disabled'}", {"button": name}, f"button {name}")


def chat_events(old: StateMap, new: StateMap) -> list[Event]:
    """Return what happened to the chat between two states; each needs `chat`, `chat_agent` and `button`."""
    before, after = old["chat"], new["chat"]
    same_agent = old["chat_agent"] == new["chat_agent"]
    if before == after and (same_agent or after not in ("open", "invited")):
        return []
    events = []
    if before == "open" or (after == "closed" and before != "idle"):
        events.append(Event(CHAT_STOPPED, {"agent": old["chat_agent"]}))
    if after == "invited":
        events.append(Event(PROACTIVE, {"agent": new["chat_agent"]}))
    if after == "open":
        events.append(Event(ACCEPTED, {"agent": new["chat_agent"], "button": new["button"]}))
    return events

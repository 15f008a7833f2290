"""What a page's subscribers are told when its state at the frame node changes: pure functions of two state maps.

A state map (`frame_node.operations.for_page`) reaches the page as an event, in a reply, or with a heartbeat's reply;
whichever comes first is told, and a version not above the one held is no news. So an event that was missed is made good
by the next heartbeat, on this very path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

READY = "~/site_connect/ready"
RETRY = "~/site_connect/retry"
ERROR = "~/site_connect/error"
NEW_CODE = "~/site_connect/new_code"
REFUSED = "~/site_connect/refused"
BUTTON = "~/site_connect/chat_button/"
STARTED = "~pagesession/cobrowsing/start"
STOPPED = "~pagesession/cobrowsing/stop"
UPDATE = "~pagesession/cobrowsing/update"
SNAPSHOT_REQUEST = "~pagesession/cobrowsing/snapshot_request"
SHOW = "~pagesession/show_frame"
MINIMISE = "~pagesession/minimize_frame"
HIDE = "~pagesession/hide_frame"
TRIGGER = "~pagesession/chat/trigger"
ACCEPTED = "~pagesession/chat/accepted"
MESSAGE = "~pagesession/chat/message"
CHAT_STOPPED = "~pagesession/chat/stop"
PROACTIVE = "~pagesession/proactive/trigger"
STATE = "~pagesession/frame/state"
"""On the wire only: from the frame node to the page."""

VISIBILITY = {"shown": SHOW, "minimised": MINIMISE, "hidden": HIDE}
VISITORS = {SHOW, MINIMISE, HIDE, TRIGGER, CHAT_STOPPED}
"""What the visitor, or any component of the page, may publish: each is a request to the frame node, too."""
DECIDED = {STARTED, STOPPED, UPDATE, ACCEPTED, PROACTIVE, STATE}
"""What follows from the frame node's decisions, or from `send_update`: nobody may publish it."""

START: dict[str, Any] = {
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


class Event(NamedTuple):
    """One message for the page's own subscribers.

    group:  if not empty, a late subscriber gets it, too, until one of the same group follows
    """

    topic: str
    payload: dict[str, Any]
    group: str = ""


def ready(state: Mapping[str, Any]) -> Event:
    return Event(READY, {"code": state["code"]}, "ready")


def new_code(state: Mapping[str, Any]) -> Event:
    return Event(NEW_CODE, {"code": state["code"]}, "code")


def started(state: Mapping[str, Any]) -> Event:
    return Event(STARTED, {"epoch": state["epoch"], "agent": state["agent"]}, "cobrowsing")


def stopped(epoch: int) -> Event:
    """`epoch` is the one that is over."""
    return Event(STOPPED, {"epoch": epoch}, "cobrowsing")


def button(name: str, enabled: bool) -> Event:
    return Event(f"{BUTTON}{name}/{'enabled' if enabled else 'disabled'}", {"button": name}, f"button {name}")


def chat_events(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Event]:
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


def is_state(state: object, session: str) -> bool:
    """Say whether this is a state map of `session`, for a page or for an agent; it comes from the wire."""
    if not isinstance(state, Mapping) or state.get("session") != session:
        return False
    return (
        all(type(state.get(name)) is int for name in ("version", "epoch"))
        and state.get("cobrowse") in ("idle", "joined", "stopping")
        and state.get("visibility") in tuple(VISIBILITY)  # what came may not be hashable
        and isinstance(state.get("chat"), str)
        and all(isinstance(state.get(name), str | None) for name in ("agent", "code", "button", "chat_agent"))
    )

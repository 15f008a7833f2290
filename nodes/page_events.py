"""What a page's subscribers are told when its state at the frame node changes: one pure function.

A state map (`frame_api.for_page`) reaches the page as an event, in a reply, or with a heartbeat's reply; whichever comes
first is told, and a version not above the one held is no news. So an event that was missed is made good by the next
heartbeat, on this very path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

READY = "~/site_connect/ready"
RETRY = "~/site_connect/retry"
ERROR = "~/site_connect/error"
NEW_CODE = "~/site_connect/new_code"
CONNECTION = "~/site_connect/connection"
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

_VISIBLE = {"shown": SHOW, "minimised": MINIMISE, "hidden": HIDE}
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

    retained:  a late subscriber gets it, too, until one of the same `group` follows
    """

    topic: str
    payload: dict[str, Any]
    group: str = ""

    @property
    def retained(self) -> bool:
        return bool(self.group)


def events_between(old: Mapping[str, Any], new: Mapping[str, Any], first: bool) -> list[Event]:
    """Return what happened to the frame and the chat; co-browsing is told by `nodes.page`, which may be ahead.

    first:  the page has not had a code yet
    """
    return [*_code(old, new, first), *_chat(old, new), *_visibility(old, new)]


def started(state: Mapping[str, Any]) -> Event:
    return Event(STARTED, {"epoch": state["epoch"], "agent": state["agent"]}, "cobrowsing")


def stopped(epoch: int) -> Event:
    """`epoch` is the one that is over."""
    return Event(STOPPED, {"epoch": epoch}, "cobrowsing")


def button(name: str, enabled: bool) -> Event:
    return Event(f"{BUTTON}{name}/{'enabled' if enabled else 'disabled'}", {"button": name}, f"button {name}")


def _code(old: Mapping[str, Any], new: Mapping[str, Any], first: bool) -> list[Event]:
    code = new["code"]
    if code is None or code == old["code"]:
        return []
    ready = Event(READY, {"code": code}, "ready")
    return [ready] if first else [Event(NEW_CODE, {"code": code}, "code")]


def _chat(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Event]:
    before, after = old["chat"], new["chat"]
    if before == after:
        return []
    if after == "invited":
        return [Event(PROACTIVE, {"agent": new["chat_agent"]})]
    if after == "open":
        return [Event(ACCEPTED, {"agent": new["chat_agent"], "button": new["button"]})]
    if after == "closed" and before != "idle":
        return [Event(CHAT_STOPPED, {"agent": old["chat_agent"]})]
    return []


def _visibility(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Event]:
    if old["visibility"] == new["visibility"]:
        return []
    return [Event(_VISIBLE[new["visibility"]], {})]

"""What a page's subscribers are told: pure functions of what the page showed before a step, and shows after it.

A `View` is what the page shows: the last state map, with the page's own stops and requests as if they were done. Each
step of the frame tells the difference of two views, so an event that was missed is made good by the next heartbeat, on
this very path. What a late subscriber is told is a function of the view, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nodes.page.interface import Event
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.state_map import StateMap
from nodes.rules.topics import (
    ACCEPTED,
    ASKED,
    BUTTON,
    CHAT_STOPPED,
    DECLINED,
    HIDE,
    MINIMISE,
    NEW_CODE,
    PROACTIVE,
    READY,
    SHOW,
    STARTED,
    STOPPED,
)

TOPIC_OF = {"shown": SHOW, "minimised": MINIMISE, "hidden": HIDE}
ASKED_VISIBILITY = {"show": "shown", "minimise": "minimised", "hide": "hidden", "announce": "minimised"}
"""What each request makes of the frame. A page announces only while its frame is hidden."""
Asked = tuple[str, Mapping[str, Any]]
"""Operation and body of a request that the frame node has not answered yet."""


class View(NamedTuple):
    """What the page shows. All but `cobrowsing` as in a state map."""

    cobrowsing: Cobrowse
    agent: str | None
    code: str | None
    visibility: str
    chat: str
    chat_agent: str | None
    button: str | None
    agent_name: str | None = None
    capability: str | None = None
    asked_by: str | None = None
    refusal: str | None = None


def cobrowsing_of(state: StateMap, epoch: int) -> Cobrowse:
    """Return the state map's co-browsing, with each epoch below `epoch` ended."""
    return Cobrowse(state["cobrowse"], state["epoch"]).ended_below(epoch)


def view_of(state: StateMap, epoch: int, asked: Iterable[Asked]) -> View:
    """Return what a page shows.

    state:  the last state map, whole
    epoch:  the lowest one in which an update may leave the page
    asked:  the visitor's requests that wait for an answer, the oldest first
    """
    visibility, chat, chat_agent = state["visibility"], state["chat"], state["chat_agent"]
    for operation, body in asked:
        if operation == "set_visibility":
            visibility = ASKED_VISIBILITY[body["event"]]
        elif operation == "stop_chat" and chat != "idle":
            chat, chat_agent = "closed", None
    cobrowsing = cobrowsing_of(state, epoch)
    return View(
        cobrowsing,
        state["agent"],
        state["code"],
        visibility,
        chat,
        chat_agent,
        state["button"],
        agent_name=state["agent_name"],
        capability=state["capability"],
        asked_by=state["asked_by"],
        refusal=state["refusal"],
    )


# --- the difference of two views


def changes(before: View, after: View, *, first_code: bool) -> list[Event]:
    """Return what is told when a page shows `after` instead of `before`.

    first_code:  the page has not been told a code yet
    """
    told = []
    over = ended(before, after)
    if over is not None:
        told.append(Event(STOPPED, {"epoch": over}))
    told += request_changes(before, after)
    if after.cobrowsing.state == "joined" and not before.cobrowsing.accepts(after.cobrowsing.epoch):
        told.append(_started(after))
    if has_new_code(before, after):
        told.append(Event(READY if first_code else NEW_CODE, {"code": after.code}))
    told += chat_changes(before, after)
    if after.visibility != before.visibility:
        told.append(Event(TOPIC_OF[after.visibility], {}))
    return told


def ended(before: View, after: View) -> int | None:
    """Return the epoch of the session that is over; None when no session ended."""
    session = before.cobrowsing
    return session.epoch if session.state == "joined" and not after.cobrowsing.accepts(session.epoch) else None


def request_changes(before: View, after: View) -> list[Event]:
    """Return what became of an agent's request: it was asked, or is over without being allowed."""
    old, new = before.cobrowsing, after.cobrowsing
    if old.state == "asked" and new.epoch == old.epoch and new.state in ("asked", "joined"):
        return []
    told = []
    if old.state == "asked":
        about = {"epoch": old.epoch, "agent": before.agent, "capability": before.capability}
        told.append(Event(DECLINED, {**about, "reason": _reason(old, after)}))
    return [*told, _asked(after)] if new.state == "asked" else told


def _reason(request: Cobrowse, after: View) -> str:
    """Why it is over. What follows it directly says why, but for the page's own answer, which nobody has heard yet."""
    if after.cobrowsing.epoch > request.epoch + 1:
        return "unknown"
    return after.refusal or ("declined" if after.cobrowsing.state == "idle" else "unknown")


def has_new_code(before: View, after: View) -> bool:
    return after.code is not None and after.code != before.code


def chat_changes(before: View, after: View) -> list[Event]:
    """Return what happened to the chat."""
    same_agent = before.chat_agent == after.chat_agent
    if before.chat == after.chat and (same_agent or after.chat not in ("open", "invited")):
        return []
    told = []
    is_over = before.chat == "invited" and after.chat == "idle"
    if before.chat == "open" or is_over or (after.chat == "closed" and before.chat != "idle"):
        told.append(Event(CHAT_STOPPED, {"agent": before.chat_agent}))
    if after.chat == "invited":
        told.append(Event(PROACTIVE, {"agent": after.chat_agent}))
    if after.chat == "open":
        told.append(Event(ACCEPTED, {"agent": after.chat_agent, "button": after.button}))
    return told


def button(name: str, enabled: bool) -> Event:
    return Event(f"{BUTTON}{name}/{'enabled' if enabled else 'disabled'}", {"button": name})


# --- what a late subscriber is told


def retained(
    view: View, *, is_ready: bool, codes: int, ended_epoch: int | None, buttons: Mapping[str, bool | None]
) -> list[Event]:
    """Return the states that a late subscriber is told; a code only while it can be used.

    is_ready:     the frame holds a session at the frame node
    codes:        how many codes the page was told: the first by READY, each later one by NEW_CODE
    ended_epoch:  of the last session that is over; None: there was none
    buttons:      whether an agent is there for each; None: not known yet
    """
    told = []
    if codes and is_ready:
        told.append(Event(READY, {"code": view.code}))
    if codes > 1 and view.code is not None:
        told.append(Event(NEW_CODE, {"code": view.code}))
    if view.cobrowsing.state == "asked":
        told.append(_asked(view))
    if view.cobrowsing.state == "joined":
        told.append(_started(view))
    elif ended_epoch is not None:
        told.append(Event(STOPPED, {"epoch": ended_epoch}))
    return [*told, *(button(name, enabled) for name, enabled in buttons.items() if enabled is not None)]


def _asked(view: View) -> Event:
    about = {"agent": view.agent, "name": view.agent_name or view.agent, "capability": view.capability}
    return Event(ASKED, {"epoch": view.cobrowsing.epoch, **about, "by": view.asked_by})


def _started(view: View) -> Event:
    return Event(STARTED, {"epoch": view.cobrowsing.epoch, "agent": view.agent})

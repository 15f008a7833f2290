"""Every topic, service and header of site-connect, by one name each. Pure.

In a page's API a session's space is `~pagesession/<rest>`; on the wire it is `~pagesession/<home>/<session>/<rest>`,
where home names the node that hosts the page. The table of who says what is in `docs/reference`.
"""

from __future__ import annotations

FRAME_SERVICE = "frame"
"""The service of the frame nodes."""
BY = "by"
"""Header of what is published in a page's session: `page`, or an agent's id. What a frame node says has none."""
BY_PAGE = "page"

# --- local to a page: never leave it

READY = "~/site_connect/ready"
RETRY = "~/site_connect/retry"
ERROR = "~/site_connect/error"
NEW_CODE = "~/site_connect/new_code"
REFUSED = "~/site_connect/refused"
BUTTON = "~/site_connect/chat_button/"
"""Then the button, then `/enabled` or `/disabled`."""

# --- in a page's session

SPACE = "~pagesession/"
ASKED = f"{SPACE}cobrowsing/asked"
"""An agent asks the visitor for a capability."""
ALLOW = f"{SPACE}cobrowsing/allow"
DECLINE = f"{SPACE}cobrowsing/decline"
"""The visitor's answers; each names the epoch of the request."""
DECLINED = f"{SPACE}cobrowsing/declined"
"""A request is over that was not allowed, for whatever reason."""
STARTED = f"{SPACE}cobrowsing/start"
STOPPED = f"{SPACE}cobrowsing/stop"
UPDATE = f"{SPACE}cobrowsing/update"
SNAPSHOT_REQUEST = f"{SPACE}cobrowsing/snapshot_request"
SHOWN = f"{SPACE}cobrowsing/shown"
"""From an agent: its console shows the page, in this epoch."""
PULSE = f"{SPACE}cobrowsing/pulse"
"""From whatever hosts a page in a browser, about every second while an agent views it: how current its picture is."""
PAUSED = f"{SPACE}cobrowsing/paused"
RESUMED = f"{SPACE}cobrowsing/resumed"
"""From a page in a browser: nothing of it leaves at present, and why; and again it does."""
PRIVACY_PROBLEM = f"{SPACE}cobrowsing/privacy_problem"
"""From a page in a browser: a rule on what leaves it cannot be applied, and what is hidden instead."""
SHOW = f"{SPACE}show_frame"
MINIMISE = f"{SPACE}minimize_frame"
HIDE = f"{SPACE}hide_frame"
TRIGGER = f"{SPACE}chat/trigger"
ACCEPTED = f"{SPACE}chat/accepted"
MESSAGE = f"{SPACE}chat/message"
CHAT_STOPPED = f"{SPACE}chat/stop"
JOINED = f"{SPACE}chat/joined"
"""From the agent who has the chat: it is there, under this name, and wants to know what was said so far."""
PRESENCE = f"{SPACE}chat/presence"
"""From whatever hosts a page in a browser, about every second while a chat is open: whether the browser is there."""
PROACTIVE = f"{SPACE}proactive/trigger"
STATE = f"{SPACE}frame/state"
"""On the wire only: the page's state map, from the frame node to the page."""

VISITORS = frozenset({SHOW, MINIMISE, HIDE, TRIGGER, CHAT_STOPPED, ALLOW, DECLINE})
"""What the visitor, or any component of the page, may publish: each is a request to the frame node, too."""
DECIDED = frozenset({ASKED, DECLINED, STARTED, STOPPED, UPDATE, ACCEPTED, JOINED, PRESENCE, PROACTIVE, STATE})
"""What follows from the frame node's decisions, or from `send_update`: nobody may publish it."""

# --- on the wire

BUTTONS = "$site_connect/buttons"
"""Which buttons have how many available agents: from frame nodes, on change and every 2 s."""
GATEWAYS = "$site_connect/gateways"
"""What gateways tell and ask each other, sealed with the secret that they share."""


AGENTS = "$site_connect/agent/"
"""Then an agent's id, and what it is told."""


def agent_state(agent: str) -> str:
    """Return where an agent hears of the pages it is engaged with."""
    return f"{AGENTS}{agent}/state"


def agent_chat(agent: str) -> str:
    """Return where an agent is sent what was said in its chats so far: nobody else hears that."""
    return f"{AGENTS}{agent}/chat"


def session_space(home: str) -> str:
    """Return what every topic on the wire of the pages at `home` starts with."""
    return f"{SPACE}{home}/"


def in_space(space: str, topic: str) -> str:
    """Return the topic on the wire of `~pagesession/<rest>` of the page whose space is `<home>/<name>`."""
    return f"{SPACE}{space}/{topic.removeprefix(SPACE)}"


def on_the_wire(home: str, session: str, topic: str) -> str:
    """Return the topic on the wire of a page's `~pagesession/<rest>`."""
    return in_space(f"{home}/{session}", topic)

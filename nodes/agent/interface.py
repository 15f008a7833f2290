"""What goes into an agent's core, and what comes out: both as data. Pure.

An *input* says what happened, and who did it; `AgentCore.handle` takes it. An *effect* says what to do; `Agent`
performs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# --- effects


@dataclass(frozen=True, slots=True)
class Tell:
    """An event for the program that runs the agent; `event` names it."""

    event: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """Hand on a page update, if `AgentCore.may_handle` still says so when it is performed."""

    session: str
    epoch: int
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the frame node. FrameNodeAnswered, FrameNodeFailed, FrameNodeRejected or LeaseLost follows."""

    operation: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Watch:
    """Subscribe to the session's space. SpaceWatched follows.

    engagement:  the key that the agent shares with the page, sealed; as in a state map
    """

    session: str
    space: str
    engagement: str | None


@dataclass(frozen=True, slots=True)
class Unwatch:
    """End the subscription to the session's space."""

    session: str


@dataclass(frozen=True, slots=True)
class Say:
    """Publish in the session's space."""

    session: str
    space: str
    topic: str
    payload: Any


Effect = Tell | Update | Ask | Watch | Unwatch | Say


# --- inputs: the agent


@dataclass(frozen=True, slots=True)
class AgentSetAvailable:
    """It says whether chats may be offered to it."""

    on: bool


@dataclass(frozen=True, slots=True)
class AgentChoseButtons:
    """It serves these chat buttons now."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentStopped:
    """It stops co-browsing with a page, or takes its request back, from this moment. StateError without either."""

    session: str


@dataclass(frozen=True, slots=True)
class AgentWantedSnapshot:
    """It wants a fresh snapshot of a page in session."""

    session: str


@dataclass(frozen=True, slots=True)
class AgentSaid:
    """It has written to a visitor. `at`: seconds since 1970."""

    session: str
    ident: str
    text: str
    at: float


@dataclass(frozen=True, slots=True)
class AgentDismissedChat:
    """It has read a chat that has ended."""

    session: str


@dataclass(frozen=True, slots=True)
class AgentShowed:
    """Its screen shows a page, in this epoch of its co-browsing."""

    session: str
    epoch: int


# --- inputs: the frame node


@dataclass(frozen=True, slots=True)
class FrameNodeAnswered:
    """It did what was asked at `asked_at`. `reply`: a page's state map, or, of a renewal, which pages are engaged."""

    ask: Ask
    reply: object
    asked_at: float


@dataclass(frozen=True, slots=True)
class FrameNodeFailed:
    """No answer came, or that it is too busy."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class FrameNodeRejected:
    """It will not do it: what was to end is over already."""

    ask: Ask


@dataclass(frozen=True, slots=True)
class FrameNodeTold:
    """A page's state map came, as an event or in a reply."""

    state: object


@dataclass(frozen=True, slots=True)
class LeaseDoubted:
    """Something was refused because a lease ran out: whose, a renewal tells."""


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The frame node has no lease of this agent."""


# --- inputs: the sessions' spaces, and time


@dataclass(frozen=True, slots=True)
class SpaceWatched:
    """The subscription to a session's space is acked: nothing is missed from now on."""

    session: str
    space: str


@dataclass(frozen=True, slots=True)
class PageUpdated:
    """A page update came. `payload`: `{epoch, n, event, snapshot}`, if it is what it should be."""

    session: str
    payload: object


@dataclass(frozen=True, slots=True)
class SessionSpoke:
    """Anything else came that was published in a session's space. `topic`: its name in the page."""

    session: str
    topic: str
    payload: Any


@dataclass(frozen=True, slots=True)
class ChatHandedOver:
    """A page has sent what was said so far in a chat. `payload`: `{session, lines, dropped}`, if it is right."""

    payload: object


@dataclass(frozen=True, slots=True)
class ClockTicked:
    """What is due is done."""


Input = (
    AgentSetAvailable
    | AgentChoseButtons
    | AgentStopped
    | AgentWantedSnapshot
    | AgentShowed
    | AgentSaid
    | AgentDismissedChat
    | FrameNodeAnswered
    | FrameNodeFailed
    | FrameNodeRejected
    | FrameNodeTold
    | LeaseDoubted
    | LeaseLost
    | SpaceWatched
    | PageUpdated
    | SessionSpoke
    | ChatHandedOver
    | ClockTicked
)

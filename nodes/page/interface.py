"""What goes into a page's core, and what comes out: both as data. Pure.

An *input* says what happened, and who did it; `PageCore.handle` takes it. An *effect* says what to do; `HostedPage`
performs it. So a test writes a story as a list of inputs, and reads what followed as a list of effects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fabric.broker import Subscription
from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.rules.transcript import ChatLine

MessageFun = Callable[[Message], object]


# --- effects


class Event(NamedTuple):
    """A message for the page's own subscribers."""

    topic: str
    payload: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the frame node. FrameNodeAnswered, FrameNodeWasBusy or FrameNodeRejected follows, with this ask.

    key:  the same when it is asked again
    """

    operation: str
    body: dict[str, Any]
    key: str


@dataclass(frozen=True, slots=True)
class StopAcknowledged:
    """The stop of this number is over: no agent handles an update of the session that it ended."""

    stop: int


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand a message to these of the page's subscriptions. `message` is there when it came over the fabric."""

    subscriptions: tuple[Subscription[MessageFun], ...]
    topic: str
    payload: Any
    retained: bool = False
    message: Message | None = None


@dataclass(frozen=True, slots=True)
class Acked:
    """Tell the ack of a subscription of the page's."""

    subscription: int
    ack: Ack


@dataclass(frozen=True, slots=True)
class Hold:
    """Subscribe at the fabric, for the page's subscription of this id. retained: also to what is retained there"""

    subscription: int
    topic_filter: str
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """End the fabric's subscription for this id."""

    subscription: int


@dataclass(frozen=True, slots=True)
class Send:
    """Publish on the fabric; `~pagesession/…` as this session's.

    at_once:  now or never, with an error to the caller; else FabricWasFull follows when the fabric takes nothing
    keep_s:   retain it for so long, 0: for good; None: do not
    """

    topic: str
    payload: Any
    at_once: bool = False
    keep_s: int | None = None


@dataclass(frozen=True, slots=True)
class LineKept:
    """A line of the chat with `agent` was numbered, and is kept."""

    agent: str
    line: ChatLine


@dataclass(frozen=True, slots=True)
class Count:
    """Count one of `what` at the host; see `PageHost.counts`."""

    what: str


Beyond = Hold | Send
"""What waits while the fabric takes nothing."""
FrameEffect = Event | Ask | StopAcknowledged
Effect = Deliver | Acked | Hold | Release | Send | Ask | StopAcknowledged | LineKept | Count


# --- inputs: the page and its visitor


@dataclass(frozen=True, slots=True)
class PageCame:
    """The page's own script runs."""


@dataclass(frozen=True, slots=True)
class PageRetried:
    """After ERROR it asks for another round of attempts. StateError when there was no error."""


@dataclass(frozen=True, slots=True)
class PageStopped:
    """It stops co-browsing by force, from this moment. StopAcknowledged follows, with this number.

    stop:  a number that no other stop of this page has
    """

    stop: int


@dataclass(frozen=True, slots=True)
class PageDeclined:
    """Its visitor declines the request of this epoch, from this moment: whatever began by it ends."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PageChoseButtons:
    """It shows these chat buttons now.

    available:  how many agents each button has; None: not known yet
    """

    names: tuple[str, ...]
    available: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class VisitorAsked:
    """The visitor did what the frame node decides. HighWaterMarkReached when too much of this kind waits."""

    operation: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LineCame:
    """The agent in chat has written; a visitor who has closed the frame is to see that."""


@dataclass(frozen=True, slots=True)
class FrameAttached:
    """The frame has a node, `home`. StateError when it has one already."""

    home: str


# --- inputs: the frame node


@dataclass(frozen=True, slots=True)
class FrameNodeAnswered:
    """It did what was asked; `state` is the page's state map, if it is what it should be."""

    ask: Ask
    state: object


@dataclass(frozen=True, slots=True)
class FrameNodeWasBusy:
    """It is too busy, or not there: the same is asked again later.

    retry_after_s:  how long it wants to be left alone; 0: it did not say
    drawn:          even in [0, 1), for the jitter
    """

    ask: Ask
    why: str
    retry_after_s: float
    drawn: float


@dataclass(frozen=True, slots=True)
class FrameNodeRejected:
    """It understood, and will not do it. `error`: the name of the error's kind."""

    ask: Ask
    why: str
    error: str = "NotAllowed"


@dataclass(frozen=True, slots=True)
class FrameNodeTold:
    """A state map came, as an event or with a heartbeat."""

    state: object


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The frame node has no lease of this page, as of a request that was asked at `asked_at`."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class LeaseKept:
    """The frame node has kept the lease of this page, as of a request that was asked at `asked_at`."""

    asked_at: float


@dataclass(frozen=True, slots=True)
class ButtonsCounted:
    """Agents came or went: how many are available for each button."""

    available: Mapping[str, Any]


# --- inputs: the fabric, and time


@dataclass(frozen=True, slots=True)
class SessionsAcked:
    """The host's subscription for its pages' sessions was acked, or failed to be."""

    ack: Ack


@dataclass(frozen=True, slots=True)
class SessionSpoke:
    """A message of this session came, from the frame node or an agent. Its `topic` is its name in this page."""

    message: Message


@dataclass(frozen=True, slots=True)
class FabricSpoke:
    """A message came on one of the page's subscriptions at the fabric."""

    subscription: int
    message: Message


@dataclass(frozen=True, slots=True)
class FabricAcked:
    """The mesh answered one of the page's subscriptions at the fabric."""

    subscription: int
    ack: Ack


@dataclass(frozen=True, slots=True)
class FabricWasFull:
    """The fabric took none of these at present; they go first when it does again."""

    unsent: tuple[Beyond, ...]


@dataclass(frozen=True, slots=True)
class ClockTicked:
    """What is due is done."""


FrameInput = (
    PageCame
    | PageRetried
    | PageStopped
    | PageDeclined
    | PageChoseButtons
    | VisitorAsked
    | LineCame
    | FrameAttached
    | FrameNodeAnswered
    | FrameNodeWasBusy
    | FrameNodeRejected
    | FrameNodeTold
    | LeaseLost
    | LeaseKept
    | ButtonsCounted
    | ClockTicked
)
"""What the frame takes; what it gives is a FrameEffect."""
Input = FrameInput | SessionsAcked | SessionSpoke | FabricSpoke | FabricAcked | FabricWasFull
"""What the page takes; what it gives is an Effect."""

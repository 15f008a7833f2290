"""One visitor's page: its own broker, and the frame beside it. Pure; `HostedPage` performs the effects.

Three kinds of topics:

    ~/…             never leave the page; acked at once
    ~pagesession/…  this session's own space: delivered here at once, and sent to whoever is in session
    all others      go to the fabric

What is meant for beyond the page waits, in order and bounded, until the page is attached, and again while the fabric
takes nothing. Some topics of the session are the visitor's requests to the frame node; see `frame_core`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.broker import Broker, Subscription
from fabric.errors import HighWaterMarkReached, ScopeError
from fabric.node.coverage import Ack
from fabric.topics import matches, scope, validate_topic
from fabric.wire import Message, encode
from nodes.page import events
from nodes.page.events import Event
from nodes.page.frame_core import Ask, FrameCore, Out, StopAcknowledged, Tell
from nodes.rules import topics

MessageFun = Callable[[Message], object]
MAX_WAITING = 1_000
"""Calls of one page that wait for the fabric."""
UNSENT_AGAIN_S = 0.05
LOCAL_ACK = Ack(True, (), (), 0.0)


@dataclass(frozen=True)
class Deliver:
    """Hand a message to these of the page's subscriptions. `message` is there when it came over the fabric."""

    subscriptions: tuple[Subscription[MessageFun], ...]
    topic: str
    payload: Any
    retained: bool = False
    message: Message | None = None


@dataclass(frozen=True)
class Acked:
    """Tell the ack of a subscription."""

    subscription: int
    ack: Ack


@dataclass(frozen=True)
class Hold:
    """Subscribe at the fabric, for the page's subscription of this id."""

    subscription: int
    topic_filter: str


@dataclass(frozen=True)
class Release:
    """End the fabric's subscription for this id."""

    subscription: int


@dataclass(frozen=True)
class Send:
    """Publish on the fabric; `~pagesession/…` as this session's.

    at_once:  now or never, with an error to the caller; else it goes to `unsent` when the fabric takes nothing
    """

    topic: str
    payload: Any
    at_once: bool = False


Effect = Deliver | Acked | Hold | Release | Send | Ask | StopAcknowledged


class PageCore:
    """The page of `frame`'s session. Whatever of it returns effects wants them performed in this order.

    echo:  deliver the page's own publishes here; a page that lives elsewhere, in a browser, has heard them already
    """

    def __init__(self, frame: FrameCore, *, echo: bool = True) -> None:
        self.frame, self._echo = frame, echo
        self._broker: Broker[MessageFun] = Broker()
        self._retained: dict[str, Event] = {}
        self._waiting: list[Hold | Send] = []
        self._again_at = 0.0
        self._unacked: list[tuple[int, float]] = []
        self._session_ack: Ack | None = None
        self._update_no = 0
        self._snapshot_wanted: Any = None

    # ── the page's calls ─────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, topic_filter: str, handler: MessageFun, now: float) -> tuple[int, list[Effect]]:
        """Add a subscription; what is retained and matches comes at once. Errors: InvalidFilter, ScopeError."""
        kind = scope(topic_filter)
        ident = self._broker.subscribe(topic_filter, handler)
        effects: list[Effect] = []
        if kind == "local":
            effects.append(Acked(ident, LOCAL_ACK))
        elif kind != "pagesession":
            try:
                effects += self._beyond(Hold(ident, topic_filter))
            except HighWaterMarkReached:
                self._broker.unsubscribe(ident)
                raise
        elif self._session_ack is not None:
            effects.append(Acked(ident, self._session_ack))
        else:
            self._unacked.append((ident, now))
        if kind in ("local", "pagesession"):
            one = (self._broker.get(ident),)
            retained = [event for event in self._retained.values() if matches(topic_filter, event.topic)]
            effects += [Deliver(one, event.topic, event.payload, retained=True) for event in retained]
        return ident, effects

    def unsubscribe(self, subscription: int) -> list[Effect]:
        """End a subscription. KeyError when there is none of this id."""
        kind = scope(self._broker.unsubscribe(subscription))
        self._unacked = [each for each in self._unacked if each[0] != subscription]
        if kind in ("local", "pagesession"):
            return []
        waiting = [each for each in self._waiting if not (isinstance(each, Hold) and each.subscription == subscription)]
        if len(waiting) < len(self._waiting):
            self._waiting = waiting
            return []
        return [Release(subscription)]

    def publish(self, topic: str, payload: Any, now: float) -> list[Effect]:
        """Publish.

        errors: InvalidTopic, ScopeError, LocalWireError, HighWaterMarkReached; then nothing has happened
        """
        validate_topic(topic)
        kind = scope(topic)
        if kind == "system":
            raise ScopeError(f"{topic!r}: topics that begin with $ belong to the fabric; right would be another level")
        if kind == "local":
            return self._deliver(topic, payload)
        if topic in topics.DECIDED:
            right = "send_update" if topic == topics.UPDATE else "a topic of your own"
            raise ScopeError(f"{topic!r} is told by the frame, and cannot be published; right would be {right}")
        encode(topic, 0, 1, 0, payload)  # what cannot be sent is refused now, also when it would have to wait
        if kind == "":
            return self._beyond(Send(topic, payload))
        if topic in topics.VISITORS:
            asked = self._visitor_asks(topic, payload, now)
            return [*self._deliver_own(topic, payload), *asked]
        return [*self._beyond(Send(topic, payload)), *self._deliver_own(topic, payload)]

    def send_update(
        self, event: Any, snapshot: bool, epoch: int | None = None, number: int | None = None
    ) -> list[Effect]:
        """Send a page update to the agent in session; nothing at all when there is none, or in another epoch.

        number:  the one that it was given where it was made, so that the agent sees what was lost on the way here;
                 by default the next one
        """
        cobrowsing = self.frame.cobrowsing
        if cobrowsing.state != "joined" or self.frame.home is None or epoch not in (None, cobrowsing.epoch):
            return []
        self._update_no = self._update_no + 1 if number is None else number
        payload = {"epoch": cobrowsing.epoch, "n": self._update_no, "event": event, "snapshot": snapshot}
        return [Send(topics.UPDATE, payload, at_once=True), *self._deliver_own(topics.UPDATE, payload)]

    def stop_session(self, now: float) -> tuple[int, list[Effect]]:
        """Stop co-browsing by force: no update leaves any more from this moment. Return the stop's number."""
        number, outs = self.frame.stop(now)
        return number, self.act(outs)

    # ── from the fabric ──────────────────────────────────────────────────────────────────────────────────────────

    def attached(self, home: str, now: float) -> list[Effect]:
        """The frame has a node: what waited goes out, and a code is asked for."""
        outs = self.frame.attached(home, now)
        waiting, self._waiting = self._waiting, []
        return [*waiting, *self.act(outs)]

    def session_acked(self, ack: Ack, now: float) -> list[Effect]:
        """The host's subscription for its pages' sessions was acked, or failed to be."""
        self._session_ack = ack if ack.ok else None
        unacked, self._unacked = self._unacked, []
        return [Acked(ident, Ack(ack.ok, ack.covered, ack.missing, now - since, ack.error)) for ident, since in unacked]

    def received(self, message: Message, topic: str, now: float) -> list[Effect]:
        """A message of this session came, from the frame node or an agent; `topic` is its name in this page."""
        if topic == topics.STATE:
            return self.act(self.frame.heard(message.payload, now))
        if topic in topics.DECIDED or topic in topics.VISITORS:
            return []  # only the frame node decides these, and it says so by state maps
        if topic == topics.SNAPSHOT_REQUEST and self.frame.cobrowsing.state != "joined":
            self._snapshot_wanted = message.payload  # the agent was told of its session first
            return []
        return self._deliver(topic, message.payload, message)

    def from_fabric(self, subscription: int, message: Message) -> list[Effect]:
        """A message on one of the page's subscriptions at the fabric."""
        try:
            found = self._broker.get(subscription)
        except KeyError:
            return []
        return [Deliver((found,), message.topic, message.payload, message=message)]

    def unsent(self, effects: list[Hold | Send], now: float) -> None:
        """The fabric took none of these at present; they go first when it does again."""
        self._waiting[:0] = effects
        self._again_at = now + UNSENT_AGAIN_S

    def tick(self, now: float) -> list[Effect]:
        """Try again what is due."""
        effects: list[Effect] = []
        if self._waiting and self.frame.home is not None and now >= self._again_at:
            waiting, self._waiting = self._waiting, []
            effects += waiting
        return [*effects, *self.act(self.frame.tick(now))]

    def due(self) -> float | None:
        """When `tick` is wanted next."""
        due = self.frame.due()
        if self._waiting and self.frame.home is not None:
            return self._again_at if due is None else min(due, self._again_at)
        return due

    def act(self, outs: list[Out]) -> list[Effect]:
        """Turn what the frame says into effects."""
        effects: list[Effect] = []
        for out in outs:
            effects += self._tell(out.event) if isinstance(out, Tell) else [out]
        self._keep_current()
        return effects

    def retained(self) -> list[Event]:
        """Return the states that a late subscriber is told."""
        return list(self._retained.values())

    def set_buttons(self, names: tuple[str, ...], available: Mapping[str, Any] | None) -> list[Effect]:
        """The page shows other chat buttons now."""
        for name in self.frame.set_buttons(names):
            self._retained.pop(events.button(name, False).group, None)
        return self.act(self.frame.buttons(available)) if available is not None else []

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _tell(self, event: Event) -> list[Effect]:
        """Deliver to the page's own subscribers, and keep for late ones what is a state."""
        if event.group:
            self._retained[event.group] = event
        effects = self._deliver(event.topic, event.payload)
        if event.topic == topics.STARTED:
            self._update_no = 0
            if self._snapshot_wanted is not None:
                wanted, self._snapshot_wanted = self._snapshot_wanted, None
                effects += self._deliver(topics.SNAPSHOT_REQUEST, wanted)
        return effects

    def _keep_current(self) -> None:
        """A late subscriber never gets a code that is used up."""
        state = self.frame.state
        if self.frame.loading != "ready":
            self._retained.pop("ready", None)
        elif "ready" in self._retained or state["code"] is not None:
            self._retained["ready"] = events.ready(state)
        if "code" in self._retained and self._retained["code"].payload["code"] != state["code"]:
            del self._retained["code"]

    def _deliver(self, topic: str, payload: Any, message: Message | None = None) -> list[Effect]:
        found = self._broker.match(topic)
        return [Deliver(found, topic, payload, message=message)] if found else []

    def _deliver_own(self, topic: str, payload: Any) -> list[Effect]:
        return self._deliver(topic, payload) if self._echo else []

    def _beyond(self, effect: Hold | Send) -> list[Effect]:
        if self.frame.home is not None and not self._waiting:
            return [effect]
        if len(self._waiting) >= MAX_WAITING:
            raise HighWaterMarkReached(f"{MAX_WAITING} calls of this page wait for the fabric; this one is refused")
        self._waiting.append(effect)
        return []

    def _visitor_asks(self, topic: str, payload: Any, now: float) -> list[Effect]:
        """What the visitor does by publishing in the session."""
        if topic == topics.TRIGGER:
            button = payload.get("button") if isinstance(payload, Mapping) else payload
            return self.act(self.frame.ask("trigger", {"button": button}, now))
        if topic == topics.CHAT_STOPPED:
            return self.act(self.frame.ask("stop_chat", {}, now))
        event = {topics.SHOW: "show", topics.MINIMISE: "minimise", topics.HIDE: "hide"}[topic]
        return self.act(self.frame.ask("set_visibility", {"event": event}, now))

"""One visitor's page: its own broker, and the frame that holds its contact code. Pure.

Calls of the page, answers and events of the frame node, messages and time come in; effects go out, and `HostPage`
performs them. Time and randomness are arguments.

Three kinds of topics:

    ~/…             never leave the page; acked at once
    ~pagesession/…  this session's own space: delivered here at once, and sent to whoever is in session
    all others      go to the fabric

What is meant for beyond the page waits, in order and bounded, until the page is attached.

Reading order: the effects; the page's calls; `_take_state`, where everything that the frame node decides arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.broker import Broker, Subscription
from fabric.coverage import Ack
from fabric.errors import HighWaterMarkReached, ScopeError
from fabric.topics import matches, scope, validate_topic
from fabric.wire import Message
from nodes import page_events
from nodes.cobrowse import Cobrowse
from nodes.frame_loading import MACHINE as LOADING
from nodes.page_events import Event
from nodes.retry import Backoff

MessageFun = Callable[[Message], object]
MAX_WAITING = 1_000
REQUEST_AGAIN_S = 1.0
"""A stop or a click that the frame node did not answer is asked again after this time."""
_OWN = "~pagesession/"


@dataclass(frozen=True)
class Deliver:
    """Hand a message to these of the page's subscriptions."""

    subscriptions: tuple[Subscription[MessageFun], ...]
    topic: str
    payload: Any
    retained: bool = False


@dataclass(frozen=True)
class Acked:
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
    """Publish on the fabric; `~pagesession/…` as this session's."""

    topic: str
    payload: Any


@dataclass(frozen=True)
class Ask:
    """Ask the frame node; the answer goes to `answered` or `refused` with the same operation and body."""

    operation: str
    body: dict[str, Any]


@dataclass(frozen=True)
class StopAcknowledged:
    """The stop that ended `epoch` is over: no agent handles an update of it any more."""

    epoch: int


Effect = Deliver | Acked | Hold | Release | Send | Ask | StopAcknowledged


class PageCore:
    """The page session `session`, with the chat buttons `buttons`.

    lease_s:  how long the frame node keeps the code without a heartbeat
    """

    def __init__(
        self, session: str, buttons: tuple[str, ...] = (), *, lease_s: float = 10.0, backoff: Backoff | None = None
    ) -> None:
        self.session, self.lease_s = session, lease_s
        self.state: Mapping[str, Any] = page_events.START
        self.cobrowsing = Cobrowse()
        self.home: str | None = None
        self.loading = LOADING.start
        self._backoff = backoff or Backoff()
        self._broker: Broker[MessageFun] = Broker()
        self._retained: dict[str, Event] = {}
        self._waiting: list[Hold | Send] = []
        self._unacked: list[tuple[int, float]] = []
        self._session_ack: Ack | None = None
        self._buttons: dict[str, bool | None] = dict.fromkeys(buttons)
        self._attempt = 0
        self._ask_at: float | None = None
        self._asking = False
        self._had_code = False
        self._told_session = False
        self._update_no = 0
        self._unanswered: dict[str, tuple[float, Ask]] = {}
        self._stops: list[int] = []

    # ── the page's calls ─────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(self, topic_filter: str, handler: MessageFun, now: float) -> tuple[int, list[Effect]]:
        """Add a subscription; what is retained and matches comes at once. Errors: InvalidFilter, ScopeError."""
        kind = scope(topic_filter)
        ident = self._broker.subscribe(topic_filter, handler)
        effects: list[Effect] = []
        if kind == "local":
            effects.append(Acked(ident, Ack(True, (), (), 0.0)))
        elif kind == "pagesession":
            if self._session_ack is not None:
                effects.append(Acked(ident, self._session_ack))
            else:
                self._unacked.append((ident, now))
        else:
            effects += self._beyond(Hold(ident, topic_filter))
        one = (self._broker.get(ident),)
        effects += [
            Deliver(one, event.topic, event.payload, retained=True)
            for event in self._retained.values()
            if kind in ("local", "pagesession") and matches(topic_filter, event.topic)
        ]
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
        """Publish. Some topics of the session are also requests of the visitor: see `_request`."""
        validate_topic(topic)
        kind = scope(topic)
        if kind == "system":
            raise ScopeError(f"{topic!r}: topics that begin with $ belong to the fabric; right would be another level")
        if kind == "":
            return self._beyond(Send(topic, payload))
        effects = self._deliver(topic, payload)
        if kind == "pagesession":
            asked = self._request(topic, payload, now)
            effects += asked if asked is not None else self._beyond(Send(topic, payload))
        return effects

    def send_update(self, event: Any, snapshot: bool) -> list[Effect]:
        """Send a page update to the agent in session; nothing at all when there is none."""
        if self.cobrowsing.state != "joined":
            return []
        self._update_no += 1
        payload = {"epoch": self.cobrowsing.epoch, "n": self._update_no, "event": event, "snapshot": snapshot}
        return [*self._deliver(page_events.UPDATE, payload), Send(page_events.UPDATE, payload)]

    def stop_session(self, now: float) -> tuple[int, list[Effect]]:
        """Stop co-browsing by force: no update leaves any more from this moment. Return the epoch that is over."""
        epoch = self.cobrowsing.epoch
        self.cobrowsing = self.cobrowsing.stopped(epoch)
        effects = self._tell_stopped(epoch)
        if self.loading in ("absent", "page_alone", "frame_alone") and self.state["version"] < 0:
            return epoch, [*effects, StopAcknowledged(epoch)]  # no frame node has ever heard of this page
        self._stops.append(epoch)
        return epoch, [*effects, *self._ask("stop", {"session": self.session, "epoch": epoch}, now)]

    # ── the frame ────────────────────────────────────────────────────────────────────────────────────────────────

    def page_came(self, now: float) -> list[Effect]:
        """The page's own script runs."""
        self.loading = LOADING.after(self.loading, "page_came")
        return self._tell_current() + self._begin(now)

    def attached(self, home: str, now: float) -> list[Effect]:
        """The frame has a node: what waited goes out, and a code is asked for."""
        self.home = home
        self.loading = LOADING.after(self.loading, "frame_came")
        waiting, self._waiting = self._waiting, []
        return [*waiting, *self._begin(now)]

    def session_acked(self, ack: Ack, now: float) -> list[Effect]:
        """The host's subscription for its pages' sessions was acked."""
        self._session_ack = ack
        unacked, self._unacked = self._unacked, []
        return [Acked(ident, Ack(ack.ok, ack.covered, ack.missing, now - since, ack.error)) for ident, since in unacked]

    def retry(self, now: float) -> list[Effect]:
        """After `error`: begin another round of attempts."""
        self.loading = LOADING.after(self.loading, "retry")
        self._attempt = 0
        return self._begin(now)

    def answered(self, operation: str, body: Mapping[str, Any], state: object, now: float) -> list[Effect]:
        """The frame node answered; `state` is the page's state map."""
        if operation == "grant_code":
            self._asking = False
            if self.loading == "waiting":
                self.loading = LOADING.after(self.loading, "granted")
                self._attempt = 0
        else:
            self._unanswered.pop(_key(operation, body), None)
        return self._take_state(state, now)

    def refused(
        self, operation: str, body: Mapping[str, Any], why: str, now: float, drawn: float, retry_after_s: float = 0.0
    ) -> list[Effect]:
        """The frame node is too busy, or not there.

        drawn:  even in [0, 1), for the jitter
        """
        if operation != "grant_code":
            return []  # asked again by `tick`
        self._asking = False
        if self.loading not in ("waiting", "ready"):
            return []
        self._attempt += 1
        delay_s = self._backoff.delay_s(self._attempt, drawn, retry_after_s)
        if self.loading == "ready":  # a new code after a session: the page stays what it is, and asks on
            self._ask_at = now + (delay_s if delay_s is not None else self._backoff.cap_s)
            return []
        if delay_s is None:
            self.loading = LOADING.after(self.loading, "gave_up")
            return self._tell(Event(page_events.ERROR, {"attempts": self._attempt, "reason": why}))
        self.loading = LOADING.after(self.loading, "busy")
        self._ask_at = now + delay_s
        event = Event(page_events.RETRY, {"attempt": self._attempt, "next_try_s": round(delay_s, 3), "reason": why})
        return self._tell(event)

    def rejected(self, operation: str, body: Mapping[str, Any], now: float) -> list[Effect]:
        """The frame node understood, and will never do it: the request does not belong in its state. Ask no more."""
        self._unanswered.pop(_key(operation, body), None)
        return []

    def heard(self, state: object, now: float) -> list[Effect]:
        """A state map came, as an event or with a heartbeat."""
        return self._take_state(state, now)

    def gone(self, now: float) -> list[Effect]:
        """The frame node does not know this page any more, or its lease ran out: ask anew."""
        if self.loading != "ready":
            return []
        self.loading = LOADING.after(self.loading, "lost")
        self.state = {**page_events.START, "version": self.state["version"], "epoch": self.cobrowsing.epoch}
        effects = self._tell_stopped(self.cobrowsing.epoch) if self._told_session else []
        self._attempt = 0
        return [*effects, *self._begin(now)]

    def buttons(self, available: Mapping[str, Any]) -> list[Effect]:
        """Agents came or went: how many are available for each button."""
        effects: list[Effect] = []
        for name, before in self._buttons.items():
            count = available.get(name, 0)
            now_enabled = isinstance(count, int) and count > 0
            if before is not now_enabled:
                self._buttons[name] = now_enabled
                effects += self._tell(page_events.button(name, now_enabled))
        return effects

    def received(self, topic: str, payload: Any, now: float) -> list[Effect]:
        """A message of this session came over the fabric, from the frame node or the agent."""
        if topic == page_events.STATE:
            return self._take_state(payload, now)
        return self._deliver(topic, payload)

    def from_fabric(self, subscription: int, message: Message) -> list[Effect]:
        """A message on one of the page's subscriptions at the fabric."""
        try:
            found = self._broker.get(subscription)
        except KeyError:
            return []
        return [Deliver((found,), message.topic, message.payload)]

    def tick(self, now: float) -> list[Effect]:
        """Try again what is due."""
        effects: list[Effect] = []
        if self._ask_at is not None and now >= self._ask_at:
            self._ask_at = None
            if self.loading == "retrying":
                self.loading = LOADING.after(self.loading, "retry")
            effects += self._begin(now)
        for key, (at, ask) in list(self._unanswered.items()):
            if now >= at:
                self._unanswered[key] = (now + REQUEST_AGAIN_S, ask)
                effects.append(ask)
        return effects

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _begin(self, now: float) -> list[Effect]:
        """Ask for a code where one is due."""
        due = self.loading == "waiting" or (
            self.loading == "ready" and self.state["code"] is None and self.state["cobrowse"] == "idle"
        )
        if not due or self._asking or self._ask_at is not None:
            return []
        self._asking = True
        return [Ask("grant_code", {"session": self.session, "home": self.home, "lease_s": self.lease_s})]

    def _take_state(self, state: object, now: float) -> list[Effect]:
        """The one place where what the frame node has decided becomes known here."""
        if not _is_state(state, self.session) or state["version"] <= self.state["version"]:  # type: ignore[index]
            return self._begin(now)
        old, new = self.state, dict(state)  # type: ignore[call-overload]
        self.state = new
        effects: list[Effect] = []
        if new.get("gone") is True:
            return self.gone(now)
        before = self.cobrowsing
        self.cobrowsing = before.merged(Cobrowse(new["cobrowse"], new["epoch"]))
        if self._told_session and not self.cobrowsing.accepts(before.epoch):
            effects += self._tell_stopped(before.epoch)
        if self.cobrowsing.state == "joined" and not self._told_session:
            self._told_session, self._update_no = True, 0
            effects += self._tell(page_events.started(new))
        for event in page_events.events_between(old, new, first=not self._had_code):
            effects += self._tell(event)
        self._had_code = self._had_code or new["code"] is not None
        seen = Cobrowse(new["cobrowse"], new["epoch"])
        over = [epoch for epoch in self._stops if seen.acknowledged(epoch)]
        self._stops = [epoch for epoch in self._stops if epoch not in over]
        effects += [StopAcknowledged(epoch) for epoch in over]
        return [*effects, *self._begin(now)]

    def _tell_stopped(self, epoch: int) -> list[Effect]:
        if not self._told_session:
            return []
        self._told_session = False
        return self._tell(page_events.stopped(epoch))

    def _tell(self, event: Event) -> list[Effect]:
        """Deliver to the page's own subscribers, and keep for late ones what is a state."""
        if event.retained:
            self._retained[event.group] = event
        if event.topic == page_events.NEW_CODE:
            self._retained["ready"] = Event(page_events.READY, event.payload, "ready")
        return self._deliver(event.topic, event.payload)

    def _tell_current(self) -> list[Effect]:
        """The page came after the frame: it gets the current state."""
        return [
            Deliver(found, event.topic, event.payload, retained=True)
            for event in self._retained.values()
            if (found := self._broker.match(event.topic))
        ]

    def _deliver(self, topic: str, payload: Any) -> list[Effect]:
        found = self._broker.match(topic)
        return [Deliver(found, topic, payload)] if found else []

    def _beyond(self, effect: Hold | Send) -> list[Effect]:
        if self.home is not None:
            return [effect]
        if len(self._waiting) >= MAX_WAITING:
            raise HighWaterMarkReached(
                f"{MAX_WAITING} calls wait for the page to be attached; this one was not accepted"
            )
        self._waiting.append(effect)
        return []

    def _request(self, topic: str, payload: Any, now: float) -> list[Effect] | None:
        """What the visitor does by publishing in the session; None for a topic that is only a message."""
        if topic == page_events.TRIGGER:
            button = payload.get("button") if isinstance(payload, Mapping) else payload
            return self._ask("trigger", {"session": self.session, "button": button}, now)
        if topic == page_events.CHAT_STOPPED:
            return self._ask("stop_chat", {"session": self.session}, now)
        events = {page_events.SHOW: "show", page_events.MINIMISE: "minimise", page_events.HIDE: "hide"}
        if topic in events:
            return self._ask("set_visibility", {"session": self.session, "event": events[topic]}, now)
        return None

    def _ask(self, operation: str, body: dict[str, Any], now: float) -> list[Effect]:
        ask = Ask(operation, body)
        self._unanswered[_key(operation, body)] = (now + REQUEST_AGAIN_S, ask)
        return [ask] if self.home is not None else []


def _key(operation: str, body: Mapping[str, Any]) -> str:
    return f"{operation} {body.get('epoch', '')}"


def _is_state(state: object, session: str) -> bool:
    """Whether this is a state map of this session; it comes from the wire."""
    if not isinstance(state, Mapping) or state.get("session") != session:
        return False
    ints = (state.get("version"), state.get("epoch"))
    texts = (state.get("cobrowse"), state.get("visibility"), state.get("chat"))
    return (
        all(type(each) is int for each in ints)
        and all(isinstance(each, str) for each in texts)
        and {"code", "agent", "button", "chat_agent"} <= state.keys()
        and state["visibility"] in ("shown", "minimised", "hidden")
    )

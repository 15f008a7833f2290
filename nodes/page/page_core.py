"""One visitor's page: its own broker, and the frame beside it. Pure; `HostedPage` performs the effects.

Three kinds of topics:

    ~/…             never leave the page; acked at once
    ~pagesession/…  this session's own space: delivered here at once, and sent to all who are in session
    all others      go to the fabric

What is meant for beyond the page waits, in order and bounded, until the page is attached, and again while the fabric
takes nothing. Some topics of the session are the visitor's requests to the frame node; see `frame_core`.

What happens to the page is an input of `handle`. What its program calls answers to the program, with a result or an
error: `subscribe`, `unsubscribe`, `publish`, `send_update`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fabric.broker import Broker
from fabric.errors import HighWaterMarkReached, NotAllowed, ScopeError
from fabric.node.coverage import Ack
from fabric.topics import matches, scope, validate_topic
from fabric.wire import Message, encode
from nodes.page.frame_core import FrameCore
from nodes.page.interface import (
    Acked,
    Beyond,
    ClockTicked,
    Count,
    Deliver,
    Effect,
    Event,
    FabricAcked,
    FabricSpoke,
    FabricWasFull,
    FrameAttached,
    FrameInput,
    FrameNodeTold,
    Hold,
    Input,
    LineCame,
    MessageFun,
    PageDeclined,
    Release,
    Send,
    SessionsAcked,
    SessionSpoke,
    VisitorAsked,
)
from nodes.page.kept_values import KeptValues
from nodes.page.page_chat import Kept, PageChat
from nodes.rules import topics
from nodes.rules.fields import EPOCH
from nodes.rules.proofs import handle_of
from nodes.rules.state_map import opened

MAX_WAITING = 1_000
"""Calls of one page that wait for the fabric."""
UNSENT_AGAIN_S = 0.05
LOCAL_ACK = Ack(True, (), (), 0.0)
PULSE_S = 1.0
"""How often a viewed page says that it is there, and how current its agent's picture is. For a page in a browser its
gateway does: `nodes/gateway/page_session.py`."""
VISIBILITY_EVENTS = {topics.SHOW: "show", topics.MINIMISE: "minimise", topics.HIDE: "hide"}


class PageCore:
    """The page of `frame`'s session. Effects are performed in the order in which they are returned.

    key:     of the session: what a frame node says is proven by it
    echo:    deliver the page's own publishes here; a page that lives elsewhere, in a browser, has heard them already
    kept:    lines of a chat from before, see `PageChat`
    wall_s:  what added to `now` gives the seconds since 1970
    """

    def __init__(
        self, frame: FrameCore, key: str, *, echo: bool = True, kept: Kept | None = None, wall_s: float = 0.0
    ) -> None:
        self.frame, self._key, self._echo = frame, key, echo
        """None of the three changes; the frame is changed by its own inputs only, which `handle` passes on."""
        self._wall_s = wall_s
        """Does not change."""
        self.chat = PageChat(lambda agent: handle_of(key, frame.session, agent), kept)
        """Changed as the chat begins and ends, and by what is said in it."""
        self._broker: Broker[MessageFun] = Broker()
        """All subscriptions of the page, of whatever scope."""
        self._kept = KeptValues()
        """What the page's program retains; `publish` alone changes it."""
        self._waiting: list[Beyond] = []
        """What waits for the fabric, the oldest first: at most MAX_WAITING, and what the fabric gave back."""
        self._again_s = 0.0
        """The moment from which the fabric is tried again; FabricWasFull sets it."""
        self._unacked: list[tuple[int, float]] = []
        """Subscriptions of the session's space that wait for the host's ack, and since when; SessionsAcked empties it.
        None waits while `_session_ack` is there."""
        self._session_ack: Ack | None = None
        """The last ack of the host's subscription, if it was a good one."""
        self._update_no = 0
        """The number of the last update of the running session; STARTED sets it back, `send_update` sets it."""
        self._pulse_at = 0.0
        """When the next pulse is due, while an agent views a page that lives here; ClockTicked sets it."""
        self._snapshot_wanted: Any = None
        """The payload of a snapshot request that came before STARTED, which hands it on."""

    def handle(self, event: Input, now: float) -> list[Effect]:
        """Take what happened, and return what follows.

        errors: StateError for what does not belong here; nothing has changed
        """
        match event:
            case SessionSpoke(message):
                return self._session_spoke(message, now)
            case FabricSpoke(subscription, message):
                return self._fabric_spoke(subscription, message)
            case FabricAcked(subscription, ack):
                return [Acked(subscription, ack)]
            case FabricWasFull(unsent):
                self._waiting[:0] = unsent
                self._again_s = now + UNSENT_AGAIN_S
                return []
            case SessionsAcked(ack):
                return self._sessions_acked(ack, now)
            case FrameAttached():
                outs = self._to_frame(event, now)
                return [*self._take_waiting(), *outs]
            case ClockTicked():
                is_time = self.frame.home is not None and now >= self._again_s
                return [*(self._take_waiting() if is_time else []), *self._to_frame(event, now), *self._pulse(now)]
            case _:
                return self._to_frame(event, now)

    # ── the page's calls ─────────────────────────────────────────────────────────────────────────────────────────

    def subscribe(
        self, topic_filter: str, handler: MessageFun, now: float, *, retained: bool = False
    ) -> tuple[int, list[Effect]]:
        """Add a subscription; what is retained in the page and matches comes at once, before the ack.

        retained: what is retained in the fabric as well
        errors: InvalidFilter, ScopeError, HighWaterMarkReached; then nothing has happened
        """
        kind = scope(topic_filter)
        ident = self._broker.subscribe(topic_filter, handler)
        if kind not in ("local", "pagesession"):
            try:
                return ident, self._beyond(Hold(ident, topic_filter, retained))
            except HighWaterMarkReached:
                self._broker.unsubscribe(ident)
                raise
        one = (self._broker.get(ident),)
        states = [event for event in self.frame.retained() if matches(topic_filter, event.topic)]
        values = [*states, *self._kept.matching(topic_filter, now)]
        effects: list[Effect] = [Deliver(one, topic, payload, retained=True) for topic, payload in values]
        ack = LOCAL_ACK if kind == "local" else self._session_ack
        if ack is None:
            self._unacked.append((ident, now))
        else:
            effects.append(Acked(ident, ack))
        return ident, effects

    def unsubscribe(self, subscription: int) -> list[Effect]:
        """End a subscription. KeyError when no subscription has it."""
        kind = scope(self._broker.unsubscribe(subscription))
        self._unacked = [each for each in self._unacked if each[0] != subscription]
        if kind in ("local", "pagesession"):
            return []
        waiting = [each for each in self._waiting if not (isinstance(each, Hold) and each.subscription == subscription)]
        if len(waiting) < len(self._waiting):
            self._waiting = waiting
            return []
        return [Release(subscription)]

    def publish(self, topic: str, payload: Any, now: float, keep_s: int | None = None) -> list[Effect]:
        """Publish.

        keep_s: retain it for so long, 0: for good; None: do not. In the page, for who subscribes there; other topics in
                the fabric
        errors: InvalidTopic, ScopeError, LocalWireError, HighWaterMarkReached, NotAllowed for an answer to no request;
                then nothing has happened
        """
        validate_topic(topic)
        kind = scope(topic)
        if kind == "system":
            raise ScopeError(f"{topic!r}: expected another level first; topics that begin with $ belong to the fabric")
        if kind == "local":
            self._keep(topic, payload, keep_s, now)
            return self._deliver(topic, payload)
        if topic in topics.DECIDED:
            right = "send_update" if topic == topics.UPDATE else "a topic of your own"
            raise ScopeError(f"{topic!r}: expected {right}; the frame tells this one, and nobody publishes it")
        encode(topic, 0, 1, 0, payload)  # what cannot be sent is refused now, also when it would have to wait
        if kind == "":
            return self._beyond(Send(topic, payload, keep_s=keep_s))
        if topic == topics.MESSAGE:
            said = self._say(payload, now)
            return [*self._deliver_own(topic, payload), *said]
        if topic in topics.VISITORS:
            over = self._of_chat(self.chat.ended(), now) if topic == topics.CHAT_STOPPED else []
            asked = self._to_frame(_visitor_asked(topic, payload), now)
            return [*self._deliver_own(topic, payload), *over, *asked]
        sent = self._beyond(Send(topic, payload))
        self._keep(topic, payload, keep_s, now)
        return [*sent, *self._deliver_own(topic, payload)]

    def _keep(self, topic: str, payload: Any, keep_s: int | None, now: float) -> None:
        if keep_s is not None:
            self._kept.keep(topic, payload, keep_s, now)

    def send_update(
        self, event: Any, snapshot: bool, epoch: int | None = None, number: int | None = None
    ) -> list[Effect]:
        """Send a page update to the agent in session; nothing when no agent is, or in another epoch.

        number:  the one that it was given where it was made, so that the agent sees what was lost on the way here;
                 by default the next one
        """
        cobrowsing = self.frame.cobrowsing
        if cobrowsing.state != "joined" or self.frame.home is None or epoch not in (None, cobrowsing.epoch):
            return []
        self._update_no = self._update_no + 1 if number is None else number
        payload = {"epoch": cobrowsing.epoch, "n": self._update_no, "event": event, "snapshot": snapshot}
        return [Send(topics.UPDATE, payload, at_once=True), *self._deliver_own(topics.UPDATE, payload)]

    def send_pulse(self, number: int, silent_s: float, is_open: bool) -> list[Send]:
        """Say to the agent in session how current its picture is; nothing at all when there is none.

        number:    of the last update that the page has made
        silent_s:  how long nothing was heard of the page
        is_open:   whether it is there at present
        """
        cobrowsing = self.frame.cobrowsing
        if cobrowsing.state != "joined" or self.frame.home is None:
            return []
        payload = {"epoch": cobrowsing.epoch, "n": number, "silent_s": silent_s, "open": is_open}
        return [Send(topics.PULSE, payload, at_once=True)]

    def send_presence(self, silent_s: float, is_open: bool) -> list[Effect]:
        """Say to the agent in chat whether the page is there; nothing at all when there is none.

        silent_s:  how long nothing was heard of the page
        is_open:   whether it is there at present
        """
        if self.chat.agent is None or self.frame.home is None:
            return []
        return [Send(topics.PRESENCE, {"silent_s": silent_s, "open": is_open}, at_once=True)]

    @property
    def hearers(self) -> tuple[str, ...]:
        """The agents who hear the session, as the frame node last said."""
        state = self.frame.state
        viewing = state["agent"] if state["cobrowse"] in ("joined", "stopping") else None
        chatting = state["chat_agent"] if state["chat"] == "open" else None
        return tuple(dict.fromkeys(agent for agent in (viewing, chatting) if agent is not None))

    def due_s(self) -> float | None:
        """Return when ClockTicked is wanted next."""
        dues = [self.frame.due_s()]
        if self._waiting and self.frame.home is not None:
            dues.append(self._again_s)
        if self._is_viewed_here():
            dues.append(self._pulse_at)
        return min((due_s for due_s in dues if due_s is not None), default=None)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _to_frame(self, event: FrameInput, now: float) -> list[Effect]:
        """Pass it on to the frame, and deliver what that tells."""
        effects: list[Effect] = []
        for out in self.frame.handle(event, now):
            effects += self._tell(out, now) if isinstance(out, Event) else [out]
        if self.chat.waits and not self._is_chat_near():
            effects += self._of_chat(self.chat.give_up(), now)
        return effects

    def _tell(self, event: Event, now: float) -> Sequence[Effect]:
        """Deliver to the page's own subscribers."""
        effects = self._deliver(event.topic, event.payload)
        if event.topic == topics.CHAT_STOPPED:
            effects += self._of_chat(self.chat.ended(), now)
        if event.topic == topics.ACCEPTED:
            effects += self._of_chat(self.chat.opened(event.payload["agent"], now + self._wall_s), now)
        if event.topic == topics.STARTED:
            self._update_no = 0
            if self._snapshot_wanted is not None:
                wanted, self._snapshot_wanted = self._snapshot_wanted, None
                effects += self._deliver(topics.SNAPSHOT_REQUEST, wanted)
        return effects

    def _sessions_acked(self, ack: Ack, now: float) -> list[Effect]:
        self._session_ack = ack if ack.ok else None
        unacked, self._unacked = self._unacked, []
        return [Acked(ident, Ack(ack.ok, ack.covered, ack.missing, now - since, ack.error)) for ident, since in unacked]

    def _session_spoke(self, message: Message, now: float) -> list[Effect]:
        if message.topic == topics.STATE:
            state = opened(message.payload, self._key)
            return [Count("unproven")] if state is None else self._to_frame(FrameNodeTold(state), now)
        if message.topic == topics.JOINED:
            return self._of_chat(self.chat.joined(message, now + self._wall_s), now)
        if message.topic == topics.MESSAGE:
            by = str(message.headers.get(topics.BY))
            return self._of_chat(self.chat.by_agent(by, message.payload, now + self._wall_s), now, message)
        if message.topic in topics.DECIDED or message.topic in topics.VISITORS:
            return []  # only the frame node decides these, and it says so by state maps
        if message.topic == topics.SNAPSHOT_REQUEST and self.frame.cobrowsing.state != "joined":
            self._snapshot_wanted = message.payload  # the agent was told of its session first
            return []
        return self._deliver(message.topic, message.payload, message)

    def _fabric_spoke(self, subscription: int, message: Message) -> list[Effect]:
        try:
            found = self._broker.get(subscription)
        except KeyError:
            return []  # unsubscribed meanwhile
        return [Deliver((found,), message.topic, message.payload, message=message)]

    # ── pulses ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _is_viewed_here(self) -> bool:
        """Whether an agent views the page, and it lives here: for one in a browser, the gateway says how that is."""
        return self._echo and self.frame.home is not None and self.frame.cobrowsing.state == "joined"

    def _pulse(self, now: float) -> list[Effect]:
        """One a second; none while the fabric takes nothing, so that none piles up."""
        if not self._is_viewed_here() or now < self._pulse_at:
            return []
        self._pulse_at = now + PULSE_S
        told = self.send_pulse(self._update_no, 0.0, True)
        return [] if self._waiting else [replace(each, at_once=False) for each in told]

    # ── the chat ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, payload: Any, now: float) -> list[Effect]:
        """The visitor writes."""
        self._check_room()  # a line that is refused is not kept
        effects = self.chat.by_visitor(payload, now + self._wall_s, soon=self._is_chat_near())
        return self._of_chat(effects, now)

    def _is_chat_near(self) -> bool:
        """Whether a chat is open, or may be soon."""
        return not self.frame.is_known or self.frame.view().chat not in ("idle", "closed")

    def _of_chat(self, effects: list[Effect | Event], now: float, message: Message | None = None) -> list[Effect]:
        """Pass on what the chat wants done. `message`: the agent's line, if that is told."""
        outs: list[Effect] = []
        for effect in effects:
            match effect:
                case Event(topics.MESSAGE, payload):
                    heard = None if message is None else message._replace(payload=payload)
                    outs += [*self._deliver(topics.MESSAGE, payload, heard), *self._to_frame(LineCame(), now)]
                case Event(topic, payload):
                    outs += self._deliver(topic, payload)
                case Send():
                    outs += self._beyond(effect)
                case _:
                    outs.append(effect)
        return outs

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _deliver(self, topic: str, payload: Any, message: Message | None = None) -> list[Effect]:
        found = self._broker.match(topic)
        return [Deliver(found, topic, payload, message=message)] if found else []

    def _deliver_own(self, topic: str, payload: Any) -> list[Effect]:
        return self._deliver(topic, payload) if self._echo else []

    def _beyond(self, effect: Beyond) -> list[Effect]:
        """Send what is meant for beyond the page, or let it wait for its turn."""
        if self.frame.home is not None and not self._waiting:
            return [effect]
        self._check_room()
        self._waiting.append(effect)
        return []

    def _check_room(self) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise HighWaterMarkReached(f"{MAX_WAITING} calls of this page wait for the fabric; this one is refused")

    def _take_waiting(self) -> list[Beyond]:
        waiting, self._waiting = self._waiting, []
        return waiting


def _visitor_asked(topic: str, payload: Any) -> FrameInput:
    """What the visitor does by publishing `topic`, one of `topics.VISITORS`."""
    if topic in (topics.ALLOW, topics.DECLINE):
        epoch: Any = payload.get("epoch") if isinstance(payload, Mapping) else None
        if not EPOCH.fits(epoch):
            raise NotAllowed(f"invalid payload of {topic!r}: expected a map with `epoch`, that of the request")
        return VisitorAsked("allow", {"epoch": epoch}) if topic == topics.ALLOW else PageDeclined(epoch)
    if topic == topics.TRIGGER:
        button = payload.get("button") if isinstance(payload, Mapping) else payload
        return VisitorAsked("trigger", {"button": button})
    if topic == topics.CHAT_STOPPED:
        return VisitorAsked("stop_chat", {})
    return VisitorAsked("set_visibility", {"event": VISIBILITY_EVENTS[topic]})

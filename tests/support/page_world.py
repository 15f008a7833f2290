"""A page's pure core in a test: a clock, what its handlers were called with, and a frame node that is a real state map.

`World` performs effects as `HostedPage` does; what would go to the fabric is kept in `sent`, `asked`, `held`.
"""

from __future__ import annotations

from typing import Any, cast

from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.page.frame_core import FrameCore
from nodes.page.interface import (
    Acked,
    Ask,
    ButtonsCounted,
    ClockTicked,
    Count,
    Deliver,
    Effect,
    FrameAttached,
    FrameNodeAnswered,
    FrameNodeRejected,
    FrameNodeTold,
    FrameNodeWasBusy,
    Hold,
    Input,
    LeaseLost,
    PageCame,
    PageStopped,
    Release,
    Send,
    StopAcknowledged,
)
from nodes.page.page_core import PageCore
from nodes.rules.backoff import Backoff
from nodes.rules.proofs import key_of, name_of
from nodes.rules.state_map import START, StateMap

KEY = key_of("s" * 22)
SESSION, HOME = name_of(KEY), "h" * 32
PLACE = f"{HOME}/{SESSION}"
"""Where an agent hears that page."""


def state(version: int, **changes: Any) -> dict[str, Any]:
    """A state map as a frame node sends it."""
    return {
        **START,
        "session": SESSION,
        "home": HOME,
        "lease_s": 10.0,
        "gone": False,
        "version": version,
        "code": "111111",
        **changes,
    }


def made(version: int, **changes: Any) -> StateMap:
    """`state`, as what it is."""
    return cast(StateMap, state(version, **changes))


class World:
    """One page. `told` lists (topic, payload) of what its subscription to everything local got, since `topics` was last
    asked; `story` lists all of it."""

    def __init__(
        self, *, resumed: bool = False, buttons: tuple[str, ...] = (), attempts: int = 3, echo: bool = True
    ) -> None:
        self.now = 0.0
        backoff = Backoff(base_s=1.0, cap_s=4.0, attempts=attempts)
        self.frame = FrameCore(SESSION, "run", resumed=resumed, buttons=buttons, backoff=backoff)
        self.core = PageCore(self.frame, KEY, echo=echo)
        self.told: list[tuple[str, Any]] = []
        self.story: list[tuple[str, Any]] = []
        self.acks: list[tuple[int, Ack]] = []
        self.sent: list[Send] = []
        self.asked: list[Ask] = []
        self.held: list[Hold | Release] = []
        self.acknowledged: list[int] = []
        self.counted: list[str] = []
        self.stops = 0
        for topic_filter in ("~/#", "~pagesession/#"):
            self.subscribe(topic_filter)

    def perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver():
                    for subscription in effect.subscriptions:
                        if subscription.active:
                            headers = {"retained": True} if effect.retained else {}
                            message = effect.message or Message(effect.topic, effect.payload, 0, 1, 0, headers)
                            subscription.handler(message)
                case Acked(ident, ack):
                    self.acks.append((ident, ack))
                case Hold() | Release():
                    self.held.append(effect)
                case Send():
                    self.sent.append(effect)
                case Ask():
                    self.asked.append(effect)
                case Count(what):
                    self.counted.append(what)
                case StopAcknowledged(number):
                    self.acknowledged.append(number)

    def subscribe(self, topic_filter: str, into: list[Any] | None = None, *, retained: bool = False) -> int:
        def handler(message: Message) -> None:
            if into is None:
                self.told.append((message.topic, message.payload))
                self.story.append((message.topic, message.payload))
            else:
                into.append(message)

        ident, effects = self.core.subscribe(topic_filter, handler, self.now, retained=retained)
        self.perform(effects)
        return ident

    def handle(self, event: Input) -> None:
        self.perform(self.core.handle(event, self.now))

    def come(self) -> World:
        self.handle(PageCame())
        return self

    def attach(self) -> World:
        self.handle(FrameAttached(HOME))
        return self

    def ready(self) -> World:
        """Bring it to `ready` with code 111111 at version 1."""
        self.come().attach()
        self.answer(state(1))
        return self

    def last(self, operation: str) -> Ask:
        """The last request of this operation."""
        return [ask for ask in self.asked if ask.operation == operation][-1]

    def answer(self, reply: Any, operation: str = "grant_code") -> None:
        """The frame node answers the last request of this operation."""
        self.handle(FrameNodeAnswered(self.last(operation), reply))

    def refuse(self, retry_after_s: float = 0.0, drawn: float = 0.5, operation: str = "grant_code") -> None:
        self.handle(FrameNodeWasBusy(self.last(operation), "busy", retry_after_s, drawn))

    def reject(self, why: str, operation: str) -> None:
        self.handle(FrameNodeRejected(self.last(operation), why))

    def hear(self, news: Any) -> None:
        """The frame node sends a state map."""
        self.handle(FrameNodeTold(news))

    def lose(self, asked_at: float | None = None) -> None:
        """The frame node has no lease of the page."""
        self.handle(LeaseLost(self.now if asked_at is None else asked_at))

    def count(self, available: dict[str, Any]) -> None:
        self.handle(ButtonsCounted(available))

    def publish(self, topic: str, payload: Any = None, keep_s: int | None = None) -> None:
        self.perform(self.core.publish(topic, payload, self.now, keep_s))

    def stop(self) -> int:
        self.stops += 1
        self.handle(PageStopped(self.stops))
        return self.stops

    def update(self, event: Any = "x", snapshot: bool = False) -> bool:
        effects = self.core.send_update(event, snapshot)
        self.perform(effects)
        return bool(effects)

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.handle(ClockTicked())

    def topics(self) -> list[str]:
        """What was told since this was last asked, by topic without its scope."""
        topics = [topic.removeprefix("~/site_connect/").removeprefix("~pagesession/") for topic, _ in self.told]
        self.told.clear()
        return topics

    def operations(self) -> list[str]:
        return [ask.operation for ask in self.asked]

"""A page's pure core in a test: a clock, what its handlers were called with, and a frame node that is a real state map.

`World` performs effects as `HostedPage` does; what would go to the fabric is kept in `sent`, `asked`, `held`.
"""

from __future__ import annotations

from typing import Any

from fabric.node.coverage import Ack
from fabric.wire import Message
from nodes.page.frame_core import Ask, FrameCore, StopAcknowledged
from nodes.page.page_core import Acked, Deliver, Effect, Hold, PageCore, Release, Send
from nodes.rules.backoff import Backoff
from nodes.rules.state_map import START

SESSION, HOME = "s" * 22, "h" * 32


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


class World:
    """One page; `told` lists (topic, payload) of all that its subscription to everything local got."""

    def __init__(
        self, *, resumed: bool = False, buttons: tuple[str, ...] = (), attempts: int = 3, echo: bool = True
    ) -> None:
        self.now = 0.0
        backoff = Backoff(base_s=1.0, cap_s=4.0, attempts=attempts)
        self.frame = FrameCore(SESSION, "run", resumed=resumed, buttons=buttons, backoff=backoff)
        self.core = PageCore(self.frame, echo=echo)
        self.told: list[tuple[str, Any]] = []
        self.acks: list[tuple[int, Ack]] = []
        self.sent: list[Send] = []
        self.asked: list[Ask] = []
        self.held: list[Hold | Release] = []
        self.acknowledged: list[int] = []
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
                case StopAcknowledged(number):
                    self.acknowledged.append(number)

    def subscribe(self, topic_filter: str, into: list[Any] | None = None) -> int:
        def handler(message: Message) -> None:
            if into is None:
                self.told.append((message.topic, message.payload))
            else:
                into.append(message)

        ident, effects = self.core.subscribe(topic_filter, handler, self.now)
        self.perform(effects)
        return ident

    def act(self, outs: list[Any]) -> None:
        self.perform(self.core.act(outs))

    def come(self) -> World:
        self.act(self.frame.page_came(self.now))
        return self

    def attach(self) -> World:
        self.perform(self.core.attached(HOME, self.now))
        return self

    def ready(self) -> World:
        """Bring it to `ready` with code 111111 at version 1."""
        self.come().attach()
        self.answer(state(1))
        return self

    def answer(self, reply: Any, operation: str = "grant_code") -> None:
        """Answer the last open request of this operation."""
        ask = [ask for ask in self.asked if ask.operation == operation][-1]
        self.act(self.frame.answered(ask, reply, self.now))

    def refuse(self, retry_after_s: float = 0.0, drawn: float = 0.5, operation: str = "grant_code") -> None:
        ask = [ask for ask in self.asked if ask.operation == operation][-1]
        self.act(self.frame.refused(ask, "busy", retry_after_s, drawn, self.now))

    def hear(self, reply: Any) -> None:
        self.act(self.frame.heard(reply, self.now))

    def publish(self, topic: str, payload: Any = None) -> None:
        self.perform(self.core.publish(topic, payload, self.now))

    def stop(self) -> int:
        number, effects = self.core.stop_session(self.now)
        self.perform(effects)
        return number

    def update(self, event: Any = "x", snapshot: bool = False) -> bool:
        effects = self.core.send_update(event, snapshot)
        self.perform(effects)
        return bool(effects)

    def tick(self, seconds: float = 0.0) -> None:
        self.now += seconds
        self.perform(self.core.tick(self.now))

    def topics(self) -> list[str]:
        """What was told since this was last asked, by topic without its scope."""
        topics = [topic.removeprefix("~/site_connect/").removeprefix("~pagesession/") for topic, _ in self.told]
        self.told.clear()
        return topics

    def operations(self) -> list[str]:
        return [ask.operation for ask in self.asked]

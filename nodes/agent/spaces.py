"""The sessions' spaces that one agent hears, and speaks in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from fabric.errors import FabricError, TransportError
from fabric.node.coverage import Ack
from fabric.node.node import Node
from fabric.wire import Message
from nodes.agent.interface import Input, PageUpdated, Say, SessionSpoke, SpaceWatched
from nodes.rules import topics
from nodes.rules.agreement import sealed
from nodes.rules.fields import is_key
from nodes.rules.spoken import by_agent, is_pages
from nodes.rules.topics import BY, SPACE

log = logging.getLogger("nodes.agent")


def spoken(agent: str, session: str, message: Message) -> Input | None:
    """Return what a message in a session's space is for `agent`; None for one that does not concern it."""
    by = message.headers.get(BY)
    topic = SPACE + message.topic.split("/", 3)[3]
    if by == agent or topic in (topics.SNAPSHOT_REQUEST, topics.STATE):
        return None  # what a frame node says to the page is proven to the page; the agent hears its own
    if topic == topics.UPDATE:
        return PageUpdated(session, message.payload)
    return SessionSpoke(session, topic, message.payload)


class Spaces:
    """The subscriptions of `agent` at `node`. `handle` takes what is heard, in the node's I/O thread.

    key:  of the agent's lease, with which the keys that it shares with pages are sealed
    """

    def __init__(self, node: Node, agent: str, key: str, handle: Callable[[Input], None]) -> None:
        self._node, self._agent, self._key, self._handle = node, agent, key, handle
        """None of the four changes."""
        self._watched: dict[str, int] = {}
        """The node's subscription for each session that is watched; changed by one thread at a time, see `Agent`."""
        self._shared: dict[str, str] = {}
        """The key that the agent shares with the page of each session that is watched; changed with `_watched`."""
        self.unproven = 0
        """What came and no page has said; counted in the node's I/O thread."""

    def __len__(self) -> int:
        """How many sessions are watched."""
        return len(self._watched)

    def watch(self, session: str, space: str, engagement: str | None) -> None:
        """Hear a session's space; SpaceWatched follows when nothing is missed any more. `engagement`: see `Watch`."""
        if not is_key(engagement):
            return  # nothing could be proven in it
        self._shared[session] = sealed(self._key, str(engagement), session)

        def acked(ack: Ack) -> None:
            if ack.ok:
                self._handle(SpaceWatched(session, space))
            elif self._watched.get(session) == ident:
                self.unwatch(session)
                self.watch(session, space, engagement)

        topic_filter = topics.in_space(space, "#")
        ident = self._node.subscribe(topic_filter, lambda message: self._heard(session, message), acked)
        self._watched[session] = ident

    def _heard(self, session: str, message: Message) -> None:
        event = spoken(self._agent, session, message)
        if event is not None and self._is_pages(session, SPACE + message.topic.split("/", 3)[3], message):
            self._handle(event)

    def is_handed_over(self, message: Message) -> bool:
        """Say whether the page has said this on the agent's own topic, which names the session."""
        session = message.payload.get("session") if isinstance(message.payload, dict) else None
        return self._is_pages(str(session), message.topic, message)

    def _is_pages(self, session: str, topic: str, message: Message) -> bool:
        key, now = self._shared.get(session), time.time()
        if key is not None and is_pages(key, self._agent, message.headers, topic, message.payload, now):
            return True
        self.unproven += 1
        return False

    def unwatch(self, session: str) -> None:
        ident = self._watched.pop(session, None)
        if ident is not None:
            self._shared.pop(session, None)
            self._node.unsubscribe(ident)

    def say(self, say: Say) -> None:
        """Publish what the core wants said, now or not at all."""
        try:
            self.publish(say, timeout_s=0)
        except TransportError as error:
            log.info("not sent at present: %s", error)  # what the core says this way, it says again

    def publish(self, say: Say, timeout_s: float | None = None) -> None:
        """Publish in a session's space, as this agent. Errors: those of `Node.publish`."""
        key = self._shared.get(say.session)
        if key is None:
            return  # the engagement is over
        headers = by_agent(key, self._agent, say.topic, say.payload, time.time())
        self._node.publish(topics.in_space(say.space, say.topic), say.payload, headers, timeout_s=timeout_s)

    def close(self) -> None:
        """Hear nothing any more."""
        watched, self._watched = self._watched, {}  # an ack that comes now finds nothing to watch again
        for ident in watched.values():
            try:
                self._node.unsubscribe(ident)
            except (FabricError, KeyError):
                pass  # the node is closed, and with it all that it held

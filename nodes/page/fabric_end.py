"""What one hosted page does at the fabric: it publishes, and it holds subscriptions."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fabric.errors import FabricError, StateError, TransportError
from nodes.page.host import PageHost
from nodes.page.interface import FabricAcked, FabricSpoke, Hold, Input, Send
from nodes.rules.proofs import engagement_of
from nodes.rules.spoken import by_page
from nodes.rules.topics import AGENTS, SPACE

_SESSIONS = (SPACE, AGENTS)
"""What begins so is said in the session, or to its agent."""


class FabricEnd:
    """The end at `host` of the page of `session`. `handle` takes what the fabric says, in the node's I/O thread.

    key:  of the session, from which those follow that it shares with agents
    """

    def __init__(self, host: PageHost, session: str, key: str, handle: Callable[[Input], None]) -> None:
        self.host = host
        self._session, self._key, self._handle = session, key, handle
        """None of the four changes."""
        self._held: dict[int, int] = {}
        """The node's subscription for each of the page's that is held; under the page's lock."""

    def send(self, effect: Send | Hold, agents: Sequence[str] = ()) -> bool:
        """Publish, or subscribe; return False when the fabric takes nothing at present.

        agents: who hears the session, to whom it is proven that the page says this
        errors: TransportError, instead of False, for what is to be sent now or never
        """
        try:
            if isinstance(effect, Hold):
                self._hold(effect)
            else:
                self._publish(effect, agents)
        except TransportError:
            if isinstance(effect, Send) and effect.at_once:
                raise
            return False
        except StateError:
            self.host.counts["dropped"] += 1  # the node is closed; the page works on, alone
        return True

    def _publish(self, send: Send, agents: Sequence[str]) -> None:
        topic, headers = self.host.topic(self._session, send.topic), None
        if send.topic.startswith(_SESSIONS):
            keys = {agent: engagement_of(self._key, self._session, agent) for agent in agents}
            headers = by_page(keys, send.topic, send.payload, time.time())
        if topic.startswith("$"):
            self.host.node.publish_system(topic, send.payload, headers, timeout_s=0)
        else:
            retain, expires_s = send.keep_s is not None, send.keep_s or None
            self.host.node.publish(topic, send.payload, headers, timeout_s=0, retain=retain, expires_s=expires_s)

    def _hold(self, hold: Hold) -> None:
        ident = hold.subscription
        self._held[ident] = self.host.node.subscribe(
            hold.topic_filter,
            lambda message: self._handle(FabricSpoke(ident, message)),
            lambda ack: self._handle(FabricAcked(ident, ack)),
            retained=hold.retained,
        )

    def release(self, subscription: int) -> None:
        """End what is held for the page's subscription."""
        held = self._held.pop(subscription, None)
        if held is not None:
            try:
                self.host.node.unsubscribe(held)
            except StateError:
                pass  # closed, and with it all that it held

    def close(self) -> None:
        """End all that is held."""
        held, self._held = self._held, {}
        for ident in held.values():
            try:
                self.host.node.unsubscribe(ident)
            except FabricError:
                break  # the node is closed, and with it all that it held

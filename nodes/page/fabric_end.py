"""What one hosted page does at the fabric: it publishes, and it holds subscriptions."""

from __future__ import annotations

from collections.abc import Callable

from fabric.errors import FabricError, StateError, TransportError
from nodes.page.host import PageHost
from nodes.page.interface import FabricAcked, FabricSpoke, Hold, Input, Send
from nodes.rules.topics import BY, BY_PAGE

_BY_PAGE = {BY: BY_PAGE}


class FabricEnd:
    """The end at `host` of the page of `session`. `handle` takes what the fabric says, in the node's I/O thread."""

    def __init__(self, host: PageHost, session: str, handle: Callable[[Input], None]) -> None:
        self.host = host
        self._session, self._handle = session, handle
        """None of the three changes."""
        self._held: dict[int, int] = {}
        """The node's subscription for each of the page's that is held; under the page's lock."""

    def send(self, effect: Send | Hold) -> bool:
        """Publish, or subscribe; return False when the fabric takes nothing at present.

        errors: TransportError, instead of False, for what is to be sent now or never
        """
        try:
            if isinstance(effect, Hold):
                self._hold(effect)
            else:
                self._publish(effect)
        except TransportError:
            if isinstance(effect, Send) and effect.at_once:
                raise
            return False
        except StateError:
            self.host.counts["dropped"] += 1  # the node is closed; the page works on, alone
        return True

    def _publish(self, send: Send) -> None:
        topic = self.host.topic(self._session, send.topic)
        self.host.node.publish(topic, send.payload, None if topic is send.topic else _BY_PAGE, timeout_s=0)

    def _hold(self, hold: Hold) -> None:
        ident = hold.subscription
        self._held[ident] = self.host.node.subscribe(
            hold.topic_filter,
            lambda message: self._handle(FabricSpoke(ident, message)),
            lambda ack: self._handle(FabricAcked(ident, ack)),
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

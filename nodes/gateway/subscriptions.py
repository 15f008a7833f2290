"""What one page's browser has subscribed to, by the browser's own ids.

A filter of the fabric is held at the gateway's node, so that a message goes from the node straight to the window. A
filter of the session's space is held at the page, for its ack only: what happens in the session is told anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from fabric.errors import FabricError, NotAllowed, expected
from fabric.node.coverage import Ack
from fabric.wire import Message


class Broker(Protocol):
    """Where a filter can be held: a node, a page."""

    def subscribe(
        self, topic: str, msg_fun: Callable[[Message], Any], ack_fun: Callable[[Ack], Any], /, *, retained: bool = False
    ) -> int: ...
    def unsubscribe(self, subscription: int, /) -> None: ...


@dataclass
class _Held:
    """A subscription of the browser's.

    broker:        where it is held
    subscription:  its id there; 0 only within `subscribe`
    ack:           what the mesh said of it, once; set in the thread of the broker
    """

    topic_filter: str
    broker: Broker
    subscription: int = 0
    ack: Ack | None = None


class Subscriptions:
    """Used in the event loop; the callbacks come in the node's I/O thread, or within a call.

    node, page:  the brokers
    most:        subscriptions at once
    most_bytes:  of the filters of all of them
    on_message:  called with a message of the fabric and the id it came for
    on_ack:      called with an id and its ack: once, and again when the browser asks again
    """

    def __init__(
        self,
        node: Broker,
        page: Broker,
        most: int,
        most_bytes: int,
        on_message: Callable[[Message, int], None],
        on_ack: Callable[[int, Ack], None],
    ) -> None:
        self._node, self._page = node, page
        self._most, self._most_bytes = most, most_bytes
        self._on_message, self._on_ack = on_message, on_ack
        self._held: dict[int, _Held] = {}
        """By id, from `subscribe` until it fails or is ended. Changed in the event loop only; callbacks look here
        whether they are still of concern."""

    @property
    def _bytes(self) -> int:
        """Of all filters that are held."""
        return sum(len(each.topic_filter.encode()) for each in self._held.values())

    def subscribe(self, ident: int, topic_filter: str, kind: str, *, retained: bool = False) -> None:
        """Subscribe; or, for one that is held already, tell its ack again.

        kind:    the filter's scope, `pagesession` or `""`
        retained: tell first what is retained in the fabric
        errors:  FabricError, and then nothing has changed
        """
        held = self._held.get(ident)
        if held is not None:
            if held.topic_filter != topic_filter:
                raise NotAllowed(expected("id", ident, "one that no other subscription of this page has"))
            if held.ack is not None:  # else it comes
                self._on_ack(ident, held.ack)
            return
        if len(self._held) >= self._most:
            raise NotAllowed(f"too many subscriptions: expected at most {self._most} of a page; unsubscribe one first")
        if self._bytes + len(topic_filter.encode()) > self._most_bytes:
            raise NotAllowed(f"filters too long: expected at most {self._most_bytes} bytes in all of a page's filters")
        held = self._held[ident] = _Held(topic_filter, self._page if kind == "pagesession" else self._node)
        try:
            held.subscription = held.broker.subscribe(
                topic_filter, *self._callbacks(ident, held, kind), retained=retained
            )
        except FabricError:
            del self._held[ident]
            raise

    def unsubscribe(self, ident: int) -> None:
        """End a subscription; nothing when there is none of this id."""
        held = self._held.pop(ident, None)
        if held is not None:
            _release(held)

    def clear(self) -> None:
        """End all."""
        all_held, self._held = self._held, {}
        for held in all_held.values():
            _release(held)

    def _callbacks(self, ident: int, held: _Held, kind: str) -> tuple[Callable[[Message], None], Callable[[Ack], None]]:
        def heard(message: Message) -> None:
            # One that is under way while its subscription ends must not reach the next with the same id.
            if kind == "" and self._held.get(ident) is held:
                self._on_message(message, ident)

        def acked(ack: Ack) -> None:
            if self._held.get(ident) is held:
                held.ack = ack
                self._on_ack(ident, ack)

        return heard, acked


def _release(held: _Held) -> None:
    try:
        held.broker.unsubscribe(held.subscription)
    except FabricError:
        pass  # the node is closed, and with it all that it held

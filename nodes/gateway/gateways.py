"""The other gateways that share this one's secret: what is told them, and what they say.

gateways = Gateways(hub)
gateways.on("window", lambda agent: …)        # called in the event loop with what another one says under this word
gateways.tell("window", "ada")
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any

from fabric.errors import TransportError
from fabric.wire import Message
from nodes.gateway.hub import Hub
from nodes.gateway.news import Opener, sealed
from nodes.rules.topics import GATEWAYS

log = logging.getLogger("nodes.gateway")


class Gateways:
    """Made in the event loop, and used there."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opener = Opener(hub.settings.secret, hub.node.home)
        self._handlers: dict[str, Callable[[Any], object]] = {}
        """By the word under which something is said. Complete before the first browser comes."""
        hub.node.subscribe(GATEWAYS, self._on_message)

    def on(self, word: str, handler: Callable[[Any], object]) -> None:
        self._handlers[word] = handler

    def tell(self, word: str, what: Any) -> None:
        """Tell the others. Does not wait; what cannot leave now is logged, and lost."""
        said = sealed(self._hub.settings.secret, {word: what}, self._hub.node.home, time.time(), secrets.token_hex(8))
        try:
            self._hub.node.publish(GATEWAYS, said, timeout_s=0)
        except TransportError as error:
            log.warning("other gateways have not heard of %s: %s", word, error)

    def _on_message(self, message: Message) -> None:
        """In the node's I/O thread."""
        if not self._opener.is_own(message.payload):
            self._hub.call(self._heard, message.payload)

    def _heard(self, payload: object) -> None:
        said = self._opener.opened(payload, time.time())
        if said is None:
            self._hub.counts["unsealed_news"] += 1
            return
        for word, what in said.items():
            handler = self._handlers.get(word)
            if handler is not None:
                handler(what)

"""One client for each peer, with the same interface, so that every peer does the same work.

Topics and filters are written as in MQTT; a client translates them. Each uses its library as its users would for speed;
what was set, and why, stands at the top of each.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

PEERS = ("raw", "fabric", "nats", "mosquitto", "redis", "zenoh")
"""`raw` is ZeroMQ with nothing above it: the bound for the fabric."""
_CLASSES = {
    "raw": "benchmarks.peers.clients.raw:Raw",
    "fabric": "benchmarks.peers.clients.fabric_node:Fabric",
    "nats": "benchmarks.peers.clients.nats_client:Nats",
    "mosquitto": "benchmarks.peers.clients.mosquitto:Mosquitto",
    "redis": "benchmarks.peers.clients.redis_client:Redis",
    "zenoh": "benchmarks.peers.clients.zenoh_client:Zenoh",
}
TIMEOUT_S = 30.0


class Client(ABC):
    """One connection. Connected when it is made; not for several threads.

    ack: what `wait_ready` rests on; empty when the peer has nothing that tells that a subscription is in force
    """

    ack = ""

    @abstractmethod
    def __init__(self, address: str, publishes: bool = False) -> None:
        """Connect. publishes: this one only publishes, for clients that can do that better alone."""

    @abstractmethod
    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        """Ask for a subscription; `callback(payload)` for each message, in the client's own thread."""

    def subscribe_all(self, topic_filters: Sequence[str], callback: Callable[[bytes], None]) -> None:
        """Many at once, the best way the client has."""
        for each in topic_filters:
            self.subscribe(each, callback)

    @abstractmethod
    def wait_ready(self) -> None:
        """Return when all subscriptions asked for are in force at the server, if the peer can tell."""

    @abstractmethod
    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message, also from a callback."""

    def prepare(self, topics: Sequence[str]) -> None:  # noqa: B027  # most have nothing to prepare
        """Before `publish_all`, not timed: whatever the client advises to do once for each topic."""

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        """Send `count` messages, the topics in turn, the fastest way the client has; then `flush`."""
        publish, many = self.publish, len(topics)
        for number in range(count):
            publish(topics[number % many], payload)
        self.flush()

    @abstractmethod
    def flush(self) -> None:
        """Return when what was published has left this process, or, if the peer can tell, has reached the server."""

    @abstractmethod
    def close(self) -> None: ...


def client_class(peer: str) -> type[Client]:
    """Return the class of a peer. errors: ImportError when its library lacks"""
    module, _, name = _CLASSES[peer].partition(":")
    found: type[Client] = getattr(importlib.import_module(module), name)
    return found

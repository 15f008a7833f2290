"""One client for each peer, with the same interface, so that every peer does the same work.

Topics and filters are written as in MQTT; a client translates them. Each uses its library as its users would for speed;
what was set, and why, stands at the top of each.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from typing import TypeVar

T = TypeVar("T")

PEERS = ("raw", "fabric", "nats", "mosquitto", "redis", "zenoh")
"""`raw` is ZeroMQ with nothing above it: the bound for the fabric."""
RIVALS = tuple(peer for peer in PEERS if peer not in ("raw", "fabric"))
CLOSED = {"fabric_keys": "fabric", "nats_tls": "nats", "mosquitto_tls": "mosquitto"}
"""Rows of servers that let nobody in without a key or a certificate, see `closed`."""
KEEPING = {"unrepaired": "fabric", "zenoh_advanced": "zenoh", "jetstream": "nats", "jetstream_file": "nats"}
"""Rows with and without what gives back what was missed, see `repair`."""
KEEPING_RIVALS = tuple(row for row, peer in KEEPING.items() if peer != "fabric")
VARIANTS = {"libzmq": "raw", "async": "fabric", "three": "fabric", "keeper": "fabric", **CLOSED, **KEEPING}
"""Rows that a few works have besides, each with the peer that it goes with."""
ROWS = ("libzmq", "raw", "fabric", "fabric_keys", "unrepaired", "keeper", "async", "three", "nats", "nats_tls",
        "jetstream", "jetstream_file", "mosquitto", "mosquitto_tls", "redis", "zenoh", "zenoh_advanced")  # fmt: skip
"""The order of rows in tables and of bars in plots."""
_CLASSES = {
    "raw": "benchmarks.peers.clients.raw:Raw",
    "libzmq": "benchmarks.peers.clients.raw:Libzmq",
    "fabric": "benchmarks.peers.clients.fabric_node:Fabric",
    "async": "benchmarks.peers.clients.fabric_async:FabricAsync",
    "three": "benchmarks.peers.clients.fabric_node:Fabric",
    "fabric_keys": "benchmarks.peers.clients.fabric_node:FabricKeys",
    "keeper": "benchmarks.peers.clients.fabric_node:Kept",
    "unrepaired": "benchmarks.peers.clients.fabric_node:Unrepaired",
    "jetstream": "benchmarks.peers.clients.jetstream:JetStream",
    "jetstream_file": "benchmarks.peers.clients.jetstream:JetStreamFile",
    "zenoh_advanced": "benchmarks.peers.clients.zenoh_client:ZenohAdvanced",
    "nats_tls": "benchmarks.peers.clients.nats_client:NatsTls",
    "mosquitto_tls": "benchmarks.peers.clients.mosquitto:MosquittoTls",
    "nats": "benchmarks.peers.clients.nats_client:Nats",
    "mosquitto": "benchmarks.peers.clients.mosquitto:Mosquitto",
    "redis": "benchmarks.peers.clients.redis_client:Redis",
    "zenoh": "benchmarks.peers.clients.zenoh_client:Zenoh",
}
TIMEOUT_S = 30.0
KEPT = "keep/+/value"
"""The filter of what `keeping` publishes."""


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
        publish = self.publish
        for topic in in_turn(topics, count):
            publish(topic, payload)
        self.flush()

    @abstractmethod
    def flush(self) -> None:
        """Return when what was published has left this process, or, if the peer can tell, has reached the server."""

    def wait_kept(self) -> None:
        """Return when everything that was published can be read from a store."""
        raise NotImplementedError

    def read_back(self, topic_filter: str) -> int:
        """Read everything that a store has; return how many messages that was."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None: ...


def with_variants(peers: Sequence[str], variants: Sequence[str]) -> list[str]:
    """Return the rows of a work: `peers`, and those of `variants` whose peer takes part."""
    return [row for row in ROWS if row in peers or (row in variants and VARIANTS[row] in peers)]


def peer_of(row: str) -> str:
    """Return the peer that a row goes with."""
    return VARIANTS.get(row, row)


def in_turn(things: Sequence[T], count: int) -> Iterator[T]:
    """Yield `count` of them, from the first again after the last."""
    return islice(cycle(things), count)


def client_class(peer: str) -> type[Client]:
    """Return the class of a peer. errors: ImportError when its library lacks"""
    module, _, name = _CLASSES[peer].partition(":")
    found: type[Client] = getattr(importlib.import_module(module), name)
    return found

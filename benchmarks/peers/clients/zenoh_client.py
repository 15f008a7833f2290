"""Zenoh by eclipse-zenoh, in client mode through a router.

`BLOCK`: a put waits instead of dropping when a queue is full. Topics are declared before many puts, as zenoh advises.

Shared memory, which zenoh takes by default where both ends are on one machine, is off, for all peers speak TCP here:
with it, 64 KiB went about six times as fast, and a router took no more than 350 clients.

`ZenohAdvanced` takes the publishers and subscribers of `zenoh.ext`: a publisher keeps its last samples, and says every
100 ms, if there are new ones, which was the last; a subscriber asks for what it misses.

A declaration has no ack: `wait_ready` returns at once, and who needs to know must see a message arrive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import zenoh
from zenoh import ext

from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn

RETRY_MS = 100
"""Between two tries to connect, as those of ZeroMQ; by default a client waits for a second, then longer."""
CACHED_SAMPLES = 20_000
"""Of each topic; as many as the longest cut of this benchmark takes."""
HEARTBEAT_S = 0.1


def config(mode: str, **settings: Any) -> zenoh.Config:
    """A configuration that finds nobody by itself, and speaks TCP only."""
    found = zenoh.Config()
    found.insert_json5("transport/shared_memory/enabled", "false")
    found.insert_json5("mode", json.dumps(mode))
    found.insert_json5("scouting/multicast/enabled", "false")
    for key, value in settings.items():
        found.insert_json5(key.replace("__", "/"), json.dumps(value))
    return found


def key(topic: str) -> str:
    """The zenoh form of a topic or filter."""
    return "/".join({"+": "*", "#": "**"}.get(level, level) for level in topic.split("/"))


class Zenoh(Client):
    ack = ""

    def __init__(self, address: str, publishes: bool = False) -> None:
        patience_ms = int(TIMEOUT_S * 1000)  # by default a client tries once, and in a storm that fails
        self._session: Any = zenoh.open(
            config(
                "client",
                connect__endpoints=[f"tcp/{address}"],
                connect__timeout_ms=patience_ms,
                connect__retry={"period_init_ms": RETRY_MS, "period_max_ms": RETRY_MS, "period_increase_factor": 1},
            )
        )
        self._subscribers: list[Any] = []
        self._puts: dict[str, Callable[[bytes], None]] = {}

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self._subscribers.append(
            self._session.declare_subscriber(key(topic_filter), lambda sample: callback(sample.payload.to_bytes()))
        )

    def wait_ready(self) -> None:
        """There is nothing to wait for."""

    def publish(self, topic: str, payload: bytes) -> None:
        self._session.put(topic, payload, congestion_control=zenoh.CongestionControl.BLOCK)

    def prepare(self, topics: Sequence[str]) -> None:
        block = zenoh.CongestionControl.BLOCK
        for each in topics:
            self._puts[each] = self._session.declare_publisher(each, congestion_control=block).put

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        for put in in_turn([self._puts[topic] for topic in topics], count):
            put(payload)

    def flush(self) -> None:
        """A put that has returned is on its way."""

    def close(self) -> None:
        self._session.close()


class ZenohAdvanced(Zenoh):
    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self._subscribers.append(
            ext.declare_advanced_subscriber(
                self._session,
                key(topic_filter),
                lambda sample: callback(sample.payload.to_bytes()),
                recovery=ext.RecoveryConfig(periodic_queries=None, heartbeat=True),
            )
        )

    def publish(self, topic: str, payload: bytes) -> None:
        self.prepare([topic])
        self._puts[topic](payload)

    def prepare(self, topics: Sequence[str]) -> None:
        for each in topics:
            if each not in self._puts:
                self._puts[each] = ext.declare_advanced_publisher(
                    self._session,
                    each,
                    congestion_control=zenoh.CongestionControl.BLOCK,
                    cache=ext.CacheConfig(max_samples=CACHED_SAMPLES),
                    sample_miss_detection=ext.MissDetectionConfig(heartbeat=None, sporadic_heartbeat=HEARTBEAT_S),
                ).put

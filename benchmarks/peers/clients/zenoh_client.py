"""Zenoh by eclipse-zenoh, in client mode through a router.

`BLOCK`: a put waits instead of dropping when a queue is full. Topics are declared before many puts, as zenoh advises.

Shared memory, which zenoh takes by default where both ends are on one machine, is off, for all peers speak TCP here:
with it, 64 KiB went about six times as fast, and a router took no more than 350 clients.

A declaration has no ack: `wait_ready` returns at once, and who needs to know must see a message arrive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import zenoh

from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn


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
            config("client", connect__endpoints=[f"tcp/{address}"], connect__timeout_ms=patience_ms)
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

"""NATS by nats-py, which is asyncio: one event loop of uvloop a process, in one thread, for all its connections.

Limits of what waits in the client are off, so that nothing is dropped here; in the server they are raised. Subjects are
not checked at each publish. Publishing is done inside the loop, without a thread between, as a program written for
nats-py would; a callback publishes from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import nats

from benchmarks.peers import closed
from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn
from benchmarks.peers.clients.loops import loop, run

YIELD_MSGS = 1_000
"""nats-py writes when its loop has a turn: without one, all would wait in memory until the end."""


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return run(loop(fast=True), work)


def subject(topic: str) -> str:
    """The NATS form of a topic or filter."""
    levels = topic.split("/")
    return ".".join({"+": "*", "#": ">"}.get(level, level) for level in levels)


class Nats(Client):
    ack = "PING and PONG behind the subscription, with one server"

    def __init__(self, address: str, publishes: bool = False) -> None:
        self._outgoing: list[tuple[str, bytes]] = []
        self._connection = _run(
            nats.connect(
                address,
                connect_timeout=30,
                flush_timeout=30,
                pending_size=64 * 1024 * 1024,
                skip_subject_validation=True,
                **{"max_reconnect_attempts": 0, **self._shows()},
            )
        )

    def _shows(self) -> dict[str, Any]:
        return {}

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self.subscribe_all([topic_filter], callback)

    def subscribe_all(self, topic_filters: Sequence[str], callback: Callable[[bytes], None]) -> None:
        outgoing, connection = self._outgoing, self._connection

        async def take(message: Any) -> None:
            callback(message.data)
            while outgoing:
                await connection.publish(*outgoing.pop())

        async def all_of_them() -> None:
            for each in topic_filters:
                await connection.subscribe(subject(each), cb=take, pending_msgs_limit=0, pending_bytes_limit=0)

        _run(all_of_them())

    def wait_ready(self) -> None:
        self.flush()

    def publish(self, topic: str, payload: bytes) -> None:
        if asyncio._get_running_loop() is not None:
            self._outgoing.append((subject(topic), payload))  # `take` sends it, the callback having returned
        else:
            _run(self._connection.publish(subject(topic), payload))
            self.flush()

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        subjects = [subject(topic) for topic in topics]

        async def all_of_them() -> None:
            publish = self._connection.publish
            for number, each in enumerate(in_turn(subjects, count)):
                await publish(each, payload)
                if number % YIELD_MSGS == 0:
                    await asyncio.sleep(0)
            await self._connection.flush(int(TIMEOUT_S))

        _run(all_of_them())

    def flush(self) -> None:
        _run(self._connection.flush(int(TIMEOUT_S)))

    def close(self) -> None:
        _run(self._connection.close())


class NatsTls(Nats):
    """With TLS, and a key in place of a password."""

    def _shows(self) -> dict[str, Any]:
        return {"tls": closed.tls(), "nkeys_seed": str(closed.path() / "user.seed")}

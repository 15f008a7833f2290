"""The fabric by `AsyncNode`, in the loop that Python brings: one `async for` a subscription, `publish_many` for many.

Queues of subscriptions are long enough that nothing is dropped here, as with the other clients.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from itertools import repeat

from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn
from benchmarks.peers.clients.fabric_node import Fabric, many_at_once
from benchmarks.peers.clients.loops import loop, run
from fabric import AsyncNode
from fabric.node.aio import AsyncSubscription

MAX_QUEUED_MSGS = 10_000_000


class FabricAsync(Client):
    ack = Fabric.ack

    def __init__(self, address: str, publishes: bool = False) -> None:
        self._loop = loop(fast=False)
        self._node = AsyncNode(
            address,
            max_queued_msgs=MAX_QUEUED_MSGS,
            connect_timeout_s=60.0,
            ack_timeout_s=60.0,
            send_timeout_s=60.0,
        )
        run(self._loop, self._node.open())
        self._waiting: list[AsyncSubscription] = []
        self._outgoing: list[tuple[str, bytes]] = []
        self._reading: set[asyncio.Task[None]] = set()

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        async def begin() -> None:
            subscription = await self._node.subscribe(topic_filter)
            self._waiting.append(subscription)
            self._reading.add(asyncio.create_task(self._read(subscription, callback)))

        run(self._loop, begin())

    async def _read(self, subscription: AsyncSubscription, callback: Callable[[bytes], None]) -> None:
        outgoing, publish = self._outgoing, self._node.publish
        async for message in subscription:
            callback(message.payload)
            while outgoing:
                await publish(*outgoing.pop())

    def wait_ready(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            ack = run(self._loop, each.ack(60.0))
            if not ack.ok or ack.missing:
                raise RuntimeError(f"not acknowledged: {ack}")

    def publish(self, topic: str, payload: bytes) -> None:
        if asyncio._get_running_loop() is not None:
            self._outgoing.append((topic, payload))  # `_read` sends it, the callback having returned
        else:
            run(self._loop, self._node.publish(topic, payload))

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        async def all_of_them() -> None:
            for chunk in many_at_once(zip(in_turn(topics, count), repeat(payload), strict=False)):
                await self._node.publish_many(chunk)

        run(self._loop, all_of_them())
        self.flush()

    def flush(self) -> None:
        end = time.monotonic() + TIMEOUT_S
        while self._node.stats()["unconfirmed"] and time.monotonic() < end:
            time.sleep(0.001)

    def close(self) -> None:
        run(self._loop, self._node.close(TIMEOUT_S))

"""JetStream of NATS by nats-py: everything is kept in a stream, in memory or in files, and every publish is answered.

Publishing is asynchronous, with at most PENDING_MSGS unanswered. A subscription is an ordered consumer, which asks
again from where it was when something is missing; it is told of silence every 100 ms, and reconnects after 100 ms, as
the others of this benchmark do (its defaults are 5 s and 2 s). A stream keeps messages for a minute, within 1 GiB.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from nats.js import api
from nats.js.errors import BadRequestError

from benchmarks.peers.clients import in_turn
from benchmarks.peers.clients.nats_client import Nats, _run, subject

STREAM = "bench"
SUBJECTS = ["bench.>", "prime.>", "repair.>", "keep.>"]
PENDING_MSGS = 4_000
KEPT_S, KEPT_BYTES = 60.0, 1024**3
HEARTBEAT_S = 0.1


class JetStream(Nats):
    storage = api.StorageType.MEMORY

    def __init__(self, address: str, publishes: bool = False) -> None:
        super().__init__(address, publishes)
        self._stream = self._connection.jetstream(publish_async_max_pending=PENDING_MSGS)
        _run(self._make_stream())

    def _shows(self) -> dict[str, Any]:
        return {"max_reconnect_attempts": -1, "reconnect_time_wait": 0.1, "error_cb": _ignore}

    async def _make_stream(self) -> None:
        """Make the stream, which another client may have done."""
        try:
            await self._stream.add_stream(
                name=STREAM, subjects=SUBJECTS, storage=self.storage, max_age=KEPT_S, max_bytes=KEPT_BYTES
            )
        except BadRequestError:
            await self._stream.stream_info(STREAM)

    def subscribe_all(self, topic_filters: Sequence[str], callback: Callable[[bytes], None]) -> None:
        async def take(message: Any) -> None:
            callback(message.data)

        async def all_of_them() -> None:
            for each in topic_filters:
                await self._stream.subscribe(
                    subject(each),
                    cb=take,
                    stream=STREAM,
                    ordered_consumer=True,
                    idle_heartbeat=HEARTBEAT_S,
                    deliver_policy=api.DeliverPolicy.NEW,
                    pending_msgs_limit=0,
                    pending_bytes_limit=0,
                )

        _run(all_of_them())

    def publish(self, topic: str, payload: bytes) -> None:
        _run(self._stream.publish(subject(topic), payload))

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        subjects = [subject(topic) for topic in topics]

        async def all_of_them() -> None:
            publish = self._stream.publish_async
            for each in in_turn(subjects, count):
                await publish(each, payload, wait_stall=60.0)
            await asyncio.wait_for(self._stream.publish_async_completed(), 60.0)

        _run(all_of_them())

    def wait_kept(self) -> None:
        """Every publish was answered, which is when it was written."""

    def read_back(self, topic_filter: str) -> int:
        async def all_of_it() -> int:
            there = (await self._stream.stream_info(STREAM)).state.messages
            done = asyncio.Event()
            got = 0

            async def take(message: Any) -> None:
                nonlocal got
                got += 1
                if got == there:
                    done.set()

            await self._stream.subscribe(
                subject(topic_filter),
                cb=take,
                stream=STREAM,
                ordered_consumer=True,
                deliver_policy=api.DeliverPolicy.ALL,
                pending_msgs_limit=0,
                pending_bytes_limit=0,
            )
            await asyncio.wait_for(done.wait(), 120.0)
            return got

        found: int = _run(all_of_it())
        return found


class JetStreamFile(JetStream):
    storage = api.StorageType.FILE


async def _ignore(error: Exception) -> None:
    """That the way is cut is meant, and would be printed for each try."""

"""The fabric: a `Node` as it comes. An ack proves the subscription at every proxy of the mesh.

Many messages are published by `publish_many`, 500 in a call, as those of Redis in pipelines of 500.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any

from benchmarks.peers import closed
from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn
from fabric import Node

AT_ONCE_MSGS = 500
KEPT_S = 120.0


class Fabric(Client):
    ack = "a marker through every proxy of the mesh and back"

    def __init__(self, address: str, publishes: bool = False) -> None:
        self._node = Node(address, connect_timeout_s=60.0, ack_timeout_s=60.0, send_timeout_s=60.0, **self._shows())
        self._waiting: list[int] = []
        # In the place of the method below, to save a call; ours takes more arguments, which nobody here gives.
        self.publish = self._node.publish  # type: ignore[method-assign, assignment]

    def _shows(self) -> dict[str, Any]:
        return {}

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self._waiting.append(self._node.subscribe(topic_filter, lambda message: callback(message.payload)))

    def wait_ready(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            ack = self._node.wait_ack(each, 60.0)
            if not ack.ok or ack.missing:
                raise RuntimeError(f"not acknowledged: {ack}")

    def publish(self, topic: str, payload: bytes) -> None:
        raise NotImplementedError("replaced by the node's own in __init__, to save a call")

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        for chunk in many_at_once(zip(in_turn(topics, count), repeat(payload), strict=False)):
            self._node.publish_many(chunk)
        self.flush()

    def flush(self) -> None:
        end = time.monotonic() + TIMEOUT_S
        while self._node.stats()["unconfirmed"] and time.monotonic() < end:
            time.sleep(0.001)

    def close(self) -> None:
        self._node.close(TIMEOUT_S)


class Unrepaired(Fabric):
    """Nothing of what was sent is kept to be asked for, and what was missed is told and not asked for."""

    def _shows(self) -> dict[str, Any]:
        return {"repair_timeout_s": 0, "repair_bytes": 0}


class Kept(Fabric):
    """With a keeper beside it, which is asked."""

    def wait_kept(self) -> None:
        """What is published last is written last."""
        last = "keep/last"
        number = self._node.publish(last, None)
        end = time.monotonic() + KEPT_S
        while number not in [message.number for message in self._history(last, since=1)]:
            if time.monotonic() > end:
                raise RuntimeError(f"not kept within {KEPT_S:g} s")

    def read_back(self, topic_filter: str) -> int:
        return sum(1 for _ in self._history(topic_filter))

    def _history(self, topic_filter: str, **more: Any) -> Any:
        node: Any = self._node
        return node.history(topic_filter, **more)


class FabricKeys(Fabric):
    """With keys, and rights that are judged for each message."""

    def _shows(self) -> dict[str, Any]:
        return {"keys": closed.keys(), "identity": closed.CLIENT}


def many_at_once(messages: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """Yield them in lists as long as one call is given."""
    waiting = iter(messages)
    while chunk := list(islice(waiting, AT_ONCE_MSGS)):
        yield chunk

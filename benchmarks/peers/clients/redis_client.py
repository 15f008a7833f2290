"""Redis by redis-py with hiredis, its parser in C. Messages are published in pipelines of 500, not one by one.

A filter with wildcards becomes a glob pattern, in which `*` crosses levels: Redis knows none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import redis

from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn

PIPELINE_MSGS = 500
FILTERS_A_COMMAND = 1_000


def pattern(topic_filter: str) -> str:
    """The glob pattern of a filter."""
    return topic_filter.replace("#", "*").replace("+", "*")


class Redis(Client):
    ack = "the reply to SUBSCRIBE of one server"

    def __init__(self, address: str, publishes: bool = False) -> None:
        host, _, port = address.rpartition(":")
        self._redis: Any = redis.Redis(host=host, port=int(port), protocol=2, socket_timeout=None)
        self._redis.ping()
        self._pubsub: Any = None
        self._callbacks: dict[bytes, Callable[[bytes], None]] = {}
        self._asked = self._acked = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self.subscribe_all([topic_filter], callback)

    def subscribe_all(self, topic_filters: Sequence[str], callback: Callable[[bytes], None]) -> None:
        if self._pubsub is None:
            self._pubsub = self._redis.pubsub()
        exact = [each for each in topic_filters if pattern(each) == each]
        globs = [pattern(each) for each in topic_filters if pattern(each) != each]
        self._callbacks.update({each.encode(): callback for each in (*exact, *globs)})
        with self._changed:
            self._asked += len(exact) + len(globs)
        for ask, names in ((self._pubsub.subscribe, exact), (self._pubsub.psubscribe, globs)):
            for at in range(0, len(names), FILTERS_A_COMMAND):
                ask(*names[at : at + FILTERS_A_COMMAND])
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, daemon=True)
            self._thread.start()

    def _read(self) -> None:
        callbacks, parse = self._callbacks, self._pubsub.parse_response
        while not self._closing:
            kind, name, *rest = parse(block=True)
            if kind in (b"message", b"pmessage"):
                callbacks[name](rest[-1])
            elif kind in (b"subscribe", b"psubscribe"):
                with self._changed:
                    self._acked += 1
                    self._changed.notify_all()

    def wait_ready(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._acked >= self._asked, 60.0):
                raise TimeoutError(f"{self._acked} of {self._asked} subscriptions were confirmed within 60 s")

    def publish(self, topic: str, payload: bytes) -> None:
        self._redis.publish(topic, payload)

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        waiting = in_turn(topics, count)
        while chunk := list(islice(waiting, PIPELINE_MSGS)):
            pipeline = self._redis.pipeline(transaction=False)
            for topic in chunk:
                pipeline.publish(topic, payload)
            pipeline.execute()

    def flush(self) -> None:
        """Every `publish` has been answered by the server."""

    def close(self) -> None:
        self._closing = True
        if self._thread is not None:
            self._pubsub.unsubscribe("nothing")  # the answer wakes the thread
            self._thread.join(TIMEOUT_S)
        if self._pubsub is not None:
            self._pubsub.close()
        self._redis.close()

"""Mosquitto by paho, QoS 0, as all peers here deliver at most once. The network loop has paho's own thread.

A client that only publishes does so without that thread: paho then writes to the socket at once, which is twice as fast
as waking the thread for each message.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks.peers import closed
from benchmarks.peers.clients import TIMEOUT_S, Client

FILTERS_A_PACKET = 1_000


class Mosquitto(Client):
    ack = "SUBACK of one server"

    def __init__(self, address: str, publishes: bool = False) -> None:
        host, _, port = address.rpartition(":")
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(0)
        self._threaded = not publishes
        self._unacked: set[int] = set()
        self._changed = threading.Condition()
        self._client.on_subscribe = self._on_subscribe
        connected = threading.Event()
        self._client.on_connect = lambda *_: connected.set()
        self._prepare()
        self._client.connect(host, int(port), keepalive=600)
        found: Any = self._client.socket()
        found.setsockopt(6, 1, 1)  # TCP_NODELAY
        if self._threaded:
            self._client.loop_start()
            ok = connected.wait(TIMEOUT_S)
        else:
            end = time.monotonic() + TIMEOUT_S
            while not connected.is_set() and time.monotonic() < end:
                self._client.loop(0.05)
            ok = connected.is_set()
        if not ok:
            raise ConnectionError(f"no CONNACK from {address} within {TIMEOUT_S:g} s")

    def _prepare(self) -> None:
        """Before it connects."""

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        self._client.message_callback_add(topic_filter, _payload_to(callback))
        self._ask([topic_filter])

    def subscribe_all(self, topic_filters: Sequence[str], callback: Callable[[bytes], None]) -> None:
        self._client.on_message = _payload_to(callback)
        for at in range(0, len(topic_filters), FILTERS_A_PACKET):
            self._ask(topic_filters[at : at + FILTERS_A_PACKET])

    def _ask(self, topic_filters: Sequence[str]) -> None:
        with self._changed:
            _, packet = self._client.subscribe([(each, 0) for each in topic_filters])
            assert packet is not None
            self._unacked ^= {packet}  # already there when its SUBACK came first

    def _on_subscribe(self, _client: Any, _data: Any, packet: int, *_: Any) -> None:
        with self._changed:
            self._unacked ^= {packet}
            self._changed.notify_all()

    def wait_ready(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._unacked, 60.0):
                raise TimeoutError(f"no SUBACK for {len(self._unacked)} packets within 60 s")

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload)

    def flush(self) -> None:
        end = time.monotonic() + TIMEOUT_S
        while self._client.want_write() and time.monotonic() < end:
            if self._threaded:
                time.sleep(0.001)
            else:
                writes: Any = self._client.socket()
                select.select([], [writes], [], 1.0)
                self._client.loop_write()

    def close(self) -> None:
        self._client.disconnect()
        if self._threaded:
            self._client.loop_stop()


def _payload_to(callback: Callable[[bytes], None]) -> Callable[[mqtt.Client, Any, Any], None]:
    return lambda _client, _data, message: callback(message.payload)


class MosquittoTls(Mosquitto):
    """With TLS; the client shows nothing."""

    def _prepare(self) -> None:
        self._client.tls_set_context(closed.tls())

"""Raw ZeroMQ through the fabric's proxy: a PUSH of ready parts, an XSUB read in a loop. The bound, not a contestant.

Parts are as long as the fabric's and carry its prefix, but nothing is numbered, decoded or matched. `Libzmq` goes
through libzmq's own proxy instead, from a PUB, as in ZeroMQ's guide: what ZeroMQ gives without the fabric.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import zmq

from benchmarks.peers.clients import TIMEOUT_S, Client, in_turn
from fabric.endpoints import Endpoints
from fabric.topics import subscription_prefixes
from fabric.wire import encode


class Raw(Client):
    def __init__(self, address: str, publishes: bool = False) -> None:
        self._context = zmq.Context()
        self._push, out = self._sender(address)
        self._socket = self._context.socket(zmq.XSUB)
        self._socket.sndhwm = self._socket.rcvhwm = 0
        self._socket.rcvtimeo = 100
        if not publishes:
            self._socket.connect(out)
        self._callbacks: list[tuple[tuple[bytes, ...], Callable[[bytes], None]]] = []
        self._closing = False
        self._thread: threading.Thread | None = None

    def _sender(self, address: str) -> tuple[zmq.Socket[bytes], str]:
        """Return what sends, connected, and the endpoint of what is received."""
        endpoints = Endpoints.parse(address)
        push = self._context.socket(zmq.PUSH)
        push.sndhwm = 0
        push.connect(endpoints.ingress)
        return push, endpoints.out

    def subscribe(self, topic_filter: str, callback: Callable[[bytes], None]) -> None:
        """Before `wait_ready` only, for afterwards the socket belongs to its thread. The first is the one for speed."""
        prefixes = subscription_prefixes(topic_filter)
        if prefixes == (b"",):  # the least that can be done with a leading wildcard: look for what stands behind it
            behind = topic_filter[1:].encode() + b"\0"
            self._callbacks.append((prefixes, lambda part: callback(part) if behind in part else None))
        else:
            self._callbacks.append((prefixes, callback))
        for prefix in prefixes:
            self._socket.send(b"\x01" + prefix)

    def wait_ready(self) -> None:
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        recv = self._socket.recv
        (_, callback), *others = self._callbacks
        prefixes = tuple(prefix for each, _ in others for prefix in each)
        while not self._closing:
            try:
                while True:
                    part = recv()
                    if not prefixes or not part.startswith(prefixes):
                        callback(part)
                    else:
                        for each, other in others:
                            if part.startswith(each):
                                other(part)
            except zmq.Again:
                continue

    def publish(self, topic: str, payload: bytes) -> None:
        self._push.send(encode(topic, 2**63, 10**4, 10**18, payload))

    def publish_all(self, topics: Sequence[str], payload: bytes, count: int) -> None:
        parts = [encode(topic, 2**63, 10**4, 10**18, payload) for topic in topics]
        send = self._push.send
        for part in in_turn(parts, count):
            send(part)

    def flush(self) -> None:
        """What was sent is ZeroMQ's; `close` waits until it has left."""

    def close(self) -> None:
        self._closing = True
        if self._thread is not None:
            self._thread.join(TIMEOUT_S)
        self._socket.close(0)
        self._push.close(int(TIMEOUT_S * 1000))
        self._context.term()


class Libzmq(Raw):
    def _sender(self, address: str) -> tuple[zmq.Socket[bytes], str]:
        host, _, port = address.rpartition(":")
        pub = self._context.socket(zmq.PUB)
        pub.sndhwm = 0
        pub.connect(f"tcp://{host}:{port}")
        return pub, f"tcp://{host}:{int(port) + 1}"

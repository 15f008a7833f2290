"""Attacks of a peer that reaches a proxy's ports, with sockets by hand and without keys.

Each sends well-formed parts that are lies: numbers, records of proxies, watermarks, prefixes. `Hostile` has one
connection to each port, and makes a new one when the proxy closes it.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from typing import Any

from fabric.protocol.markers import encode_marker
from fabric.protocol.views import Record
from fabric.wire import encode
from tests.faults.zmtp import PORTS, RawPeer, endpoint

FORGED = "forged"
"""Payload of what is published in another's name."""


class Hostile:
    """One peer of the proxy at `base`. A context manager."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._peers: dict[str, RawPeer] = {}
        """By port; those whose connection the proxy has closed are made again."""

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers.values():
            peer.socket.close()

    def send(self, port: str, *parts: bytes) -> None:
        """Send these, each a message; the proxy may close the connection at any of them."""
        with contextlib.suppress(OSError):
            peer = self._peers.get(port) or RawPeer(endpoint(self._base, port), PORTS[port])
            self._peers[port] = peer
            try:
                for part in parts:
                    peer.send(part)
            except OSError:
                self._peers.pop(port).socket.close()

    def publish(self, topic: str, publisher: int, number: int, payload: Any = FORGED, **headers: Any) -> None:
        """In another's name."""
        body = encode("x", publisher, number, time.time_ns(), payload, headers or None).partition(b"\0")[2]
        self.send("in", topic.encode() + b"\0" + body)

    def mark(self, port: str, *records: Record) -> None:
        """Say that these proxies live."""
        self.send(port, *(encode_marker("a", secrets.token_bytes(8), record) for record in records))


def phantoms(count: int, first_port: int = 20_000) -> list[Record]:
    """Proxies that do not exist, at addresses where nobody listens."""
    return [
        Record(f"ph{n}", secrets.token_hex(16), f"tcp://127.0.0.1:{first_port + 6 * (n % 1_500)}") for n in range(count)
    ]


def incarnations(record: Record) -> Iterator[Record]:
    """New runs, so it is said, of a proxy that runs on."""
    while True:
        yield Record(record.id, secrets.token_hex(16), record.base)

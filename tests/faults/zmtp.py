"""ZMTP by hand: a peer that sends what no ZeroMQ socket would send.

A real XSUB never passes on a cancel of what it does not hold, nor a frame that declares more than it has; this does:

    with RawPeer(endpoint, "XSUB") as peer:     # connected, greeted, READY exchanged
        peer.send(b"\\x00a/b\\0")                 # a cancel of a prefix that was never held
        peer.send_bytes(b"\\x02" + b"\\xff" * 8)  # a frame of 2**64-1 bytes

source: ZMTP 3.0, https://rfc.zeromq.org/spec/23/
"""

from __future__ import annotations

import socket
import struct

from fabric.endpoints import Endpoints

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
MORE, LONG, COMMAND = 1, 2, 4
PORTS = {"in": "PUSH", "out": "XSUB", "link": "XSUB", "guest": "XSUB"}
"""The ports of a proxy, and what connects there."""


def endpoint(base: str, port: str) -> str:
    """Return the endpoint of the port `in`, `out`, `link`, `guest` or `http` of the proxy at `base`."""
    endpoints = Endpoints.parse(base)
    return str(getattr(endpoints, "ingress" if port == "in" else port))


def connect(tcp_endpoint: str) -> socket.socket:
    """Return a plain TCP connection to `tcp://host:port`."""
    host, _, port = tcp_endpoint.removeprefix("tcp://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=5.0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return one frame with its head."""
    if len(body) < 256:
        return struct.pack(">BB", flags, len(body)) + body
    return struct.pack(">BQ", flags | LONG, len(body)) + body


def ready(socket_type: str) -> bytes:
    """Return the READY command of a socket of this type."""
    name, value = b"Socket-Type", socket_type.encode()
    pair = bytes([len(name)]) + name + struct.pack(">I", len(value)) + value
    return frame(b"\x05READY" + pair, COMMAND)


class RawPeer:
    """A connection that has shaken hands. A context manager; errors: OSError once the other end has closed it."""

    def __init__(self, tcp_endpoint: str, socket_type: str) -> None:
        self.socket = connect(tcp_endpoint)
        try:
            self._shake_hands(socket_type)
        except BaseException:
            self.socket.close()
            raise

    def _shake_hands(self, socket_type: str) -> None:
        self.socket.sendall(GREETING + ready(socket_type))
        greeting = self._take(64)
        assert greeting[:1] == b"\xff" and greeting[9:10] == b"\x7f", f"no ZMTP greeting: {greeting!r}"
        head = self._take(2)
        assert head[0] & COMMAND, f"no command: {head!r}"
        answer = self._take(head[1])
        assert answer.startswith(b"\x05READY"), f"not READY: {answer!r}"

    def __enter__(self) -> RawPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        """Send one message of one or several parts."""
        last = len(parts) - 1
        self.send_bytes(b"".join(frame(part, 0 if at == last else MORE) for at, part in enumerate(parts)))

    def send_bytes(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(raw)

    def wait_closed(self, timeout_s: float) -> bool:
        """Read on until the other end closes; False when it has not within `timeout_s`."""
        self.socket.settimeout(timeout_s)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def _take(self, count: int) -> bytes:
        taken = b""
        while len(taken) < count:
            more = self.socket.recv(count - len(taken))
            if not more:
                raise ConnectionError(f"closed after {len(taken)} of {count} bytes")
            taken += more
        return taken

"""A status page over HTTP: `/healthz`, `/readyz` and `/metrics` of one process.

    with StatusServer(Address.parse("http://127.0.0.1:9100"), pages):
        …

One thread accepts. Each connection has its thread and five seconds, at most eight connections at once: a peer that
sends nothing, sends garbage or does not read is cut off, and the process does not notice. One connection more cuts off
the one that has taken longest to ask, so that idle connections do not keep a probe out. Pages are made when they are
asked for. Who may ask is said by a `Guard`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import select
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric.errors import TransportError, expected
from nodes.operate.http_answer import END_OF_HEAD, MAX_HEAD_BYTES, Page, answer, refusal, refused, text

log = logging.getLogger("nodes.http")

MAX_CONNECTIONS = 8
CONNECTION_S = 5.0
"""For the whole of a connection: the request and the answer."""
PAUSE_S = 0.2
"""After an accept that failed, and how long a new connection waits for a place."""
_URL = re.compile(r"(?:(https?)://)?(\[[0-9A-Fa-f:.%a-z]+\]|[^\[\]:/\s]+):([0-9]{1,5})/?")


@dataclass(frozen=True)
class Address:
    """Where to listen; `parse` is the way to get one. Port 0: any that is free. is_tls: by https."""

    host: str
    port: int
    is_tls: bool = False

    @classmethod
    def parse(cls, url: str) -> Address:
        """Return the address in `http[s]://HOST:PORT`; `*` is every interface. Errors: ValueError."""
        found = _URL.fullmatch(url)
        if found is None or int(found[3]) > 65535:
            raise ValueError(expected("address", url, "http://HOST:PORT, such as http://127.0.0.1:9100, or off"))
        host = found[2].strip("[]")
        return cls("0.0.0.0" if host == "*" else host, int(found[3]), found[1] == "https")

    @property
    def is_local(self) -> bool:
        """True when only this machine can reach it."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.is_tls else ''}://{host}:{self.port}"


@dataclass(frozen=True)
class Guard:
    """Who may ask for pages. Without anything said, whoever can connect.

    token: that each request has to show; empty: none
    tls:   for https; its `verify_mode` says whether a client has to show a certificate. None: http
    """

    token: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None

    @property
    def keeps_others_out(self) -> bool:
        return bool(self.token) or (self.tls is not None and self.tls.verify_mode is ssl.CERT_REQUIRED)


OPEN = Guard()


class StatusServer:
    """Serves `pages` by their paths from when it is made until it is closed.

    on_refused: told why a request was refused, and from which address, in the thread of its connection
    errors:     TransportError when it cannot listen at `address`
    """

    def __init__(
        self,
        address: Address,
        pages: Mapping[str, Callable[[], Page]],
        guard: Guard = OPEN,
        on_refused: Callable[[str, str], object] = lambda why, where: None,
    ) -> None:
        self._pages, self._guard, self._on_refused = pages, guard, on_refused
        self._closing = False
        """Set by `close`, for good."""
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        """One for each connection: taken by the accepting thread, given back by the one that serves."""
        self._lock = threading.Lock()
        """Guards `_asking`, and the counts."""
        self._asking: dict[socket.socket, None] = {}
        """Connections that have not asked yet, the oldest first."""
        self._requests = 0
        """Requests answered with a page, or with why there is none."""
        self._refused: Counter[str] = Counter({"token_missing": 0, "token_wrong": 0, "tls": 0})
        """Requests refused, by why: `tls` is a handshake that failed, such as one without a certificate."""
        self._listener = _listen(address)
        self.address = Address(address.host, self._listener.getsockname()[1], address.is_tls)
        self._thread = threading.Thread(target=self._accept, name="http-status", daemon=True)
        self._thread.start()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def figures(self) -> dict[str, Any]:
        """Return what was asked and refused so far, from any thread."""
        with self._lock:
            return {"requests": self._requests, "refused": dict(self._refused)}

    def close(self) -> None:
        """Stop listening. A connection that is being answered may go on for its five seconds."""
        self._closing = True
        try:
            self._listener.shutdown(socket.SHUT_RDWR)  # on Linux this ends a blocking accept
        except OSError:
            with contextlib.suppress(OSError):
                socket.create_connection(self._listener.getsockname()[:2], 1.0).close()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        told = False
        while not self._closing:
            try:
                connection, peer = self._listener.accept()
            except OSError as error:  # closing, or out of descriptors
                if not self._closing:
                    if not told:
                        log.warning("cannot accept a connection: %s; will keep trying", error)
                    told = True
                    time.sleep(PAUSE_S)
                continue
            told = False
            if not self._slots.acquire(blocking=False):
                self._make_room()
                if not self._slots.acquire(timeout=PAUSE_S):
                    connection.close()
                    continue
            try:
                threading.Thread(
                    target=self._serve, args=(connection, peer[0]), name="http-status", daemon=True
                ).start()
            except RuntimeError:  # no thread to be had
                self._slots.release()
                connection.close()

    def _make_room(self) -> None:
        """End the connection that has taken longest to ask."""
        with self._lock:
            oldest = next(iter(self._asking), None)
            if oldest is not None:
                del self._asking[oldest]
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(oldest, socket.SHUT_RDWR)  # TLS is for the thread that serves it

    def _head(self, connection: socket.socket, end: float) -> bytes:
        with self._lock:
            self._asking[connection] = None
        try:
            if isinstance(connection, ssl.SSLSocket):
                _shake_hands(connection, end)
            return _read_head(connection, end)
        finally:
            with self._lock:
                self._asking.pop(connection, None)

    def _serve(self, connection: socket.socket, where: str) -> None:
        """Read the request and answer it, within CONNECTION_S. A connection that breaks is dropped."""
        end = time.monotonic() + CONNECTION_S
        try:
            with self._secured(connection) as secured:
                head = self._head(secured, end)
                if head:
                    secured.settimeout(max(0.1, end - time.monotonic()))
                    secured.sendall(self._answer(head, where))
                    secured.shutdown(socket.SHUT_WR)
        except ssl.SSLError:
            self._count("tls", where)
        except OSError:
            pass  # it has gone, or did not read
        finally:
            connection.close()
            self._slots.release()

    def _secured(self, connection: socket.socket) -> socket.socket:
        tls = self._guard.tls
        if tls is None:
            return connection
        return tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)

    def _count(self, why_refused: str, where: str) -> None:
        with self._lock:
            if why_refused:
                self._refused[why_refused] += 1
            else:
                self._requests += 1
        if why_refused:
            self._on_refused(why_refused, where)

    def _answer(self, head: bytes, where: str) -> bytes:
        why = refusal(head, self._guard.token)
        self._count(why, where)
        if why:
            return refused()
        try:
            return answer(head, self._pages)
        except Exception:
            log.exception("a status page could not be made")
            return answer(head, dict.fromkeys(self._pages, lambda: text(500, "this page could not be made")))


def _shake_hands(connection: ssl.SSLSocket, end: float) -> None:
    """Begin TLS. Errors: SSLError when it fails, TimeoutError when it is not done in time, however it drips in."""
    connection.setblocking(False)
    readable = select.poll()
    readable.register(connection, select.POLLIN)
    while True:
        try:
            return connection.do_handshake()
        except ssl.SSLWantReadError:
            left_s = end - time.monotonic()
            if left_s <= 0 or not readable.poll(left_s * 1000):
                raise TimeoutError("the handshake was not done in time") from None


def _read_head(connection: socket.socket, end: float) -> bytes:
    """Return what comes up to the end of the head, the limit or the end of the connection; empty after its time."""
    head = b""
    while END_OF_HEAD not in head and len(head) < MAX_HEAD_BYTES:
        left = end - time.monotonic()
        if left <= 0:
            return b""
        connection.settimeout(left)
        chunk = connection.recv(MAX_HEAD_BYTES)
        if not chunk:
            break
        head += chunk
    return head


def _listen(address: Address) -> socket.socket:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
            listener.listen(MAX_CONNECTIONS)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise TransportError(f"cannot listen at {address}: {error.strerror or error}") from error
    return listener

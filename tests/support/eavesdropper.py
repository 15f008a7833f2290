"""A peer that reaches a proxy's ports without keys: it reads all that is said, and says what it likes.

with Eavesdropper(proxy.base) as evil:
    evil.say("~pagesession/h/s/frame/state", {"version": 2**60})
    evil.heard("/frame/state")            # messages so far whose topic ends so
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from types import TracebackType
from typing import Any

import zmq

from fabric.endpoints import Endpoints
from fabric.errors import FabricError
from fabric.wire import Message, decode, encode
from tests.support.waiting import Box, until


class Eavesdropper:
    """Raw sockets at the proxy of `base`; hears from when it is made until it is closed."""

    def __init__(self, base: str) -> None:
        endpoints = Endpoints.parse(base)
        self._context = zmq.Context()
        self._sub, self._push = self._context.socket(zmq.SUB), self._context.socket(zmq.PUSH)
        for prefix in (b"$inbox/", b"$fabric/service/", b"~pagesession/", b"$site_connect/"):
            self._sub.setsockopt(zmq.SUBSCRIBE, prefix)
        self._sub.setsockopt(zmq.RCVTIMEO, 100)
        self._push.setsockopt(zmq.LINGER, 0)
        self._sub.connect(endpoints.guest)
        self._push.connect(endpoints.ingress)
        self.parts = Box()
        """All that came, as bytes."""
        self._publisher, self._numbers = secrets.randbits(60), itertools.count(1)
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Eavesdropper:
        def hears() -> bool:
            self.say("$site_connect/nothing", None)
            return any(part.startswith(b"$site_connect/nothing\0") for part in list(self.parts.items))

        until(hears, "it hears")
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._reader.join()
        self._context.destroy(linger=0)

    def _read(self) -> None:
        while not self._ended.is_set():
            try:
                self.parts(self._sub.recv())
            except zmq.Again:
                continue

    def say(self, topic: str, payload: Any, headers: dict[str, Any] | None = None) -> None:
        """Publish what it likes, as a publisher of its own."""
        self._push.send(encode(topic, self._publisher, next(self._numbers), time.time_ns(), payload, headers))

    def heard(self, topic_end: str) -> list[Message]:
        """Return the messages so far whose topic ends so."""
        found = []
        for part in list(self.parts.items):
            try:
                message = decode(part)
            except FabricError:
                continue
            if message.topic.endswith(topic_end):
                found.append(message)
        return found

    def has_read(self, secret: str) -> bool:
        """Say whether this was anywhere in what it has read."""
        return any(secret.encode() in part for part in list(self.parts.items))

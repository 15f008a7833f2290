"""Losses on purpose, at the edge of a node that publishes: parts that are numbered and kept, and never sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from fabric import Node
from fabric.core import COMPILED
from tests.support.waiting import until


class Losing:
    """In the place of the socket of an uplink. What begins with `$` is never lost.

    lock: taken for each part, where the caller has not taken it
    """

    def __init__(self, socket: Any, loses: Callable[[bytes], bool], lock: Any = None) -> None:
        self._socket, self._loses, self._lock = socket, loses, lock or contextlib.nullcontext()
        self.lost: list[bytes] = []

    def send(self, part: bytes, *flags: int) -> None:
        with self._lock:
            if not part.startswith(b"$") and self._loses(part):
                self.lost.append(part)
            else:
                self._socket.send(part, *flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


@contextlib.contextmanager
def losing(node: Node, loses: Callable[[bytes], bool] = lambda part: True) -> Iterator[list[bytes]]:
    """While this lasts, parts for which `loses` is true are lost; yields those that were. The node stays connected."""
    up = node._engine.up
    until(lambda: up.outlet.plain, "messages take the short way")
    socket: Any = up._socket
    slow = Losing(socket, loses)
    quick = Losing(socket, loses, up._lock if COMPILED else None)  # compiled it takes none, since it runs no Python
    quick.lost = slow.lost
    with up._lock:
        up._socket = slow  # type: ignore[assignment]
        up.outlet.connect(quick)  # type: ignore[arg-type]
    try:
        yield slow.lost
    finally:
        with up._lock:
            up._socket = socket
            up.outlet.connect(socket)

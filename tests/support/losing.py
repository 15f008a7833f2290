"""Losses on purpose, at the edge of a node that publishes: parts that are numbered and kept, and never sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import zmq

from fabric import Node
from fabric.core import COMPILED
from tests.support.waiting import until


class _Losing:
    """In the place of a socket."""

    def __init__(self, socket: Any, lock: Any, loses: Callable[[bytes], bool]) -> None:
        self._socket, self._lock, self._loses = socket, lock, loses
        self.lost = 0

    def send(self, part: bytes) -> None:
        if self._loses(part):
            self.lost += 1
        elif COMPILED:  # which takes no lock, since it runs no Python
            with self._lock:
                self._socket.send(part, zmq.NOBLOCK)
        else:
            self._socket.send(part, zmq.NOBLOCK)


@contextlib.contextmanager
def losing(node: Node, loses: Callable[[bytes], bool] = lambda part: True) -> Iterator[_Losing]:
    """While this lasts, parts for which `loses` is true are lost, of topics that were published on before.

    For who publishes in the thread that enters this.
    """
    up = node._engine.up
    until(lambda: up.outlet.plain, "messages take the short way")
    found = _Losing(up._socket, up._lock, loses)
    up.outlet.connect(found)  # type: ignore[arg-type]
    try:
        yield found
    finally:
        up.outlet.connect(up._socket)

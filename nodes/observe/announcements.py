"""The announcements of proxies, as they arrive."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from fabric.protocol import markers

if TYPE_CHECKING:
    from fabric.node.node import Node


class View(Protocol):
    """What takes announcements."""

    def hear(self, payload: Any) -> None:
        """Take one."""


def announcements(node: Node, view: View, deadline: float) -> Iterator[None]:
    """Feed announcements to `view` and yield after each, until `deadline` (monotonic)."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    node.subscribe(f"{markers.ANNOUNCE}+", lambda message: heard.put(message.payload))
    while (left := deadline - time.monotonic()) > 0:
        with contextlib.suppress(queue.Empty):
            view.hear(heard.get(timeout=left))
            yield

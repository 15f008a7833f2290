"""A stop of a page's co-browse session, as its program sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodes.page.callbacks import call_safely


class Stop:
    """A stop that was asked for. It is acknowledged when no agent handles an update of that session any more."""

    def __init__(self) -> None:
        self._over = threading.Event()
        """Set by `acknowledge`, once and for good."""
        self._lock = threading.Lock()
        self._then: list[Callable[[], object]] = []
        """What is called at the acknowledgement; empty from then on."""

    @property
    def acknowledged(self) -> bool:
        return self._over.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the acknowledgement; False when it did not come in time. Not in a callback."""
        return self._over.wait(timeout_s)

    def on_acknowledged(self, fun: Callable[[], object]) -> None:
        """Have `fun` called at the acknowledgement: at once, if it has come already."""
        with self._lock:
            if not self._over.is_set():
                self._then.append(fun)
                return
        call_safely(fun)

    def acknowledge(self) -> None:
        """For the page: the stop is over."""
        with self._lock:
            self._over.set()
            then, self._then = self._then, []
        for fun in then:
            call_safely(fun)

"""Calls back what a page's program has given: one thing at a time, in order, by whichever thread is there."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

log = logging.getLogger("nodes.page")

Call = Callable[[], object]


class Callbacks:
    """Calls that wait for their turn. `add` and `run` from any thread, also within a call."""

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        """The oldest first. `add` appends; `run` takes, holding `_calling`."""
        self._calling = threading.Lock()
        """Held by the thread that calls at present. It takes over what others add meanwhile, and its own."""

    def add(self, call: Call) -> None:
        """Have `call` called by the next `run`, after all that were added before."""
        self._waiting.append(call)

    def run(self) -> None:
        """Call what waits. Returns at once while another thread, or an outer call, is at it."""
        while self._waiting and self._calling.acquire(blocking=False):
            try:
                while self._waiting:
                    call_safely(self._waiting.popleft())
            finally:
                self._calling.release()


def call_safely(fun: Callable[..., object], *args: object) -> None:
    """Call a function of the program's; what it raises is logged, and harms nobody else."""
    try:
        fun(*args)
    except BaseException:  # a SystemExit, too: it would end a thread that others need
        log.exception("a callback of a page raised: %r", fun)

"""What application threads want done by a node's I/O thread, and the bell that wakes it.

The bell is an inproc PUB to which the receiving XSUB is connected too, so that the thread can sit in a blocking
receive: three to five times as fast as polling. It is rung only when nothing waited before.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

import zmq

from fabric import sockets
from fabric.protocol import markers


class Commands:
    """The commands of one node. Any thread puts and rings; the I/O thread runs them.

    token: the node's; the bell comes as a part under its private prefix
    """

    def __init__(self, context: sockets.Context, token: str) -> None:
        self.endpoint = f"inproc://bell-{token}"
        """Where the receiving socket hears the bell."""
        self._lock = threading.RLock()
        """Guards `_bell`, and what is added to `_waiting`. A signal handler may publish while its thread has it."""
        self._bell = sockets.doorbell(context)
        self._bell.bind(self.endpoint)
        self._part = markers.bell_topic(token).encode() + b"\0"
        """What is rung with; the same bytes each time."""
        self._waiting: deque[Callable[[], None]] = deque()
        """Any thread appends, and rings if it was empty. The I/O thread takes each from the left after it was done, so
        that nobody rings while one runs."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, command: Callable[[], None]) -> None:
        """Have `command` done in the I/O thread, after those before it."""
        with self._lock:  # of two at once, one has found it empty
            is_first = not self._waiting
            self._waiting.append(command)
        if is_first:
            self.ring()

    def ring(self) -> None:
        """Wake the I/O thread."""
        with self._lock, contextlib.suppress(zmq.ZMQError):
            self._bell.send(self._part, zmq.NOBLOCK)

    def run(self, for_s: float) -> None:
        """Do what waits, for so long; ring for what is left, for local messages may answer each other for ever."""
        end = time.monotonic() + for_s
        while self._waiting:
            self._waiting[0]()
            self._waiting.popleft()
            if time.monotonic() > end:
                self.ring()
                return

    def close(self) -> None:
        with self._lock:
            self._bell.close()

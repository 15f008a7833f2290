"""One stream of a proxy: a C proxy (`zmq.proxy_steerable`) in one thread, without the GIL.

The thread that runs it changes its sockets itself. `rewire` ends the C call with TERMINATE, the thread performs the
changes, and runs the proxy again; the sockets stay open and keep their queues, so nothing is lost (200 changes under
300,000 messages; longest pause 0.7 ms). PAUSE and RESUME are broken in libzmq 4.3.5.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple

import zmq

from fabric import sockets
from fabric.errors import TransportError

Change = Callable[[], object]


class Counts(NamedTuple):
    """Parts and bytes that went through, since the start. Drops at a full subscriber count as sent."""

    front_in: int
    front_in_bytes: int
    front_out: int
    front_out_bytes: int
    back_in: int
    back_in_bytes: int
    back_out: int
    back_out_bytes: int


_ZERO = Counts(0, 0, 0, 0, 0, 0, 0, 0)


class Stream:
    """A running C proxy between `front` and `back`, which it owns from `start` to `stop`.

    on_death: called, from the stream's thread, when the C call returns though nobody asked it to
    """

    def __init__(
        self,
        context: sockets.Context,
        name: str,
        front: sockets.Socket,
        back: sockets.Socket,
        on_death: Callable[[str], None],
    ) -> None:
        self.name = name
        self._front, self._back = front, back
        """Of the stream's thread from `start` on, which closes them at its end."""
        self._on_death = on_death
        self._control, self._steer = sockets.control_pair(context, f"inproc://control-{name}")
        """The stream's end, in C; and the other end, for one thread at a time."""
        self._changes: list[Change] | None = []
        """What to do when the C proxy returns; None: end. Set before TERMINATE, taken by the stream's thread. Empty: it
        was not asked to return."""
        self._results: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        """For each `rewire`, what its changes raised."""
        self._before = _ZERO
        """Counts of all runs of the C proxy before this one."""
        self._thread = threading.Thread(target=self._run, name=f"fabric-{name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def rewire(self, *changes: Change) -> None:
        """Perform `changes` in the stream's thread, between two runs of the C proxy. Raises what a change raised."""
        self._before = self.counts()
        self._changes = list(changes)
        self._ask(b"TERMINATE")
        error = self._results.get(timeout=10)
        if error is not None:
            raise error

    def counts(self) -> Counts:
        """Ask the C proxy for its statistics. They start at zero with each run: what went before is added."""
        parts = self._ask(b"STATISTICS")
        if len(parts) != len(_ZERO):
            raise TransportError(f"stream {self.name}: {len(parts)} statistics instead of {len(_ZERO)}")
        now = (struct.unpack("=Q", part)[0] for part in parts)
        return Counts(*(a + b for a, b in zip(self._before, now, strict=True)))

    def stop(self) -> bool:
        """End the C proxy and its thread, and close its sockets. False when it does not end: they stay open."""
        self._changes = None
        if self._thread.is_alive():
            with contextlib.suppress(TransportError):
                self._ask(b"TERMINATE")
            self._thread.join(10)
        ended = not self._thread.is_alive()
        if ended:
            self._steer.close()
        return ended

    def _ask(self, command: bytes) -> list[bytes]:
        with sockets.transport_errors(f"stream {self.name} does not answer {command.decode()}"):
            self._steer.send(command)
            return self._steer.recv_multipart()

    def _run(self) -> None:
        # An interrupted call would return: signals are for the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            try:
                zmq.proxy_steerable(self._front, self._back, None, self._control)
            except zmq.ZMQError as error:
                self._on_death(f"stream {self.name} ended: {error}")
                return
            changes, self._changes = self._changes, []
            if changes is None:
                break
            if not changes:
                self._on_death(f"stream {self.name} ended without being asked to")
                return
            self._results.put(_perform(changes))
        for socket in (self._front, self._back, self._control):
            socket.close()


def _perform(changes: list[Change]) -> Exception | None:
    for change in changes:
        try:
            change()
        except Exception as error:  # handed to the caller of rewire, who raises it
            return error
    return None

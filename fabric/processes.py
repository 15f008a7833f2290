"""What the process around a node or a proxy may do to its threads: patch them away, or end them under it.

At the end of the interpreter daemon threads stop where they are. Who waited for one then, to close its sockets, would
wait for ever; so whatever was not closed is closed before, by an `atexit` function, which runs while threads still do.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import weakref
from typing import Protocol

from fabric.errors import FabricError, StateError

EXIT_S = 1.0
"""How long each thing that nobody closed may take at the end of the process."""
_GREEN = ("gevent", "eventlet")


class Closing(Protocol):
    """What has threads and sockets."""

    def close_at_exit(self, timeout_s: float) -> None: ...


_open: weakref.WeakSet[Closing] = weakref.WeakSet()


def close_at_exit(thing: Closing) -> None:
    """Have `thing.close_at_exit` called at the end of this process, if it is still there; not in a forked child."""
    _open.add(thing)


def is_ending() -> bool:
    """Whether the interpreter is ending: other threads have stopped for good."""
    return sys.is_finalizing()


def require_threads(what: str) -> None:
    """Refuse a process whose threads gevent or eventlet have replaced: one that waits in C would stop all of them.

    errors: StateError
    """
    for name in ("_start_new_thread", "_start_joinable_thread"):
        owner = getattr(getattr(threading, name, None), "__module__", None) or ""
        package = owner.partition(".")[0]
        if package in _GREEN:
            hint = f"{package} has patched `threading`: patch all but threads, monkey.patch_all(thread=False) say"
            raise StateError(what, "without threads", "open", hint)


def _close_all() -> None:
    for thing in list(_open):
        with contextlib.suppress(FabricError):
            thing.close_at_exit(EXIT_S)


def _after_fork_in_child() -> None:
    _open.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork_in_child)

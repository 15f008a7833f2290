"""What tests with nodes share: a box that callbacks fill and tests wait at, waiting for a condition, starting a mesh.

    box = Box()
    node.subscribe("a/#", box)          # every message lands in box.items
    box.wait(3)                         # returns the items once there are three

Nothing here sleeps blindly: a box wakes who waits at it; `until` looks every 5 ms, and says what did not come.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.support.processes import STOP_TIMEOUT_S, Process, ProxyProcess, free_base

PATIENCE_S = 45.0  # two cores that others keep busy; on a quiet machine what is waited for comes in milliseconds


class Box:
    """Items that a callback was given, in order."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, item: Any) -> None:
        with self._changed:
            self.items.append(item)
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self.items)

    def wait(self, count: int = 1, timeout_s: float = PATIENCE_S) -> list[Any]:
        """Return all items once there are at least `count`."""
        return self.wait_for(lambda items: len(items) >= count, f"{count} items", timeout_s)

    def wait_for(self, fits: Callable[[list[Any]], bool], what: str, timeout_s: float = PATIENCE_S) -> list[Any]:
        """Return all items once `fits(items)`; it is not asked while there are none."""
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self.items) and fits(self.items), timeout_s):
                raise AssertionError(
                    f"waited {timeout_s:g} s for {what}; there are {len(self.items)}, the last: {self.items[-5:]!r}"
                )
            return list(self.items)

    def payloads(self) -> list[Any]:
        return [message.payload for message in list(self.items)]


def until(true: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the first true value of `true()`."""
    end = time.monotonic() + timeout_s
    while not (value := true()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout_s:g} s until {what}")
        time.sleep(0.005)
    return value


def start_mesh(
    log_dir: Path,
    count: int,
    *args: str,
    keep: Callable[[ProxyProcess], object],
    bases: Sequence[str] = (),
    join: Sequence[str] = (),
    first: int = 1,
) -> list[ProxyProcess]:
    """Start `count` meshed proxies as processes, and return them once all are ready.

    args:    more options for each
    keep:    called with each as soon as it is started; the caller stops it, also when this raises
    bases:   their addresses; default: free ports
    join:    bases that the first one joins; none: it begins a mesh. The others join the first one, once it is ready.
    first:   the number of the first one, whose name is p1 then
    """
    found: list[ProxyProcess] = []
    for at in range(count):
        joins = [word for base in ((found[0].base,) if found else join) for word in ("--join", base)]
        base = bases[at] if bases else free_base()
        found.append(ProxyProcess(base, [*joins, *args], log_dir, name=f"p{first + at}"))
        keep(found[-1])
        if at == 0:
            found[0].wait_ready()
    for proxy in found[1:]:
        proxy.wait_ready()
    return found


@contextlib.contextmanager
def mesh(log_dir: Path, count: int, *args: str) -> Iterator[list[ProxyProcess]]:
    """`count` meshed proxies p1, p2, … as processes, ready; stopped at the end. `args` go to each."""
    started: list[ProxyProcess] = []
    try:
        yield start_mesh(log_dir, count, *args, keep=started.append)
    finally:
        stop_all(started)


def stop_all(processes: Sequence[Process], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """SIGTERM to all that run, newest first, then wait for each, and SIGKILL when that takes too long.

    The last lines of all are printed: seen when a test fails.
    """
    for process in reversed(processes):
        if process.alive:
            process.signal(signal.SIGCONT)  # one that a test left stopped could not hear the other
            process.signal(signal.SIGTERM)
    for process in reversed(processes):
        process.finish(timeout_s)
        print(process.said())

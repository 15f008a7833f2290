"""Keys that are pressed in a terminal, one at a time."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def keys() -> Iterator[Callable[[str, float], str]]:
    """Yield `pressed(keys, timeout_s)`: which of these was pressed within the time, "" for none of them.

    The terminal is left as it was. Where there is no terminal, nothing is pressed; where it has gone, the first key is.
    """
    if not sys.stdin.isatty():

        def waited(keys: str, timeout_s: float) -> str:
            time.sleep(max(0.0, timeout_s))
            return ""

        yield waited
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    typed: deque[str] = deque()

    def pressed(keys: str, timeout_s: float) -> str:
        end = time.monotonic() + timeout_s
        while True:
            while typed:
                if (key := typed.popleft()) in keys:
                    return key
            if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                return ""
            found = os.read(descriptor, 100)
            if not found:
                return keys[0]
            typed.extend(found.decode(errors="replace"))

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

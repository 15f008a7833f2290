"""SIGTERM and SIGINT for commands that run on: the first one asks the command to end, a second one ends the process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

ENDING = (signal.SIGTERM, signal.SIGINT)


@contextlib.contextmanager
def on_ending_signal(ask: Callable[[], object], *, once: bool = True) -> Iterator[None]:
    """While the block runs, SIGTERM and SIGINT call `ask`, in the main thread.

    once:  after the first one, both do again what they do in any process; otherwise each calls `ask`
    """

    def on_signal(number: int, stack_frame: object) -> None:
        if once:
            signal.signal(number, signal.SIG_DFL)
        ask()

    before = {number: signal.signal(number, on_signal) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

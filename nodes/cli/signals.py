"""SIGTERM and SIGINT for commands that run on: the first one asks the command to end, a second one ends the process."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ENDING = (signal.SIGTERM, signal.SIGINT)
LOOK_S = 0.5
"""How often the thread that waits for a signal looks whether it is still to wait."""
TELLS_SENDERS = hasattr(signal, "sigtimedwait")
"""Whether this system says who sent a signal; macOS does not."""


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


@contextlib.contextmanager
def leaving_at_once(is_ended: Callable[[], bool]) -> Iterator[None]:
    """While the block runs, which has begun nothing that is to be finished, SIGTERM and SIGINT end the process with 0,
    however long the block waits.

    is_ended: whether such a signal came before
    """

    def leave() -> None:
        raise SystemExit(0)

    with on_ending_signal(leave):
        if is_ended():
            leave()
        yield


@dataclass(frozen=True)
class Sender:
    """Who sent a signal, and from where, as far as the system says.

    name:  of the signal, `SIGTERM`
    who:   the user
    where: the process, or that it was the terminal
    """

    name: str
    who: str
    where: str


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """While the block runs, SIGTERM and SIGINT wait for `on_ending_signal_of`. All other threads have to be started in
    the block: a signal goes to any thread that takes it."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def on_ending_signal_of(ask: Callable[[Sender], object]) -> Iterator[None]:
    """Within `signals_held`: while the block runs, the first SIGTERM or SIGINT calls `ask`, in a thread for that; a
    second one ends the process."""
    ended = threading.Event()

    def wait() -> None:
        while not ended.is_set():
            found = signal.sigtimedwait(ENDING, LOOK_S)
            if found is not None:
                ask(_sender(found))
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)  # this thread takes the second one
                ended.wait()

    waiter = threading.Thread(target=wait, name="ending-signal", daemon=True)
    waiter.start()
    try:
        yield
    finally:
        ended.set()
        waiter.join()


def _sender(found: signal.struct_siginfo) -> Sender:
    """si_code above 0 is the kernel: Ctrl-C. source: sigaction(2)"""
    name = signal.Signals(found.si_signo).name
    if found.si_code > 0:
        return Sender(name, _user(os.getuid()), "the terminal")
    program = ""
    with contextlib.suppress(OSError):
        program = f" ({Path(f'/proc/{found.si_pid}/comm').read_text().strip()})"
    return Sender(name, _user(found.si_uid), f"process {found.si_pid}{program}")


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"

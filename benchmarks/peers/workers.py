"""The processes that hold the clients: each keeps one client at a time, and does what it is told over a pipe.

with workers("nats", 9) as (publisher, *subscribers):
    subscribers[0].ask("open", address, …)     # returns at once; several work at the same time
    subscribers[0].answer()                    # what it returned, or raises what it raised

A process serves many runs: only its client is new in each.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator
from typing import Any

from benchmarks.peers.hands import Hands
from fabric.sockets import raise_descriptor_limit

ANSWER_S = 180.0


class WorkerError(RuntimeError):
    """What a worker was asked for went wrong there."""


class Worker:
    """One process, seen from outside."""

    def __init__(self, peer: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(peer, theirs), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def ask(self, what: str, *args: Any) -> None:
        self._pipe.send((what, args))

    def answer(self) -> Any:
        if not self._pipe.poll(ANSWER_S):
            raise WorkerError(f"no answer within {ANSWER_S:g} s")
        try:
            ok, value = self._pipe.recv()
        except (EOFError, OSError):
            raise WorkerError("the process ended") from None
        if not ok:
            raise WorkerError(value)
        return value

    def do(self, what: str, *args: Any) -> Any:
        self.ask(what, *args)
        return self.answer()

    def end(self) -> None:
        self._pipe.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


@contextlib.contextmanager
def workers(peer: str, count: int) -> Iterator[list[Worker]]:
    """Start `count` workers, all of which have imported their client; end them by their own process ids."""
    started: list[Worker] = []
    try:
        started.extend(Worker(peer) for _ in range(count))
        for each in started:
            each.ask("close")
        for each in started:
            each.answer()
        yield started
    finally:
        for each in started:
            each.end()


def _serve(peer: str, pipe: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_descriptor_limit()
    hands: Hands | None = None
    with contextlib.suppress(EOFError, OSError):  # the process that asked has gone
        while True:
            what, args = pipe.recv()
            try:
                hands = hands or Hands(peer)
                pipe.send((True, getattr(hands, what)(*args)))
            except Exception as error:
                pipe.send((False, "".join(traceback.format_exception_only(error)).strip()))
    os._exit(0)  # threads of client libraries may not end by themselves

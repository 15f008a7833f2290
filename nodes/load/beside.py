"""What a phase does beside publishing: nodes that join, a service that answers, a client that asks it.

Each is a process of its own, driven over a pipe as those of `worker` are. Like these it counts from the intended time.

    to a joiner      ("join", start_ns, seconds from there, how long each stays, end_ns)
    to a responder   ("serve", name)
    to an asker      ("ask", name, start_ns, requests a second, seconds)
    from all         ("ready", None, ())   ("done", Done)   ("closed", 0)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from fabric import Message, Node
from fabric.errors import FabricError
from fabric.services import Client, Server, each
from nodes.load.latency import bucket
from nodes.load.schedule import Spec
from nodes.load.worker import CLOSE_TIMEOUT_S, Pipe, connected

ACK_S = 30.0
DEADLINE_S = 5.0
FIND_S = 10.0
OPERATION = "echo"


@dataclass
class Done:
    """What was done. counts: latencies, see `latency.Counts`; why: of the first that failed"""

    counts: dict[int, int] = field(default_factory=dict)
    failed: int = 0
    why: str = ""

    @property
    def succeeded(self) -> int:
        return sum(self.counts.values())


class Tally:
    """Counts from several threads."""

    def __init__(self) -> None:
        self.done = Done()
        self._lock = threading.Lock()

    def took(self, latency_ns: int) -> None:
        us = bucket(latency_ns // 1000)
        with self._lock:
            self.done.counts[us] = self.done.counts.get(us, 0) + 1

    def failed(self, why: str) -> None:
        with self._lock:
            self.done.failed += 1
            self.done.why = self.done.why or why


class Joiner:
    """Nodes that connect and subscribe, each when it is due; the time counts until the mesh has acknowledged."""

    def __init__(self, spec: Spec, index: int, pipe: Pipe) -> None:
        self._spec, self._pipe = spec, pipe
        pipe.send(("ready", None, ()))

    def next_command(self) -> Any:
        return self._pipe.recv()

    def join(self, start_ns: int, joins_s: Sequence[float], stay_s: float, end_ns: int) -> None:
        tally = Tally()
        threads = []
        for number, at_s in enumerate(joins_s):
            due_ns = start_ns + int(at_s * 1e9)
            until_ns = due_ns + int(stay_s * 1e9) if stay_s else end_ns
            _sleep_until(due_ns)
            threads.append(threading.Thread(target=self._one, args=(number, due_ns, until_ns, tally), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        self._pipe.send(("done", tally.done))

    def _one(self, number: int, due_ns: int, until_ns: int, tally: Tally) -> None:
        try:
            with connected(self._spec, number) as node:
                ack = node.wait_ack(
                    node.subscribe(self._spec.filters[number % len(self._spec.filters)], _ignore), ACK_S
                )
                if ack.ok:
                    tally.took(time.monotonic_ns() - due_ns)
                else:
                    tally.failed(str(ack.error))
                _sleep_until(until_ns)
        except (FabricError, OSError) as error:
            tally.failed(str(error))

    def close(self) -> int:
        return 0


class Responder:
    """Answers each request with what was asked."""

    def __init__(self, spec: Spec, index: int, pipe: Pipe) -> None:
        self._pipe = pipe
        self.node = connected(spec, index)
        self._server: Server | None = None
        pipe.send(("ready", None, ()))

    def next_command(self) -> Any:
        return self._pipe.recv()

    def serve(self, name: str) -> None:
        self._server = Server(self.node, name, each(lambda request: request.body))
        self._pipe.send(("done", Done()))

    def close(self) -> int:
        if self._server is not None:
            self._server.close()
        return self.node.close(CLOSE_TIMEOUT_S)


class Asker:
    """Asks at a rate, whether the answers come or not."""

    def __init__(self, spec: Spec, index: int, pipe: Pipe) -> None:
        self._pipe = pipe
        self.node: Node = connected(spec, index)
        self._client = Client(self.node)
        pipe.send(("ready", None, ()))

    def next_command(self) -> Any:
        return self._pipe.recv()

    def find(self, name: str) -> None:
        """Say so once an instance is there, or after FIND_S."""
        end = time.monotonic() + FIND_S
        tally = Tally()
        while True:
            try:
                self._client.request(name, OPERATION, None, deadline_s=1.0)
                break
            except FabricError as error:
                if time.monotonic() > end:
                    tally.failed(str(error))
                    break
        self._pipe.send(("done", tally.done))

    def ask(self, name: str, start_ns: int, rate: float, seconds: float) -> None:
        tally = Tally()
        open_: list[Future[Any]] = []
        for k in range(int(rate * seconds)):
            due_ns = start_ns + int(k * 1e9 / rate)
            _sleep_until(due_ns)
            future = self._client.submit(name, OPERATION, k, deadline_s=DEADLINE_S)
            future.add_done_callback(lambda future, due_ns=due_ns: _answered(future, due_ns, tally))  # type: ignore[misc]
            open_.append(future)
        wait(open_)
        self._pipe.send(("done", tally.done))

    def close(self) -> int:
        self._client.close()
        return self.node.close(CLOSE_TIMEOUT_S)


def _answered(future: Future[Any], due_ns: int, tally: Tally) -> None:
    error = future.exception()
    if error is None:
        tally.took(time.monotonic_ns() - due_ns)
    else:
        tally.failed(str(error))


def _ignore(message: Message) -> None:
    """What a node that only joins gets is in no figure."""


def _sleep_until(at_ns: int) -> None:
    left_ns = at_ns - time.monotonic_ns()
    if left_ns > 0:
        time.sleep(left_ns / 1e9)

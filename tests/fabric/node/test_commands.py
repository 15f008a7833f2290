"""Commands and the bell: each is done once, in order, and nobody has to ring twice."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator

import pytest
import zmq

from fabric import sockets
from fabric.node.commands import Commands

TOKEN = "0123"


class Ear:
    """What hears the bell, in the place of a downlink."""

    def __init__(self) -> None:
        self.context = sockets.new_context()
        self.commands = Commands(self.context, TOKEN)
        self.socket = sockets.xsub(self.context, recv_hwm=0)
        self.socket.connect(self.commands.endpoint)
        self.socket.send(b"\x01$ack/")
        self.socket.rcvtimeo = 20
        while self.rings() == 0:  # the subscription may be on its way
            self.commands.ring()

    def rings(self) -> int:
        count = 0
        while True:
            try:
                assert TOKEN.encode() in self.socket.recv()
            except zmq.Again:
                return count
            count += 1


@pytest.fixture
def ear() -> Iterator[Ear]:
    found = Ear()
    found.rings()
    yield found
    found.commands.close()
    found.context.destroy(0)


def test_only_the_first_that_waits_rings_and_each_is_done_once_in_order(ear: Ear) -> None:
    done: list[int] = []
    assert not ear.commands
    for number in range(3):
        ear.commands.put(lambda number=number: done.append(number))  # type: ignore[misc]
    assert ear.commands and ear.rings() == 1 and not done
    ear.commands.run(5.0)
    ear.commands.run(5.0)
    assert done == [0, 1, 2] and not ear.commands and ear.rings() == 0


class Slow(deque[Callable[[], None]]):
    """Whoever appends goes on when another has appended, too, or may not."""

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2)

    def append(self, command: Callable[[], None]) -> None:
        super().append(command)
        with contextlib.suppress(threading.BrokenBarrierError):
            self.both.wait(0.2)


def test_of_two_that_put_at_once_one_rings(ear: Ear) -> None:
    """Each had seen the other's command beside its own, and left the ringing to the other."""
    ear.commands._waiting = Slow()
    threads = [threading.Thread(target=ear.commands.put, args=(lambda: None,)) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert ear.rings() == 1


def test_what_is_put_while_one_runs_is_done_too_and_rings_not(ear: Ear) -> None:
    done: list[str] = []

    def first() -> None:
        ear.commands.put(lambda: done.append("second"))
        done.append("first")

    ear.commands.put(first)
    assert ear.rings() == 1
    ear.commands.run(5.0)
    assert done == ["first", "second"] and ear.rings() == 0


def test_commands_that_call_each_other_for_ever_let_others_have_their_turn(ear: Ear) -> None:
    done = 0

    def again() -> None:
        nonlocal done
        done += 1
        ear.commands.put(again)

    ear.commands.put(again)
    ear.rings()
    ear.commands.run(0.01)
    assert done >= 1 and ear.commands and ear.rings() == 1, "it rings for what is left"


def test_threads_put_and_ring_side_by_side(ear: Ear) -> None:
    done: list[int] = []

    def put_many() -> None:
        for _ in range(500):
            ear.commands.put(lambda: done.append(1))

    threads = [threading.Thread(target=put_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or ear.commands:
        ear.commands.run(0.01)
    assert len(done) == 2_000


def test_after_the_end_nobody_hears(ear: Ear) -> None:
    ear.commands.close()
    ear.commands.ring()
    ear.commands.put(lambda: None)
    assert ear.rings() == 0

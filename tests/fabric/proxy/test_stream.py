"""Stream: a C proxy that is rewired while messages flow, counts over its runs, and says when it dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import zmq

from fabric import sockets
from fabric.proxy.stream import Stream
from tests.support.waiting import Box, until


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    found = sockets.new_context()
    yield found
    found.destroy(linger=0)


class Pipe:
    """PUSH → PULL ─stream─► PUSH → PULL, over inproc."""

    def __init__(self, context: sockets.Context) -> None:
        self.context = context
        self.deaths = Box()
        front, back = sockets.pull(context, recv_hwm=0), context.socket(zmq.PUSH)
        front.bind("inproc://front")
        back.sndhwm = 0
        back.bind("inproc://back")
        self.front = front
        self.stream = Stream(context, "pipe", front, back, self.deaths)
        self.source, self.sink = context.socket(zmq.PUSH), sockets.pull(context, recv_hwm=0)
        self.source.sndhwm = 0
        self.source.connect("inproc://front")
        self.sink.connect("inproc://back")
        self.sink.rcvtimeo = 10_000
        self.stream.start()


@pytest.fixture
def pipe(context: sockets.Context) -> Iterator[Pipe]:
    found = Pipe(context)
    yield found
    if not found.deaths.items:
        found.stream.stop()


def test_parts_go_through_and_are_counted_in_parts_and_bytes(pipe: Pipe) -> None:
    for _ in range(100):
        pipe.source.send(b"12345")
    assert [pipe.sink.recv() for _ in range(100)] == [b"12345"] * 100
    counts = until(
        lambda: pipe.stream.counts() if pipe.stream.counts().back_out == 100 else None, "the last is counted"
    )
    assert (counts.front_in, counts.front_in_bytes, counts.back_out, counts.back_out_bytes) == (100, 500, 100, 500)
    assert counts.back_in == counts.front_out == 0


def test_rewired_under_load_it_loses_nothing_and_its_counts_never_fall(pipe: Pipe) -> None:
    total, changed = 20_000, []

    def send() -> None:
        for number in range(total):
            pipe.source.send(b"%d" % number)

    sender = threading.Thread(target=send)
    sender.start()
    counts = []
    for at in range(50):
        pipe.stream.rewire(lambda at=at: changed.append((at, threading.current_thread().name)))  # type: ignore[misc]
        counts.append(pipe.stream.counts())
    assert [int(pipe.sink.recv()) for _ in range(total)] == list(range(total))
    sender.join()
    assert changed == [(at, "fabric-pipe") for at in range(50)], "in the stream's own thread, in order"
    counts.append(pipe.stream.counts())
    assert counts == sorted(counts) and 0 < counts[-1].back_out <= total, "what passes as it is rewired is not counted"


def test_a_change_may_bind_and_several_may_go_together(pipe: Pipe) -> None:
    pipe.stream.rewire(lambda: pipe.front.bind("inproc://second"), lambda: pipe.front.bind("inproc://third"))
    for name in ("second", "third"):
        source = pipe.context.socket(zmq.PUSH)
        source.connect(f"inproc://{name}")
        source.send(name.encode())
        assert pipe.sink.recv() == name.encode()


def test_what_a_change_raises_comes_out_of_rewire_and_the_stream_goes_on(pipe: Pipe) -> None:
    def fail() -> None:
        raise ValueError("deliberately")

    for _ in range(2):
        with pytest.raises(ValueError, match="deliberately"):
            pipe.stream.rewire(fail)
    with pytest.raises(zmq.ZMQError):
        pipe.stream.rewire(lambda: pipe.front.bind("inproc://front"))
    pipe.source.send(b"still")
    assert pipe.sink.recv() == b"still" and not pipe.deaths.items


def test_it_says_when_the_c_call_returns_unasked(pipe: Pipe) -> None:
    pipe.stream._ask(b"TERMINATE")
    assert pipe.deaths.wait() == ["stream pipe ended without being asked to"]

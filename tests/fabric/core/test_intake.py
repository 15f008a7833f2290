"""Intake: what it takes from sockets, in what order, and when it stops. What it makes of the bytes: `test_receiver`."""

from __future__ import annotations

import gc
import logging
import sys
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.broker import Broker
from fabric.core.intake import BURST
from fabric.wire import Encoder, Message
from tests.support.twins import twins

NOW_NS = 1_700_000_000_000_000_000


class Judge:
    """What is rare, said in the simplest way: a first number is in order, and everything else is written down."""

    def __init__(self, kind: Any, max_payload_bytes: int = 100_000) -> None:
        lasts: dict[str, dict[int, int]] = {}
        self.broker: Broker[Any] = Broker(
            lambda topic: lasts.setdefault(topic, {1: 0}), on_emptied=lambda: self.intake.forget_routes()
        )
        self.routes = self.broker.routes
        self.first_sights: list[bytes] = []
        self.careful: list[bytes] = []
        self.refused: list[bytes] = []
        self.raised: list[int] = []
        self.intake = kind(self, max_payload_bytes)

    def first_sight(self, raw: bytes, body: bytes) -> Any:
        self.first_sights.append(raw)
        return None if raw.startswith(b"$") else self.broker.route(raw)

    def take_carefully(self, route: Any, body: bytes) -> None:
        self.careful.append(body)

    def refuse_part(self, part: bytes) -> None:
        self.refused.append(part)

    def handler_raised(self, message: Message, subscriptions: Any, place: int) -> None:
        logging.exception("as expected")
        self.raised.append(place)
        for subscription in subscriptions[place + 1 :]:
            subscription.handler(message)


class Way:
    """Two sockets of one process: `push` sends what the intake reads from `pull`."""

    def __init__(self) -> None:
        self.context = sockets.new_context()
        self.push, self.pull = self.context.socket(zmq.PUSH), self.context.socket(zmq.PULL)
        self.push.sndhwm = self.pull.rcvhwm = 0
        self.pull.rcvtimeo = 20
        self.pull.bind("inproc://way")
        self.push.connect("inproc://way")
        self.encoder = Encoder(1)
        self.numbers: dict[str, int] = {}

    def send(self, topic: str, payload: Any = None, count: int = 1) -> None:
        for _ in range(count):
            self.numbers[topic] = self.numbers.get(topic, 0) + 1
            self.push.send(self.encoder.part(topic.encode() + b"\0", self.numbers[topic], NOW_NS, payload))

    def close(self) -> None:
        self.context.destroy(0)


@pytest.fixture
def way() -> Iterator[Way]:
    found = Way()
    yield found
    found.close()


@pytest.fixture(params=twins("intake", "Intake"))
def judge(request: pytest.FixtureRequest) -> Judge:
    return Judge(request.param)


def test_what_the_fuzzer_kept_is_read_alike_by_both_builds() -> None:
    """Input that took a way of its own through the plain twins, see `scripts/fuzz`."""
    part_fuzz = pytest.importorskip("tests.support.part_fuzz", reason="not compiled here", exc_type=ImportError)
    kept = part_fuzz.corpus()
    assert len(kept) > 10
    for data in kept:
        part_fuzz.compare(data)


def numbers(heard: list[Message]) -> list[int]:
    return [message.number for message in heard]


def test_it_takes_what_waits_and_ends_when_nothing_more_comes(judge: Judge, way: Way) -> None:
    heard: list[Message] = []
    judge.broker.subscribe("a/#", heard.append)
    way.send("a/x", count=1_000)
    start = time.monotonic()
    assert not judge.intake.receive(way.pull, 60.0)
    assert time.monotonic() - start < 20, "not for the whole minute"
    assert numbers(heard) == list(range(1, 1_001)) and judge.intake.received == 1_000
    assert judge.first_sights == [b"a/x"] and not judge.careful


def test_it_takes_at_least_a_burst_and_stops_in_time(judge: Judge, way: Way) -> None:
    heard: list[Message] = []
    judge.broker.subscribe("a", heard.append)
    way.send("a", count=1_000)
    assert judge.intake.receive(way.pull, 0.0)
    assert len(heard) == judge.intake.received == BURST
    assert judge.intake.receive(way.pull, -1.0)
    assert numbers(heard) == list(range(1, 2 * BURST + 1))


def test_a_handler_that_takes_long_holds_up_no_tick(judge: Judge, way: Way) -> None:
    """What was taken and is not judged yet comes first the next time, wherever that reads from."""
    heard: list[Message] = []

    def take_long(message: Message) -> None:
        heard.append(message)
        time.sleep(0.002)

    judge.broker.subscribe("a", take_long)
    way.send("a", count=200)
    start = time.monotonic()
    assert judge.intake.receive(way.pull, 0.01)
    assert time.monotonic() - start >= 0.01 and 5 <= len(heard) <= 100
    other = Way()
    judge.intake.drain(other.pull, 1_000)
    other.close()
    judge.intake.drain(way.pull, 1_000)
    assert numbers(heard) == list(range(1, 201))


def test_draining_waits_for_nothing_and_keeps_to_its_limit(judge: Judge, way: Way) -> None:
    heard: list[Message] = []
    judge.broker.subscribe("a", heard.append)
    judge.intake.drain(way.pull, 10)
    way.send("a", count=700)
    judge.intake.drain(way.pull, 600)
    assert len(heard) == 600
    judge.intake.drain(way.pull, 0)
    assert len(heard) == 600
    judge.intake.drain(way.pull, 10**9)
    assert numbers(heard) == list(range(1, 701))


def test_a_pause_finds_several_at_once(judge: Judge, way: Way) -> None:
    judge.broker.subscribe("a", lambda message: way.send("a") if message.number < 50 else None)
    way.send("a")
    start = time.monotonic()
    assert not judge.intake.receive(way.pull, 60.0, 0.001)
    assert judge.intake.received == 50 and time.monotonic() - start < 30


def test_handlers_that_subscribe_and_unsubscribe_are_heeded_by_the_next_message(judge: Judge, way: Way) -> None:
    """However many parts were taken together."""
    first: list[Message] = []
    second: list[Message] = []
    late: list[Message] = []
    idents: dict[str, int] = {}

    def change(message: Message) -> None:
        if message.payload == "subscribe":
            idents["second"] = judge.broker.subscribe("a", second.append)
            idents["late"] = judge.broker.subscribe("late", late.append)
        elif message.payload == "unsubscribe":
            judge.broker.unsubscribe(idents["first"])
            judge.broker.unsubscribe(idents["late"])

    idents["first"] = judge.broker.subscribe("a", first.append)
    judge.broker.subscribe("change", change)
    for payload in ("before", "subscribe", "between", "unsubscribe", "after"):
        way.send("change", payload)
        way.send("a", count=3)
        way.send("late", count=2)
    judge.intake.drain(way.pull, 1_000)
    assert numbers(first) == list(range(1, 10)) and numbers(second) == list(range(4, 16))
    assert judge.intake.unmatched == 6 and len(judge.careful) == 4 and not late, "wanted twice, from a later number on"


def test_what_nobody_wants_is_counted_and_runs_no_python(way: Way, judge: Judge) -> None:
    judge.broker.subscribe("wanted", print)
    way.send("a", count=2_000)
    way.send("b", count=2_000)
    judge.intake.drain(way.pull, 2_500)
    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        judge.intake.drain(way.pull, 10_000)
    finally:
        sys.setprofile(None)
    assert judge.intake.received == judge.intake.unmatched == 4_000 and judge.first_sights == [b"a", b"b"]
    if type(judge.intake).__module__ == "fabric.core._intake":  # its twin is all Python
        assert calls == 0


def test_a_handler_that_raises_is_told_with_its_place_and_ends_nothing(
    judge: Judge, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[Message] = []

    def leave(message: Message) -> None:
        raise SystemExit("deliberately")

    judge.broker.subscribe("a", heard.append)
    judge.broker.subscribe("a", leave)
    judge.broker.subscribe("+", heard.append)
    judge.broker.subscribe("b", leave)
    way.send("a", count=2)
    way.send("b")
    judge.intake.drain(way.pull, 10)
    assert len(heard) == 5 and judge.raised == [1, 1, 1] and "deliberately" in caplog.text


def test_many_topics_are_each_looked_up_once(judge: Judge, way: Way) -> None:
    heard: list[Message] = []
    judge.broker.subscribe("t/+", heard.append)
    topics = [f"t/{number}" for number in range(3_000)]
    for _ in range(3):
        for topic in topics:
            way.send(topic)
        judge.intake.drain(way.pull, 10_000)
    assert len(heard) == 9_000 and sorted(judge.first_sights) == sorted(topic.encode() for topic in topics)


def test_what_is_for_the_node_itself_is_asked_for_each_time(judge: Judge) -> None:
    for _ in range(3):
        judge.intake.take(b"$ack/1\0body")
    judge.intake.take(b"no NUL")
    assert judge.first_sights == [b"$ack/1"] * 3 and judge.refused == [b"no NUL"] and judge.intake.received == 4


def test_closed_it_keeps_no_handler_alive(judge: Judge, way: Way) -> None:
    class Holder:
        def __init__(self, judge: Judge) -> None:
            self.judge, self.heard = judge, 0
            judge.broker.subscribe("a", self.take)

        def take(self, message: Message) -> None:
            self.heard += 1

    other = Judge(type(judge.intake))
    holder = Holder(other)
    gone = weakref.ref(holder)
    way.send("a", count=300)
    other.intake.drain(way.pull, 100)
    assert holder.heard == 100
    other.intake.close()
    del holder, other
    gc.collect()
    assert gone() is None


def test_a_closed_socket_is_an_error(judge: Judge, way: Way) -> None:
    way.pull.close(0)
    with pytest.raises(zmq.ZMQError):
        judge.intake.receive(way.pull, 1.0)
    with pytest.raises(zmq.ZMQError):
        judge.intake.drain(way.pull, 1)


@pytest.mark.parametrize("size", [0, 31, 32, 255, 256, 65_535, 65_536, 99_000])
@pytest.mark.parametrize("kind", [bytes, str])
def test_payloads_of_every_size_arrive(judge: Judge, way: Way, size: int, kind: Any) -> None:
    heard: list[Message] = []
    judge.broker.subscribe("a", heard.append)
    payload = bytes(size) if kind is bytes else "é" * (size // 2)
    way.send("a", payload)
    way.send("a", payload)
    judge.intake.drain(way.pull, 10)
    assert [message.payload for message in heard] == [payload] * 2 or len(judge.careful) == 2

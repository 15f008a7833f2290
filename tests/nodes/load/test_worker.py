"""Publisher and subscriber of a load test, in threads here, driven through their pipes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fabric import Message, Node
from nodes.load import worker
from nodes.load.latency import merged
from nodes.load.played import Share
from nodes.load.schedule import Schedule, Spec, Stretch
from nodes.load.worker import Accounts, Publisher, Sent, Subscriber, _Once
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box


def spec(mesh: list[ProxyProcess], **changes: Any) -> Spec:
    values: dict[str, Any] = {
        "publishers": 1, "subscribers": 1, "topics": ("w/0", "w/1"), "filters": ("w/#",), "size_bytes": 32,
        "rate": 200.0, "warm_up_s": 0.1, "duration_s": 0.2, "connect": (mesh[0].base,),
    }  # fmt: skip
    return Spec(**(values | changes))


@contextmanager
def working(kind: Callable[[Spec, int, Any], Any], given: Spec) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """A worker in a thread that obeys its pipe; yields its first words, and ask(command…, wanted kind) for answers."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    worker = kind(given, 0, theirs)

    def serve() -> None:
        while (command := worker.next_command())[0] != "close":
            getattr(worker, command[0])(*command[1:])

    def ask(*command: Any, wanted: str) -> Any:
        if command:
            ours.send(command)
        return hear(wanted)

    def hear(wanted: str) -> Any:
        while ours.poll(20):
            answer = ours.recv()
            if answer[0] == wanted:
                return answer
        raise AssertionError(f"no {wanted!r} within 20 s")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield hear("ready"), ask
    finally:
        ours.send(("close",))
        thread.join(20)
        worker.close()
        ours.close()
        theirs.close()


def schedule(given: Spec, rate: float | None) -> Schedule:
    start = time.monotonic_ns() + 10_000_000
    return Schedule(start, start + int(given.duration_s * 1e9), rate, given.publishers)


def test_a_publisher_sends_what_is_scheduled_and_stamps_it(mesh: list[ProxyProcess]) -> None:
    given, box = spec(mesh), Box()
    with Node(mesh[1].base) as node:
        assert node.wait_ack(node.subscribe("w/#", box), 10).ok
        with working(Publisher, given) as ((_, publisher, _covered), ask):
            assert ask("prime", 1000.0, [1, 3], wanted="sent")[1] == Sent(accepted=2, due=4)
            assert ask(wanted="finished")[1:] == ({"w/0": 1, "w/1": 1}, 2, 0, 0)
            plan = schedule(given, 200.0)
            _, published, sent, unsent, refused = ask("run", plan, wanted="finished")
            assert (sent + unsent, refused) == (40, 0) and sum(published.values()) == sent + 2
            messages = box.wait(sent + 2)
    assert {message.publisher for message in messages} == {publisher}
    assert all(len(message.payload) == 32 for message in messages)
    stamps = [worker._stamp.unpack_from(message.payload)[0] for message in messages]
    assert stamps == [0, 0, *(plan.due_ns(0, k) for k in range(sent))], "first messages have none"


def test_as_fast_as_possible_nothing_is_unsent(mesh: list[ProxyProcess]) -> None:
    given = spec(mesh, warm_up_s=0.01, duration_s=0.05)
    with working(Publisher, given) as (_, ask):
        _, published, sent, unsent, _ = ask("run", schedule(given, None), wanted="finished")
    assert sum(published.values()) == sent > 0 == unsent


def test_a_publisher_plays_what_it_has_taken(mesh: list[ProxyProcess]) -> None:
    given, box = spec(mesh), Box()
    share = Share(
        ("w/0", "w/1"), array("q", [0, 10_000_000, 10_000_000]), array("L", [1, 0, 1]), array("L", [8, 9, 50])
    )
    with Node(mesh[1].base) as node:
        assert node.wait_ack(node.subscribe("w/#", box), 10).ok
        with working(Publisher, given) as (_, ask):
            ask("take", share, wanted="begun")
            start = time.monotonic_ns()
            stretch = Stretch(start, start + 60_000_000_000, None)  # nothing can be too late for it
            assert ask("play", stretch, 0.5, wanted="finished")[1:] == ({"w/1": 2, "w/0": 1}, 3, 0, 0)
            assert ask("play", stretch, None, wanted="finished")[1:] == ({"w/1": 4, "w/0": 2}, 3, 0, 0)
            messages = box.wait(6)
    assert [(message.topic, len(message.payload)) for message in messages] == [("w/1", 8), ("w/0", 9), ("w/1", 50)] * 2
    stamps = [worker._stamp.unpack_from(message.payload)[0] - start for message in messages]
    assert stamps[:3] == [0, 20_000_000, 20_000_000] and stamps[3] >= 20_000_000


def test_a_subscriber_keeps_books_and_counts_only_stamped_latencies(mesh: list[ProxyProcess]) -> None:
    with working(Subscriber, spec(mesh)) as ((_, _none, covered), ask), Node(mesh[1].base) as node:
        assert covered == ("p1", "p2")
        ask("begin", (node.publisher,), wanted="begun")
        start = time.monotonic_ns() - 1_000_000_000
        ask("measure", start, 1 << 62, wanted="begun")
        for stamp in (0, time.monotonic_ns() - 3_000_000, time.monotonic_ns()):
            node.publish("w/0", worker._stamp.pack(stamp) + b"rest")
        with Node(mesh[0].base) as stranger:
            stranger.publish("w/0", "not of this test")
            found = accounts(ask, told=3, strangers=1)
    (account,) = found.accounts[node.publisher].values()
    assert (account.delivered, account.lost, account.wrong, found.strangers) == (3, 0, 0, 1)
    latencies = merged(found.slots)
    assert sum(latencies.values()) == 2 and max(latencies) >= 2_990 and found.last_ns > start
    assert (found.told.delivered, found.told.over_delivered, found.told.repaired) == (3, 0, 0)


def accounts(ask: Callable[..., Any], told: int, strangers: int) -> Accounts:
    """Ask again until so many messages have arrived."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found: Accounts = ask("accounts", wanted="accounts")[1]
        arrived = sum(each.delivered for topics in found.accounts.values() for each in topics.values())
        if (arrived, found.strangers) == (told, strangers):
            return found
    raise AssertionError(found)


def test_a_message_that_matches_several_filters_counts_once() -> None:
    box = Box()
    once = _Once(box)
    first, second = (Message("a", None, 1, number, 0, {}) for number in (1, 2))
    for message in (first, first, second):
        once(message)
    assert box.items == [first, second]

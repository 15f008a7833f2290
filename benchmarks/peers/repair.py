"""A subscriber's connection is cut while a publisher goes on: when it has all that it missed, and what it never gets.

The cut is made on the way, by a process between subscriber and server that ends all connections and takes no new ones;
it is the same for every peer. The figure is the time from when the way is healed to when everything that was published
before that has arrived: reconnecting is in it, for without it nothing is repaired. What had not come GIVEN_UP_S after
the last message is lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers.clients import peer_of
from benchmarks.peers.cut import Cut, way
from benchmarks.peers.figures import Work
from benchmarks.peers.servers import servers
from benchmarks.peers.workers import Worker, WorkerError, workers
from fabric.endpoints import PORTS

ROWS = ("fabric", "jetstream", "jetstream_file", "zenoh_advanced")
TOPIC = "repair/a/value"
RATE = 1_000
BEFORE_S, AFTER_S = 0.5, 1.5
START_S = 0.05
PRIME_TRIES = 200
RETRY_S, PHASES = 0.1, 10
"""All clients try to connect about ten times a second. A cut is longer by a part of that from repetition to repetition:
else the way would be healed just before the next try of the one, and just after it of the other."""
A_RUN = 1_000_000
"""Numbers of one repetition begin so far above those of the one before."""


@dataclass(frozen=True)
class Caught:
    """What one cut did.

    took_ms:    from the healing until all that was published before it had come
    missed:     messages that came after the healing, of those published before it
    lost:       messages that never came
    disordered: messages that came behind a later one, or twice
    """

    took_ms: float
    missed: int
    lost: int
    disordered: int


def caught(arrived: Sequence[tuple[int, int]], healed_ns: int, due_ns: Callable[[int], int], count: int) -> Caught:
    """Judge one cut. Pure.

    arrived: number from 0 and time of each message, in the order in which they came
    due_ns:  when a number was published
    """
    first = dict[int, int]()
    highest, disordered = -1, 0
    for number, at_ns in arrived:
        disordered += number <= highest
        highest = max(highest, number)
        first.setdefault(number, at_ns)
    late = [at_ns for number, at_ns in first.items() if due_ns(number) < healed_ns < at_ns]
    took_ms = (max(late) - healed_ns) / 1e6 if late else 0.0
    return Caught(took_ms, len(late), count - len(first), disordered)


def repair(rows: Sequence[str], cuts_s: Sequence[float], repeats: int, say: Callable[[str], None]) -> Work:
    """Cut and heal, for every row in turns."""
    settings = [f"cut for {cut_s:g} s" for cut_s in cuts_s]
    work = Work("repair", f"Caught up after a cut, {RATE:,} messages a second", "ms, median", "lower", settings)
    with contextlib.ExitStack() as stack:
        fields = dict[str, tuple[Cut, Worker, Worker]]()
        for row in rows:
            try:
                running = stack.enter_context(servers(row))
                ports = PORTS if peer_of(row) == "fabric" else 1
                cut = stack.enter_context(way(running.addresses[0], ports))
                publisher, subscriber = stack.enter_context(workers(row, 2))
                publisher.do("open_publisher", running.addresses[0])
                fields[row] = cut, publisher, subscriber
            except RuntimeError as error:
                work.of(settings[0], row).note = str(error)
        for repetition in range(repeats):
            for which, (cut_s, setting) in enumerate(zip(cuts_s, settings, strict=True)):
                first = (repetition * len(settings) + which) * A_RUN  # a number is never used twice
                longer_s = repetition % PHASES * RETRY_S / PHASES
                for row, field in fields.items():
                    _measure(work, setting, row, cut_s + longer_s, first, field, say)
    return work


def _measure(
    work: Work,
    setting: str,
    row: str,
    cut_s: float,
    first: int,
    field: tuple[Cut, Worker, Worker],
    say: Callable[[str], None],
) -> None:
    figures = work.of(setting, row)
    count = int(RATE * (BEFORE_S + cut_s + AFTER_S))
    try:
        found = _once(*field, cut_s, first, count)
    except WorkerError as error:
        figures.note = str(error)
        figures.values.append(0.0)
        return
    figures.values.append(found.took_ms)
    figures.lost.append(found.lost / count)
    figures.more = {"missed": found.missed}
    if found.disordered:
        figures.note = f"gave {found.disordered} messages twice or behind later ones"
    say(f"repair, {setting}: {row} {found.took_ms:,.0f} ms, {found.missed} missed, {found.lost} lost for good")


def _once(cut: Cut, publisher: Worker, subscriber: Worker, cut_s: float, first: int, count: int) -> Caught:
    subscriber.do("watch", cut.address, TOPIC)
    try:
        primed = _prime(publisher, subscriber, first)
        interval_ns = 1_000_000_000 // RATE
        start_ns = time.monotonic_ns() + int(START_S * 1e9)
        publisher.ask("pace", TOPIC, start_ns, interval_ns, primed, count)
        _sleep_until(start_ns + int(BEFORE_S * 1e9))
        cut_ns = cut.cut()
        _sleep_until(cut_ns + int(cut_s * 1e9))
        healed_ns = cut.heal()
        publisher.answer()
        arrived = subscriber.do("arrived", primed, count)
    finally:
        subscriber.do("close")
    own = [(number - primed, at_ns) for number, at_ns in arrived if number >= primed]
    return caught(own, healed_ns, lambda number: start_ns + number * interval_ns, count)


def _prime(publisher: Worker, subscriber: Worker, first: int) -> int:
    """Publish until something arrives; return the number that is next. Only then the subscription is in force."""
    for number in range(first, first + PRIME_TRIES):
        publisher.do("pace", TOPIC, 0, 0, number, 1)
        if subscriber.do("has_arrived", first):
            return number + 1
    raise WorkerError(f"nothing arrived in {PRIME_TRIES} tries")


def _sleep_until(at_ns: int) -> None:
    time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))

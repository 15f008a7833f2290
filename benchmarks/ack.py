"""How long does an ack take, and is it true? Three proxies, processes of their own.

    python -m benchmarks.ack [--rounds N] [--crowds 0,100,500] [--crowd-rounds N] [--filters N]

A round: subscribe at p1 to a prefix that nobody holds, wait for the ack, publish at p2 or p3 at once, wait for the
message, unsubscribe. A message that does not come is lost, and the run invalid. The time is from `subscribe` to the
return of `wait_ack`. A crowd is that many other nodes, 100 a process, spread over the proxies, each with an acked
separate subscription. Last, many different filters on one node: by default and within `max_prefixes`.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import click

from benchmarks import lab
from fabric import Message, Node

NODES_A_PROCESS = 100
AIM_P50_MS = 1.0
AIM_FILTERS_S = 5.0
context = multiprocessing.get_context("spawn")


def crowd_process(bases: list[str], first: int, count: int, ready: Any, stop: Any) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(first, first + count):
            node = stack.enter_context(Node(bases[number % len(bases)], name=f"crowd-{number}", connect_timeout_s=60))
            assert node.wait_ack(node.subscribe(f"crowd/{number}/#", print), 60).ok
        ready.release()
        stop.wait()


@contextlib.contextmanager
def crowd(bases: list[str], count: int) -> Iterator[None]:
    """`count` nodes in processes of their own, connected and subscribed."""
    ready, stop = context.Semaphore(0), context.Event()
    starts = range(0, count, NODES_A_PROCESS)
    processes = [
        context.Process(
            target=crowd_process, args=(bases, first, min(NODES_A_PROCESS, count - first), ready, stop), daemon=True
        )
        for first in starts
    ]
    try:
        for process in processes:
            process.start()
        for _ in processes:
            if not ready.acquire(timeout=90):
                raise click.ClickException(f"{count} nodes were not connected within 90 s")
        yield
    finally:
        stop.set()
        for process in processes:
            process.join(20)


class Rounds:
    """A subscriber at the first proxy and a publisher at each other one."""

    def __init__(self, bases: list[str]) -> None:
        self.stack = contextlib.ExitStack()
        self.here, *self.others = [self.stack.enter_context(Node(base)) for base in bases]
        self.serial = itertools.count()
        self.covers = len(bases)

    def run(self, count: int) -> dict[str, Any]:
        """Return figures of `count` rounds."""
        took, lost = [], 0
        for number, publisher in zip(range(count), itertools.cycle(self.others), strict=False):
            topic, heard = f"round/{next(self.serial)}/x", threading.Event()

            def hear(message: Message, heard: threading.Event = heard) -> None:
                heard.set()

            start = time.perf_counter()
            ident = self.here.subscribe(topic, hear)
            ack = self.here.wait_ack(ident, 10)
            took.append((time.perf_counter() - start) * 1e3)
            if not ack.ok or len(ack.covered) != self.covers:
                raise click.ClickException(f"round {number}: {ack}")
            publisher.publish(topic, None)
            lost += not heard.wait(5)
            self.here.unsubscribe(ident)
        cuts = statistics.quantiles(took, n=1000)
        return {
            "rounds": count,
            "lost": lost,
            "p50_ms": round(cuts[499], 3),
            "p99_ms": round(cuts[989], 3),
            "p99.9_ms": round(cuts[998], 3),
            "max_ms": round(max(took), 3),
        }


def many_filters(bases: list[str], count: int, max_prefixes: int) -> dict[str, Any]:
    """Subscribe to `count` different filters at once; then publish to each at another proxy."""
    topics = [f"truck/{number:06}/{number % 7}" for number in range(count)]
    arrived, done = itertools.count(1), threading.Event()

    def take(message: Message) -> None:
        if next(arrived) == count:
            done.set()

    with Node(bases[0], max_prefixes=max_prefixes, ack_timeout_s=60) as here, Node(bases[1]) as there:
        start = time.perf_counter()
        idents = [here.subscribe(topic, take) for topic in topics]
        acks = [here.wait_ack(ident, 60) for ident in idents]
        acked_s = time.perf_counter() - start
        start = time.perf_counter()
        for topic in topics:
            there.publish(topic, None)
        complete = done.wait(30)
        delivered_s = time.perf_counter() - start
        return {
            "filters": count,
            "max_prefixes": max_prefixes,
            "prefixes": here.stats()["interest"]["wire"],
            "acked": sum(ack.ok and len(ack.covered) == len(bases) for ack in acks),
            "acked_s": round(acked_s, 3),
            "delivered": count if complete else next(arrived) - 1,
            "delivered_s": round(delivered_s, 3),
        }


@click.command(help=__doc__)
@click.option("--rounds", default=10_000, show_default=True, help="rounds with no crowd")
@click.option("--crowds", default="100,500", show_default=True, help="other nodes, several sizes")
@click.option("--crowd-rounds", default=2_000, show_default=True, help="rounds with each crowd")
@click.option("--filters", default=20_000, show_default=True, help="different filters on one node")
def main(rounds: int, crowds: str, crowd_rounds: int, filters: int) -> None:
    rows: dict[str, dict[str, Any]] = {}
    with lab.proxies(3) as bases:
        found = Rounds(bases)
        with found.stack:
            found.run(200)
            rows["0"] = found.run(rounds)
            for size in (int(size) for size in crowds.split(",") if size):
                with crowd(bases, size):
                    rows[str(size)] = found.run(crowd_rounds)
        many = [many_filters(bases, filters, max_prefixes) for max_prefixes in (1_000, filters)]
    load = round(os.getloadavg()[0], 2)
    head = ("other nodes", "rounds", "lost", "p50 ms", "p99 ms", "p99.9 ms", "max ms")
    print(lab.table(head, [(size, *row.values()) for size, row in rows.items()]))
    print()
    print(lab.table(tuple(many[0]), [tuple(row.values()) for row in many]))
    print(f"load average at the end: {load}   written: {lab.write('ack', {'load': load, 'rows': rows, 'many': many})}")
    wrong = [f"{row['lost']} lost with {size} other nodes" for size, row in rows.items() if row["lost"]]
    wrong += [f"p50 {rows['0']['p50_ms']} ms, the aim is {AIM_P50_MS}"] if rows["0"]["p50_ms"] > AIM_P50_MS else []
    for row in many:
        if row["acked"] < filters or row["delivered"] < filters or row["acked_s"] > AIM_FILTERS_S:
            wrong.append(f"{filters} filters, {row['max_prefixes']} prefixes: {row}")
    if wrong:
        raise click.ClickException("; ".join(wrong))


if __name__ == "__main__":
    main()

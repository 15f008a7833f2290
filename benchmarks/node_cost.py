"""What does a message cost its node in CPU time? Compiled beside plain Python, in pairs.

    python -m benchmarks.node_cost [--messages N] [--pairs N]

    publish    `Node.publish` of 64 bytes, and of a dict of three
    many       the same 64 bytes by `Node.publish_many`, 1,000 in a call
    match      a callback that counts
    no match   a filter with a leading wildcard, which brings everything and matches nothing
    async      `async for` over an AsyncNode's subscription

Publisher, subscriber and proxy are processes of their own. A figure is the CPU time of the whole process, its ZeroMQ
thread included, for one message; it holds on a busy machine, too. Messages go out 1,000 at a time, 40,000 a second,
so that none is lost: a run that lost one is an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from benchmarks import lab
from fabric import AsyncNode, Message, Node

TOPICS = [f"bench/{number:04d}/value" for number in range(1000)]
PAYLOAD = b"x" * 64
MAP = {"speed": 33.2, "gear": 4, "driver": "jo"}
BURST_S = 0.025
FILTERS = {"match": "bench/+/value", "no match": "+/+/nothing", "async": "bench/+/value"}
ROWS = ("publish", "publish a dict", "many", *FILTERS)
WARM = len(TOPICS)
"""Messages before the clock starts: each topic's first goes another way."""


def report(cpu_s: float, count: int) -> None:
    print(json.dumps(cpu_s / count * 1e6), flush=True)


def publish(row: str, base: str, count: int) -> None:
    with Node(base) as node:
        payload: Any = MAP if row == "publish a dict" else PAYLOAD

        def send() -> None:
            if row == "many":
                node.publish_many([(topic, PAYLOAD) for topic in TOPICS])
            else:
                for topic in TOPICS:
                    node.publish(topic, payload)

        send()
        time.sleep(0.5)
        due, start = time.monotonic(), time.process_time()
        for _ in range(count // len(TOPICS)):
            send()
            due += BURST_S
            time.sleep(max(0.0, due - time.monotonic()))
        report(time.process_time() - start, count)


def receive(row: str, base: str, count: int) -> None:
    with Node(base) as node:
        seen = 0

        def take(message: Message) -> None:
            nonlocal seen
            seen += 1

        assert node.wait_ack(node.subscribe(FILTERS[row], take), 10).ok
        print("ready", flush=True)

        def received() -> int:
            return int(node.stats()["over_delivered"]) if row == "no match" else seen

        while received() < WARM:
            time.sleep(0.02)
        start = time.process_time()
        wait(received, WARM + count)
        report(time.process_time() - start, count)


def wait(received: Callable[[], int], count: int) -> None:
    last, quiet_until = -1, time.monotonic() + 10
    while (now := received()) < count:
        if now != last:
            last, quiet_until = now, time.monotonic() + 10
        if time.monotonic() > quiet_until:
            raise click.ClickException(f"only {now} of {count} messages came")
        time.sleep(0.05)


def receive_async(base: str, count: int) -> None:
    async def main() -> None:
        async with AsyncNode(base, max_queued_msgs=1_000_000) as node:
            subscription = await node.subscribe(FILTERS["async"])
            assert (await subscription.ack()).ok
            print("ready", flush=True)
            seen, start = 0, 0.0
            async for _ in subscription:
                seen += 1
                if seen == WARM:
                    start = time.process_time()
                elif seen == WARM + count:
                    break
            report(time.process_time() - start, count)

    asyncio.run(main())


def worker(row: str, base: str, count: int, pure: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.node_cost", "--worker", row, base, "--messages", str(count)]
    env = {**os.environ, "FABRIC_PURE": "1" if pure else ""}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=lab.ROOT, env=env)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise click.ClickException(f"a worker ended: {process.wait()}")
    return line


def run(row: str, base: str, count: int, pure: bool) -> float:
    """Return the CPU time of one message, in microseconds."""
    if row not in FILTERS:
        with worker(row, base, count, pure) as only:
            return float(json.loads(said(only)))
    with worker(row, base, count, pure) as subscriber:
        assert said(subscriber) == "ready"
        with worker("many", base, count, False) as publisher:
            said(publisher)
        return float(json.loads(said(subscriber)))


@click.command(help=__doc__)
@click.option("--messages", default=200_000, show_default=True, help="messages a run, in thousands")
@click.option("--pairs", default=3, show_default=True)
@click.option("--worker", "wanted", nargs=2, type=str, default=None, hidden=True)
def main(messages: int, pairs: int, wanted: tuple[str, str] | None) -> None:
    if wanted is not None:
        row, base = wanted
        if row == "async":
            receive_async(base, messages)
        else:
            (receive if row in FILTERS else publish)(row, base, messages)
        return
    found: dict[str, dict[str, list[float]]] = {row: {"plain": [], "compiled": []} for row in ROWS}
    with lab.proxies(1) as (base,):
        for _ in range(pairs):
            for row in ROWS:
                for build in ("plain", "compiled"):
                    found[row][build].append(run(row, base, messages, build == "plain"))
    rows = []
    for row, figures in found.items():
        ratios = [plain / ours for plain, ours in zip(figures["plain"], figures["compiled"], strict=True)]
        medians = {build: round(statistics.median(each), 2) for build, each in figures.items()}
        rows.append({"row": row, **medians, "times": round(statistics.median(ratios), 1), "all": figures})
    head = ("CPU us a message", "plain Python", "compiled", "times")
    print(lab.table(head, [(row["row"], row["plain"], row["compiled"], row["times"]) for row in rows]))
    print(f"written: {lab.write('node_cost', {'messages': messages, 'rows': rows})}")


if __name__ == "__main__":
    main()

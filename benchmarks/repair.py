"""What repair costs, and how long it takes: with one subscriber, and with many that all lost the same.

    python -m benchmarks.repair [--bursts N] [--rounds N] [--subscribers N]

    ring       CPU time of the thread in `Node.publish`, 64 bytes, with what is kept for repair beside without it: in
               turn, 1,000 messages each, once the ring is full
    one        a message in ten is lost on the way to one subscriber; from when the next one was sent, which shows the
               loss, until the lost one is delivered
    storm      many subscribers, in processes of 25 nodes, all lose the same 100 messages; how long until each has them
               all, and what the publisher sent for it

All over two proxies, publisher and subscribers at different ones; publisher, subscribers and proxies are processes of
their own. Messages are lost on purpose, at the publisher: they are numbered and kept, and not sent.
"""

from __future__ import annotations

import contextlib
import itertools
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
from fabric import Message, Node
from tests.support.losing import losing

TOPICS = [f"bench/{number:04d}/value" for number in range(1000)]
PAYLOAD = b"x" * 64
BURST_S = 0.01
WARM_BURSTS = 200
"""Of 1,000 messages: more than 16 MiB, with what each part costs."""
NODES_EACH = 25
LOST = 100
PATIENCE_S = 60.0


def say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


def heard() -> str:
    return sys.stdin.readline().strip()


# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def ring(base: str, bursts: int) -> None:
    """Publish 1,000 messages by turns with what is kept for repair and without; tell the CPU time of each burst, by
    message, in microseconds."""
    sizes = {"without": 0, "with": 16 * 1024 * 1024}
    found: dict[str, list[float]] = {which: [] for which in sizes}
    with contextlib.ExitStack() as stack:
        nodes = {which: stack.enter_context(Node(base, repair_bytes=size)) for which, size in sizes.items()}
        for burst in range(WARM_BURSTS + bursts):
            for which in sorted(sizes, reverse=burst % 2 == 0):
                start = time.thread_time()
                for topic in TOPICS:
                    nodes[which].publish(topic, PAYLOAD)
                if burst >= WARM_BURSTS:
                    found[which].append((time.thread_time() - start) / len(TOPICS) * 1e6)
                time.sleep(BURST_S)
    say(**found)


def every_tenth() -> Callable[[bytes], bool]:
    count = itertools.count(1)
    return lambda part: part.startswith(b"one\0") and next(count) % 10 == 0


def publish(base: str, rounds: int) -> None:
    """One lost message of ten, 200 a second; then, when told to, a hundred lost ones and one that is not."""
    with Node(base) as node:
        node.publish("one", 0)
        node.publish("storm", 0)
        say(ready=True)
        heard()
        with losing(node, every_tenth()):
            for _ in range(rounds * 10):
                node.publish("one", time.monotonic_ns())
                time.sleep(0.005)
        node.publish("one", time.monotonic_ns())
        say(done=True)
        heard()
        with losing(node):
            for _ in range(LOST):
                node.publish("storm", b"x" * 1_000)
        node.publish("storm", time.monotonic_ns())
        say(sent=True)
        heard()
        stats = node.stats()
        say(answered=stats["answered"], repeated=stats["repeated"])


def subscribe_one(base: str, rounds: int) -> None:
    """Tell the time from the message that shows a loss to the delivery of the lost one, in ms."""
    with Node(base) as node:
        found: list[float] = []
        lost_at = 0  # when the last one came that was lost on the way, or 0
        count = 0

        def take(message: Message) -> None:
            nonlocal lost_at, count
            if message.payload == 0:
                return
            now = time.monotonic_ns()
            if lost_at:
                found.append((lost_at - message.payload) / 1e6)
            lost_at = now if count % 10 == 9 else 0
            count += 1

        assert node.wait_ack(node.subscribe("one", take), 10).ok
        say(ready=True)
        end = time.monotonic() + PATIENCE_S + rounds * 0.1
        while count <= rounds * 10 and time.monotonic() < end:
            time.sleep(0.05)
        say(latencies_ms=found, lost=node.stats()["lost"], repaired=node.stats()["repaired"])


def subscribe_many(base: str, count: int) -> None:
    """Tell for each node when it had all, from when the message was sent that showed the loss, in ms."""
    nodes = [Node(base, repair_timeout_s=5.0) for _ in range(count)]
    counts, last = [0] * count, [0.0] * count

    def taker(number: int) -> Any:
        def take(message: Message) -> None:
            counts[number] += 1
            if isinstance(message.payload, int) and message.payload:
                last[number] = (time.monotonic_ns() - message.payload) / 1e6

        return take

    held = [node.subscribe("storm", taker(number)) for number, node in enumerate(nodes)]
    for node, each in zip(nodes, held, strict=True):
        assert node.wait_ack(each, 30).ok
    say(ready=True)
    end = time.monotonic() + PATIENCE_S + 60
    while not all(last) and time.monotonic() < end:
        time.sleep(0.01)
    stats = [node.stats() for node in nodes]
    whole = [each for each, number in zip(last, counts, strict=True) if number >= LOST + 1]
    say(ms=whole, lost=sum(each["lost"] for each in stats), asked=sum(each["asked"] for each in stats))
    for node in nodes:
        node.close(1)


# ── who drives them ──────────────────────────────────────────────────────────────────────────────────────────────────


def worker(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.repair", "--worker", json.dumps(words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=lab.ROOT, env=dict(os.environ))


def said(process: subprocess.Popen[str]) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise click.ClickException(f"a worker ended: {process.wait()}")
    return json.loads(line)


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def ring_cost(base: str, bursts: int) -> dict[str, Any]:
    with worker("ring", base, bursts) as only:
        found = said(only)
    ratios = [a / b for a, b in zip(found["with"], found["without"], strict=True)]
    medians = {f"{which}_us": round(statistics.median(each), 3) for which, each in found.items()}
    return {**medians, "times": round(statistics.median(ratios), 3), "all": found}


def quantiles(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    at = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: round(values[min(len(values) - 1, int(len(values) * share))], 2) for name, share in at.items()}
    return {**found, "max": round(values[-1], 2)}


def losses(here: str, there: str, rounds: int, subscribers: int) -> dict[str, Any]:
    counts = [min(NODES_EACH, subscribers - first) for first in range(0, subscribers, NODES_EACH)]
    crowd = [worker("subscribe_many", there, count) for count in counts]
    one = worker("subscribe_one", there, rounds)
    for each in (*crowd, one):
        said(each)
    publisher = worker("publish", here, rounds)
    said(publisher)
    time.sleep(1.0)  # the first message of each topic is everywhere
    tell(publisher)
    said(publisher)
    first = said(one)
    tell(publisher)
    said(publisher)
    whole = [said(each) for each in crowd]
    tell(publisher)
    sent = said(publisher)
    for each in (*crowd, one, publisher):
        each.wait()
    return {
        "one": {**quantiles(first["latencies_ms"]), "repaired": first["repaired"], "lost": first["lost"]},
        "storm": {
            "subscribers": subscribers,
            "whole": sum(len(each["ms"]) for each in whole),
            **quantiles([ms for each in whole for ms in each["ms"]]),
            "lost": sum(each["lost"] for each in whole),
            "asks": sum(each["asked"] for each in whole),
            "answered": sent["answered"] - first["repaired"],
            "repeated": sent["repeated"],
        },
    }


@click.command(help=__doc__)
@click.option("--bursts", default=1_000, show_default=True, help="pairs of `ring`")
@click.option("--rounds", default=200, show_default=True, help="losses of `one`")
@click.option("--subscribers", default=200, show_default=True, help="of `storm`")
@click.option("--worker", "wanted", default="", hidden=True)
def main(bursts: int, rounds: int, subscribers: int, wanted: str) -> None:
    if wanted:
        verb, *arguments = json.loads(wanted)
        verbs: dict[str, Any] = {
            "ring": ring,
            "publish": publish,
            "subscribe_one": subscribe_one,
            "subscribe_many": subscribe_many,
        }
        verbs[verb](*arguments)
        return
    with lab.proxies(2) as (here, there):
        found = {"ring": ring_cost(here, bursts), **losses(here, there, rounds, subscribers)}
    cost = found["ring"]
    head = ("CPU us a message", "without", "with", "times")
    print(lab.table(head, [("publish", cost["without_us"], cost["with_us"], cost["times"])]))
    for name in ("one", "storm"):
        print(lab.table((name, "figure"), [(key, value) for key, value in found[name].items()]))
    print(f"written: {lab.write('repair', found)}")


if __name__ == "__main__":
    main()

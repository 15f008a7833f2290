"""How much of raw ZeroMQ's fan-out is left when messages are numbered, decoded and handed to callbacks?

    python -m benchmarks.fan_out [--messages N] [--pairs N] [--subscribers 1,4,8]

    raw     a Python PUSH of ready parts; receivers that only `recv()`
    fabric  Node.publish of 64-byte payloads; subscribers of `bench/+/value` with a callback

Same proxy process for both, parts of equal length and topics (1,000), each subscriber and the publisher a process of
its own. A figure is deliveries a second, from the first to the last that any subscriber received. A pair is one raw
run and one run of the fabric, in turn; the ratio is taken within the pair, and the median of the pairs counts. A run
in which a message was lost is invalid and made again.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from typing import Any

import click
import zmq

from benchmarks import lab
from fabric import Message, Node
from fabric.endpoints import Endpoints
from fabric.wire import encode

TOPICS = [f"bench/{number:04d}/value" for number in range(1000)]
PAYLOAD = "x" * 64
AIMS = {1: 0.25, 4: 0.35, 8: 0.35}
TIMEOUT_S = 60.0
context = multiprocessing.get_context("spawn")


def raw_subscriber(base: str, count: int, barrier: Any, results: Any) -> None:
    endpoints = Endpoints.parse(base)
    socket = zmq.Context().socket(zmq.XSUB)
    socket.sndhwm = socket.rcvhwm = 0
    socket.connect(endpoints.out)
    socket.send(b"\x01bench/")
    time.sleep(0.5)  # a raw receiver has no ack to wait for
    barrier.wait()
    socket.rcvtimeo = 10_000
    recv = socket.recv
    got = 0
    try:
        recv()
        start = time.time()
        got = 1
        for _ in range(count - 1):
            recv()
            got += 1
    except zmq.Again:
        pass
    results.put((start if got else 0.0, time.time(), got))


def raw_publisher(base: str, count: int, barrier: Any) -> None:
    parts = [encode(topic, 2**63, 10**4, time.time_ns(), PAYLOAD) for topic in TOPICS]
    socket = zmq.Context().socket(zmq.PUSH)
    socket.sndhwm = 0
    socket.connect(Endpoints.parse(base).ingress)
    barrier.wait()
    send = socket.send
    for number in range(count):
        send(parts[number % 1000])
    barrier.wait()


def fabric_subscriber(base: str, count: int, barrier: Any, results: Any) -> None:
    got = 0
    start = 0.0
    done = context.Event()

    def take(message: Message) -> None:
        nonlocal got, start
        got += 1
        if got == 1:
            start = time.time()
        elif got == count:
            done.set()

    with Node(base) as node:
        ack = node.wait_ack(node.subscribe("bench/+/value", take), 10)
        assert ack.ok, ack
        barrier.wait()
        done.wait(30)
        results.put((start, time.time(), got))


def fabric_publisher(base: str, count: int, barrier: Any) -> None:
    with Node(base) as node:
        barrier.wait()
        publish = node.publish
        for number in range(count):
            publish(TOPICS[number % 1000], PAYLOAD)
        barrier.wait()


def run(kind: str, base: str, subscribers: int, count: int) -> float | None:
    """Return deliveries a second, or None when a message was lost."""
    subscriber, publisher = (raw_subscriber, raw_publisher) if kind == "raw" else (fabric_subscriber, fabric_publisher)
    barrier, results = context.Barrier(subscribers + 1), context.Queue()
    end = context.Barrier(2)
    workers = [
        context.Process(target=subscriber, args=(base, count, barrier, results), daemon=True)
        for _ in range(subscribers)
    ]
    sender = context.Process(target=_publish, args=(publisher, base, count, barrier, end), daemon=True)
    for process in (*workers, sender):
        process.start()
    found = [results.get(timeout=TIMEOUT_S) for _ in range(subscribers)]
    end.wait(TIMEOUT_S)
    for process in (*workers, sender):
        process.join(TIMEOUT_S)
    if any(got != count for _, _, got in found):
        return None
    rate: float = subscribers * count / (max(last for _, last, _ in found) - min(first for first, _, _ in found))
    return rate


class _TwoBarriers:
    """The publisher's view: begin with everybody, end with the one who measures."""

    def __init__(self, begin: Any, end: Any) -> None:
        self._waits = iter((begin, end))

    def wait(self) -> None:
        next(self._waits).wait(TIMEOUT_S)


def _publish(publisher: Any, base: str, count: int, begin: Any, end: Any) -> None:
    publisher(base, count, _TwoBarriers(begin, end))


def measure(base: str, subscribers: int, count: int, pairs: int) -> dict[str, Any]:
    """Return the medians and all ratios for this number of subscribers."""
    figures: dict[str, list[float]] = {"raw": [], "fabric": []}
    invalid = 0
    for _ in range(pairs):
        for kind, found in figures.items():
            while (rate := run(kind, base, subscribers, count)) is None:
                invalid += 1
                if invalid > 10:
                    raise click.ClickException("more than ten runs lost messages: fewer --messages would be right")
            found.append(rate)
    ratios = [fabric / raw for fabric, raw in zip(figures["fabric"], figures["raw"], strict=True)]
    return {
        "subscribers": subscribers,
        "raw_per_s": round(statistics.median(figures["raw"])),
        "fabric_per_s": round(statistics.median(figures["fabric"])),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "aim": AIMS.get(subscribers),
        "invalid_runs": invalid,
    }


@click.command(help=__doc__)
@click.option("--messages", default=100_000, show_default=True, help="messages a run")
@click.option("--pairs", default=5, show_default=True)
@click.option("--subscribers", default="1,4,8", show_default=True)
def main(messages: int, pairs: int, subscribers: str) -> None:
    rows = []
    with lab.proxies(1) as (base,):
        for count in map(int, subscribers.split(",")):
            rows.append(measure(base, count, messages, pairs))
    print(
        lab.table(
            ("subscribers", "raw/s", "fabric/s", "ratio", "low", "high", "aim", "invalid"),
            [
                (
                    row["subscribers"],
                    f"{row['raw_per_s']:,}",
                    f"{row['fabric_per_s']:,}",
                    row["ratio"],
                    min(row["ratios"]),
                    max(row["ratios"]),
                    row["aim"],
                    row["invalid_runs"],
                )
                for row in rows
            ],
        )
    )
    print(f"written: {lab.write('fan_out', {'messages': messages, 'rows': rows})}")


if __name__ == "__main__":
    main()

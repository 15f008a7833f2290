"""How long does a message take to another process and back, beside raw ZeroMQ through the same proxy?

    python -m benchmarks.round_trip [--rounds N] [--blocks N]

    raw     PUSH of a ready part, XSUB that only receives, at both ends
    fabric  Node.publish, a callback that publishes the answer, a callback that notes the time

One at a time, 64-byte payloads. Blocks of raw and fabric rounds take turns; a quantile is taken over all rounds of a
kind, the ratio of medians within each pair of blocks.
"""

from __future__ import annotations

import multiprocessing
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import click
import zmq

from benchmarks import lab
from fabric import Message, Node
from fabric.endpoints import Endpoints
from fabric.wire import encode

PAYLOAD = "x" * 64
context = multiprocessing.get_context("spawn")


def raw_pair(base: str, prefix: bytes) -> tuple[Any, Any]:
    ctx = zmq.Context()
    endpoints = Endpoints.parse(base)
    receiver, sender = ctx.socket(zmq.XSUB), ctx.socket(zmq.PUSH)
    receiver.connect(endpoints.out)
    receiver.send(b"\x01" + prefix)
    sender.connect(endpoints.ingress)
    return receiver, sender


def echo(base: str, ready: Any, stop: Any) -> None:
    """Answer raw rounds from one thread and the fabric's from a callback."""
    receiver, sender = raw_pair(base, b"raw/ping\0")
    receiver.rcvtimeo = 100
    answer = encode("raw/pong", 1, 1, time.time_ns(), PAYLOAD)
    with Node(base) as node:
        ack = node.wait_ack(node.subscribe("fabric/ping", lambda message: node.publish("fabric/pong", PAYLOAD)), 10)
        assert ack.ok, ack
        ready.set()
        while not stop.is_set():
            try:
                receiver.recv()
            except zmq.Again:
                continue
            sender.send(answer)


def raw_round(base: str) -> Callable[[], None]:
    receiver, sender = raw_pair(base, b"raw/pong\0")
    receiver.rcvtimeo = 5_000
    question = encode("raw/ping", 1, 1, time.time_ns(), PAYLOAD)

    def one() -> None:
        sender.send(question)
        receiver.recv()

    while True:  # until the subscriptions of both ends have arrived; a raw socket has no ack
        sender.send(question)
        if receiver.poll(100):
            receiver.recv()
            break
    while receiver.poll(200):
        receiver.recv()
    return one


def fabric_round(node: Node) -> Callable[[], None]:
    back = threading.Event()

    def take(message: Message) -> None:
        back.set()

    assert node.wait_ack(node.subscribe("fabric/pong", take), 10).ok

    def one() -> None:
        back.clear()
        node.publish("fabric/ping", PAYLOAD)
        if not back.wait(5):
            raise click.ClickException("a message did not come back within 5 s")

    return one


def block(one: Callable[[], None], rounds: int) -> list[float]:
    """Return the times of `rounds` round trips, in us."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        one()
        took.append((time.perf_counter() - start) * 1e6)
    return took


def quantiles(took: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(took, n=1000)
    return {"p50_us": round(cuts[499], 1), "p99_us": round(cuts[989], 1), "p99.9_us": round(cuts[998], 1)}


@click.command(help=__doc__)
@click.option("--rounds", default=1_000, show_default=True, help="round trips in a block")
@click.option("--blocks", default=10, show_default=True)
def main(rounds: int, blocks: int) -> None:
    ready, stop = context.Event(), context.Event()
    took: dict[str, list[float]] = {"raw": [], "fabric": []}
    ratios = []
    with lab.proxies(1) as (base,):
        partner = context.Process(target=echo, args=(base, ready, stop), daemon=True)
        partner.start()
        assert ready.wait(20)
        with Node(base) as node:
            kinds = {"raw": raw_round(base), "fabric": fabric_round(node)}
            for one in kinds.values():
                block(one, 100)
            for _ in range(blocks):
                found = {kind: block(one, rounds) for kind, one in kinds.items()}
                for kind, times in found.items():
                    took[kind] += times
                ratios.append(statistics.median(found["raw"]) / statistics.median(found["fabric"]))
        stop.set()
        partner.join(5)
    rows = {kind: quantiles(times) for kind, times in took.items()}
    print(lab.table(("", "p50 us", "p99 us", "p99.9 us"), [(kind, *row.values()) for kind, row in rows.items()]))
    print(f"raw / fabric, median of {blocks} pairs of blocks: {statistics.median(ratios):.2f}")
    print(f"written: {lab.write('round_trip', {'rows': rows, 'ratios': ratios})}")


if __name__ == "__main__":
    main()

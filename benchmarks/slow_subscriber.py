"""What does a slow subscriber cost the others at its proxy?

    python -m benchmarks.slow_subscriber [--messages N] [--pairs N] [--subscribers N]

    without  subscribers of `bench/+/value` with a callback that only counts, as in benchmarks.fan_out
    with     the same, and beside them one whose callback takes 1 ms; its queue at the proxy is full before the run

A figure is deliveries a second to the quick ones. A pair is a run without and a run with, in turn; the ratio is taken
within the pair, and the median of the pairs counts. A run in which a quick one lost a message is made again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from typing import Any

import click

from benchmarks import lab
from benchmarks.fan_out import PAYLOAD, run
from fabric import Node
from fabric.sockets import HWM_MSGS

AIM = 0.9
PAUSE_S = 0.001
FILL_MSGS = HWM_MSGS * 2
"""Its queue at the proxy, its own, and what the system's buffers hold of 100-byte messages."""
context = multiprocessing.get_context("spawn")


def slow_subscriber(base: str, ready: Any) -> None:
    with Node(base) as node:
        for topic_filter in ("bench/#", "fill"):
            assert node.wait_ack(node.subscribe(topic_filter, lambda message: time.sleep(PAUSE_S)), 10).ok
        ready.set()
        time.sleep(3600)  # the one who measures ends this process


@contextlib.contextmanager
def beside(base: str) -> Iterator[None]:
    """A slow subscriber whose queue is full."""
    ready = context.Event()
    slow = context.Process(target=slow_subscriber, args=(base, ready), daemon=True)
    slow.start()
    try:
        if not ready.wait(20):
            raise click.ClickException("the slow subscriber got no ack within 20 s")
        with Node(base) as node:
            for _ in range(FILL_MSGS):
                node.publish("fill", PAYLOAD)
        yield
    finally:
        slow.kill()
        slow.join()


def valid(base: str, subscribers: int, messages: int) -> float:
    for _ in range(5):
        rate = run("fabric", base, subscribers, messages)
        if rate is not None:
            return rate
    raise click.ClickException("five runs lost messages: fewer --messages would be right")


@click.command(help=__doc__)
@click.option("--messages", default=100_000, show_default=True, help="messages a run")
@click.option("--pairs", default=5, show_default=True)
@click.option("--subscribers", default=4, show_default=True, help="quick ones")
def main(messages: int, pairs: int, subscribers: int) -> None:
    rates: dict[str, list[float]] = {"without": [], "with": []}
    with lab.proxies(1) as (base,):
        valid(base, subscribers, messages)  # a first run warms what the later ones find warm
        for _ in range(pairs):
            rates["without"].append(valid(base, subscribers, messages))
            with beside(base):
                rates["with"].append(valid(base, subscribers, messages))
    ratios = [slowed / free for free, slowed in zip(rates["without"], rates["with"], strict=True)]
    medians = {kind: round(statistics.median(found)) for kind, found in rates.items()}
    print(
        lab.table(
            ("subscribers", "without/s", "with/s", "ratio", "low", "high", "aim"),
            [
                (
                    subscribers,
                    *(f"{rate:,}" for rate in medians.values()),
                    *(f"{ratio:.2f}" for ratio in (statistics.median(ratios), min(ratios), max(ratios))),
                    AIM,
                )
            ],
        )
    )
    rows = {"subscribers": subscribers, "messages": messages, "rates": rates, "ratios": ratios, "aim": AIM}
    print(f"written: {lab.write('slow_subscriber', rows)}")


if __name__ == "__main__":
    main()

"""How long is the ack of one wildcard subscription, that wants what is retained of many topics? Processes of their own.

    python -m benchmarks.retained [--sizes 1,1000,100000] [--rounds N] [--payload-bytes N]

Three proxies. The topics are set at p1 and p2, half at each, and retained; then a node at p3 subscribes to all of them,
in one filter, again and again. The time is from `subscribe` to the return of `wait_ack`: every value was handed to the
handler before. A round that ends without all values makes the run invalid. Beside it, the same subscription without
`retained`, as the cost of the ack alone.
"""

from __future__ import annotations

import os
import statistics
import time
from typing import Any

import click

from benchmarks import lab
from fabric import Node

AIM_S = {1: 0.005, 1_000: 0.1, 100_000: 5.0}
"""Bounds of the median, by size: one value costs little beside the ack, and 100,000 come within the default time-out of
an ack, on two cores that are shared by three proxies, two nodes and this."""
PATIENCE_S = 60.0


def set_topics(nodes: list[Node], since: int, until: int, payload: bytes) -> float:
    """Set the topics of these numbers, in turn by each node; return seconds until all are known to have arrived."""
    start = time.perf_counter()
    for number in range(since, until):
        nodes[number % len(nodes)].publish(f"kept/{number // 100}/{number}", payload, retain=True)
    while any(node.stats()["unconfirmed"] for node in nodes):
        time.sleep(0.01)
    return time.perf_counter() - start


def measure(base: str, topics: int, rounds: int, *, retained: bool) -> dict[str, Any]:
    """Return figures of `rounds` subscriptions of one new node each."""
    took: list[float] = []
    for _ in range(rounds):
        came: list[object] = []
        with Node(base, ack_timeout_s=PATIENCE_S) as node:
            start = time.perf_counter()
            ack = node.wait_ack(node.subscribe("kept/#", came.append, retained=retained), PATIENCE_S)
            took.append(time.perf_counter() - start)
        if not ack.ok or len(ack.covered) != 3 or len(came) != (topics if retained else 0):
            raise click.ClickException(f"{len(came)} of {topics} values, {ack}")
    return {
        "p50_ms": round(statistics.median(took) * 1e3, 2),
        "max_ms": round(max(took) * 1e3, 2),
        "values_a_s": round(topics / statistics.median(took)) if retained else "",
    }


@click.command(help=__doc__)
@click.option("--sizes", default="1,1000,100000", show_default=True, help="topics, several sizes, each larger")
@click.option("--rounds", default=20, show_default=True, help="subscriptions for each size; a tenth for the largest")
@click.option("--payload-bytes", default=64, show_default=True)
def main(sizes: str, rounds: int, payload_bytes: int) -> None:
    rows: list[dict[str, Any]] = []
    with lab.proxies(3) as bases, Node(bases[0]) as first, Node(bases[1]) as second:
        done = 0
        for size in (int(each) for each in sizes.split(",")):
            setting_s = set_topics([first, second], done, size, bytes(payload_bytes))
            times = max(2, rounds // 10) if size > 10_000 else rounds
            plain, kept = (measure(bases[2], size, times, retained=each) for each in (False, True))
            rows.append(
                {
                    "topics": size,
                    "rounds": times,
                    "set_a_s": round((size - done) / setting_s),
                    "ack_alone_p50_ms": plain["p50_ms"],
                    **kept,
                }
            )
            done = size
    load = round(os.getloadavg()[0], 2)
    print(lab.table(tuple(rows[0]), [tuple(row.values()) for row in rows]))
    print(f"load average at the end: {load}   written: {lab.write('retained', {'load': load, 'rows': rows})}")
    wrong = [row for row in rows if row["p50_ms"] > AIM_S.get(row["topics"], PATIENCE_S) * 1e3]
    if wrong:
        raise click.ClickException("; ".join(f"{row['topics']} topics: p50 {row['p50_ms']} ms" for row in wrong))


if __name__ == "__main__":
    main()

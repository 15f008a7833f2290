"""Does a proxy with a thousand nodes stay as it is? Memory and open files, over a long time at a steady rate.

`python -m benchmarks.soak_nodes --nodes 1000 --filters 20000 --minutes 30` starts a proxy and, in several processes,
the nodes (benchmarks/crowd.py); each message goes from one node to one other. It samples the processes, balances the
books at the end, writes a report in Markdown, and fails where memory grew, a file stayed open, or a message is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from benchmarks import lab

IN_ONE_PROCESS = 100
SAMPLE_S = 10.0
SETTLED = 1 / 3
"""The part of the run after which memory must stay: what is made once, at first use, is there by then."""
FLAT = 0.01
"""So much more at the end is still flat: an allocator's noise."""
BOOKS_S = 120.0
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    """`at_s` since the beginning; memory in bytes and open files of the proxy, and of the processes with nodes."""

    at_s: float
    proxy_bytes: int
    proxy_files: int
    nodes_bytes: int
    nodes_files: int


def start(stack: contextlib.ExitStack, *words: str) -> subprocess.Popen[str]:
    """Start a module with arguments; when the stack is left its stdin is closed, it is told to end, and waited for."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=lab.ROOT
    )
    assert process.stdin and process.stdout
    stack.callback(process.stdout.close)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    stack.callback(process.stdin.close)
    return process


class Crowd:
    """The processes with nodes."""

    def __init__(self, base: str, nodes: int, filters: int, rate: float, stack: contextlib.ExitStack) -> None:
        self.running: list[subprocess.Popen[str]] = []
        for first in range(0, nodes, IN_ONE_PROCESS):
            count = min(IN_ONE_PROCESS, nodes - first)
            words = [base, str(first), str(count), str(filters // nodes), str(rate / nodes)]
            process = start(stack, "benchmarks.crowd", *words)
            self.running.append(process)
        self.acked = sum(int(each["acked"]) for each in hear(self.running, "acked"))

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self.running]

    def ask(self, what: str, answer: str) -> list[dict[str, Any]]:
        for process in self.running:
            assert process.stdin
            process.stdin.write(f"{what}\n")
            process.stdin.flush()
        return hear(self.running, answer)


def hear(processes: Sequence[subprocess.Popen[str]], event: str) -> list[dict[str, Any]]:
    """The next line of each, which must be this event."""
    found = []
    for process in processes:
        assert process.stdout
        found.append(json.loads(process.stdout.readline() or "{}"))
        if found[-1].get("event") != event:
            raise click.ClickException(f"process {process.pid} said {found[-1]} instead of {event!r}")
    return found


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def take(begun: float, proxy: int, nodes: Sequence[int]) -> Sample:
    return Sample(
        round(time.monotonic() - begun, 1),
        resident_bytes(proxy),
        open_files(proxy),
        sum(map(resident_bytes, nodes)),
        sum(map(open_files, nodes)),
    )


def watch(minutes: float, proxy: int, nodes: Sequence[int]) -> list[Sample]:
    """Sample until the time is over."""
    begun = time.monotonic()
    samples = [take(begun, proxy, nodes)]
    while samples[-1].at_s < minutes * 60:
        time.sleep(max(0.0, min(SAMPLE_S, begun + minutes * 60 - time.monotonic())))
        samples.append(take(begun, proxy, nodes))
    return samples


def balance(crowd: Crowd) -> dict[str, int]:
    """Stop the load, and wait until every message is delivered or reported lost, or for BOOKS_S."""
    stopped = crowd.ask("stop", "published")
    sums = {key: sum(each[key] for each in stopped) for key in ("total", "refused", "reconnects")}
    end = time.monotonic() + BOOKS_S
    while True:
        told = crowd.ask("books", "books")
        found = {key: sum(each[key] for each in told) for key in ("delivered", "lost", "open")}
        if not found["open"] or time.monotonic() > end:
            return {**sums, **found}
        time.sleep(0.5)


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────────


def grown(samples: Sequence[Sample], name: str) -> float:
    """How much more at the end than once settled, as a part of that: medians of a tenth of the samples each."""
    settled = samples[int(len(samples) * SETTLED) :]
    width = max(1, len(settled) // 10)
    first, last = (
        statistics.median(getattr(each, name) for each in part) for part in (settled[:width], settled[-width:])
    )
    return float(last / first - 1)


def problems(samples: Sequence[Sample], books: dict[str, int], acked: int, filters: int) -> list[str]:
    found = [
        f"{words} grew by {grown(samples, name):.1%}; at most {FLAT:.0%} is flat"
        for name, words in (("proxy_bytes", "the proxy's memory"), ("nodes_bytes", "the nodes' memory"))
        if grown(samples, name) > FLAT
    ]
    for name, words in (("proxy_files", "the proxy"), ("nodes_files", "the nodes")):
        first, last = getattr(samples[0], name), getattr(samples[-1], name)
        if last > first:
            found.append(f"{words} had {first} open files, and has {last}")
    if books["open"]:
        found.append(f"on {books['open']} topics not all that was published is delivered or reported lost")
    if acked < filters:
        found.append(f"{acked} of {filters} subscriptions were acked")
    return found


def report(samples: Sequence[Sample], facts: dict[str, Any], nodes: int, wrong: list[str]) -> str:
    picked = [samples[round(at * (len(samples) - 1) / 10)] for at in range(11)]
    rows = [
        f"| {each.at_s / 60:.1f} | {each.proxy_bytes / MIB:.1f} | {each.proxy_files} |"
        f" {each.nodes_bytes / nodes / MIB:.2f} | {each.nodes_files / nodes:.2f} |"
        for each in picked
    ]
    return "\n".join(
        [
            f"# A thousand nodes, for a long time\n\n`scripts/soak` with {nodes} nodes at one proxy wrote this.\n",
            "| | |",
            "|---|---|",
            *(
                f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value} |"
                for name, value in facts.items()
            ),
            f"| verdict | {'; '.join(wrong) or 'flat'} |",
            "\nMemory is what is resident, in MiB; of the nodes: the sum of their processes, a node's share.\n",
            "| min | proxy MiB | proxy files | node MiB | node files |",
            "|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


@click.command(help=__doc__)
@click.option("--nodes", default=1_000, show_default=True, type=click.IntRange(2), help="how many, at one proxy")
@click.option("--filters", default=20_000, show_default=True, type=click.IntRange(1), help="of all nodes together")
@click.option("--minutes", default=30.0, show_default=True, type=click.FloatRange(0.1), help="how long")
@click.option("--rate", default=200.0, show_default=True, type=click.FloatRange(0.1), help="messages a second, of all")
@click.option("--report", "path", type=click.Path(path_type=Path), default=Path("benchmarks/soak-1000-nodes.md"),
              show_default=True, help="where the report goes")  # fmt: skip
def main(nodes: int, filters: int, minutes: float, rate: float, path: Path) -> None:
    if filters < nodes:
        raise click.UsageError(f"--filters {filters}: expected one for each of {nodes} nodes, or more")
    with contextlib.ExitStack() as stack:
        base = lab.free_base()
        proxy = start(stack, "nodes.cli", "proxy", "--listen", base, "--name", "p1")
        hear([proxy], "ready")
        begun = time.monotonic()
        crowd = Crowd(base, nodes, filters, rate, stack)
        ready_s = time.monotonic() - begun
        warmed_up = sum(each["total"] for each in hear(crowd.running, "ready"))
        pids = [proxy.pid, *crowd.pids]
        before, begun = [cpu_s(pid) for pid in pids], time.monotonic()
        samples = watch(minutes, proxy.pid, crowd.pids)
        used = [(cpu_s(pid) - was) / (time.monotonic() - begun) for pid, was in zip(pids, before, strict=True)]
        books = balance(crowd)
    wrong = problems(samples, books, crowd.acked, filters // nodes * nodes)
    facts = {
        "nodes, in processes": f"{nodes} in {len(crowd.running)}",
        "filters, acked": crowd.acked,
        "connected, subscribed and acked in": f"{ready_s:.1f} s",
        "minutes": f"{samples[-1].at_s / 60:.1f}",
        "messages a second, after a first round": f"{(books['total'] - warmed_up) / samples[-1].at_s:.0f}",
        "published": books["total"],
        "refused, as the connection was lost": books["refused"],
        "delivered": books["delivered"],
        "reported lost": books["lost"],
        "connections lost and made again": books["reconnects"],
        "processor, proxy": f"{used[0]:.1%} of a core",
        "processor, all nodes": f"{sum(used[1:]):.1%} of a core",
        "proxy's memory, grown after the first third": f"{grown(samples, 'proxy_bytes'):+.2%}",
        "nodes' memory, grown after the first third": f"{grown(samples, 'nodes_bytes'):+.2%}",
        **{name: value for name, value in lab.environment().items() if isinstance(value, str)},
    }
    text = report(samples, facts, nodes, wrong)
    path.write_text(text)
    click.echo(text)
    if wrong:
        raise click.ClickException("; ".join(wrong))


if __name__ == "__main__":
    main()

"""How long does a page update take to its agent, and what does a page cost in memory?

    python -m benchmarks.cobrowse [--sessions N] [--rate N] [--seconds S] [--pages N]

    updates  N co-browse sessions at once; each page sends RATE updates a second of 200 bytes, evenly spread over all.
             Latency counts from the moment at which an update was due, to the call of the agent's handler
    memory   what each of N pages that hold a contact code adds to its process

A proxy, a frame node (SQLite), the pages and the agents are processes of their own. An update that does not arrive, or
comes out of order, makes the run invalid.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click

from benchmarks import lab
from benchmarks.codes import frame_node
from fabric import Node
from nodes.agent.agent import Agent
from nodes.page.hosted_page import HostedPage

START_S = 60.0
BODY = "x" * 200
context = multiprocessing.get_context("spawn")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def host(base: str, count: int, rate: float, seconds: float, codes: Any, joined: Any, sent: Any, done: Any) -> None:
    """The pages. Puts their codes, waits until all are joined, sends, and puts how much was sent."""
    with Node(base) as node:
        pages = [open_page(node, codes) for _ in range(count)]
        joined.wait(START_S)
        due, turns = time.monotonic(), int(rate * seconds)
        for _ in range(turns):
            for number, page in enumerate(pages):
                moment = due + number / count / rate
                pause_s = moment - time.monotonic()
                if pause_s > 0:
                    time.sleep(pause_s)
                page.send_update({"due": moment, "body": BODY})
            due += 1 / rate
        sent.put(turns * count)
        done.wait(START_S)  # the agents have it all
        for page in pages:
            page.close()


def open_page(node: Node, codes: Any) -> HostedPage:
    page = HostedPage(lease_s=60.0)
    page.subscribe("~/site_connect/ready", lambda message: codes.put(message.payload["code"]))
    page.subscribe("~pagesession/cobrowsing/snapshot_request", lambda _: page.send_update(None, snapshot=True))
    page.attach(node)
    return page


class Agents:
    """One agent for all sessions, in this process."""

    def __init__(self, node: Node, sessions: int) -> None:
        self.latencies: list[float] = []
        self.snapshots, self._sessions = 0, sessions
        self.all_joined = threading.Event()
        self.agent = Agent(node, "bench", "Bench", on_event=self._on_event, lease_s=60.0)

    def _on_event(self, event: dict[str, Any]) -> None:
        if event["event"] != "update":
            return
        if event["snapshot"]:
            self.snapshots += 1
            if self.snapshots == self._sessions:
                self.all_joined.set()
        else:
            self.latencies.append(time.monotonic() - event["update"]["due"])


def updates(base: str, sessions: int, rate: float, seconds: float) -> dict[str, Any]:
    """Measure latencies, in seconds."""
    codes, sent, joined, done = context.Queue(), context.Queue(), context.Event(), context.Event()
    pages = context.Process(target=host, args=(base, sessions, rate, seconds, codes, joined, sent, done))
    pages.start()
    try:
        with Node(base) as node:
            agents = Agents(node, sessions)
            if not agents.agent.wait_ready(START_S):
                raise click.ClickException("the agent could not sign in")
            for future in [agents.agent.join(codes.get(timeout=START_S)) for _ in range(sessions)]:
                future.result(START_S)
            if not agents.all_joined.wait(START_S):
                raise click.ClickException(f"only {agents.snapshots} of {sessions} sessions began")
            joined.set()
            total = sent.get(timeout=seconds + START_S)
            end = time.monotonic() + 10.0
            while len(agents.latencies) < total and time.monotonic() < end:
                time.sleep(0.05)
            done.set()
            stats = agents.agent.stats()
            agents.agent.close()
    finally:
        pages.join(START_S)
    ordered = sorted(agents.latencies)
    quantiles = {f"p{q}": ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))] for q in (50, 99, 99.9)}
    return {"sent": total, "handled": len(ordered), **stats, **quantiles, "max": ordered[-1]}


def many_pages(base: str, count: int, bytes_a_page: Any) -> None:
    """Measure in another process what each page that is ready adds."""
    with Node(base) as node:
        first = HostedPage(node)
        ready = threading.Semaphore(0)
        before = resident_bytes()
        pages = []
        for _ in range(count):
            page = HostedPage(lease_s=60.0, buttons=["help"])
            page.subscribe("~/site_connect/ready", lambda _: ready.release())
            page.attach(node)
            pages.append(page)
        for _ in pages:
            if not ready.acquire(timeout=START_S):
                raise RuntimeError("not all pages are ready")
        bytes_a_page.put((resident_bytes() - before) / count)
        for page in (first, *pages):
            page.close(release=False)


def memory(base: str, count: int) -> float:
    """Return bytes a page."""
    result = context.Queue()
    process = context.Process(target=many_pages, args=(base, count, result))
    process.start()
    found: float = result.get(timeout=2 * START_S)
    process.join(START_S)
    return found


@click.command()
@click.option("--sessions", default=100, show_default=True)
@click.option("--rate", default=10.0, show_default=True, help="Updates a second and session.")
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--pages", default=2_000, show_default=True, help="Pages for the memory.")
def main(sessions: int, rate: float, seconds: float, pages: int) -> None:
    """Measure, print a table, write benchmarks/out/cobrowse.json."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        (base,) = stack.enter_context(lab.proxies(1))
        stack.enter_context(frame_node(base, f"sqlite:///{folder}/frame.db", pages + sessions, 500))
        latency = updates(base, sessions, rate, seconds)
        page_bytes = memory(base, pages)
    if latency["handled"] != latency["sent"] or latency["gaps"]:
        raise click.ClickException(f"invalid: {latency}")
    head = ("", "updates/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms")
    figures = [f"{latency[name] * 1000:.2f}" for name in ("p50", "p99", "p99.9", "max")]
    click.echo(lab.table(head, [(f"{sessions} sessions", f"{sessions * rate:g}", *figures)]))
    click.echo(f"\n{page_bytes / 1024:.1f} KiB a page, over {pages} pages that hold a code")
    click.echo(f"written to {lab.write('cobrowse', {'updates': latency, 'page_bytes': page_bytes})}")


if __name__ == "__main__":
    main()

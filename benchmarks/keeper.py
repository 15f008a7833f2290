"""How many messages a second does a keeper keep, and how fast is a history read?

    python -m benchmarks.keeper [--messages N] [--topics N] [--bytes N] [--store URL]

    write   one node publishes as fast as the keeper writes: it waits while more than 20,000 are on their way. The rate
            counts from the first publish until all are committed; CPU time of the keeper's process beside it
    read    `Node.history` over all of it, and over one topic, by a node that does nothing else

Proxy and keeper are processes of their own. SQLite in a new folder of --folder (synchronous=FULL, so that a commit is
on the disk), then PostgreSQL if --store names one. Nothing may be dropped, and nothing be missing in what is read.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks import lab
from fabric import Node

MAX_ON_THE_WAY = 20_000
LOOK_EVERY = 2_000
TIMEOUT_S = 120.0


class Keeper:
    """A `fabric keep` that runs, and what its status page says."""

    def __init__(self, process: subprocess.Popen[str], page: str) -> None:
        self.pid, self._page = process.pid, page

    def figures(self) -> dict[str, float]:
        """Return the keeper's metrics, without `fabric_keep_`."""
        with urllib.request.urlopen(f"{self._page}/metrics") as answer:
            found = re.findall(r"^fabric_keep_(\w+) (\S+)$", answer.read().decode(), re.M)
        return {name: float(value) for name, value in found}


@contextlib.contextmanager
def keeper(base: str, url: str) -> Iterator[Keeper]:
    """Run a keeper of everything; yield it when it is ready."""
    command = [sys.executable, "-m", "nodes.cli", "keep", "#", "--connect", base, "--http", "http://127.0.0.1:0"]
    env = os.environ | {"FABRIC_STORE": url}  # it may hold a password
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=lab.ROOT, env=env, **pipes) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            page = re.search(r"status page at (\S+)", process.stderr.readline())
            ready = select.select([process.stdout], [], [], TIMEOUT_S)[0]
            if page is None or not ready or '"ready"' not in process.stdout.readline():
                raise click.ClickException("the keeper did not start")
            yield Keeper(process, page[1])
        finally:
            process.terminate()


def write(base: str, running: Keeper, messages: int, topics: int, payload: bytes) -> dict[str, float]:
    """Have so many messages kept; return the rate and what each costs the keeper."""
    names = [f"keep/{number:05}" for number in range(topics)]
    with Node(base) as node:
        for name in names:  # so that no first sight is in the figures
            node.publish(name, payload)
        _until_written(running, topics)
        cpu_s, began = lab.cpu_s(running.pid), time.monotonic()
        for first in range(0, messages, LOOK_EVERY):
            node.publish_many([(names[number % topics], payload) for number in range(first, first + LOOK_EVERY)])
            _until_written(running, topics + first + LOOK_EVERY - MAX_ON_THE_WAY)
        _until_written(running, topics + messages)
        took_s = time.monotonic() - began
    figures = running.figures()
    if figures["dropped_total"] or figures["holes_total"]:
        raise click.ClickException(f"something was not kept: {figures}")
    return {
        "write_per_s": messages / took_s,
        "cpu_us": (lab.cpu_s(running.pid) - cpu_s) / messages * 1e6,
        "per_commit": figures["written_total"] / figures["batches_total"],
    }


def read(base: str, topic_filter: str, wanted: int) -> float:
    """Read a history; return how many messages a second."""
    with Node(base) as node:
        next(iter(node.history(topic_filter, limit=1)))  # its client has found the keeper then
        began = time.monotonic()
        found = sum(1 for _ in node.history(topic_filter))
        took_s = time.monotonic() - began
    if found != wanted:
        raise click.ClickException(f"{found} messages were read, and {wanted} were kept")
    return found / took_s


def _until_written(running: Keeper, count: int) -> None:
    end = time.monotonic() + TIMEOUT_S
    while running.figures()["written_total"] < count:
        if time.monotonic() > end:
            raise click.ClickException(f"{count} messages were not written within {TIMEOUT_S:g} s: {running.figures()}")
        time.sleep(0.005)


@click.command()
@click.option("--messages", default=200_000, show_default=True, help="Messages that are kept.")
@click.option("--topics", default=100, show_default=True)
@click.option("--bytes", "size", default=64, show_default=True, help="Of each payload.")
@click.option(
    "--folder", type=click.Path(exists=True), help="Where the SQLite file is made. [default: a temporary one]"
)
@click.option("--store", "urls", multiple=True, help="A store beside SQLite, empty: postgresql://…")
def main(messages: int, topics: int, size: int, folder: str | None, urls: tuple[str, ...]) -> None:
    """Measure, and write the figures to benchmarks/out/keeper.json."""
    messages -= messages % LOOK_EVERY
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for url in (f"sqlite:///{Path(made)}/keep.db", *urls):
            kind = url.split(":")[0]
            with lab.proxies(1) as (base,), keeper(base, url) as running:
                found = write(base, running, messages, topics, os.urandom(size))
                found["read_per_s"] = read(base, "#", messages + topics)
                found["read_one_per_s"] = read(base, "keep/00001", messages // topics + 1)
                results[kind] = found
    rows = [
        [kind, *(f"{found[each]:,.0f}" for each in ("write_per_s", "per_commit", "read_per_s", "read_one_per_s")),
         f"{found['cpu_us']:.1f}"]
        for kind, found in results.items()
    ]  # fmt: skip
    head = ["store", "kept/s", "messages a commit", "read/s", "read/s, one topic", "keeper's CPU us a message kept"]
    click.echo(lab.table(head, rows))
    lab.write("keeper", {"messages": messages, "topics": topics, "bytes": size, "results": results})


if __name__ == "__main__":
    main()

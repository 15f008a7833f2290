"""How many pages in browsers does one gateway carry: memory, a storm of connections, one message to all, a restart?

    python -m benchmarks.web_pages [--pages N] [--processes N] [--rounds N]

    storm    all pages connect at once; to the welcome, to the contact code, and until the last one has it
    memory   what each page adds to the gateway's process
    fan-out  one message of the fabric to all pages, ROUNDS times; from the moment it was due to each page's handler
    restart  the gateway is ended by SIGTERM and started again at its port; all pages come back as the protocol says

A proxy, a frame node (SQLite), the gateway and the pages are processes of their own. The pages are aiohttp WebSockets,
and take as much of the machine as the gateway does. A message that does not arrive makes the run invalid.
"""

from __future__ import annotations

import contextlib
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks import lab
from benchmarks.codes import frame_node
from benchmarks.web_crowd import TOPIC, Crowd
from fabric import Node, private_files

PAUSE_S = 0.5


class Gateway:
    """A gateway as a process that can be started again at its port."""

    def __init__(self, base: str, secret: Path) -> None:
        self._base, self._secret = base, secret
        self.url = "http://127.0.0.1:0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "nodes.cli", "gateway", "--listen", self.url, "--connect", self._base]
        command += ["--secret-file", str(self._secret), "--public-subscribe", "bench/#", "--max-of-address", "100000"]
        command += ["--new-rate", "10000"]  # all pages have one address
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=lab.ROOT
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if '"ready"' not in line:
            raise click.ClickException("the gateway did not start")
        self.url = json.loads(line)["url"]

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        if code != 0:
            raise click.ClickException(f"the gateway ended with {code}")

    @property
    def resident_bytes(self) -> int:
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * 4096

    @property
    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@contextlib.contextmanager
def running(base: str, folder: Path) -> Iterator[Gateway]:
    secret = folder / "secret"
    private_files.write(secret, b"s" * 32)
    gateway = Gateway(base, secret)
    try:
        yield gateway
    finally:
        gateway.end()


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    found = {f"p{q}": ordered[min(len(ordered) - 1, int(len(ordered) * q / 100))] for q in (50, 99, 99.9)}
    return {**found, "max": ordered[-1]}


def storm(gateway: Gateway, crowd: Crowd, pages: int) -> dict[str, Any]:
    """All at once; seconds from the moment at which all were told to."""
    before, began, cpu_s = gateway.resident_bytes, time.monotonic(), gateway.cpu_s
    moments = crowd.connect()
    result = {
        "welcomed": quantiles([welcomed - began for welcomed, _ in moments]),
        "code": quantiles([ready - began for _, ready in moments]),
        "cpu_s": gateway.cpu_s - cpu_s,
    }
    time.sleep(2 * PAUSE_S)  # what a storm leaves behind goes
    return {**result, "page_bytes": (gateway.resident_bytes - before) / pages}


def fan_out(base: str, crowd: Crowd, pages: int, numbers: range) -> dict[str, Any]:
    """One message to all, again and again; `numbers` names them."""
    latencies: list[float] = []
    last: list[float] = []
    with Node(base) as node:
        for number in numbers:
            time.sleep(PAUSE_S)
            node.publish(TOPIC, {"n": number, "due": time.monotonic(), "body": "x" * 200})
            got = crowd.heard(number)
            if len(got) != pages:
                raise click.ClickException(f"invalid: {pages - len(got)} of {pages} pages did not get message {number}")
            latencies += got
            last.append(max(got))
    return {**quantiles(latencies), "until_all_p50": statistics.median(last), "until_all_max": max(last)}


def restart(gateway: Gateway, crowd: Crowd) -> dict[str, Any]:
    """End it, and start it again at once."""
    crowd.expect_back()
    began = time.monotonic()
    gateway.end()
    ended_s = time.monotonic() - began
    gateway.start()
    up_s = time.monotonic() - began
    moments, kept = crowd.back()
    return {"ended_s": ended_s, "up_s": up_s, "kept": kept, "back": quantiles([moment - began for moment in moments])}


def measure(pages: int, processes: int, rounds: int) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (base,) = stack.enter_context(lab.proxies(1))
        stack.enter_context(frame_node(base, f"sqlite:///{folder}/frame.db", 2 * pages, 1_000))
        gateway = stack.enter_context(running(base, folder))
        crowd = Crowd(gateway.url, pages, processes)
        stack.callback(crowd.close)
        result: dict[str, Any] = {"pages": pages, "storm": storm(gateway, crowd, pages)}
        result["fan_out"] = fan_out(base, crowd, pages, range(rounds))
        result["restart"] = restart(gateway, crowd)
        result["fan_out_after"] = fan_out(base, crowd, pages, range(rounds, rounds + 2))
    return result


@click.command()
@click.option("--pages", default=2_000, show_default=True)
@click.option("--processes", default=2, show_default=True, help="That the pages are in.")
@click.option("--rounds", default=20, show_default=True, help="Messages to all.")
def main(pages: int, processes: int, rounds: int) -> None:
    """Measure, print a table, write benchmarks/out/web_pages.json."""
    found = measure(pages, processes, rounds)
    head = (f"{pages} pages, one gateway", "p50 s", "p99 s", "max s")
    rows = [
        (name, *(f"{values[each]:.3f}" for each in ("p50", "p99", "max")))
        for name, values in (
            ("storm: to the welcome", found["storm"]["welcomed"]),
            ("storm: to the contact code", found["storm"]["code"]),
            ("one message to all", found["fan_out"]),
            ("restart: back, from its SIGTERM", found["restart"]["back"]),
        )
    ]
    click.echo(lab.table(head, rows))
    click.echo(
        f"\n{found['storm']['page_bytes'] / 1024:.1f} KiB a page; {found['restart']['kept']} of {pages} sessions kept"
    )
    click.echo(f"written to {lab.write('web_pages', found)}")
    if found["restart"]["kept"] != pages:
        raise click.ClickException("sessions were lost with the restart")


if __name__ == "__main__":
    main()

"""How long do pages wait for their codes when all ask at once, and how many codes a second are there?

    python -m benchmarks.codes [--pages N] [--in-flight N] [--codes N] [--store URL]

    crowd   N pages of one host ask at the same moment; the frame node takes 500 requests at once and tells the others
            when to come back, which they do as pages do (`nodes.rules.backoff`). Time to code counts from that moment
    steady  as many requests as the frame node takes are always open; codes a second over the whole run

A proxy, a frame node (SQLite, synchronous=FULL, in a new folder) and the host are processes of their own. Every code is
committed to the disk before it is answered; no two pages may get the same one.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import queue
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import click

from benchmarks import lab
from fabric import Node
from fabric.errors import Busy, FabricError
from fabric.services import Client
from nodes.rules.acquaintance import MEET, Acquaintance
from nodes.rules.agreement import PRIVATE_BYTES
from nodes.rules.backoff import Backoff
from nodes.rules.proofs import name_of, proven_request

SLOT_S = 0.5
DEADLINE_S = 30.0


@contextlib.contextmanager
def frame_node(base: str, url: str, capacity: int, in_flight: int) -> Iterator[int]:
    """Run a frame node; yield its process id when it can be asked."""
    command = [sys.executable, "-m", "nodes.cli", "frame", "--connect", base]
    command += ["--capacity", str(capacity), "--max-in-flight", str(in_flight)]
    env = os.environ | {"FABRIC_STORE": url}  # it may hold a password
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=lab.ROOT, env=env) as process:
        try:
            assert process.stdout is not None
            if '"ready"' not in process.stdout.readline():
                raise click.ClickException("the frame node did not start")
            yield process.pid
        finally:
            process.terminate()


class Host:
    """Asks for codes; answers come back as (page, moment, code or error)."""

    def __init__(self, node: Node, client: Client) -> None:
        self._home, self._client, self._met = node.home, client, Acquaintance(secrets.token_bytes(PRIVATE_BYTES))
        self._met.met(client.request("frame", MEET, {"host": self._met.public}), time.monotonic())
        self.answers: queue.SimpleQueue[tuple[str, float, str | FabricError]] = queue.SimpleQueue()

    def ask(self, key: str) -> None:
        """Ask for the page of this key, as pages do."""
        once = secrets.token_hex(16)
        body = {"session": name_of(key), "home": self._home, "lease_s": 600, **self._met.handed_over(key, once)}
        asked = proven_request(key, "grant_code", body, time.time(), once)
        future = self._client.submit("frame", "grant_code", asked, deadline_s=DEADLINE_S)
        future.add_done_callback(lambda done: self._answered(key, done))

    def _answered(self, session: str, done: Future[Any]) -> None:
        error = done.exception()
        if error is not None and not isinstance(error, FabricError):
            raise error
        self.answers.put((session, time.monotonic(), error if error is not None else str(done.result()["code"])))


def crowd(host: Host, pages: int) -> dict[str, Any]:
    """All ask at once, and come back as they are told."""
    backoff, attempts, again = Backoff(), Counter[str](), list[tuple[float, str]]()
    took: dict[str, float] = {}
    codes: set[str] = set()
    curve: list[Counter[str]] = []
    failed = 0

    def note(what: str, moment: float) -> None:
        slot = int((moment - begun) / SLOT_S)
        curve.extend(Counter[str]() for _ in range(slot + 1 - len(curve)))
        curve[slot][what] += 1

    begun = time.monotonic()
    for session in [secrets.token_hex(16) for _ in range(pages)]:
        attempts[session] += 1
        host.ask(session)
        note("asked", begun)
    while len(took) + failed < pages:
        while again and again[0][0] <= time.monotonic():
            session = heapq.heappop(again)[1]
            attempts[session] += 1
            host.ask(session)
            note("asked", time.monotonic())
        try:
            session, moment, answer = host.answers.get(timeout=0.01)
        except queue.Empty:
            continue
        if isinstance(answer, str):
            took[session] = moment - begun
            codes.add(answer)
            note("codes", moment)
            continue
        note("busy" if isinstance(answer, Busy) else "late", moment)
        pause_s = backoff.delay_s(attempts[session], random.random(), getattr(answer, "retry_after_s", 0.0))
        if pause_s is None:
            failed += 1
        else:
            heapq.heappush(again, (moment + pause_s, session))
    assert len(codes) == len(took), "two live pages share a code"
    times = sorted(took.values())
    return {
        "pages": pages,
        "with_code": len(took),
        "gave_up": failed,
        "time_to_code_s": {
            name: round(times[min(len(times) - 1, int(len(times) * part))], 3)
            for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
        },
        "attempts": dict(sorted(Counter(attempts.values()).items())),
        "curve": [{"from_s": n * SLOT_S, **{key: slot[key] for key in ("asked", "codes", "busy", "late")}}
                  for n, slot in enumerate(curve)],
    }  # fmt: skip


def steady(host: Host, count: int, in_flight: int) -> dict[str, Any]:
    """`in_flight` requests are always open."""
    sessions = (secrets.token_hex(16) for _ in range(count))
    begun, codes, refused = time.monotonic(), set[str](), 0
    for session in itertools.islice(sessions, in_flight):
        host.ask(session)
    while len(codes) < count:
        session, _, answer = host.answers.get(timeout=DEADLINE_S + 5)
        if isinstance(answer, str):
            codes.add(answer)
            following = next(sessions, None)
        else:
            refused, following = refused + 1, session
        if following is not None:
            host.ask(following)
    elapsed_s = time.monotonic() - begun
    return {"codes": count, "in_flight": in_flight, "refused": refused, "codes_per_s": round(count / elapsed_s)}


def rss_kb(pid: int) -> int:
    """Resident memory; 0 where /proc does not tell."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4
    except OSError:
        return 0


def cpu_s(pid: int) -> float:
    """CPU time of a process so far; 0 where /proc does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100


@click.command(help=__doc__)
@click.option("--pages", default=5_000, show_default=True)
@click.option("--in-flight", default=500, show_default=True, help="requests that the frame node takes at once")
@click.option("--codes", default=10_000, show_default=True, help="codes of the steady run")
@click.option("--store", "url", envvar="FABRIC_STORE", help="[default: sqlite in a new folder]")
def main(pages: int, in_flight: int, codes: int, url: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder, lab.proxies(1) as (base,):
        url = url or f"sqlite:///{folder}/store.db"
        with frame_node(base, url, 2 * (pages + codes), in_flight) as pid, Node(base) as node, Client(node) as client:
            host = Host(node, client)
            host.ask(secrets.token_hex(16))
            host.answers.get(timeout=DEADLINE_S)
            before_kb = rss_kb(pid)
            found = {"crowd": crowd(host, pages)}
            grown_kb, before_s = rss_kb(pid) - before_kb, cpu_s(pid)
            found["steady"] = steady(host, codes, in_flight * 9 // 10)
            found["steady"]["frame_cpu_us_per_code"] = round((cpu_s(pid) - before_s) / codes * 1e6)
            found["crowd"]["frame_kb_per_page"] = round(grown_kb / pages, 2)
    show(found)
    print(f"written: {lab.write('codes', found)}")


def show(found: dict[str, Any]) -> None:
    curve = [tuple(slot.values()) for slot in found["crowd"]["curve"]]
    print(lab.table((f"from s ({SLOT_S:g} s)", "asked", "codes", "busy", "late"), curve))
    for name, result in found.items():
        print(f"{name}: {json.dumps({key: value for key, value in result.items() if key != 'curve'})}")


if __name__ == "__main__":
    main()

"""What do retained values cost a proxy, and how long does an answer take that brings them?

    python -m benchmarks.retained_cost [--topics N] [--messages N] [--rounds N] [--proxy-python PATH]

    part, set      CPU time of the proxy for one part of 64 bytes to nobody: as it is, and one that sets the value of
                   one of 1,000 topics. Its ZeroMQ thread is included
    memory         what the proxy holds for N topics with values of 64 bytes, each
    one, all       time from a marker that wants them to its answer: the value of one topic, and all N, read as a node
                   reads them, with their parts counted
    meanwhile      the longest and the 99th percentile of the times that plain markers of another subscriber took while
                   all N were given again and again

Publisher and subscriber are plain sockets of this process; the proxy is a process for itself. With the Python of
another checkout, `part` tells what a build without retained values costs.
"""

from __future__ import annotations

import statistics
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import zmq

from benchmarks import lab
from fabric.endpoints import Endpoints
from fabric.protocol.markers import encode_marker
from fabric.wire import decode, encode

BURST, PAUSE_S = 1_000, 0.02
TAIL = b"\xa6retain\xce"


def part(topic: str, number: int, *, retained: bool) -> bytes:
    """A part with 64 bytes of payload; a retained one never runs out."""
    whole = encode(topic, 7, number, number, b"x" * 64, {"retain": 0} if retained else None)
    return whole[:-1] + TAIL[-1:] + struct.pack(">I", 0) if retained else whole


class Bench:
    def __init__(self, base: str, process: subprocess.Popen[str]) -> None:
        self.ends, self.pid = Endpoints.parse(base), process.pid
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.push = self.socket(zmq.PUSH, self.ends.ingress)
        self.serial = 0

    def socket(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        socket.linger, socket.sndhwm, socket.rcvhwm, socket.rcvtimeo = 0, 0, 0, 60_000
        socket.connect(endpoint)
        return socket

    def cost_us(self, messages: int, *, retained: bool) -> float:
        """CPU time of the proxy for one part."""
        topics = [f"bench/{number:04}/value" for number in range(BURST)]
        parts = [[part(topic, step, retained=retained) for topic in topics] for step in range(1, messages // BURST + 1)]
        self.settle()
        start, due = lab.cpu_s(self.pid), time.monotonic()
        for burst in parts:
            for each in burst:
                self.push.send(each)
            due += PAUSE_S
            time.sleep(max(0.0, due - time.monotonic()))
        self.settle()
        return (lab.cpu_s(self.pid) - start) / messages * 1e6

    def settle(self) -> None:
        """Until what was sent before has passed: a subscriber gets what was published behind it."""
        sub = self.socket(zmq.XSUB, self.ends.out)
        self.serial += 1
        topic = f"settled/{self.serial}"
        sub.send(b"\x01" + topic.encode())
        while not sub.poll(50):
            self.push.send(part(topic, 1, retained=False))
        sub.close()

    def fill(self, count: int) -> None:
        for number in range(count):
            self.push.send(part(f"fleet/{number % 1000:03}/{number:06}/state", 1, retained=True))
        self.settle()

    def asker(self) -> Asker:
        self.serial += 1
        return Asker(self.socket(zmq.XSUB, self.ends.out), f"bench-{self.serial}")

    def rss_kb(self) -> int:
        words = Path(f"/proc/{self.pid}/status").read_text().split()
        return int(words[words.index("VmRSS:") + 1])


class Asker:
    """A subscriber that asks."""

    def __init__(self, socket: zmq.Socket[bytes], token: str) -> None:
        self.socket, self.token = socket, token
        socket.send(b"\x01$ack/" + token.encode() + b"/")

    def ask_ms(self, wanted: list[bytes] | None) -> tuple[float, int]:
        """Time until the answer, and the parts in front of it."""
        count, start = 0, time.perf_counter()
        self.socket.send(encode_marker(self.token, b"n", None, wanted=wanted))
        while (raw := self.socket.recv()).split(b"\0", 1)[0].endswith(b"/t"):
            count += len(decode(raw, max_payload_bytes=1 << 24).payload["parts"])
        return (time.perf_counter() - start) * 1e3, count


@contextmanager
def proxy(python: str) -> Iterator[Bench]:
    base = lab.free_base()
    command = [python, "-m", "nodes.cli", "proxy", "--listen", base]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(python).parents[2])
    try:
        assert process.stdout is not None and '"ready"' in process.stdout.readline()
        bench = Bench(base, process)
        yield bench
        bench.context.destroy(linger=0)
    finally:
        process.terminate()
        process.wait(20)


def meanwhile_ms(bench: Bench, rounds: int) -> list[float]:
    """Times of plain markers while others are given everything."""
    asker, greedy = bench.asker(), bench.asker()
    thread = threading.Thread(target=lambda: [greedy.ask_ms([b""]) for _ in range(rounds)])
    found: list[float] = []
    thread.start()
    while thread.is_alive():
        found.append(asker.ask_ms(None)[0])
    return found


@click.command(help=__doc__)
@click.option("--topics", default=100_000, show_default=True)
@click.option("--messages", default=200_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--proxy-python", default=sys.executable, help="runs `fabric proxy` of the checkout that it belongs to")
def main(topics: int, messages: int, rounds: int, proxy_python: str) -> None:
    found: dict[str, Any] = {}
    costs: dict[str, list[float]] = {"part": [], "set": []}
    with proxy(proxy_python) as bench:
        for _ in range(rounds):
            for row, retained in (("part", False), ("set", True)):
                costs[row].append(bench.cost_us(messages, retained=retained))
    for row, each in costs.items():
        found[f"{row}, CPU us"] = round(statistics.median(each), 3)
    with proxy(proxy_python) as bench:
        bench.settle()
        before = bench.rss_kb()
        bench.fill(topics)
        found["memory, MB"] = round((bench.rss_kb() - before) / 1024, 1)
        for row, wanted in (("one, ms", [b"fleet/000/000000/state\0"]), ("all, ms", [b""])):
            times, counts = zip(*(bench.asker().ask_ms(wanted) for _ in range(rounds)), strict=True)
            found[row] = round(statistics.median(times), 2)
            found[row.replace(", ms", ", parts")] = min(counts)
        found["memory after answers, MB"] = round((bench.rss_kb() - before) / 1024, 1)
        waits = sorted(meanwhile_ms(bench, rounds))
        found["meanwhile p99, ms"] = round(waits[int(len(waits) * 0.99)], 2)
        found["meanwhile longest, ms"] = round(waits[-1], 2)
    print(lab.table(("what", "figure"), list(found.items())))
    print(f"written: {lab.write('retained_cost', found)}")


if __name__ == "__main__":
    main()

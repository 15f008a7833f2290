"""What the benchmarks share: proxies as processes of their own, the environment of a run, results as table and JSON."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(__file__).with_name("out")


def environment() -> dict[str, Any]:
    """What a figure depends on besides the code."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "pyzmq": version("pyzmq"),
        "msgpack": version("msgpack"),
    }


def free_base() -> str:
    """A TCP base whose six ports are free now, below the ephemeral ones."""
    for port in range(12_000 + os.getpid() % 5_000, 32_000, 10):
        with contextlib.ExitStack() as stack:
            try:
                for offset in range(6):
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port + offset))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{port}"
    raise RuntimeError("no six free ports in a row")


@contextlib.contextmanager
def proxies(count: int) -> Iterator[list[str]]:
    """Start `count` meshed proxies; yield their bases when all are members; end them by their own process ids."""
    with proxy_processes(count) as running:
        yield [base for base, _ in running]


@contextlib.contextmanager
def proxy_processes(count: int, keys: Path | None = None) -> Iterator[list[tuple[str, subprocess.Popen[str]]]]:
    """The same, with the processes. keys: folder with those of `p1`, `p2` and so on"""
    environment = {**os.environ, **({"FABRIC_KEYS": str(keys)} if keys is not None else {})}
    running: list[subprocess.Popen[str]] = []
    bases: list[str] = []
    try:
        for number in range(count):
            base = free_base()
            join = [word for other in bases[:1] for word in ("--join", other)]
            command = [sys.executable, "-m", "nodes.cli", "proxy", "--listen", base, "--name", f"p{number + 1}", *join]
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment))
            _wait_ready(running[-1])
            bases.append(base)
        yield list(zip(bases, running, strict=True))
    finally:
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _wait_ready(process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
    assert process.stdout is not None
    end = time.monotonic() + timeout_s
    while select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
        line = process.stdout.readline()
        if not line:
            break
        if json.loads(line).get("event") == "ready":
            return
    raise RuntimeError(f"a proxy was not ready within {timeout_s:g} s")


def cpu_s(pid: int) -> float:
    """CPU time that a process has used so far, all its threads, those that have ended included (Linux only)."""
    return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of a process id


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they must be; the first left, the others right."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = []
    for row in texts:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a result, with its environment, to benchmarks/out/NAME.json."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.json"
    path.write_text(json.dumps({"environment": environment(), **result}, indent=2) + "\n")
    return path

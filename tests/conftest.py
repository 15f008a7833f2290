"""Fixtures for all tests: processes that are stopped again, and a check that a test leaves nothing behind.

    proxies(2)                  two meshed `fabric proxy` processes on free ports, ready; `.base` is each one's address
    mesh                        two meshed proxies shared by all tests that ask for them: quicker, not to be stopped
    fabric("sub", "a/#", …)     any other `fabric` command, started; see tests/support/processes.py for what it can do
    run_fabric("match", …)      any `fabric` command, run to its end: a CompletedProcess with text

All are stopped, by process id, when the test ends, and their output is shown when it fails. Every test is also
checked for threads, ZeroMQ contexts and sockets, and child processes that it started and left.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, settings

from tests.support.keys import variables
from tests.support.processes import FABRIC, ROOT, FabricProcess, Process, ProxyProcess, environment
from tests.support.waiting import mesh as shared_mesh
from tests.support.waiting import start_mesh, stop_all

pytest_plugins = ("tests.support.side_by_side", "tests.support.no_processes")

# A shell without job control starts what runs in the background with SIGINT ignored, and all its children inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Some machines keep Python from storing what it compiled. Each of the many processes here would compile it all again.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How fast an example runs says nothing on a machine that has other work.
settings.register_profile("fabric", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("fabric")

LEAK_GRACE_S = 3.0  # what is ending when the test ends may take this long

# --- keys


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--with-keys", action="store_true", help="Run all proxies and nodes with keys.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With keys those are passed over that connect plain sockets, or show what can be done without keys."""
    if config.getoption("--with-keys"):
        for item in items:
            if item.get_closest_marker("plain_sockets"):
                item.add_marker(pytest.mark.skip(reason="for proxies without keys"))


@pytest.fixture(scope="session", autouse=True)
def keys_of_all(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> None:
    """With `--with-keys`: a folder of keys for all that is told nothing else; see `support.keys.variables`."""
    if request.config.getoption("--with-keys"):
        os.environ.update(variables(tmp_path_factory.mktemp("keys") / "keys"))


# --- processes


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """The processes of this test; append one of your own and it is stopped too. Newest first, proxies last."""
    processes: list[Process] = []
    yield processes
    stop_all(processes)


@pytest.fixture
def fabric(tmp_path: Path, started: list[Process]) -> Callable[..., FabricProcess]:
    """fabric(*args, **environment): start `fabric ARGS…` and return it at once."""

    def start(*args: str, **changes: str) -> FabricProcess:
        process = FabricProcess(args, tmp_path, env=environment(**changes))
        started.append(process)
        return process

    return start


@pytest.fixture
def run_fabric() -> Callable[..., subprocess.CompletedProcess[str]]:
    """run_fabric(*args, input="", timeout_s=30, **environment): run `fabric ARGS…` to its end."""

    def run(*args: str, input: str = "", timeout_s: float = 30, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [*FABRIC, *args]
        env = environment(**changes)
        return subprocess.run(
            command, input=input, env=env, cwd=ROOT, timeout=timeout_s, capture_output=True, text=True, encoding="utf-8"
        )

    return run


@pytest.fixture
def proxies(tmp_path: Path, started: list[Process]) -> Callable[..., list[ProxyProcess]]:
    """proxies(count=1, *args, join=()): start that many meshed proxies p1, p2, …; returns when all are ready.

    The first one joins the bases in `join` (none: it is the first of its mesh), the others join the first.
    `args` go to each.
    """

    def start(count: int = 1, *args: str, join: tuple[str, ...] = ()) -> list[ProxyProcess]:
        first = 1 + sum(isinstance(process, ProxyProcess) for process in started)
        return start_mesh(tmp_path, count, *args, keep=started.append, join=join, first=first)

    return start


@pytest.fixture(scope="session")
def bundles() -> Path:
    """The folder of what browsers load, built; skips where that cannot be."""
    from tests.support.browsers import built  # not for every test: it takes aiohttp

    return built()


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    """Two meshed proxies, p1 and p2, for every test that neither stops them nor has to be alone with them."""
    with shared_mesh(tmp_path_factory.mktemp("mesh"), 2) as found:
        yield found
        assert all(proxy.alive for proxy in found), "a test has ended the shared proxies, or they crashed"


# --- leaks

_contexts: weakref.WeakSet[zmq.Context[Any]] = weakref.WeakSet()
_sockets: weakref.WeakSet[zmq.Socket[Any]] = weakref.WeakSet()
_of_this_test: list[zmq.Socket[Any]] = []
"""Every socket of this test, held until its end: else the garbage collector would close what a test leaves open."""


def _record(cls: type, remember: Callable[[Any], None]) -> None:
    """Call `remember` with every object of this class as it is made. (pyzmq has no public list of open sockets.)"""
    original: Callable[..., None] = getattr(cls, "__init__")  # noqa: B009

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        remember(self)

    setattr(cls, "__init__", __init__)  # noqa: B010


def _remember_socket(socket: zmq.Socket[Any]) -> None:
    _sockets.add(socket)
    _of_this_test.append(socket)


_record(zmq.Context, _contexts.add)
_record(zmq.Socket, _remember_socket)


def _alive() -> dict[str, set[Any]]:
    """What a test could leave behind, by kind; objects are compared by identity through their `id`."""
    return {
        "threads": set(threading.enumerate()),
        "ZeroMQ contexts": {id(context) for context in _contexts if not context.closed},
        "ZeroMQ sockets": {id(each) for each in _sockets if not each.closed},
        "child processes": _children(),
    }


def _children() -> set[str]:
    """`pid command` of this process's children; empty where /proc does not tell (macOS)."""
    found = set()
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            pids = task.read_text().split()
        except OSError:
            continue  # this thread has just ended
        for pid in pids:
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue  # this child has just ended
            if "resource_tracker" not in command and "forkserver" not in command:  # multiprocessing keeps these
                found.add(f"{pid} {command}")
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a ZeroMQ context or socket, or a child process. Set up first: looks last."""
    before = _alive()
    yield
    deadline = time.monotonic() + LEAK_GRACE_S
    while True:
        left = {kind: now - before[kind] for kind, now in _alive().items() if now - before[kind]}
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.01)
    _of_this_test.clear()
    assert not left, f"the test left behind: {left}"

"""What the process does to the threads of nodes and proxies: it ends under them, or has none."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fabric import Node, Proxy
from fabric.errors import StateError
from fabric.processes import require_threads
from tests.support.processes import ROOT, environment
from tests.support.waiting import mesh

DEVICE = """
import sys, time
from fabric import Node, Proxy
class Device:
    def __init__(self): self.thing = make()
    def __del__(self): self.thing.close({close})
def make():
    {make}
device = Device()
{then}
"""


def ended(code: str, *args: str, timeout_s: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *args],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=timeout_s,
    )  # fmt: skip


@pytest.mark.parametrize("close", ["0", ""])
def test_a_node_closed_in_a_destructor_at_the_end_holds_up_nothing(tmp_path: Path, close: str) -> None:
    with mesh(tmp_path, 1) as (proxy,):
        done = ended(DEVICE.format(close=close, make="return Node(sys.argv[1])", then=""), proxy.base)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_proxy_closed_in_a_destructor_at_the_end_holds_up_nothing(tmp_path: Path) -> None:
    make = "proxy = Proxy(f'ipc://{sys.argv[1]}'); proxy.start(); proxy.wait_ready(10); return proxy"
    done = ended(DEVICE.format(close="", make=make, then=""), str(tmp_path / "p"))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_callback_that_does_not_return_does_not_hold_up_the_end(tmp_path: Path) -> None:
    then = """
import threading
node, called = device.thing, threading.Event()
node.wait_ack(node.subscribe("a", lambda message: (called.set(), time.sleep(3600))), 10)
node.publish("a", 1)
assert called.wait(10)
"""
    with mesh(tmp_path, 1) as (proxy,):
        done = ended(DEVICE.format(close="", make="return Node(sys.argv[1])", then=then), proxy.base)
    assert done.returncode == 0


def test_what_was_published_last_arrives_though_nobody_closed_the_node(tmp_path: Path) -> None:
    with mesh(tmp_path, 1) as (proxy,), Node(proxy.base) as node:
        heard = threading.Event()
        node.wait_ack(node.subscribe("last", lambda message: heard.set()), 10)
        ended("import sys; from fabric import Node; node = Node(sys.argv[1]); node.publish('last', 1)", proxy.base)
        assert heard.wait(10)


@pytest.mark.parametrize("package", ["gevent", "eventlet"])
def test_green_threads_are_refused_at_once(monkeypatch: pytest.MonkeyPatch, package: str, tmp_path: Path) -> None:
    def start(*_: object) -> None: ...

    start.__module__ = f"{package}.thread"
    proxy = Proxy(f"ipc://{tmp_path / 'p'}")
    for name in ("_start_new_thread", "_start_joinable_thread"):
        if hasattr(threading, name):
            monkeypatch.setattr(threading, name, start)
    for make in (lambda: Node("tcp://127.0.0.1:1"), proxy.start):
        with pytest.raises(StateError, match=f"{package} has patched"):
            make()
    monkeypatch.undo()
    proxy.close()


def test_threads_that_a_debugger_has_wrapped_are_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None: ...

    start.__module__ = "_pydev_bundle.pydev_monkey"
    monkeypatch.setattr(threading, "_start_new_thread", start, raising=False)
    require_threads("node")

"""Readiness for systemd: one datagram, or nothing at all; and the commands send it when they are ready."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodes.operate.systemd import READY, STOPPING, notify
from tests.support.processes import FabricProcess, free_base


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd's end is to a service."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def test_a_state_arrives(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    assert notify(READY)
    assert manager.recv(100) == b"READY=1"


@pytest.mark.skipif(not os.path.exists("/proc/self"), reason="abstract sockets are Linux's")
def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0fabric-test-{os.getpid()}")
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@fabric-test-{os.getpid()}")
        assert notify(STOPPING)
        assert listening.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", [None, "", "relative", "/nowhere/notify", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if address is None:
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    else:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify(READY)


def test_a_manager_that_does_not_read_holds_nobody_up(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
    sent = 0
    while notify(READY):
        sent += 1
        assert sent < 100_000, "its queue is bounded"


def test_a_proxy_and_a_frame_node_say_when_they_are_ready_and_when_they_end(
    manager: socket.socket, fabric: Callable[..., FabricProcess], tmp_path: Path
) -> None:
    base, address = free_base(), manager.getsockname()
    proxy = fabric("proxy", "--listen", base, NOTIFY_SOCKET=address)
    assert manager.recv(100) == b"READY=1"
    proxy.wait_event("ready")
    pytest.importorskip("sqlalchemy", reason="frame nodes need sqlalchemy")
    frame = fabric("frame", "--store", f"sqlite:///{tmp_path}/f.db", "--connect", base, NOTIFY_SOCKET=address)
    assert manager.recv(100) == b"READY=1"
    frame.wait_event("ready")
    frame.stop()
    assert manager.recv(100) == b"STOPPING=1"
    proxy.stop()
    assert manager.recv(100) == b"STOPPING=1"

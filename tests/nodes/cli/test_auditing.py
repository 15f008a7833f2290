"""--audit at a real proxy: who came and who ended it."""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabric import private_files
from nodes.cli.auditing import audit_stream, noting
from nodes.cli.exits import Exit, Fail
from tests.support.processes import FabricProcess, ProxyProcess, free_base
from tests.support.status_pages import StatusPage
from tests.support.waiting import until

Fabric = Callable[..., FabricProcess]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells who sent a signal")
def test_who_drained_it_and_which_peers_came(
    fabric: Fabric, proxies: Callable[..., list[ProxyProcess]], tmp_path: Path
) -> None:
    (other,) = proxies(1)
    base, path = free_base(), tmp_path / "audit.jsonl"
    proxy = fabric("proxy", "--listen", base, "--name", "a1", "--join", other.base, "--audit", str(path))
    proxy.wait_event("ready")
    with subprocess.Popen(["sh", "-c", f"kill {proxy.pid}; cat"], stdin=subprocess.PIPE) as killer:
        assert proxy.wait() == Exit.DONE
    lines = lines_of(path)
    events = [line["event"] for line in lines]
    assert events[0] == "started" and events[-1] == "ended" and "link_up" in events
    (up,) = [line for line in lines if line["event"] == "link_up"]
    assert (up["who"], up["from"], up["door"], up["count"]) == ("p1", other.base, "link", 1)
    (drain,) = [line for line in lines if line["event"] == "drain"]
    assert (drain["who"], drain["why"]) == (getpass.getuser(), "SIGTERM")
    assert drain["from"] in (f"process {killer.pid} (sh)", f"process {killer.pid} (dash)")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it(fabric: Fabric, mesh: list[ProxyProcess], number: signal.Signals) -> None:
    """With an audit stream, as without one: it waits for a node that does not move away."""
    base = free_base()
    proxy = fabric("proxy", "--listen", base, "--audit", "-", "--drain", "60")
    proxy.wait_event("ready")
    sub = fabric("sub", "a", "--connect", base)
    sub.wait_stderr("acknowledged")
    proxy.signal(number)
    proxy.wait_event("drain")
    proxy.signal(number)
    assert proxy.wait() == -number


def test_who_shows_no_token_is_noted(fabric: Fabric, tmp_path: Path) -> None:
    base, token, path = free_base(), tmp_path / "token", tmp_path / "a"
    private_files.write(token, b"0123456789abcdef")
    fabric("proxy", "--listen", base, "--audit", str(path), "--http-token-file", str(token)).wait_event("ready")
    assert [StatusPage.of_proxy(base).get("/healthz")[0] for _ in range(3)] == [401] * 3
    until(lambda: lines_of(path)[-1]["event"] == "http_refused", "it is noted")
    line = lines_of(path)[-1]
    assert (line["from"], line["door"], line["why"], line["count"]) == ("127.0.0.1", "http", "token_missing", 1)


def test_its_figures_are_metrics(fabric: Fabric, tmp_path: Path) -> None:
    base = free_base()
    fabric("proxy", "--listen", base, "--audit", str(tmp_path / "a")).wait_event("ready")
    metrics = StatusPage.of_proxy(base).metrics()
    assert metrics["fabric_audit_noted_total"] >= 1 and metrics['fabric_audit_lost_total{why="write"}'] == 0


def test_a_stream_that_cannot_be_is_said_before_anything_begins(tmp_path: Path) -> None:
    with (
        pytest.raises(Fail, match=f"no audit stream at {tmp_path}: Is a directory") as caught,
        audit_stream(str(tmp_path)),
    ):
        pytest.fail("it began")
    assert caught.value.code == Exit.MISSING


def test_without_a_stream_noting_does_nothing() -> None:
    with audit_stream(None) as stream:
        assert stream is None
        noting(stream)({"event": "x"})


def test_noting_writes(tmp_path: Path) -> None:
    with audit_stream(str(tmp_path / "a")) as stream:
        noting(stream)({"event": "x", "from": "here"})
    (line,) = lines_of(tmp_path / "a")
    assert (line["event"], line["from"]) == ("x", "here")

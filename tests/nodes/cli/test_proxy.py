"""`fabric proxy` as a process: its line, its events, signals, readers that have gone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fabric import Proxy
from nodes.cli import proxy as proxy_module
from nodes.cli.exits import Exit
from nodes.operate.health import proxy_problem
from tests.support.processes import FABRIC, ROOT, FabricProcess, Process, ProxyProcess, environment, free_base
from tests.support.waiting import Box

Proxies = Callable[..., list[ProxyProcess]]
NOTHING = "refused: nothing listens there"


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_ready_line(mesh: list[ProxyProcess]) -> None:
    first, second = mesh
    peers = first.ready["peers"]  # the shared mesh starts both at once: the second may have been there first
    assert datetime.fromisoformat(first.ready.pop("ts")).tzinfo is not None
    assert first.ready == {"event": "ready", "name": "p1", "listen": first.base, "protocol": [2, 2], "peers": peers}
    assert peers in ([], ["p2"]) and second.ready["peers"] == ["p1"] and second.ready["name"] == "p2"
    assert len(first.stdout) == len(second.stdout) == 1
    first.wait_stderr("link up p2 at " + second.base)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(number: signal.Signals, proxies: Proxies) -> None:
    first, second = proxies(2)
    second.signal(number)
    assert second.wait() == Exit.DONE
    assert "fabric proxy: draining" in second.stderr and "Traceback" not in "\n".join(second.stderr)
    first.wait_stderr("peer left p2")


def test_sighup_ends_no_proxy(proxies: Proxies, run_fabric: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Also where there are no rules to read again."""
    (proxy,) = proxies(1)
    for _ in range(3):
        proxy.signal(signal.SIGHUP)
    assert run_fabric("status", "--connect", proxy.base).returncode == Exit.DONE and proxy.popen.poll() is None


def test_a_second_signal_ends_it_at_once(proxies: Proxies, fabric: Callable[..., FabricProcess]) -> None:
    (proxy,) = proxies(1, "--drain", "60")
    fabric("sub", "a", "--connect", proxy.base).wait_stderr("acknowledged")  # it has nowhere to move to
    proxy.signal(signal.SIGTERM)
    proxy.wait_stderr("draining")
    proxy.signal(signal.SIGTERM)
    assert proxy.wait(5) == -signal.SIGTERM


def test_on_a_terminal_it_says_ready_once(tmp_path: Path) -> None:
    """The line of JSON is for scripts."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*FABRIC, "proxy", "--listen", free_base()],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
        cwd=ROOT,
    ) as child:
        os.close(theirs)
        shown = b""
        while b"ready" not in shown:
            shown += os.read(ours, 65536)
        child.terminate()
        with contextlib.suppress(OSError):  # the last who writes has gone
            while more := os.read(ours, 65536):
                shown += more
        assert child.wait(20) == Exit.DONE
    os.close(ours)
    assert shown.count(b"ready") == 1 and b"fabric proxy: ready name=" in shown


def test_every_event_as_json(proxies: Proxies) -> None:
    first, second = proxies(2, "--json")
    joined = first.wait_event("peer_joined")
    assert joined["id"] == "p2" and joined["base"] == second.base
    second.stop()
    first.wait_event("peer_left")
    assert all(isinstance(json.loads(line), dict) for line in first.stdout)


def test_a_reader_that_has_gone_does_not_end_the_proxy(started: list[Process], proxies: Proxies) -> None:
    base = free_base()
    command = [*FABRIC, "proxy", "--listen", base, "--name", "alone", "--json"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), cwd=ROOT)
    assert child.stdout
    try:
        assert json.loads(child.stdout.readline())["event"] == "ready"
        child.stdout.close()
        proxies(1, join=(base,))  # its peer_joined and link_up go nowhere
        assert child.poll() is None
    finally:
        child.terminate()
        assert child.wait(10) == Exit.DONE


def test_a_proxy_that_nobody_lets_in_says_what_it_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "JOIN_PATIENCE_S", 0.5)
    nobody, told = free_base(), Box()
    with Proxy(free_base(), join=[nobody]) as running, proxy_module._told_when_late(running, [nobody], told):
        told.wait()
    assert told.items == [{"event": "waiting", "why": f"joining: nobody answers at {nobody}", "join": [nobody]}]


def test_who_does_not_answer_is_told_soon_and_again_for_a_new_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_module, "UNANSWERED_S", 0.2)
    nobody, told = free_base(), Box()
    with (
        Proxy(free_base(), join=[nobody]) as running,
        proxy_module._told_who_does_not_answer(running, told, first=False),
    ):
        told.wait(1)
        (first,) = told.items
        assert first == {
            "event": "nobody_answers",
            "base": nobody,
            "why": "refused: nothing listens there",
            "first": False,
        }
        assert proxy_problem(running.stats()) == f"joining: nobody answers at {nobody}"
        with socket.socket() as strange:
            strange.bind(("127.0.0.1", int(nobody.rpartition(":")[2]) + 1))  # `out`
            strange.listen()
            told.wait(2)
    assert told.items[1]["why"].startswith("something listens there, and no proxy")


def test_a_mistyped_join_is_told_in_two_seconds(fabric: Callable[..., FabricProcess], proxies: Proxies) -> None:
    """And a wrong port of a right proxy is recognised."""
    (proxy,) = proxies(1)
    front, _, port = proxy.base.rpartition(":")
    nobody, wrong = free_base(), f"{front}:{int(port) + 1}"
    began = time.monotonic()
    late = fabric("proxy", "--listen", free_base(), "--join", nobody, "--join", wrong, "--verbose")
    line = late.wait_stderr(f"nobody answers at {nobody}")
    assert time.monotonic() - began < 10
    assert line.endswith("refused: nothing listens there; still trying (--first starts alone)")
    line = late.wait_stderr(f"nobody answers at {wrong}")
    assert f"that is another port of the proxy at {proxy.base}: expected its base; still trying" in line
    late.wait_stderr(f"asked {nobody}: refused: nothing listens there")  # each look, with --verbose


@pytest.mark.parametrize("options", [("--listen", "tcp://0.0.0.0:{port}"), ("--advertise", "tcp://*:{port}")])
def test_an_address_that_others_cannot_use_names_the_option(
    options: tuple[str, str], run_fabric: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    given = options[1].format(port=free_base().rpartition(":")[2])
    done = run_fabric("proxy", "--insecure", options[0], given)
    assert done.returncode == Exit.USAGE
    assert f"invalid {options[0]} '{given}': expected a host that others can connect to" in done.stderr
    assert ("--advertise URL" in done.stderr) == (options[0] == "--listen")


def test_a_wider_address_without_keys_is_refused_unless_that_is_meant(
    fabric: Callable[..., FabricProcess], run_fabric: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    port = free_base().rpartition(":")[2]
    wide = ("proxy", "--listen", f"tcp://*:{port}", "--advertise", f"tcp://127.0.0.1:{port}")
    done = run_fabric(*wide)
    assert done.returncode == Exit.USAGE and "could read and write everything: expected --keys DIR" in done.stderr
    proxy = fabric(*wide, "--insecure")
    proxy.wait_event("ready")
    proxy.wait_stderr("INSECURE: tcp://*:")
    assert run_fabric("status", "--connect", f"tcp://127.0.0.1:{port}").stdout.rstrip().endswith("INSECURE")


def test_loopback_and_ipc_do_not_warn(fabric: Callable[..., FabricProcess], tmp_path: Path) -> None:
    proxy = fabric("proxy", "--listen", f"ipc://{os.path.relpath(tmp_path)}/p")
    proxy.wait_event("ready")
    assert not any("INSECURE" in line for line in proxy.stderr)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"event": "draining"}, "draining"),
        ({"event": "link_up", "id": "p2", "base": "tcp://h:1", "incarnation": "ab"}, "link up p2 at tcp://h:1"),
        (
            {"event": "nobody_answers", "base": "tcp://h:1", "why": "no answer", "first": True},
            "nobody answers at tcp://h:1: no answer; still trying",
        ),
        ({"event": "bad_peer", "base": "tcp://h:1", "error": "no"}, 'bad peer at tcp://h:1 error="no"'),
    ],
)
def test_events_in_words(event: dict[str, Any], words: str) -> None:
    assert proxy_module.event_words(event) == words


def test_a_reader_that_does_not_read_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's thread is stuck in its first line; events are dropped beyond the bound, and the end still comes."""
    stuck, go_on, written = threading.Event(), threading.Event(), []

    def echo(text: str, err: bool) -> None:
        stuck.set()
        go_on.wait(20)
        written.append(text)

    monkeypatch.setattr("click.echo", echo)
    with proxy_module._event_lines(as_json=False) as on_event:
        on_event({"event": "first"})
        assert stuck.wait(5)
        for _ in range(3 * proxy_module.MAX_WAITING_LINES):
            on_event({"event": "link_up"})
        go_on.set()
    assert 1 < len(written) <= proxy_module.MAX_WAITING_LINES + 1

"""`fabric top`, on real processes: once, as lines, and in a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import Node
from nodes.cli.exits import Exit
from tests.support.processes import FABRIC, READY_TIMEOUT_S, ROOT, FabricProcess, ProxyProcess, environment, free_base
from tests.support.waiting import mesh, stop_all

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    """A mesh of two, with a subscriber at the second."""
    folder: Path = tmp_path_factory.mktemp("mesh")
    with mesh(folder, 2) as proxies:
        sub = FabricProcess(["sub", "a/#", f"$fabric/proxy/{proxies[1].name}", "--connect", proxies[1].base], folder)
        sub.wait_stderr("a/# acknowledged")
        sub.wait_stdout('"nodes":1')
        yield proxies
        stop_all([sub])


class Terminal:
    """`fabric top` in a terminal of 150 columns."""

    def __init__(self, *words: str, **more: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 150, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs, self.shown = theirs, b""
        env = environment(TERM="xterm", **more)
        self.popen = subprocess.Popen(
            [*FABRIC, "top", *words], env=env, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs
        )

    def wait_for(self, words: bytes) -> None:
        end = time.monotonic() + READY_TIMEOUT_S
        while words not in self.shown:
            assert time.monotonic() < end, self.shown[-2000:]
            if select.select([self.ours], [], [], 0.2)[0]:
                self.shown += os.read(self.ours, 65_536)

    def ended(self) -> int:
        """Its exit code, once it ended; what it still writes is read meanwhile."""
        end = time.monotonic() + READY_TIMEOUT_S
        while self.popen.poll() is None and time.monotonic() < end:
            if select.select([self.ours], [], [], 0.05)[0]:
                self.shown += os.read(self.ours, 65_536)
        return self.popen.wait(1)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(proxies: list[ProxyProcess]) -> Iterator[Terminal]:
    found = Terminal("--interval", "0.3", "--connect", proxies[0].base)
    yield found
    found.close()


def test_once(proxies: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("top", "--once", "--connect", proxies[0].base)
    assert (done.returncode, done.stderr) == (Exit.DONE, "")
    mesh_table, nodes_table = done.stdout.split("\n\n")
    assert mesh_table.startswith("PROXY  STATE") and [row.split()[0] for row in mesh_table.splitlines()[1:]] == [
        "p1",
        "p2",
    ]
    name, proxy = nodes_table.splitlines()[1].split()[:2]
    assert nodes_table.startswith("NODE ") and re.fullmatch(r"sub-\d+@\S+", name) and proxy == "p2"


def test_as_json_once_and_line_by_line(
    proxies: list[ProxyProcess], run_fabric: Run, fabric: Callable[..., FabricProcess]
) -> None:
    found = json.loads(run_fabric("top", "--once", "--json", "--connect", proxies[0].base).stdout)
    assert [each["id"] for each in found["proxies"]] == ["p1", "p2"]
    totals = found["totals"]
    assert (totals["proxies"], totals["members"], totals["linked"], totals["links"]) == (2, 2, 2, 2)
    assert totals["nodes"] == totals["nodes_answered"] == 1, "without this command itself"
    assert (
        totals["lost"] == 0
        and totals["received_rate"] >= 0
        and totals["rates"].keys() == {"in", "out", "relay", "guest"}
    )
    (node,) = [each for each in found["nodes"] if each["proxy"] == "p2"]
    assert node["lag_s"] > 0 and node["lost"] == 0 and node["in_rate"] >= 0
    lines = fabric("top", "--json", "--interval", "0.1", "--connect", proxies[0].base)
    assert all(json.loads(line)["proxies"] for line in lines.wait_lines(3)[:3])
    lines.signal(signal.SIGINT)
    assert lines.wait() == Exit.INTERRUPTED


def test_in_a_terminal_until_q(terminal: Terminal) -> None:
    for words in (b"fabric top", b"proxies", b"2/2", b"each message once", b"p1", "LAG ms▼".encode(), b"sub-"):
        terminal.wait_for(words)
    for key, head in ((b"s", "IN/s▼"), (b"r", "IN/s▲"), (b"S", "LAG ms▲")):
        os.write(terminal.ours, key)
        terminal.wait_for(head.encode())
    os.write(terminal.ours, b"xq")
    assert terminal.ended() == Exit.DONE
    assert termios.tcgetattr(terminal.theirs) == terminal.before, "the terminal is as it was"
    assert b"\x1b[?1049l" in terminal.shown, "the screen is as it was"


def test_topics_live(proxies: list[ProxyProcess], terminal: Terminal) -> None:
    with Node(proxies[1].base, name="gps-1") as node:
        terminal.wait_for(b"gps-1")
        os.write(terminal.ours, b"t")
        end = time.monotonic() + READY_TIMEOUT_S
        while b"truck/0001/x" not in terminal.shown:
            assert time.monotonic() < end
            node.publish("truck/0001/x", 1)
            if select.select([terminal.ours], [], [], 0.05)[0]:
                terminal.shown += os.read(terminal.ours, 65_536)
        terminal.wait_for(b"LAST PUBLISHER")
        terminal.shown = b""
        os.write(terminal.ours, b"t")
        terminal.wait_for("LAG ms▼".encode())
    os.write(terminal.ours, b"q")
    assert terminal.ended() == Exit.DONE


def test_topics_go_with_a_terminal(run_fabric: Run) -> None:
    done = run_fabric("top", "--once", "--topics")
    assert done.returncode == Exit.USAGE and "fabric topics" in done.stderr


def test_no_color_is_obeyed_and_colour_is_used_without(proxies: list[ProxyProcess]) -> None:
    coloured = re.compile(rb"\x1b\[[\d;]*3[1-7]m")
    for more, wanted in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal("--interval", "0.2", "--sort", "lost", "--connect", proxies[0].base, **more)
        try:
            terminal.wait_for("LOST▼".encode())
            os.write(terminal.ours, b"q")
            assert terminal.ended() == Exit.DONE
            assert bool(coloured.search(terminal.shown)) == wanted
        finally:
            terminal.close()


def test_in_a_terminal_until_it_is_interrupted(terminal: Terminal) -> None:
    terminal.wait_for(b"p1")
    terminal.popen.send_signal(signal.SIGINT)
    assert terminal.ended() == Exit.INTERRUPTED
    assert termios.tcgetattr(terminal.theirs) == terminal.before


def test_a_way_to_sort_that_is_none(run_fabric: Run) -> None:
    done = run_fabric("top", "--once", "--sort", "colour")
    assert done.returncode == Exit.USAGE and "'lost'" in done.stderr


def test_nobody_there(run_fabric: Run) -> None:
    assert run_fabric("top", "--connect-timeout", "0.3", "--connect", free_base()).returncode == Exit.NOBODY

"""`fabric services` on real proxies."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, StateError
from fabric.services import Request, Server, each
from fabric.services.directory import Instance
from nodes.cli.exits import Exit
from nodes.cli.services import COLUMNS, _row
from nodes.cli.stdout import table_text
from tests.support.processes import FABRIC, ROOT, ProxyProcess, environment
from tests.support.waiting import PATIENCE_S, mesh

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.fixture
def server(proxies: list[ProxyProcess]) -> Iterator[Server]:
    """`clock`, at the first proxy; the commands ask at the second."""
    end = threading.Event()

    def handle(request: Request) -> Any:
        if request.op == "busy":
            raise Busy("full", 2.5)
        if request.op == "forbidden":
            raise NotAllowed("not yours\n(second line)")
        if request.op == "wrong":
            raise StateError("clock", "stopped", "now")
        if request.op == "never":
            end.wait(PATIENCE_S)
        return {"op": request.op, "body": request.body, "key": request.key}

    with (
        Node(proxies[0].base) as node,
        Server(node, "clock", each(handle), version="1.2", info={"zone": "UTC"}, workers=2) as server,
    ):
        assert server.wait_ready(PATIENCE_S)
        yield server
        end.set()


@pytest.fixture
def ask(run_fabric: Run, proxies: list[ProxyProcess]) -> Run:
    """ask(*args): `fabric request clock ARGS…` at the second proxy."""
    return lambda *args: run_fabric("request", "--connect", proxies[1].base, *args)


def test_services_as_a_table(run_fabric: Run, server: Server, proxies: list[ProxyProcess]) -> None:
    done = run_fabric("services", "--connect", proxies[1].base)
    assert done.returncode == Exit.DONE and done.stderr == ""
    head, row = done.stdout.splitlines()
    assert head.split() == ["SERVICE", "INSTANCE", "STATE", "LOAD", "CLOCK", "VERSION", "INFO"]
    assert row.split() == ["clock", server.instance, "serving", "0.000", "1.2", '{"zone":"UTC"}']


def test_services_as_json(run_fabric: Run, server: Server, proxies: list[ProxyProcess]) -> None:
    done = run_fabric("services", "clock", "--json", "--connect", proxies[1].base)
    assert done.returncode == Exit.DONE
    (found,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (found["name"], found["instance"], found["inbox"]) == ("clock", server.instance, server.inbox)


def test_no_service_ends_with_4(run_fabric: Run, proxies: list[ProxyProcess]) -> None:
    done = run_fabric("services", "nothing", "--connect", proxies[1].base)
    assert (done.returncode, done.stdout) == (Exit.NOBODY, "") and "no instance of nothing" in done.stderr
    done = run_fabric("services", "a/b", "--connect", proxies[1].base)
    assert done.returncode == Exit.USAGE and "expected 1 to 100" in done.stderr


def test_a_table_of_what_peers_say_keeps_its_lines() -> None:
    """A hostile announcement must not break lines, drive the terminal, or fill the screen."""
    lines = table_text(
        COLUMNS,
        [
            _row(each, 0.2)
            for each in [
                Instance("long", "a", version="v\n\x1b[2J", info={"x": "y" * 500}),
                Instance("short", "b", load=0.25, state="draining"),
            ]
        ],
    ).splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert lines[1].endswith("…") and len(lines[1]) < 160
    assert lines[2].split() == ["short", "b", "draining", "0.250"]


@pytest.mark.parametrize(("ahead_s", "shown"), [(61.23, "+61.2"), (-6.0, "-6.0")])
def test_a_clock_that_differs_is_shown(ahead_s: float, shown: str) -> None:
    assert _row(Instance("clock", "a"), ahead_s)[4] == shown


CLOCK = """
import os, time
ahead = float(os.environ["CLOCK_AHEAD_S"])
real, real_ns = time.time, time.time_ns
time.time, time.time_ns = lambda: real() + ahead, lambda: real_ns() + int(ahead * 1e9)
"""


@pytest.mark.parametrize("ahead_s", [-60, -7, 60])
def test_requests_do_not_need_clocks_that_agree(
    server: Server, proxies: list[ProxyProcess], tmp_path: Path, ahead_s: int
) -> None:
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = environment(PYTHONPATH=path, CLOCK_AHEAD_S=str(ahead_s))

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        command = [*FABRIC, *args, "--connect", proxies[1].base]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)

    done = run("request", "clock", "now", "--deadline", "5")
    assert done.returncode == Exit.DONE, done.stderr
    shown = run("services", "clock", "--json")
    assert json.loads(shown.stdout)["clock_offset_s"] == pytest.approx(-ahead_s, abs=1.0)
    assert abs(server.stats()["clock_offset_s"]) >= abs(ahead_s) - 1
    late = run("request", "clock", "never", "--deadline", "1.5")
    assert late.returncode == Exit.NOT_REACHED and f"clocks differ by {abs(ahead_s)}" in late.stderr

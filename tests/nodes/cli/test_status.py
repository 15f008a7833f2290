"""`fabric status` on real proxies."""

from __future__ import annotations

import json
import math
import re
import subprocess
from collections.abc import Callable, Iterator
from importlib import import_module

import pytest

from fabric import Node
from fabric.core import BUILD
from nodes.cli import main
from nodes.cli.exits import Exit
from nodes.observe.mesh_view import MeshView
from tests.support.processes import FabricProcess, ProxyProcess

status_module = import_module("nodes.cli.status")  # its command hides it in the package
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_status(mesh: list[ProxyProcess], fabric: Callable[..., FabricProcess], run_fabric: Run) -> None:
    first, second = mesh
    fabric("sub", "a/b", "a/c", "--connect", second.base).wait_stderr("a/c acknowledged")
    done = run_fabric("status", "--connect", first.base)
    lines = done.stdout.splitlines()
    assert done.returncode == Exit.DONE and done.stderr == "" and len(lines) == 3
    assert lines[0].startswith("PROXY  STATE   BASE")
    assert re.match(rf"p1 +member +{first.base} +[\dms]+ +1/1 .* {BUILD} +none$", lines[1])
    assert re.match(rf"p2 +member +{second.base} +[\dms]+ +1/1 .* {BUILD} +none$", lines[2])


def test_a_proxy_that_is_expected_and_not_there_is_exit_code_1(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    words = ("status", "--connect", mesh[0].base, "--expect", "p1", "--expect", "p2")
    assert run_fabric(*words).returncode == Exit.DONE
    done = run_fabric(*words, "--expect", "p9")
    assert done.returncode == Exit.NOT_REACHED and done.stderr == "fabric: not in the mesh: p9\n"
    assert re.search(r"^p9 +absent", done.stdout, re.MULTILINE)


def test_status_as_json(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("status", "--json", "--connect", mesh[1].base)
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["id"] == "p1" and second["id"] == "p2" and first["state"] == second["state"] == "member"
    assert [peer["id"] for peer in first["peers"]] == ["p2"]
    assert set(first["rates"]) == {"in", "out", "relay", "guest"} and first["descriptors"]["used"] > 0


def test_status_as_json_whatever_a_peer_announces(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = {"id": "odd", "incarnation": "0" * 32, "base": "tcp://127.0.0.1:1", "state": "member", "peers": []}

    def announced(node: Node, view: MeshView, deadline: float) -> Iterator[None]:
        view.hear({**odd, "uptime_s": math.nan, "rates": b"\xff", "identity": [7]})
        yield

    monkeypatch.setattr(status_module, "announcements", announced)
    assert main.run(["status", "--json", "--connect", mesh[0].base]) == Exit.DONE
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["odd"]
    assert main.run(["status", "--connect", mesh[0].base]) == Exit.DONE
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == "none"

"""`fabric status` on real proxies."""

from __future__ import annotations

import json
import math
import re
import subprocess
import threading
from collections.abc import Callable

from fabric import Node
from fabric.core import BUILD
from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess

Proxies = Callable[..., list[ProxyProcess]]


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_status(mesh: list[ProxyProcess], fabric: Callable[..., FabricProcess], run_fabric: Run) -> None:
    first, second = mesh
    fabric("sub", "a/b", "a/c", "--connect", second.base).wait_stderr("a/c acknowledged")
    done = run_fabric("status", "--connect", first.base)
    lines = done.stdout.splitlines()
    assert done.returncode == Exit.DONE and done.stderr == "" and len(lines) == 3
    assert lines[0].startswith("PROXY  STATE   BASE")
    assert re.match(rf"p1 +member +{first.base} +[\dms]+ +1/1 .* {BUILD}$", lines[1])
    assert re.match(rf"p2 +member +{second.base} +[\dms]+ +1/1 .* {BUILD}$", lines[2])


def test_status_as_json(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("status", "--json", "--connect", mesh[1].base)
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["id"] == "p1" and second["id"] == "p2" and first["state"] == second["state"] == "member"
    assert [peer["id"] for peer in first["peers"]] == ["p2"]
    assert set(first["rates"]) == {"in", "out", "relay", "guest"} and first["descriptors"]["used"] > 0


def test_status_as_json_whatever_a_peer_announces(proxies: Proxies, run_fabric: Run) -> None:
    (proxy,) = proxies(1)
    odd = {"id": "odd", "incarnation": "0" * 32, "base": "tcp://127.0.0.1:1", "state": "member", "peers": []}
    over = threading.Event()

    def announce() -> None:
        while not over.wait(0.01):
            node.publish_system("$fabric/proxy/odd", {**odd, "uptime_s": math.nan, "rates": b"\xff"})

    with Node(proxy.base) as node:
        announcer = threading.Thread(target=announce)
        announcer.start()
        try:
            done = run_fabric("status", "--json", "--connect", proxy.base)
        finally:
            over.set()
            announcer.join()
    assert done.returncode == Exit.DONE and "odd" in [json.loads(line)["id"] for line in done.stdout.splitlines()]


def test_status_shows_who_has_died(proxies: Proxies, run_fabric: Run) -> None:
    first, second = proxies(2)
    second.kill()
    first.wait_stderr("peer dead p2")
    rows = run_fabric("status", "--connect", first.base).stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["p1", "member"], ["p2", "dead"]]

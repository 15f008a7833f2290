"""`fabric wait`: for a mesh that is there, one that comes, and one that does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess, free_base

Proxies = Callable[..., list[ProxyProcess]]


Run = Callable[..., "subprocess.CompletedProcess[str]"]


def test_wait_for_a_mesh_that_is_there(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("wait", "--proxies", "2", "--connect", mesh[0].base)
    assert (done.returncode, done.stdout, done.stderr) == (Exit.DONE, "", "fabric wait: ready: p1, p2\n")


def test_wait_for_a_proxy_that_is_to_come(proxies: Proxies, fabric: Callable[..., FabricProcess]) -> None:
    (first,) = proxies(1)
    waiting = fabric("wait", "--proxies", "2", "--json", "--connect", first.base)
    proxies(1, join=(first.base,))
    assert waiting.wait() == Exit.DONE
    found = json.loads(waiting.stdout[0])
    assert found["ready"] is True and found["proxies"] == ["p1", "p2"] and found["elapsed_s"] > 0


def test_wait_not_long_enough(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    done = run_fabric("wait", "--proxies", "3", "--timeout", "2.2", "--connect", mesh[0].base)
    assert done.returncode == Exit.NOT_REACHED
    assert done.stderr == "fabric wait: not ready in 2.2 s: 2 of 3 proxies are there: p1, p2\n"


def test_wait_begins_before_there_is_a_proxy(fabric: Callable[..., FabricProcess]) -> None:
    base = free_base()
    waiting = fabric("wait", "--connect", base)
    fabric("proxy", "--listen", base)
    assert waiting.wait() == Exit.DONE


def test_wait_for_nobody(run_fabric: Run) -> None:
    assert run_fabric("wait", "--timeout", "0.3", "--connect", free_base()).returncode == Exit.NOBODY

"""`fabric wait`: for a mesh that is there, one that comes, and one that does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

from fabric import Node
from fabric.services import Server, each
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


def test_wait_for_subscribers_a_service_and_a_retained_value(
    mesh: list[ProxyProcess], fabric: Callable[..., FabricProcess], run_fabric: Run
) -> None:
    first, second = (each.base for each in mesh)
    asked = ("--subscribers", "2", "load/+", "--subscribers", "1", "x", "--service", "clock", "--retained", "a/+")
    short = run_fabric("wait", *asked, "--timeout", "1.5", "--json", "--connect", first)
    assert short.returncode == Exit.NOT_REACHED
    assert short.stderr == (
        "fabric wait: not ready in 1.5 s: 0 of 2 subscribers of load/+ are there; 0 of 1 subscribers of x are there; "
        "no instance of service clock is there; no value of a/+ is retained\n"
    )
    waiting = fabric("wait", *asked, "--json", "--connect", first)
    fabric("sub", "load/#", "--connect", first)
    fabric("sub", "#", "--connect", second)
    run_fabric("pub", "a/b", "1", "--retain", "--connect", second)
    with Node(second) as node, Server(node, "clock", each(lambda request: 1)):
        assert waiting.wait() == Exit.DONE
    found = json.loads(waiting.stdout[0])
    assert found["subscribers"] == {"load/+": 2, "x": 1} and found["services"] == {"clock": 1}
    assert found["retained"] == {"a/+": 1} and found["proxies"] == ["p1", "p2"] and found["problem"] == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--subscribers", "0", "a"), "0 is not in the range x>=1"),
        (("--subscribers", "1", "a/#/b"), "invalid filter 'a/#/b'"),
        (("--subscribers", "1", "~/a"), "which never leaves its node"),
        (("--service", "a/b"), "invalid service 'a/b'"),
        (("--retained", "a#"), "invalid filter 'a#'"),
    ],
)
def test_wrong_usage(mesh: list[ProxyProcess], run_fabric: Run, args: tuple[str, ...], words: str) -> None:
    done = run_fabric("wait", *args, "--connect", mesh[0].base)
    assert done.returncode == Exit.USAGE and words in done.stderr, done.stderr

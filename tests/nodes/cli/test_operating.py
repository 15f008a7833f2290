"""--http and --log-json at real commands: where, when, and what happens when it cannot be."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest

from nodes.cli.exits import Exit
from nodes.cli.operating import http_of_proxy
from nodes.operate.http_server import Address
from tests.support.processes import FabricProcess, ProxyProcess, free_base
from tests.support.status_pages import ASK, StatusPage
from tests.support.waiting import until

Fabric = Callable[..., FabricProcess]


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def taken() -> Iterator[str]:
    """An address at which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"http://127.0.0.1:{other.getsockname()[1]}"


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("tcp://127.0.0.1:5570", Address("127.0.0.1", 5575)),
        ("tcp://*:5570", Address("0.0.0.0", 5575)),
        ("tcp://[::1]:5570", Address("::1", 5575)),
        ("ipc:///tmp/p", None),
    ],
)
def test_a_proxys_page_is_at_its_base_port_and_5(listen: str, address: Address | None) -> None:
    assert http_of_proxy(listen) == address


def test_a_proxy_serves_its_page_unasked_and_says_when_it_is_not_ready(fabric: Fabric) -> None:
    base = free_base()
    proxy = fabric("proxy", "--listen", base, "--name", "p1", "--join", free_base())
    page = StatusPage.of_proxy(base)
    until(lambda: can_reach(page), "it listens")
    assert page.get("/healthz") == (200, "alive")
    until(lambda: page.get("/readyz") == (503, "joining"), "it says that it is joining")
    assert page.metrics()["fabric_proxy_member"] == 0
    assert proxy.stop() == Exit.DONE


def can_reach(page: StatusPage) -> bool:
    try:
        return page.get("/healthz")[0] == 200
    except OSError:
        return False


def test_off_is_off(fabric: Fabric) -> None:
    base = free_base()
    fabric("proxy", "--listen", base, "--http", "off").wait_event("ready")
    assert not can_reach(StatusPage.of_proxy(base))


def test_where_the_default_is_taken_it_warns_and_goes_on(fabric: Fabric) -> None:
    base = free_base()
    with socket.create_server(("127.0.0.1", int(base.rpartition(":")[2]) + 5)):
        proxy = fabric("proxy", "--listen", base)
        proxy.wait_event("ready")
    assert "no status page: cannot listen at http://127.0.0.1:" in proxy.stderr[0]
    assert "choose another address with --http" in proxy.stderr[0]


@pytest.mark.parametrize(
    "command",
    [
        ["proxy", "--listen"],
        ["frame", "--store", "sqlite://", "--connect"],
        ["page", "--connect"],
        ["sub", "a", "--connect"],
    ],
)
def test_where_what_was_asked_for_is_taken_nothing_begins(taken: str, run_fabric: Run, command: list[str]) -> None:
    done = run_fabric(*command, free_base(), "--http", taken)
    assert (done.returncode, done.stdout) == (Exit.MISSING, "")
    assert done.stderr == f"fabric: cannot listen at {taken}: Address already in use\n"


def test_what_is_no_address_is_wrong_usage(run_fabric: Run) -> None:
    done = run_fabric("proxy", "--http", "5575")
    assert done.returncode == Exit.USAGE and "invalid address '5575': expected http://HOST:PORT" in done.stderr


def test_a_wide_address_warns(fabric: Fabric, mesh: list[ProxyProcess]) -> None:
    sub = fabric("sub", "a", "--connect", mesh[0].base, "--http", "http://0.0.0.0:0")
    sub.wait_stderr("can be reached from other machines, and answers anyone who asks")


def test_a_node_without_its_proxy_is_alive_and_not_ready(
    fabric: Fabric, proxies: Callable[..., list[ProxyProcess]]
) -> None:
    (proxy,) = proxies(1)
    sub = fabric("sub", "a", "--connect", proxy.base, *ASK)
    sub.wait_stderr("acknowledged")
    page = StatusPage.of(sub)
    assert page.get("/readyz") == (200, "ready") and page.metrics()["fabric_node_connected"] == 1
    proxy.kill()
    why = f"connecting: not connected with a proxy, trying {proxy.base}"
    until(lambda: page.get("/readyz") == (503, why), "it says what it lacks")
    assert page.get("/healthz") == (200, "alive") and page.metrics()["fabric_node_connected"] == 0


def test_a_publisher_that_runs_on_has_its_page(fabric: Fabric, mesh: list[ProxyProcess]) -> None:
    pub = fabric("pub", "--connect", mesh[0].base, *ASK)
    pub.send('{"topic": "a/b", "payload": 1}')
    page = StatusPage.of(pub)
    until(lambda: page.metrics().get("fabric_node_published_total") == 1, "it has published")
    assert page.get("/readyz") == (200, "ready")
    pub.close_stdin()
    assert pub.wait() == Exit.DONE


def test_log_json(fabric: Fabric, proxies: Callable[..., list[ProxyProcess]]) -> None:
    first, second = proxies(2, "--log-json")
    first.wait_stderr('"event": "link_up"')
    lines = [json.loads(line) for line in first.stderr]
    assert {"ts", "level", "logger", "event", "fields"} == set(lines[0])
    (up,) = [line["fields"] for line in lines if line["event"] == "link_up"]
    assert (up["id"], up["base"]) == ("p2", second.base)
    sub = fabric("sub", "a", "--connect", first.base, "--log-json")
    assert json.loads(sub.wait_stderr("acknowledged"))["event"].startswith("a acknowledged in ")

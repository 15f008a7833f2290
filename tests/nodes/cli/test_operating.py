"""--http and --log-json at real commands: where, when, and what happens when it cannot be."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fabric import private_files
from nodes.cli.exits import Exit
from nodes.cli.main import run
from nodes.cli.operating import http_of_proxy
from nodes.operate.http_server import Address, Guard
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
    ("listen", "guard", "address"),
    [
        ("tcp://127.0.0.1:5570", Guard(), Address("127.0.0.1", 5575)),
        ("tcp://[::1]:5570", Guard(), Address("::1", 5575)),
        ("tcp://*:5570", Guard(), Address("127.0.0.1", 5575)),
        ("tcp://10.0.0.1:5570", Guard(), Address("127.0.0.1", 5575)),
        ("tcp://[fe80::1]:5570", Guard(), Address("::1", 5575)),
        ("tcp://*:5570", Guard("t" * 16), Address("0.0.0.0", 5575)),
        (
            "tcp://10.0.0.1:5570",
            Guard("t" * 16, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
            Address("10.0.0.1", 5575, True),
        ),
        ("ipc:///tmp/p", Guard(), None),
    ],
)
def test_a_proxys_page_is_at_its_base_port_and_5_and_beyond_loopback_only_with_a_guard(
    listen: str, guard: Guard, address: Address | None
) -> None:
    assert http_of_proxy(listen, guard) == address


def test_a_proxy_serves_its_page_unasked_and_says_when_it_is_not_ready(fabric: Fabric) -> None:
    base = free_base()
    nobody = free_base()
    proxy = fabric("proxy", "--listen", base, "--name", "p1", "--join", nobody)
    page = StatusPage.of_proxy(base)
    until(lambda: can_reach(page), "it listens")
    assert page.get("/healthz") == (200, "alive")
    until(lambda: page.get("/readyz") == (503, f"joining: nobody answers at {nobody}"), "it says that it is joining")
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
    assert done.stderr == f"fabric {command[0]}: cannot listen at {taken}: Address already in use\n"


def test_what_is_no_address_is_wrong_usage(run_fabric: Run) -> None:
    done = run_fabric("proxy", "--http", "5575")
    assert done.returncode == Exit.USAGE and "invalid address '5575': expected http://HOST:PORT" in done.stderr


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    private_files.write(tmp_path / "token", b"0123456789abcdef\n")
    return tmp_path / "token"


@pytest.mark.parametrize(
    "command",
    [["proxy"], ["frame", "--store", "sqlite:///x"], ["page"], ["agent", "a"], ["gateway"], ["sub", "a"], ["pub"]],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("url", ["http://0.0.0.0:0", "http://*:0", "http://192.0.2.1:80", "http://h.example:80"])
def test_a_page_for_other_machines_without_a_guard_is_wrong_usage(
    capfd: pytest.CaptureFixture[str], command: list[str], url: str
) -> None:
    assert run([*command, "--http", url]) == Exit.USAGE
    assert "would answer anyone: expected a loopback address, --http-token-file FILE, or" in capfd.readouterr().err


def test_with_a_token_other_machines_may_ask_and_it_is_never_told(
    fabric: Fabric, mesh: list[ProxyProcess], token_file: Path
) -> None:
    sub = fabric(
        "sub", "a", "--connect", mesh[0].base, "--http", "http://0.0.0.0:0", "--http-token-file", str(token_file)
    )
    sub.wait_stderr("without TLS: its token can be read on the way")
    page = StatusPage.of(sub)
    assert page.get("/readyz")[0] == page.get("/metrics")[0] == 401
    shown = StatusPage(page.url, "0123456789abcdef")
    until(lambda: shown.get("/readyz") == (200, "ready"), "it is ready")
    assert shown.metrics()['fabric_http_refused_total{kind="token_missing"}'] == 2
    assert StatusPage(page.url, "0123456789abcdee").get("/healthz")[0] == 401
    assert shown.metrics()['fabric_http_refused_total{kind="token_wrong"}'] == 1
    assert "0123456789abcdef" not in "\n".join(sub.stderr) + str(sub.command)


def test_a_proxy_that_others_reach_has_its_page_on_loopback_and_elsewhere_with_a_token(
    fabric: Fabric, token_file: Path
) -> None:
    for words, outside in (((), False), (("--http-token-file", str(token_file)), True)):
        base = free_base()
        listen = base.replace("127.0.0.1", "0.0.0.0")
        proxy = fabric("proxy", "--listen", listen, "--advertise", base, "--insecure", *words)
        proxy.wait_event("ready")
        assert StatusPage.of_proxy(base).get("/healthz")[0] == (401 if outside else 200)
        assert can_connect("127.0.0.2", base) == outside
        assert proxy.stop() == Exit.DONE


def can_connect(host: str, base: str) -> bool:
    """Whether a status page is reached at another address than the one that loopback has by default."""
    try:
        socket.create_connection((host, int(base.rpartition(":")[2]) + 5), 5).close()
    except ConnectionRefusedError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--http-cert", "x"], Exit.USAGE, "--http-cert and --http-key go together"),
        (["--http-client-ca", "x"], Exit.USAGE, "--http-client-ca with them"),
        (["--http", "https://127.0.0.1:0"], Exit.USAGE, "https needs --http-cert and --http-key"),
        (["--http-cert", "/nowhere", "--http-key", "/nowhere"], Exit.MISSING, "/nowhere, /nowhere cannot be used"),
        (["--http-token-file", "/nowhere"], Exit.MISSING, "/nowhere cannot be read: No such file"),
        (["--http-token-file", "SHORT"], Exit.MISSING, "holds no token: expected one line of 16 to 1000"),
        (["--http-token-file", "OPEN"], Exit.MISSING, "(mode 0644): expected chmod 600"),
        (["--http-cert", "OPEN", "--http-key", "OPEN"], Exit.MISSING, "(mode 0644): expected chmod 600"),
    ],
)
def test_guards_that_cannot_be_used(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, words: list[str], code: Exit, said: str
) -> None:
    for name, content, mode in (("SHORT", "short", 0o600), ("OPEN", "0123456789abcdef", 0o644)):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    known = {name: str(tmp_path / name) for name in ("SHORT", "OPEN")}
    assert run(["sub", "a", *(known.get(word, word) for word in words)]) == code
    err = capfd.readouterr().err
    assert said in err and "0123456789abcdef" not in err and len(err.splitlines()) == 1


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
    acked = json.loads(sub.wait_stderr("acknowledged"))
    assert acked["event"] == "acknowledged"
    assert acked["fields"]["filter"] == "a" and set(acked["fields"]["covered"]) == {"p1", "p2"}

"""`fabric request`: replies, refusals, nobody there."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fabric import Node
from fabric.errors import Busy, NotAllowed, StateError
from fabric.services import Request, Server, each
from nodes.cli.exits import Exit
from tests.support.processes import ProxyProcess
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


@pytest.mark.parametrize(
    ("body", "sent"),
    [([], None), (["5"], 5), (['{"a": [1, "x"]}'], {"a": [1, "x"]}), (["plain words"], "plain words")],
    ids=["none", "a number", "a map", "no JSON"],
)
def test_a_reply_is_printed_as_json(ask: Run, server: Server, body: list[str], sent: Any) -> None:
    done = ask("clock", "now", *body, "--key", "k-1")
    assert done.returncode == Exit.DONE and done.stderr == "" and done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {"op": "now", "body": sent, "key": "k-1"}


def test_bytes_come_as_json_too(ask: Run, server: Server) -> None:
    assert json.loads(ask("clock", "now", '{"$bin": "AP8="}').stdout)["body"] == {"$bin": "AP8="}


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ("busy", "fabric request: busy: full; try again in 2.5 s"),
        ("forbidden", "fabric request: refused, NotAllowed: not yours\\u000a(second line)"),
        ("wrong", "fabric request: refused, StateError: clock: 'now' is not possible in state 'stopped'"),
    ],
)
def test_what_is_refused_ends_with_1(ask: Run, server: Server, operation: str, words: str) -> None:
    done = ask("clock", operation)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (Exit.NOT_REACHED, "", words)


def test_no_answer_in_time_ends_with_1(ask: Run, server: Server) -> None:
    done = ask("clock", "never", "--deadline", "0.5")
    assert done.returncode == Exit.NOT_REACHED and "no answer from service 'clock' within" in done.stderr


def test_nobody_there_ends_with_4(ask: Run, run_fabric: Run) -> None:
    done = ask("nothing", "now", "--deadline", "0.5")
    assert done.returncode == Exit.NOBODY and "no instance of service 'nothing' was there" in done.stderr
    done = run_fabric("request", "clock", "now", "--connect", "tcp://127.0.0.1:1024", "--connect-timeout", "0.2")
    assert done.returncode == Exit.NOBODY and "no proxy answered" in done.stderr


@pytest.mark.parametrize(
    "args",
    [("a/b", "now"), ("clock", ""), ("clock", "now", "--key", ""), ("clock", "now", "--deadline", "9999"), ("clock",)],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2(ask: Run, args: tuple[str, ...]) -> None:
    done = ask(*args)
    assert done.returncode == Exit.USAGE and "fabric" in done.stderr and "Traceback" not in done.stderr

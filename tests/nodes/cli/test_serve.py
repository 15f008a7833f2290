"""`fabric serve`, and `fabric request` over it: real processes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fabric import Node
from fabric.services import Client
from nodes.cli.exits import Exit
from nodes.cli.serve import reply_of
from tests.support.processes import FabricProcess, ProxyProcess
from tests.support.waiting import PATIENCE_S, mesh, until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Serve = Callable[..., FabricProcess]


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.fixture
def serve(fabric: Callable[..., FabricProcess], proxies: list[ProxyProcess]) -> Serve:
    """serve(command, *args): `fabric serve it --command COMMAND ARGS…` at the first proxy, ready."""

    def start(command: str, *args: str) -> FabricProcess:
        process = fabric("serve", "it", "--command", command, *args, "--connect", proxies[0].base)
        process.wait_event("ready")
        return process

    return start


@pytest.fixture
def ask(run_fabric: Run, proxies: list[ProxyProcess]) -> Run:
    """ask(*args): `fabric request it ARGS…` at the second proxy."""
    return lambda *args: run_fabric("request", "it", *args, "--connect", proxies[1].base)


@pytest.mark.parametrize(
    ("stdout", "reply"),
    [
        (b"", None),
        (b"\n", None),
        (b"HELLO\n", "HELLO"),
        (b"HELLO", "HELLO"),
        (b"two\nlines\n", "two\nlines"),
        (b"21.5\n", 21.5),
        (b'{"a": [1]}\n', {"a": [1]}),
        (b"\xff\n", b"\xff\n"),
    ],
)
def test_what_a_command_wrote_is_json_or_text_or_bytes(stdout: bytes, reply: Any) -> None:
    assert reply_of(stdout) == reply


def test_a_request_is_answered_by_the_command(serve: Serve, ask: Run) -> None:
    process = serve('printf "%s %s " "$FABRIC_OP" "$FABRIC_REQUEST_KEY"; cat', "--json")
    for body, came in ((["hello"], "hello"), (['{"a": [1, "é"]}'], '{"a":[1,"é"]}'), ([], "")):
        done = ask("now", *body, "--key", f"k{len(came)}")
        assert (done.returncode, json.loads(done.stdout)) == (Exit.DONE, f"now k{len(came)} {came}")
    lines = [json.loads(line) for line in process.wait_lines(4)]
    assert [each["event"] for each in lines] == ["ready", *["request"] * 3]
    assert {(each["op"], each["code"], each["error"]) for each in lines[1:]} == {("now", 0, None)}
    assert process.stop() == Exit.DONE
    assert "fabric serve: 3 requests, 0 of them failed" in process.stderr


def test_bytes_go_in_and_out(serve: Serve, ask: Run) -> None:
    serve("cat", "--raw")
    assert json.loads(ask("x", '{"$bin": "AP8="}').stdout) == {"$bin": "AP8="}


def test_a_failure_is_told_with_the_last_line_of_stderr(serve: Serve, ask: Run) -> None:
    process = serve("echo looking >&2; echo 'no such truck' >&2; exit 3")
    done = ask("now")
    assert (done.returncode, done.stdout) == (Exit.NOT_REACHED, "")
    assert "refused, ServiceError: exit code 3: no such truck" in done.stderr
    process.wait_stderr("fabric serve: now: exit code 3: no such truck")


def test_a_command_that_takes_too_long_is_killed(serve: Serve, ask: Run) -> None:
    serve("sleep 100", "--timeout", "0.3")
    done = ask("now", "--deadline", "10")
    assert "refused, ServiceError: the command was killed after 0.3 s" in done.stderr


def test_so_is_one_whose_requester_has_given_up(serve: Serve, ask: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    serve(f"echo $$ >{pids}; exec sleep 100")
    assert ask("now", "--deadline", "1").returncode == Exit.NOT_REACHED
    until(lambda: not _is_there(int(pids.read_text())), "all of them are gone")


def test_so_many_run_at_once_and_the_others_wait(serve: Serve, proxies: list[ProxyProcess]) -> None:
    serve("date +%s.%N; sleep 0.5; date +%s.%N", "--at-once", "3")
    with Node(proxies[1].base) as node, Client(node) as client:
        asked = [client.submit("it", "now", number, deadline_s=PATIENCE_S) for number in range(6)]
        spans = sorted(tuple(map(float, future.result().split("\n"))) for future in asked)
    most = max(sum(start <= at < end for start, end in spans) for at, _ in spans)
    assert most == 3


def test_on_sigterm_it_takes_nothing_more_and_finishes_what_runs(
    serve: Serve, proxies: list[ProxyProcess], tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    process = serve(f"touch {begun}; sleep 1; echo done")
    with Node(proxies[1].base) as node, Client(node) as client:
        future = client.submit("it", "now", None, deadline_s=PATIENCE_S)
        until(begun.exists, "the command runs")
        process.popen.send_signal(signal.SIGTERM)
        assert future.result() == "done"
    assert process.wait() == Exit.DONE
    assert "fabric serve: 1 requests, 0 of them failed" in process.stderr


def test_what_does_not_end_is_killed_and_the_requester_is_told(
    serve: Serve, ask: Run, proxies: list[ProxyProcess], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    process = serve(f"sleep 100 & echo $! $$ >{pids}; wait", "--drain", "0.5")
    with Node(proxies[1].base) as node, Client(node) as client:
        future = client.submit("it", "now", None, deadline_s=PATIENCE_S)
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "they run")
        process.popen.send_signal(signal.SIGTERM)
        with pytest.raises(Exception, match="the command was killed: the service ends"):
            future.result()
    assert process.wait() == Exit.NOT_REACHED
    assert "fabric serve: 1 requests, 1 of them failed; some were cut off" in process.stderr
    assert not any(_is_there(int(pid)) for pid in pids.read_text().split())


def test_killed_it_leaves_no_child(serve: Serve, proxies: list[ProxyProcess], tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    process = serve(f"sleep 100 & echo $! $$ >{pids}; wait")
    with Node(proxies[1].base) as node, Client(node) as client:
        client.submit("it", "now", None, deadline_s=PATIENCE_S)
        until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "they run")
        process.kill()
        until(lambda: not any(_is_there(int(pid)) for pid in pids.read_text().split()), "all of them are gone")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("a/b", "--command", "cat"), "invalid name 'a/b'"),
        (("it",), "Missing option '--command'"),
        (("it", "--command", " "), "invalid --command ' '"),
        (("it", "--command", "cat", "--at-once", "0"), "0 is not in the range"),
        (("it", "--command", "cat", "--timeout", "0"), "expected a number above 0"),
    ],
)
def test_wrong_usage(run_fabric: Run, args: tuple[str, ...], words: str) -> None:
    done = run_fabric("serve", *args)
    assert done.returncode == Exit.USAGE and words in done.stderr, done.stderr


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

"""Shell commands as children: what they get, what they say, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.cli.children import MAX_STDERR_BYTES, Children, Outcome
from tests.support.processes import ROOT, environment
from tests.support.waiting import PATIENCE_S, until


def run(command: str, stdin: bytes = b"", timeout_s: float = PATIENCE_S, max_bytes: int = 1_000_000) -> Outcome:
    with Children(command, max_bytes=max_bytes) as children:
        return children.run(stdin, {"FABRIC_OP": "up"}, timeout_s)


def is_there(pid: int) -> bool:
    """Whether a process runs. One that has ended, and that nobody has waited for, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """A file into which commands write their process ids."""
    yield tmp_path / "pids"


def listed(pids: Path, count: int) -> list[int]:
    until(lambda: pids.exists() and len(pids.read_text().split()) >= count, "they run")
    return [int(pid) for pid in pids.read_text().split()]


def test_stdin_and_stdout() -> None:
    assert run("tr a-z A-Z", b"hello") == Outcome(0, b"HELLO", "")
    assert run("cat; printf %s $FABRIC_OP") == Outcome(0, b"up", "")
    assert run("read -r line; echo $line", b"one\ntwo\n") == Outcome(0, b"one\n", "")


def test_much_goes_through_both_ways() -> None:
    much = os.urandom(700_000)
    assert run("cat", much).stdout == much


@pytest.mark.parametrize("command", ["true", "exec <&-; sleep 0.1", "head -c 3 >/dev/null"])
def test_what_is_not_read_harms_nobody(command: str) -> None:
    assert run(command, b"x" * 1_000_000).code == 0


def test_exit_codes_and_the_last_line_of_stderr() -> None:
    assert run("echo first >&2; echo 'no such truck' >&2; echo >&2; exit 3") == Outcome(3, b"", "no such truck")
    assert run("kill -TERM $$") == Outcome(-signal.SIGTERM, b"", "")
    assert run("nothing-of-this-name").code == 127
    told = run(f"head -c {3 * MAX_STDERR_BYTES} /dev/zero | tr '\\0' x >&2")
    assert told.last_line == "x" * MAX_STDERR_BYTES


def test_one_that_takes_too_long_is_killed_with_all_that_it_started(pids: Path) -> None:
    began = time.monotonic()
    outcome = run(f"echo begun; sleep 100 & echo $! $$ >>{pids}; wait", timeout_s=0.5)
    assert (outcome.code, outcome.stdout, outcome.why) == (-signal.SIGKILL, b"begun\n", "time")
    assert time.monotonic() - began < PATIENCE_S
    until(lambda: not any(map(is_there, listed(pids, 2))), "all of them are gone")


def test_what_it_leaves_behind_is_killed_and_not_waited_for(pids: Path) -> None:
    began = time.monotonic()
    assert run(f"sleep 100 & echo $! >>{pids}; echo done") == Outcome(0, b"done\n", "")
    assert time.monotonic() - began < PATIENCE_S
    until(lambda: not any(map(is_there, listed(pids, 1))), "all of them are gone")


@pytest.mark.parametrize("command", ["yes", "head -c 5000 /dev/zero"])
def test_one_that_writes_too_much_is_killed(command: str) -> None:
    outcome = run(command, max_bytes=1_000)
    assert outcome.why == "size" and len(outcome.stdout) > 1_000


def test_several_at_once_and_closed_while_they_run(pids: Path) -> None:
    outcomes: list[Outcome] = []
    with Children(f"echo $$ >>{pids}; exec sleep 100", max_bytes=100) as children:
        threads = [
            threading.Thread(target=lambda: outcomes.append(children.run(b"", {}, PATIENCE_S))) for _ in range(5)
        ]
        for thread in threads:
            thread.start()
        found = listed(pids, 5)
        assert all(map(is_there, found))
    for thread in threads:
        thread.join()
    assert [(each.code, each.why) for each in outcomes] == [(-signal.SIGKILL, "closed")] * 5
    assert children.run(b"", {}, 1.0).why == "closed"
    assert not any(map(is_there, found))


def test_killed_itself_it_leaves_nobody(pids: Path) -> None:
    code = (
        "from nodes.cli.children import Children\n"
        f"Children('sleep 100 & echo $! $$ >>{pids}; wait', max_bytes=9).run(b'', {{}}, 100.0)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment(), cwd=ROOT)
    found = listed(pids, 2)
    assert all(map(is_there, found))
    parent.kill()
    parent.wait()
    until(lambda: not any(map(is_there, found)), "all of them are gone")


def test_where_the_system_does_not_tell_it_is_looked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert run("tr a-z A-Z", b"hello") == Outcome(0, b"HELLO", "")

"""What makes tests safe side by side: units of work, ports, locks, and skipping what starts processes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.locks import HELD, Ports, alone
from tests.support.processes import ROOT, environment
from tests.support.side_by_side import FIRST, TOGETHER, rank, unit_of


def test_what_goes_together_and_what_begins_first() -> None:
    assert unit_of("tests/fabric/test_trie.py::test_x[a::b]") == "tests/fabric/test_trie.py"
    assert unit_of("tests/nodes/store/test_pages.py::test_x") == unit_of("tests/nodes/store/test_chats.py::test_y")
    assert unit_of("tests/faults/test_seeds.py::test_x[1]") != unit_of("tests/faults/test_cut.py::test_x")
    ranks = [rank(f"tests/{name}.py::t") for name in ("faults/test_seeds", "e2e/test_ack", "fabric/test_trie")]
    assert ranks == sorted(set(ranks))
    assert [each for each in (*FIRST, *TOGETHER) if not (ROOT / each).exists()] == []


def test_ports_that_a_process_holds_are_given_to_no_other_until_it_ends() -> None:
    first = 10_000 + os.getpid() % 700 * 11
    take = f"from tests.support.locks import Ports; print(Ports({first}, {first + 11}).take(10), flush=True); input()"
    with Python(take) as other:
        assert other.said() == f"{first}\n"
        with pytest.raises(RuntimeError, match="no 10 free ports in a row"):
            Ports(first, first + 11).take(10)
    assert Ports(first, first + 11).take(10) == first, "its lock has ended with it"


def test_a_process_holds_its_newest_ports_only() -> None:
    ports = Ports(8_000, 9_500)
    for _ in range(HELD + 5):
        ports.take(3)
    assert len(ports._held) == HELD and len({first for first, _ in ports._held}) == HELD


def test_one_process_at_a_time_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    wait = f"from pathlib import Path; from tests.support.locks import alone; alone(Path({str(path)!r})).__enter__(); "
    with alone(path):
        other = Python("print('here', flush=True); " + wait + "print('alone', flush=True); input()").__enter__()
        assert other.said() == "here\n"
        assert not select.select([other.out], [], [], 0.2)[0], "it waits"
    with other:
        assert other.said() == "alone\n"


def test_what_starts_a_process_is_skipped_in_whatever_thread(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text('pytest_plugins = ("tests.support.no_processes",)\n')
    (tmp_path / "test_it.py").write_text(STARTERS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", "--no-processes", "-rA", "."]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "1 passed, 4 skipped" in done.stdout, done.stdout


STARTERS = """
import multiprocessing, os, subprocess, threading

def test_none(): assert True
def test_popen(): subprocess.run(["true"])
def test_spawn(): multiprocessing.get_context("spawn").Process(target=print).start()
def test_system(): os.system("true")
def test_in_threads():
    threads = [threading.Thread(target=test_popen) for _ in range(2)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert False
"""


class Python:
    """A process that runs this code; it is ended by the end of its input."""

    def __init__(self, code: str) -> None:
        pipe, none = subprocess.PIPE, subprocess.DEVNULL
        self._popen = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), stdin=pipe, stdout=pipe, stderr=none, text=True
        )
        assert self._popen.stdout
        self.out = self._popen.stdout

    def __enter__(self) -> Python:
        return self

    def said(self) -> str:
        return self.out.readline()

    def __exit__(self, *_: object) -> None:
        with self._popen:
            assert self._popen.stdin
            self._popen.stdin.close()

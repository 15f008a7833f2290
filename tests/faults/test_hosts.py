"""The hosts and the disk that faults befall: a cut is a cut, full is full, and nothing of them is left."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.disk import NoDisk, small_disk
from tests.faults.hosts import Host, NoHosts, hosts

REACH = "import socket, sys; socket.create_connection((sys.argv[1], 9), timeout=0.3)"
"""Nobody listens at this port: a host that can be reached refuses at once."""


def reaches(here: Host, there: Host) -> bool:
    words = [*here.prefix, sys.executable, "-c", REACH, there.address]
    said = subprocess.run(words, capture_output=True, text=True, timeout=30).stderr
    return "ConnectionRefusedError" in said


def links() -> str:
    asked = [subprocess.run(["ip", *words], capture_output=True, text=True) for words in (["netns"], ["-br", "link"])]
    return "".join(each.stdout for each in asked)


def test_a_cable_that_is_cut_and_put_back() -> None:
    try:
        with hosts(2) as (one, other):
            assert reaches(one, other) and one.namespace in links()
            other.cut()
            assert not reaches(one, other) and reaches(other, other)
            other.heal()
            assert reaches(one, other)
    except NoHosts as lacking:
        pytest.skip(str(lacking))
    assert one.namespace not in links() and one.cable not in links()


def test_without_the_command_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoHosts, match="network namespaces cannot be used here"), hosts(1):
        pass
    with pytest.raises(NoDisk, match="no disk can be mounted here"), small_disk(tmp_path):
        pass


def test_a_disk_that_is_filled_and_freed(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path) as disk:
            disk.fill()
            with pytest.raises(OSError) as full:
                (disk.folder / "more").write_bytes(b"x")
            assert full.value.errno == errno.ENOSPC
            disk.free()
            assert (disk.folder / "more").write_bytes(b"x" * 1_000_000) == 1_000_000
            disk.free()
    except NoDisk as lacking:
        pytest.skip(str(lacking))
    assert not list((tmp_path / "disk").iterdir())

"""What the operating system says of a process: memory and open files. Linux only; elsewhere the tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM now, its own share of shared pages included."""
    return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(pid: int) -> int:
    """Number of open file descriptors of a process."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        pytest.skip("this system has no /proc")


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except FileNotFoundError:
        pytest.skip("this system has no /proc")

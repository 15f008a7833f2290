"""Ends a process of a plan by SIGKILL, and only such: scripts/up has recorded it, by process id and start time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fabric.errors import expected

_START = 21
"""The field of /proc/PID/stat that says when a process started, counted from 0; see proc(5)."""


def recorded(state: Path, name: str) -> int:
    """Return the process id of a process of the plan. Errors: ValueError where it is not there, or does not run"""
    if "/" in name or not (file := state / "run" / f"{name}.pid").is_file():
        found = sorted(each.stem for each in (state / "run").glob("*.pid"))
        raise ValueError(expected("process", name, f"one that scripts/up started: {', '.join(found) or 'none'}"))
    pid, start, *_ = file.read_text().split()
    if started(int(pid)) != start:
        raise ValueError(f"{name} does not run")
    return int(pid)


def kill(state: Path, name: str) -> None:
    """End a process of the plan. Errors: as `recorded`"""
    os.kill(recorded(state, name), signal.SIGKILL)


def started(pid: int) -> str:
    """Return when a process started, in ticks since the machine did; empty where it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[_START - 2]

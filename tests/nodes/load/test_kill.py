"""Only what a plan has recorded is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.load.kill import kill, recorded, started


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_recorded_process_ends_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with sleeper() as own, sleeper() as other:
        try:
            for name, process, start in (("p1", own, started(own.pid)), ("p2", other, "1")):
                (tmp_path / "run" / f"{name}.pid").write_text(f"{process.pid} {start} 99\n")
            assert recorded(tmp_path, "p1") == own.pid
            with pytest.raises(ValueError, match="p2 does not run"):
                kill(tmp_path, "p2")
            for name in ("p3", "../run/p1"):
                with pytest.raises(ValueError, match="expected one that scripts/up started: p1, p2"):
                    kill(tmp_path, name)
            kill(tmp_path, "p1")
            assert own.wait(20) == -signal.SIGKILL and other.poll() is None
            with pytest.raises(ValueError, match="p1 does not run"):
                kill(tmp_path, "p1")
        finally:
            for each in (own, other):
                each.kill()


def test_nothing_was_started(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="scripts/up started: none"):
        recorded(tmp_path, "p1")
    assert started(2**22 + 1) == ""

"""What a process tells its operator: the pages behind health, readiness and metrics."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nodes.operate.status import Status
from tests.support.processes import ROOT, environment


def test_without_prometheus_client_all_but_the_metrics_are_there(tmp_path: Path) -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; "
    code += "from nodes.operate.status import Status; s = Status('x'); "
    code += "print(s.pages['/metrics'](), s.pages['/healthz']().status)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert (
        "501" in done.stdout
        and "pip install 'site-connect-fabric[ops]'" in done.stdout
        and done.stdout.endswith(" 200\n")
    )


def test_a_part_that_dies_and_one_that_is_not_ready() -> None:
    status, why = Status("x"), {"dead": "", "unready": ""}
    assert status.pages["/readyz"]().body == b"starting\n"
    status.watch("node", dict, lambda: why["dead"])
    status.ready(lambda: "", lambda: why["unready"])
    assert [status.pages[path]().status for path in ("/healthz", "/readyz")] == [200, 200]
    why.update(dead="its thread ended", unready="no store")
    assert status.pages["/healthz"]() == (503, b"its thread ended\n", "text/plain; charset=utf-8")
    assert status.pages["/readyz"]().body == b"no store\n"


def test_a_second_reader_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.operate.status.PATIENCE_S", 0.01)
    status = Status("x")
    with status._making:
        assert status.pages["/metrics"]().status == 503
    assert status.pages["/metrics"]().status == 200

"""The demo: it runs, it notices what is wrong, and it leaves nothing running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from nodes.demo import flights
from nodes.demo.stage import Failed
from tests.support.processes import Process

DEMO = [sys.executable, "-m", "nodes.demo.flights"]


def test_the_demo(tmp_path: Path, started: list[Process]) -> None:
    """Two at once, as two people on one machine may run it."""
    both = [Process(DEMO, tmp_path, name=f"demo{n}") for n in (1, 2)]
    started += both
    for each in both:
        assert each.wait(120) == 0, each.said()
        assert each.stderr == []
        assert (
            "sent  26,849 of flights" in "\n".join(each.stdout) and each.stdout[-1] == "Every message came, in order."
        )
        assert sum("all, in order" in line for line in each.stdout) == 4
        assert len(each.stdout) < 20 and max(map(len, each.stdout)) < 100, "a short, readable report"


def test_what_must_come_is_what_is_known_of_these_files() -> None:
    """Figures counted once by hand with zcat and awk."""
    wanted, without_tail = flights.expected()
    assert without_tail == 155
    assert {topic_filter: len(messages) for topic_filter, messages in wanted.items()} == {
        "flight/+/+/dep_delay": 26_849,
        "flight/UA/#": 4_605,
        "+/+/temp": 2_226,
        "flight/UA/N14228/dep_delay": 15,
    }
    assert wanted["flight/+/+/dep_delay"][0] == ("flight/UA/N14228/dep_delay", 2)
    assert wanted["+/+/temp"][0] == ("airport/EWR/temp", 39.02)


class Said:
    """A child that has said these lines and ended."""

    def __init__(self, *lines: str) -> None:
        self.lines = [(float(n), line) for n, line in enumerate(lines)]

    def wait_until(self, done: Any, what: str, timeout_s: float) -> None:
        if not done():
            raise Failed(what)


@pytest.mark.parametrize(
    ("lines", "right"),
    [
        (["a\t1", "b\tnull"], True),
        (["a\t1.0", "b\tnull"], True),
        (["a\t1"], False),
        (["a\t1", "b\tnull", "b\tnull"], False),
        (["b\tnull", "a\t1"], False),
        (["a\t1", "b\t0"], False),
        (["a\t1", "c\tnull"], False),
        ([], False),
    ],
)
def test_a_message_too_few_too_many_or_other_is_noticed(
    lines: list[str], right: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flights._check("f", [("a", 1.0), ("b", None)], Said(*lines)) is right  # type: ignore[arg-type]
    assert ("all, in order" in capsys.readouterr().out) is right


def test_a_proxy_that_cannot_start_ends_it_with_1(tmp_path: Path) -> None:
    """A folder whose name is too long for ipc: the proxies refuse it."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    done = subprocess.run(DEMO, env=os.environ | {"TMPDIR": str(folder)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and done.stdout.endswith("The demo failed.\n")
    assert "demo: " in done.stderr and "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda n: str(n)
)
def test_interrupted_it_stops_what_it_started(
    number: signal.Signals, code: int, tmp_path: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as folder:  # short, as ipc paths are
        process = Process(DEMO, tmp_path, env=os.environ | {"TMPDIR": folder})
        started.append(process)
        process.wait_stdout("are one mesh", 60)
        children = _children_of(process.pid)
        assert len(children) >= 2
        process.signal(number)
        assert process.wait(30) == code
        assert "Traceback" not in "\n".join(process.stderr), process.said()
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        assert os.listdir(folder) == []


def _children_of(pid: int) -> list[str]:
    return [child for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]

"""The site-connect demo: it tells its story, it notices what is missing, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from nodes.demo import site_connect
from nodes.demo.stage import Failed
from tests.support.processes import Process
from tests.support.waiting import until

DEMO = [sys.executable, "-m", "nodes.demo.site_connect"]


def test_the_story(tmp_path: Path, started: list[Process]) -> None:
    process = Process(DEMO, tmp_path, name="demo")
    started.append(process)
    assert process.wait(120) == 0, process.said()
    assert process.stderr == [] and process.stdout[-1] == "All of it happened as told."
    told = "\n".join(process.stdout)
    for words in ("contact code", "enabled", "in order", "acknowledged", "another agent has used it", "disabled"):
        assert words in told
    assert sum("none of its ~/ topics" in line for line in process.stdout) == 2
    assert len(process.stdout) < 24 and max(map(len, process.stdout)) < 120, "a short, readable report"


def test_interrupted_it_stops_what_it_started(started: list[Process], tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        process = Process(DEMO, tmp_path, env=os.environ | {"TMPDIR": folder})
        started.append(process)
        process.wait_stdout("contact code", 60)
        tasks = Path(f"/proc/{process.pid}/task").glob("*/children")
        children = [child for path in tasks for child in path.read_text().split()]
        assert len(children) >= 4
        process.signal(signal.SIGTERM)
        assert process.wait(30) == 143
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "its children have ended")
        assert "Traceback" not in "\n".join(process.stderr) and os.listdir(folder) == []


class Said:
    """A child that has said these events and nothing more."""

    def __init__(self, *events: str) -> None:
        self.lines = [(0.0, json.dumps({"event": event, "n": n})) for n, event in enumerate(events)]

    def wait_until(self, done: Any, what: str, timeout_s: float) -> None:
        if not done():
            raise Failed(what)


def test_an_event_that_does_not_come_is_noticed() -> None:
    driven = site_connect.Driven(Said("a", "b", "a"))  # type: ignore[arg-type]
    assert [driven.event("a")["n"], driven.event("b")["n"], driven.event("a")["n"]] == [0, 1, 2]
    with pytest.raises(Failed, match="'a'"):
        driven.event("a")

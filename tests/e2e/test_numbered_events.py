"""The programs of docs/how-to/numbered-events.md, started late, killed and started again: they all end up the same."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.processes import ROOT, FabricProcess, Process, ProxyProcess
from tests.support.reader import blocks

PAGE = ROOT / "docs" / "how-to" / "numbered-events.md"
BASE = "tcp://127.0.0.1:5570"
SHOWN = "1001 events, 100 blocks, lost: []"


def programs() -> tuple[str, str]:
    """The publisher and the subscriber."""
    publisher, subscriber = (each.text for each in blocks(PAGE) if each.kind == "python")
    return publisher, subscriber


def test_they_have_thirty_lines() -> None:
    assert sum(1 for each in programs() for line in each.splitlines() if line.strip()) <= 30
    assert SHOWN in PAGE.read_text()


def test_late_killed_and_started_again_with_a_proxy_that_dies(
    proxies: Callable[..., list[ProxyProcess]],
    fabric: Callable[..., FabricProcess],
    started: list[Process],
    tmp_path: Path,
) -> None:
    publisher, subscriber = programs()
    first, second, third = proxies(3)

    def start(program: str, name: str, *bases: str) -> Process:
        text = program.replace(f'"{BASE}"', repr(list(bases)))
        assert text != program
        process = Process([sys.executable, "-c", text], tmp_path, name=name)
        started.append(process)
        return process

    keeper = fabric("keep", "--store", f"sqlite:///{tmp_path}/keep.db", "kv/#", "--connect", second.base)
    keeper.wait_event("ready")
    events = fabric("sub", "kv/+", "--connect", third.base)
    events.wait_stderr("acknowledged")
    early = start(subscriber, "early", first.base, second.base)
    killed = start(subscriber, "killed", second.base)
    engine = start(publisher, "engine", first.base, second.base)

    events.wait_lines(200)
    killed.kill()
    first.kill()
    events.wait_lines(400)
    late = start(subscriber, "late", second.base)
    again = start(subscriber, "again", third.base)
    assert engine.wait() == 0
    for each in (early, late, again):
        assert each.wait() == 0
        assert each.stdout == [SHOWN], each.said()

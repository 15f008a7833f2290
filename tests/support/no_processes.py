"""`pytest --no-processes`: skip every test that would start a process, at the moment when it would.

No list says which tests these are, so none can be out of date. Python tells an audit hook of every process that is
about to start, and an exception there prevents it. A fixture that several tests share is skipped once, for all of them.
"""

from __future__ import annotations

import multiprocessing.util
import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

STARTS = ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system")
"""Audit events of Python. `multiprocessing` has none for what it spawns, and is patched."""
WHY = "it starts a process"
_SAID = pytest.StashKey[bool]()
"""On a test: that it was reported as skipped here."""
_refused: list[str] = []
"""The test that was refused a process last, as `_current` names it; at most one, since one test runs at a time."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-processes", action="store_true", help="skip every test that starts a process")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--no-processes"):
        sys.addaudithook(lambda event, _: _refuse() if event in STARTS else None)
        setattr(multiprocessing.util, "spawnv_passfds", _refuse)  # noqa: B010


def _refuse(*_: Any) -> None:
    if test := _current():
        _refused[:] = [test]
        pytest.skip(WHY)


def _current() -> str:
    """Return the test that runs, without its phase; empty between tests, when pytest itself or a plugin is at work."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where another thread was refused, the test has failed by that, now or when its threads are looked at."""
    report = yield
    if report.failed and _refused == [item.nodeid]:
        said_before = item.stash.get(_SAID, False)
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: {WHY}")
        if said_before:  # one test is skipped once
            report.outcome, report.longrepr = "passed", None
        item.stash[_SAID] = True
    return report

"""Tests side by side in several processes: what goes together, and what begins first.

A plugin of pytest, loaded by conftest.py; it changes nothing while there is one process only. Tests mostly wait, for
time-outs and for each other's processes, so there are more workers than cores (`scripts/test` says how many).
"""

from __future__ import annotations

from typing import Any

import pytest

SEEDS = "tests/faults/test_seeds.py"
"""The longest file by far."""
TOGETHER = (SEEDS, "tests/faults/", "tests/nodes/store/")
"""What one worker runs: faults, so that only few of these crowds of processes are there at once; and the store, so that
one PostgreSQL serves it."""
FIRST = (
    SEEDS, "tests/faults/", "tests/e2e/test_site_transcripts.py", "tests/nodes/store/", "tests/e2e/", "tests/project/",
    "tests/nodes/",
)  # fmt: skip
"""Longest first, so that no worker is left with a long file when all others have ended."""


def unit_of(test: str) -> str:
    """Return what goes to one worker together with the test of this id: its file, for most."""
    return next((start for start in TOGETHER if test.startswith(start)), test.partition("::")[0])


def rank(test: str) -> int:
    """Return the place of a test in line; the lowest begins."""
    return next((place for place, start in enumerate(FIRST) if test.startswith(start)), len(FIRST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # every worker sorts alike, which xdist asks for
        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # and not there without xdist

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False  # it would sort by number of tests
    return Scheduling(config, log)

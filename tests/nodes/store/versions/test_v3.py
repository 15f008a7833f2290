"""Step 3 is one of the frame nodes' store; what it does to one that is in use: tests/nodes/store/test_database.py."""

from __future__ import annotations

from nodes.store.versions import v3


def test_it_stands_behind_the_one_before() -> None:
    assert (v3.revision, v3.down_revision) == ("3", "2")

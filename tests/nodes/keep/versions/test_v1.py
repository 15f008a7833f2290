"""Step 1 is one of a keeper's store."""

from __future__ import annotations

from nodes.keep.versions import v1


def test_it_stands_behind_the_one_before() -> None:
    assert (v1.revision, v1.down_revision) == ("1", None)

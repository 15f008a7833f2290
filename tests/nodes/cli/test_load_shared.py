"""What `fabric load` and its phases share; their own tests use the rest of it."""

from __future__ import annotations

from nodes.cli.load_shared import Limits


def test_limits_in_words() -> None:
    assert Limits(None, 0.0).words() == "no loss"
    assert Limits(20.0, 0.001).words() == "p99 of at most 20.0 ms and at most 0.1 % lost"

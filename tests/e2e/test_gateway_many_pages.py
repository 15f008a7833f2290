"""The benchmark of many pages at one gateway, small: everything arrives, and a restart keeps every session."""

from __future__ import annotations

from benchmarks.web_pages import measure


def test_fifty_pages_connect_hear_and_survive_a_restart() -> None:
    found = measure(pages=50, processes=1, rounds=2)
    assert found["restart"]["kept"] == 50
    assert found["storm"]["page_bytes"] < 1_000_000 and found["fan_out"]["max"] > 0

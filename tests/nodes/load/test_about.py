"""What a load test was of, in words."""

from __future__ import annotations

from dataclasses import replace

from nodes.load.about import About, words
from tests.nodes.load.test_report import ROUND, SPEC

ABOUT = About("h1", "2026-11-28T07:20:09Z", 2, "Linux 6, Python 3.11", "0.1.0")


def test_sizes_counts_date_and_host() -> None:
    assert words(ABOUT, SPEC, ROUND, ["p1"]) == (
        "2 publishers, 1 subscriber, 1 topic · 64 B payloads · 1,000/s asked for 1 s · 990 of 1,000 due delivered, "
        "7 lost, 3 in flight · 2026-11-28 07:20 UTC · host h1, 2 CPUs, 1 proxy"
    )
    assert "as fast as it goes for 2.5 s" in words(ABOUT, SPEC, replace(ROUND, rate=None, sending_s=2.5), ["p1", "p2"])
    assert ABOUT.as_json()["host"] == "h1"

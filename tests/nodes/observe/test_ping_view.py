"""Round trips by proxy."""

from __future__ import annotations

from nodes.observe.ping_view import Pings


def test_least_middle_most_and_lost() -> None:
    pings = Pings()
    for trip_s in (0.003, None, 0.001, 0.002):
        pings.add("p2", trip_s)
    pings.add("p1", 0.0005)
    assert pings.rows() == [("p1", "1", "0", "0.500", "0.500", "0.500"), ("p2", "4", "1", "1.00", "2.00", "3.00")]
    assert pings.as_json()[1] == {
        "proxy": "p2", "sent": 4, "lost": 1, "min_s": 0.001, "p50_s": 0.002, "max_s": 0.003
    }  # fmt: skip
    assert pings.silent == []


def test_one_that_never_answered_is_silent() -> None:
    pings = Pings()
    pings.add("p1", None)
    assert pings.silent == ["p1"] and pings.rows() == [("p1", "1", "1", "-", "-", "-")]
    assert pings.as_json()[0]["min_s"] is None

"""Alive, and ready: words for what is not well."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.operate.health import (
    HELD_UP_S,
    STALLED_S,
    node_death,
    node_problem,
    pages_problem,
    proxy_death,
    proxy_problem,
)

WELL = {
    "state": "member",
    "turned_s_ago": STALLED_S - 1,
    "echoed_s_ago": STALLED_S - 1,
    "descriptors": {"used": 900, "enough": 900, "limit": 1_024},
}
P2 = {"id": "p2", "linked": False, "dead": False}


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({}, "starting"),
        ({"state": "joining", "peers": []}, "joining"),
        ({"state": "joining", "peers": [], "unanswered": ["tcp://h:1"]}, "joining: nobody answers at tcp://h:1"),
        (
            {"state": "joining", "peers": [P2], "unanswered": ["tcp://h:1"]},
            "joining: not linked with p2; nobody answers at tcp://h:1",
        ),
        ({"state": "joining", "peers": [P2, {**P2, "id": "p3"}]}, "joining: not linked with p2, p3"),
        ({"state": "joining", "peers": [{**P2, "dead": True}, {**P2, "linked": True}]}, "joining"),
        ({**WELL, "peers": [{**P2, "dead": True}]}, ""),
        ({**WELL, "turned_s_ago": STALLED_S + 1}, "its control thread has not turned for 6 s"),
        ({**WELL, "echoed_s_ago": STALLED_S + 1}, "its streams have not moved for 6 s"),
        (
            {**WELL, "descriptors": {"used": 901, "enough": 900, "limit": 1_024}},
            "901 files and connections are open, of 1024 that may be",
        ),
        ({"state": "draining"}, "draining"),
        ({"state": "gone"}, "gone"),
    ],
)
def test_a_proxy_is_ready_as_a_member(figures: dict[str, Any], why: str) -> None:
    assert proxy_problem(figures) == why


def test_a_proxy_whose_thread_stands_still_is_dead() -> None:
    assert proxy_death({"turned_s_ago": HELD_UP_S - 1}) == ""
    assert proxy_death({"turned_s_ago": HELD_UP_S + 2}) == "its control thread has not turned for 12 s"


@pytest.mark.parametrize(
    ("state", "why"),
    [("connected", ""), ("moving", ""), ("connecting", "connecting: not connected with a proxy, trying tcp://h:1")],
)
def test_a_node_is_ready_while_it_has_a_proxy(state: str, why: str) -> None:
    figures = {"state": state, "base": "tcp://h:1"}
    assert node_problem(figures) == why and node_death(figures) == ""


def test_a_node_that_has_ended_is_dead() -> None:
    assert node_death({"state": "closed"}) == "its node has ended"


def test_pages_are_ready_with_their_codes() -> None:
    assert pages_problem({"pages": {"ready": 3, "other": 0}}) == ""
    assert pages_problem({"pages": {"ready": 198, "other": 2}}) == "2 of 200 pages have no contact code"

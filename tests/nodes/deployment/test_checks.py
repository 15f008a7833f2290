"""What is said of a plan before anything starts; more of it is in `test_plan`, by whole descriptions."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.deployment.checks import check_plan
from nodes.deployment.description import Host
from nodes.deployment.plan import make
from nodes.deployment.process import Process

HOST = Host("", (), "127.0.0.1", "fabric", "/s")
PROXY = Process("p1", "proxy", HOST, ("fabric", "proxy"), "tcp://127.0.0.1:5570")


@pytest.mark.parametrize("kind", ["gateway", "page"])
def test_what_needs_a_frame_node_says_so(kind: str) -> None:
    with pytest.raises(ValueError, match=r"s need a frame node: expected frames \(--frames\) 1 or more"):
        check_plan((PROXY, Process("x", kind, HOST, ("fabric", kind))), {})


@pytest.mark.parametrize(
    ("description", "words"),
    [
        (
            {"gateways": [{"listen": "http://h:1"}, {"listen": "http://h:1"}]},
            "g1 and g2 are both to listen at http://h:1",
        ),
        ({"frames": [{"http": "http://h:1"}, {"http": "http://h:1"}]}, "f1 and f2 are both to listen at http://h:1"),
        (
            {"run": [{"command": "x postgresql://u:sesam@h/d"}]},
            "expected env, whose values are in no list of processes",
        ),
        ({"run": [{"command": "x"}], "proxies": [{"name": "run1"}]}, "2 processes are called run1"),
    ],
)
def test_what_cannot_work(description: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError) as caught:
        make({"frames": 1, **description}, fabric="fabric", state="/s")
    assert words in str(caught.value) and "sesam" not in str(caught.value)

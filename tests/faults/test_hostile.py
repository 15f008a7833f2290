"""What a peer without keys can do at the ports is bounded: each attack by itself, and all at once.

FABRIC_HOSTILE_S: how long all attacks go on together (8; the full figure is 600)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from fabric import Node, Proxy
from fabric.node import contested
from tests.faults.hostile import FORGED, Hostile
from tests.support.processes import free_base
from tests.support.waiting import PATIENCE_S, Box, until

HOSTILE_S = float(os.environ.get("FABRIC_HOSTILE_S", "8"))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(free_base(), settle_s=0.1) as found:
        assert found.wait_ready(PATIENCE_S)
        yield found


def hear(node: Node, topic_filter: str) -> Box:
    box = Box()
    assert node.wait_ack(node.subscribe(topic_filter, box), PATIENCE_S).ok
    return box


def true_ones(box: Box) -> list[int]:
    return [message.number for message in list(box.items) if message.payload != FORGED]


# --- numbers


@pytest.mark.parametrize("number", [2**62, 2**32 + 10])
def test_one_part_with_a_high_number_silences_nobody(proxy: Proxy, number: int) -> None:
    with Node(proxy.endpoints.base) as node, Hostile(proxy.endpoints.base) as hostile:
        box = hear(node, "a")
        node.publish("a", 1)
        (message,) = box.wait(1)
        hostile.publish("a", message.publisher, number)
        until(lambda: node.stats()["refused"] == {"number": 1}, "it is refused")
        for payload in range(2, 100):
            node.publish("a", payload)
        assert [each.payload for each in box.wait(99)] == list(range(1, 100))


@pytest.mark.parametrize("forged", [range(2, 1_002), [2**32]])
def test_after_forged_numbers_the_true_publisher_is_heard_again(
    proxy: Proxy, forged: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand in order, or one jump that might be true: dropped at first, and then no more."""
    monkeypatch.setattr(contested, "TRUE_AFTER_S", 1.0)
    with Node(proxy.endpoints.base) as node, Hostile(proxy.endpoints.base) as hostile:
        box, gaps = hear(node, "a"), Box()
        node.on_gap(gaps)
        node.publish("a", 1)
        (message,) = box.wait(1)
        for number in forged:
            hostile.publish("a", message.publisher, number)
        box.wait(1 + len(forged))
        sent = 1

        def heard_again() -> bool:
            nonlocal sent
            sent += 1
            node.publish("a", sent)
            return len(true_ones(box)) > 1

        until(heard_again, "the true ones are heard")
        first = true_ones(box)[1]
        node.publish("a", "last")
        box.wait_for(lambda items: items[-1].payload == "last", "what follows")
        assert true_ones(box)[1:] == list(range(first, sent + 2)), "all from then on"
        assert gaps.items[-1].last == first - 1 and node.stats()["refused"] == {"number": 1}

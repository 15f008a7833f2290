"""`fabric events` on a real mesh: nodes and proxies that come, go and move, and losses."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fabric import Node
from fabric.services import Server, each
from nodes.cli.exits import Exit
from tests.support.processes import FabricProcess, ProxyProcess
from tests.support.waiting import PATIENCE_S

Fabric = Callable[..., FabricProcess]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def events(proxies: Callable[..., list[ProxyProcess]], fabric: Fabric) -> tuple[list[ProxyProcess], FabricProcess]:
    """Two proxies, and `fabric events --json` at the first: it hears."""
    first, second = proxies(2)
    process = fabric("events", "--json", "--interval", "0.5", "--connect", first.base)
    process.wait_stderr("listening")
    return [first, second], process


def event_of(process: FabricProcess, event: str, **fields: Any) -> dict[str, Any]:
    """Return the first event of this name that has these fields."""

    def fits(line: str) -> bool:
        found = json.loads(line)
        return found["event"] == event and all(found.get(key) == value for key, value in fields.items())

    found: dict[str, Any] = json.loads(process.wait_stdout(fits))
    return found


def test_nodes_join_and_leave_at_the_time_of_the_proxys_clock(
    events: tuple[list[ProxyProcess], FabricProcess],
) -> None:
    (_, second), process = events
    before = time.time()
    with Node(second.base, name="guest-7"):
        joined = event_of(process, "node_joined", node="guest-7", proxy="p2")
    left = event_of(process, "node_left", node="guest-7", proxy="p2")
    times = [datetime.fromisoformat(each["at"]).astimezone(UTC).timestamp() for each in (joined, left)]
    assert before - 0.01 <= times[0] <= times[1] <= time.time() and joined["run"] == left["run"]


def test_a_node_moves_when_its_proxy_drains_and_the_proxy_leaves(
    events: tuple[list[ProxyProcess], FabricProcess],
) -> None:
    (first, second), process = events
    with Node([second.base, first.base], name="mover"):
        event_of(process, "node_joined", node="mover", proxy="p2")
        second.popen.send_signal(signal.SIGTERM)
        event_of(process, "draining", proxy="p2")
        event_of(process, "node_moved", node="mover", proxy="p1", **{"from": "p2"})
        event_of(process, "peer_left", id="p2", proxy="p1")
    event_of(process, "node_left", node="mover", proxy="p1")
    assert not [line for line in process.stdout if '"node_left"' in line and '"mover"' in line and '"p2"' in line]


def test_a_dead_proxy_and_services(events: tuple[list[ProxyProcess], FabricProcess]) -> None:
    (first, second), process = events
    with Node(first.base) as node:
        with Server(node, "clock", each(lambda request: 1)) as server:
            event_of(process, "service_appeared", service="clock", instance=server.instance)
        event_of(process, "service_left", service="clock")
    second.kill()
    event_of(process, "peer_dead", id="p2", proxy="p1")


def test_losses_are_told(events: tuple[list[ProxyProcess], FabricProcess]) -> None:
    (first, _), process = events
    with Node(first.base, name="loser", repair_timeout_s=0) as node, Node(first.base, repair_bytes=0) as other:
        assert node.wait_ack(node.subscribe("a", lambda message: None), PATIENCE_S).ok
        other.publish("a", 1)
        for _ in range(3):
            other._engine.up.numbering.next(other._engine.up.prefix("a"))  # as if three had been lost on their way
        other.publish("a", 1)
        assert event_of(process, "lost", node="loser")["messages"] == 3


def test_it_ends_after_so_many_events_or_so_long(proxies: Callable[..., list[ProxyProcess]], fabric: Fabric) -> None:
    (first,) = proxies(1)
    nothing = fabric("events", "--event", "peer_dead", "--timeout", "0.5", "--connect", first.base)
    assert nothing.wait() == Exit.NOT_REACHED and nothing.stdout == []
    one = fabric("events", "--event", "service_appeared", "--count", "1", "--connect", first.base)
    one.wait_stderr("listening")
    with Node(first.base) as node, Server(node, "clock", each(lambda request: 1)):
        assert one.wait() == Exit.DONE
    (line,) = one.stdout
    assert line[:2] == "20" and "Z  service_appeared  service=clock instance=" in line


def test_sigterm_ends_it_with_0(events: tuple[list[ProxyProcess], FabricProcess]) -> None:
    assert events[1].stop() == Exit.DONE

"""The thread behind a node: commands, ticks for what lives on it, and its own end. Against proxies of their own."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import psutil
import pytest

from fabric import Node, sockets
from fabric.endpoints import Endpoints
from fabric.errors import StateError, TransportError
from fabric.node.contexts import of_this_process
from tests.support.processes import ProxyProcess
from tests.support.waiting import PATIENCE_S, Box, until
from tests.support.waiting import mesh as mesh_of


@pytest.fixture
def node(mesh: list[ProxyProcess]) -> Any:
    with Node(mesh[0].base) as found:
        yield found


def test_commands_of_many_threads_all_run_in_the_order_each_thread_gave_them(node: Node) -> None:
    ran: list[tuple[int, int]] = []

    def give(thread: int) -> None:
        for number in range(200):
            node._engine.commands.put(lambda number=number: ran.append((thread, number)))  # type: ignore[misc]

    threads = [threading.Thread(target=give, args=(thread,)) for thread in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    until(lambda: len(ran) == 1000, "all ran")
    for thread in range(5):
        assert [number for who, number in ran if who == thread] == list(range(200))


def test_the_bell_is_heard_by_a_node_that_sleeps(node: Node) -> None:
    until(lambda: node._engine._quiet, "the node sleeps")
    for _ in range(20):
        heard = threading.Event()
        node._engine.commands.put(heard.set)
        assert heard.wait(5)


def sleeps(node: Node) -> int:
    """How often the I/O thread has gone to sleep."""
    status = Path(f"/proc/self/task/{node._engine.thread.native_id}/status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts what Linux counts")
def test_an_idle_node_wakes_up_for_its_proxys_announcements_only(node: Node) -> None:
    assert node.wait_ack(node.subscribe("idle/#", print), 10).ok
    until(lambda: node._engine._asleep and node.stats()["unconfirmed"] == 0, "the node sleeps")
    received, before = node.stats()["received"], sleeps(node)
    until(lambda: node.stats()["received"] >= received + 4, "four announcements have come")
    assert sleeps(node) - before <= node.stats()["received"] - received + 3


def test_who_publishes_much_is_confirmed_soon_though_the_node_slept(node: Node) -> None:
    node.publish("much", 0)
    until(lambda: node._engine._asleep, "the node sleeps")
    for number in range(1_000):
        node.publish("much", number)
    until(lambda: node.stats()["unconfirmed"] < 300, "the first of them are confirmed")


def connections(base: str) -> int:
    """How many connections this process has to the ingress of the proxy at `base`."""
    port = Endpoints.parse(base).ingress.rpartition(":")[2]
    found = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr[1] == int(port) for each in found)


def test_who_publishes_nothing_has_no_connection_to_the_ingress(mesh: list[ProxyProcess]) -> None:
    """And its first message opens one, also out of a callback, where nothing can wait."""
    echoed = Box()
    with Node(mesh[0].base) as quiet, Node(mesh[1].base) as other:
        assert other.wait_ack(other.subscribe("echo", echoed), PATIENCE_S).ok
        ack = quiet.subscribe("call", lambda message: quiet.publish("echo", message.payload))
        assert quiet.wait_ack(ack, PATIENCE_S).ok
        assert quiet.stats()["state"] == "connected"
        assert connections(mesh[0].base) == 0
        other.publish_many(("call", number) for number in range(100))
        assert [message.payload for message in echoed.wait(100)] == list(range(100))
        assert connections(mesh[0].base) == 1
        assert quiet.stats()["state"] == "connected" and quiet.stats()["resent"] >= 1
        until(lambda: quiet.stats()["unconfirmed"] == 0, "all of it is confirmed")


def test_who_publishes_nothing_notices_a_proxy_that_is_killed_and_comes_back(tmp_path: Path) -> None:
    with mesh_of(tmp_path, 1) as (proxy,), Node(proxy.base) as node, Node(proxy.base) as publisher:
        heard, states = Box(), Box()
        node.on_state(states)
        assert node.wait_ack(node.subscribe("a/#", heard), PATIENCE_S).ok
        proxy.kill()
        assert states.wait(1)[0].state == "connecting" and node.stats()["covered"] == []
        again = proxy.again()
        try:
            assert states.wait(2)[1].state == "connected"
            until(lambda: node.stats()["covered"], "it is covered again")
            publisher.publish("a/b", "again")
            assert heard.wait(1)[0].payload == "again"
        finally:
            again.stop()


def test_a_node_that_cannot_be_made_leaves_nothing_behind(mesh: list[ProxyProcess], monkeypatch: Any) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    with Node(mesh[0].base):
        before, users = descriptors(), list(of_this_process()._users.values())
        for what in ("xsub", "monitor", "doorbell"):
            with monkeypatch.context() as broken:
                broken.setattr(sockets, what, Mock(side_effect=TransportError("too many open files")))
                with pytest.raises(TransportError):
                    Node(mesh[0].base)
        assert list(of_this_process()._users.values()) == users
        until(lambda: descriptors() <= before, "what was opened is closed")


@pytest.mark.parametrize("options", [{"hwm_msgs": -1}, {"max_payload_bytes": "1"}, {"max_entries": True}])
def test_a_count_that_is_none_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"invalid {next(iter(options))} .*: expected a whole number, not below 0"):
        Node("tcp://127.0.0.1:9", **options)


@pytest.mark.parametrize("options", [{"silence_s": None}, {"ack_timeout_s": -1}, {"reorder_window_s": float("nan")}])
def test_a_time_that_is_none_is_an_error(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"invalid {next(iter(options))} .*: expected seconds, not below 0"):
        Node("tcp://127.0.0.1:9", **options)


def test_what_lives_on_a_node_is_ticked_and_closed_before_it_last_one_first(mesh: list[ProxyProcess]) -> None:
    closed: list[str] = []

    class Service:
        def __init__(self, name: str) -> None:
            self.name = name
            self.ticked = threading.Event()

        def tick(self, now: float, idle: bool) -> None:
            self.ticked.set()
            raise ValueError("harms nobody")

        def close(self) -> None:
            assert not holder._closed
            closed.append(self.name)
            holder.detach(self)

    with Node(mesh[0].base) as holder:
        services = [Service("first"), Service("second")]
        for service in services:
            holder.attach(service)
        assert all(service.ticked.wait(5) for service in services)
        until(lambda: holder.stats()["failed_callbacks"] >= 2, "both raised")
    assert closed == ["second", "first"]


def test_an_engine_that_fails_says_so_to_publishers(mesh: list[ProxyProcess]) -> None:
    with Node(mesh[0].base) as node:

        def fail() -> None:
            raise RuntimeError("a defect")

        node._engine.commands.put(fail)
        until(lambda: not node._engine.thread.is_alive(), "the thread ended")
        with pytest.raises(StateError, match="a defect"):
            node.publish("a/b", 1)
        assert node.state.state == "closed"


def test_filters_that_come_and_go_leave_no_prefix(node: Node) -> None:
    until(lambda: node.stats()["proxy"], "it listens to its proxy")
    before = node.stats()["interest"]["wire"]
    for _ in range(3):
        idents = [node.subscribe(f"engine/{number}/+", print) for number in range(50)]
        assert all(node.wait_ack(ident, 10).ok for ident in idents)
        for ident in idents:
            node.unsubscribe(ident)
    until(lambda: node.stats()["interest"]["wire"] == before, "all prefixes are gone")

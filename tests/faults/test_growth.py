"""Who comes and goes leaves nothing behind at a proxy: open files and memory are what they were."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable

import pytest

from fabric import Node
from fabric.errors import NotConnected
from tests.faults.memory import open_files, resident_bytes
from tests.faults.zmtp import PORTS, RawPeer, connect, endpoint
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until

ROUNDS = 20
NODES = 10
MIB = 1024 * 1024
MAX_GROWTH_BYTES = 10 * MIB
"""A proxy that kept 200 connections, with the queues that ZeroMQ makes for each, would keep more than 20 MiB."""

Proxies = Callable[..., list[ProxyProcess]]


def come_and_go(here: ProxyProcess, there: ProxyProcess) -> None:
    """Ten nodes at one proxy subscribe and publish; one at the other hears them all."""
    with contextlib.ExitStack() as stack:
        hears = stack.enter_context(Node(there.base))
        nodes = [stack.enter_context(Node(here.base)) for _ in range(NODES)]
        box = Box()
        assert hears.wait_ack(hears.subscribe("grow/+", box), 10).ok
        for number, node in enumerate(nodes):
            for topic in range(20):
                node.subscribe(f"other/{number}/{topic}", print)
            node.publish(f"grow/{number}", "x" * 1000)
        box.wait(NODES)


def test_nodes_that_come_and_go(proxies: Proxies) -> None:
    here, there = proxies(2)
    files = open_files(here.pid)
    come_and_go(here, there)
    memory = resident_bytes(here.pid)  # what is made once, at first use, is there now
    for _ in range(ROUNDS):
        come_and_go(here, there)
    until(lambda: open_files(here.pid) <= files, f"it has {files} open files again")
    grown = resident_bytes(here.pid) - memory
    print(f"{ROUNDS * NODES} nodes: {grown / MIB:.1f} MiB more, {files} files")
    assert grown < MAX_GROWTH_BYTES


@pytest.mark.plain_sockets
def test_connections_that_say_nothing_and_go(proxies: Proxies) -> None:
    """Also half a handshake that waits, which the proxy ends by itself."""
    (proxy,) = proxies(1)
    files = open_files(proxy.pid)
    with contextlib.ExitStack() as stack:
        for port, kind in PORTS.items():
            for _ in range(20):
                stack.enter_context(RawPeer(endpoint(proxy.base, port), kind))
                stack.enter_context(contextlib.closing(connect(endpoint(proxy.base, port))))
        until(lambda: open_files(proxy.pid) >= files + 100, "they are connected")
        until(lambda: open_files(proxy.pid) <= files + 100, "those without a handshake are dropped")
    until(lambda: open_files(proxy.pid) <= files, f"it has {files} open files again")


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit, which Linux has")
@pytest.mark.plain_sockets
def test_at_the_limit_of_open_files_those_who_are_connected_go_on(proxies: Proxies) -> None:
    (proxy,) = proxies(1)
    with Node(proxy.base, name="early") as node:
        box = Box()
        assert node.wait_ack(node.subscribe("early/+", box), 10).ok
        node.publish("early/bird", -1)
        box.wait(1)
        limit = open_files(proxy.pid) + 20
        resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(contextlib.closing(connect(endpoint(proxy.base, "out"))))
            # Linux sets one aside for the status page's `accept` while that waits, and shows it nowhere.
            until(lambda: open_files(proxy.pid) >= limit - 1, "it has no descriptor left")
            for number in range(100):
                node.publish("early/bird", number)
            box.wait(101)
            with pytest.raises(NotConnected):
                Node(proxy.base, name="late", connect_timeout_s=0.5)
        with Node(proxy.base, name="later") as later:
            assert later.wait_ack(later.subscribe("later", print), 10).ok

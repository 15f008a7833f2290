"""Sockets: the options that were paid for, plain words for ZeroMQ's errors, and stray parts upstream."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from fabric import Node, sockets
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from tests.support.processes import ProxyProcess, free_base
from tests.support.waiting import Box, mesh, until


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    found = sockets.new_context()
    yield found
    found.destroy(linger=0)


@pytest.mark.parametrize(
    ("make", "kind", "sndhwm", "rcvhwm"),
    [
        (lambda c: sockets.xsub(c, recv_hwm=7), zmq.XSUB, 0, 7),
        (sockets.relay_in, zmq.XSUB, 0, 0),
        (lambda c: sockets.xpub(c, send_hwm=7), zmq.XPUB, 7, 0),
        (lambda c: sockets.pull(c, recv_hwm=7), zmq.PULL, 0, 7),
        (lambda c: sockets.push(c, send_hwm=7, timeout_ms=50), zmq.PUSH, 7, 0),
        (sockets.doorbell, zmq.PUB, 0, 0),
        (lambda c: sockets.pair(c, "inproc://a")[0], zmq.PAIR, 0, 0),
        (lambda c: sockets.pair(c, "inproc://b")[1], zmq.PAIR, 0, 0),
    ],
)
def test_no_subscription_can_ever_hit_a_limit(
    context: sockets.Context,
    make: Callable[[sockets.Context], sockets.Socket],
    kind: int,
    sndhwm: int,
    rcvhwm: int,
) -> None:
    """What carries subscriptions is unlimited: XSUB sends them, XPUB receives them."""
    socket = make(context)
    assert (socket.type, socket.sndhwm, socket.rcvhwm, socket.linger) == (kind, sndhwm, rcvhwm, 0)


def test_only_links_have_heartbeats_and_their_receiving_end_no_limit(context: sockets.Context) -> None:
    """A connecting socket with both aborts the process when it stays unread (libzmq issue 3937)."""
    relay = sockets.relay_in(context)
    assert relay.getsockopt(zmq.HEARTBEAT_IVL) == sockets.HEARTBEAT_IVL_MS and relay.rcvhwm == 0
    out = sockets.xpub(context, send_hwm=7)
    base = Endpoints.parse(free_base())
    sockets.bind(out, base.link, max_part_bytes=1_000, send_hwm=9, link=True)
    assert out.getsockopt(zmq.HEARTBEAT_IVL) == sockets.HEARTBEAT_IVL_MS and out.sndhwm == 9
    sockets.bind(out, base.out, max_part_bytes=1_000, send_hwm=7)
    assert out.getsockopt(zmq.HEARTBEAT_IVL) == 0 and out.sndhwm == 7


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("tcp://203.0.113.1:5570", "no such interface|assign requested"),
        ("ipc:///nowhere/at/all", "No such file"),
    ],
)
def test_an_address_that_cannot_be_bound_is_told_in_plain_words(
    context: sockets.Context, endpoint: str, words: str
) -> None:
    with pytest.raises(TransportError, match=f"cannot listen at {endpoint}: .*({words})"):
        sockets.bind(sockets.pull(context, recv_hwm=1), endpoint, max_part_bytes=1)


def test_an_address_in_use_says_what_would_be_right(context: sockets.Context) -> None:
    base, first = free_base(), sockets.pull(context, recv_hwm=1)
    sockets.bind(first, base, max_part_bytes=1)
    with pytest.raises(TransportError, match="the address is in use: choose another one"):
        sockets.bind(sockets.pull(context, recv_hwm=1), base, max_part_bytes=1)


def test_what_cannot_be_connected_is_a_transport_error(context: sockets.Context) -> None:
    with pytest.raises(TransportError, match="cannot connect to nonsense"):
        sockets.connect(sockets.xsub(context, recv_hwm=1), "nonsense")
    sockets.disconnect(sockets.xsub(context, recv_hwm=1), "tcp://127.0.0.1:1")  # never connected: no error


def test_parts_above_the_limit_of_a_bound_socket_are_not_taken(context: sockets.Context) -> None:
    pull, base = sockets.pull(context, recv_hwm=10), free_base()
    sockets.bind(pull, base, max_part_bytes=1_000)
    for size in (1_001, 1_000):
        push = sockets.push(context, send_hwm=10, timeout_ms=1_000)
        sockets.connect(push, base)
        push.send(bytes(size))
    pull.rcvtimeo = 10_000
    assert len(pull.recv()) == 1_000
    assert not pull.poll(50)


def test_a_closed_sockets_monitor_does_not_stand_in_the_way_of_the_next(context: sockets.Context) -> None:
    """The name of a monitor is freed a little after its socket was closed, whose id may come back at once."""
    for _ in range(200):
        socket = sockets.push(context, send_hwm=1, timeout_ms=0)
        monitor = sockets.monitor(context, socket, zmq.EVENT_ALL)
        socket.disable_monitor()
        socket.close(0)
        monitor.close(0)


def test_the_descriptor_limit_is_raised_to_what_is_allowed() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        sockets.raise_descriptor_limit()
        assert sockets.descriptor_limit() == (hard if hard != resource.RLIM_INFINITY else 1_048_576)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- the trap: what is sent upstream and is no subscription


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[ProxyProcess]]:
    with mesh(tmp_path_factory.mktemp("proxies"), 2) as proxies:
        yield proxies


@pytest.mark.parametrize("port", ["out", "link", "guest"])
def test_large_stray_upstream_messages_crash_nothing(
    two: list[ProxyProcess], context: sockets.Context, port: str
) -> None:
    """Between XSUB and XPUB over inproc, more than 33 bytes of them end in a double free: no such way is here."""
    proxy = two[0]
    stray = sockets.xsub(context, recv_hwm=0)
    sockets.connect(stray, getattr(Endpoints.parse(proxy.base), port))
    rounds = 40
    with Node(proxy.base) as here, Node(two[1].base) as there:
        box = Box()
        for at in range(rounds):
            for size in (1, 33, 34, 40, 500, 10_000, 1_000_000):
                stray.send(bytes([2 + at % 250]) * size)
            topic = f"stray/{port}/{at}"
            ack = here.wait_ack(here.subscribe(topic, box), 10)
            assert ack.ok and ack.covered == ("p1", "p2")
            there.publish(topic, at)
            here.publish(topic, at)
        assert sorted(message.payload for message in box.wait(2 * rounds)) == sorted([*range(rounds)] * 2)
    assert all(each.alive for each in two)


def test_large_stray_upstream_messages_before_anyone_subscribed_crash_nothing(tmp_path: Path) -> None:
    """A fresh proxy, before its first answer is ready."""
    with mesh(tmp_path, 1) as (proxy,), zmq.Context() as context:
        endpoints = Endpoints.parse(proxy.base)
        strays = []
        for endpoint in (endpoints.out, endpoints.link, endpoints.guest):
            strays.append(context.socket(zmq.XSUB))
            strays[-1].connect(endpoint)
            for _ in range(200):
                strays[-1].send(b"\x07" * 5_000)
        with Node(proxy.base) as node:
            assert node.wait_ack(node.subscribe("a", print), 10).ok
            counted = Box()
            node.subscribe("$fabric/proxy/p1", lambda message: counted(message.payload["refused"]))
            counted.wait_for(lambda items: items[-1].get("not_control", 0) >= 200, "they are counted")
        for stray in strays:
            stray.close(0)
        assert proxy.alive
    until(lambda: not proxy.alive, "it has ended")
    assert proxy.wait() == 0

"""Downlink: subscriptions, markers and messages, against two XPUB sockets in the place of a proxy's out and relay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.node.downlink import Downlink
from fabric.protocol.markers import decode_marker
from tests.support.processes import free_base
from tests.support.waiting import until

TOKEN = "0123"
PRIVATE = b"\x01$ack/0123"


class Proxy:
    """What a node sees of a proxy: `heard` is what came upstream at each socket, in order."""

    def __init__(self, context: sockets.Context, base: str) -> None:
        endpoints = Endpoints.parse(base)
        self.base = base
        self.sockets = {}
        self.heard: dict[str, list[bytes]] = {"out": [], "relay": []}
        for name, endpoint in (("out", endpoints.out), ("relay", endpoints.relay)):
            self.sockets[name] = sockets.xpub(context, send_hwm=0)
            self.sockets[name].setsockopt(zmq.XPUB_VERBOSER, 1)
            sockets.bind(self.sockets[name], endpoint, max_part_bytes=1_000_000)

    def read(self) -> dict[str, list[bytes]]:
        for name, socket in self.sockets.items():
            while socket.poll(0):
                self.heard[name].append(socket.recv())
        return self.heard

    def close(self) -> None:
        for socket in self.sockets.values():
            socket.close(0)


@pytest.fixture
def context() -> Iterator[sockets.Context]:
    found = sockets.new_context()
    yield found
    found.destroy(linger=0)


@pytest.fixture
def bell(context: sockets.Context) -> Any:
    found = sockets.doorbell(context)
    found.bind("inproc://bell")
    return found


@pytest.fixture
def proxy(context: sockets.Context) -> Proxy:
    return Proxy(context, free_base())


@pytest.fixture
def down(context: sockets.Context, bell: Any) -> Downlink:
    return Downlink(context, TOKEN, 3, "inproc://bell", hwm_msgs=1_000)


def tick(down: Downlink) -> None:
    """Sit in `recv` for a moment, as a node always does: a socket that nobody reads neither reconnects nor lets go."""
    with pytest.raises(zmq.Again):
        down.socket.recv()


def test_what_is_subscribed_before_and_after_goes_to_both_in_order(proxy: Proxy, down: Downlink) -> None:
    down.change([b"a\0", b"b/"], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: all(len(heard) == 3 for heard in proxy.read().values()), "what was held before")
    assert set(proxy.heard["out"]) == {PRIVATE, b"\x01a\0", b"\x01b/"}
    down.change([b"c/"], [b"a\0", b"b/"])
    down.flush()
    down.mark(b"nonce")
    until(lambda: all(len(heard) == 7 for heard in proxy.read().values()), "the change and the marker")
    for heard in proxy.heard.values():
        assert heard[3:6] == [b"\x01c/", b"\x00a\0", b"\x00b/"], "first the new, then the cancels"
        marker = decode_marker(heard[6])
        assert (marker.token, marker.nonce, marker.sender) == (f"{TOKEN}-3", b"nonce", None)


def test_messages_of_both_arrive_and_the_bell_too(proxy: Proxy, down: Downlink, bell: Any) -> None:
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: all(len(heard) == 2 for heard in proxy.read().values()), "both are connected")
    proxy.sockets["out"].send(b"from out")
    proxy.sockets["relay"].send(b"from relay")
    bell.send(b"$ack/0123/b\0")
    down.socket.rcvtimeo = 10_000
    assert {down.socket.recv() for _ in range(3)} == {b"from out", b"from relay", b"$ack/0123/b\0"}


def test_it_knows_whether_something_waits(proxy: Proxy, down: Downlink) -> None:
    assert not down.poll()
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: b"\x01" in proxy.read()["out"], "connected")
    proxy.sockets["out"].send(b"x")
    until(down.poll, "a message")
    assert down.socket.recv() == b"x"


def test_a_proxy_that_comes_back_hears_everything_anew(context: sockets.Context, proxy: Proxy, down: Downlink) -> None:
    down.change([b"a\0"], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: all(len(heard) == 2 for heard in proxy.read().values()), "connected")
    down.change([b"b\0"], [b"a\0"])
    down.flush()
    proxy.close()
    again = until(lambda: rebound(context, proxy.base), "the addresses are free")

    def settled() -> bool:
        tick(down)
        return all(set(heard) == {PRIVATE, b"\x01b\0"} for heard in again.read().values())

    until(settled, "the private prefix and b, and not a")


def rebound(context: sockets.Context, base: str) -> Proxy | None:
    try:
        return Proxy(context, base)
    except TransportError:
        return None


def test_detached_it_hears_and_says_nothing_there(proxy: Proxy, down: Downlink) -> None:
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: all(len(heard) == 2 for heard in proxy.read().values()), "connected")
    down.detach()
    down.detach()
    down.change([b"later"], [])
    down.flush()

    def gone() -> bool:
        tick(down)
        return all(len(heard) == 4 for heard in proxy.read().values())

    until(gone, "its cancels, as the connection ends")
    assert all(set(heard[2:]) == {b"\x00", b"\x00" + PRIVATE[1:]} for heard in proxy.heard.values())
    down.close()

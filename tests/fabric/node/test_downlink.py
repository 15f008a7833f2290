"""Downlink: subscriptions, markers and messages, against an XPUB socket in the place of a proxy's out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from fabric import sockets
from fabric.core.entry import is_control
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.identity.keys import new_pair
from fabric.node.downlink import Downlink
from fabric.protocol.markers import decode_marker, read_rights_wanted
from tests.support.processes import free_base
from tests.support.waiting import until

TOKEN = "0123"
PRIVATE = b"\x01$ack/0123"


class Proxy:
    """What a node sees of a proxy: `heard` is what came upstream, in order."""

    def __init__(self, context: sockets.Context, base: str) -> None:
        self.base = base
        self.heard: list[bytes] = []
        self.out = sockets.xpub(context, send_hwm=0)
        self.out.setsockopt(zmq.XPUB_VERBOSER, 1)
        sockets.bind(self.out, Endpoints.parse(base).out, max_part_bytes=1_000_000)

    def read(self) -> list[bytes]:
        while self.out.poll(0):
            self.heard.append(self.out.recv())
        return self.heard

    def close(self) -> None:
        self.out.close(0)


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


def test_what_is_subscribed_before_and_after_goes_in_order(proxy: Proxy, down: Downlink) -> None:
    down.change([b"a\0", b"b/"], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: len(proxy.read()) == 3, "what was held before")
    assert set(proxy.heard) == {PRIVATE, b"\x01a\0", b"\x01b/"}
    down.change([b"c/"], [b"a\0", b"b/"])
    down.flush()
    down.mark(b"nonce")
    until(lambda: len(proxy.read()) == 7, "the change and the marker")
    assert proxy.heard[3:6] == [b"\x01c/", b"\x00a\0", b"\x00b/"], "first the new, then the cancels"
    marker = decode_marker(proxy.heard[6])
    assert (marker.token, marker.nonce, marker.sender) == (f"{TOKEN}-3", b"nonce", None)


def test_with_keys_control_parts_go_as_subscriptions_that_are_cancelled_at_once(
    context: sockets.Context, bell: Any
) -> None:
    """Any other part would take the turn of somebody's subscription: see `fabric.core.gate`."""
    server, client = new_pair(), new_pair()
    keeper = sockets.answering(context, "inproc://zeromq.zap.01")
    base = free_base()
    out = sockets.guarded(sockets.xpub(context, send_hwm=0), server[1], "out", by_hand=True)
    sockets.bind(out, Endpoints.parse(base).out, max_part_bytes=1_000_000)
    curve = sockets.Curve(server[0], *client)
    down = Downlink(context, TOKEN, 1, "inproc://bell", hwm_msgs=1_000, curve=curve)
    down.attach(base)
    keeper.rcvtimeo = out.rcvtimeo = 20_000
    version, ident, *_ = keeper.recv_multipart()
    keeper.send_multipart([version, ident, b"200", b"", b"user", b""])
    assert out.recv() == PRIVATE
    down.ask_rights()
    down.change([b"a/"], [])
    down.mark(b"nonce", [b"b/"])
    heard = [out.recv() for _ in range(5)]
    assert heard[2] == b"\x01a/"
    assert read_rights_wanted(heard[0][1:]) == TOKEN and heard[0][0] == 1 and heard[1] == b"\0" + heard[0][1:]
    marker = decode_marker(heard[3][1:])
    assert (marker.nonce, marker.claims) == (b"nonce", (b"b/",)) and heard[4] == b"\0" + heard[3][1:]
    assert is_control(heard[0][1:]) and is_control(heard[3][1:])
    down.close()


def test_messages_arrive_and_the_bell_too(proxy: Proxy, down: Downlink, bell: Any) -> None:
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: len(proxy.read()) == 2, "connected")
    proxy.out.send(b"from out")
    bell.send(b"$ack/0123/b\0")
    down.socket.rcvtimeo = 10_000
    assert {down.socket.recv() for _ in range(2)} == {b"from out", b"$ack/0123/b\0"}


def test_it_knows_whether_something_waits(proxy: Proxy, down: Downlink) -> None:
    assert not down.poll()
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: b"\x01" in proxy.read(), "connected")
    proxy.out.send(b"x")
    until(down.poll, "a message")
    assert down.socket.recv() == b"x"


def test_a_proxy_that_comes_back_hears_everything_anew(context: sockets.Context, proxy: Proxy, down: Downlink) -> None:
    down.change([b"a\0"], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: len(proxy.read()) == 2, "connected")
    down.change([b"b\0"], [b"a\0"])
    down.flush()
    proxy.close()
    again = until(lambda: rebound(context, proxy.base), "the address is free")

    def settled() -> bool:
        tick(down)
        return set(again.read()) == {PRIVATE, b"\x01b\0"}

    until(settled, "the private prefix and b, and not a")


def test_it_tells_once_that_its_connection_broke_and_not_of_the_one_before(
    context: sockets.Context, proxy: Proxy, down: Downlink
) -> None:
    down.attach(proxy.base)
    until(lambda: len(proxy.read()) == 1, "connected")
    assert not down.ended()
    proxy.close()

    def broke() -> bool:
        tick(down)
        return down.ended() is not None

    until(broke, "the break")
    assert not down.ended()
    second = Proxy(context, free_base())
    down.detach()
    down.attach(second.base)
    until(lambda: len(second.read()) == 1, "connected")
    second.close()
    until(lambda: down.monitor.poll(0), "the second break")
    down.detach()
    down.attach(free_base())
    assert not down.ended(), "of the proxy before"


def rebound(context: sockets.Context, base: str) -> Proxy | None:
    try:
        return Proxy(context, base)
    except TransportError:
        return None


def test_detached_it_hears_and_says_nothing_there(proxy: Proxy, down: Downlink) -> None:
    down.change([b""], [])
    down.flush()
    down.attach(proxy.base)
    until(lambda: len(proxy.read()) == 2, "connected")
    down.detach()
    down.detach()
    down.change([b"later"], [])
    down.flush()

    def gone() -> bool:
        tick(down)
        return len(proxy.read()) == 4

    until(gone, "its cancels, as the connection ends")
    assert set(proxy.heard[2:]) == {b"\x00", b"\x00" + PRIVATE[1:]}
    down.close()

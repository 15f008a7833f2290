"""With keys on, every attack that worked without them fails, and is counted: of strangers, and of an insider.

The insider has a key and the role `node`, which is for programs that use the fabric: all topics of applications, and
nothing of pages, proxies or other nodes. The attacks are those of `test_hostile.py`, and others of their kinds.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import zmq

from fabric import Node, Proxy, sockets
from fabric.errors import NotConnected
from fabric.protocol.markers import answer_payload, encode_marker
from fabric.protocol.views import Record, View
from fabric.wire import encode
from tests.faults.hostile import FORGED, Hostile, phantoms
from tests.faults.zmtp import PORTS, endpoint
from tests.support.keys import KeyFolder, stranger
from tests.support.waiting import PATIENCE_S, Box, until

WHO = {
    "p1": "proxy",
    "p2": "proxy",
    "op": "operator",
    "frame": "frame",
    "desk": "node",
    "insider": "node",
    "rogue": "node",
}


class World(NamedTuple):
    folder: KeyFolder
    one: Proxy
    two: Proxy
    node: Node
    """An honest one, an operator."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = KeyFolder(tmp_path_factory.mktemp("keys"), WHO)
    with folder.proxy("p1") as one:
        assert one.wait_ready(PATIENCE_S)
        with folder.proxy("p2", join=[one.endpoints.base]) as two:
            assert two.wait_ready(PATIENCE_S)
            with folder.node(two, "op") as node:
                node.publish("works/0", "so that it has a connection to publish by")
                until(lambda: not node.stats()["unconfirmed"], "it has")
                yield World(folder, one, two, node)


class Insider:
    """Plain sockets with one key at a proxy's doors; `send` and `heard` for each."""

    def __init__(self, folder: KeyFolder, proxy: Proxy, curve: sockets.Curve | None = None) -> None:
        self.tag = folder.tag("insider")
        self._context = sockets.new_context()
        self._sockets: dict[str, sockets.Socket] = {}
        for door in ("in", "out", "guest", "link"):
            socket: sockets.Socket = self._context.socket(zmq.PUSH if door == "in" else zmq.XSUB)
            sockets.with_keys(socket, curve or folder.curve("insider"))
            socket.connect(endpoint(proxy.endpoints.base, door))
            self._sockets[door] = socket

    def __enter__(self) -> Insider:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    def send(self, door: str, *parts: bytes) -> None:
        for part in parts:
            with contextlib.suppress(zmq.Again):
                self._sockets[door].send(part, 0 if door == "in" else zmq.NOBLOCK)

    def publish(self, topic: str, publisher: int | None = None, number: int = 1, payload: Any = FORGED) -> None:
        own = int(self.tag + "00000001", 16)
        body = encode("x", own if publisher is None else publisher, number, time.time_ns(), payload).partition(b"\0")[2]
        self.send("in", topic.encode() + b"\0" + body)

    def heard(self, door: str, timeout_ms: int = 0) -> list[bytes]:
        found = []
        while self._sockets[door].poll(timeout_ms):
            found.append(self._sockets[door].recv())
        return found


@pytest.fixture
def insider(world: World) -> Iterator[Insider]:
    with Insider(world.folder, world.one) as found:
        yield found


def refused(proxy: Proxy) -> dict[str, int]:
    return {**proxy._plumbing.counts().refused, **proxy.refused}


@contextlib.contextmanager
def counted(proxy: Proxy, kind: str, times: int = 1) -> Iterator[None]:
    before = refused(proxy).get(kind, 0)
    yield
    until(lambda: refused(proxy).get(kind, 0) >= before + times, f"{kind} is counted")


def works(world: World) -> None:
    """Who has the right goes on: across the link, acked by both."""
    box = Box()
    with world.folder.node(world.one, "desk") as desk:
        ack = world.node.wait_ack(world.node.subscribe("works/#", box), PATIENCE_S)
        assert ack.ok and set(ack.covered) == {"p1", "p2"}, ack
        for number in range(20):
            desk.publish("works/1", number)
        assert [message.payload for message in box.wait(20)] == list(range(20))
        assert world.node.stats()["gaps"] == 0 and world.node.stats()["duplicates"] == 0


# ── strangers: no key, a key that nobody has, or what is no CURVE at all ─────────────────────────────────────────────


def by_hand(world: World) -> None:
    """Everything that `test_hostile.py` does, without keys."""
    record = Record("p2", secrets.token_hex(16), world.two.endpoints.base)
    with Hostile(world.one.endpoints.base) as hostile:
        for port in PORTS:
            hostile.mark(port, record, *phantoms(20))
            hostile.send(port, b"\x01", b"\x01$inbox/", b"\x00works/", os.urandom(2_000))
        for topic in ("works/1", "$fabric/proxy/p2", "$ack/0/m", "~pagesession/h/s/frame/state"):
            hostile.publish(topic, 1, 2**40)


def with_a_key_of_nobody(world: World) -> None:
    with Insider(world.folder, world.one, stranger(world.folder)) as peer:
        for door in ("out", "guest", "link"):
            peer.send(door, b"\x01", b"\x01$inbox/", encode_marker("a", b"n", phantoms(1)[0]))
        until(lambda: refused(world.one).get("handshake", 0) > 0, "they are turned away")
        world.node.publish("works/1", "secret")
        assert not any(peer.heard(door, 100) for door in ("out", "guest", "link"))


@pytest.mark.parametrize("attack", [by_hand, with_a_key_of_nobody])
def test_strangers_reach_nothing_and_are_counted(world: World, attack: Callable[[World], None]) -> None:
    peers = set(world.one._membership.peers)
    before = dict(world.one._plumbing.counts().parts)
    with counted(world.one, "handshake"):
        attack(world)
    assert set(world.one._membership.peers) == peers
    assert world.one._plumbing.counts().parts["in"] - before["in"] <= 50, "what honest nodes said meanwhile"
    assert world.one._plumbing.counts().prefixes["guest"] == 0
    works(world)


def test_crowds_of_strangers_leave_nothing_behind(world: World) -> None:
    """Descriptors: each that does not show a key is gone within seconds, however many there were."""
    before = world.one.stats()["descriptors"]["used"]
    plain = [Hostile(world.one.endpoints.base) for _ in range(40)]
    for hostile in plain:
        for port in PORTS:
            hostile.send(port, b"\x01")
    with Insider(world.folder, world.one, stranger(world.folder)):
        works(world)
    until(lambda: world.one.stats()["descriptors"]["used"] <= before + 10, "they are gone")
    for hostile in plain:
        hostile.__exit__()


def test_a_node_without_a_key_is_told_why(world: World) -> None:
    with pytest.raises(NotConnected, match="it may want keys"):
        Node(world.one.endpoints.base, connect_timeout_s=2)
    with pytest.raises(NotConnected, match="does not admit the key of 'p2'"):
        world.folder.node(world.one, "p2", connect_timeout_s=2)


# ── an insider ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_visitor_cannot_be_taken_over(world: World, insider: Insider) -> None:
    """It neither hears the replies that hold sessions and codes, nor speaks as the frame of a page."""
    with world.folder.node(world.one, "frame") as frame:
        page = f"~pagesession/{world.folder.tag('op')}01/s"
        box = Box()
        assert frame.wait_ack(frame.subscribe(f"{page}/#", box), PATIENCE_S).ok
        with counted(world.one, "not_allowed", 6):
            for door in ("out", "guest"):
                insider.send(door, b"\x01$inbox/", b"\x01~pagesession/")
            insider.publish(f"{page}/frame/state", payload={"cobrowse": "joined", "version": 2**60})
            insider.publish(f"{page}/form")
        insider.send("out", b"\x01$fabric/who\0")
        frame.publish(f"{page}/form", "iban")
        box.wait()
        assert box.payloads() == ["iban"]
        frame.publish_system("$fabric/who", None)
        heard = until(lambda: insider.heard("out"), "what all may hear")
        assert all(part.startswith(b"$fabric/who\0") for part in heard)
    works(world)


@pytest.mark.parametrize("numbers", [range(2, 1_002), [2**32], [2**62]])
def test_nobodys_numbers_are_forged(world: World, insider: Insider, numbers: Any) -> None:
    """Their publisher is heard on, without a gap."""
    with world.folder.node(world.one, "desk") as desk:
        box = Box()
        assert world.node.wait_ack(world.node.subscribe("numbers/#", box), PATIENCE_S).ok
        desk.publish("numbers/1", "true 1")
        publisher = box.wait()[0].publisher
        with counted(world.one, "forged", len(numbers)):
            for number in numbers:
                insider.publish("numbers/1", publisher, number)
        for number in range(2, 50):
            desk.publish("numbers/1", f"true {number}")
        assert [message.payload for message in box.wait(49)] == [f"true {number}" for number in range(1, 50)]


def test_no_ack_is_answered_for_a_proxy_that_stands_still(world: World, insider: Insider) -> None:
    """Neither is the nonce read, nor an answer let in."""
    token = world.node.stats()["name"]  # any
    view = View(Record("p2", "0" * 32, world.two.endpoints.base), "member", ())
    with counted(world.one, "system"):
        insider.publish(f"$ack/{token}/m", payload=answer_payload(b"n" * 8, "link", view))
    with counted(world.one, "not_allowed", 2):
        for door in ("out", "guest"):
            insider.send(door, b"\x01$ack/")
    works(world)


def test_a_proxy_is_not_spoken_for(world: World, insider: Insider) -> None:
    """Neither its end, nor a new run, nor proxies that do not exist, at whichever door."""
    peers = {name: peer.record for name, peer in world.one._membership.peers.items()}
    gone = View(Record("p2", peers["p2"].incarnation, world.two.endpoints.base), "gone", ())
    with counted(world.one, "system", 50):
        for _ in range(50):
            insider.publish("$fabric/proxy/p2", payload={**gone.to_map(), "state": "gone"})
    records = [Record("p2", secrets.token_hex(16), world.two.endpoints.base), *phantoms(30)]
    markers = [encode_marker("a", secrets.token_bytes(8), record) for record in records]
    with counted(world.one, "sender", len(markers)):
        for marker in markers:
            insider.send("out", b"\x01" + marker, b"\x00" + marker)
    with counted(world.one, "guest", len(markers)):
        for marker in markers:
            insider.send("guest", b"\x01" + marker, b"\x00" + marker)
    insider.send("link", *markers)
    assert {name: peer.record for name, peer in world.one._membership.peers.items()} == peers
    works(world)


def test_a_starting_proxy_is_not_ended_by_a_word(tmp_path: Path) -> None:
    folder = KeyFolder(tmp_path / "keys", {**WHO, "p3": "proxy"})
    marker = encode_marker("a", b"n", Record("p3", secrets.token_hex(16), "tcp://127.0.0.1:9"))
    with folder.proxy("p1") as one:
        assert one.wait_ready(PATIENCE_S)
        with Insider(folder, one) as insider, counted(one, "sender"):
            insider.send("out", b"\x01" + marker, b"\x00" + marker)
        with folder.proxy("p3", join=[one.endpoints.base]) as third:
            assert third.wait_ready(PATIENCE_S)


def test_the_frame_nodes_service_is_closed_to_it(world: World, insider: Insider) -> None:
    """It is none, cannot say that the true one has gone, nor that what it was sent has arrived."""
    with counted(world.one, "not_allowed", 3):
        insider.publish(f"$fabric/service/frame/{insider.tag}00")
        insider.publish(f"$fabric/service/frame/{world.folder.tag('frame')}00")
        insider.publish(f"$ack/{world.folder.tag('frame')}00/w")


def test_consoles_are_not_closed_by_it(world: World, insider: Insider) -> None:
    with counted(world.one, "not_allowed", 2):
        insider.publish("$site_connect/gateways", payload={"signed_out": "ada"})
        insider.publish("$site_connect/agent/ada/chat")


def test_what_one_cancels_another_keeps(world: World, insider: Insider) -> None:
    with world.folder.node(world.one, "desk") as desk:
        box = Box()
        assert desk.wait_ack(desk.subscribe("kept/#", box), PATIENCE_S).ok
        for door in ("out", "guest"):
            insider.send(door, *[b"\x00kept/", b"\x00kept\0", b"\x00"] * 50)
        insider.send("out", b"\x01$fabric/who\0")
        world.node.publish("kept/1", 1)
        assert box.wait()[0].payload == 1
        assert world.one._plumbing.counts().refused.get("not_control", 0) == 0


def test_who_sends_what_is_no_subscription_is_cut_and_turned_away_and_others_lose_nothing(world: World) -> None:
    """It could have had another one hold what was granted to a third. Each connection that it has may do so once."""
    box, rogue = Box(), world.folder.curve("rogue")
    assert world.node.wait_ack(world.node.subscribe("cut/#", box), PATIENCE_S).ok
    with contextlib.ExitStack() as stack:
        ready = [stack.enter_context(Insider(world.folder, world.one, rogue)) for _ in range(20)]
        for number, each in enumerate(ready):
            topic = f"$ack/{world.folder.tag('rogue')}{number}".encode()
            before = world.one._plumbing.counts().prefixes["out"]
            each.send("out", b"\x01" + topic)
            until(lambda before=before: world.one._plumbing.counts().prefixes["out"] > before, "it is there")  # type: ignore[misc]
        desk = stack.enter_context(world.folder.node(world.one, "desk"))
        for number, each in enumerate(ready):
            with counted(world.one, "not_control"):
                each.send("out", b"no subscription")
            assert desk.wait_ack(desk.subscribe(f"mine/{number}/#", lambda message: None), PATIENCE_S).ok
            desk.publish("cut/1", number)
        assert [message.payload for message in box.wait(20)] == list(range(20))
        with pytest.raises(NotConnected, match="does not admit the key of 'rogue'"):
            world.folder.node(world.one, "rogue", connect_timeout_s=2)
    figures = until(lambda: world.one.stats()["identity"].get("denied_control", 0) >= 20 and world.one.stats(), "told")
    assert figures["identity"]["denied_control"] == 20

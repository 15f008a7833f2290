"""Garbage at every port of a proxy: it costs its sender a message or a connection, and nobody else anything.

While one thread sends garbage, bystanders go on: a steady stream that passes both proxies, and subscriptions that want
their acks. Afterwards all books must balance, without a loss, and memory must be what it was.

FABRIC_GARBAGE_S: how long the long test sends everything at every port (6; the full figure is 30)
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest

from fabric import Node
from fabric.protocol.markers import encode_marker
from fabric.protocol.views import Record
from fabric.wire import encode, encode_control
from tests.faults.bystanders import Bystanders
from tests.faults.memory import resident_bytes
from tests.faults.zmtp import COMMAND, GREETING, LONG, MORE, PORTS, RawPeer, connect, endpoint, frame, ready
from tests.support.processes import ProxyProcess
from tests.support.waiting import Box, until
from tests.support.waiting import mesh as mesh_of

pytestmark = pytest.mark.plain_sockets

GARBAGE_S = float(os.environ.get("FABRIC_GARBAGE_S", "6"))
MIB = 1024 * 1024
MAX_GROWTH_BYTES = 50 * MIB

Proxies = list[ProxyProcess]
Chance = random.Random


# --- garbage: what is sent after a good handshake, and what is sent instead of one


def single_bytes(chance: Chance) -> Iterator[bytes]:
    yield b"".join(frame(bytes([value])) for value in range(256)) + frame(b"")


def noise_parts(chance: Chance) -> Iterator[bytes]:
    yield b"".join(frame(chance.randbytes(chance.randrange(2000))) for _ in range(100))


def noise_frames(chance: Chance) -> Iterator[bytes]:
    yield chance.randbytes(20_000)


def huge_lengths(chance: Chance) -> Iterator[bytes]:
    size = chance.choice([2**63, 2**64 - 1, 2**31, 2**40, 65 * MIB])
    yield struct.pack(">BQ", LONG, size) + b"x" * 1000


def cut_short(chance: Chance) -> Iterator[bytes]:
    yield frame(encode("g/cut", 1, 1, 1, "x" * 1000))[: chance.randrange(3, 1000)]


def several_parts(chance: Chance) -> Iterator[bytes]:
    part = encode("g/parts", 1, 1, 1, None)
    yield frame(part, MORE) + frame(b"junk", MORE) + frame(part)
    yield b"".join(frame(chance.randbytes(50), MORE) for _ in range(1000)) + frame(b"end")


def parts_without_end(chance: Chance) -> Iterator[bytes]:
    yield b"".join(frame(chance.randbytes(100), MORE) for _ in range(1000))


def much_too_large(chance: Chance) -> Iterator[bytes]:
    yield struct.pack(">BQ", LONG, 64 * MIB)
    block = b"\0" * MIB
    yield from itertools.repeat(block, 64)


def rather_large(chance: Chance) -> Iterator[bytes]:
    yield frame(b"g/large\0" + chance.randbytes(7 * MIB))


def odd_topics(chance: Chance) -> Iterator[bytes]:
    body = encode("x", 7, 1, 1, 1).partition(b"\0")[2]
    topics = [
        b"",
        b"\xff\xfe",
        b"~/secret",
        b"~foo/x",
        b"~pagesession/h/s/x",
        b"$fabric/x",
        b"a/#",
        b"#",
        b"$unknown/x",
        b"+",
        b"/",
        b"//",
    ]
    topics += [b"$fabric/proxy/#", b"$ack/#", b"k/#", b"x" * 65_536, b"/".join([b"l"] * 300)]
    yield b"".join(frame(topic + b"\0" + body) for topic in topics) + frame(b"no nul at all")


def odd_bodies(chance: Chance) -> Iterator[bytes]:
    bodies = [
        b"",
        b"\x91" * 10_000,  # arrays in arrays
        b"\x81\xa0" * 10_000,  # maps in maps
        b"\xdd\xff\xff\xff\xff",  # an array of 4 G elements
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xdd\x00\x01\x00\x00" * 1000,
        msgpack.packb([1, 2, 3]),
        msgpack.packb([1, -1, 1, 1, None]),
        msgpack.packb([1, 1, 0, 1, None]),
        msgpack.packb([2, 1, 1, 1, None]),
        msgpack.packb([1, 1, 1, 1, msgpack.ExtType(4, b"x")]),
        msgpack.packb([1, 1, 1, 1, {1: 2}]),
        msgpack.packb([1, "publisher", 1, 1, None]),
        msgpack.packb([1, 1, 1, 1, None, {"tail": True, "moved": "?", "cancelled": 3}]),
        msgpack.packb([1, 1, 1, 1, None, "no map"]),
        msgpack.packb({"a": 1}),
        msgpack.packb(None),
        b"\xc1",
    ]
    yield b"".join(frame(topic + body) for topic in (b"g/body\0", b"k/0\0") for body in bodies)
    yield frame(b"g/body\0" + msgpack.packb([1, 2**64 - 1, 2**64 - 1, 1, None]))


def forged(chance: Chance) -> Iterator[bytes]:
    """Well-formed, and a lie: announcements, answers and notices of proxies that are none."""
    record = {"id": "ghost", "incarnation": "00", "base": "tcp://127.0.0.1:9"}
    peers = [{**record, "id": f"ghost-{number}", "linked": True} for number in range(20)]
    view = {**record, "state": "member", "peers": peers}
    views = [
        view,
        {**view, "state": "gone"},
        {**view, "peers": [None]},
        {**view, "base": 7},
        {**view, "id": "a/b"},
        [],
        None,
    ]
    token = "0123456789abcdef" * 2
    parts = [encode_system("$fabric/proxy/ghost", value) for value in views]
    parts += [encode_system("$fabric/proxy/p1", value) for value in (None, [1], {"state": "gone"})]
    packed = [*(encode_control("view", value) for value in views), b"", b"\x02", encode_control("view"), views[0]]
    parts += [encode_system(f"$ack/{token}/m", {"nonce": b"x", "leg": "relay", "view": value}) for value in packed]
    parts += [encode_system(f"$ack/{token}/w", value) for value in ([1, 2**64 - 1], [-1, -1], "?")]
    parts += [encode_system("$fabric/cancelled/p1", [b"k/"])]
    yield b"".join(frame(part) for part in parts)


def questions(chance: Chance) -> Iterator[bytes]:
    """Right ones to inboxes of nobody, more than anybody answers; and wrong ones."""
    good = {"ask": "why", "id": b"1", "reply_to": "$inbox/nobody/a", "topic": "k/1"}
    wrong = [{"ask": "why"}, {"ask": b""}, *({**good, field: chance.randbytes(3)} for field in good)]
    asked = [*({**good, "ask": ask} for ask in ("why", "stats", "ping", "trace") for _ in range(50)), *wrong]
    parts = [encode_system(topic, each) for topic in ("$fabric/proxy/p1", "$ack/0/q") for each in asked]
    parts += [encode("k/1", 1, 1, 1, None, {"tail": True, "trace": each}) for each in asked]
    yield b"".join(frame(part) for part in parts)


def markers(chance: Chance) -> Iterator[bytes]:
    ghost = Record("ghost", "00", "tcp://127.0.0.1:9")
    parts = [
        b"\x02",
        b"\x02\xc1",
        b"\x02" + chance.randbytes(100),
        b"\x02" + b"\x91" * 5000,
        b"\x02" + b"\xdd\xff\xff\xff\xff",
        encode_control("marker"),
        encode_control("marker", "a/b", b"", None),
        encode_control("marker", "token", b"x" * 65, None),
        encode_control("marker", "token", b"x", {"id": 1}),
        encode_control("marker", "token", b"x", None, [1, 2]),
        encode_control("marker", "token", b"x", None, [b"k/", b"never/"]),
        encode_control("what", "token"),
        encode_marker("token", b"nonce", None),
        encode_marker("token", b"nonce", ghost),
        b"\x02" + chance.randbytes(MIB),
        b"user message, no marker" * 100,
    ]
    yield b"".join(frame(part) for part in parts)


def subscriptions(chance: Chance) -> Iterator[bytes]:
    """Many that no node would make, and their cancels, and cancels twice; none is the bystanders'."""
    names = [b"s/" + chance.randbytes(chance.randrange(20)) for _ in range(1000)]
    names += [b"\0\0\0", b"\x01", b"x" * 20_000]
    yield b"".join(frame(b"\x01" + name) for name in names)
    yield b"".join(frame(b"\0" + name) for name in names + names)


def commands(chance: Chance) -> Iterator[bytes]:
    bodies = [
        b"\x09SUBSCRIBEk/",
        b"\x06CANCELk/never",
        b"\x04PING\xff\xff" + b"x" * 300,
        b"\x04PONG",
        b"\x05ERROR\x03bad",
    ]
    bodies += [b"\x05READY", b"\xffjunk", b""]
    for body in bodies:
        yield frame(body, COMMAND)


AFTER_HANDSHAKE: list[Callable[[Chance], Iterator[bytes]]] = [
    single_bytes,
    noise_parts,
    noise_frames,
    huge_lengths,
    cut_short,
    several_parts,
    parts_without_end,
    much_too_large,
    rather_large,
    odd_topics,
    odd_bodies,
    forged,
    questions,
    markers,
    subscriptions,
    commands,
]


def no_greeting(chance: Chance) -> bytes:
    return chance.randbytes(5000)


def half_a_greeting(chance: Chance) -> bytes:
    return GREETING[: chance.randrange(1, 64)]


def noise_for_ready(chance: Chance) -> bytes:
    return GREETING + chance.randbytes(500)


def another_mechanism(chance: Chance) -> bytes:
    return GREETING[:12] + b"CURVE".ljust(20, b"\0") + GREETING[32:] + ready("PUSH")


def another_socket_type(chance: Chance) -> bytes:
    return GREETING + ready("DEALER") + frame(b"hello")


def another_protocol(chance: Chance) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


INSTEAD_OF_ONE = [
    no_greeting,
    half_a_greeting,
    noise_for_ready,
    another_mechanism,
    another_socket_type,
    another_protocol,
]


def encode_system(topic: str, payload: Any) -> bytes:
    return topic.encode() + b"\0" + encode("x", 1, 1, 1, payload).partition(b"\0")[2]


def send_after_handshake(base: str, port: str, garbage: Callable[[Chance], Iterator[bytes]], chance: Chance) -> None:
    """Send it; the other end may close at any moment."""
    with RawPeer(endpoint(base, port), PORTS[port]) as peer, contextlib.suppress(ConnectionError):
        for block in garbage(chance):
            peer.send_bytes(block)


def send_instead_of_one(base: str, port: str, garbage: Callable[[Chance], bytes], chance: Chance) -> None:
    with contextlib.closing(connect(endpoint(base, port))) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(garbage(chance))


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxies]:
    """Two that nobody else uses: they hear of proxies that do not exist, and remember them for a minute."""
    with mesh_of(tmp_path_factory.mktemp("garbage"), 2) as found:
        yield found


@pytest.fixture
def bystanders(mesh: Proxies) -> Iterator[Bystanders]:
    with contextlib.ExitStack() as stack:
        yield Bystanders(stack, mesh)


@pytest.mark.parametrize("port", PORTS)
def test_no_garbage_after_a_handshake_harms_anybody(port: str, mesh: Proxies, bystanders: Bystanders) -> None:
    chance = Chance(port)
    for garbage in AFTER_HANDSHAKE:
        send_after_handshake(mesh[0].base, port, garbage, chance)
    bystanders.check_acks()
    bystanders.settle()
    assert all(proxy.alive for proxy in mesh)


@pytest.mark.parametrize("port", [*PORTS, "http"])
def test_no_garbage_instead_of_a_handshake_harms_anybody(port: str, mesh: Proxies, bystanders: Bystanders) -> None:
    chance = Chance(port)
    for garbage in INSTEAD_OF_ONE:
        send_instead_of_one(mesh[0].base, port, garbage, chance)
    bystanders.check_acks()
    bystanders.settle()
    assert all(proxy.alive for proxy in mesh)


def test_what_is_refused_is_counted_where_it_is_refused(mesh: Proxies) -> None:
    chance = Chance("counted")
    base = mesh[0].base
    announced = Box()
    with Node(base, name="counter") as node:
        for topic_filter, fun in (("g/#", print), ("k/#", print), ("$fabric/proxy/p1", announced)):
            assert node.wait_ack(node.subscribe(topic_filter, fun), 10).ok
        before = announced.wait(1)[-1].payload["refused"]
        for garbage in (odd_bodies, odd_topics):
            send_after_handshake(base, "in", garbage, chance)
        send_after_handshake(base, "out", markers, chance)
        for instead in INSTEAD_OF_ONE:
            send_instead_of_one(base, "out", instead, chance)

        def refused_at_the_node() -> bool:
            refused = node.stats()["refused"]
            return bool({"bad_body", "version", "bad_payload"} <= refused.keys())

        until(refused_at_the_node, "the node has counted each kind of bad part")
        assert node.stats()["refused"]["version"] == 2, "one on each of two topics"

        def refused_at_the_proxy(messages: list[Any]) -> bool:
            now = messages[-1].payload["refused"]
            more = {kind for kind, count in now.items() if count > before.get(kind, 0)}
            return {"handshake", "control", "not_control", "bad_body", "bad_topic", "local_scope", "system"} <= more

        announced.wait_for(refused_at_the_proxy, "the proxy has counted bad handshakes, and each bad marker and topic")
        assert "bad_topic" not in node.stats()["refused"], "bad topics come no further than the proxy"


@pytest.mark.parametrize("port", ["out", "link", "guest"])
def test_stray_cancels_silence_nobody_for_long(port: str, mesh: Proxies, bystanders: Bystanders) -> None:
    """Cancels of what others hold: their topics, everything, their acks and the proxy's own."""
    there = bystanders.nodes[1]
    announced = Box()
    assert there.wait_ack(there.subscribe("$fabric/proxy/+", announced), 10).ok
    incarnations = {message.payload["incarnation"] for message in announced.wait_for(both_announced, "both proxies")}
    held = [b"k/", b"k\0", b"l/", b"l\0", b"", b"$fabric/proxy/"]
    held += [f"$ack/{incarnation}/".encode() for incarnation in incarnations]
    held += [f"$ack/{node.home}".encode() for node in bystanders.nodes]
    for proxy in mesh:
        with RawPeer(endpoint(proxy.base, port), "XSUB") as peer:
            for _ in range(20):
                peer.send_bytes(b"".join(frame(b"\0" + prefix) for prefix in held))
                bystanders.check_acks(1)
    counts = [books.total_delivered for books in bystanders.books]
    for books, count in zip(bystanders.books, counts, strict=True):
        until(lambda books=books, count=count: books.total_delivered > count + 20, "messages arrive")  # type: ignore[misc]
    bystanders.check_acks()
    bystanders.settle(may_lose=port == "out")
    if port != "out":
        return
    seen = len(announced)
    announced.wait_for(lambda items: any(item.payload["mended"] for item in items[seen:]), "a proxy tells of mending")


def both_announced(messages: list[Any]) -> bool:
    return len({message.payload["id"] for message in messages}) == 2


def test_many_cancels_of_everything_silence_nobody_for_long(mesh: Proxies, bystanders: Bystanders) -> None:
    """110,000 of them, and of what the others hold, by a peer that holds nothing."""
    with RawPeer(endpoint(mesh[0].base, "out"), "XSUB") as peer:
        for _ in range(11):
            peer.send_bytes(frame(b"\0") * 10_000)
        peer.send_bytes(b"".join(frame(b"\0" + prefix) for prefix in (b"k/", b"k\0", b"l/", b"l\0")))
    bystanders.check_acks()
    counts = [books.total_delivered for books in bystanders.books]
    for books, count in zip(bystanders.books, counts, strict=True):
        until(lambda books=books, count=count: books.total_delivered > count + 20, "messages arrive")  # type: ignore[misc]
    bystanders.settle(may_lose=True)


def test_garbage_at_every_port_costs_no_memory(
    proxies: Callable[..., Proxies], fabric: Callable[..., Any], tmp_path: Any
) -> None:
    """All of it, again and again, for GARBAGE_S; memory of the proxies, and of a subscriber to everything."""
    chance = Chance(0)
    pair = proxies(2)
    everything = fabric("sub", "#", "--connect", pair[1].base)
    everything.wait_stderr("p2")
    watched = {process.name: process for process in (*pair, everything)}
    with contextlib.ExitStack() as stack:
        bystanders = Bystanders(stack, pair)
        bystanders.check_acks()
        before = {name: resident_bytes(process.pid) for name, process in watched.items()}
        end = time.monotonic() + GARBAGE_S
        sent = 0
        while time.monotonic() < end:
            port, base = chance.choice([*PORTS, "http"]), chance.choice(pair).base
            if port != "http" and chance.random() < 0.7:
                send_after_handshake(base, port, chance.choice(AFTER_HANDSHAKE), chance)
            else:
                send_instead_of_one(base, port, chance.choice(INSTEAD_OF_ONE), chance)
            sent += 1
        bystanders.check_acks()
        bystanders.settle()

    def grown() -> dict[str, int]:
        now = {name: resident_bytes(process.pid) - before[name] for name, process in watched.items()}
        return {name: growth for name, growth in now.items() if growth > MAX_GROWTH_BYTES}

    print(
        f"{sent} times garbage;",
        {name: resident_bytes(process.pid) // MIB for name, process in watched.items()},
        before,
    )
    until(lambda: not grown(), "memory is what it was, but for 50 MiB")
    assert all(process.alive for process in watched.values())

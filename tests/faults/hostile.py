"""Attacks of a peer that reaches a proxy's ports, with sockets by hand and without keys.

Each sends well-formed parts that are lies: numbers, records of proxies, watermarks, prefixes. `Hostile` has one
connection to each port, and makes a new one when the proxy closes it.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fabric.protocol.markers import encode_marker
from fabric.protocol.views import Record
from fabric.wire import encode
from tests.faults.zmtp import PORTS, RawPeer, endpoint

FORGED = "forged"
"""Payload of what is published in another's name."""


class Hostile:
    """One peer of the proxy at `base`. A context manager."""

    def __init__(self, base: str) -> None:
        self.base = base
        self._peers: dict[str, RawPeer] = {}
        """By port; those whose connection the proxy has closed are made again."""

    def __enter__(self) -> Hostile:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self._peers.values():
            peer.socket.close()

    def send(self, port: str, *parts: bytes) -> None:
        """Send these, each a message; the proxy may close the connection at any of them."""
        with contextlib.suppress(OSError):
            peer = self._peers.get(port) or RawPeer(endpoint(self.base, port), PORTS[port])
            self._peers[port] = peer
            try:
                for part in parts:
                    peer.send(part)
            except OSError:
                self._peers.pop(port).socket.close()

    def publish(self, topic: str, publisher: int, number: int, payload: Any = FORGED, **headers: Any) -> None:
        """In another's name."""
        body = encode("x", publisher, number, time.time_ns(), payload, headers or None).partition(b"\0")[2]
        self.send("in", topic.encode() + b"\0" + body)

    def mark(self, port: str, *records: Record) -> None:
        """Say that these proxies live."""
        self.send(port, *(encode_marker("a", secrets.token_bytes(8), record) for record in records))


def phantoms(count: int, first_port: int = 20_000) -> list[Record]:
    """Proxies that do not exist, at addresses where nobody listens."""
    bases = [f"tcp://127.0.0.1:{first_port + 6 * (n % 1_500)}" for n in range(count)]
    return [Record(f"ph{first_port}-{n}", secrets.token_hex(16), base) for n, base in enumerate(bases)]


def incarnations(record: Record) -> Iterator[Record]:
    """New runs, so it is said, of a proxy that runs on."""
    while True:
        yield Record(record.id, secrets.token_hex(16), record.base)


Attack = Callable[[Hostile, random.Random], None]


class Victims(NamedTuple):
    """What an attacker can learn at the ports: it hears every part.

    publishers: ids of who publishes, and on which topics
    tokens:     of nodes
    proxies:    their records
    """

    publishers: Sequence[tuple[int, str]]
    tokens: Sequence[str]
    proxies: Sequence[Record]


def attacks(victims: Victims) -> list[Attack]:
    """Return all of them; each is one blow, and is made again and again."""

    def high_numbers(hostile: Hostile, chance: random.Random) -> None:
        for publisher, topic in victims.publishers:
            number = chance.choice([2**32 + 2**31, 2**40, 2**62, 2**63 - 1])
            hostile.publish(topic, publisher, number, **chance.choice([{}, {"moved": True}, {"tail": True}]))

    def new_publishers(hostile: Hostile, chance: random.Random) -> None:
        for _ in range(20):
            hostile.publish("h/forged", chance.randrange(2**63), chance.randrange(1, 2**47))

    def watermarks(hostile: Hostile, chance: random.Random) -> None:
        for token in victims.tokens:
            for serial in (1, 2):
                for count in (0, 1, 10**4):
                    payload = [serial, count, chance.randbytes(8)]
                    hostile.send("in", system_part(f"$ack/{token}/w", payload))

    def answers(hostile: Hostile, chance: random.Random) -> None:
        view = {**chance.choice(victims.proxies).to_map(), "state": "gone", "peers": []}
        for token in victims.tokens:
            hostile.send("in", system_part(f"$ack/{token}-1/m", {"nonce": b"x" * 8, "leg": "out", "view": view}))
        hostile.send("in", *(system_part(f"$fabric/proxy/{proxy.id}", view) for proxy in victims.proxies))

    def phantom_proxies(hostile: Hostile, chance: random.Random) -> None:
        first_port = chance.randrange(20_000, 30_000)
        for port in ("out", "link"):
            hostile.mark(port, *phantoms(20, first_port))

    def new_runs(hostile: Hostile, chance: random.Random) -> None:
        for proxy in victims.proxies:
            ghosts = incarnations(proxy)
            hostile.mark("link", *(next(ghosts) for _ in range(5)))
            hostile.mark("link", Record(proxy.id, proxy.incarnation, "tcp://127.0.0.1:9"))
            hostile.mark("link", Record(f"not-{proxy.id}", proxy.incarnation, proxy.base))

    def bare_markers(hostile: Hostile, chance: random.Random) -> None:
        for port in ("out", "link"):
            hostile.send(port, *(encode_marker("a", chance.randbytes(8), None) for _ in range(100)))

    def claims(hostile: Hostile, chance: random.Random) -> None:
        hostile.send("out", *(encode_marker("a", b"claim", None, [chance.randbytes(50)] * 20) for _ in range(20)))

    def prefixes(hostile: Hostile, chance: random.Random) -> None:
        with Hostile(hostile.base) as other:
            for port in ("out", "guest", "link"):
                other.send(port, *(b"\1s/" + chance.randbytes(2_000) for _ in range(10)))
                other.send(port, b"\1" + bytes(10_000))

    def guests(hostile: Hostile, chance: random.Random) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(Hostile(hostile.base)).send("guest", b"\1k/")

    def asked_much(hostile: Hostile, chance: random.Random) -> None:
        for ask in ("ping", "why", "stats", "trace"):
            question = {"ask": ask, "id": b"1", "reply_to": "$inbox/nobody/a", "topic": "k/1"}
            topics = [f"$ack/{proxy.incarnation}/q" for proxy in victims.proxies]
            hostile.send("in", *(system_part(topic, question) for topic in topics for _ in range(50)))

    return [
        high_numbers,
        new_publishers,
        watermarks,
        answers,
        phantom_proxies,
        new_runs,
        bare_markers,
        claims,
        prefixes,
        guests,
        asked_much,
    ]


def system_part(topic: str, payload: Any) -> bytes:
    """A part on a topic that nodes do not publish on."""
    return topic.encode() + b"\0" + encode("x", 1, 1, time.time_ns(), payload).partition(b"\0")[2]

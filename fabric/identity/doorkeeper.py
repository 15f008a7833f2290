"""Who is admitted at a proxy's sockets: libzmq asks here, by ZAP, for each connection with keys.

One handler serves a context; a socket is known by its domain, the name of its door. Whoever is admitted gets a *user
id* that libzmq puts on all that comes by this connection: 16 hexadecimal digits, a new number each time, and the key.

source: ZeroMQ RFC 27 (ZAP 1.0)
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter, deque
from typing import NamedTuple

import zmq
from zmq.utils.z85 import encode

from fabric import sockets
from fabric.identity.rules import DOORS, Rules

ENDPOINT = "inproc://zeromq.zap.01"
MAX_NEWS = 1_000
"""Decisions that wait to be read; beyond, the oldest are forgotten, and were counted."""
_ADMITTED, _REFUSED = b"200", b"400"
_END = b"end"


class Decision(NamedTuple):
    """door: see `rules.DOORS`; address: of the peer; key: its public key, or ""; name: of its owner, or "";
    why: it was refused, or ""
    """

    door: str
    address: str
    key: str
    name: str
    why: str


class Doorkeeper:
    """Answers for one context, in its own thread, from when it is made until `close`.

    rules:   who has which key, and which role
    observe: admit everybody who shows any key, and only note what would have been refused
    """

    def __init__(self, context: sockets.Context, rules: Rules, *, observe: bool = False) -> None:
        self._observe = observe
        self._serials = itertools.count(1)
        """Numbers of user ids. Its own thread takes them."""
        self._barred: dict[str, float] = {}
        """Keys that are turned away though they are known, and until when, monotonic. `bar` adds; never more than
        there are identities with two keys each."""
        self._news: deque[Decision] = deque(maxlen=MAX_NEWS)
        """Decisions since `take_news` was last called. Its own thread appends."""
        self.counts: Counter[tuple[str, str]] = Counter()
        """(door, `admitted` or `refused`) since the start. Its own thread writes."""
        self.answered = 0
        """Requests answered, its own thread writes: a silent one admits nobody."""
        self._context = context
        self._socket = sockets.answering(context, ENDPOINT)
        self.load(rules)
        self._thread = threading.Thread(target=self._run, name="fabric-doorkeeper", daemon=True)
        self._thread.start()

    def load(self, rules: Rules) -> None:
        """Decide by these from now on. Any thread."""
        self._by_key = rules.by_key()

    def bar(self, key: str, until: float) -> None:
        """Turn this key away until then, monotonic. Any thread."""
        self._barred[key] = until

    def take_news(self) -> list[Decision]:
        """Return what was decided since the last call."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def decide(self, door: str, address: str, mechanism: bytes, key: str, now: float) -> Decision:
        """Return who it is, and why it is refused, if it is. now: monotonic"""
        if door not in DOORS:
            return Decision(door, address, key, "", "no such door")
        if mechanism != b"CURVE":
            return Decision(door, address, "", "", "no key was shown")
        identity = self._by_key.get(key)
        if identity is None:
            return Decision(door, address, key, "", "nobody has this key")
        why = "" if identity.may_enter(door) else f"its roles ({', '.join(identity.roles)}) do not enter here"
        if now < self._barred.get(key, 0.0):
            why = "it sent what nobody may send, and is turned away for a while"
        return Decision(door, address, key, identity.name, why)

    def close(self) -> None:
        """End its thread, which closes its socket. From then on nobody is admitted. Only once."""
        ending = sockets.asking(self._context, ENDPOINT)
        ending.send(_END)
        self._thread.join()
        ending.close()

    def _run(self) -> None:
        with contextlib.closing(self._socket), contextlib.suppress(zmq.ZMQError):  # the context ends
            while (request := self._socket.recv_multipart()) != [_END]:
                self._answer(request)

    def _answer(self, request: list[bytes]) -> None:
        version, ident, domain, address, _, mechanism, *credentials = request + [b""] * (6 - len(request))
        raw = credentials[0] if credentials else b""
        key = encode(raw).decode() if len(raw) == 32 else ""
        peer = _text(address).removeprefix("::ffff:")
        decision = self.decide(_text(domain), peer, mechanism, key, time.monotonic())
        admitted = not decision.why or (self._observe and mechanism == b"CURVE" and decision.door in DOORS)
        self.counts[decision.door, "refused" if decision.why else "admitted"] += 1
        self._news.append(decision)
        user = f"{next(self._serials):016x}{key}".encode() if admitted else b""
        self._socket.send_multipart(
            [version, ident, _ADMITTED if admitted else _REFUSED, decision.why[:200].encode(), user, b""]
        )
        self.answered += 1


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")

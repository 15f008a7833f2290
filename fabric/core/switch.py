"""The switch: everything that passes a proxy, in one loop. This is the twin in plain Python, and the specification.

    in     PULL, publishers         ──► out, link, guest
    relay  XSUB, other proxies      ──► out, guest         never to a link: no loops
    out    XPUB, nodes       upstream ──► relay, control   subscriptions, and markers behind them, in their order
    link   XPUB, other proxies' relays ──► control         markers
    guest  XPUB, plain SUB sockets     ──► control         subscriptions, of which it passes on what is new
    control, a PAIR: commands and reports, see `fabric.core.steering`

The loop answers plain markers itself: a node's, without news, met at `out` or `link`. The answer lies ready but for
token and nonce. A marker met at `out` has passed on to the relay before it is answered.

It keeps what is retained of what comes by `in`, see `fabric.core.retained`. A marker that wants some of it is answered
behind all that there is, on the same way: so what was set before the marker is among that, and what is set later comes
live. A large answer is sent in slices, between which all else has its turn.

What costs: one part to one subscriber 1 to 3 us compiled, about 15 us here. While it runs only its thread may touch the
sockets, but for `heard` and `counts`.
"""

from __future__ import annotations

import errno
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial
from random import randrange
from typing import NamedTuple

import zmq

from fabric import sockets
from fabric.core import steering
from fabric.core.entry import is_control, read_marker, refusal, with_wanted
from fabric.core.gate import Gate
from fabric.core.retained import SHARED, Table, Tour, looks_retained
from fabric.core.steering import (
    BURST,
    MAX_AHEAD,
    MAX_AHEAD_BYTES,
    MAX_TOURS,
    PART_BYTES,
    SLICE,
    SWEPT_AT_ONCE,
    WEIGH_BYTES,
    Counts,
    Place,
)

_ALL = tuple(Place)
PAUSE_MS = 2
"""How often it looks whether publishers may go on."""
_RETAINED = SHARED[:-1]
"""What proxies tell each other of retained values begins so, and goes no further."""


class _Errand(NamedTuple):
    """A way through the table that is under way.

    place: where its batches go
    token: of a marker, which is answered behind them; None: another proxy is told
    next:  gives the next batch, and whether it is the last one
    """

    place: Place
    token: bytes | None
    tour: Tour
    next: Callable[[], tuple[bytes, bool]]


class Switch:
    """The loop over six sockets, which stay the caller's; see `steering.Place` for their order.

    own:            topics with this prefix are reported, wherever they come from: what is addressed to this proxy
    news:           topics with this prefix are reported when they come by the relay: announcements
    max_body_bytes: largest body of a publisher's part
    spin_us:        how long it may look for more before it sleeps; 0: never. This twin never does
    gate:           judges what enters, and what is held at `out` and `guest`, which are XPUB_MANUAL then; None: no keys
    pause_bytes:    while more than that is queued, nothing is read of publishers, who wait; 0: never

    How what is queued is known: libzmq counts messages, not bytes, and tells neither. So a part is wrapped now and then
    before it is sent, and stands for all bytes since the one before; when the last reader has it, libzmq lets go of it,
    and that much is queued no more. A long queue holds many of these.
    retained:       where retained values are kept; the switch's from now on
    """

    def __init__(
        self,
        places: Sequence[sockets.Socket],
        *,
        own: bytes,
        news: bytes,
        max_body_bytes: int,
        spin_us: int,
        gate: Gate | None = None,
        pause_bytes: int = 0,
        retained: Table | None = None,
    ) -> None:
        self._table = retained if retained is not None else Table()
        self._errands = deque[_Errand]()
        """Each is given one batch in turn."""
        self._pause_bytes = pause_bytes
        self._unweighed, self._weigh_at = 0, 0
        """Bytes since a part was last weighed, and those at which the next one is."""
        self._weighed: deque[tuple[zmq.MessageTracker, int]] = deque()
        """Parts that were weighed, and for how much each stands; those libzmq has let go of are taken out."""
        self._places = tuple(places)
        self._gate = gate
        self._met: dict[int, bytes] = {}
        """By descriptor, the user id of who last published there, or is another proxy. The gate was told of each."""
        self._own, self._news, self._max_body_bytes = own, news, max_body_bytes
        self._answers: dict[int, tuple[bytes, bytes]] = {}
        """By place, what stands before and behind the nonce of an answer. Changed by command alone."""
        self._skipping = {Place.PULL: False, Place.RELAY: False}
        """Within a message of several frames: its rest is passed over."""
        self._used = {Place.LINK: False, Place.GUEST: False}
        """Somebody has subscribed there, once: parts are offered from then on. Never cleared."""
        self._parts = {"in": 0, "out": 0, "relay": 0, "guest": 0}
        self._bytes = dict(self._parts)
        self._refused: Counter[str] = Counter()
        self._prefixes = {"out": 0, "link": 0, "guest": 0}
        self._answered = self._told = 0
        """See `Counts`; and reports sent. Written by the loop's thread alone, as the counts above."""
        self._poller = zmq.Poller()
        """Of the sockets that are read."""
        self._unsure = set[Place]()
        """Where somebody sent what takes the turn of the next subscription, until a read is refused; see the gate."""
        self._turned_away = set[int]()
        """Places at which nothing is read any more."""
        self._ended = False
        """END was read."""
        self._told_bytes = 0
        """Of all reports."""
        self.heard = self.heard_bytes = 0
        """Reports read so far, and their bytes, written by the control thread: a flood is told to nobody who is
        `MAX_AHEAD` behind."""

    def counts(self) -> Counts:
        """Read what has passed, from any thread, without stopping anything."""
        refused = {kind: count for kind, count in self._refused.copy().items() if count}
        prefixes = dict(self._prefixes)
        retained = {**self._table.figures(), "tours": len(self._errands)}
        return Counts(dict(self._parts), dict(self._bytes), refused, prefixes, self._answered, retained, self.queued())

    def queued(self) -> int:
        """Return how many bytes wait, as `Counts` has it. From any thread."""
        return sum(weight for tracker, weight in list(self._weighed) if not tracker.done)

    def run(self) -> int:
        """Carry until END is read.

        returns: 0; or the errno with which libzmq ended it, ETERM when the context was ended
        """
        for each in self._places:
            self._poller.register(each, zmq.POLLIN)
        readers = self._readers()
        try:
            while not self._ended:
                is_paused = 0 < self._pause_bytes < self.queued()
                if is_paused:
                    self._places[Place.CONTROL].poll(PAUSE_MS)  # the descriptor of `in` would not let it sleep
                for socket, _ in self._poller.poll(0 if is_paused or self._errands else None):
                    place = Place(self._places.index(socket))
                    if place not in self._turned_away and not (is_paused and place is Place.PULL):
                        self._read(place, readers[place])
                self._tell_of_retained()
        except zmq.ZMQError as error:
            return error.errno or errno.EIO
        return 0

    def _readers(self) -> list[Callable[[zmq.Frame], None]]:
        def upstream(place: Place) -> Callable[[zmq.Frame], None]:
            return lambda frame: self._come_up(place, frame)

        up = {place: upstream(place) for place in (Place.OUT, Place.LINK, Place.GUEST)}
        down = {Place.CONTROL: self._obey, Place.PULL: self._publish, Place.RELAY: self._relay}
        return [{**up, **down}[place] for place in _ALL]

    def _read(self, place: Place, reader: Callable[[zmq.Frame], None]) -> None:
        socket = self._places[place]
        for _ in range(BURST):
            try:
                frame = socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                self._unsure.discard(place)
                return
            reader(frame)
            if self._ended:
                return

    # ── streams ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _publish(self, frame: zmq.Frame) -> None:
        """A publisher's part."""
        part = frame.bytes
        if self._is_of_several(Place.PULL, frame.more):
            return
        kind = refusal(part, self._max_body_bytes) or self._not_allowed(frame, part)
        if kind is not None:
            self._refused[kind] += 1
            return
        self._count("in", part)
        if looks_retained(part):
            self._table.take(part, _now_us(), time.time_ns())
        if part.startswith(self._own):
            self._tell(Place.PULL, part)
        self._say(part)

    def _not_allowed(self, frame: zmq.Frame, part: bytes) -> str | None:
        if self._gate is None:
            return None
        user, descriptor = _sender(frame)
        self._meet(self._gate, Place.PULL, descriptor, user)
        topic, _, body = part.partition(b"\0")
        return self._gate.refusal(user, topic, body)

    def _meet(self, gate: Gate, place: Place, descriptor: int, user: bytes) -> None:
        if user and self._met.get(descriptor) != user:
            self._met[descriptor] = user
            gate.meet(place, descriptor, user)

    def _say(self, said: bytes) -> None:
        self._count("out", said)
        part = self._weigh(said)
        if self._used[Place.LINK]:
            self._send(Place.LINK, part)
        self._offer_guests(part)
        self._send(Place.OUT, part)

    def _relay(self, frame: zmq.Frame) -> None:
        """A part of another proxy's publishers."""
        part = frame.bytes
        if self._is_of_several(Place.RELAY, frame.more):
            return
        self._count("relay", part)
        if part.startswith(_RETAINED):
            self._hear_of_retained(part)
            return
        if part.startswith((self._own, self._news)):
            self._tell(Place.RELAY, part)
        weighed = self._weigh(part)
        self._offer_guests(weighed)
        self._send(Place.OUT, weighed)

    def _weigh(self, part: bytes) -> bytes | zmq.Frame:
        """Return what is to be sent for this part: itself, or a frame that tells when libzmq has let go of it."""
        self._unweighed += len(part) + PART_BYTES
        if self._unweighed < self._weigh_at:
            return part
        while self._weighed and self._weighed[0][0].done:
            self._weighed.popleft()
        frame = zmq.Frame(part, track=True, copy=False)
        self._weighed.append((frame.tracker, self._unweighed))
        # By chance, or a stream of parts that take turns would be weighed by one kind of them.
        self._unweighed, self._weigh_at = 0, randrange(WEIGH_BYTES // 2, WEIGH_BYTES * 3 // 2)
        return frame

    def _offer_guests(self, part: bytes | zmq.Frame) -> None:
        if self._used[Place.GUEST]:
            self._count("guest", part)
            self._send(Place.GUEST, part)

    def _is_of_several(self, place: Place, more: bool) -> bool:
        """Whether this frame is one of several: all of them are refused, and counted once."""
        was = self._skipping[place]
        self._skipping[place] = more
        if more and not was:
            self._refused["several"] += 1
        return more or was

    # ── upstream ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _come_up(self, place: Place, frame: zmq.Frame) -> None:
        """From a subscriber's end. Each frame is one part, as XPUB sees it."""
        part = frame.bytes
        gate = self._gate if place is not Place.LINK else None
        if self._gate is not None and gate is None:
            user, descriptor = _sender(frame)
            self._meet(self._gate, place, descriptor, user)
        if part[:1] in (b"\x00", b"\x01"):
            if gate is not None and is_control(part[1:]):
                if part[0]:
                    self._control_part(place, part[1:], _sender(frame)[0])
            elif gate is None or self._passes_gate(gate, place, frame, part):
                self._subscription(place, part)
        elif gate is not None:
            self._unsure.add(place)
            self._refused["not_control"] += 1
            user, descriptor = _sender(frame)
            gate.spoke(place, descriptor, user, part)
        elif frame.more:
            self._refused["several"] += 1
        elif place is not Place.GUEST and part[:1] != b"\x02":
            self._refused["not_control"] += 1
        else:
            self._control_part(place, part)

    def _control_part(self, place: Place, part: bytes, user: bytes = b"") -> None:
        if place is Place.GUEST:
            self._refused["guest"] += 1
        else:
            self._marker(place, part, user)

    def _passes_gate(self, gate: Gate, place: Place, frame: zmq.Frame, part: bytes) -> bool:
        """Have libzmq hold what is granted, or let it go; return whether that passes on."""
        user, descriptor = _sender(frame)
        prefix = part[1:]
        if not user:
            return part[0] == 0 and gate.left(place, prefix)
        if place in self._unsure:
            self._refused["unsure"] += 1
            return gate.unsure(place, descriptor, user, prefix, subscribed=part[0] == 1)
        judge, option = (gate.subscribed, zmq.SUBSCRIBE) if part[0] else (gate.cancelled, zmq.UNSUBSCRIBE)
        grant = judge(place, descriptor, user, prefix)
        for each in grant.prefixes:
            self._places[place].setsockopt(option, each)
        self._refused["not_allowed"] += grant.refused
        return grant.passes

    def _subscription(self, place: Place, part: bytes) -> None:
        self._prefixes[place.name.lower()] += 1 if part[0] else -1
        if place is Place.OUT:
            self._send(Place.RELAY, part)
        elif part[0]:
            self._used[place] = True
        if place is not Place.LINK:
            self._tell(place, part, always=True)

    def _marker(self, place: Place, part: bytes, user: bytes) -> None:
        found = read_marker(part)
        if found is None or place not in self._answers:
            self._tell(place, part)
            return
        wanted = found.wanted
        if wanted is not None and len(self._errands) >= MAX_TOURS:
            self._refused["flooded"] += 1
            return
        if wanted is not None and self._gate is not None and place is Place.OUT:
            wanted = tuple(self._gate.wanted(user, wanted))
            part = with_wanted(part, found.wanted_at, wanted)  # the other proxies do not know who asks
        if place is Place.OUT:
            self._send(Place.RELAY, part)
        if wanted is None:
            self._answer(place, found.token, found.nonce)
        else:
            tour = Tour(b"$ack/%b/t\0" % found.token, found.nonce, wanted)
            self._errands.append(_Errand(place, found.token, tour, partial(self._next_batch, tour)))

    def _answer(self, place: Place, token: bytes, nonce: bytes) -> None:
        head, tail = self._answers[place]
        said = b"$ack/%b/m\0%b\xc4%c%b%b" % (token, head, len(nonce), nonce, tail)
        self._answered += 1
        self._count("out", said)
        self._send(place, said)

    # ── retained values ──────────────────────────────────────────────────────────────────────────────────────────

    def _next_batch(self, tour: Tour) -> tuple[bytes, bool]:
        return self._table.next(tour, _now_us())

    def _hear_of_retained(self, part: bytes) -> None:
        """Another proxy claims values, or hands its own over."""
        if not self._table.hear(part.partition(b"\0")[2], _now_us(), time.time_ns()):
            self._refused["failed"] += 1

    def _tell_of_retained(self) -> None:
        """Claims and notices; and a slice of what was asked for."""
        claims = self._table.take_claims(SHARED)
        if claims is not None:
            self._say_to(claims, Place.LINK)
        for notice in self._table.take_notices():
            self._say_to(notice, Place.LINK, Place.OUT)
        for _ in range(SLICE):
            if not self._errands:
                return
            errand = self._errands.popleft()
            part, last = errand.next()
            self._say_to(part, errand.place)
            if not last:
                self._errands.append(errand)
            elif errand.token is not None:
                self._answer(errand.place, errand.token, errand.tour.nonce)

    def _say_to(self, part: bytes, *places: Place) -> None:
        self._count("out", part)
        for place in places:
            if self._used.get(place, True):
                self._send(place, part)

    def _tell_proxy(self, command: bytes) -> None:
        """All claims, or all values, to one other proxy."""
        address, nul, back = command[1:].partition(b"\0")
        tour = Tour(address + nul, back, [b""], everything=True)
        give = self._table.next_claims if command[:1] == b"O" else self._next_batch
        self._errands.append(_Errand(Place.LINK, None, tour, partial(give, tour)))

    # ── control ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _obey(self, frame: zmq.Frame) -> None:
        command = frame.bytes
        letter, rest = command[:1], command[2:]
        if letter == steering.END:
            self._ended = True
        elif letter == steering.SWEEP:
            if self._gate is not None:
                self._gate.sweep()
        elif letter == steering.RULES:
            pass  # this twin has no table
        elif letter == steering.AGE:
            self._table.sweep(_now_us(), SWEPT_AT_ONCE)
        elif letter in (b"O", b"H"):
            self._tell_proxy(command)
        elif letter == b"Y":
            self._say(command[1:])
        elif letter == b"E":
            self._report(bytes([Place.CONTROL]) + command)
        elif letter == b"S":
            if command[1] in (Place.OUT, Place.LINK):
                self._count("out", rest)
            self._send(Place(command[1]), rest)
        elif letter == b"A":
            size = int.from_bytes(rest[:4], sys.byteorder)
            self._answers[command[1]] = rest[4 : 4 + size], rest[4 + size :]
        elif letter == b"X":
            self._turn_away(Place(command[1]))
        else:
            self._change(letter, Place(command[1]), rest)

    def _turn_away(self, place: Place) -> None:
        if place not in self._turned_away:
            self._turned_away.add(place)
            self._poller.unregister(self._places[place])

    def _change(self, letter: bytes, place: Place, endpoint: bytes) -> None:
        """Bind, connect, disconnect, or expect a key; what libzmq refuses is reported."""
        socket = self._places[place]

        def expect(key: str) -> None:
            socket.setsockopt(zmq.CURVE_SERVERKEY, key.encode())

        act = {b"B": socket.bind, b"C": socket.connect, b"D": socket.disconnect, b"K": expect}[letter]
        try:
            act(endpoint.decode())
        except zmq.ZMQError as error:
            self._report(steering.failure(letter, place, error.errno or errno.EIO, endpoint))

    def _tell(self, place: Place, part: bytes, *, always: bool = False) -> None:
        is_behind = self._told - self.heard > MAX_AHEAD or self._told_bytes - self.heard_bytes > MAX_AHEAD_BYTES
        if not always and is_behind:
            self._refused["flooded"] += 1
            return
        self._report(bytes([place]) + part)

    def _report(self, report: bytes) -> None:
        self._told += 1
        self._told_bytes += len(report)
        self._send(Place.CONTROL, report)

    # ── both ways ────────────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, stream: str, part: bytes | zmq.Frame) -> None:
        self._parts[stream] += 1
        self._bytes[stream] += len(part)

    def _send(self, place: Place, part: bytes | zmq.Frame) -> None:
        """Never wait: XPUB and XSUB drop by themselves, and the pair has room for all."""
        try:
            self._places[place].send(part, zmq.NOBLOCK, copy=isinstance(part, bytes))
        except zmq.ContextTerminated:
            raise
        except zmq.ZMQError:
            self._refused["failed"] += 1


def _now_us() -> int:
    return time.monotonic_ns() // 1_000


def _sender(frame: zmq.Frame) -> tuple[bytes, int]:
    """Return user id and descriptor of who sent a part; empty and -1 for what libzmq made by itself."""
    try:
        return str(frame.get("User-Id")).encode(), int(frame.get(zmq.SRCFD))
    except zmq.ZMQError:
        return b"", -1

"""A proxy: four streams in C, and one control thread in Python that never touches a message.

     publishers                                              local subscribers
     PUSH ──► in: PULL ─leg─► PUB (waits when full)          XSUB, connected to out and relay
                              │ inproc                          ▲            ▲
     ┌────────────────────────▼────────────────────────┐  out ──┘            │
     │ ingress  XSUB (everything)       ─────► XPUB    ├─ link ─► relays of the other proxies
     │ relay    XSUB, connected to every other's link ─► XPUB ├─ relay ──────┘
     │ guest    XSUB on own out and relay ────► XPUB   ├─ guest ─► any plain SUB socket
     └─────────────────────────────────────────────────┘

What comes by a relay leaves only to local subscribers: no loops, and one copy per link. The control thread hears
subscriptions and markers at two *beacons* (XPUB sockets at the ingress's and at the relay's XSUB), answers the markers,
feeds `fabric.mesh` and performs its effects.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket as plain_socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zmq

from fabric import asking, control, mesh, sockets, stray, views
from fabric.endpoints import Endpoints
from fabric.errors import FabricError, RemoteWireError, TransportError
from fabric.stream import Stream
from fabric.wire import DEFAULT_MAX_PAYLOAD_BYTES, ENVELOPE_BYTES, Encoder, decode

log = logging.getLogger("fabric.proxy")

TICK_MS = 20
BATCH = 2_000
"""Parts taken from one socket before the others have their turn."""
GUARD = 100_000
"""Times the ingress subscribes to everything: XPUB passes on a cancel of what its sender never held."""
SILENCE_S = 20.0
"""A stream of our own that lets no marker through for so long is dead: the process ends rather than pretend. A busy one
may be silent for seconds: forgetting a peer with 100,000 prefixes takes 0.3 s, and many may leave at once."""
TOPIC_BYTES = 65_535 + 1


class Proxy:
    """One proxy of the mesh. `run()` in this thread, or `start()` in one of its own.

    listen:     base address, see `fabric.endpoints`
    join:       bases of proxies to join; empty: it is a mesh of its own until others join it
    name:       its name in the mesh, one topic level; default from the address
    advertise:  the base that others connect to, when it is not `listen`
    first:      it may become a member though no address of `join` answers
    on_event:   called from the control thread with a map `{"event": …}`: ready, link_up, link_down, peer_joined,
                peer_restarted, peer_dead, peer_back, peer_left, draining, …
    errors:     ValueError for an address that is none, TransportError for one that cannot be bound
    """

    def __init__(
        self,
        listen: str,
        *,
        join: Iterable[str] = (),
        name: str | None = None,
        advertise: str | None = None,
        first: bool = False,
        hwm_msgs: int = sockets.HWM_MSGS,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        settle_s: float = 1.0,
        dead_s: float = 3.0,
        drain_s: float = 5.0,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        self.endpoints = Endpoints.parse(listen)
        public = Endpoints.parse(advertise) if advertise else self.endpoints
        if public.is_wildcard:
            raise ValueError(f"others cannot connect to {public.base!r}; right would be `advertise` with a real host")
        self.name = name or public.default_name()
        if not views.valid_name(self.name):
            raise ValueError(f"{self.name!r} is no name; right would be 1 to 100 characters without / + # and NUL")
        self._join = tuple(Endpoints.parse(base).base for base in join)
        self._hwm_msgs, self._drain_s = hwm_msgs, drain_s
        self._max_part_bytes = max_payload_bytes + ENVELOPE_BYTES + TOPIC_BYTES
        self._event_fun = on_event
        self._incarnation = secrets.token_hex(16)
        self._encoder = Encoder(secrets.randbits(64))
        self._numbers: Counter[str] = Counter()
        record = views.Record(self.name, self._incarnation, public.base)
        self._mesh = mesh.Mesh(
            record,
            time.monotonic(),
            secrets.token_bytes,
            join=self._join,
            first=first,
            settle_s=settle_s,
            dead_s=dead_s,
        )
        self._thread: threading.Thread | None = None
        self._began = False
        self._ready = threading.Event()
        self._ended = threading.Event()
        self._drain_asked = self._stop_asked = False
        self._drain_since: float | None = None
        self._failure: str | None = None
        self._announce_now = False
        self._last_loop = time.monotonic()
        self._heard_self = {"ingress": self._last_loop, "relay": self._last_loop}
        self.refused: Counter[str] = Counter()
        self.mended = 0
        """Prefixes that a stray cancel had taken from nodes here, and that were subscribed anew."""
        self._prefixes = {"ingress": 0, "relay": 0}
        self._given_up, self._claims = stray.GivenUp(), set[bytes]()
        self._next_mend = self._next_tick = 0.0
        self._beacon_is_open = False
        self._guard_is_gone = False
        self._nodes = 0
        self._figures = _Figures()
        self._announced: dict[str, Any] = {}
        self._questions, self._answers = asking.Budget(), 0
        self._scouts: dict[str, sockets.Socket] = {}
        sockets.raise_descriptor_limit()
        # One fewer to be woken on the way of an ack, where there are no cores for two.
        self._context = sockets.new_context(io_threads=2 if (os.cpu_count() or 1) > 2 else 1)
        try:
            self._open()
        except BaseException:
            self._context.destroy(linger=0)
            raise

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Run in a thread of its own."""
        self._thread = threading.Thread(target=self._run_quietly, name=f"fabric-proxy-{self.name}", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Run until drained or closed. Raises TransportError when it cannot go on."""
        self._began = True
        for stream in self._streams:
            stream.start()
        try:
            while not self._finished():
                self._turn()
        finally:
            self._shut()
        if self._failure is not None:
            raise TransportError(self._failure)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is a member of the mesh; False when it is not in time, or has ended."""
        return self._ready.wait(timeout_s) and not self._ended.is_set()

    def drain(self) -> None:
        """Ask it to leave in good order; safe in a signal handler. `run` returns when its nodes have gone, or later."""
        self._drain_asked = True

    def close(self, timeout_s: float = 10.0) -> None:
        """End it now, telling peers and nodes; wait for its thread."""
        self._stop_asked = True
        if self._thread is not None:
            self._thread.join(timeout_s)
        elif not self._began:
            self._context.destroy(linger=0)
            self._ready.set()
            self._ended.set()

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready_line(self) -> dict[str, Any]:
        """What `fabric proxy` prints when it is a member."""
        view = self._mesh.view()
        return {
            "event": "ready",
            "name": self.name,
            "listen": self.endpoints.base,
            "protocol": list(control.PROTOCOL),
            "peers": [peer.record.id for peer in view.peers if peer.linked],
        }

    def stats(self) -> dict[str, Any]:
        """Return what was last announced, a second ago at most, and `turned_s_ago`: when its thread last turned.

        Empty but for that before it runs. From any thread.
        """
        return {**self._announced, "turned_s_ago": time.monotonic() - self._last_loop}

    # ── sockets ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self) -> None:
        self._reserve(self.endpoints.ingress)
        context, hwm = self._context, self._hwm_msgs
        self._pull, feed = sockets.pull(context, recv_hwm=hwm), sockets.feed(context)
        ingress, out = sockets.xsub(context, recv_hwm=hwm), sockets.xpub(context, send_hwm=hwm)
        self._ingress_in = ingress
        self._relay_in, relay = sockets.relay_in(context), sockets.xpub(context, send_hwm=hwm)
        guest_in, guest = sockets.xsub(context, recv_hwm=hwm), sockets.xpub(context, send_hwm=hwm)
        _guard(ingress)
        sockets.bind(ingress, "inproc://ingress", max_part_bytes=self._max_part_bytes)
        # What this proxy says itself goes in beside what publishers say. A PUB may do so over inproc: it throws away
        # what comes upstream; and it spares each ack two turns of the I/O thread that the beacon's own way would take.
        voice = sockets.doorbell(context)
        self._say = sockets.fast_send(voice)
        for source in (feed, voice):
            sockets.connect(source, "inproc://ingress")
        private = {
            name: sockets.bind_private(
                socket, f"fabric-{self._incarnation}-{name}", max_part_bytes=max_bytes, send_hwm=hwm_set
            )
            for name, socket, max_bytes, hwm_set in (
                ("ingress", ingress, self._max_part_bytes, None),
                ("relay-in", self._relay_in, self._max_part_bytes, None),
                ("out", out, sockets.UPSTREAM_BYTES, hwm),
                ("relay", relay, sockets.UPSTREAM_BYTES, hwm),
            )
        }
        for socket, endpoint, link in (
            (out, self.endpoints.out, False),
            (out, self.endpoints.link, True),
            (relay, self.endpoints.relay, False),
            (guest, self.endpoints.guest, False),
        ):
            limit = sockets.LINK_HWM_MSGS if link else hwm
            sockets.bind(socket, endpoint, max_part_bytes=sockets.UPSTREAM_BYTES, send_hwm=limit, link=link)
        self._beacons = {leg: sockets.beacon(context, everything=leg == "relay") for leg in ("ingress", "relay")}
        sockets.connect(self._beacons["ingress"], private["ingress"])
        sockets.connect(self._beacons["relay"], private["relay-in"])
        self._ear = sockets.xsub(context, recv_hwm=0)
        for inner in (guest_in, self._ear):
            sockets.connect(inner, private["out"])
            sockets.connect(inner, private["relay"])
        self._own_prefixes = (control.ack_prefix(self._incarnation), control.ANNOUNCE.encode())
        for prefix in self._own_prefixes:
            self._ear.send(b"\x01" + prefix)
        self._link_events = sockets.monitor(context, self._relay_in, sockets.MONITOR_EVENTS)
        self._refusals = [
            sockets.monitor(context, socket, sockets.FAILED_EVENTS) for socket in (self._pull, out, relay, guest)
        ]
        self._streams = [
            Stream(context, name, front, back, self._stream_died)
            for name, front, back in (
                ("leg", self._pull, feed),
                ("ingress", ingress, out),
                ("relay", self._relay_in, relay),
                ("guest", guest_in, guest),
            )
        ]
        self._poller = zmq.Poller()
        self._readers: dict[sockets.Socket, Callable[[], None]] = {self._link_events: self._on_link_events}
        self._readers[self._ear] = self._on_ear
        for leg, beacon in self._beacons.items():
            self._readers[beacon] = lambda leg=leg, beacon=beacon: self._on_beacon(leg, beacon)  # type: ignore[misc]
        for socket in self._readers:
            self._poller.register(socket, zmq.POLLIN)

    def _reserve(self, endpoint: str) -> None:
        """Find out now whether `in` can be bound: it is bound only when this proxy is a member."""
        probe = sockets.pull(self._context, recv_hwm=1)
        try:
            with sockets.transport_errors(f"cannot listen at {endpoint}"):
                if endpoint.startswith("tcp://"):
                    probe.bind(endpoint)
                    probe.unbind(probe.getsockopt_string(zmq.LAST_ENDPOINT))  # no wildcard
                elif Path(endpoint.removeprefix("ipc://")).exists() and _answers(endpoint.removeprefix("ipc://")):
                    raise TransportError(f"cannot listen at {endpoint}: another process does")
        finally:
            probe.close()

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self) -> None:
        for socket, _ in self._poller.poll(TICK_MS):
            reader = self._readers.get(socket)
            if reader is not None:
                reader()
        now = time.monotonic()
        if now - self._last_loop > SILENCE_S / 2:
            self._heard_self = dict.fromkeys(self._heard_self, now)  # this process stood still; so did its streams
        self._last_loop = now
        if now >= self._next_mend:
            self._mend(now)
        if self._drain_asked and self._drain_since is None:
            self._drain_since = now
            self._perform(self._mesh.drain())
        if now >= self._next_tick:
            self._tick(now)
        if self._announce_now:
            self._announce_now = False
            self._announce(now)

    def _tick(self, now: float) -> None:
        """What time demands; not at each turn, of which every ack takes some."""
        self._next_tick = now + TICK_MS / 2000
        self._perform(self._mesh.tick(now))
        silent = [leg for leg, heard in self._heard_self.items() if now - heard > SILENCE_S]
        if silent:
            self._failure = f"the own {' and '.join(silent)} let no marker through for {SILENCE_S:g} s"

    def _finished(self) -> bool:
        if self._stop_asked or self._failure is not None:
            return True
        if self._drain_since is None:
            return False
        return self._nodes <= 0 or time.monotonic() - self._drain_since > self._drain_s

    def _perform(self, effects: Iterable[mesh.Effect]) -> None:
        for effect in effects:
            match effect:
                case mesh.Link(base):
                    self._rewire_link(base, self._relay_in.connect)
                case mesh.Unlink(base):
                    self._rewire_link(base, self._relay_in.disconnect)
                case mesh.Probe(nonce):
                    self._ear.send(control.encode_marker(self._incarnation, nonce, self._mesh.record))
                case mesh.Ask(bases):
                    self._ask(bases)
                case mesh.Announce():
                    self._announce_now = True
                case mesh.Admit():
                    self._streams[0].rewire(
                        lambda: sockets.bind(self._pull, self.endpoints.ingress, max_part_bytes=self._max_part_bytes)
                    )
                    self._ready.set()
                case mesh.Tell(event):
                    self._on_event(event)
                case mesh.Fatal(why):
                    self._failure = why

    def _rewire_link(self, base: str, change: Callable[[str], object]) -> None:
        endpoint = Endpoints.parse(base).link
        try:
            self._streams[2].rewire(lambda: change(endpoint))
        except zmq.ZMQError as error:
            self.refused["peer_address"] += 1
            self._on_event({"event": "bad_peer", "base": base, "error": str(error)})

    def _ask(self, bases: tuple[str, ...]) -> None:
        for base in [base for base in self._scouts if base not in bases]:
            scout = self._scouts.pop(base)
            self._poller.unregister(scout)
            del self._readers[scout]
            scout.close()
        for base in bases:
            if base not in self._scouts:
                self._scouts[base] = scout = sockets.xsub(self._context, recv_hwm=0)
                sockets.connect(scout, Endpoints.parse(base).link)
                scout.send(b"\x01" + control.ack_prefix(self._incarnation))
                self._readers[scout] = lambda base=base: self._on_scout(base)  # type: ignore[misc]
                self._poller.register(scout, zmq.POLLIN)
            self._scouts[base].send(control.encode_marker(self._incarnation, b"ask", self._mesh.record))

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────

    def _on_beacon(self, leg: str, beacon: sockets.Socket) -> None:
        """Subscriptions, cancels and markers that reached this XSUB. Whatever the bytes, it goes on."""
        say = self._say if leg == "ingress" else sockets.fast_send(beacon)
        for part in _drain(beacon):
            kind = part[:1]
            if kind in (b"\x00", b"\x01"):
                self._count_prefix(leg, part)
                if leg == "relay":
                    self._watch_relay(beacon, part[1:], subscribed=kind == b"\x01")
                elif part == b"\x00":
                    self._guard_is_gone = True
                continue
            try:
                marker = control.decode_marker(part)
            except RemoteWireError as error:
                self.refused[error.kind] += 1
                continue
            if marker.sender is not None and leg == "ingress":
                self._perform(self._mesh.contact(marker.sender, time.monotonic()))
            if marker.claims and leg == "relay":
                self._claims.update(marker.claims)
            payload = control.answer_payload(marker.nonce, leg, self._mesh.view())
            say(self._part(f"{control.ACK}{marker.token}/m", payload, number=1))

    def _count_prefix(self, leg: str, part: bytes) -> None:
        step = 1 if part[0] else -1
        self._prefixes[leg] += step
        if leg == "relay" and part.startswith(b"$ack/", 1) and self._incarnation.encode() not in part:
            self._nodes += step

    def _watch_relay(self, beacon: sockets.Socket, prefix: bytes, *, subscribed: bool) -> None:
        """A cancel may be a stray one: ask those who still hold the prefix. See `fabric.stray`."""
        if not self._beacon_is_open:
            self._beacon_is_open = True
            sockets.open_beacon(beacon)
        if subscribed:
            self._given_up.subscribed(prefix)
        elif len(prefix) <= TOPIC_BYTES and stray.notice_prefix(prefix) is not None:
            self._given_up.cancelled(prefix)
            if prefix in self._own_prefixes:
                self._claims.add(prefix)

    def _mend(self, now: float) -> None:
        """Ask who holds what was cancelled; subscribe anew to what is held, all at once: it costs the stream 0.2 ms."""
        self._next_mend = now + TICK_MS / 1000
        for prefix in self._given_up.take_unasked():
            about = stray.notice_prefix(prefix)
            if about is not None:
                self._beacons["relay"].send(self._encoder.part(about, 1, time.time_ns(), prefix, control.NOTICE))
        prefixes = self._given_up.claim(self._claims)
        self._claims.clear()
        if prefixes:
            self.mended += len(prefixes)
            self._streams[2].rewire(lambda: [self._relay_in.send(b"\x01" + prefix) for prefix in prefixes])
        if self._guard_is_gone:
            self._guard_is_gone = False
            self.mended += 1
            self._streams[1].rewire(lambda: _guard(self._ingress_in))

    def _on_ear(self) -> None:
        """Answers to the own probes, and announcements of all proxies."""
        for part in _drain(self._ear):
            found = self._read(part)
            if found is None:
                continue
            topic, payload = found
            now = time.monotonic()
            if topic.startswith(control.ANNOUNCE):
                view = views.View.from_map(payload)
                if view is not None and view.record.incarnation != self._incarnation:
                    self._perform(self._mesh.seen(view, now))
                continue
            if topic.endswith("/q"):
                self._on_question(payload)
                continue
            answer = control.read_answer(payload)
            if answer is None:
                self.refused["answer"] += 1
            elif answer.view.record.incarnation == self._incarnation:
                self._heard_self[answer.leg] = now
            elif answer.leg == "ingress":
                self._perform(self._mesh.answered(answer.view, answer.nonce, now))

    def _on_question(self, payload: Any) -> None:
        """See `fabric.asking`. One count numbers the answers to everybody: what others ask shall not grow anything."""
        question = asking.read_question(payload)
        if question is not None and question.ask == "ping" and self._questions.take(time.monotonic()):
            self._answers += 1
            answer = {"answer": "ping", "id": question.id, "proxy": self.name}
            self._say(self._part(question.reply_to, answer, number=self._answers))

    def _on_scout(self, base: str) -> None:
        scout = self._scouts[base]
        for part in _drain(scout):
            found = self._read(part)
            answer = control.read_answer(found[1]) if found else None
            if answer is not None:
                self._perform(self._mesh.asked(base, answer.view, time.monotonic()))
            if scout.closed:
                return

    def _read(self, part: bytes) -> tuple[str, Any] | None:
        try:
            message = decode(part)
        except RemoteWireError as error:
            self.refused[error.kind] += 1
            return None
        return message.topic, message.payload

    def _on_link_events(self) -> None:
        now = time.monotonic()
        for event, endpoint in _events(self._link_events):
            base = next(
                (peer.record.base for peer in self._mesh.view().peers if _same_link(peer.record.base, endpoint)), None
            )
            if base is not None:
                change = self._mesh.link_lost if event == zmq.EVENT_DISCONNECTED else self._mesh.link_opened
                self._perform(change(base, now))

    def _count_refusals(self) -> None:
        """Once a second will do: each socket that is polled costs every turn a microsecond."""
        for monitor in self._refusals:
            for _ in _events(monitor):
                self.refused["handshake"] += 1

    # ── what goes out ────────────────────────────────────────────────────────────────────────────────────────────

    def _part(self, topic: str, payload: dict[str, Any], *, number: int | None = None) -> bytes:
        if number is None:
            self._numbers[topic] += 1
            number = self._numbers[topic]
        return self._encoder.part(topic.encode() + b"\0", number, time.time_ns(), payload)

    def _announce(self, now: float) -> None:
        self._count_refusals()
        self._figures.update(now, {stream.name: stream.counts() for stream in self._streams})
        payload = {
            **self._mesh.view().to_map(),
            "name": self.name,
            "protocol": list(control.PROTOCOL),
            "uptime_s": round(now - self._figures.started, 3),
            "subscriptions": dict(self._prefixes),
            "nodes": max(self._nodes, 0),
            "counts": self._figures.counts,
            "bytes": self._figures.bytes,
            "rates": self._figures.rates,
            "refused": dict(self.refused),
            "mended": self.mended,
            "descriptors": {"used": _open_files(), "limit": sockets.descriptor_limit()},
        }
        self._announced = payload
        self._say(self._part(control.ANNOUNCE + self.name, payload))

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _on_event(self, event: dict[str, Any]) -> None:
        if self._event_fun is not None:
            try:
                self._event_fun(event)
            except Exception:  # a user's: it must not end the proxy
                log.exception("a handler of events raised at %r", event)

    def _stream_died(self, why: str) -> None:
        self._failure = why

    def _run_quietly(self) -> None:
        try:
            self.run()
        except FabricError as error:
            self._on_event({"event": "failed", "error": str(error)})

    def _shut(self) -> None:
        """Say good-bye behind everything that was accepted, and close."""
        try:
            if self._failure is None:
                self._flush()
                self._perform(self._mesh.leave())
                self._announce(time.monotonic())
                self._flush()
        except TransportError as error:
            self._failure = self._failure or str(error)
        finally:
            # A stream that does not end has sockets that nobody else may close: libzmq would abort the process.
            ended = [stream.stop() for stream in self._streams]
            if all(ended):
                # What is queued for live connections gets half a second to leave.
                self._context.destroy(linger=0 if self._failure else 500)
            self._ready.set()
            self._ended.set()

    def _flush(self) -> None:
        """Wait, at most a second, until the streams stand still: what publishers handed over has left the ingress."""
        end = time.monotonic() + 1.0
        before = None
        while time.monotonic() < end:
            now = [stream.counts() for stream in self._streams]
            if now == before:
                return
            before = now
            self._ended.wait(0.02)


def _guard(ingress: sockets.Socket) -> None:
    for _ in range(GUARD):
        ingress.send(b"\x01")


class _Figures:
    """Counts and rates for announcements: parts, since the start and per second."""

    def __init__(self) -> None:
        self.started = self._at = time.monotonic()
        self.counts = {"in": 0, "out": 0, "relay": 0, "guest": 0}
        self.bytes = dict(self.counts)
        self.rates = dict.fromkeys(self.counts, 0.0)

    def update(self, now: float, streams: dict[str, Any]) -> None:
        counts = {
            "in": streams["leg"].front_in,
            "out": streams["ingress"].back_out,
            "relay": streams["relay"].back_out,
            "guest": streams["guest"].back_out,
        }
        self.bytes = {
            "in": streams["leg"].front_in_bytes,
            "out": streams["ingress"].back_out_bytes,
            "relay": streams["relay"].back_out_bytes,
            "guest": streams["guest"].back_out_bytes,
        }
        passed = now - self._at
        if passed >= 0.5:
            self.rates = {key: round((counts[key] - self.counts[key]) / passed, 1) for key in counts}
            self._at, self.counts = now, counts


def _drain(socket: sockets.Socket) -> Iterable[bytes]:
    """Yield at most BATCH parts that are there. XPUB and XSUB too take each part of several for itself."""
    waits = sockets.something_waits(socket)
    for _ in range(BATCH):
        if socket.closed or not waits():
            return
        yield socket.recv()


def _events(monitor: sockets.Socket) -> Iterable[tuple[int, str]]:
    """Yield (event, endpoint) for every event that is there."""
    while True:
        try:
            event, endpoint = monitor.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        yield int.from_bytes(event[:2], "little"), endpoint.decode(errors="replace")


def _same_link(base: str, endpoint: str) -> bool:
    return Endpoints.parse(base).link == endpoint


def _answers(path: str) -> bool:
    with plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path) == 0


def _open_files() -> int:
    """Number of open files of this process; -1 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return -1

"""A proxy's sockets and the four streams between them.

     publishers                                              local subscribers
     PUSH ──► in: PULL ─leg─► PUB (waits when full)          XSUB, connected to out and relay
                              │ inproc                          ▲            ▲
     ┌────────────────────────▼────────────────────────┐  out ──┘            │
     │ ingress  XSUB (everything)       ─────► XPUB    ├─ link ─► relays of the other proxies
     │ relay    XSUB, connected to every other's link ─► XPUB ├─ relay ──────┘
     │ guest    XSUB on own out and relay ────► XPUB   ├─ guest ─► any plain SUB socket
     └─────────────────────────────────────────────────┘

What comes by a relay leaves only to local subscribers: no loops, and one copy per link. Subscriptions and markers that
reach the ingress's and the relay's XSUB are heard at two *beacons*, XPUB sockets there. Their way, the ear's and the
guest's are real transports: over inproc libzmq 4.3.5 frees an upstream message of more than 33 bytes twice.
"""

from __future__ import annotations

import os
import socket as plain_socket
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq

from fabric import sockets
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.proxy.stream import Counts, Stream

GUARD = 100_000
"""Times the ingress subscribes to everything: XPUB passes on a cancel of what its sender never held."""
INGRESS = "inproc://ingress"


class Plumbing:
    """Opened when it is made; between `start` and `stop` the streams run, each in one thread.

    Everything is for the control thread alone; before `start`, for the thread that made it. Changes at a stream's
    sockets are made by that stream's thread, while the control thread waits.

    incarnation:     of the proxy: names its private addresses
    max_part_bytes:  largest part that publishers and peers may send
    on_death:        called, from the stream's thread, with why one ended by itself
    errors:          TransportError for an address that cannot be bound; then nothing is left open

    ear:          XSUB on the own out and relay: what was said comes back here
    beacons:      `ingress` and `relay`
    link_events:  monitor of the connections to other proxies' links
    refusals:     monitors of who was turned away
    say:          send a part beside what publishers send
    """

    def __init__(
        self,
        endpoints: Endpoints,
        incarnation: str,
        *,
        hwm_msgs: int,
        max_part_bytes: int,
        on_death: Callable[[str], None],
    ) -> None:
        self._endpoints, self._hwm_msgs, self._max_part_bytes = endpoints, hwm_msgs, max_part_bytes
        # One fewer to be woken on the way of an ack, where there are no cores for two.
        self._context = sockets.new_context(io_threads=2 if (os.cpu_count() or 1) > 2 else 1)
        try:
            self._open(incarnation, on_death)
        except BaseException:
            self.abandon()
            raise

    def _open(self, incarnation: str, on_death: Callable[[str], None]) -> None:
        self._reserve(self._endpoints.ingress)
        context, hwm = self._context, self._hwm_msgs
        self._pull, feed = sockets.pull(context, recv_hwm=hwm), sockets.feed(context)
        self._ingress_in, out = sockets.xsub(context, recv_hwm=hwm), sockets.xpub(context, send_hwm=hwm)
        self._relay_in, relay = sockets.relay_in(context), sockets.xpub(context, send_hwm=hwm)
        guest_in, guest = sockets.xsub(context, recv_hwm=hwm), sockets.xpub(context, send_hwm=hwm)
        self._guard()
        self._join_ingress(feed)
        self._bind(out, relay, guest)
        self._connect_inside(incarnation, out, relay, guest_in)
        self.link_events = sockets.monitor(context, self._relay_in, sockets.MONITOR_EVENTS)
        self.refusals = [
            sockets.monitor(context, socket, sockets.FAILED_EVENTS) for socket in (self._pull, out, relay, guest)
        ]
        self._leg = Stream(context, "leg", self._pull, feed, on_death)
        self._ingress = Stream(context, "ingress", self._ingress_in, out, on_death)
        self._relay = Stream(context, "relay", self._relay_in, relay, on_death)
        self._streams = (self._leg, self._ingress, self._relay, Stream(context, "guest", guest_in, guest, on_death))

    def _join_ingress(self, feed: sockets.Socket) -> None:
        """What this proxy says itself goes in beside what publishers say. A PUB may do so over inproc: it throws away
        what comes upstream; and it spares each ack two turns of the I/O thread that the beacon's own way would take."""
        sockets.bind(self._ingress_in, INGRESS, max_part_bytes=self._max_part_bytes)
        voice = sockets.doorbell(self._context)
        self.say = sockets.fast_send(voice)
        for source in (feed, voice):
            sockets.connect(source, INGRESS)

    def _bind(self, out: sockets.Socket, relay: sockets.Socket, guest: sockets.Socket) -> None:
        for socket, endpoint, link in (
            (out, self._endpoints.out, False),
            (out, self._endpoints.link, True),
            (relay, self._endpoints.relay, False),
            (guest, self._endpoints.guest, False),
        ):
            limit = sockets.LINK_HWM_MSGS if link else self._hwm_msgs
            sockets.bind(socket, endpoint, max_part_bytes=sockets.UPSTREAM_BYTES, send_hwm=limit, link=link)

    def _connect_inside(
        self, incarnation: str, out: sockets.Socket, relay: sockets.Socket, guest_in: sockets.Socket
    ) -> None:
        private = {
            name: sockets.bind_private(socket, f"fabric-{incarnation}-{name}", max_part_bytes=max_bytes, send_hwm=hwm)
            for name, socket, max_bytes, hwm in (
                ("ingress", self._ingress_in, self._max_part_bytes, None),
                ("relay-in", self._relay_in, self._max_part_bytes, None),
                ("out", out, sockets.UPSTREAM_BYTES, self._hwm_msgs),
                ("relay", relay, sockets.UPSTREAM_BYTES, self._hwm_msgs),
            )
        }
        self.beacons = {leg: sockets.beacon(self._context, everything=leg == "relay") for leg in ("ingress", "relay")}
        sockets.connect(self.beacons["ingress"], private["ingress"])
        sockets.connect(self.beacons["relay"], private["relay-in"])
        self.ear = sockets.xsub(self._context, recv_hwm=0)
        for inner in (guest_in, self.ear):
            sockets.connect(inner, private["out"])
            sockets.connect(inner, private["relay"])

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

    # ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        for stream in self._streams:
            stream.start()

    def admit(self) -> None:
        """Let publishers in."""
        self._leg.rewire(lambda: sockets.bind(self._pull, self._endpoints.ingress, max_part_bytes=self._max_part_bytes))

    def link(self, endpoint: str) -> None:
        """Connect the relay to another proxy's link. zmq.ZMQError for an invalid address."""
        self._relay.rewire(lambda: self._relay_in.connect(endpoint))

    def unlink(self, endpoint: str) -> None:
        """Disconnect from it. zmq.ZMQError when it was not connected."""
        self._relay.rewire(lambda: self._relay_in.disconnect(endpoint))

    def scout(self, endpoint: str) -> sockets.Socket:
        """Return a connection to another proxy's link, beside the relay's; the caller closes it."""
        scout = sockets.xsub(self._context, recv_hwm=0)
        sockets.connect(scout, endpoint)
        return scout

    def subscribe_relay(self, prefixes: Iterable[bytes]) -> None:
        """Have the relay subscribe again to what a stray cancel took away. Cost: 0.2 ms, however many."""
        self._relay.rewire(lambda: [self._relay_in.send(b"\x01" + prefix) for prefix in prefixes])

    def guard_ingress(self) -> None:
        """Have the ingress subscribe to everything again, `GUARD` times."""
        self._ingress.rewire(self._guard)

    def counts(self) -> dict[str, Counts]:
        """Parts and bytes of each stream: `leg`, `ingress`, `relay`, `guest`."""
        return {stream.name: stream.counts() for stream in self._streams}

    def stop(self, linger_ms: int) -> None:
        """End the streams and close everything; what is queued for live connections has so long to leave."""
        # A stream that does not end has sockets that nobody else may close: libzmq would abort the process.
        ended = [stream.stop() for stream in self._streams]
        if all(ended):
            self._context.destroy(linger=linger_ms)

    def abandon(self) -> None:
        """Close everything; only before `start`."""
        self._context.destroy(linger=0)

    def _guard(self) -> None:
        for _ in range(GUARD):
            self._ingress_in.send(b"\x01")


def _answers(path: str) -> bool:
    with plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path) == 0

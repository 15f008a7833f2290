"""A proxy's sockets, and the switch between them, which runs in a thread of its own.

     publishers ──► in     PULL ┌────────┐ out   XPUB ──► nodes
                                │ switch │ link  XPUB ──► relays of the other proxies
     other proxies ──► relay XSUB└───┬────┘ guest XPUB ──► any plain SUB socket
                                     │ control, a pair
                              the control thread

What comes by the relay leaves only to nodes and guests: no loops, and one copy for each link. `fabric.core.switch` is
the loop; this module makes its sockets, and hands on what the control thread wants.
"""

from __future__ import annotations

import os
import signal
import socket as plain_socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import zmq

from fabric import sockets
from fabric.core import COMPILED, steering
from fabric.core.retained import MAX_BYTES, MAX_TOPICS
from fabric.core.steering import Counts, Place
from fabric.endpoints import Endpoints
from fabric.errors import TransportError
from fabric.proxy.guard import Guard

if COMPILED:
    from fabric.core._retained import Table
    from fabric.core._switch import Switch
else:
    from fabric.core.retained import Table
    from fabric.core.switch import Switch

SPIN_US = 100
"""How long the switch looks for more before it sleeps, where that has paid lately; on a machine with one core never."""


class Plumbing:
    """Opened when it is made; between `start` and `stop` the switch runs, in its thread.

    Everything is for the control thread alone; before `start`, for the thread that made it. From `start` on only the
    switch's thread touches the six sockets, but for this end of the control pair. What is commanded happens soon, in
    order; what libzmq refuses comes back as a report.

    own, news:       see `fabric.core.switch.Switch`; the relay subscribes to both
    retained:        topics and bytes of values that are kept at most, see `fabric.core.retained.Table`
    heard:           what else the relay subscribes to
    max_body_bytes:  largest body that publishers may send
    max_part_bytes:  largest part that is read from them at all: a larger one ends its connection
    queue_bytes:     while twice as much waits for slow readers, nothing is read of publishers
    stalled_ms:      who takes nothing of what waits at `out` for longer is let go by the system; 0: never; TCP only
    guard:           keys, and who may do what; None: anybody may do everything
    on_death:        called, from the switch's thread, with why it ended by itself
    errors:          TransportError for an address that cannot be bound; then nothing is left open

    control:      where reports come, see `reports`
    link_events:  monitor of the connections to other proxies' links
    refusals:     monitors of who was turned away
    """

    def __init__(
        self,
        endpoints: Endpoints,
        *,
        own: bytes,
        news: bytes,
        hwm_msgs: int,
        max_body_bytes: int,
        max_part_bytes: int,
        on_death: Callable[[str], None],
        queue_bytes: int = 0,
        stalled_ms: int = 0,
        guard: Guard | None = None,
        retained: tuple[int, int] = (MAX_TOPICS, MAX_BYTES),
        heard: Iterable[bytes] = (),
    ) -> None:
        self._queue_bytes, self._stalled_ms = queue_bytes, stalled_ms
        self._endpoints, self._guard = endpoints, guard
        self._curve = guard.curve if guard is not None else None
        """What is shown where this proxy connects."""
        # One fewer to be woken on the way of an ack, where there are no cores for two.
        self._context = sockets.new_context(io_threads=2 if (os.cpu_count() or 1) > 2 else 1)
        self._on_death = on_death
        self._end_asked = False
        """`stop` was called. Written by the control thread, read by the switch's when it ends."""
        self._thread = threading.Thread(target=self._run, name="fabric-switch", daemon=True)
        try:
            self._open(own, news, hwm_msgs, max_body_bytes, max_part_bytes, Table(*retained))
            self.subscribe_relay((own, news, *heard))
        except BaseException:
            self.abandon()
            raise

    def _open(
        self, own: bytes, news: bytes, hwm_msgs: int, max_body_bytes: int, max_part_bytes: int, retained: Table
    ) -> None:
        self._reserve(self._endpoints.ingress)
        context, secret = self._context, None
        if self._guard is not None:
            self._guard.open(context)
            secret = self._guard.secret
        inner, self.control = sockets.pair(context, "inproc://control")
        relay = sockets.with_keys(sockets.relay_in(context), self._curve)
        pull = sockets.guarded(sockets.pull(context, recv_hwm=hwm_msgs), secret, "in")
        out, link, guest = (sockets.xpub(context, send_hwm=hwm_msgs) for _ in range(3))
        for socket, door in ((out, "out"), (link, "link"), (guest, "guest")):
            sockets.guarded(socket, secret, door, by_hand=socket is not link)
        sockets.limit(pull, max_part_bytes=max_part_bytes)
        for socket, endpoint in (
            (out, self._endpoints.out),
            (link, self._endpoints.link),
            (guest, self._endpoints.guest),
        ):
            hwm = {link: sockets.LINK_HWM_MSGS, guest: min(hwm_msgs, sockets.GUEST_HWM_MSGS)}.get(socket, hwm_msgs)
            limit = sockets.UPSTREAM_BYTES
            # Links have heartbeats.
            stalled_ms = {out: self._stalled_ms, guest: sockets.GUEST_STALLED_MS}.get(socket, 0)
            sockets.bind(
                socket, endpoint, max_part_bytes=limit, send_hwm=hwm, link=socket is link, stalled_ms=stalled_ms
            )
        self.link_events = sockets.monitor(context, relay, sockets.MONITOR_EVENTS | sockets.FAILED_EVENTS)
        self.refusals = [sockets.monitor(context, socket, sockets.FAILED_EVENTS) for socket in (pull, out, link, guest)]
        self._switch = Switch(
            (inner, pull, out, relay, link, guest),
            own=own,
            news=news,
            max_body_bytes=max_body_bytes,
            spin_us=SPIN_US if _cores() > 1 else 0,
            gate=self._guard.gate if self._guard is not None else None,
            pause_bytes=2 * self._queue_bytes,
            retained=retained,
        )
        self.queued = self._switch.queued
        """Returns the bytes that wait for slow readers. From any thread."""
        self._command = sockets.fast_send(self.control)

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
        self._thread.start()

    def reports(self) -> Iterable[bytes]:
        """Yield what the switch has told, see `fabric.core.steering`; a few thousand at most."""
        for report in sockets.read_waiting(self.control):
            self._switch.heard += 1
            self._switch.heard_bytes += len(report)
            yield report

    def admit(self) -> None:
        """Let publishers in."""
        self._command(steering.bind(Place.PULL, self._endpoints.ingress))

    def turn_away(self) -> None:
        """Take nothing more of publishers. What they send now is not confirmed: they send it again elsewhere."""
        self._command(steering.turn_away(Place.PULL))

    def link(self, endpoint: str, key: str | None = None) -> None:
        """Connect the relay to another proxy's link. key: what it is to show; None: what was expected before"""
        if key is not None:
            self._command(steering.expect_key(Place.RELAY, key))
        self._command(steering.connect(Place.RELAY, endpoint))

    def unlink(self, endpoint: str) -> None:
        """Disconnect from it."""
        self._command(steering.disconnect(Place.RELAY, endpoint))

    def scout(self, endpoints: Iterable[str], key: str | None = None) -> sockets.Socket:
        """Return connections to other proxies' links, beside the relay's; the caller closes it. key: see `link`"""
        curve = self._curve._replace(server=key) if self._curve is not None and key is not None else self._curve
        scout = sockets.with_keys(sockets.xsub(self._context, recv_hwm=0), curve)
        for endpoint in endpoints:
            sockets.connect(scout, endpoint)
        return scout

    def subscribe_relay(self, prefixes: Iterable[bytes]) -> None:
        """Have the relay subscribe; XSUB counts, so a prefix may be held by nodes as well."""
        for prefix in prefixes:
            self.send(Place.RELAY, b"\x01" + prefix)

    def cancel_relay(self, prefix: bytes) -> None:
        """Take back one `subscribe_relay`."""
        self.send(Place.RELAY, b"\x00" + prefix)

    def say(self, part: bytes) -> None:
        """Send a part beside what publishers send, to nodes, links and guests."""
        self._command(steering.say(part))

    def send(self, place: Place, part: bytes) -> None:
        """Send a part at one place only."""
        self._command(steering.send(place, part))

    def answer_with(self, place: Place, head: bytes, tail: bytes) -> None:
        """How plain markers are answered from now on, see `steering.answer_with`."""
        self._command(steering.answer_with(place, head, tail))

    def sweep(self) -> None:
        """Have the gate forget those who have left."""
        self._command(steering.SWEEP)

    def age(self) -> None:
        """Have the switch see to the retained values whose time is over."""
        self._command(steering.AGE)

    def claim_all(self, address: bytes) -> None:
        """Tell another proxy the stamps of all retained values, see `steering.claim_all`."""
        self._command(steering.claim_all(address))

    def hand_over(self, address: bytes, back: bytes) -> None:
        """Give another proxy all retained values, see `steering.hand_over`."""
        self._command(steering.hand_over(address, back))

    def take_rules(self) -> None:
        """Judge by what the gate holds now."""
        self._command(steering.RULES)

    def echo(self, word: bytes) -> None:
        """Have the switch report this word: it is alive."""
        self._command(steering.echo(word))

    def counts(self) -> Counts:
        """What has passed since the start. From any thread."""
        return self._switch.counts()

    def stop(self, linger_ms: int) -> None:
        """End the switch and close everything; what is queued for live connections has so long to leave."""
        self._end_asked = True
        if self._thread.is_alive():
            self._command(steering.END)
            self._thread.join(10)
        # A thread that does not end has sockets that nobody else may close: libzmq would abort the process.
        if not self._thread.is_alive():
            self.abandon(linger_ms)

    def abandon(self, linger_ms: int = 0) -> None:
        """Close everything; only before `start`, or when the switch has ended."""
        if self._guard is not None:
            self._guard.close()  # its socket is its thread's
        self._context.destroy(linger=linger_ms)

    def _run(self) -> None:
        # An interrupted call would return: signals are for the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        number = self._switch.run()
        if not self._end_asked:
            self._on_death(f"the switch ended: {zmq.strerror(number)}" if number else "the switch ended unasked")


def _cores() -> int:
    """How many this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _answers(path: str) -> bool:
    with plain_socket.socket(plain_socket.AF_UNIX, plain_socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(path) == 0

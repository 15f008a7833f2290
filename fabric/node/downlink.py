"""The way from a proxy to its node: one XSUB at the proxy's out, and the bell. Only for the I/O thread.

Each connection puts another token into its markers: an answer that came by another connection says nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable

import zmq

from fabric import sockets
from fabric.endpoints import Endpoints
from fabric.protocol.markers import encode_marker, encode_rights_wanted, node_prefix

TICK_MS = 10


class Downlink:
    """The receiving half of one node.

    token:  the node's; the markers of the n-th connection carry `<token>-n`
    curve:  keys to show; see `show`
    bell:   endpoint of the bell, see `fabric.node.node`
    """

    def __init__(
        self,
        context: sockets.Context,
        token: str,
        serial: int,
        bell: str,
        *,
        hwm_msgs: int,
        curve: sockets.Curve | None = None,
    ) -> None:
        self._of_node = token
        """Token of the node."""
        self.token = f"{token}-{serial}"
        """In its markers: answers to another connection's say nothing of this one. Never changes."""
        self.base: str | None = None
        """Where it is connected; None: nowhere. Only `attach` and `detach` change it."""
        self.socket = sockets.xsub(context, recv_hwm=hwm_msgs)
        self.socket.rcvtimeo = TICK_MS
        self._has_keys = curve is not None
        """Never changes."""
        self._send = sockets.fast_send(self.socket)
        """`socket.send` in C."""
        self.is_refused = False
        """A connection to `base` could not be made since it was attached. Set by `ended`, cleared by `attach`."""
        self._waiting: list[bytes] = []
        """Subscriptions and cancels that were not sent yet, in order; `flush` empties it."""
        self.poll = sockets.something_waits(self.socket)
        """Whether something waits to be read."""
        try:
            self.show(curve)
            events = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED | sockets.FAILED_EVENTS
            self.monitor = sockets.monitor(context, self.socket, events)
            """Events of `socket`, read by `ended`."""
        except BaseException:
            self.socket.close(linger=0)
            raise
        sockets.connect(self.socket, bell)
        self.own_prefix = node_prefix(token)
        """Brings everything that is addressed to this node, over whichever connection. Never changes."""
        self.socket.send(b"\x01" + self.own_prefix)

    def attach(self, base: str) -> None:
        """Connect; XSUB sends what is subscribed on every new connection, and again after each reconnect."""
        self.ended()  # what is told now is of the base before
        sockets.connect(self.socket, Endpoints.parse(base).out)
        self.base, self.is_refused = base, False

    def attach_again(self) -> None:
        """Connect to the same address, with the keys that it shows now."""
        base = self.base
        if base is not None:
            self.detach()
            self.attach(base)

    def detach(self) -> None:
        """Disconnect. What was not read yet is gone: read first."""
        if self.base is not None:
            sockets.disconnect(self.socket, Endpoints.parse(self.base).out)
            self.base = None

    def show(self, curve: sockets.Curve | None) -> None:
        """Show these keys when it next connects."""
        sockets.with_keys(self.socket, curve)

    def ended(self) -> int | None:
        """Return the event by which the connection ended since the last call; None: it did not.

        What broke XSUB makes again by itself; what was refused, one of `sockets.FAILED_EVENTS`, is for `attach`.
        """
        found = [event for event, _ in sockets.events_of(self.monitor)]
        self.is_refused = self.is_refused or zmq.EVENT_CONNECT_RETRIED in found
        events = [event for event in found if event != zmq.EVENT_CONNECT_RETRIED]
        refused = [event for event in events if event & sockets.FAILED_EVENTS]
        return refused[-1] if refused else events[-1] if events else None

    def ask_rights(self) -> None:
        """Ask what this node may do."""
        self._waiting += self._said(encode_rights_wanted(self._of_node))
        self.flush()

    def change(self, subscribe: Iterable[bytes], cancel: Iterable[bytes]) -> None:
        """Subscribe to prefixes, then cancel others: what both cover is never uncovered. Goes out with `flush`."""
        self._waiting += [b"\x01" + prefix for prefix in subscribe]
        self._waiting += [b"\x00" + prefix for prefix in cancel]

    def mark(self, nonce: bytes, claims: Iterable[bytes] = (), wanted: Iterable[bytes] | None = None) -> None:
        """Send a marker behind all subscriptions before it. `claims`: what the proxy gave up, and is held here.
        `wanted`: prefixes of the retained values that are to come in front of its answers; None: none are.

        It leaves together with them: at each place on the way of an ack a thread is woken once instead of twice.
        """
        self._waiting += self._said(encode_marker(self.token, nonce, None, claims, wanted))
        self.flush()

    def _said(self, control: bytes) -> list[bytes]:
        """With keys no part may come upstream that is no subscription, see `fabric.core.gate`: this one is cancelled
        at once.
        """
        return [b"\x01" + control, b"\x00" + control] if self._has_keys else [control]

    def flush(self) -> None:
        """Send what `change` has left waiting."""
        waiting, self._waiting = self._waiting, []
        for part in waiting:
            self._send(part)

    def close(self) -> None:
        self.socket.disable_monitor()
        self.socket.close(linger=0)
        self.monitor.close()

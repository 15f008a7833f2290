"""A proxy with keys proves that its doors are closed: from outside, as a stranger would try them.

At each door three are turned away: one with a key that nobody has, one with the proxy's key, which links and does
nothing else (at `link`: one without the role), and one without keys. And one is let in: the proxy's key at `link`. So
a handler that is missing, or hangs, or a socket that was made without keys, is noticed. About 30 ms, and as long as
`TIMEOUT_S` when something is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import zmq

from fabric import sockets
from fabric.identity.keys import Keys
from fabric.sockets import Curve

TIMEOUT_S = 3.0
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | sockets.FAILED_EVENTS


def find_open_door(doors: Mapping[str, str], keys: Keys, stranger: Curve) -> str | None:
    """Return what is wrong; None when every door is closed to whom it should be.

    doors:    endpoints to connect to, by name: `out`, `link`, `guest`, and `in` once it is bound
    keys:     of the proxy
    stranger: a key that nobody has
    """
    with ExitStack() as opened:
        context = sockets.new_context()
        opened.callback(context.term)
        tries = {}
        for door, who, curve, admitted in _tries(doors, keys, stranger):
            socket = sockets.with_keys(_client(context, door), curve)
            opened.callback(socket.close, 0)
            monitor = sockets.monitor(context, socket, _EVENTS)
            opened.callback(monitor.close)
            opened.callback(socket.disable_monitor)
            sockets.connect(socket, doors[door])
            tries[monitor] = (door, who, admitted)
        return _judge(tries)


def _tries(doors: Mapping[str, str], keys: Keys, stranger: Curve) -> Iterator[tuple[str, str, Curve | None, bool]]:
    own = Curve(keys.shown, keys.public, keys.secret)
    for door in doors:
        yield door, "a stranger's key", stranger, False
        yield door, "a client without keys", None, False
        yield door, "the own key", own, door == "link"


def _client(context: sockets.Context, door: str) -> sockets.Socket:
    if door == "in":
        return sockets.push(context, send_hwm=1, timeout_ms=0)
    return sockets.xsub(context, recv_hwm=1)


def _judge(tries: dict[sockets.Socket, tuple[str, str, bool]]) -> str | None:
    end = time.monotonic() + TIMEOUT_S
    poller = zmq.Poller()
    for monitor in tries:
        poller.register(monitor, zmq.POLLIN)
    waiting = dict(tries)
    while waiting:
        rest = end - time.monotonic()
        found = dict(poller.poll(max(0, int(rest * 1000)))) if rest > 0 else {}
        if not found:
            door, who, _ = next(iter(waiting.values()))
            return f"the door `{door}` did not say yes or no to {who} within {TIMEOUT_S:g} s"
        for monitor in found:
            for event, _ in sockets.events_of(monitor):
                door, who, admitted = tries[monitor]
                if (event == zmq.EVENT_HANDSHAKE_SUCCEEDED) != admitted:
                    return f"the door `{door}` {'refuses' if admitted else 'admits'} {who}"
                if waiting.pop(monitor, None):
                    poller.unregister(monitor)
    return None

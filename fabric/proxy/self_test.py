"""A proxy with keys proves that its doors are closed: from outside, as a stranger would try them.

At each door one with a key that nobody has is turned away, and one without keys. The proxy's own key is let in where
its roles enter, which is at `link`, and nowhere else. So a handler that is missing, or hangs, or a socket that was made
without keys, or with others, is noticed. About 30 ms, and as long as `TIMEOUT_S` when something is wrong.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple

import zmq

from fabric import sockets
from fabric.identity.keys import Keys
from fabric.sockets import Curve

TIMEOUT_S = 3.0
TEST_S = 60.0
"""How often a proxy tries its doors."""
_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | sockets.FAILED_EVENTS


class Finding(NamedTuple):
    """What is wrong, in words. `is_open`: somebody was let in; else a door does not answer, or not as it should."""

    why: str
    is_open: bool


class _Try(NamedTuple):
    """Somebody at a door. `who`: in words; `curve`: None: no keys are shown; `admitted`: as it should be."""

    door: str
    who: str
    curve: Curve | None
    admitted: bool


class SelfTest:
    """The tries of one proxy: one when it begins, and one each `TEST_S` seconds, in a thread. For its control thread.

    doors:    endpoints to connect to, by name
    keys:     of the proxy
    stranger: a key that nobody has
    enters:   gives the doors at which the proxy's own key is let in, by the rules in force; any thread
    """

    def __init__(
        self, doors: Mapping[str, str], keys: Keys, stranger: Curve, enters: Callable[[], Collection[str]]
    ) -> None:
        self._doors, self._keys, self._stranger, self._enters = doors, keys, stranger, enters
        self._next = 0.0
        """When the next one is due, monotonic."""
        self._thread: threading.Thread | None = None
        """Of the last one; None before the first."""
        self._found: deque[Finding] = deque()
        """What the last ones found; the thread appends."""

    def run(self, names: Collection[str]) -> Finding | None:
        """Try some doors, and wait for what is found."""
        enters = self._enters()
        doors = {name: self._doors[name] for name in names}
        found = find_open_door(doors, self._keys, self._stranger, enters)
        return found if enters == self._enters() else None  # new rules in between: it says nothing

    def tick(self, now: float) -> Finding | None:
        """Begin a try of all doors when one is due; return what one has found since."""
        if now >= self._next:
            self._next = now + TEST_S
            self._thread = threading.Thread(target=self._try_all, name="fabric-self-test", daemon=True)
            self._thread.start()
        return self._found.popleft() if self._found else None

    def close(self) -> None:
        """Wait for the one that runs: a few seconds at most."""
        if self._thread is not None:
            self._thread.join()

    def _try_all(self) -> None:
        found = self.run(tuple(self._doors))
        if found is not None:
            self._found.append(found)


def find_open_door(
    doors: Mapping[str, str], keys: Keys, stranger: Curve, enters: Collection[str] = ("link",)
) -> Finding | None:
    """Return what is wrong; None when every door is closed to whom it should be.

    doors:    endpoints to connect to, by name: `out`, `link`, `guest`, and `in` once it is bound
    keys:     of the proxy
    stranger: a key that nobody has
    enters:   the doors at which the proxy's own key is let in
    """
    with ExitStack() as opened:
        context = sockets.new_context()
        opened.callback(context.term)
        tries = {}
        for each in _tries(doors, keys, stranger, enters):
            socket = sockets.with_keys(_client(context, each.door), each.curve)
            opened.callback(socket.close, 0)
            monitor = sockets.monitor(context, socket, _EVENTS)
            opened.callback(monitor.close)
            opened.callback(socket.disable_monitor)
            sockets.connect(socket, doors[each.door])
            tries[monitor] = each
        return _judge(tries)


def _tries(doors: Mapping[str, str], keys: Keys, stranger: Curve, enters: Collection[str]) -> Iterator[_Try]:
    own = Curve(keys.shown, keys.public, keys.secret)
    for door in doors:
        yield _Try(door, "a stranger's key", stranger, False)
        yield _Try(door, "a client without keys", None, False)
        yield _Try(door, "the own key", own, door in enters)


def _client(context: sockets.Context, door: str) -> sockets.Socket:
    if door == "in":
        return sockets.push(context, send_hwm=1, timeout_ms=0)
    return sockets.xsub(context, recv_hwm=1)


def _judge(tries: dict[sockets.Socket, _Try]) -> Finding | None:
    """Return at once that somebody is let in; anything else only when all have been told."""
    end = time.monotonic() + TIMEOUT_S
    poller = zmq.Poller()
    for monitor in tries:
        poller.register(monitor, zmq.POLLIN)
    waiting = dict(tries)
    first: Finding | None = None
    while waiting:
        rest = end - time.monotonic()
        found = dict(poller.poll(max(0, int(rest * 1000)))) if rest > 0 else {}
        if not found:
            silent = next(iter(waiting.values()))
            why = f"the door `{silent.door}` did not say yes or no to {silent.who} in {TIMEOUT_S:g} s"
            return first or Finding(why, False)
        for monitor in found:
            for event, _ in sockets.events_of(monitor):
                wrong = _what_is_wrong(tries[monitor], event)
                if wrong is not None and wrong.is_open:
                    return wrong
                first = first or wrong
                if waiting.pop(monitor, None):
                    poller.unregister(monitor)
    return first


def _what_is_wrong(each: _Try, event: int) -> Finding | None:
    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
        return None if each.admitted else Finding(f"the door `{each.door}` admits {each.who}", True)
    if each.admitted:
        return Finding(f"the door `{each.door}` refuses {each.who}", False)
    if each.curve is not None and event != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        # By its handler, that would say.
        return Finding(f"the door `{each.door}` hangs up on {each.who}: it shows no key of this mesh", False)
    return None

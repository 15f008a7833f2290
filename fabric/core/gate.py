"""The gate of a switch with keys: who sent a part, what of it may enter, and what a subscription brings.

A connection is known by its *user id*, which `fabric.identity.doorkeeper` gave it: 16 hexadecimal digits that no other
connection has, then the public key. libzmq puts it on every part, subscription and cancel, but not on the cancels that
it makes itself when a peer leaves.

What publishers send is judged by the switch, compiled, with the patterns of `table`; subscriptions are judged here, in
the switch's thread, before libzmq holds them (`XPUB_MANUAL`): a few us each, as they cost at the control thread anyway.

With `XPUB_MANUAL` libzmq holds a prefix for the peer *that spoke last*, and gets that wrong: a part that is neither a
subscription nor a cancel takes the turn of the next one, so that what A sends has C hold what was granted to B. So at
these sockets nobody may send such a part. A node with keys sends its control parts as subscriptions, which it cancels
at once (`entry.is_control`). Who sends one all the same is cut; and until nothing waits there any more it is *unsure*
whose the next subscriptions are: nothing is held for them, and their connections are cut, too: their nodes make them
again, and subscribe to all that they hold. The key of who did that is turned away for a while.

source: `xpub_t::xread_activated` and `xrecv` of libzmq 4.3.5
"""

from __future__ import annotations

import contextlib
import os
import socket as plain_socket
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fabric.core.steering import Place
from fabric.rights import Permissions

SERIAL_CHARS = 16
MAX_HELD_BYTES = 16 * 1024 * 1024
"""Of prefixes of one connection, with 64 for each: 250,000 of a node with the largest budget. Who sends more is cut."""
_EACH_BYTES = 64
MAX_DENIED = 1_000
"""Denials that wait for the control thread; beyond, they are counted only."""
Patterns = tuple[bytes, ...]
_PUBLISHER_AT = 3
"""Where a publisher's id stands in a body: behind the head of the array, the version, and the head of a u64."""


class Denied(NamedTuple):
    """door: `in`, `out` or `guest`; key: of whom; act: `publish`, `subscribe` or `control`; what: a topic, a prefix, or
    the beginning of a part
    """

    door: str
    key: str
    act: str
    what: bytes


class Grant(NamedTuple):
    """What to do with a subscription or a cancel.

    prefixes: that libzmq is to hold, or to let go, for this peer
    passes:   it is handed on to other proxies: the first of its prefix, or the last
    refused:  nothing is held
    """

    prefixes: tuple[bytes, ...]
    passes: bool
    refused: bool = False


class Connection(NamedTuple):
    """One that has sent something: where, its user id, and the inode of its socket, which no other one has."""

    place: Place
    user: bytes
    inode: int

    @property
    def key(self) -> str:
        """Of whose it is."""
        return _key_of(self.user)


_NOTHING = Grant((), False)
_REFUSED = Grant((), False, True)


class Gate:
    """The gate of one switch. `load`, `take_denied` and `connections` are for the control thread, the rest for the
    switch's.

    observe: let everything in, and only note what would be refused
    """

    def __init__(self, permissions: Mapping[str, Permissions], *, observe: bool = False) -> None:
        self.observe = observe
        """Never changes."""
        self._permissions = permissions
        """By public key; who is not in it may do nothing. Replaced as a whole, by `load`."""
        self._held: dict[tuple[Place, int], tuple[bytes, dict[bytes, tuple[bytes, ...]]]] = {}
        """By place and descriptor: the user id of who has it, what it subscribed to, and what it was granted for that.
        A descriptor that another connection shows was given back before."""
        self._bytes: Counter[tuple[Place, int]] = Counter()
        """Of the prefixes in each of `_held`."""
        self._counts: Counter[tuple[Place, bytes]] = Counter()
        """How many connections hold a prefix: only the first and the last are passed on."""
        self._refused: Counter[tuple[Place, bytes]] = Counter()
        """Subscriptions that were refused and not cancelled since. When a peer leaves libzmq cancels them, too."""
        self._denied: deque[Denied] = deque(maxlen=MAX_DENIED)
        """What was refused since `take_denied` was last called. Appended by the switch's thread."""
        self._connections: dict[int, Connection] = {}
        """By descriptor: who was last met there."""

    # ── for the control thread ───────────────────────────────────────────────────────────────────────────────────

    def load(self, permissions: Mapping[str, Permissions]) -> None:
        """Judge by these from now on. The switch has to be told, too: see `steering.RULES`."""
        self._permissions = permissions

    def overreaching(self) -> list[int]:
        """Return the descriptors of those who hold what they may not subscribe to any more. Cost: O(prefixes)."""
        found = []
        for (_, descriptor), (user, held) in list(self._held.items()):
            met = self._connections.get(descriptor)
            if met is None or met.user != user:
                continue  # it has gone, and another one has its descriptor
            permissions = self._of_user(user)
            if any(each and (permissions is None or permissions.granted(p) != each) for p, each in list(held.items())):
                found.append(descriptor)
        return found

    def take_denied(self) -> list[Denied]:
        """Return what was refused since the last call, at most `MAX_DENIED`."""
        return [self._denied.popleft() for _ in range(len(self._denied))]

    def connections(self) -> dict[int, Connection]:
        """Return who was met at which descriptor. It may have gone since: compare the inode."""
        return dict(self._connections)

    def is_held(self, place: Place, prefix: bytes) -> bool:
        """Whether anybody holds exactly this prefix there."""
        return self._counts.get((place, prefix), 0) > 0

    def sweep(self) -> None:
        """Forget those who have left. For the switch's thread, which is told to by `steering.SWEEP`."""
        for descriptor, met in list(self._connections.items()):
            if not _is_open(descriptor, met.inode):
                del self._connections[descriptor]
        for place, descriptor in list(self._held):
            met_there = self._connections.get(descriptor)
            if met_there is None or met_there.place is not place:
                del self._held[place, descriptor]
                self._bytes.pop((place, descriptor), None)

    # ── publishers ───────────────────────────────────────────────────────────────────────────────────────────────

    def table(self) -> list[tuple[bytes, int, Patterns, Patterns, Patterns, Patterns]]:
        """Return, for each key, its tag as a number, and the patterns that allow and that deny to publish, and to
        subscribe: for what somebody lost and asks for, see `rights.Permissions.may_publish`."""
        return [(key.encode(), int(each.tag, 16), *each.publish, *each.hold) for key, each in self._permissions.items()]

    def meet(self, place: Place, descriptor: int, user: bytes) -> bytes:
        """A connection shows itself at a place for the first time; return its key."""
        key = user[SERIAL_CHARS:]
        try:
            inode = os.fstat(descriptor).st_ino
        except OSError:  # gone already
            return key
        self._connections[descriptor] = Connection(place, user, inode)
        return key

    def refusal(self, user: bytes, topic: bytes, body: bytes) -> str | None:
        """Return why a publisher's part may not enter, `not_allowed` or `forged`; None when it may.

        This is what the compiled switch does by `table`.
        """
        kind = _refusal(self._of_user(user), topic, body)
        if kind is not None:
            self.denied(Place.PULL, user, topic)
        return None if self.observe else kind

    def denied(self, place: Place, user: bytes, what: bytes) -> None:
        """Note for the control thread what was refused."""
        door, act = ("in", "publish") if place is Place.PULL else (place.name.lower(), "subscribe")
        self._denied.append(Denied(door, _key_of(user), act, what[:300]))

    # ── subscribers ──────────────────────────────────────────────────────────────────────────────────────────────

    def subscribed(self, place: Place, descriptor: int, user: bytes, prefix: bytes) -> Grant:
        """A peer subscribes."""
        held = self._of(place, descriptor, user)
        if prefix in held:
            return _NOTHING  # twice; libzmq counts it once
        if not self._has_room(place, descriptor, len(prefix)):
            self.denied(place, user, prefix)
            held[prefix] = ()
            self._refused[place, prefix] += 1
            return _REFUSED
        permissions = self._of_user(user)
        granted = permissions.granted(prefix) if permissions is not None else ()
        if not granted:
            self.denied(place, user, prefix)
            granted = (prefix,) if self.observe else ()
        held[prefix] = granted
        if not granted:
            self._refused[place, prefix] += 1
            return _REFUSED
        self._counts[place, prefix] += 1
        return Grant(granted, self._counts[place, prefix] == 1)

    def wanted(self, user: bytes, prefixes: Sequence[bytes]) -> list[bytes]:
        """A node wants what is retained: return of which prefixes it may have that, as if it subscribed to them."""
        permissions = self._of_user(user)
        found: list[bytes] = []
        for prefix in prefixes:
            granted = permissions.granted(prefix) if permissions is not None else ()
            if not granted:
                self.denied(Place.OUT, user, prefix)
            found += granted or ((prefix,) if self.observe else ())
        return found

    def cancelled(self, place: Place, descriptor: int, user: bytes, prefix: bytes) -> Grant:
        """A peer cancels. What it does not hold is nobody's loss."""
        held = self._of(place, descriptor, user)
        granted = held.pop(prefix, None)
        if granted is None:
            return _NOTHING
        self._bytes[place, descriptor] -= len(prefix) + _EACH_BYTES
        if not granted:
            self._forget_refused(place, prefix)
            return _NOTHING
        everything = held.get(b"", ())  # by its first bytes; each of them may be held for itself, too
        let_go = tuple(each for each in granted if not held.get(each) and each not in everything)
        return Grant(let_go, self._let_go(place, prefix))

    def left(self, place: Place, prefix: bytes) -> bool:
        """A peer that subscribed to `prefix` has left, nobody says which; return whether that passes on.

        Refused subscriptions first: so what is held is never let go too early, at worst too late.
        """
        if self._refused[place, prefix]:
            self._forget_refused(place, prefix)
            return False
        return self._let_go(place, prefix)

    def unsure(self, place: Place, descriptor: int, user: bytes, prefix: bytes, *, subscribed: bool) -> bool:
        """A peer subscribes or cancels while libzmq may take it for another one: it is cut, and this changes nothing
        for libzmq. Return whether it passes on.
        """
        if not subscribed:
            passes = self.cancelled(place, descriptor, user, prefix).passes
        else:
            held, passes = self._of(place, descriptor, user), False
            if prefix in held:
                return False  # twice: nothing was to be done
            self._bytes[place, descriptor] += len(prefix) + _EACH_BYTES
            held[prefix] = ()
            self._refused[place, prefix] += 1
        self._cut(descriptor)
        return passes

    def spoke(self, place: Place, descriptor: int, user: bytes, part: bytes) -> None:
        """A peer sent what nobody may send there: it is cut."""
        self._of(place, descriptor, user)
        self._denied.append(Denied(place.name.lower(), _key_of(user), "control", part[:300]))
        self._cut(descriptor)

    def _cut(self, descriptor: int) -> None:
        met = self._connections.get(descriptor)
        if met is not None:
            shut(descriptor, met.inode)

    def _has_room(self, place: Place, descriptor: int, size: int) -> bool:
        """Count what this connection sends, for libzmq keeps all of it until it leaves; cut it when it is too much."""
        self._bytes[place, descriptor] += size + _EACH_BYTES
        if self._bytes[place, descriptor] <= MAX_HELD_BYTES:
            return True
        self._cut(descriptor)
        return False

    def _of_user(self, user: bytes) -> Permissions | None:
        return self._permissions.get(_key_of(user))

    def _of(self, place: Place, descriptor: int, user: bytes) -> dict[bytes, tuple[bytes, ...]]:
        owner, held = self._held.get((place, descriptor), (b"", {}))
        if owner != user:
            self.meet(place, descriptor, user)
            owner, held = self._held[place, descriptor] = user, {}
            self._bytes[place, descriptor] = 0
        return held

    def _let_go(self, place: Place, prefix: bytes) -> bool:
        count = self._counts[place, prefix]
        if count > 1:
            self._counts[place, prefix] = count - 1
            return False
        del self._counts[place, prefix]
        return count == 1

    def _forget_refused(self, place: Place, prefix: bytes) -> None:
        self._refused[place, prefix] -= 1
        if not self._refused[place, prefix]:
            del self._refused[place, prefix]


def _is_open(descriptor: int, inode: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == inode
    except OSError:
        return False


def shut(descriptor: int, inode: int) -> bool:
    """Shut one connection down; libzmq sees its end. False: the descriptor is another one's by now."""
    try:
        own = os.dup(descriptor)
    except OSError:
        return False
    if os.fstat(own).st_ino != inode:
        os.close(own)
        return False
    with contextlib.closing(plain_socket.socket(fileno=own)) as connection, contextlib.suppress(OSError):
        connection.shutdown(plain_socket.SHUT_RDWR)  # an error: it has ended by itself
    return True


def _key_of(user: bytes) -> str:
    return user[SERIAL_CHARS:].decode(errors="replace")


def _refusal(permissions: Permissions | None, topic: bytes, body: bytes) -> str | None:
    if permissions is None:
        return "not_allowed"
    if not permissions.may_publish(topic):
        return "not_allowed"
    tag = bytes.fromhex(permissions.tag)
    if body[1:_PUBLISHER_AT] != b"\x01\xcf" or body[_PUBLISHER_AT : _PUBLISHER_AT + len(tag)] != tag:
        return "forged"
    return None

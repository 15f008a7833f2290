"""What a node shows of itself, and what it may do: its keys, its rights as its proxy told them, and refusals.

It reads no clock. Without keys everything is allowed, and nothing is asked. With keys the rights are asked for at each
new connection, again and again until they are told; the first time nothing is subscribed or published before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fabric.identity.keys import Keys
from fabric.identity.rules import mesh_from
from fabric.rights import Permissions, permissions_from, tag_of
from fabric.sockets import Curve

ASK_S = 0.1
"""How often the rights are asked for until they come."""
RETRY_FIRST_S, RETRY_LAST_S = 0.25, 4.0
"""Pause before a proxy that refused this node is tried again, on this clock: libzmq would never, or at once."""


class Credentials:
    """The credentials of one node. Only for its I/O thread, but for `why_not_…`, which any thread may call.

    keys:       None: it shows none
    random_hex: returns so many random bytes as hexadecimal digits
    """

    def __init__(self, keys: Keys | None, random_hex: Callable[[int], str]) -> None:
        self.keys, self._random_hex = keys, random_hex
        self.tag = tag_of(keys.public) if keys is not None else ""
        """What its tokens and its publisher ids begin with; "" without keys."""
        self.permissions: Permissions | None = None
        """As its proxy last told them; None before, and without keys. Replaced as a whole."""
        self._mesh_at = 0
        """Which of the proxies' public keys is expected: while it is changed they have two."""
        self._asks = False
        """Rights are wanted of the present proxy, and were not told yet."""
        self._ask_at = 0.0
        """When they are next asked for."""
        self._retry_s = RETRY_FIRST_S
        """Pause after the next refusal; doubles up to `RETRY_LAST_S`."""
        self.retry_at: float | None = None
        """When the proxy that refused this node is tried again; None: it did not."""
        self.refusal = ""
        """Why the proxy last refused this node; "" once it has told the rights."""
        self.is_known = True
        """False when that was because it does not admit the key. True again once it has told the rights."""

    @property
    def curve(self) -> Curve | None:
        """What sockets show from now on."""
        if self.keys is None:
            return None
        return Curve(self.keys.mesh[self._mesh_at], self.keys.public, self.keys.secret)

    @property
    def knows_two(self) -> bool:
        """Whether proxies may show either of two keys."""
        return self.keys is not None and len(self.keys.mesh) > 1

    @property
    def may_begin(self) -> bool:
        """Whether the rights are known, or none are needed."""
        return self.keys is None or self.permissions is not None

    @property
    def is_waiting(self) -> bool:
        """Whether time has anything to do here."""
        return self._asks or self.retry_at is not None

    def new_token(self) -> str:
        """Return a token: 32 hexadecimal digits, of which the first are the tag."""
        return self.tag + self._random_hex(16 - len(self.tag) // 2)

    def new_publisher(self) -> int:
        """Return a publisher's id, 64 bits, of which the first are the tag."""
        return int(self.new_token()[:16], 16)

    def attached(self, now: float) -> None:
        """There is a new connection: rights are asked for there."""
        self.retry_at = None
        self._asks, self._ask_at = self.keys is not None, now

    def asks(self, now: float) -> bool:
        """Whether the rights are to be asked for now."""
        if not self._asks or now < self._ask_at:
            return False
        self._ask_at = now + ASK_S
        return True

    def rights_heard(self, payload: object) -> bool:
        """The proxy told the rights; return whether they are others than before."""
        found = permissions_from(payload)
        if found is None or found.tag != self.tag or self.keys is None:
            return False
        self._asks, self.refusal, self.is_known, self._retry_s = False, "", True, RETRY_FIRST_S
        mesh = mesh_from(payload)
        if mesh:
            self._know_mesh(mesh)
        before, self.permissions = self.permissions, found
        return found != before

    def refused(self, now: float, why: str, mesh: tuple[str, ...] = (), *, is_known: bool = True) -> None:
        """The proxy did not let this node in. It is tried again, with the other key of the mesh if there are two.

        mesh:     the keys of the proxies, if they are known to have changed
        is_known: False: it does not admit the key
        """
        self.refusal, self.is_known = why, is_known
        if mesh:
            self._know_mesh(mesh)
        self.expect_other()
        self.retry_at = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, RETRY_LAST_S)

    def expect_other(self) -> None:
        """A proxy showed another key than the one expected: the other one is next, if there are two."""
        if self.keys is not None:
            self._mesh_at = (self._mesh_at + 1) % len(self.keys.mesh)

    def _know_mesh(self, mesh: tuple[str, ...]) -> None:
        """These are the keys of proxies; the one in use stays so while it is among them."""
        if self.keys is None:
            return
        present = self.keys.mesh[self._mesh_at]
        self.keys = replace(self.keys, mesh=mesh)
        self._mesh_at = mesh.index(present) if present in mesh else 0

    def why_not_publish(self, topic: str) -> str | None:
        """Return the right that lacks; None when nothing does, or it is not known."""
        permissions = self.permissions
        return None if permissions is None else permissions.why_not_publish(topic)

    def why_not_subscribe(self, topic_filter: str, prefixes: Iterable[bytes]) -> str | None:
        """Return the right that lacks; None when nothing does, or it is not known. prefixes: what it needs upstream"""
        permissions = self.permissions
        return None if permissions is None else permissions.why_not_subscribe(topic_filter, prefixes)

    def why_not_request(self, name: str) -> str | None:
        """Return the right that lacks to ask a service; None when nothing does, or it is not known."""
        permissions = self.permissions
        return None if permissions is None else permissions.why_not_request(name)

    def why_not_serve(self, name: str) -> str | None:
        """Return the right that lacks to serve under a name; None when nothing does, or it is not known."""
        permissions = self.permissions
        return None if permissions is None else permissions.why_not_serve(name)

    def may_hold(self, prefix: bytes) -> bool:
        """Whether a prefix may be held; also when it is not known."""
        permissions = self.permissions
        return permissions is None or permissions.observe or bool(permissions.granted(prefix))

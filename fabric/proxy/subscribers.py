"""Who subscribes at a proxy, as its switch reports it: nodes, guests, and what a stray cancel took from them. Pure.

Nodes subscribe at `out`, other proxies at `link`: the switch has told the relay already. What guests want the relay is
told here, once for all of them. How stray cancels are mended: `fabric.protocol.stray`.
"""

from __future__ import annotations

from collections.abc import Iterable

from fabric.protocol import markers, stray
from fabric.topics import MAX_TOPIC_BYTES

MAX_GUEST_BYTES = 256 * 1024
"""Of the prefixes that the relay holds for guests, with what each costs here beside itself. Each byte of a prefix costs
every other proxy up to 220 bytes."""
_OVERHEAD = 100


class Subscribers:
    """own: prefixes of this proxy, which it claims itself when the relay gives them up."""

    def __init__(self, own: Iterable[bytes]) -> None:
        self._own = frozenset(own)
        """Does not change."""
        self._of_guests = set[bytes]()
        """What guests subscribe to, and the relay for them: a cancel of what none of them holds harms nobody."""
        self._guest_bytes = 0
        """Of these, with what each costs; at most `MAX_GUEST_BYTES`."""
        self.not_relayed = 0
        """Prefixes of guests beyond that: other proxies do not hear of them. It only grows."""
        self._bytes = {"out": 0, "guest": 0}
        """Of prefixes subscribed and not cancelled since, by place. A stray cancel may make them negative."""
        self._given_up = stray.GivenUp()
        """Prefixes that the relay gave up, and did not subscribe to again since."""
        self._claims = set[bytes]()
        """Prefixes that nodes, or this proxy, say they still hold. `mend` empties it."""
        self._nodes = 0
        """Nodes connected, by the prefixes of their own at `out`. A stray cancel may make it negative."""
        self.mended = 0
        """Prefixes that a stray cancel had taken, and that were claimed. It only grows."""

    @property
    def nodes(self) -> int:
        """How many nodes are connected, as far as can be said."""
        return max(self._nodes, 0)

    @property
    def prefix_bytes(self) -> dict[str, int]:
        """Bytes of the prefixes that are subscribed to, by place, as far as can be said."""
        return {place: max(size, 0) for place, size in self._bytes.items()}

    def heard(self, prefix: bytes, *, subscribed: bool) -> None:
        """A node or a proxy subscribed to `prefix`, or cancelled it, and the relay did the same."""
        self._bytes["out"] += len(prefix) if subscribed else -len(prefix)
        if markers.is_addressed(prefix):
            self._nodes += 1 if subscribed else -1
        if subscribed:
            self._given_up.relay_subscribed(prefix)
        elif len(prefix) <= MAX_TOPIC_BYTES + 1 and stray.notice_prefix(prefix) is not None:
            # It may be a stray one: those who still hold the prefix are asked.
            self._given_up.relay_cancelled(prefix)
            if prefix in self._own:
                self._claims.add(prefix)

    def guest_heard(self, prefix: bytes, *, subscribed: bool) -> bool:
        """A guest did; return whether the relay is to do the same. It counts what it is told: once for all guests."""
        self._bytes["guest"] += len(prefix) if subscribed else -len(prefix)
        if subscribed == (prefix in self._of_guests):
            return False
        cost = len(prefix) + _OVERHEAD
        if subscribed and self._guest_bytes + cost > MAX_GUEST_BYTES:
            self.not_relayed += 1
            return False
        if subscribed:
            self._of_guests.add(prefix)
        else:
            self._of_guests.remove(prefix)
        self._guest_bytes += cost if subscribed else -cost
        return True

    def claim(self, prefixes: Iterable[bytes]) -> None:
        """A node still holds these."""
        self._claims.update(prefixes)

    def take_notices(self) -> list[tuple[bytes, bytes]]:
        """Return what was given up since the last call: the topic under which holders are asked, and the prefix."""
        asked = [(stray.notice_prefix(prefix), prefix) for prefix in self._given_up.take_unasked()]
        return [(topic, prefix) for topic, prefix in asked if topic is not None]

    def mend(self) -> list[bytes]:
        """Return what is claimed and was given up: the relay is to subscribe to it again."""
        prefixes = self._given_up.claim(self._claims)
        self._claims.clear()
        self.mended += len(prefixes)
        return prefixes

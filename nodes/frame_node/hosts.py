"""The page hosts and agents that a frame node has agreed on a key with. Used in the server's worker only.

Nothing here is lost with the frame node: an agreement follows from the store's private part and the host's public one,
so every frame node of the store comes to the same, whenever it is asked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from fabric.errors import Busy
from nodes.rules.acquaintance import meeting
from nodes.rules.agreement import agreed, public_of, sealed

MAX_HOSTS = 1_000
NEW_A_SECOND, NEW_AT_ONCE = 10.0, 100.0
"""Agreements that are worked out: 3 ms each, so that strangers who invent hosts take a thirtieth of a core."""


def host_name(public: bytes) -> str:
    """Return a name for the host of this public part: its own as long as it runs, and nobody invents many."""
    return blake2b(public, digest_size=16, person=b"host").hexdigest()


class Hosts:
    """Agreements by the public part of each host. `private`: the store's."""

    def __init__(self, private: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._private, self._clock = private, clock
        self.public = public_of(private)
        """None of the three changes."""
        self._agreed: OrderedDict[bytes, str] = OrderedDict()
        """The keys of at most MAX_HOSTS, the one that was used last is last."""
        self._left, self._left_at = NEW_AT_ONCE, clock()
        """How many more may be worked out, and when that was so."""

    def meet(self, host: bytes) -> dict[str, object] | None:
        """Return the answer to a host that wants to agree on a key; None for what is none. errors: Busy."""
        agreement = self._agreement(host)
        return None if agreement is None else meeting(agreement, self.public, host)

    def key(self, host: bytes, told: str, once: str) -> str | None:
        """Return the key that a host has handed over, sealed. errors: Busy when too many new hosts came."""
        agreement = self._agreement(host)
        return None if agreement is None else sealed(agreement, told, once)

    def _agreement(self, host: bytes) -> str | None:
        found = self._agreed.get(host)
        if found is None:
            self._spend()
            found = agreed(self._private, host)
            if found is None:
                return None
            self._agreed[host] = found
            if len(self._agreed) > MAX_HOSTS:
                self._agreed.popitem(last=False)
        self._agreed.move_to_end(host)
        return found

    def _spend(self) -> None:
        now = self._clock()
        self._left = min(NEW_AT_ONCE, self._left + (now - self._left_at) * NEW_A_SECOND)
        self._left_at = now
        if self._left < 1:
            raise Busy("too many new page hosts and agents at once; try again later", 1.0)
        self._left -= 1

"""What a proxy's control thread does for the retained values, which the switch keeps: see `fabric.core.retained`.

It has other proxies say what they hold, once they are linked, so that of two values of a topic the older one goes; it
has the switch look which ones have run out; and it hands all over when the proxy ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from fabric.core.retained import address_of
from fabric.core.steering import Place
from fabric.protocol import markers
from fabric.proxy.plumbing import Plumbing

AGE_S = 1.0
"""How often those are looked for whose time is over. Who asks is never given one of them in any case."""
HAND_OVER_S = 2.0
"""How long a proxy that ends waits until another one has said that it has all values."""
MAX_DUMPS_A_SECOND = 100
"""Times that others are told all claims."""
_NOW = {"values": "topics", "value_bytes": "bytes"} | {
    each: each for each in ("tombstones", "tombstone_bytes", "tours")
}
_OVER = {"topics": "over_topics", "bytes": "over_bytes"}


class Retaining:
    """The retained values, for the control thread of one proxy."""

    def __init__(self, plumbing: Plumbing, incarnation: str) -> None:
        self._plumbing, self._incarnation = plumbing, incarnation
        self._next_age = 0.0
        """When the switch next looks whose time is over. Monotonic, in seconds."""

    def tick(self, now: float) -> None:
        if now >= self._next_age:
            self._next_age = now + AGE_S
            self._plumbing.age()

    def linked(self, peer: str) -> None:
        """The link to a peer is proven: have it say what it holds."""
        self._plumbing.send(Place.RELAY, markers.encode_claims_wanted(self._incarnation, peer))

    def asked(self, incarnation: str) -> None:
        """Another proxy wants to know what is held here."""
        self._plumbing.claim_all(address_of(incarnation))

    def hand_over(self, heir: Callable[[], str | None]) -> bool:
        """Give all values to another proxy, and wait until it has said so; return False where none has.

        heir: waits a moment, and returns the incarnation of who is to have them; None: nobody is there to have them
        """
        confirmed = self._counts()["confirmed"]
        end = time.monotonic() + HAND_OVER_S
        given_to = None
        while self._holds() and (now_to := heir()) is not None:
            if self._counts()["confirmed"] > confirmed:
                return True
            if time.monotonic() > end:
                return False
            if now_to != given_to:
                self._plumbing.hand_over(address_of(now_to), address_of(self._incarnation))
                given_to = now_to
        return True

    def _holds(self) -> bool:
        counted = self._counts()
        return counted["values"] + counted["tombstones"] > 0

    def _counts(self) -> Mapping[str, int]:
        return self._plumbing.counts().retained


def figures(counted: Mapping[str, int]) -> dict[str, Any]:
    """Return what is announced. counted: `steering.Counts.retained`

    now:   topics, bytes, tombstones, tombstone_bytes; tours: answers that are being given
    since: what became of values since the start
    """
    return {
        "now": {name: counted[key] for key, name in _NOW.items()},
        "since": {_OVER.get(key, key): count for key, count in counted.items() if key not in _NOW},
    }

"""How far the wall clocks of others are from this host's, as far as their messages show. Pure.

A message says when it was sent, by its sender's clock. It arrives later by the way it took, and by how far the clocks
differ. The least of these differences in the last minute is close to that of the clocks: some message was quick. So how
*late* one is, beside the quick ones, is known however the clocks differ.

A clock that is set forward shows at once. One that is set back makes all that it sends look late, until what was seen
before is forgotten: `WINDOW_S`, and twice that at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

WINDOW_S = 30.0
MAX_PEERS = 10_000
TOLD_S = 0.5
"""Clocks that differ by more are worth a word."""


@dataclass
class _Seen:
    """The least difference, in seconds, in the window that began at `since`, and in the one before."""

    since: float
    least: float
    before: float


class Clocks:
    """Of the peers that were heard lately, at most `MAX_PEERS`; who was not heard for longest goes first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Hashable, _Seen] = OrderedDict()
        """By peer, who was heard last at the end."""

    def heard(self, peer: Hashable, sent_ns: int, wall_ns: int, now: float) -> float:
        """A message of this peer has arrived: return by how many seconds it is late, at least 0.

        sent_ns: by the peer's clock
        wall_ns: by this host's, now; `now` is monotonic
        """
        apart_s = (wall_ns - sent_ns) / 1e9
        seen = self._seen.get(peer)
        if seen is None or now - seen.since >= 2 * WINDOW_S:
            self._seen[peer] = seen = _Seen(now, apart_s, apart_s)
            if len(self._seen) > MAX_PEERS:
                self._seen.popitem(last=False)
        elif now - seen.since >= WINDOW_S:
            seen.since, seen.before, seen.least = now, seen.least, apart_s
        else:
            seen.least = min(seen.least, apart_s)
        self._seen.move_to_end(peer)
        return apart_s - min(seen.least, seen.before)

    def ahead_s(self, peer: Hashable) -> float | None:
        """Return by how many seconds this host's clock is ahead of the peer's, less than 0 if it is behind; None for
        one that was not heard. It is too much by as long as its quickest message took."""
        seen = self._seen.get(peer)
        return None if seen is None else min(seen.least, seen.before)

    @property
    def widest_s(self) -> float:
        """How far the clock is off that differs most, in seconds; 0 when nobody was heard. Cost: O(peers)"""
        return max((abs(min(seen.least, seen.before)) for seen in self._seen.values()), default=0.0)


def words(ahead_s: float | None) -> str:
    """Return `clocks differ by 61.2 s`, or nothing where they do not by more than messages take."""
    return "" if ahead_s is None or abs(ahead_s) <= TOLD_S else f"clocks differ by {abs(ahead_s):.1f} s"

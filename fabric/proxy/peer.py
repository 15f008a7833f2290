"""What a proxy knows of another one, and whose word counts about it. Pure; times are monotonic, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import inf

from fabric.protocol.views import Record

HOLD_S = 1.0
"""So long a stranger has to answer before another one may take its place."""
TRY_S = 3.0
"""So long a stranger's address is tried, and then after pauses from this one on."""
TRY_VOUCHED_S = 30.0
"""So long one that never answered us, and others call linked."""
LONGEST_PAUSE_S = 16.0


class Proof(IntEnum):
    """How it is known that a proxy lives."""

    RUMOUR = 0
    """A peer knows of it, and has not linked it."""
    HEARSAY = 1
    """A peer calls it linked."""
    WORD = 2
    """It says so itself, on a marker or in an announcement, or somebody in its name."""
    ANSWER = 3
    """It answered a marker of ours, over a connection to its address."""


@dataclass
class Peer:
    """One peer, as this proxy sees it."""

    record: Record
    """Never changes: another run, name or address is another Peer."""
    heard_at: float
    """When it last showed itself, or was first told of. Monotonic, as all times here."""
    broken_at: float
    """When the link last broke: what was sent before proves nothing."""
    turn_at: float
    """When the relay disconnects, or connects again; means nothing once it is `proven`."""
    since: float
    """When it was taken in. Never changes."""
    vouched: bool = False
    """Somebody called it linked, it answered, or we were told to join it. Only ever set."""
    proven: bool = False
    """It was linked once. Only ever set."""
    connected: bool = True
    """The relay is connected to it: its `Link` was given, and no `Unlink` since. Always, once it is `proven`."""
    pause_s: float = TRY_S
    """The next pause before its address is tried again."""
    told: bool = True
    """Events tell of it. Not of strangers in a crowd, until they are linked: they would fill a log. Only ever set."""
    leaving_at: float | None = None
    """When its end was told; it is linked. None: it was not, or it answered since."""
    joining: bool = True
    """By its own last view; True until one came."""
    draining: bool = False
    """By its own last view."""
    seeking: bool = False
    """Likewise, see `View`."""
    dead: bool = False
    """Not linked, and not heard of for `dead_s`; it is heard of again: no longer. Never together with `linked`."""
    met: bool = True
    """Heard of at first hand, or called alive by others."""
    linked: bool = False
    """A marker sent over the present connection was answered, and not too long ago. Set by `probe_answered` alone."""
    answered_at: float = 0.0
    """When it last answered one. Counts while it is linked."""
    linked_us_at: float = -inf
    """When the marker was sent that it answered by calling this run of us linked."""

    @classmethod
    def new(cls, record: Record, now: float, *, vouched: bool) -> Peer:
        """Return one that is taken in now."""
        turn_at = now + (TRY_VOUCHED_S if vouched else TRY_S)
        return cls(record, heard_at=now, broken_at=now, turn_at=turn_at, since=now, vouched=vouched)

    @property
    def is_stranger(self) -> bool:
        """Whether nobody but itself, or who speaks in its name, says that it is there."""
        return not self.proven and not self.vouched

    def gives_way(self, record: Record, now: float, proof: Proof) -> bool:
        """Whether it gives its name or address to `record`, another run or another proxy, of which there is `proof`.

        Only who answers at the address ends one that lives; a name, or an address, stays with who has it. A word does
        where the link broke, which it does when a proxy starts again, and where no word was proven.
        """
        if self.dead or proof < Proof.WORD:
            return self.dead
        if self.record.base != record.base:
            return False
        if proof is Proof.ANSWER:
            return self.record.id == record.id or not self.linked
        return not self.linked and (self.proven or now - self.since >= HOLD_S)

    def take_turn(self, now: float) -> bool | None:
        """Whether the relay is to connect now, or to disconnect; None: neither. For one that never answered.

        Its address is tried for a while, and again after longer and longer pauses.
        """
        if now < self.turn_at:
            return None
        self.connected = not self.connected
        if self.connected:
            self.turn_at = now + (TRY_VOUCHED_S if self.vouched else TRY_S)
        else:
            self.turn_at, self.broken_at = now + self.pause_s, now
            self.pause_s = min(self.pause_s * 2, LONGEST_PAUSE_S)
        return self.connected

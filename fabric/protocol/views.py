"""What proxies say of themselves and of each other: records and views. Pure.

They travel in markers, answers and announcements. Nothing else of a peer is looked at by `membership`, `coverage` and
the command line. `from_map` and `record_from` read what a peer sent, and return None for anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fabric.endpoints import Endpoints
from fabric.topics import MAX_NAME_CHARS, valid_name

MAX_PEERS = 1000


@dataclass(frozen=True)
class Record:
    """What a proxy says of itself: its name in the mesh, this run of it, and where others reach it."""

    id: str
    incarnation: str
    base: str

    def to_map(self) -> dict[str, str]:
        return {"id": self.id, "incarnation": self.incarnation, "base": self.base}


@dataclass(frozen=True)
class PeerView:
    """One line of a proxy's list of peers, as it stands in answers and announcements."""

    record: Record
    linked: bool
    dead: bool
    joining: bool

    def to_map(self) -> dict[str, Any]:
        return {**self.record.to_map(), "linked": self.linked, "dead": self.dead, "joining": self.joining}


@dataclass(frozen=True)
class View:
    """A proxy's own record, its state (`joining`, `member`, `draining`, `gone`) and its peers.

    seeking: it is joining, and has not listened for long enough, or not met everyone it was told to join
    """

    record: Record
    state: str
    peers: tuple[PeerView, ...]
    seeking: bool = False

    def to_map(self) -> dict[str, Any]:
        peers = [peer.to_map() for peer in self.peers]
        return {**self.record.to_map(), "state": self.state, "seeking": self.seeking, "peers": peers}

    @classmethod
    def from_map(cls, value: object) -> View | None:
        """Read a view that a peer sent; None when it is not one. Input from a peer never raises."""
        record = record_from(value)
        if record is None or not isinstance(value, dict) or value.get("state") not in STATES:
            return None
        peers = value.get("peers")
        if not isinstance(peers, list) or len(peers) > MAX_PEERS:
            return None
        views = []
        for each in peers:
            peer = record_from(each)
            if peer is None:
                return None
            views.append(
                PeerView(peer, each.get("linked") is True, each.get("dead") is True, each.get("joining") is True)
            )
        return cls(record, value["state"], tuple(views), value.get("seeking") is True)


STATES = ("joining", "member", "draining", "gone")


def record_from(value: object) -> Record | None:
    """Read a record out of a map that a peer sent; None when a field is missing, of a wrong type or no address."""
    if not isinstance(value, dict):
        return None
    ident, incarnation, base = value.get("id"), value.get("incarnation"), value.get("base")
    if not (isinstance(ident, str) and isinstance(incarnation, str) and isinstance(base, str)):
        return None
    if not (len(ident) <= MAX_NAME_CHARS and 0 < len(incarnation) <= 64 and len(base) <= 255):
        return None
    return _checked_record(ident, incarnation, base)


@lru_cache(MAX_PEERS)
def _checked_record(ident: str, incarnation: str, base: str) -> Record | None:
    """Remembered, since an ack brings the same few records many times: a fifth of a node's work for it."""
    try:
        Endpoints.parse(base)
    except ValueError:
        return None
    return Record(ident, incarnation, base) if valid_name(ident) else None

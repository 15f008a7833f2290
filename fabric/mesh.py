"""Who belongs to the mesh, as one proxy sees it. Pure: inputs in, effects out; time and randomness are arguments.

Three things come in: *contacts* (a proxy's record, seen on a marker, in an answer or in an announcement), *answers*
to this proxy's own markers, and *link* events from the transport. `tick(now)` decides what follows from time.

A peer is `linked` when a marker that this proxy's relay sent over the link was answered, and the answer came back over
it: subscriptions flow one way, messages the other. Linked is mutual when the peer says the same of us.

Joining without a hole. The joiner asks every proxy it knows of; each records the joiner before it answers with its own
list; the lists are merged until they stop growing, so of two concurrent joiners with a common member one sees the
other. It becomes a member, and only then lets publishers in, when it is mutually linked with every known proxy
that is not declared dead. Hence nobody publishes where part of the mesh does not hear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fabric.endpoints import Endpoints

PROBE_FAST_S = 0.03
PROBE_IDLE_S = 1.0
ANNOUNCE_S = 1.0
REJOIN_S = 5.0
"""How often a member asks the `join` addresses at which it knows nobody; this is what heals a forgotten split."""
MEMORY_S = 60.0
"""How long a nonce, and an incarnation that has ended, are remembered."""
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
    """A proxy's own record, its state (`joining`, `member`, `draining`, `gone`) and its peers."""

    record: Record
    state: str
    peers: tuple[PeerView, ...]

    def to_map(self) -> dict[str, Any]:
        return {**self.record.to_map(), "state": self.state, "peers": [peer.to_map() for peer in self.peers]}

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
        return cls(record, value["state"], tuple(views))


STATES = ("joining", "member", "draining", "gone")


def record_from(value: object) -> Record | None:
    """Read a record out of a map that a peer sent; None when a field is missing, of a wrong type or no address."""
    if not isinstance(value, Mapping):
        return None
    ident, incarnation, base = (value.get(key) for key in ("id", "incarnation", "base"))
    if not (isinstance(ident, str) and isinstance(incarnation, str) and isinstance(base, str)):
        return None
    if not (valid_name(ident) and 0 < len(incarnation) <= 64 and len(base) <= 255):
        return None
    try:
        Endpoints.parse(base)
    except ValueError:
        return None
    return Record(ident, incarnation, base)


def valid_name(name: str) -> bool:
    """True when `name` can be one level of a topic: the name of a proxy or a node, at most 100 characters."""
    return 0 < len(name) <= 100 and name[0] not in "$~" and not any(mark in name for mark in "/+#\0")


# ── effects ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Link:
    """Connect the relay to `base`'s link."""

    base: str


@dataclass(frozen=True)
class Unlink:
    """Disconnect the relay from `base`'s link."""

    base: str


@dataclass(frozen=True)
class Ask:
    """Ask the proxies at exactly these addresses, and no others, who they are, each over a connection of its own."""

    bases: tuple[str, ...]


@dataclass(frozen=True)
class Probe:
    """Send a marker with nonce `nonce` through the own out and the own relay."""

    nonce: bytes


@dataclass(frozen=True)
class Announce:
    """Publish the view."""


@dataclass(frozen=True)
class Admit:
    """This proxy is a member now: bind `in`."""


@dataclass(frozen=True)
class Tell:
    """An event for whoever runs the proxy: a flat map with `event` and more."""

    event: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Fatal:
    """This proxy cannot go on; `why` is for a person."""

    why: str


Effect = Link | Unlink | Ask | Probe | Announce | Admit | Tell | Fatal


@dataclass
class Peer:
    """What this proxy knows of another one."""

    record: Record
    heard_at: float
    joining: bool = False
    dead: bool = False
    linked: bool = False
    answered_at: float = 0.0
    broken_at: float = 0.0
    """When the link last broke: what was sent before proves nothing."""
    says_linked: bool = False
    """This peer calls this run of us linked."""


class Mesh:
    """The membership of one proxy.

    join:      bases of proxies to ask; empty, or `first`, lets it become a member on its own after `settle_s`
    settle_s:  how long it listens before it becomes a member, so that nodes and peers of an earlier run are back
    dead_s:    a peer not linked and not heard of for so long is declared dead
    forget_s:  a dead peer is dropped from the list after so long
    """

    def __init__(
        self,
        record: Record,
        now: float,
        random_bytes: Callable[[int], bytes],
        *,
        join: Iterable[str] = (),
        first: bool = False,
        settle_s: float = 1.0,
        dead_s: float = 3.0,
        forget_s: float = 3600.0,
    ) -> None:
        self.record = record
        self.state = "joining"
        self.peers: dict[str, Peer] = {}
        self._join = tuple(dict.fromkeys(base for base in join if base != record.base))
        self._alone_allowed = first or not self._join
        self._random_bytes = random_bytes
        self._settle_s, self._dead_s, self._forget_s = settle_s, dead_s, forget_s
        self._started = self._last_tick = now
        self._contacted: dict[str, str] = {}
        self._rivals: set[str] = set()
        self._left: dict[tuple[str, str], float] = {}
        self._next_probe = self._next_announce = self._next_ask = now
        self._probes: dict[bytes, float] = {}

    # ── what is asked of it ──────────────────────────────────────────────────────────────────────────────────────

    def view(self) -> View:
        """Return what answers and announcements say."""
        peers = sorted(self.peers.values(), key=lambda peer: peer.record.id)
        return View(
            self.record,
            self.state,
            tuple(PeerView(peer.record, peer.linked, peer.dead, peer.joining) for peer in peers),
        )

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def contact(self, record: Record, now: float) -> list[Effect]:
        """A proxy showed itself on a marker: it lives, at this moment, under this incarnation."""
        if record.id == self.record.id:
            return self._namesake(record)
        return self._hear(record, now)

    def seen(self, view: View, now: float) -> list[Effect]:
        """A proxy's view arrived, in an answer or in an announcement."""
        if view.record.id == self.record.id:
            return self._namesake(view.record)
        if view.state == "gone":
            return self._leave(view.record, now)
        effects = self._hear(view.record, now)
        peer = self.peers.get(view.record.id)
        if peer is None or peer.record != view.record:
            return effects
        peer.joining = view.state == "joining"
        peer.says_linked = False
        for each in view.peers:
            if each.record.id != self.record.id:
                effects += self._hear_say(each, now)
            elif each.record == self.record:
                peer.says_linked = each.linked
            elif each.record.base != self.record.base and each.linked:
                self._rivals.add(each.record.base)
        return effects

    def asked(self, base: str, view: View, now: float) -> list[Effect]:
        """The proxy asked at `base` answered; it may call itself by another address."""
        self._contacted[base] = view.record.id
        return self.seen(view, now)

    def answered(self, view: View, nonce: bytes, now: float) -> list[Effect]:
        """A peer answered the marker of our relay, and the answer came back over the link: the link is proven."""
        effects = self.seen(view, now)
        peer = self.peers.get(view.record.id)
        if peer is None or peer.record != view.record or self._probes.get(nonce, -1.0) < peer.broken_at:
            return effects
        peer.answered_at = now
        if not peer.linked:
            peer.linked = True
            effects += [self._tell("link_up", peer), Announce()]
            self._next_probe = now
        return effects

    def link_lost(self, base: str, now: float) -> list[Effect]:
        """The transport says that the connection to this peer's link broke."""
        self._next_probe = now
        for peer in self.peers.values():
            if peer.record.base == base:
                peer.broken_at = now
                return self._unlink(peer)
        return []

    def link_opened(self, base: str, now: float) -> list[Effect]:
        """The transport says that the connection is open. It says whom to probe, never that the link is proven.

        What was proven before belongs to the connection that was, even if its end was not noticed.
        """
        return self.link_lost(base, now)

    def drain(self) -> list[Effect]:
        """Leave in good order: peers and nodes are told."""
        if self.state in ("draining", "gone"):
            return []
        self.state = "draining"
        return [Tell({"event": "draining"}), Announce()]

    def leave(self) -> list[Effect]:
        """The last word."""
        self.state = "gone"
        return [Announce()]

    def tick(self, now: float) -> list[Effect]:
        """Return what time demands. To be called at least every 20 ms while joining, every second otherwise."""
        pause = now - self._last_tick
        self._last_tick = now
        if pause > self._dead_s / 2:
            # This process stood still: that is no evidence against the others.
            for peer in self.peers.values():
                peer.heard_at += pause
                peer.answered_at += pause
        effects: list[Effect] = []
        for peer in list(self.peers.values()):
            effects += self._judge(peer, now)
        effects += self._try_to_become_member(now)
        effects += self._ask(now)
        if now >= self._next_probe:
            settled = self.state != "joining" and all(peer.linked or peer.dead for peer in self.peers.values())
            self._next_probe = now + (PROBE_IDLE_S if settled else PROBE_FAST_S)
            effects.append(self._new_probe(now))
        if now >= self._next_announce:
            self._next_announce = now + ANNOUNCE_S
            effects.append(Announce())
        return effects

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, record: Record, now: float) -> list[Effect]:
        """Somebody lives. Record it before anything is answered."""
        if (record.id, record.incarnation) in self._left:
            return []
        peer = self.peers.get(record.id)
        if peer is None:
            return self._admit_peer(record, now)
        if peer.record == record:
            peer.heard_at = now
            if peer.dead:
                peer.dead = False
                return [self._tell("peer_back", peer), Announce()]
            return []
        if peer.record.base != record.base and peer.linked:
            # Two that live under one name: the first one keeps it, the other is told by our list.
            return []
        return self._replace(peer, record, now)

    def _replace(self, peer: Peer, record: Record, now: float) -> list[Effect]:
        """A new incarnation: nothing that was proven for the old one holds."""
        effects = self._unlink(peer)
        self._left[record.id, peer.record.incarnation] = now
        if peer.record.base != record.base:
            effects += [Unlink(peer.record.base), Link(record.base)]
        self.peers[record.id] = fresh = Peer(record, now, joining=True, broken_at=now)
        self._next_probe = now
        return [*effects, self._tell("peer_restarted", fresh), Announce()]

    def _admit_peer(self, record: Record, now: float, *, dead: bool = False) -> list[Effect]:
        if len(self.peers) >= MAX_PEERS or record.base == self.record.base:
            return []
        self.peers[record.id] = peer = Peer(record, now, joining=not dead, dead=dead, broken_at=now)
        self._next_probe = now
        return [Link(record.base), self._tell("peer_joined", peer), Announce()]

    def _hear_say(self, each: PeerView, now: float) -> list[Effect]:
        """A peer knows of another. It is news only when we know nobody of that name, or have lost it."""
        record = each.record
        if (record.id, record.incarnation) in self._left:
            return []
        peer = self.peers.get(record.id)
        if peer is None:
            return self._admit_peer(record, now, dead=each.dead)
        if each.linked and peer.record != record and not peer.linked:
            return self._replace(peer, record, now)
        return []

    def _leave(self, record: Record, now: float) -> list[Effect]:
        self._left[record.id, record.incarnation] = now
        peer = self.peers.get(record.id)
        if peer is None or peer.record != record:
            return []
        del self.peers[record.id]
        return [Unlink(record.base), self._tell("peer_left", peer), Announce()]

    def _namesake(self, record: Record) -> list[Effect]:
        if record.incarnation == self.record.incarnation or self.state != "joining":
            return []
        if record.base == self.record.base:
            return []  # our own earlier run, in a message that outlived it
        return [
            Fatal(
                f"the name {record.id!r} is taken by the proxy at {record.base}; right would be another name (--name)"
            )
        ]

    def _unlink(self, peer: Peer) -> list[Effect]:
        peer.says_linked = False
        if not peer.linked:
            return []
        peer.linked = False
        return [self._tell("link_down", peer), Announce()]

    def _judge(self, peer: Peer, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if peer.linked and now - peer.answered_at > self._dead_s:
            effects += self._unlink(peer)
        if not peer.linked and not peer.dead and now - peer.heard_at > self._dead_s:
            peer.dead = True
            effects += [self._tell("peer_dead", peer), Announce()]
        if peer.dead and now - peer.heard_at > self._forget_s:
            del self.peers[peer.record.id]
            effects += [Unlink(peer.record.base), self._tell("peer_forgotten", peer), Announce()]
        return effects

    def _try_to_become_member(self, now: float) -> list[Effect]:
        if self.state != "joining" or now - self._started < self._settle_s:
            return []
        alive = [peer for peer in self.peers.values() if not peer.dead]
        if not alive and not self._alone_allowed:
            return []
        if not all(peer.linked and peer.says_linked for peer in alive):
            return []
        self.state = "member"
        peers = [peer.record.id for peer in alive]
        return [Admit(), Tell({"event": "ready", "peers": sorted(peers)}), Announce()]

    def _ask(self, now: float) -> list[Effect]:
        if now < self._next_ask:
            return []
        self._next_ask = now + (PROBE_FAST_S * 3 if self.state == "joining" else REJOIN_S)
        alive = {peer.record.id: peer.record.base for peer in self.peers.values() if not peer.dead}
        unknown = [
            base
            for base in (*self._join, *sorted(self._rivals))
            if base not in alive.values() and self._contacted.get(base) not in alive
        ]
        return [Ask(tuple(unknown))]

    def _new_probe(self, now: float) -> Probe:
        self._probes = {key: at for key, at in self._probes.items() if now - at <= MEMORY_S}
        self._left = {key: at for key, at in self._left.items() if now - at <= MEMORY_S}
        nonce = self._random_bytes(8)
        self._probes[nonce] = now
        return Probe(nonce)

    def _tell(self, event: str, peer: Peer) -> Tell:
        return Tell({"event": event, **peer.record.to_map()})

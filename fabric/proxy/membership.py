"""Who belongs to the mesh, as one proxy sees it. Pure: inputs in, effects out; time and randomness are arguments.

Three things come in: *contacts* (a proxy's record, seen on a marker, in an answer or in an announcement), *answers*
to this proxy's own markers, and *link* events from the transport. `tick(now)` decides what follows from time.

A peer is `linked` when a marker that this proxy's relay sent over the link was answered, and the answer came back over
it: subscriptions flow one way, messages the other. Linked is mutual when the peer says the same of us.

Joining without a hole. The joiner asks every proxy it knows of; each records the joiner before it answers with its own
list; the lists are merged until they stop growing, so of two concurrent joiners with a common member one sees the
other. It becomes a member, and only then lets publishers in, when it is mutually linked with every known proxy
that is not declared dead, and one of them is a member already. Hence nobody publishes where part of the mesh does not
hear. (Where nobody is a member, all start together once nobody *seeks*: each has listened for a while, and has met
everyone it was told to join.)

| state | input | state then |
|---|---|---|
| joining | `tick`: listened long enough, mutually linked with all who live, and a mesh to be in | member: `Admit` |
| joining | `drain` | gone |
| joining | `scout_answered` by a proxy of its name at another address, or of its address | joining, and `Fatal` |
| member | `drain` | draining: nodes and peers are told |
| any | `leave` | gone |

Any other input leaves the state as it is. There is no way back: a proxy that starts again is a new incarnation. A peer
is alive or dead, and linked or not, by the fields of `Peer`.

A name has one owner, and so has an address. What is heard at first hand, from the proxy itself, counts for more than
what others say of it; an answer to a marker counts most, since it was given after the marker was sent, and came over a
connection to the address.

Anybody may send a marker, so what it says is believed within bounds. A *stranger* is a peer that was never linked, and
that nobody linked to us calls linked. Eight of them are taken in at a time; the ninth takes the place of one
that had a second to answer. They are tried less and less, and forgotten after a minute. They hold up a joiner for
`PATIENCE_S` after all others are linked, and no longer: who is heard of later was told of the joiner. A word ends
nobody: not a linked peer, of which a new run or the end is told, nor this proxy, whose name is said to be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import inf
from typing import Any

from fabric.protocol.views import MAX_PEERS, PeerView, Record, View
from fabric.proxy.peer import HOLD_S, Peer, Proof

PROBE_FAST_S = 0.03
PROBE_IDLE_S = 1.0
ANNOUNCE_S = 1.0
ASK_FAST_S = 0.1
ASK_S = 0.5
"""How often a member asks where it knows nobody: at `join` addresses, which heals a forgotten split, and where proxies
lived that left. Shorter than `settle_s`: a proxy that starts again alone must be met before it is a member."""
ANEW_S = 5.0
"""How often these connections are made again, so that what waits for an address without a proxy does not pile up."""
FRESH_S = 1.0
"""So long counts a peer's word that it has linked us, from when it was asked: to become a member takes fresh ones."""
DOUBT_S = 0.5
"""So long a joiner tries a proxy that others call dead: it may be out of their reach only."""
MEMORY_S = 60.0
"""How long a nonce, an incarnation that has ended, and a dead proxy known by hearsay only, are remembered."""
MAX_HOMES = 16
"""Addresses of proxies that left, where they are expected back: one that starts alone would know nobody."""
MAX_RIVALS = 16
"""Addresses at which this proxy's name may be in use; half of them for those that linked peers tell of."""
MAX_STRANGERS = 8
MAX_HEARSAY = 500
"""Peers that were never linked, and are known because others call them linked."""
PATIENCE_S = 5.0
GONE_S = 0.3
"""So long a linked peer of which the end is told is given to answer: then it goes on."""


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
    """Ask the proxies at exactly these addresses, and no others, who they are, each over one connection."""

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
    """An event for the program that runs the proxy: a flat map with `event` and more."""

    event: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class Fatal:
    """This proxy cannot go on; `why` is for a person."""

    why: str


Effect = Link | Unlink | Ask | Probe | Announce | Admit | Tell | Fatal


class Membership:
    """The membership of one proxy.

    join:      bases of proxies to ask; empty, or `first`, lets it become a member on its own after `settle_s`
    settle_s:  how long it listens before it becomes a member, so that nodes and peers of an earlier run are back
    dead_s:    a peer not linked and not heard of for so long is declared dead; several times the time between ticks
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
        """Of this proxy. Never changes."""
        self.state = "joining"
        """`joining`, `member`, `draining` or `gone`; see the table above."""
        self.peers: dict[str, Peer] = {}
        """The others, by id, at most `MAX_PEERS`; no two have one address, and none has ours."""
        self._join = tuple(dict.fromkeys(join))
        """Addresses to ask, each once. One at which this proxy itself answers is taken out: that it is the one it
        advertises does not prove that, for several may advertise one by mistake."""
        self._alone_allowed = first or not self._join
        """It may become a member though it meets nobody."""
        self._random_bytes = random_bytes
        self._settle_s, self._dead_s, self._forget_s = settle_s, dead_s, forget_s
        self._last_tick = now
        self._listened_s = 0.0
        """For how long it has run without standing still; 0 again after a long pause. Only `tick` changes it."""
        self._contacted: dict[str, str] = {}
        """Addresses of `join` at which a scout was answered, and the id of who did."""
        self._rivals: dict[str, float] = {}
        """Addresses at which others know a proxy of this one's name, or something says so; and when this was heard
        first. At most `MAX_RIVALS`. Asked while it joins, which waits for each until it had `DOUBT_S` to answer."""
        self._others_linked_at: float | None = now
        """Since when all living peers but strangers are mutually linked; None: they are not. `tick` changes it."""
        self._crowded_at = -inf
        """When a stranger was last refused for lack of room."""
        self.refused = 0
        """Markers and views of strangers for whom there was no room, since the start."""
        self._left: dict[tuple[str, str], float] = {}
        """(id, incarnation) of runs that have ended, and when that was heard. Forgotten after `MEMORY_S`."""
        self._dropped: dict[tuple[str, str], float] = {}
        """Likewise of those that never answered and were dropped: no rumour brings them back, or it would go round."""
        self._homes: dict[str, float] = {}
        """Addresses of proxies that left in good order, and when; at most `MAX_HOMES`, for `forget_s`."""
        self._next_probe = self._next_announce = self._next_ask = now
        """When `tick` gives the next of these effects."""
        self._next_anew = now + ANEW_S
        """When the connections that ask are next made again."""
        self._probes: dict[bytes, float] = {}
        """Nonces of the own markers, and when each was sent. Forgotten after `MEMORY_S`."""

    # ── what is asked of it ──────────────────────────────────────────────────────────────────────────────────────

    def view(self) -> View:
        """Return what answers and announcements say."""
        peers = sorted(self.peers.values(), key=lambda peer: peer.record.id)
        return View(
            self.record,
            self.state,
            tuple(PeerView(peer.record, peer.linked, peer.dead, peer.joining) for peer in peers),
            self.state == "joining" and (not self._settled or bool(self._sought())),
        )

    def knows(self, record: Record | None) -> bool:
        """Whether this very run is in the list, and was linked once or is called so by others."""
        peer = self.peers.get(record.id) if record is not None else None
        return peer is not None and peer.record == record and (peer.proven or peer.vouched)

    def unanswered(self) -> list[str]:
        """Return the addresses of `join` at which nobody lives whom it knows."""
        return self._sought()

    def heir(self) -> Record | None:
        """Return a member that stays, as far as is known: what this proxy holds can be handed to it. None: nobody."""
        found = [
            peer.record
            for peer in self.peers.values()
            if peer.linked and not (peer.dead or peer.joining or peer.draining) and peer.leaving_at is None
        ]
        return min(found, key=lambda record: record.id, default=None)

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def marker_heard(self, record: Record, now: float) -> list[Effect]:
        """A proxy showed itself on a marker: it lives, at this moment, under this incarnation."""
        if record.id == self.record.id:
            return self._namesake(record, now)
        return self._hear(record, now, Proof.WORD)

    def view_heard(self, view: View, now: float, proof: Proof = Proof.WORD) -> list[Effect]:
        """A proxy's view arrived, in an answer or in an announcement."""
        if view.record.id == self.record.id:
            return self._namesake(view.record, now)
        if view.state == "gone":
            return self._say_good_bye(view.record, now, proof)
        effects = self._hear(view.record, now, proof)
        peer = self.peers.get(view.record.id)
        if peer is None or peer.record != view.record:
            return effects
        peer.joining, peer.seeking = view.state == "joining", view.seeking
        peer.draining = view.state == "draining"
        if not self._links_us(view):
            peer.linked_us_at = -inf
        for each in view.peers:
            if each.record.id != self.record.id:
                effects += self._hear_say(each, now)
            elif each.record.base != self.record.base and each.linked and len(self._rivals) < MAX_RIVALS:
                self._rivals.setdefault(each.record.base, now)
        return effects

    def scout_answered(self, base: str, view: View, now: float) -> list[Effect]:
        """The proxy asked at `base` answered; it may call itself by another address."""
        if view.record == self.record:
            # It was told to join itself, by another name of the same address.
            self._join = tuple(each for each in self._join if each != base)
            self._alone_allowed = self._alone_allowed or not self._join
            return []
        if self.record.base in (base, view.record.base) and self.state == "joining":
            whose = f"the address {self.record.base}, which this proxy advertises, is that of proxy {view.record.id!r}"
            return [Fatal(f"{whose}: give each proxy an address by which others reach it alone (--advertise)")]
        if view.record.id == self.record.id and view.record.base != self.record.base and self.state == "joining":
            taken = f"the name {view.record.id!r} is taken by the proxy at {view.record.base}"
            return [Fatal(f"{taken}: choose another (--name)")]
        self._contacted[base] = view.record.id
        return self.view_heard(view, now, Proof.ANSWER)

    def probe_answered(self, view: View, nonce: bytes, now: float) -> list[Effect]:
        """A peer answered the marker of our relay, and the answer came back over the link: the link is proven."""
        asked_at = self._probes.get(nonce, -inf)
        run = (view.record.id, view.record.incarnation)
        if self._left.get(run, inf) < asked_at:
            del self._left[run]  # it is alive after all
        effects = self.view_heard(view, now, Proof.ANSWER if asked_at > -inf else Proof.WORD)
        peer = self.peers.get(view.record.id)
        if peer is None or peer.record != view.record or asked_at < peer.broken_at:
            return effects
        if peer.leaving_at is not None and asked_at > peer.leaving_at:
            peer.leaving_at = None  # nor has it left
        if self._links_us(view):
            peer.linked_us_at = max(peer.linked_us_at, asked_at)
        peer.answered_at = now
        if not peer.linked:
            peer.linked = peer.proven = True
            if not peer.told:
                peer.told = True
                effects += self._tell("peer_joined", peer)
            effects += [*self._tell("link_up", peer), Announce()]
            self._next_probe = now
        return effects

    def link_lost(self, base: str, now: float) -> list[Effect]:
        """The transport says that the connection to this peer's link broke."""
        self._next_probe = now
        for peer in self.peers.values():
            if peer.record.base == base:
                peer.broken_at = now
                return self._unlink(peer) if peer.leaving_at is None else self._leave(peer, now)
        return []

    def link_opened(self, base: str, now: float) -> list[Effect]:
        """The transport says that the connection is open. It says whom to probe, never that the link is proven.

        What was proven before belongs to the connection that was, even if its end was not noticed.
        """
        return self.link_lost(base, now)

    def drain(self) -> list[Effect]:
        """Leave in good order: peers and nodes are told. One that is no member yet is gone at once."""
        if self.state in ("draining", "gone"):
            return []
        self.state = "draining" if self.state == "member" else "gone"
        return [Tell({"event": "draining"}), Announce()]

    def leave(self) -> list[Effect]:
        """The last word."""
        self.state = "gone"
        return [Announce()]

    def tick(self, now: float) -> list[Effect]:
        """Return what time demands. To be called every 20 ms or so."""
        pause = now - self._last_tick
        self._last_tick = now
        if pause > self._dead_s / 2:
            # This process stood still: that is no evidence against the others. It listens from the start.
            self._listened_s = 0.0
            for peer in self.peers.values():
                if not peer.dead:
                    peer.heard_at = peer.answered_at = now
        else:
            self._listened_s += pause
        effects: list[Effect] = []
        for peer in list(self.peers.values()):
            effects += self._judge(peer, now)
        effects += self._try_to_become_member(now)
        effects += self._ask(now)
        if now >= self._next_probe:
            self._next_probe = now + (PROBE_IDLE_S if self._at_rest(now) else PROBE_FAST_S)
            effects.append(self._new_probe(now))
        if now >= self._next_announce:
            self._next_announce = now + ANNOUNCE_S
            effects.append(Announce())
        return effects

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, record: Record, now: float, proof: Proof) -> list[Effect]:
        """Somebody lives. Record it before anything is answered."""
        peer = self.peers.get(record.id)
        if peer is None or peer.record != record:
            return self._take_in(record, now, proof)
        peer.heard_at, peer.met = now, True
        peer.vouched = peer.vouched or proof is Proof.ANSWER
        if peer.vouched and not peer.connected:
            peer.turn_at = now
        if not peer.dead:
            return []
        peer.dead = False
        return [*self._tell("peer_back", peer), Announce()]

    def _hear_say(self, each: PeerView, now: float) -> list[Effect]:
        """A peer knows of another. It is news only when we know nobody of that name, or have lost it."""
        peer = self.peers.get(each.record.id)
        if peer is not None and (peer.record == each.record or not each.linked):
            peer.vouched = peer.vouched or (each.linked and peer.record == each.record)
            return []
        if not each.dead:
            return self._take_in(each.record, now, Proof.HEARSAY if each.linked else Proof.RUMOUR)
        if self.state != "joining" or self._in_place_of(each.record):
            return []  # or the dead would be handed on from one to the other for ever
        effects = self._take_in(each.record, now, Proof.RUMOUR)
        peer = self.peers.get(each.record.id)
        if peer is not None:
            peer.joining = peer.met = False
            peer.heard_at = min(now, now + DOUBT_S - self._dead_s)
        return effects

    def _take_in(self, record: Record, now: float, proof: Proof) -> list[Effect]:
        """A newcomer, or a new incarnation: nothing that was proven for those whose place it takes holds for it."""
        if (record.id, record.incarnation) in self._left or record.base == self.record.base:
            return []
        if proof is Proof.RUMOUR and (record.id, record.incarnation) in self._dropped:
            return []
        olds = self._in_place_of(record)
        if not all(old.gives_way(record, now, proof) for old in olds):
            return []
        vouched = proof in (Proof.ANSWER, Proof.HEARSAY) or record.base in self._join or record.base in self._homes
        effects: list[Effect] = []
        if not olds:
            room = self._make_room(now, vouched, proof)
            if room is None:
                self.refused += 1
                self._crowded_at = now
                return []
            effects += room
        connected = False
        for old in olds:
            effects += self._unlink(old)
            del self.peers[old.record.id]
            if old.record.base != record.base:
                effects += [Unlink(old.record.base)] if old.connected else []
            else:
                connected = old.connected
                if proof >= Proof.WORD:
                    self._left[old.record.id, old.record.incarnation] = now
            if old.record.id != record.id:
                effects += self._tell("peer_forgotten", old)
        if not connected:
            effects.append(Link(record.base))
        self._homes.pop(record.base, None)
        peer = Peer.new(record, now, vouched=vouched)
        self.peers[record.id] = peer
        self._next_probe = now
        restarted = any(old.record.id == record.id and old.told for old in olds)
        peer.told = vouched or restarted or now - self._crowded_at > MEMORY_S
        return [*effects, *self._tell("peer_restarted" if restarted else "peer_joined", peer), Announce()]

    def _make_room(self, now: float, vouched: bool, proof: Proof) -> list[Effect] | None:
        """Return whom to forget for one more peer; None: there is no room for it. cost: O(peers)"""
        strangers = [peer for peer in self.peers.values() if peer.is_stranger]
        if vouched and proof is not Proof.HEARSAY:
            return [] if len(self.peers) < MAX_PEERS else self._forget_first(self.peers.values(), now)
        if vouched:
            heard_of = sum(peer.vouched and not peer.proven for peer in self.peers.values())
            return [] if len(self.peers) < MAX_PEERS and heard_of < MAX_HEARSAY else None
        if len(self.peers) >= MAX_PEERS or len(strangers) >= MAX_STRANGERS:
            return self._forget_first(strangers, now) if proof is Proof.WORD else None
        return []

    def _forget_first(self, peers: Iterable[Peer], now: float) -> list[Effect] | None:
        """Forget the oldest of these that was never linked and has had its time to answer; None: there is none."""
        found = [peer for peer in peers if not peer.proven and (peer.dead or now - peer.since >= HOLD_S)]
        return self._forget(min(found, key=lambda peer: peer.since), now) if found else None

    def _forget(self, peer: Peer, now: float) -> list[Effect]:
        del self.peers[peer.record.id]
        if not peer.proven:
            self._dropped[peer.record.id, peer.record.incarnation] = now
        unlink: list[Effect] = [Unlink(peer.record.base)] if peer.connected else []
        return [*unlink, *self._tell("peer_forgotten", peer), Announce()]

    def _in_place_of(self, record: Record) -> list[Peer]:
        """Who has this name or this address at present, if it is another. cost: O(peers)"""
        found = (peer for peer in self.peers.values() if peer.record.id == record.id or peer.record.base == record.base)
        return [peer for peer in found if peer.record != record]

    def _say_good_bye(self, record: Record, now: float, proof: Proof) -> list[Effect]:
        """A proxy is said to have left. One that is linked has a moment to answer: then it was not its own word."""
        peer = self.peers.get(record.id)
        if peer is None or peer.record != record:
            self._left[record.id, record.incarnation] = now
            return []
        if not peer.linked or proof is Proof.ANSWER:
            return self._leave(peer, now)
        if peer.leaving_at is None:
            peer.leaving_at = self._next_probe = now
        return []

    def _leave(self, peer: Peer, now: float) -> list[Effect]:
        record = peer.record
        self._left[record.id, record.incarnation] = now
        del self.peers[record.id]
        self._homes[record.base] = self._next_ask = now
        while len(self._homes) > MAX_HOMES:
            del self._homes[next(iter(self._homes))]
        unlink: list[Effect] = [Unlink(record.base)] if peer.connected else []
        return [*unlink, *self._tell("peer_left", peer), Announce()]

    def _namesake(self, record: Record, now: float) -> list[Effect]:
        """Something says that this proxy's name is taken: who has it is asked, and only its answer counts."""
        if record.incarnation == self.record.incarnation or self.state != "joining":
            return []
        # At the own address: our earlier run, in a message that outlived it.
        if record.base != self.record.base and len(self._rivals) < MAX_RIVALS // 2:
            self._rivals.setdefault(record.base, now)
        return []

    def _unlink(self, peer: Peer) -> list[Effect]:
        if not peer.linked:
            return []
        peer.linked = False
        return [*self._tell("link_down", peer), Announce()]

    def _judge(self, peer: Peer, now: float) -> list[Effect]:
        effects: list[Effect] = []
        if peer.leaving_at is not None and now - peer.leaving_at > GONE_S:
            return self._leave(peer, now)
        if peer.linked and now - peer.answered_at > self._dead_s:
            effects += self._unlink(peer)
        if not peer.linked and not peer.dead and now - peer.heard_at > self._dead_s:
            peer.dead = True
            effects += [*self._tell("peer_dead", peer), Announce()]
        if peer.proven:
            return effects + (self._forget(peer, now) if peer.dead and now - peer.heard_at > self._forget_s else [])
        if now - (peer.heard_at if peer.vouched else peer.since) > MEMORY_S:
            return effects + self._forget(peer, now)
        turn = peer.take_turn(now)
        if turn is None:
            return effects
        return [*effects, Link(peer.record.base) if turn else Unlink(peer.record.base)]

    def _try_to_become_member(self, now: float) -> list[Effect]:
        if self.state != "joining":
            return []
        alive = [peer for peer in self.peers.values() if not peer.dead]
        others = [peer for peer in alive if not peer.is_stranger]
        if not all(peer.linked and now - peer.linked_us_at <= FRESH_S for peer in others):
            self._others_linked_at = None
            return []
        if self._others_linked_at is None:
            self._others_linked_at = now
        if now - self._others_linked_at > PATIENCE_S:
            alive = others
        elif len(alive) > len(others):
            return []
        doubted = any(now - at <= DOUBT_S for at in self._rivals.values())
        if not self._settled or doubted or not self._may_start(alive):
            return []
        self.state = "member"
        peers = [peer.record.id for peer in alive]
        return [Admit(), Tell({"event": "ready", "peers": sorted(peers)}), Announce()]

    def _ask(self, now: float) -> list[Effect]:
        if now < self._next_ask:
            return []
        self._next_ask = now + (ASK_FAST_S if self.state == "joining" else ASK_S)
        self._homes = {base: at for base, at in self._homes.items() if now - at <= self._forget_s}
        rivals = sorted(self._rivals) if self.state == "joining" else []
        ask = Ask(tuple(dict.fromkeys((*self._sought(), *self._homes, *rivals))))
        if now < self._next_anew:
            return [ask]
        self._next_anew = now + ANEW_S
        return [Ask(()), ask]

    def _sought(self) -> list[str]:
        """The addresses of `join` at which nobody lives whom we know; a proxy may call itself by another address."""
        if not self._join:
            return []
        alive = {peer.record.id: peer.record.base for peer in self.peers.values() if not peer.dead}
        met = {base for base, name in self._contacted.items() if name in alive} | set(alive.values())
        return [base for base in self._join if base not in met]

    @property
    def _settled(self) -> bool:
        return self._listened_s >= self._settle_s

    def _may_start(self, alive: list[Peer]) -> bool:
        """Whether there is a mesh to be a member of, or it may start with these."""
        if self._alone_allowed or any(not peer.joining for peer in alive):
            return True
        return not self._sought() and not any(peer.seeking for peer in alive)

    def _at_rest(self, now: float) -> bool:
        """Whether there is nothing to be proven soon. Markers may be lost: one alone is never relied on."""
        late = now - PROBE_IDLE_S * 1.5
        return self.state != "joining" and all(
            peer.answered_at > late if peer.linked else peer.dead and peer.broken_at < late
            for peer in self.peers.values()
        )

    def _new_probe(self, now: float) -> Probe:
        self._probes = {key: at for key, at in self._probes.items() if now - at <= MEMORY_S}
        self._left = {key: at for key, at in self._left.items() if now - at <= MEMORY_S}
        self._dropped = {key: at for key, at in self._dropped.items() if now - at <= MEMORY_S}
        nonce = self._random_bytes(8)
        self._probes[nonce] = now
        return Probe(nonce)

    def _links_us(self, view: View) -> bool:
        return any(each.linked and each.record == self.record for each in view.peers)

    def _tell(self, event: str, peer: Peer) -> list[Effect]:
        return [Tell({"event": event, **peer.record.to_map()})] if peer.told else []

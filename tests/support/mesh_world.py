"""A world for `membership`: proxies with a virtual clock, on a network that delays, loses, breaks and heals. No I/O.

    world = MeshWorld(seed=1)
    world.start("p1"); world.start("p2", join=["p1"])
    world.run(2.0)
    world.processes["p2"].membership.state

What the network does is what ZeroMQ's does: a link is one connection made by the relay that wants it, in order both
ways; it is made again after a pause when it breaks; markers travel up it, answers and announcements down it. A cut is
silent: what is under way waits for the heal, unless the heartbeat ends the connection first. Whoever stands still
(SIGSTOP) reads nothing, and everything when it goes on.

`MeshWorld` asserts, at every effect: no proxy links to itself, none links twice to one address, none unlinks what it
has not linked, none becomes a member twice. When one becomes a member it asserts that there is no hole: see `_admit`.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from fabric.protocol import views
from fabric.protocol.views import Record
from fabric.proxy import membership
from fabric.proxy.membership import FRESH_S, Membership

HEARTBEAT_S = 2.0
RETRY_S = 0.7
"""Longest pause between two tries to connect. It must be shorter than `settle_s`: see `Membership`."""
HEALED_S = RETRY_S + 1.0
"""So long after a heal two proxies may not have met again: a try to connect, and a marker and its answer."""


@dataclass(eq=False)
class Connection:
    """A connection to the link of whoever lives at `base`. `serial` grows when it opens and when it breaks.

    scout:   it is not the relay's, but one that asks, and gets nothing but answers
    asking:  a marker waits for it to open
    """

    owner: SimulatedProxy
    base: str
    scout: bool = False
    asking: bool = False
    target: SimulatedProxy | None = None
    serial: int = 0
    arrives: dict[str, float] = field(default_factory=lambda: {"up": 0.0, "down": 0.0})
    held: list[Callable[[], None]] = field(default_factory=list)


class SimulatedProxy:
    """One run of a proxy, on a host of its own; what it is called in the mesh is in its record."""

    def __init__(self, world: MeshWorld, host: str, record: Record, join: Iterable[str], first: bool) -> None:
        self.world, self.name, self.base = world, host, record.base
        self.alive, self.stopped, self.left = True, False, False
        self.inbox: list[Callable[[], list[membership.Effect]]] = []
        self.links: dict[str, Connection] = {}
        self.scouts: dict[str, Connection] = {}
        self.membership = Membership(record, world.now, world.random.randbytes, join=join, first=first)

    def receive(self, fun: Callable[[], list[membership.Effect]]) -> None:
        if self.stopped:
            self.inbox.append(fun)
        elif self.alive:
            self.perform(fun())

    def resume(self) -> None:
        self.stopped = False
        inbox, self.inbox = self.inbox, []
        for fun in inbox:
            self.receive(fun)

    def tick(self) -> None:
        if self.alive and not self.stopped:
            self.perform(self.membership.tick(self.world.now))
        if self.alive:
            self.world.after(self.world.tick_s, self.tick)

    def perform(self, effects: list[membership.Effect]) -> None:
        for effect in effects:
            self.world.perform(self, effect)

    def connections(self) -> list[Connection]:
        return [*self.links.values(), *self.scouts.values()]

    def links_to(self, other: SimulatedProxy) -> bool:
        """Its list calls this run of the other linked, and the connection is there."""
        peer = self.membership.peers.get(other.membership.record.id)
        link = self.links.get(other.base)
        return bool(peer and peer.record == other.membership.record and peer.linked and link and link.target is other)


class MeshWorld:
    """A clock, a network and the proxies on it.

    seed:    of every delay and loss; None: nothing is random, each message takes 1 ms
    loss:    share of markers that are lost
    watch:   called with each process and effect, when it has been performed
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        loss: float = 0.0,
        tick_s: float = 0.02,
        watch: Callable[[SimulatedProxy, membership.Effect], None] = lambda process, effect: None,
    ) -> None:
        self.now = 100.0
        self.random = random.Random(seed or 0)
        self.fixed, self.loss, self.tick_s, self.watch = seed is None, loss, tick_s, watch
        self.processes: dict[str, SimulatedProxy] = {}
        self.aliases: dict[str, str] = {}
        self.cuts: set[frozenset[str]] = set()
        self.healed_at: dict[frozenset[str], float] = {}
        self.resumed_at: dict[str, float] = {}
        self.unlinked_at: dict[tuple[str, str], float] = {}
        self.admitted: set[Record] = set()
        self.fatal: dict[str, str] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._runs: Counter[str] = Counter()

    # --- what a test does

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, fun = heapq.heappop(self._queue)
            fun()
        self.now = end

    def start(self, host: str, join: Iterable[str] = (), *, known_as: str = "", first: bool = False) -> SimulatedProxy:
        """Start a proxy on a host; `join` holds other hosts, or aliases of them. It is named after its host."""
        assert host not in self.processes, f"{host} runs one already"
        name, run = known_as or host, f"{host}-run{self._runs[host] + 1}"
        self._runs[host] += 1
        process = SimulatedProxy(self, host, Record(name, run, self.base(host)), map(self.base, join), first)
        self.processes[host] = process
        self.after(self.delay(), process.tick)
        return process

    def kill(self, name: str) -> None:
        """End it without a word; the others' connections to it break at once."""
        self._end(self.processes[name])

    def leave(self, name: str) -> None:
        """End it in good order: it says so before it ends."""
        process = self.processes[name]
        process.left = True
        process.perform(process.membership.drain())
        process.perform(process.membership.leave())
        self.after(0.1, lambda: self._end(process))

    def stop(self, name: str) -> None:
        """It stands still, as under SIGSTOP; connections to it end when the heartbeat notices."""
        process = self.processes[name]
        process.stopped = True
        self._heartbeats()

    def go_on(self, name: str) -> None:
        self.resumed_at[name] = self.now
        self.processes[name].resume()

    def cut(self, one: str, other: str) -> None:
        self.cuts.add(frozenset((one, other)))
        self._heartbeats()

    def heal(self, one: str, other: str) -> None:
        pair = frozenset((one, other))
        self.cuts.discard(pair)
        self.healed_at[pair] = self.now
        for connection in self._connections():
            if connection.target and {connection.owner.name, connection.target.name} == pair:
                held, connection.held = connection.held, []
                for deliver in held:
                    deliver()

    # --- what the effects do

    def perform(self, process: SimulatedProxy, effect: membership.Effect) -> None:
        match effect:
            case membership.Link(base):
                assert base != process.base, f"{process.name} links to itself"
                assert base not in process.links, f"{process.name} links twice to {base}"
                process.links[base] = connection = Connection(process, base)
                self.after(self.delay(), lambda: self._open(connection))
            case membership.Unlink(base):
                assert base in process.links, f"{process.name} unlinks {base}, to which it is not linked"
                process.links.pop(base).serial += 1
            case membership.Probe(nonce):
                for connection in process.links.values():
                    self._probe(connection, nonce)
            case membership.Announce():
                view = process.membership.view()
                for connection in self._connections():
                    if connection.target is process and not connection.scout:
                        self._send(connection, "down", partial(self._see, connection.owner, view))
            case membership.Ask(bases):
                for base in process.scouts.keys() - set(bases):
                    process.scouts.pop(base).serial += 1
                for base in bases:
                    process.scouts[base] = process.scouts.get(base) or self._new_scout(process, base)
                for connection in process.scouts.values():
                    self._ask(connection)
            case membership.Admit():
                self._admit(process)
            case membership.Tell(event):
                if event["event"] == "link_down":
                    self.unlinked_at[process.name, event["id"]] = self.now
            case membership.Fatal(why):
                self.fatal[process.name] = why
                self.after(0.0, lambda: self._end(process))
        self.watch(process, effect)

    def _admit(self, process: SimulatedProxy) -> None:
        """No hole: who becomes a member is mutually linked with every member that it can reach.

        Not counted: who is cut off, stands still, or has just come back from either. And a link may break while the
        word that it is there is under way, or not older than FRESH_S.
        """
        assert process.membership.record not in self.admitted, f"{process.name} becomes a member twice"
        self.admitted.add(process.membership.record)
        for other in self.processes.values():
            if other is process or other.membership.state != "member" or not self._reachable(process, other):
                continue
            assert process.links_to(other), f"{process.name} is a member and has not linked {other.name}"
            broke = self.now - self.unlinked_at.get((other.name, process.membership.record.id), 0.0)
            assert other.links_to(process) or broke <= FRESH_S, (
                f"{process.name} is a member, and {other.name} has not linked it"
            )

    def _reachable(self, process: SimulatedProxy, other: SimulatedProxy) -> bool:
        """Whether the two could have met. That `process` itself stood still is no excuse."""
        pair = frozenset((process.name, other.name))
        back = max(self.healed_at.get(pair, 0.0), self.resumed_at.get(other.name, 0.0))
        return pair not in self.cuts and not other.stopped and self.now - back > HEALED_S

    def _end(self, process: SimulatedProxy) -> None:
        if not process.alive:
            return
        del self.processes[process.name]
        process.alive = False
        self._heartbeats()
        for connection in self._connections():
            if connection.target is process and not self._is_cut(connection.owner, process):
                self._break(connection, self.delay())
        for connection in (*process.links.values(), *process.scouts.values()):
            connection.serial += 1

    # --- the network

    def base(self, host: str) -> str:
        return f"ipc://{host}"

    def after(self, seconds: float, fun: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now + seconds, next(self._order), fun))

    def delay(self) -> float:
        if self.fixed:
            return 0.001
        return self.random.choice((0.0005, 0.001, 0.003, 0.01, 0.06)) * self.random.uniform(0.5, 1.0)

    def _at(self, base: str) -> SimulatedProxy | None:
        base = self.aliases.get(base, base)
        return next((process for process in self.processes.values() if process.base == base), None)

    def _is_cut(self, one: SimulatedProxy, other: SimulatedProxy) -> bool:
        return frozenset((one.name, other.name)) in self.cuts

    def _connections(self) -> list[Connection]:
        return [each for process in self.processes.values() for each in process.connections()]

    def _open(self, connection: Connection) -> None:
        owner, target = connection.owner, self._at(connection.base)
        if connection not in owner.connections() or not owner.alive or connection.target:
            return
        if target is None or target.stopped or owner.stopped or self._is_cut(owner, target):
            pause = 0.1 if self.fixed else self.random.uniform(0.02, RETRY_S)
            self.after(pause, lambda: self._open(connection))
            return
        connection.target, connection.serial = target, connection.serial + 1
        connection.arrives = {"up": self.now, "down": self.now}
        if not connection.scout:
            owner.receive(lambda: owner.membership.link_opened(connection.base, self.now))
        elif connection.asking:
            self._ask(connection)

    def _break(self, connection: Connection, notice_s: float) -> None:
        connection.target, connection.serial, connection.held = None, connection.serial + 1, []
        owner, base = connection.owner, connection.base

        def notice() -> None:
            if owner.links.get(base) is connection:
                owner.receive(lambda: owner.membership.link_lost(base, self.now))
            self._open(connection)

        self.after(notice_s, notice)

    def _heartbeats(self) -> None:
        """Some time from now the connections over what is still cut, or to who still stands still, end."""
        for connection in self._connections():
            self.after(HEARTBEAT_S + self.delay(), partial(self._beat, connection, connection.serial))

    def _beat(self, connection: Connection, serial: int) -> None:
        target = connection.target
        if target is None or connection.serial != serial:
            return
        if not target.alive or target.stopped or connection.owner.stopped or self._is_cut(connection.owner, target):
            self._break(connection, 0.0)

    def _send(self, connection: Connection, way: str, arrive: Callable[[], None]) -> None:
        """Deliver in order, unless the connection breaks before."""
        serial, target = connection.serial, connection.target
        if target is None:
            return
        at = max(connection.arrives[way], self.now + self.delay())
        connection.arrives[way] = at

        def deliver() -> None:
            if connection.serial != serial:
                return
            if self._is_cut(connection.owner, target):
                connection.held.append(deliver)
            else:
                arrive()

        self.after(at - self.now, deliver)

    def _probe(self, connection: Connection, nonce: bytes) -> None:
        owner, target = connection.owner, connection.target
        if target is None or self.random.random() < self.loss:
            return

        def ask() -> list[membership.Effect]:
            effects = target.membership.marker_heard(owner.membership.record, self.now)
            view = target.membership.view()
            self._send(
                connection,
                "down",
                lambda: owner.receive(lambda: owner.membership.probe_answered(view, nonce, self.now)),
            )
            return effects

        self._send(connection, "up", lambda: target.receive(ask))

    def _see(self, process: SimulatedProxy, view: views.View) -> None:
        process.receive(lambda: process.membership.view_heard(view, self.now))

    def _new_scout(self, process: SimulatedProxy, base: str) -> Connection:
        connection = Connection(process, base, scout=True)
        self.after(self.delay(), lambda: self._open(connection))
        return connection

    def _ask(self, connection: Connection) -> None:
        owner, target, base = connection.owner, connection.target, connection.base
        connection.asking = target is None
        if target is None or self.random.random() < self.loss:
            return

        def ask() -> list[membership.Effect]:
            effects = target.membership.marker_heard(owner.membership.record, self.now)
            view = target.membership.view()
            self._send(
                connection, "down", lambda: owner.receive(lambda: owner.membership.scout_answered(base, view, self.now))
            )
            return effects

        self._send(connection, "up", lambda: target.receive(ask))

"""A proxy: the switch (`fabric.core.switch`) carries, and one control thread in Python never touches a message.

The switch reports what is rare: subscriptions, markers with news, what is addressed to this proxy, announcements. The
control thread feeds `membership`, performs its effects, and keeps the answer ready with which the switch answers all
other markers. Reading order: `_turn`; `_on_reports` and what it calls; what goes out.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import zmq

from fabric import sockets
from fabric.addresses import Names
from fabric.core import BUILD
from fabric.core.retained import MAX_BYTES, MAX_TOPICS, SHARED, address_of
from fabric.core.steering import Place, read_failure
from fabric.endpoints import Endpoints
from fabric.errors import FabricError, RemoteWireError, TransportError, expected
from fabric.identity.keys import SUFFIX, Keys, from_environment, load
from fabric.processes import close_at_exit, is_ending, require_threads
from fabric.protocol import markers, questions, views
from fabric.proxy import membership
from fabric.proxy.descriptors import Looker, cut, cut_connections, descriptors, to_be_cut
from fabric.proxy.figures import Figures
from fabric.proxy.guard import Guard
from fabric.proxy.plumbing import Plumbing
from fabric.proxy.readers import QUEUE_BYTES, STALLED_S, Readers
from fabric.proxy.retaining import MAX_DUMPS_A_SECOND, Retaining
from fabric.proxy.retaining import figures as retained_figures
from fabric.proxy.self_test import SelfTest
from fabric.proxy.subscribers import Subscribers
from fabric.topics import MAX_TOPIC_BYTES, require_name
from fabric.wire import DEFAULT_MAX_PAYLOAD_BYTES, ENVELOPE_BYTES, Encoder, decode

log = logging.getLogger("fabric.proxy")

TICK_MS = 20
MAX_STALLED_S = 1_000_000.0
MAX_EVENTS_A_SECOND = 200
"""That are published; beyond, they are counted, and the next one says how many."""
AUDIT = "$fabric/audit/"
"""Then its name, and the event."""
MAX_AUDITS_A_SECOND = 100
"""That are published; beyond, they are counted, and the next one says how many."""
TOLD_A_TICK = 200
"""Nodes that are told their new rights in one tick: new rules must not hold up what else is to be done."""
SWEEP_S = 10.0
"""How often the gate forgets those who have left."""
RELINK_S = 0.5
"""Pause before a link that was refused is tried again."""
ALIVE_S = 1.0
"""How often the switch is asked for an echo."""
SILENCE_S = 20.0
"""A switch that echoes nothing for so long is dead: the process ends rather than pretend. A busy one may be silent for
seconds: forgetting a peer with 100,000 prefixes takes 0.3 s, and many may leave at once."""
MAX_PEER_ANSWERS_A_SECOND = 2_000
"""A peer sends one marker a second, and 33 while a link is to be proven."""
MAX_STRANGER_ANSWERS_A_SECOND = 100
"""To those that are not in the list, or not yet: each repeats its marker, ten times a second while it joins."""
_ALIVE, _BOUND = b"alive", b"bound"
"""Words to be echoed: it is alive; what was to be bound before is bound, unless a failure was reported."""
_LEGS = {Place.OUT: "out", Place.LINK: "link"}
"""Where markers are met, as answers say it."""
TOPIC_BYTES = MAX_TOPIC_BYTES + 1
"""A topic and the NUL behind it."""


class Proxy:
    """One proxy of the mesh. `run()` in this thread, or `start()` in a new one; a context manager starts and closes it.

    `drain` and `stats` are for any thread.

    listen:     base address, see `fabric.endpoints`
    join:       bases of proxies to join; empty: it is a mesh by itself until others join it
    name:       its name in the mesh, one topic level; default from the address
    advertise:  the base that others connect to, when it is not `listen`
    first:      it may become a member though no address of `join` answers
    hwm_msgs:   queue of each connection, in messages; a subscriber that is further behind loses what comes then
    queue_bytes: what may wait here for slow readers, all together, 256 MiB by default; beyond, the one that stalls, or
                is slowest, is cut, see `fabric.proxy.readers`; at twice as much publishers wait
    stalled_s:  a subscriber that takes nothing for so long while something waits for it is cut; 0: never
    max_payload_bytes: largest payload that is let through, 8 MiB by default; a larger one ends its connection
    retained_topics, retained_bytes: values of topics that it keeps for later subscribers at most, and their bytes, with
                256 for each; by default 100,000 and 64 MiB. Whose value is above that is told
    settle_s:   how long it listens before it becomes a member
    dead_s:     a peer that was not heard of for so long is declared dead
    drain_s:    how long `drain` waits at most for nodes to move away
    keys:       folder with the keys of the mesh and of this proxy, see `fabric.identity.keys`; default: `FABRIC_KEYS`,
                if that is set. Without keys anybody who reaches it may do everything
    observe:    with keys: let everything in, and only tell the audit what would have been refused
    on_audit:   called from the control thread with a flat map `{"event": …}` and who, door, topic, why: see
                `fabric.proxy.guard`
    on_event:   called from the control thread with a map `{"event": …}`: ready, link_up, link_down, peer_joined,
                peer_restarted, peer_dead, peer_back, peer_left, draining, …
    errors:     ValueError for an invalid address or name, TransportError for an address that cannot be bound, KeysError
    """

    def __init__(
        self,
        listen: str,
        *,
        join: Iterable[str] = (),
        name: str | None = None,
        advertise: str | None = None,
        first: bool = False,
        hwm_msgs: int = sockets.HWM_MSGS,
        queue_bytes: int = QUEUE_BYTES,
        stalled_s: float = STALLED_S,
        max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES,
        retained_topics: int = MAX_TOPICS,
        retained_bytes: int = MAX_BYTES,
        settle_s: float = 1.0,
        dead_s: float = 3.0,
        drain_s: float = 5.0,
        keys: str | os.PathLike[str] | Keys | None = None,
        observe: bool = False,
        on_audit: Callable[[dict[str, Any]], None] | None = None,
        on_event: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        counts = {"hwm_msgs": hwm_msgs, "queue_bytes": queue_bytes, "max_payload_bytes": max_payload_bytes}
        for what, count in counts.items():
            if type(count) is not int or count < 1:
                raise ValueError(expected(what, count, "a whole number above 0"))
        if type(stalled_s) not in (int, float) or not 0 <= stalled_s < MAX_STALLED_S:
            raise ValueError(expected("stalled_s", stalled_s, f"seconds, from 0 to {MAX_STALLED_S:g}"))
        self.endpoints = Endpoints.parse(listen)
        public = Endpoints.parse(advertise) if advertise else self.endpoints
        if public.is_wildcard:
            raise ValueError(expected("address for others", public.base, "a real host: give `advertise`"))
        self.name = name or public.default_name()
        require_name("name", self.name)
        # Everything below is for the control thread alone, but for what says otherwise. Times are monotonic.
        self._join = tuple(Endpoints.parse(base).base for base in join)
        if self._join and not first and set(self._join) <= {self.endpoints.base, public.base}:
            raise ValueError(f"{self._join[0]} is this proxy itself: expected the address of another one to join "
                             "(--first starts alone)")  # fmt: skip
        self._drain_s = drain_s
        self._event_fun = on_event
        self._incarnation = secrets.token_hex(16)
        """Of this run, 32 hexadecimal digits."""
        self._encoder = Encoder(secrets.randbits(64))
        self._numbers: Counter[str] = Counter()
        """Last numbers of this proxy's own announcements, by topic."""
        record = views.Record(self.name, self._incarnation, public.base)
        self._membership = membership.Membership(
            record,
            time.monotonic(),
            secrets.token_bytes,
            join=self._join,
            first=first,
            settle_s=settle_s,
            dead_s=dead_s,
        )
        """Decides who belongs to the mesh; whatever it returns is performed at once."""
        self._thread: threading.Thread | None = None
        """The control thread, when `start` made it; None when `run` runs in the caller's."""
        self._began = False
        """`run` was called: from then on it alone closes the plumbing."""
        self._ready = threading.Event()
        """It was a member, or has ended. Set once."""
        self._ended = threading.Event()
        """Everything is closed. Set once."""
        self._ready_event: dict[str, Any] = {}
        """What is told when `in` is bound. Set when it became a member."""
        self._drain_asked = self._stop_asked = False
        """Set by any thread, or a signal handler; never cleared."""
        self._reload_asked = False
        """Set by any thread, or a signal handler; cleared when the rules were read."""
        self._audit_fun = on_audit
        self._audits, self._unsaid = questions.Budget(MAX_AUDITS_A_SECOND), 0
        """How many decisions may be published in this second; and how many were not since the last that was."""
        own_keys = _keys(keys, self.name)
        self._guard = Guard(own_keys, self._audit, observe=observe) if own_keys is not None else None
        """With keys: who may do what."""
        self._events, self._untold = questions.Budget(MAX_EVENTS_A_SECOND), 0
        """How many events may be published in this second; and how many were not since the last that was."""
        self._unguarded = {"keys": False, "insecure": not self.endpoints.is_local}
        """What is announced of who may do what, without keys. Never changes."""
        self._relink: dict[str, float] = {}
        """Links that were refused, and when each is tried again."""
        self._to_tell: deque[str] = deque()
        """Tokens of nodes whose rights have changed, to be told."""
        self._next_sweep = 0.0
        """When the gate next forgets those who have left."""
        self._test: SelfTest | None = None
        """Tries the own doors, with keys that are enforced."""
        if self._guard is not None and not observe:
            own = self._guard
            self._test = SelfTest(self.endpoints.to_connect(), own.keys, own.stranger, own.own_doors)
        self._drain_since: float | None = None
        """When draining began."""
        self._failure: str | None = None
        """Why it cannot go on; it ends with this turn. The switch's thread sets it, too."""
        self._announce_now = False
        """The view changed in this turn, and is announced at its end."""
        self._last_loop = time.monotonic()
        """When the loop last turned. Any thread reads it."""
        self._echoed_at = self._next_echo = self._last_loop
        """When the switch last echoed; and when it is next asked to."""
        self._answered_view: views.View | None = None
        """The view that the switch answers markers with; None before the first."""
        self._look_at_view = True
        """Something happened that may have changed the view: it is compared at the end of this turn."""
        self.refused: Counter[str] = Counter()
        """What peers sent and was not taken here, by kind; the switch counts for itself."""
        self._next_mend = self._next_tick = 0.0
        """When each is next due."""
        self._figures = Figures()
        self._short = False
        """Too few descriptors are left, see `figures.descriptors`; by the last announcement."""
        self.status_page: dict[str, str] | None = None
        """Where its program serves a status page: see `Node.status_page`. Announced; set by the program, as a whole."""
        self._announced: dict[str, Any] = {}
        """The last announcement; empty before the first. Replaced as a whole; any thread reads it."""
        self._questions, self._answers = questions.Budget(questions.MAX_PINGS_A_SECOND), 0
        """How many questions may be answered in this second; and how many were, which numbers the answers."""
        self._peer_answers = questions.Budget(MAX_PEER_ANSWERS_A_SECOND)
        self._stranger_answers = questions.Budget(MAX_STRANGER_ANSWERS_A_SECOND)
        """How many markers that bring news may be answered in this second: of peers in the list, and of all others."""
        self._dumps = questions.Budget(MAX_DUMPS_A_SECOND)
        """How often others may be told all that is retained, in this second."""
        self._names = Names(self._join)
        """Addresses of `join`."""
        self._scouts: dict[str, sockets.Socket] = {}
        """Connections that ask, by address: those of the last `Ask`."""
        sockets.raise_descriptor_limit()
        self._own_prefixes = (markers.ack_prefix(self._incarnation), markers.ANNOUNCE.encode())
        """What is addressed to this proxy, and announcements: the relay is subscribed to both."""
        self._subscribers = Subscribers(self._own_prefixes)
        """Who subscribes here."""
        self._plumbing = Plumbing(
            self.endpoints,
            own=self._own_prefixes[0],
            news=self._own_prefixes[1],
            hwm_msgs=hwm_msgs,
            queue_bytes=queue_bytes,
            stalled_ms=int(stalled_s * 1000) + sockets.STALLED_SLACK_MS if stalled_s else 0,
            max_body_bytes=max_payload_bytes + ENVELOPE_BYTES,
            max_part_bytes=max_payload_bytes + ENVELOPE_BYTES + TOPIC_BYTES,
            on_death=self._switch_died,
            guard=self._guard,
            retained=(retained_topics, retained_bytes),
            heard=(SHARED, address_of(self._incarnation)),
        )
        """Sockets and the switch. What may be done by which thread stands there."""
        doors = {"out": stalled_s, "link": stalled_s, "guest": sockets.GUEST_STALLED_MS / 1000}
        self._slow = Readers(queue_bytes, doors)
        """Decides who reads too slowly."""
        self._looker = Looker({door: getattr(self.endpoints, door) for door in doors})
        self._retaining = Retaining(self._plumbing, self._incarnation)
        """Has the switch see to the retained values that it keeps."""
        self._poller = zmq.Poller()
        self._readers: dict[sockets.Socket, Callable[[], None]] = {self._plumbing.link_events: self._on_link_events}
        """Sockets in `_poller`, and who reads each."""
        self._readers[self._plumbing.control] = self._on_reports
        for socket in self._readers:
            self._poller.register(socket, zmq.POLLIN)
        close_at_exit(self)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Run in a new thread, until `close`, or drained. Does not wait; see `wait_ready`."""
        require_threads("proxy")
        self._thread = threading.Thread(target=self._run_quietly, name=f"fabric-proxy-{self.name}", daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Run until drained or closed. Raises TransportError when it cannot go on."""
        self._began = True
        self._plumbing.start()
        try:
            found = self._test.run(("out", "link", "guest")) if self._test is not None else None
            if found is not None:  # also a door that does not answer: it is no member yet
                self._failure = f"the self-test failed: {found.why}"
            while not self._finished():
                self._turn()
        finally:
            self._shut()
        if self._failure is not None:
            raise TransportError(self._failure)

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait until it is a member of the mesh; False when it is not in time, or has ended."""
        return self._ready.wait(timeout_s) and not self._ended.is_set()

    def drain(self) -> None:
        """Ask it to leave in good order; safe in a signal handler. `run` returns when its nodes have gone, or later."""
        self._drain_asked = True

    def reload(self) -> None:
        """Ask it to read the rules of its keys again, now; safe in a signal handler. It looks by itself, too."""
        self._reload_asked = True

    def close(self, timeout_s: float = 10.0) -> None:
        """End it now, telling peers and nodes; wait for its thread."""
        if is_ending():  # in a destructor, say: its threads have stopped
            return
        self._stop_asked = True
        if self._thread is not None:
            self._thread.join(timeout_s)
        elif not self._began:
            self._plumbing.abandon()
            self._ready.set()
            self._ended.set()

    def close_at_exit(self, timeout_s: float) -> None:
        """At the end of the process: end it, if it has a thread; who called `run` ends that."""
        if self._thread is not None:
            self.close(timeout_s)

    def __enter__(self) -> Proxy:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready_line(self) -> dict[str, Any]:
        """What `fabric proxy` prints when it is a member."""
        view = self._membership.view()
        return {
            "event": "ready",
            "name": self.name,
            "listen": self.endpoints.base,
            "protocol": list(markers.PROTOCOL),
            "peers": [peer.record.id for peer in view.peers if peer.linked],
        }

    def stats(self) -> dict[str, Any]:
        """Return what was last announced, a second ago at most; `turned_s_ago`: when its thread last turned; and
        `echoed_s_ago`: when the switch last answered it, which it is asked to each second.

        Empty but for these before it runs. From any thread.
        """
        now = time.monotonic()
        return {**self._announced, "turned_s_ago": now - self._last_loop, "echoed_s_ago": now - self._echoed_at}

    # ── the loop ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _hear(self, timeout_ms: int) -> None:
        """Take what comes in, and wait for it at most so long."""
        for socket, _ in self._poller.poll(timeout_ms):
            reader = self._readers.get(socket)
            if reader is not None:
                reader()

    def _turn(self) -> None:
        self._hear(TICK_MS)
        now = time.monotonic()
        if now - self._last_loop > SILENCE_S / 2:
            self._echoed_at = now  # this process stood still, and so did its switch
        self._last_loop = now
        if now >= self._next_mend:
            self._mend(now)
        if self._drain_asked and self._drain_since is None:
            self._drain_since = now
            self._perform(self._membership.drain())
        if now >= self._next_tick:
            self._tick(now)
        if self._look_at_view:
            self._look_at_view = False
            self._keep_answer_ready()
        if self._announce_now:
            self._announce_now = False
            self._announce(now)

    def _tick(self, now: float) -> None:
        """What time demands; not at each turn, of which every ack takes some."""
        self._next_tick = now + TICK_MS / 2000
        effects = self._membership.tick(now)
        if effects or self._membership.state == "joining":  # a member's view changes with an effect only
            self._perform(effects)
        self._watch_readers(now)
        if now >= self._next_echo:
            self._next_echo = now + ALIVE_S
            self._plumbing.echo(_ALIVE)
        self._retaining.tick(now)
        if self._guard is not None:
            self._guard_tick(self._guard, now)
        if now - self._echoed_at > SILENCE_S:
            self._failure = f"the own switch did not answer for {SILENCE_S:g} s"

    def _watch_readers(self, now: float) -> None:
        """Look who takes nothing of what waits here, and cut who has to go."""
        queued = self._plumbing.queued()
        if not self._slow.wants_look(queued, now):
            return
        seen = self._looker.look()
        for reader, why in self._slow.looked(seen, queued, now, time.monotonic() - now):
            if cut(reader.number, reader.inode):
                self._audit({"event": "slow_reader_cut", "door": reader.door, "from": reader.peer, "why": why})
                self._on_event({"event": "slow_reader_cut", "door": reader.door, "from": reader.peer, "why": why})

    def _finished(self) -> bool:
        if self._stop_asked or self._failure is not None:
            return True
        if self._drain_since is None:
            return False
        return not self._subscribers.nodes or time.monotonic() - self._drain_since > self._drain_s

    def _perform(self, effects: Iterable[membership.Effect]) -> None:
        self._look_at_view = True
        for effect in effects:
            match effect:
                case membership.Link(base):
                    self._link(Endpoints.parse(base).link)
                case membership.Unlink(base):
                    self._plumbing.unlink(Endpoints.parse(base).link)
                case membership.Probe(nonce):
                    probe = markers.encode_marker(self._incarnation, nonce, self._membership.record)
                    self._plumbing.send(Place.RELAY, probe)
                case membership.Ask(bases):
                    self._ask(bases)
                case membership.Announce():
                    self._announce_now = True
                case membership.Admit():
                    self._plumbing.admit()
                    self._plumbing.echo(_BOUND)
                case membership.Tell(event) if event["event"] == "ready":
                    self._ready_event = event
                case membership.Tell(event):
                    if event["event"] == "link_up":
                        self._retaining.linked(event["id"])
                    self._on_event(event)
                case membership.Fatal(why):
                    self._failure = why

    def _ask(self, bases: tuple[str, ...]) -> None:
        for base in [base for base in self._scouts if base not in bases]:
            scout = self._scouts.pop(base)
            self._poller.unregister(scout)
            del self._readers[scout]
            scout.close()
        for base in bases:
            if base not in self._scouts:
                links = [Endpoints.parse(each).link for each in self._names.of(base)]
                self._scouts[base] = scout = self._plumbing.scout(links, self._mesh_key(base))
                scout.send(b"\x01" + markers.ack_prefix(self._incarnation))
                self._readers[scout] = lambda base=base: self._on_scout(base)  # type: ignore[misc]
                self._poller.register(scout, zmq.POLLIN)
            self._scouts[base].send(markers.encode_marker(self._incarnation, b"ask", self._membership.record))

    # ── what comes in ────────────────────────────────────────────────────────────────────────────────────────────

    def _on_reports(self) -> None:
        """What the switch tells. Whatever the bytes that peers sent, it goes on."""
        for report in self._plumbing.reports():
            place, part = Place(report[0]), report[1:]
            if place is Place.CONTROL:
                self._on_control(report)
            elif place in (Place.PULL, Place.RELAY):
                self._on_message(part)
            elif part[:1] in (b"\x00", b"\x01"):
                self._on_subscription(place, part[1:], subscribed=part[:1] == b"\x01")
            else:
                self._on_marker(place, part)

    def _on_control(self, report: bytes) -> None:
        """An echo, or a command that libzmq refused."""
        if report[1:2] == b"E":
            self._echoed_at = time.monotonic()
            if report[2:] == _BOUND and self._failure is None:
                self._on_event(self._ready_event)  # first: who waited for it has been told
                self._ready.set()
            return
        failed = read_failure(report)
        if failed.letter == "B":
            self._failure = str(failed)
            return
        self.refused["peer_address"] += 1
        base = next((base for base in self._known_bases() if _same_link(base, failed.endpoint)), failed.endpoint)
        self._on_event({"event": "bad_peer", "base": base, "error": str(failed)})

    def _known_bases(self) -> list[str]:
        return [peer.record.base for peer in self._membership.view().peers]

    def _on_subscription(self, place: Place, prefix: bytes, *, subscribed: bool) -> None:
        if place is not Place.GUEST:
            self._subscribers.heard(prefix, subscribed=subscribed)
            if place is Place.OUT and markers.is_addressed(prefix):
                run = questions.run_of(prefix[len(markers.ACK) :].decode(errors="replace"))
                self._say_event({"event": "node_joined" if subscribed else "node_left", "run": run})
            if self._guard is not None and not subscribed and markers.is_addressed(prefix):
                self._guard.node_left(prefix[len(markers.ACK) :].decode(errors="replace"))
        elif self._subscribers.guest_heard(prefix, subscribed=subscribed):
            if subscribed:
                self._plumbing.subscribe_relay((prefix,))
            else:
                self._plumbing.cancel_relay(prefix)

    def _on_marker(self, place: Place, part: bytes) -> None:
        """One that the switch does not answer: it brings news, or is none, or the first answer was not ready yet."""
        if self._on_claims_wanted(place, part):
            return
        token = markers.read_rights_wanted(part)
        if token is not None:
            if self._peer_answers.take(time.monotonic()):
                self._tell_rights(token)
            return
        try:
            marker = markers.decode_marker(part)
        except RemoteWireError as error:
            self.refused[error.kind] += 1
            return
        now = time.monotonic()
        if marker.wanted is not None:
            self.refused["answers"] += 1  # the switch alone has the values: the node asks again
            return
        if place is Place.OUT:
            if marker.sender is not None:
                self.refused["sender"] += 1  # proxies speak at the link
                return
            if marker.claims:
                if self._guard is None:
                    self._subscribers.claim(marker.claims)
                else:
                    self.refused["claims"] += 1  # with keys no stray cancel takes anything: there is nothing to claim
                return  # a notice of its proxy was its question
            self._plumbing.send(Place.RELAY, part)
        elif marker.sender is not None:
            # Record it before it is answered.
            self._perform(self._membership.marker_heard(marker.sender, now))
        budget = self._peer_answers if self._membership.knows(marker.sender) else self._stranger_answers
        if budget.take(now):
            self._plumbing.send(place, self._answer(place, marker.token, marker.nonce))
        else:
            self.refused["answers"] += 1

    def _on_claims_wanted(self, place: Place, part: bytes) -> bool:
        """Whether a marker is none, but another proxy's question what is retained here."""
        wanted = markers.read_claims_wanted(part)
        if wanted is None or place is not Place.LINK:
            return False
        incarnation, proxy_id = wanted
        if proxy_id == self._membership.record.id:
            if self._dumps.take(time.monotonic()):
                self._retaining.asked(incarnation)
            else:
                self.refused["answers"] += 1
        return True

    def _tell_rights(self, token: str) -> None:
        payload = self._guard.rights_wanted(token) if self._guard is not None else {}
        self._plumbing.send(Place.OUT, self._part(markers.rights_topic(token), payload, number=1))

    def _answer(self, place: Place, token: str, nonce: bytes) -> bytes:
        payload = markers.answer_payload(nonce, _LEGS[place], self._membership.view())
        return self._part(markers.answer_topic(token), payload, number=1)

    def _keep_answer_ready(self) -> None:
        """Have the switch answer with the view as it is now, so that no ack waits for this thread."""
        view = self._membership.view()
        if view == self._answered_view:
            return
        self._answered_view = view
        nonce = secrets.token_bytes(16)
        for place in _LEGS:
            self._plumbing.answer_with(place, *markers.split_answer(self._answer(place, "any", nonce), nonce))

    def _mend(self, now: float) -> None:
        """Ask who holds what was cancelled; subscribe to what is held."""
        self._next_mend = now + TICK_MS / 1000
        for topic, prefix in self._subscribers.take_notices():
            self._plumbing.send(Place.OUT, self._encoder.part(topic, 1, time.time_ns(), prefix, markers.NOTICE))
        self._plumbing.subscribe_relay(self._subscribers.mend())

    def _on_message(self, part: bytes) -> None:
        """Answers to the own probes, questions to this proxy, and announcements of others."""
        found = self._read(part)
        if found is None:
            return
        topic, payload = found
        now = time.monotonic()
        if topic.startswith(markers.ANNOUNCE):
            view = views.View.from_map(payload)
            if view is not None and view.record.incarnation != self._incarnation:
                self._perform(self._membership.view_heard(view, now))
            return
        if markers.kind_of(topic.encode()) is markers.Kind.QUESTION:
            self._on_question(payload)
            return
        answer = markers.read_answer(payload)
        if answer is None:
            self.refused["answer"] += 1
        else:
            self._perform(self._membership.probe_answered(answer.view, answer.nonce, now))

    def _on_question(self, payload: Any) -> None:
        """See `protocol.questions`. One count numbers the answers to all: what others ask grows nothing."""
        question = questions.read_question(payload)
        if question is not None and question.ask == "ping" and self._questions.take(time.monotonic()):
            self._answers += 1
            answer = {"answer": "ping", "id": question.id, "proxy": self.name}
            self._plumbing.say(self._part(question.reply_to, answer, number=self._answers))

    def _on_scout(self, base: str) -> None:
        scout = self._scouts[base]
        for part in sockets.read_waiting(scout):
            found = self._read(part)
            answer = markers.read_answer(found[1]) if found else None
            # Behind a name of several proxies this one is only one of them: it goes on to look for the others.
            is_own = answer is not None and answer.view.record == self._membership.record
            if answer is not None and not (is_own and self._names.is_several(base)):
                self._perform(self._membership.scout_answered(base, answer.view, time.monotonic()))
            if scout.closed:
                return

    def _read(self, part: bytes) -> tuple[str, Any] | None:
        try:
            message = decode(part)
        except RemoteWireError as error:
            self.refused[error.kind] += 1
            return None
        return message.topic, message.payload

    def _on_link_events(self) -> None:
        now = time.monotonic()
        for event, endpoint in sockets.events_of(self._plumbing.link_events):
            if event & sockets.FAILED_EVENTS:
                self._on_refused_link(endpoint)
                continue
            base = next((base for base in self._known_bases() if _same_link(base, endpoint)), None)
            if base is not None:
                change = self._membership.link_lost if event == zmq.EVENT_DISCONNECTED else self._membership.link_opened
                self._perform(change(base, now))

    def _link(self, endpoint: str) -> None:
        self._plumbing.link(endpoint, self._mesh_key(endpoint))

    def _mesh_key(self, where: str) -> str | None:
        return self._guard.mesh_key(where) if self._guard is not None else None

    def _on_refused_link(self, endpoint: str) -> None:
        """It showed another key, or does not admit this proxy's: connect again, for libzmq may not."""
        self.refused["link"] += 1
        if self._guard is not None and any(_same_link(base, endpoint) for base in self._known_bases()):
            self._plumbing.unlink(endpoint)
            self._relink[endpoint] = time.monotonic() + RELINK_S

    def _count_refusals(self) -> None:
        """Once a second will do: each socket that is polled costs every turn a microsecond."""
        for monitor in self._plumbing.refusals:
            for _ in sockets.events_of(monitor):
                self.refused["handshake"] += 1

    # ── what goes out ────────────────────────────────────────────────────────────────────────────────────────────

    def _part(self, topic: str, payload: dict[str, Any], *, number: int | None = None) -> bytes:
        if number is None:
            self._numbers[topic] += 1
            number = self._numbers[topic]
        return self._encoder.part(topic.encode() + b"\0", number, time.time_ns(), payload)

    def _announce(self, now: float) -> None:
        self._count_refusals()
        passed = self._plumbing.counts()
        self._figures.update(now, passed)
        payload = {
            **self._membership.view().to_map(),
            "name": self.name,
            "build": BUILD,
            "protocol": list(markers.PROTOCOL),
            "uptime_s": round(now - self._figures.started, 3),
            "subscriptions": passed.prefixes,
            "nodes": self._subscribers.nodes,
            "counts": self._figures.counts,
            "bytes": self._figures.bytes,
            "rates": self._figures.rates,
            "refused": dict(self.refused + Counter(passed.refused) + self._refused_elsewhere()),
            "mended": self._subscribers.mended,
            "retained": retained_figures(passed.retained),
            "identity": self._guard.figures() if self._guard is not None else self._unguarded,
            "prefix_bytes": self._subscribers.prefix_bytes,
            "queued_bytes": passed.queued,
            "slow_readers_cut": self._slow.cut,
            "descriptors": self._count_descriptors(),
            "unanswered": self._membership.unanswered(),
            **({"page": self.status_page} if self.status_page else {}),
        }
        self._announced = payload
        self._plumbing.say(self._part(markers.ANNOUNCE + self.name, payload))

    # ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _guard_tick(self, guard: Guard, now: float) -> None:
        guard.tell_news(now)
        for endpoint in [endpoint for endpoint, at in self._relink.items() if now >= at]:
            del self._relink[endpoint]
            if any(_same_link(base, endpoint) for base in self._known_bases()):
                self._link(endpoint)
        asked, self._reload_asked = self._reload_asked, False
        changed = guard.look(now, asked=asked)
        if changed is not None:
            self._plumbing.take_rules()
            self._to_tell.extend(changed)
        guard.cut(now)  # before many are told
        for _ in range(min(len(self._to_tell), TOLD_A_TICK)):
            self._tell_rights(self._to_tell.popleft())
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_S
            self._plumbing.sweep()
        found = self._test.tick(now) if self._test is not None and self._ready.is_set() else None
        if found is not None and found.is_open:
            self._failure = f"the self-test failed: {found.why}"
        elif found is not None:  # a member is not ended by it: who takes all descriptors could
            log.warning("proxy %s tried its doors: %s", self.name, found.why)
            self.refused["self_test"] += 1

    def _audit(self, event: dict[str, Any]) -> None:
        """Tell what was decided: here, and to those who may read `$fabric/audit/…`, so often and no more."""
        if self._audits.take(time.monotonic()):
            said, self._unsaid = {**event, "proxy": self.name, "unsaid": self._unsaid}, 0
            self._plumbing.say(self._part(f"{AUDIT}{self.name}/{event['event']}", said))
        else:
            self._unsaid += 1
        if self._audit_fun is not None:
            try:
                self._audit_fun(event)
            except BaseException:  # a user's: it must not end the proxy, nor a SystemExit
                log.exception("the audit raised at %r", event)

    def _refused_elsewhere(self) -> Counter[str]:
        return Counter(strangers=self._membership.refused, guest_prefixes=self._subscribers.not_relayed)

    def _count_descriptors(self) -> dict[str, int]:
        found = descriptors()
        short = found["used"] > found["enough"]
        if short != self._short:
            self._short = short
            self._on_event({"event": "descriptors_short" if short else "descriptors_enough", **found})
        if short:
            self.refused["guests_cut"] += cut_connections(self.endpoints.guest, to_be_cut(found))
        return found

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _say_event(self, event: dict[str, Any]) -> None:
        """Tell the mesh, see `$fabric/event/…`; so often and no more."""
        if self._ended.is_set():
            return
        if self._events.take(time.monotonic()):
            said, self._untold = {**event, "proxy": self.name, "untold": self._untold}, 0
            self._plumbing.say(self._part(f"{questions.EVENT}{self.name}/{event['event']}", said))
        else:
            self._untold += 1

    def _on_event(self, event: dict[str, Any]) -> None:
        self._say_event(event)
        if self._event_fun is not None:
            try:
                self._event_fun(event)
            except BaseException:  # a user's: it must not end the proxy, nor a SystemExit
                log.exception("a handler of events raised at %r", event)

    def _switch_died(self, why: str) -> None:
        self._failure = why

    def _run_quietly(self) -> None:
        try:
            self.run()
        except FabricError as error:
            self._on_event({"event": "failed", "error": str(error)})

    def _shut(self) -> None:
        """Say good-bye behind everything that was accepted, and close."""
        try:
            if self._failure is None:
                # First: the other proxies let go of this one when they hear that it leaves.
                self._plumbing.turn_away()
                self._flush()
                self._hand_over()
                self._perform(self._membership.leave())
                self._announce(time.monotonic())
                self._flush()
        except TransportError as error:
            self._failure = self._failure or str(error)
        finally:
            if self._test is not None:
                self._test.close()
            # What is queued for live connections gets half a second to leave.
            self._plumbing.stop(linger_ms=0 if self._failure else 500)
            self._ready.set()
            self._ended.set()

    def _hand_over(self) -> None:
        """Give what is retained to another member, if there is one."""

        def heir() -> str | None:
            self._hear(TICK_MS)
            record = self._membership.heir()
            return record.incarnation if record is not None else None

        if not self._retaining.hand_over(heir):
            log.warning("proxy %s ended before another one had said that it has all retained values", self.name)

    def _flush(self) -> None:
        """Wait, at most a second, until the switch stands still: what publishers handed over has left."""
        end = time.monotonic() + 1.0
        before = None
        while time.monotonic() < end:
            now = self._plumbing.counts()
            if now == before:
                return
            before = now
            self._ended.wait(0.02)


def _keys(given: str | os.PathLike[str] | Keys | None, name: str) -> Keys | None:
    if given is None:
        return from_environment(as_proxy=True, name=name)
    return given if isinstance(given, Keys) else proxy_keys(given, name)


def proxy_keys(folder: str | os.PathLike[str], name: str | None) -> Keys:
    """Return the keys of a proxy: those of this name, or else of the only proxy that has a key there.

    errors: KeysError
    """
    has_own = name is not None and (Path(folder) / f"{name}{SUFFIX}").exists()
    return load(Path(folder), name if has_own else None, as_proxy=True)


def _same_link(base: str, endpoint: str) -> bool:
    return Endpoints.parse(base).link == endpoint

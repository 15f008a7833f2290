"""What a node's subscriptions reach: markers out, answers in, acks and changes of coverage as effects. Pure.

A marker follows the subscriptions that were sent before it on the same connections, through the node's own proxy and
its relay to every other proxy. Each answers, on the way of its messages, so the way back is proven as well. One marker
speaks for all subscriptions before it: they have *generations*, one for each loop turn that sent any.

Each answer carries the answering proxy's view: whom it was told to link, and whether it is. An attempt is complete
when the own proxy is a member and has answered, at its out, and everyone whom any answer of this
attempt calls linked has answered. Who is known but not linked is *missing*. Markers may be lost: they are repeated,
with a new nonce each time, and each attempt is judged by its own answers alone.

A subscription may *want* retained values: a marker then says of which prefixes, and its attempt is complete only when
all batches in front of the answers have come, too (`fabric.protocol.retained`): as many last ones as answers, and of
each place as many as there are proxies that had so many. What is in them is not looked at here. Who wanted values once
wants them again after a time away: when the connection to the own proxy was lost, or when another one is linked that
was not covered, since it may keep what was set there meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from fabric.protocol.retained import Batch, wanted_in_turn
from fabric.protocol.views import View

REPEAT_FIRST_S = 0.1
REPEAT_LAST_S = 1.0
MAX_ATTEMPTS = 64
"""Attempts kept open; an older one is given up for a newer one, which speaks for its subscriptions too."""
REPEAT_WANTED_S = 0.25
"""A marker that wants values is not repeated sooner: they may be many."""
STALLED_S = 1.0
"""Nor until nothing more of them came for so long."""
MAX_WANTING = 8
"""Markers that want values and are open, unless some are repeated; who wants more waits for their answers."""

Identity = tuple[str, str]
"""(proxy id, incarnation)"""


@dataclass(frozen=True)
class Ack:
    """The mesh's word on one subscription.

    ok:        what is published from now on at a covered proxy, and matches, arrives or its loss is reported
    covered:   ids of the proxies that this holds for
    missing:   ids of proxies that are known and not covered
    elapsed_s: from subscribe to this ack
    error:     why `ok` is False, else None
    denied:    it may not subscribe to this
    """

    ok: bool
    covered: tuple[str, ...]
    missing: tuple[str, ...]
    elapsed_s: float
    error: str | None = None
    denied: bool = False


@dataclass(frozen=True)
class CoverageEvent:
    """What the acked subscriptions of a node reach has changed: ids of proxies, each tuple sorted."""

    covered: tuple[str, ...]
    missing: tuple[str, ...]
    lost: tuple[str, ...]
    gained: tuple[str, ...]


@dataclass(frozen=True)
class SendMarker:
    nonce: bytes
    wanted: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Acked:
    subscription: int
    ack: Ack


@dataclass(frozen=True)
class Renewed:
    """What a subscription wants has come once more, long after its ack."""

    subscription: int


Effect = SendMarker | Acked | Renewed | CoverageEvent


@dataclass
class _Waiting:
    """A subscription that waits for its ack. Never changes."""

    generation: int
    """In which its prefixes were sent, the latest of them."""
    since: float
    """When it was asked for, monotonic."""
    deadline: float
    """When its ack comes at the latest."""
    wanted: tuple[bytes, ...] = ()
    """Prefixes of the retained values that are to come before the ack."""
    is_renewal: bool = False
    """Its ack has been given."""


@dataclass
class _Attempt:
    """What was answered to one marker."""

    generation: int
    """All up to this one are acked when the attempt is complete."""
    wanted: frozenset[bytes] = frozenset()
    """What the marker wants; only who wants no more is acked."""
    batches: Counter[int] = field(default_factory=Counter)
    """By place: how many batches came, of all proxies."""
    last: Counter[int] = field(default_factory=Counter)
    """Of those, the last ones of their proxies."""
    views: dict[Identity, View] = field(default_factory=dict)
    """Who answered, and what it said."""
    own: Identity | None = None
    """Who answered at its out: only the proxy that this node is connected to does."""

    def serves(self, waiting: _Waiting) -> bool:
        """Whether this subscription is acked when the attempt is complete."""
        return waiting.generation <= self.generation and self.wanted.issuperset(waiting.wanted)

    @property
    def is_whole(self) -> bool:
        """Whether no batch is missing of those who answered."""
        if not self.wanted:
            return True
        if self.last.total() < len(self.views) or max(self.batches, default=-1) >= len(self.batches):
            return False
        ends = self.last.items()
        return all(count == sum(n for end, n in ends if end >= place) for place, count in self.batches.items())


class Coverage:
    """The markers of one node.

    ack_timeout_s: an ack comes after this time at the latest, with what is missing by then
    """

    def __init__(self, random_bytes: Callable[[int], bytes], *, ack_timeout_s: float = 5.0) -> None:
        self._random_bytes = random_bytes
        self._ack_timeout_s = ack_timeout_s
        self._sent = 0
        """The generation that was sent last; 0: none."""
        self._acked = 0
        """The newest generation that was acked; at most `_sent`. It says nothing while `_covered` is empty."""
        self._waiting: dict[int, _Waiting] = {}
        """Subscriptions whose ack has not been given."""
        self._standing: dict[int, tuple[bytes, ...]] = {}
        """What the subscriptions want that were acked. Until they end."""
        self._attempts: dict[bytes, _Attempt] = {}
        """Open attempts by nonce, oldest first, at most `MAX_ATTEMPTS`. Emptied when the proxy changes."""
        self._covered: dict[str, str] = {}
        """Proxies that the acked subscriptions reach: id and incarnation. Changed by `_change` alone."""
        self._missing: tuple[str, ...] = ()
        """Ids of those known and not reached, sorted; none of them in `_covered`. Changed by `_change` alone."""
        self._own: Identity | None = None
        """The own proxy, as the last complete attempt showed it; None: not known, or it changed since."""
        self._renew = False
        """What is covered is to be asked for again, though nobody waits: markers are repeated until all is covered."""
        self._next_marker = 0.0
        """When the next marker is due, if anybody waits or `_renew`."""
        self._next_wanted = 0.0
        """When those that want values are due again, if anybody waits for any."""
        self._repeat_s = REPEAT_FIRST_S
        """Pause after the next one; grows by half up to `REPEAT_LAST_S`, and is short again when anything changes."""

    @property
    def covered(self) -> tuple[str, ...]:
        """Ids of the proxies that the acked subscriptions reach."""
        return tuple(sorted(self._covered))

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of the proxies that are known and not reached."""
        return self._missing

    @property
    def is_waiting(self) -> bool:
        """Whether `tick` has anything to do, now or later."""
        return bool(self._waiting) or self._renew

    @property
    def generation(self) -> int:
        """The generation of what was sent last."""
        return self._sent

    def asks(self, nonce: bytes) -> bool:
        """Whether this marker went to the present proxy, and speaks still."""
        return nonce in self._attempts

    # ── inputs ───────────────────────────────────────────────────────────────────────────────────────────────────

    def prefixes_sent(self, now: float) -> list[Effect]:
        """New prefixes went out in this loop turn: a marker follows them."""
        self._sent += 1
        self._repeat_s = REPEAT_FIRST_S
        return self._ask_wanted(now) or [self._marker(now)]

    def ack_wanted(
        self, subscription: int, generation: int, since: float, wanted: tuple[bytes, ...] = ()
    ) -> list[Effect]:
        """An ack is wanted for a subscription whose prefixes were sent in `generation`.

        wanted: prefixes of the retained values that are to come before; a marker is to follow, see `prefixes_sent`
        """
        if generation <= self._acked and self._covered and not wanted:
            return [Acked(subscription, Ack(True, self.covered, self._missing, 0.0))]
        self._waiting[subscription] = _Waiting(generation, since, since + self._ack_timeout_s, wanted)
        return []

    def subscription_ended(self, subscription: int, now: float, why: str, *, denied: bool = False) -> list[Effect]:
        """The subscription ends, perhaps before its ack. denied: it is not allowed any more"""
        self._standing.pop(subscription, None)
        waiting = self._waiting.pop(subscription, None)
        if waiting is None or waiting.is_renewal:
            return []
        return [Acked(subscription, Ack(False, (), self._missing, now - waiting.since, why, denied))]

    def node_ended(self, now: float, why: str) -> list[Effect]:
        """The node ends: acks still waited for come now, and say so."""
        return [
            effect for subscription in list(self._waiting) for effect in self.subscription_ended(subscription, now, why)
        ]

    def marker_answered(self, nonce: bytes, leg: str, view: View, now: float) -> list[Effect]:
        """A proxy answered a marker, met at its `out` or at its `link`."""
        attempt = self._attempts.get(nonce)
        if attempt is None:
            return []
        identity = (view.record.id, view.record.incarnation)
        attempt.views[identity] = view
        if leg == "out":
            attempt.own = identity
        if not self._complete(attempt):
            return []
        effects = self._settle(attempt, now)
        self._forget_up_to(attempt.generation)
        return effects + self._ask_wanted(now)

    def batch_heard(self, batch: Batch, now: float) -> bool:
        """Some of what a marker wants came; return whether the marker is open, and this to be taken."""
        attempt = self._attempts.get(batch.nonce)
        if attempt is None or not attempt.wanted:
            return False
        attempt.batches[batch.place] += 1
        if batch.last:
            attempt.last[batch.place] += 1
        self._next_wanted = now + STALLED_S
        return True

    @property
    def wants(self) -> bool:
        """Whether a subscription waits for retained values."""
        return any(waiting.wanted for waiting in self._waiting.values())

    def proxy_announced(self, view: View, now: float) -> list[Effect]:
        """The own proxy announced itself: what it lost is not covered any more, what it gained is asked for."""
        if self._own is None or view.record.id != self._own[0]:
            return []
        if view.record.incarnation != self._own[1]:
            return self.proxy_lost(now)
        linked = {peer.record.id: peer.record.incarnation for peer in view.peers if peer.linked}
        linked[view.record.id] = view.record.incarnation
        for attempt in self._attempts.values():
            # A proxy that answered, and is not linked any more, has to answer again.
            attempt.views = {who: said for who, said in attempt.views.items() if linked.get(who[0]) == who[1]}
        kept = {name: run for name, run in self._covered.items() if linked.get(name) == run}
        known = set(self._covered) | {peer.record.id for peer in view.peers if peer.linked or not peer.joining}
        known &= {view.record.id} | {peer.record.id for peer in view.peers}
        if linked != kept and not self._renew:
            self._renew = True
            self._repeat_s = REPEAT_FIRST_S
            self._next_marker = self._next_wanted = now
        if linked.items() - kept.items():
            self._want_again(now)
        return self._change(kept, tuple(sorted(known - set(kept))))

    def proxy_lost(self, now: float) -> list[Effect]:
        """The connection to the own proxy broke, or moves: nothing is covered until markers are answered again."""
        self._attempts.clear()
        self._own = None
        self._renew = True
        self._repeat_s = REPEAT_FIRST_S
        self._next_marker = self._next_wanted = now
        self._want_again(now)
        return self._change({}, tuple(sorted({*self._covered, *self._missing})))

    def proxy_switched(self, now: float) -> None:
        """The node moved to a proxy that was proven to cover everything: ask again, while what is covered stays so."""
        self._attempts.clear()
        self._own = None
        self._renew = True
        self._repeat_s = REPEAT_FIRST_S
        self._next_marker = self._next_wanted = now

    def tick(self, now: float) -> list[Effect]:
        """Repeat what was not answered; tell those whose time is up."""
        effects: list[Effect] = []
        overdue = [key for key, waiting in self._waiting.items() if now >= waiting.deadline]
        if overdue:
            effects += self._give_up(overdue, now)
        if self.wants and now >= self._next_wanted:
            effects += self._ask_wanted(now, again=True)
        elif now >= self._next_marker and (self._renew or any(not each.wanted for each in self._waiting.values())):
            effects.append(self._marker(now))
            self._repeat_s = min(self._repeat_s * 1.5, REPEAT_LAST_S)
        return effects

    # ── decisions ────────────────────────────────────────────────────────────────────────────────────────────────

    def _want_again(self, now: float) -> None:
        """Something may have been missed: have what is retained come once more."""
        for subscription, wanted in self._standing.items():
            renewal = _Waiting(0, now, now + self._ack_timeout_s, wanted, is_renewal=True)
            self._waiting.setdefault(subscription, renewal)

    def _marker(self, now: float, wanted: Sequence[bytes] = ()) -> SendMarker:
        nonce = self._random_bytes(8)
        self._attempts[nonce] = _Attempt(self._sent, frozenset(wanted))
        while len(self._attempts) > MAX_ATTEMPTS:
            del self._attempts[next((key for key, each in self._attempts.items() if not each.wanted), nonce)]
        self._next_marker = now + self._repeat_s
        return SendMarker(nonce, tuple(wanted))

    def _ask_wanted(self, now: float, *, again: bool = False) -> list[Effect]:
        """Ask for what is wanted and no open marker asks for. again: also for what was asked for"""
        wanting = [attempt for attempt in self._attempts.values() if attempt.wanted]
        waiting = [each for each in self._waiting.values() if each.wanted]
        if not again:
            waiting = [each for each in waiting if not any(attempt.serves(each) for attempt in wanting)]
        room = MAX_WANTING if again else MAX_WANTING - len(wanting)
        if not waiting or room <= 0:
            return []
        self._next_wanted = now + max(self._repeat_s, REPEAT_WANTED_S)
        return [self._marker(now, chunk) for chunk in islice(wanted_in_turn(each.wanted for each in waiting), room)]

    def _expected(self, attempt: _Attempt) -> set[Identity]:
        """Everyone whom any answer calls linked. cost: O(proxies squared), for each answer."""
        expected = set(attempt.views)
        for view in attempt.views.values():
            expected |= {(peer.record.id, peer.record.incarnation) for peer in view.peers if peer.linked}
        return expected

    def _own_is_member(self, attempt: _Attempt) -> bool:
        own = attempt.views.get(attempt.own) if attempt.own else None
        return own is not None and own.state in ("member", "draining")

    def _complete(self, attempt: _Attempt) -> bool:
        is_answered = self._own_is_member(attempt) and self._expected(attempt) <= attempt.views.keys()
        return is_answered and attempt.is_whole

    def _settle(self, attempt: _Attempt, now: float) -> list[Effect]:
        """Take the answers of this attempt as the coverage; ack who waits for no more than it brought."""
        assert attempt.own is not None
        covered = dict(attempt.views.keys())
        known = {identity[0] for identity in self._expected(attempt)}
        for view in attempt.views.values():
            known |= {peer.record.id for peer in view.peers if not peer.joining}
        missing = tuple(sorted(known - covered.keys()))
        self._own = attempt.own
        self._acked = max(self._acked, attempt.generation)
        self._renew = False
        effects = self._change(covered, missing)
        for subscription, waiting in list(self._waiting.items()):
            if attempt.serves(waiting):
                del self._waiting[subscription]
                if waiting.wanted:
                    self._standing[subscription] = waiting.wanted
                if waiting.is_renewal:
                    effects.append(Renewed(subscription))
                else:
                    ack = Ack(True, self.covered, missing, now - waiting.since)
                    effects.append(Acked(subscription, ack))
        return effects

    def _give_up(self, overdue: list[int], now: float) -> list[Effect]:
        """At the deadline the attempt that most proxies answered counts; who is silent in it is missing."""
        effects: list[Effect] = []
        while overdue:
            answered = [each for each in self._attempts.values() if self._own_is_member(each) and each.is_whole]
            first = self._waiting[overdue[0]]
            best = max(answered, key=lambda each: (each.serves(first), len(each.views), each.generation), default=None)
            if best is not None:
                effects += self._settle(best, now)
                # An answer to an older marker says nothing of what is acked now.
                self._forget_up_to(best.generation - 1)
                self._renew = True
            if best is None or not best.serves(first):
                if first.is_renewal:
                    self._waiting[overdue[0]] = replace(first, deadline=now + self._ack_timeout_s)
                    overdue = overdue[1:]
                else:
                    effects += self.subscription_ended(overdue[0], now, self._reason())
            overdue = [subscription for subscription in overdue if subscription in self._waiting]
        return effects

    def _reason(self) -> str:
        states = {
            attempt.views[attempt.own].state
            for attempt in self._attempts.values()
            if attempt.own is not None and attempt.own in attempt.views
        }
        if "joining" in states:
            return f"the proxy is still joining the mesh after {self._ack_timeout_s:g} s"
        return f"no proxy answered within {self._ack_timeout_s:g} s"

    def _forget_up_to(self, generation: int) -> None:
        """Of these generations all is acked, but for who wants what comes still."""
        waiting = [each for each in self._waiting.values() if each.wanted]
        for nonce, attempt in list(self._attempts.items()):
            if attempt.generation <= generation and not (attempt.wanted and any(map(attempt.serves, waiting))):
                del self._attempts[nonce]

    def _change(self, covered: dict[str, str], missing: tuple[str, ...]) -> list[Effect]:
        before = self._covered
        lost = tuple(sorted(name for name in before if before[name] != covered.get(name)))
        gained = tuple(sorted(name for name in covered if covered[name] != before.get(name)))
        changed = missing != self._missing
        self._covered, self._missing = covered, missing
        if not lost and not gained and not changed:
            return []
        return [CoverageEvent(self.covered, missing, lost, gained)]

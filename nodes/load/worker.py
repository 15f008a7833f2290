"""The processes of a load test: a publisher or a subscriber, each one `Node`, driven over a pipe.

The coordinator (`crew`) sends tuples, a verb and its arguments. Each process answers with tuples, and tells in between
how far it is. A process whose coordinator has gone ends. All run on one machine, and count latencies with its monotonic
clock; on different hosts, the difference of their clocks would be in every latency.

    to both         ("close",)
    to publishers   ("prime", messages a second, subscribers of each topic)   ("run", schedule)
                    ("take", share of a recording)   ("play", stretch, speed)
    to subscribers  ("begin", publisher ids)   ("measure", start_ns, slot_ns)   ("accounts",)
    from both       ("ready", publisher id, covered proxies)   ("failed", words)   ("closed", unconfirmed)
                    ("denied", words): the rules of the mesh do not allow what it is to do
    from publishers ("sent", Sent)   ("finished", published, sent, unsent, refused)   ("begun",)
    from subscribers ("told", Told)   ("begun",)   ("accounts", Accounts)

Publishers count from the beginning of a stretch (`published` alone from that of the run), subscribers from the order to
measure on. A payload begins with its intended time, or with 0 where it is a topic's first.
"""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol, TypeAlias

from fabric import Gap, Message, Node
from fabric.errors import FabricError, NotAdmitted, NotAllowed
from nodes.load.books import Account, Books
from nodes.load.latency import Latencies
from nodes.load.played import Played, Share
from nodes.load.schedule import STAMP_BYTES, Schedule, Spec, Stretch
from nodes.load.shape import Shaped

TELL_S = 0.2
CLOSE_TIMEOUT_S = 10.0
LOOK_MSGS = 64
"""Messages between two looks at the clock while a publisher is behind its schedule."""
GRACE_NS = 200_000_000
"""How long a publisher goes on after the end of a stretch, for messages that were due within it."""
_stamp = struct.Struct("<Q")
assert _stamp.size == STAMP_BYTES
Pipe: TypeAlias = "Connection[Any, Any]"


class Sent(NamedTuple):
    """How far a publisher is. behind_s: how late its last message left; due: to all subscribers together"""

    accepted: int = 0
    refused: int = 0
    behind_s: float = 0.0
    due: int = 0


class Told(NamedTuple):
    """How far a subscriber is. lag_s: the latency of its last message"""

    delivered: int = 0
    lost: int = 0
    lag_s: float = 0.0
    over_delivered: int = 0
    repaired: int = 0

    @property
    def news(self) -> tuple[int, int]:
        """What changes when something that is due arrives, or is reported lost."""
        return self.delivered, self.lost


@dataclass(frozen=True)
class Accounts:
    """What a subscriber has to say after a stretch.

    accounts:  its page of the books: publisher -> topic -> account
    slots:     latencies over time, see `Latencies.slots`
    last_ns:   when the last message arrived, monotonic; 0 without any
    strangers: messages of publishers that do not belong to the test
    told:      its counts
    """

    accounts: dict[int, dict[str, Account]]
    slots: list[dict[int, int]]
    last_ns: int
    strangers: int
    told: Told


class Driven(Protocol):
    """What a process does: it takes commands, and has a method for each."""

    def next_command(self) -> Any: ...

    def close(self) -> int:
        """End; return how many messages are not known to have reached a proxy."""


def work(kind: Callable[[Spec, int, Pipe], Driven], spec: Spec, index: int, pipe: Pipe) -> None:
    """Run one process to its end."""
    for number in (signal.SIGINT, signal.SIGHUP):  # they reach the whole group; the coordinator decides
        signal.signal(number, signal.SIG_IGN)
    try:
        worker = kind(spec, index, pipe)
        try:
            while (command := worker.next_command())[0] != "close":
                getattr(worker, command[0])(*command[1:])
        finally:
            unconfirmed = worker.close()
        pipe.send(("closed", unconfirmed))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the coordinator has gone
    except (NotAdmitted, NotAllowed) as error:
        pipe.send(("denied", str(error)))
    except (FabricError, OSError) as error:
        pipe.send(("failed", str(error)))


def connected(spec: Spec, index: int) -> Node:
    """Return a node of the test, at the proxy that is its by turn."""
    bases, timeout_s = spec.bases_of(index), spec.connect_timeout_s
    return Node(bases, connect_timeout_s=timeout_s, keys=spec.keys, identity=spec.identity)


class Publisher:
    """Sends by the schedule, each topic in turn, or what a recording says."""

    def __init__(self, spec: Spec, index: int, pipe: Pipe) -> None:
        self._spec, self._index, self._pipe = spec, index, pipe
        self._filler = b"x" * (spec.size_bytes - STAMP_BYTES)
        self._at = index * len(spec.topics) // spec.publishers
        """Counts the messages sent by schedule; its rest by the number of topics is the topic's index."""
        self._published: dict[str, int] = {}
        """The last number on each topic."""
        self._subscribers: Sequence[int] = [0] * len(spec.topics)
        """How many subscribers want each of the topics that it publishes on, by their index; `prime` sets it."""
        self._share: Share | None = None
        """Its messages of a recording, once it has taken them; None where none is played."""
        self._accepted = self._refused = self._due = self._behind_ns = 0
        """Messages of the present stretch, by what the node did; see `Sent`."""
        self._told_at = 0
        """When the coordinator was last told, monotonic, in ns."""
        self.node = connected(spec, index)
        pipe.send(("ready", self.node.publisher, ()))

    def next_command(self) -> Any:
        return self._pipe.recv()

    def prime(self, rate: float, subscribers: Sequence[int]) -> None:
        """Publish one message on each topic: only from a topic's first message on can a loss be reported.

        subscribers: how many want each topic of the test
        """
        self._begin()
        self._subscribers = subscribers
        interval_s, due = 1 / rate, time.monotonic()
        for at, topic in enumerate(self._spec.topics):
            self._publish(topic, subscribers[at], 0, self._filler)
            due += interval_s
            self._sleep_until(int(due * 1e9))
        self._finish(len(self._spec.topics))

    def close(self) -> int:
        return self.node.close(CLOSE_TIMEOUT_S)

    def run(self, schedule: Schedule | Shaped) -> None:
        self._begin()
        self._sleep_until(schedule.start_ns)
        if schedule.rate is None:
            self._run_at_most(schedule)
        else:
            self._run_at_rate(schedule)
        self._finish(None if schedule.rate is None else schedule.scheduled(self._index))

    def take(self, share: Share) -> None:
        """Keep these messages for `play`."""
        self._share = share
        self._subscribers = self._subscribers[self._index :: self._spec.publishers]
        self._filler = b"x" * (max(share.sizes, default=STAMP_BYTES) - STAMP_BYTES)
        self._pipe.send(("begun",))

    def play(self, stretch: Stretch, speed: float | None) -> None:
        """Send what was taken. speed: times as fast as recorded; None: as fast as it goes."""
        share = self._share
        assert share is not None
        whole = len(share.at_ns)
        self._begin()
        self._sleep_until(stretch.start_ns)
        if speed is None:
            for k in range(whole):
                now = time.monotonic_ns()
                self._tell(now)
                self._send_recorded(share, k, now)
        else:
            plan = Played(share, stretch.start_ns, speed)
            self._keep_to(plan.due_ns, plan.due, whole, stretch, lambda k, at_ns: self._send_recorded(share, k, at_ns))
        self._finish(whole)

    def _run_at_rate(self, schedule: Schedule | Shaped) -> None:
        me = self._index
        self._keep_to(
            lambda k: schedule.due_ns(me, k),
            lambda now: schedule.due(me, now),
            schedule.scheduled(me),
            schedule,
            lambda k, at_ns: self._send(at_ns),
        )

    def _keep_to(
        self,
        due_ns: Callable[[int], int],
        due: Callable[[int], int],
        whole: int,
        stretch: Stretch,
        send: Callable[[int, int], object],
    ) -> None:
        """Send `whole` messages, each when it is due, until shortly after the end of the stretch.

        due_ns: when the k-th is due
        due:    how many are due by a time
        send:   sends the k-th, whose intended time is given
        """
        k = 0
        while k < whole and (now := time.monotonic_ns()) < stretch.end_ns + GRACE_NS:
            self._behind_ns = max(0, now - due_ns(k))
            self._tell(now)
            by_now = due(now)
            if k == by_now:
                self._sleep_until(min(due_ns(k), now + int(TELL_S * 1e9)))
            for each in range(k, min(by_now, k + LOOK_MSGS)):
                send(each, due_ns(each))
                k = each + 1

    def _run_at_most(self, schedule: Stretch) -> None:
        while (now := time.monotonic_ns()) < schedule.end_ns:
            self._tell(now)
            for _ in range(LOOK_MSGS):
                self._send(time.monotonic_ns())

    def _send(self, intended_ns: int) -> None:
        topics = self._spec.topics
        at = self._at % len(topics)
        self._publish(topics[at], self._subscribers[at], intended_ns, self._filler)
        self._at += 1

    def _send_recorded(self, share: Share, k: int, intended_ns: int) -> None:
        filler = self._filler[: share.sizes[k] - STAMP_BYTES]
        at = share.which[k]
        self._publish(share.topics[at], self._subscribers[at], intended_ns, filler)

    def _publish(self, topic: str, subscribers: int, intended_ns: int, filler: bytes) -> None:
        try:
            self._published[topic] = self.node.publish(topic, _stamp.pack(intended_ns) + filler)
            self._accepted += 1
            self._due += subscribers
        except NotAllowed:
            raise
        except FabricError:
            self._refused += 1

    def _tell(self, now: int) -> None:
        if now - self._told_at > TELL_S * 1e9:
            self._told_at = now
            self._pipe.send(("sent", Sent(self._accepted, self._refused, self._behind_ns / 1e9, self._due)))

    def _sleep_until(self, at_ns: int) -> None:
        left_ns = at_ns - time.monotonic_ns()
        if left_ns > 0:
            time.sleep(left_ns / 1e9)

    def _begin(self) -> None:
        self._accepted = self._refused = self._due = self._behind_ns = 0

    def _finish(self, scheduled: int | None) -> None:
        """scheduled: messages that were to be sent; None: as many as it could"""
        unsent = 0 if scheduled is None else scheduled - self._accepted - self._refused
        self._pipe.send(("sent", Sent(self._accepted, self._refused, 0.0, self._due)))
        self._pipe.send(("finished", dict(self._published), self._accepted, unsent, self._refused))


class Subscriber:
    """Keeps books and latencies of what arrives."""

    def __init__(self, spec: Spec, index: int, pipe: Pipe) -> None:
        self._pipe = pipe
        self._books = Books(())
        """Of the whole run; `begin` names the publishers, `measure` turns the page."""
        self._latencies = Latencies(0, 1 << 62)
        """Of the present stretch; `measure` begins it."""
        self._last_ns = self._strangers = self._lag_ns = 0
        """See `Accounts`; `_lag_ns` is the latency of the last message. The node's I/O thread changes all three."""
        self._over_delivered = self._repaired = 0
        """What the node had counted of these when the stretch began."""
        self.node = connected(spec, spec.publishers + index)
        self.node.on_gap(self._gap)
        filters = spec.filters_of(index)
        take: Callable[[Message], None] = self._take if len(filters) == 1 else _Once(self._take)
        covered = set()
        for held in [self.node.subscribe(each, take) for each in filters]:
            ack = self.node.wait_ack(held, 60.0)
            if not ack.ok:
                raise (NotAllowed if ack.denied else FabricError)(
                    f"{', '.join(filters)} was not acknowledged: {ack.error}"
                )
            covered |= set(ack.covered)
        pipe.send(("ready", None, tuple(sorted(covered))))

    def next_command(self) -> Any:
        while not self._pipe.poll(TELL_S):
            self._tell()
        return self._pipe.recv()

    def close(self) -> int:
        return self.node.close(CLOSE_TIMEOUT_S)

    def begin(self, publishers: tuple[int, ...]) -> None:
        self._books = Books(publishers)
        self._pipe.send(("begun",))

    def measure(self, start_ns: int, slot_ns: int) -> None:
        """Count from here on; nothing may be on its way. start_ns: of the stretch, from when its slots count"""
        stats = self.node.stats()
        self._over_delivered, self._repaired = stats["over_delivered"], stats["repaired"]
        self._books.turn()
        self._latencies = Latencies(start_ns, slot_ns)
        self._last_ns = self._lag_ns = 0
        self._pipe.send(("begun",))

    def accounts(self) -> None:
        found = Accounts(self._books.accounts(), self._latencies.slots, self._last_ns, self._strangers, self._counts())
        self._pipe.send(("accounts", found))

    def _counts(self) -> Told:
        books, stats = self._books, self.node.stats()
        over, repaired = stats["over_delivered"] - self._over_delivered, stats["repaired"] - self._repaired
        return Told(books.delivered, books.lost, self._lag_ns / 1e9, over, repaired)

    def _tell(self) -> None:
        self._pipe.send(("told", self._counts()))

    def _take(self, message: Message) -> None:
        now = time.monotonic_ns()
        if not self._books.take(message.publisher, message.topic, message.number):
            self._strangers += 1
            return
        (intended,) = _stamp.unpack_from(message.payload)
        if intended:
            self._lag_ns = now - intended
            self._latencies.add(now - intended, now)
            self._last_ns = now

    def _gap(self, gap: Gap) -> None:
        self._books.gap(gap.publisher, gap.topic, gap.first, gap.last)


class _Once:
    """Passes a message on once. When several filters match it, it comes once for each, one after the other."""

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take
        self._last: Message | None = None

    def __call__(self, message: Message) -> None:
        if message is not self._last:
            self._last = message
            self._take(message)

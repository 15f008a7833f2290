"""Giving retained values back to the mesh: those in the store that no proxy keeps any more.

Proxies keep values in memory, and publishers' nodes those that they set. When all of that is gone, the store still has
them. Each time the keeper has come to a proxy, its node covers one more, or somebody has handed a value to the mesh
once more, it waits until that has settled, asks what the mesh keeps, as any subscriber may, and has its node hold what
is not there, or is older there. Which value counts is decided by stamps as ever: nothing newer is ever replaced. What
the node holds it lets go as soon as the keeper hears of something newer, for the next proxies may know nothing of that.
Reading order: `_run`, `_give_back`, `_ask`; `heard`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from fabric.errors import FabricError
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.node import Node, NodeState
from fabric.protocol.histories import unpack
from fabric.protocol.retained import RETAIN, RETAINED
from fabric.trie import SubscriptionTrie
from fabric.wire import Message
from nodes.keep.retained import RetainedValue
from nodes.keep.store import KeepStore

log = logging.getLogger("nodes.keep")

SETTLE_S = 2.0
"""So long after the last change the mesh is asked: publishers that live hand their own values to their next proxy."""
AGAIN_S = 5.0
"""Pause before another try, when the mesh or the store did not answer."""
LOOK_S = 0.2
EVEN_EXPIRED = -1
"""As the time by which the store is read: what has expired is there as well. It replaces what is older, as a clear."""
FLUSH_S = 10.0


class Returner:
    """Gives back what matches the filters, in a thread, until it is closed.

    is_ours: whether a topic is of this keeper's share
    flush:   writes what was taken before; takes seconds, raises a FabricError
    """

    def __init__(
        self,
        node: Node,
        store: KeepStore,
        filters: Sequence[str],
        *,
        is_ours: Callable[[str], bool],
        flush: Callable[[float], None],
        clock_ns: Callable[[], int] = time.time_ns,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._node, self._store, self._filters = node, store, filters
        self._is_ours, self._flush, self._clock_ns, self._settle_s = is_ours, flush, clock_ns, settle_s
        self._wanted: SubscriptionTrie[int] = SubscriptionTrie()
        """The filters: the store may have topics of others, which it was given before. Never changes."""
        for each in filters:
            self._wanted.add(each, 0)
        self._changed = threading.Condition()
        """Guards what follows."""
        self._due_at: float | None = time.monotonic() + settle_s
        """When the mesh is to be asked next, monotonic; None: nothing has changed since it was."""
        self._ended = False
        """Set once, by `end`."""
        self._held: dict[str, int] = {}
        """What the node holds for this keeper, and nothing newer was found of yet: when it was set, by topic. The
        thread's. At most what a node holds."""
        self.given = self.denied = self.refused = self.asked = 0
        """Since the start: values given back; those that this node may not publish; those that were too many for it;
        how often the mesh has said what it keeps. The thread counts."""
        node.on_state(self._state_changed)
        node.on_coverage(self._coverage_changed)
        self._thread = threading.Thread(target=self._run, name="fabric-keep-returner", daemon=True)
        self._thread.start()

    # ── the node's I/O thread ────────────────────────────────────────────────────────────────────────────────────

    def _state_changed(self, state: NodeState) -> None:
        if state.state == "connected":
            self._want(self._settle_s)

    def _coverage_changed(self, event: CoverageEvent) -> None:
        if event.gained:
            self._want(self._settle_s)

    def heard(self, message: Message) -> None:
        """Another publisher has set or cleared a topic, or handed its value to the mesh once more: that may be older
        than what the store has, which is found out when the mesh is asked next. Called once the writer has it.
        """
        self._node.let_go(message.topic, before_ns=message.sent_ns)
        if RETAINED in message.headers and self._due_at is None:
            self._want(self._settle_s)

    def _want(self, in_s: float) -> None:
        with self._changed:
            self._due_at = time.monotonic() + in_s
            self._changed.notify_all()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run(self) -> None:
        while self._wait_due():
            try:
                is_done = self._give_back()
            except (FabricError, KeyError) as error:  # KeyError: a filter was withdrawn
                log.warning("retained values are not given back yet: %s", error)
                is_done = False
            if not is_done and self._due_at is None:
                self._want(AGAIN_S)

    def _wait_due(self) -> bool:
        """Wait until the mesh is to be asked; False: it has ended."""
        with self._changed:
            while not self._ended:
                rest = None if self._due_at is None else self._due_at - time.monotonic()
                if rest is not None and rest <= 0:
                    self._due_at = None
                    return True
                self._changed.wait(rest)
            return False

    def _give_back(self) -> bool:
        """Have the node hold what the mesh does not keep; False: who was asked did not answer."""
        told = self._ask()
        if told is None:
            return False
        self.asked += 1
        self._flush(FLUSH_S)
        now_ns, given = self._clock_ns(), self.given
        for value in self._store.retained(EVEN_EXPIRED):
            if self._ended:
                return True
            if self._is_ours(value.topic) and self._wanted.match(value.topic):
                value = value.at(now_ns)
                if is_lost(value, told):
                    self._hold(value, now_ns)
        if self.given > given:
            log.info("gave %d retained values back to the mesh", self.given - given)
        self._let_go()
        return True

    def _let_go(self) -> None:
        """Have the node let go what something newer was heard of between reading the store and holding it."""
        if not self._held:
            return
        self._flush(FLUSH_S)
        for value in self._store.retained(EVEN_EXPIRED):
            if self._held.get(value.topic, value.sent_ns) < value.sent_ns:
                self._node.let_go(value.topic, before_ns=value.sent_ns)
                del self._held[value.topic]

    def _hold(self, value: RetainedValue, now_ns: int) -> None:
        if self._node.why_not("publish", value.topic) is not None:
            self.denied += 1
            return
        headers = None if value.headers is None else unpack(value.headers)
        left_s, payload = value.left_s(now_ns), unpack(value.payload)
        if self._node.hold(value.topic, payload, headers, sent_ns=value.sent_ns, expires_s=left_s):
            self.given += 1
            self._held[value.topic] = value.sent_ns
        else:
            self.refused += 1

    def _ask(self) -> dict[str, int] | None:
        """Return when what the mesh keeps was sent, by topic; None: not all of it has answered."""
        told: dict[str, int] = {}

        def take(message: Message) -> None:
            if RETAIN in message.headers:
                told[message.topic] = max(message.sent_ns, told.get(message.topic, 0))

        acks: SimpleQueue[Ack] = SimpleQueue()
        subscriptions = [
            self._node.subscribe(each, take, acks.put, retained=True, as_published=True) for each in self._filters
        ]
        try:
            for _ in subscriptions:
                ack = self._next(acks)
                if ack is None or not ack.ok:
                    return None
        finally:
            for subscription in subscriptions:
                with contextlib.suppress(KeyError):
                    self._node.unsubscribe(subscription)
        return told

    def _next(self, acks: SimpleQueue[Ack]) -> Ack | None:
        """Return the next ack, which comes within the node's `ack_timeout_s`; None: it has ended."""
        while not self._ended:
            with contextlib.suppress(Empty):
                return acks.get(timeout=LOOK_S)
        return None

    # ── the end ──────────────────────────────────────────────────────────────────────────────────────────────────

    def figures(self) -> dict[str, int]:
        return {"given_back": self.given, "given_back_denied": self.denied, "given_back_refused": self.refused}

    def end(self) -> None:
        """Give nothing back any more, to no proxy: who comes after this keeper may know better. Any thread."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._node.let_go()

    def close(self, timeout_s: float) -> None:
        """End, and wait until nothing is given back any more. Before the node is closed.

        timeout_s: at most; a thread that waits for the store is left behind, and gives nothing back either
        """
        self.end()
        self._thread.join(timeout_s)
        self._node.let_go()  # it may have had one in hand


def is_lost(value: RetainedValue, told: dict[str, int]) -> bool:
    """Whether the mesh knows nothing of a value, or something older in its place.

    told: when the values that it keeps were sent, by topic
    """
    known = told.get(value.topic)
    return not value.cleared if known is None else known < value.sent_ns

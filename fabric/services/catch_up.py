"""A subscription that begins with a history: first what was kept, then what is live. `fabric.services.seam` decides.

The node subscribes first; what arrives is held back. Once the mesh has acknowledged that, a thread reads the history
and hands it to the node's I/O thread, which calls the handler as for any message. Reading order: `CatchUp`; `_read`;
`tick`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from fabric.errors import FabricError
from fabric.node.coverage import Ack
from fabric.node.gaps import MAX_NUMBER, Gap
from fabric.node.node import Node
from fabric.node.receiver import MessageFun
from fabric.node.subscriptions import AckFun
from fabric.protocol.histories import KEEPER, Hole, Since
from fabric.services.client import Client
from fabric.services.history import DEADLINE_S, History
from fabric.services.seam import Seam
from fabric.wire import Message

log = logging.getLogger("fabric.services")

MAX_READY_MSGS = 5_000
"""Messages read and not delivered yet; then reading waits."""
TURN_MSGS = 1_000
"""Messages delivered in one tick, before the node looks at what else is to be done."""
PATIENCE_S = 5.0
"""How long a history is read on until it reaches over what came live, before it is taken for as long as it will get."""
AGAIN_S = (0.01, 0.2)
"""Pauses between: the first one, doubled up to the second one."""
EXPECTED_AT_ONCE = 2_000
"""Last numbers that the node takes in one tick."""
ROOM: Callable[[], int] = lambda: TURN_MSGS  # noqa: E731
_ACK_LOOK_S = 0.1


class CatchUp:
    """One such subscription, from `subscribe` until it is live.

    room:    how many messages the handler takes now; asked in the I/O thread
    patience_s: how long the history is read on until it reaches over what came live
    deadline_s: of each page
    on_over: called in the I/O thread with the subscription's id when it is live, or was closed
    """

    def __init__(
        self,
        node: Node,
        client: Client,
        topic_filter: str,
        msg_fun: MessageFun,
        ack_fun: AckFun | None,
        since: Since,
        *,
        keeper: str = KEEPER,
        room: Callable[[], int] = ROOM,
        on_gap: Callable[[Gap], object] = lambda gap: None,
        on_over: Callable[[int], object] = lambda ident: None,
        patience_s: float = PATIENCE_S,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._node, self._msg_fun, self._ack_fun = node, msg_fun, ack_fun
        self._room, self._on_gap, self._on_over, self._patience_s = room, on_gap, on_over, patience_s
        self._closed = False
        """It is to be called no more. Set once, by `close`, or by `tick` when it is live."""
        self._history = History(
            client, topic_filter, since=since, keeper=keeper, deadline_s=deadline_s, stopped=lambda: self._closed
        )
        """Read by the thread alone."""
        self._seam = Seam()
        """Under `_lock`."""
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        """Told when `_ready` has room again, and by `close`."""
        self._ready: deque[Message | Hole] = deque()
        """Read, and not delivered. The thread adds, the I/O thread takes, under `_lock`."""
        self._ack: Ack | None = None
        """What the mesh said. Set once, in the I/O thread."""
        self._acked = threading.Event()
        """`_ack` is there, or none comes any more."""
        self._is_read = False
        """The history is read as far as it has to be, and nothing is added to `_ready` any more. Under `_lock`."""
        self._expected: set[tuple[int, str]] = set()
        """Publishers and topics of whose last numbers the node knows. The thread's."""
        self._ticks = 0
        """Since the start. The I/O thread adds, under `_lock`."""
        self._error = ""
        """Why it could not be read; "" when it was."""
        self.subscription = node.subscribe(topic_filter, self._arrived, self._acknowledge)
        """The node's id of it."""
        self._thread = threading.Thread(target=self._read, name=f"fabric-history-{self.subscription}", daemon=True)
        node.attach(self)
        self._thread.start()

    def close(self) -> None:
        """End reading; any thread. The subscription itself is the node's."""
        with self._drained:
            self._closed = True
            self._drained.notify_all()
        self._acked.set()
        self._node.detach(self)
        if not self._node.in_io_thread:
            self._thread.join()

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> None:
        self._acked.wait()
        error = ""
        try:
            if self._ack is not None and not self._ack.denied and not self._read_over():
                error = f"the history does not reach what comes live within {self._patience_s:g} s"
                log.warning("a subscription begins without its whole history: %s", error)
            elif why := self._history.why_nothing():
                error = f"no history: {why}"
        except FabricError as failed:
            error = f"no history: {failed}"
            if not self._closed:
                log.warning("a subscription begins without its whole history: %s", failed)
        except BaseException as failed:
            error = f"no history: {failed!r}"
            log.exception("reading a history failed")
        finally:
            with self._lock:
                self._error, self._is_read = error, True

    def _read_over(self) -> bool:
        """Read the history until it reaches over what came live; False when it does not within the patience."""
        give_up_at, pause_s = None, AGAIN_S[0]
        while True:
            told = len(self._history.holes)
            for message in self._history:
                self._add(message)
                for hole in self._history.holes[told:]:
                    self._add(hole)
                told = len(self._history.holes)
            for hole in self._history.holes[told:]:
                self._add(hole)
            self._expect()
            with self._lock:
                if self._closed or self._seam.read_to_end(self._history.is_kept):
                    return True
            now = time.monotonic()
            give_up_at = give_up_at or now + self._patience_s
            if now > give_up_at:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, AGAIN_S[1])
            self._history.read_on()

    def _expect(self) -> None:
        """Have the node see to it that nothing is missing behind the history, from before it is joined.

        What comes before the node does so is held, and has to be in the history; what comes after that and is above
        the next number is a gap.
        """
        with self._lock:
            lasts = [(pair, number) for pair, number in self._seam.lasts.items() if pair not in self._expected]
        self._expected.update(pair for pair, _ in lasts)
        for first in range(0, len(lasts), EXPECTED_AT_ONCE):
            for (publisher, topic), number in lasts[first : first + EXPECTED_AT_ONCE]:
                if number <= MAX_NUMBER:
                    self._node.expect(topic, publisher, number)
            with self._drained:  # the tick that runs now may have looked for it before; the next one does it first
                done = self._ticks + 2
                self._drained.wait_for(lambda done=done: self._ticks >= done or self._closed)  # type: ignore[misc]

    def _add(self, item: Message | Hole) -> None:
        with self._drained:
            self._drained.wait_for(lambda: len(self._ready) < MAX_READY_MSGS or self._closed)
            self._ready.append(item)
            if isinstance(item, Message):
                self._seam.kept(item)
            else:
                self._seam.lost(item.publisher, item.topic, item.last)

    # ── the I/O thread ───────────────────────────────────────────────────────────────────────────────────────────

    def _acknowledge(self, ack: Ack) -> None:
        self._ack = ack
        self._acked.set()

    def _arrived(self, message: Message) -> None:
        with self._lock:
            is_due = self._seam.arrived(message)
        if is_due:
            self._msg_fun(message)

    def tick(self, now: float, idle: bool) -> None:
        """Deliver what was read, and then what was held. A handler that raises is logged, and harms nothing."""
        with self._drained:
            self._ticks += 1
            self._drained.notify_all()
        most = min(TURN_MSGS, self._room())
        while most > 0 and not self._closed:
            with self._drained:
                items: list[Message | Hole] = [self._ready.popleft() for _ in range(min(most, len(self._ready)))]
                self._drained.notify_all()
                if not items:
                    if not self._is_read:
                        return
                    items += self._seam.release(most)
                is_live = self._seam.is_live
            most -= len(items)
            for item in items:
                self._deliver(item)
            if is_live:
                self._go_live()

    def _go_live(self) -> None:
        self._closed = True
        self._node.detach(self)
        self._on_over(self.subscription)
        ack = self._ack
        if ack is not None and self._ack_fun is not None:
            self._ack_fun(replace(ack, ok=False, error=self._error) if self._error and ack.ok else ack)

    def _deliver(self, item: Message | Hole) -> None:
        try:
            if isinstance(item, Message):
                self._msg_fun(item)
            else:
                self._on_gap(_gap_of(item))
        except Exception:
            log.exception("a callback raised: %r", self._msg_fun)


def _gap_of(hole: Hole) -> Gap:
    return Gap(hole.topic, hole.publisher, hole.first, hole.last, hole.last - hole.first + 1, hole.reason)

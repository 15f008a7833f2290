"""`Node` for asyncio: an adapter on the node's one I/O thread.

    async with AsyncNode("tcp://127.0.0.1:5570") as node:
        subscription = await node.subscribe("truck/+/temperature")
        await subscription.ack()
        async for message in subscription:
            print(message.topic, message.payload)

The I/O thread puts messages into the queues of the subscriptions and wakes the loop once for all that came since the
loop last looked: `call_soon_threadsafe` costs more than receiving a message. A queue is bounded, for the I/O thread
waits for nobody; what does not fit is dropped, counted and told.

Reading order: `AsyncSubscription`, then `AsyncNode`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from fabric.errors import FabricError, HighWaterMarkReached, NotConnected, StateError, expected
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.node.node import Node, NodeState
from fabric.protocol.histories import KEEPER, Since, refuse_both
from fabric.protocol.retained import NotKept
from fabric.wire import Message

T = TypeVar("T")

MAX_QUEUED_MSGS = 10_000
MAX_QUEUED_EVENTS = 10_000
TURN_MSGS = 100
"""Messages taken, or sent, before other tasks have their turn: a quarter of a millisecond."""


@dataclass(frozen=True)
class Dropped:
    """`dropped` messages did not fit the queue of a subscription since the last such event."""

    subscription: int
    topic_filter: str
    dropped: int


class AsyncSubscription:
    """An async iterator of messages, made by `AsyncNode.subscribe`. Ends when it is unsubscribed or the node closed.

    id:       the node's id of it
    dropped:  messages that did not fit the queue, the newest each time
    """

    def __init__(self, node: AsyncNode, topic_filter: str, max_queued_msgs: int) -> None:
        self._node, self.topic_filter, self._max_queued_msgs = node, topic_filter, max_queued_msgs
        self.id = 0
        self.dropped = 0
        self._told = 0
        """Of `dropped`, how many were told to `on_drop`. In the loop."""
        self._queue: deque[Message] = deque()
        """Filled in the I/O thread, at most `_max_queued_msgs`; emptied in the loop."""
        self._woken = False
        """The loop is about to look at the queue. The I/O thread sets it, the loop clears it."""
        self._ended = False
        """No message comes any more. In the loop."""
        self._turn = TURN_MSGS
        """Messages that may still be taken before other tasks have their turn. In the loop."""
        self._something = asyncio.Event()
        """There is a message, or the end. In the loop."""
        self._acked: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()

    @property
    def queued(self) -> int:
        """Messages that wait to be taken."""
        return len(self._queue)

    async def ack(self, timeout_s: float = 10.0) -> Ack:
        """Wait for the ack, and return it; TimeoutError when it did not come in time."""
        return await asyncio.wait_for(asyncio.shield(self._acked), timeout_s)

    def __aiter__(self) -> AsyncSubscription:
        return self

    async def __anext__(self) -> Message:
        # Nothing is awaited between taking a message and returning it: a cancelled wait loses none.
        while True:
            if self._queue:
                if self._turn > 0:
                    self._turn -= 1
                    return self._queue.popleft()
                self._turn = TURN_MSGS
                await asyncio.sleep(0)
            elif self._ended:
                raise StopAsyncIteration
            else:
                self._turn = TURN_MSGS
                self._something.clear()
                await self._something.wait()

    def _take(self, message: Message) -> None:
        """In the I/O thread."""
        if len(self._queue) < self._max_queued_msgs:
            self._queue.append(message)
        else:
            self.dropped += 1
        if not self._woken:
            self._woken = True
            self._node._hand_over(self._wake)

    def _wake(self) -> None:
        self._woken = False
        self._something.set()
        dropped = self.dropped - self._told
        if dropped:
            self._told += dropped
            self._node._tell_dropped(Dropped(self.id, self.topic_filter, dropped))

    def _acknowledge(self, ack: Ack) -> None:
        if not self._acked.done():
            self._acked.set_result(ack)

    def _end(self, why: str) -> None:
        self._ended = True
        self._something.set()
        self._acknowledge(Ack(False, (), (), 0.0, why))


class AsyncNode:
    """A connection to the fabric, for one event loop. Use it with `async with`, or `open` and `close`.

    connect:          base address of a proxy, or several
    max_queued_msgs:  queue of each subscription, in messages; what does not fit is dropped and told to `on_drop`
    options:          as for `Node`
    errors:           StateError for what is used before `open`, or opened twice; else those of `Node`
    """

    def __init__(self, connect: str | Iterable[str], *, max_queued_msgs: int = MAX_QUEUED_MSGS, **options: Any) -> None:
        self._connect = connect if isinstance(connect, str) else list(connect)
        self._options, self._max_queued_msgs = options, max_queued_msgs
        self._node: Node | None = None
        """There from the end of `open` on."""
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one in which `open` was called; for good."""
        self._calls: deque[Callable[[], None]] = deque()
        """What is to be done in the loop. The I/O thread appends, the loop takes."""
        self._scheduled = False
        """The loop is about to look at `_calls`. The I/O thread sets it, the loop clears it."""
        self._loop_is_gone = False
        """The loop was closed: nothing is handed over any more. In the I/O thread."""
        self._drop_funs: list[Callable[[Dropped], object]] = []
        self._subscriptions: dict[int, AsyncSubscription] = {}
        """By id, those not unsubscribed. In the loop."""
        self._publisher = ThreadPoolExecutor(1, "fabric-aio-publish")
        """The thread in which messages wait that could not be sent at once."""
        self._begun = self._done = self._turn = 0
        """Messages given to `_publisher`, in the loop; those it is done with, or that were cancelled, under
        `_done_lock`; and messages sent since other tasks had their turn, in the loop."""
        self._closing: Future[int] | None = None
        """The node is being closed, or was: set once, under `_close_lock`."""
        self._close_lock = threading.Lock()
        self._done_lock = threading.Lock()
        """Guards `_done`."""
        self._lost_events = self._failed_callbacks = 0
        """Events that did not fit `_calls`; callbacks that raised in the loop."""

    async def __aenter__(self) -> AsyncNode:
        return await self.open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> AsyncNode:
        """Connect; errors as for `Node`. A cancelled call leaves nothing behind."""
        if self._loop is not None:
            raise StateError("AsyncNode", "open", "open", "make a new AsyncNode")
        self._loop = asyncio.get_running_loop()
        opening = _in_thread(lambda: Node(self._connect, **self._options))
        try:
            self._node = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise
        return self

    # ── the API ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def node(self) -> Node:
        """The node below, for what lives on one: `Client`, `Server`. Errors: StateError before `open`."""
        if self._node is None:
            raise StateError("AsyncNode", "not open", "use", "use `async with AsyncNode(…) as node`")
        return self._node

    @property
    def name(self) -> str:
        """As for `Node`; errors: StateError before `open`."""
        return self.node.name

    @property
    def home(self) -> str:
        """As for `Node`; errors: StateError before `open`."""
        return self.node.home

    @property
    def state(self) -> NodeState:
        """As for `Node`; errors: StateError before `open`."""
        return self.node.state

    async def subscribe(
        self,
        topic_filter: str,
        *,
        max_queued_msgs: int | None = None,
        retained: bool = False,
        since: Since = None,
        keeper: str = KEEPER,
    ) -> AsyncSubscription:
        """Subscribe, and return the messages as an async iterator. Does not wait for the ack. Errors as for `Node`.

        retained: as for `Node`: what is retained is in the queue when the ack comes. What does not fit is dropped, so
                  make room for all with `max_queued_msgs`
        since:    begin with what keepers have, see `Node.subscribe`; a history waits for room in the queue
        """
        node = self.node
        limit = self._max_queued_msgs if max_queued_msgs is None else max_queued_msgs
        if limit < 1:
            raise ValueError(expected("max_queued_msgs", limit, "at least 1"))
        subscription = AsyncSubscription(self, topic_filter, limit)
        acknowledge = subscription._acknowledge

        def acked(ack: Ack) -> None:
            self._hand_over(lambda: acknowledge(ack))

        if since is None:
            subscription.id = node.subscribe(topic_filter, subscription._take, acked, retained=retained)
        else:
            refuse_both(retained, since)
            subscription.id = node.catch_up(
                topic_filter, subscription._take, acked, since, keeper=keeper, room=lambda: limit - subscription.queued
            )
        self._subscriptions[subscription.id] = subscription
        return subscription

    async def history(
        self, topic_filter: str, *, since: Since = None, limit: int | None = None, keeper: str = KEEPER
    ) -> AsyncIterator[Message]:
        """Yield the messages that keepers have, oldest first; see `Node.history`. Pages are waited for in a thread."""
        kept = self.node.history(topic_filter, since=since, limit=limit, keeper=keeper)
        while taken := await asyncio.wrap_future(_in_thread(lambda: list(itertools.islice(kept, TURN_MSGS)))):
            for message in taken:
                yield message

    async def unsubscribe(self, subscription: AsyncSubscription) -> None:
        """End a subscription; its iterator ends, and what waits in its queue is let go. KeyError if it has ended."""
        self.node.unsubscribe(subscription.id)
        del self._subscriptions[subscription.id]
        subscription._queue.clear()
        subscription._end("unsubscribed before the ack")

    async def publish(
        self,
        topic: str,
        payload: Any,
        headers: dict[str, Any] | None = None,
        *,
        retain: bool = False,
        expires_s: float | None = None,
    ) -> int:
        """Send one message, and return its number; see `Node.publish`. Never blocks the loop.

        What can be sent at once is sent here. What has to wait, for a connection or for room, waits in a thread, and
        all that is published meanwhile queues behind it. A call that is cancelled while it waits may still be sent.
        """
        node = self.node
        self._turn += 1
        if self._turn >= TURN_MSGS:
            self._turn = 0
            await asyncio.sleep(0)
        if self._begun == self._done:
            try:
                return node.publish(topic, payload, headers, timeout_s=0, retain=retain, expires_s=expires_s)
            except (HighWaterMarkReached, NotConnected):
                pass
        return await self._in_turn(lambda: node.publish(topic, payload, headers, retain=retain, expires_s=expires_s))

    async def publish_many(self, messages: Iterable[tuple[str, Any]]) -> int:
        """Send messages, each (topic, payload), in their order; return how many. See `Node.publish_many`.

        Never blocks the loop: other tasks have their turn after each `TURN_MSGS` messages, and what has to wait waits
        as for `publish`. `messages` is iterated in the loop.
        """
        node, accepted = self.node, 0
        waiting = iter(messages)
        while chunk := list(itertools.islice(waiting, TURN_MSGS)):
            try:
                accepted += await self._publish_chunk(node, chunk)
            except FabricError as error:
                error.accepted += accepted
                raise
            await asyncio.sleep(0)
        return accepted

    async def wait_subscribers(self, topic_filter: str, count: int, timeout_s: float = 10.0) -> int:
        """Wait until `count` other nodes subscribe to all that `topic_filter` matches; see `Node.wait_subscribers`.

        It waits in a thread, which a call that is cancelled leaves behind until the time is over.
        """
        node = self.node
        return await asyncio.wrap_future(_in_thread(node.wait_subscribers, topic_filter, count, timeout_s))

    async def _publish_chunk(self, node: Node, chunk: list[tuple[str, Any]]) -> int:
        done = 0
        if self._begun == self._done:
            try:
                return node.publish_many(chunk, timeout_s=0)
            except (HighWaterMarkReached, NotConnected) as error:
                done = error.accepted
        try:
            return done + await self._in_turn(lambda: node.publish_many(chunk[done:]))
        except FabricError as error:
            error.accepted += done
            raise

    async def _in_turn(self, publish: Callable[[], int]) -> int:
        """Publish in the thread of those who wait. What is cancelled before its turn is not sent, and counts too."""
        later = self._publisher.submit(publish)
        self._begun += 1
        later.add_done_callback(self._count_done)
        return await asyncio.wrap_future(later)

    def _count_done(self, _: Future[int]) -> None:
        with self._done_lock:  # the publisher's thread, or the loop, for one that was cancelled
            self._done += 1

    def on_gap(self, fun: Callable[[Gap], object]) -> None:
        """Have `fun(gap)` called in the loop for every loss."""
        self.node.on_gap(lambda gap: self._tell(fun, gap))

    def on_state(self, fun: Callable[[NodeState], object]) -> None:
        """Have `fun(state)` called in the loop when the connection changes."""
        self.node.on_state(lambda state: self._tell(fun, state))

    def on_coverage(self, fun: Callable[[CoverageEvent], object]) -> None:
        """Have `fun(event)` called in the loop when coverage changes."""
        self.node.on_coverage(lambda event: self._tell(fun, event))

    def on_not_retained(self, fun: Callable[[NotKept], object]) -> None:
        """Have `fun(told)` called in the loop for each value that this node has set and that is not kept."""
        self.node.on_not_retained(lambda told: self._tell(fun, told))

    def on_drop(self, fun: Callable[[Dropped], object]) -> None:
        """Have `fun(dropped)` called in the loop when a queue was full, once for all since the loop last looked."""
        self._drop_funs.append(fun)

    def stats(self) -> dict[str, Any]:
        """Return the node's figures, and those of the queues of the present subscriptions."""
        subscriptions = self._subscriptions.values()
        return {
            **self.node.stats(),
            "queued": sum(each.queued for each in subscriptions),
            "dropped": sum(each.dropped for each in subscriptions),
            "lost_events": self._lost_events,
            "failed_loop_callbacks": self._failed_callbacks,
            "waited_publishes": self._begun,
        }

    async def close(self, timeout_s: float = 5.0) -> int:
        """End the node; return the number of accepted messages that are not known to have arrived.

        Iterators end after what is in their queues. May be called again, and from another loop when this one is gone;
        a call that is cancelled goes on in its thread.
        """
        if self._node is None:
            return 0
        try:
            return await asyncio.shield(asyncio.wrap_future(self._close_in_thread(timeout_s)))
        finally:
            self._publisher.shutdown(wait=False)
            if asyncio.get_running_loop() is self._loop:
                for subscription in self._subscriptions.values():
                    subscription._end("the node was closed")

    def _close_in_thread(self, timeout_s: float) -> Future[int]:
        """Close the node, unless that has begun; any thread. A second `Node.close` would not wait for the first."""
        with self._close_lock:
            if self._closing is None:
                self._closing = _in_thread(self.node.close, timeout_s)
            return self._closing

    # ── from the I/O thread to the loop ──────────────────────────────────────────────────────────────────────────

    def _hand_over(self, call: Callable[[], None]) -> None:
        """In the I/O thread: have `call` done in the loop, which is woken once for all that it finds."""
        self._calls.append(call)
        if self._scheduled or self._loop_is_gone:
            return
        self._scheduled = True
        try:
            self._loop.call_soon_threadsafe(self._take_over)  # type: ignore[union-attr]
        except RuntimeError:
            # The loop was closed and nobody closed the node. Nobody can hear it any more: end it.
            self._loop_is_gone = True
            self._calls.clear()
            with contextlib.suppress(RuntimeError):  # the interpreter is ending too
                self._close_in_thread(0)

    def _take_over(self) -> None:
        self._scheduled = False  # first: what is added from now on wakes the loop again
        for _ in range(len(self._calls)):
            self._calls.popleft()()

    def _tell(self, fun: Callable[[T], object], event: T) -> None:
        if len(self._calls) < MAX_QUEUED_EVENTS:
            self._hand_over(lambda: self._call(fun, event))
        else:
            self._lost_events += 1

    def _tell_dropped(self, event: Dropped) -> None:
        for fun in self._drop_funs:
            self._call(fun, event)

    def _call(self, fun: Callable[[T], object], event: T) -> None:
        try:
            fun(event)
        except (SystemExit, KeyboardInterrupt):  # those end a loop, as they always do
            raise
        except BaseException as error:  # a CancelledError, too
            self._failed_callbacks += 1
            asyncio.get_running_loop().call_exception_handler(
                {"message": f"a callback of a node raised: {fun!r}", "exception": error}
            )


def _in_thread(fun: Callable[..., T], *args: Any) -> Future[T]:
    """Run `fun` in a thread that ends with it, whatever becomes of the loop."""
    executor = ThreadPoolExecutor(1, "fabric-aio")
    future = executor.submit(fun, *args)
    executor.shutdown(wait=False)
    return future


def _close_unwanted(opening: Future[Node]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close(0)

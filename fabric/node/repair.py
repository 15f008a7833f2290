"""Of what a subscriber lost, what it asks the publishers for, when, and for how long it waits. Pure.

A *stream* is one publisher on one topic. The `GapDetector` holds back what is newer than a hole; this decides what
becomes of the hole.

| state | what happens | state then |
|---|---|---|
| noticed | the queue is empty, a way to publish is open, the budget has room: the first holes are asked for | asked |
| noticed | the time is over, and the queue was never empty: it is told as lost, `too slow` | told |
| asked | all that was asked for is answered, and more is missing | noticed |
| asked | nothing was heard for a third of the time: asked for once more | asked |
| asked | the time is over: told as lost, `publisher gone` or `timed out` | told |
| noticed, asked | nothing is missing any more | filled |

The time begins again whenever something comes of it: the first hole is smaller, or an answer was heard. It does not run
while this node has no way to publish, nor while it stood still itself. `now` is a monotonic time in seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from fabric.node.gaps import PUBLISHER_GONE, TIMED_OUT, TOO_SLOW
from fabric.protocol.repair import MAX_ASKED, MAX_RANGES, Ranges, size_of

TRANSITIONS = {
    ("noticed", "ask"): "asked",
    ("noticed", "too_slow"): "told",
    ("noticed", "filled"): "filled",
    ("asked", "answered"): "noticed",
    ("asked", "silent"): "asked",
    ("asked", "timed_out"): "told",
    ("asked", "filled"): "filled",
}
"""The same without what happens."""
TRIES = 3
"""So often one hole is asked for without anything coming of it."""
BUDGET_MSGS = 4_000
"""Asked for and not answered yet, over all streams."""
MAX_CLOSED = 10
"""While there is no way to publish the time does not run, so many times its length at most."""
STOOD_STILL = 0.25
"""When so much of the time passed between two ticks, this node stood still, in a callback say."""

Stream = tuple[str, int]
"""Topic and publisher."""
Holes = Callable[[str, int, int], list[tuple[int, int]]]


@dataclass(frozen=True)
class Ask:
    """Ask the publisher for these numbers, (first, last) each."""

    topic: str
    publisher: int
    ident: int
    ranges: Ranges


@dataclass(frozen=True)
class GiveUp:
    """Nothing of what is missing there is to come; why."""

    topic: str
    publisher: int
    reason: str


class _Open:
    """One stream in which something is missing."""

    __slots__ = ("asked_at", "closed", "due", "head", "ident", "is_alive", "ranges", "since", "state", "tries")

    def __init__(self, head: int, since: float) -> None:
        self.state = "noticed"
        """`noticed` or `asked`; see the table above."""
        self.head = head
        """The first number that is missing, as far as is known."""
        self.since = since
        """When the time began that is given to it."""
        self.closed = 0
        """How often that was put off, since there was no way to publish."""
        self.due = since
        """When this stream is to be looked at next."""
        self.ident = 0
        """Of what was asked last; 0: nothing was."""
        self.ranges: Ranges = ()
        """What was asked for, while it is `asked`; it takes so much of the budget."""
        self.asked_at = 0.0
        """When that was, or when it was last answered in part."""
        self.is_alive = False
        """Something of the publisher came there since it was asked first."""
        self.tries = 0
        """How often it was asked since something came of it."""


class Asker:
    """What one node asks for. I/O thread.

    holes:     gives what is missing of a stream, see `GapDetector.holes`
    timeout_s: how long a hole is waited for without anything coming of it
    """

    def __init__(self, holes: Holes, timeout_s: float) -> None:
        self._holes, self._timeout_s = holes, timeout_s
        self._open: dict[Stream, _Open] = {}
        """Where something is missing, or was when it was last looked at."""
        self._ready: dict[Stream, None] = {}
        """Those `noticed` that may be asked for as soon as it is possible, in that order."""
        self._dues: list[tuple[float, Stream]] = []
        """A heap: when to look at which. Void if that stream is due at another time."""
        self._asks: dict[int, Stream] = {}
        """By id: what is `asked`."""
        self._room = BUDGET_MSGS
        """What is left of the budget; below 0 by less than one piece."""
        self._last_ident = 0
        self._ticked_at = 0.0
        """When `tick` was last called; 0: never."""
        self.asked = 0
        """Asks since the start, those that were repeated as well."""

    @property
    def wants(self) -> bool:
        """Whether there is anything to be asked, or waited for."""
        return bool(self._open)

    def noticed(self, topic: str, publisher: int, head: int, now: float, wait_s: float) -> None:
        """Something waits there for `head`, and a message came there just now.

        wait_s: how long it may still come by another way
        """
        stream = (topic, publisher)
        found = self._open.get(stream)
        if found is None:
            found = self._open[stream] = _Open(head, now + wait_s)
            if not wait_s:
                self._ready[stream] = None
            self._look_at(stream, found, now + (wait_s or self._timeout_s))
        elif head != found.head:
            self._moved_on(stream, found, head, now)
        found.is_alive = True

    def waits_for(self, topic: str, publisher: int) -> bool:
        """Whether what is missing there does not come by itself: it was asked for, or is about to be.

        Who is about to ask may be served with others who lost the same.
        """
        stream = (topic, publisher)
        found = self._open.get(stream)
        return found is not None and (found.state == "asked" or stream in self._ready)

    def asked_for(self, ident: int, topic: str, publisher: int) -> Ranges:
        """Return what was asked for there under this id, and is waited for; () when nothing is."""
        stream = (topic, publisher)
        return self._open[stream].ranges if self._asks.get(ident) == stream else ()

    def answered(self, ident: int, now: float, *, done: bool) -> None:
        """An answer came, and its parts were taken. done: it was the last one. It is known."""
        stream = self._asks[ident]
        found = self._open[stream]
        found.is_alive = True
        holes = self._holes(*stream, 1)
        if not holes:
            self._end(stream, found, "filled")
            return
        if holes[0][0] != found.head:
            self._moved_on(stream, found, holes[0][0], now)
        if found.state != "asked":
            return  # all of that came; it is about what comes next
        if not done:
            found.since = found.asked_at = now
        elif found.tries < TRIES:
            self._is_answered(stream, found, now)
        else:  # the publisher says that this was all, and it was not
            found.since = now - 2 * self._timeout_s
            self._look_at(stream, found, now)

    def tick(self, now: float, *, is_empty: bool, is_open: bool) -> list[Ask | GiveUp]:
        """Return what is to be done. is_empty: nothing waits to be read; is_open: there is a way to publish"""
        effects: list[Ask | GiveUp] = []
        still_s = now - self._ticked_at
        if self._ticked_at and still_s > STOOD_STILL * self._timeout_s:
            for found in self._open.values():
                found.since += still_s
                found.asked_at += still_s
        self._ticked_at = now
        while self._dues and self._dues[0][0] <= now:
            due, stream = heapq.heappop(self._dues)
            due_now = self._open.get(stream)
            if due_now is not None and due_now.due == due:
                effects += self._look(stream, due_now, now, is_empty=is_empty, is_open=is_open)
        if is_empty and is_open:
            while self._ready and self._room > 0:
                stream = next(iter(self._ready))
                del self._ready[stream]
                effects += self._ask(stream, self._open[stream], "ask", now)
        return effects

    def ask_now(self, topic: str, publisher: int, now: float) -> list[Ask | GiveUp]:
        """Ask for what is missing there, if nobody has to be waited for: nothing waits to be read, a way is open."""
        stream = (topic, publisher)
        found = self._open.get(stream)
        if found is None or found.state != "noticed" or found.since > now or self._room <= 0:
            return []
        self._ready.pop(stream, None)
        return self._ask(stream, found, "ask", now)

    def _look(self, stream: Stream, found: _Open, now: float, *, is_empty: bool, is_open: bool) -> list[Ask | GiveUp]:
        holes = self._holes(*stream, 1)
        if not holes:
            self._end(stream, found, "filled")
            return []
        if holes[0][0] != found.head:
            self._moved_on(stream, found, holes[0][0], now)
        if found.state == "noticed" and stream not in self._ready:
            self._ready[stream] = None
            found.since = max(found.since, now)
        if not is_open and found.closed < MAX_CLOSED:
            found.closed += 1
            found.since = now
        over = found.since + self._timeout_s
        if found.state == "asked" and not is_empty:
            over += self._timeout_s  # the answer may be behind what waits to be read
        if now < over:
            if found.state == "asked" and is_open and found.tries < TRIES and now >= found.asked_at + self._repeat_s:
                return self._ask(stream, found, "silent", now)
            self._look_at(stream, found, min(over, now + self._repeat_s) if found.state == "asked" else over)
            return []
        if found.state == "noticed":
            event, reason = "too_slow", TOO_SLOW
        else:
            event, reason = "timed_out", TIMED_OUT if found.is_alive else PUBLISHER_GONE
        self._end(stream, found, event)
        return [GiveUp(*stream, reason)]

    @property
    def _repeat_s(self) -> float:
        return self._timeout_s / TRIES

    def _ask(self, stream: Stream, found: _Open, event: str, now: float) -> list[Ask | GiveUp]:
        """Ask for the first holes; those behind them have their turn when these are answered."""
        ranges: list[tuple[int, int]] = []
        room = MAX_ASKED
        for first, last in self._holes(*stream, MAX_ASKED)[:MAX_RANGES]:
            last = min(last, first + room - 1)
            ranges.append((first, last))
            room -= last - first + 1
            if not room:
                break
        if not ranges:
            self._end(stream, found, "filled")
            return []
        self._free(found)
        if event == "ask":
            self._last_ident += 1
            found.ident, found.is_alive = self._last_ident, False
            if not found.tries:
                found.since = now
        found.state = TRANSITIONS[found.state, event]
        found.ranges = tuple(ranges)
        self._room -= size_of(found.ranges)
        self._asks[found.ident] = stream
        found.asked_at = now
        found.tries += 1
        self.asked += 1
        self._look_at(stream, found, now + self._repeat_s)
        return [Ask(*stream, found.ident, found.ranges)]

    def _moved_on(self, stream: Stream, found: _Open, head: int, now: float) -> None:
        """Something came of it."""
        found.head, found.since, found.tries, found.closed = head, now, 0, 0
        if found.state == "asked" and head > found.ranges[-1][1]:
            self._is_answered(stream, found, now)

    def _is_answered(self, stream: Stream, found: _Open, now: float) -> None:
        """What was asked for has come, or will not; there is more."""
        self._free(found)
        found.state = TRANSITIONS[found.state, "answered"]
        self._ready[stream] = None
        self._look_at(stream, found, now + self._timeout_s)

    def _look_at(self, stream: Stream, found: _Open, due: float) -> None:
        found.due = due
        heapq.heappush(self._dues, (due, stream))

    def _free(self, found: _Open) -> None:
        """What was asked is not waited for any longer."""
        self._room += size_of(found.ranges)
        found.ranges = ()
        self._asks.pop(found.ident, None)

    def _end(self, stream: Stream, found: _Open, event: str) -> None:
        found.state = TRANSITIONS[found.state, event]
        self._free(found)
        self._ready.pop(stream, None)
        del self._open[stream]

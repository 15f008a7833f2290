"""When each message of a recording is due as it is played. Pure.

    times, pace = Intended(), Pace(speed=2.0, start_ns=now)
    due_ns = pace.due_ns(times.time_ns(entry))

A message is due at the start + its time in the recording / speed: computed from the file each time, never from the last
send, so that neither a slow send nor a stall shifts what follows.

**Time in the recording.** What the publisher meant is `sent_ns`, but each publisher has its own clock. What all share
is the recorder's clock, but `received_ns` holds the delays of the way and of the recorder. So a publisher's `sent_ns`
is taken, shifted by the least delay that it has shown so far: its intervals are its own, and several publishers stand
on one clock. Where only one of both times is there, that one is taken.
"""

from __future__ import annotations

from nodes.recording.lines import Entry

STEP_NS = 10_000_000_000
"""A delay that is so much above the least one is no delay: the publisher's clock was set, or the message was kept."""
MAX_PUBLISHERS = 100_000
"""So many least delays are kept, 0.2 kB each; beyond, all are forgotten and found again."""
LATE_NS = 10_000_000
"""A message that leaves later than this after it was due is counted as late."""


class Intended:
    """Gives each message of one pass its time on the recorder's clock."""

    def __init__(self) -> None:
        self._least: dict[int, int] = {}
        """Publisher to the least `received_ns - sent_ns` so far, which may be below 0: clocks differ."""
        self._latest = 0
        """The latest time given so far: the order of the file is kept, so no time is before it."""

    def time_ns(self, entry: Entry) -> int:
        """Return the time of a message, never before that of the message in front of it; 0 while none has any."""
        self._latest = max(self._latest, self._own_ns(entry))
        return self._latest

    def _own_ns(self, entry: Entry) -> int:
        sent_ns, received_ns = entry.message.sent_ns, entry.received_ns
        if not sent_ns or not received_ns:
            return sent_ns or received_ns
        delay, publisher = received_ns - sent_ns, entry.message.publisher
        least = self._least.get(publisher)
        if least is None or delay < least or delay > least + STEP_NS:
            if len(self._least) >= MAX_PUBLISHERS:
                self._least.clear()
            least = self._least[publisher] = delay
        return sent_ns + least


class Pace:
    """One pass over a recording: a part of it, at a speed.

    speed:    times as fast as recorded, above 0; None: everything is due at once
    start_ns: when the part begins to play, monotonic; due times are on that clock
    from_ns, until_ns: the part, since the first message of the recording; until_ns None: to its end
    """

    def __init__(self, speed: float | None, start_ns: int, from_ns: int = 0, until_ns: int | None = None) -> None:
        self._speed, self._start_ns = speed, start_ns
        self._from_ns, self._until_ns = from_ns, until_ns
        self._first_ns = 0
        """The time of the recording's first message that has one; 0 before it is known."""
        self.end_ns = start_ns
        """When the last message so far was due: there the next pass begins."""
        self.is_over = False
        """Set by `due_ns` at the first message behind the part: none of those that follow belongs to it."""

    def due_ns(self, time_ns: int) -> int | None:
        """Return when a message of this time is due; None when it is not in the part."""
        if time_ns and not self._first_ns:
            self._first_ns = time_ns
        at_ns = time_ns - self._first_ns if self._first_ns else 0
        if self._until_ns is not None and at_ns >= self._until_ns:
            self.is_over = True
            return None
        if at_ns < self._from_ns:
            return None
        if self._speed is not None:
            self.end_ns = self._start_ns + int((at_ns - self._from_ns) / self._speed)
        return self.end_ns


class Lateness:
    """How late messages left."""

    def __init__(self) -> None:
        self.late = 0
        """Messages that left more than LATE_NS after they were due."""
        self.worst_ns = 0
        """The largest difference, at least 0."""

    def sent(self, due_ns: int, now_ns: int) -> None:
        """Take it that a message left, on the clock of its due time."""
        late_ns = now_ns - due_ns
        self.worst_ns = max(self.worst_ns, late_ns)
        self.late += late_ns > LATE_NS

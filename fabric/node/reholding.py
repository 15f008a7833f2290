"""What a publisher's node holds so that it is kept: the values it set, for the next proxy. Pure.

A proxy keeps retained values in memory. When the one that a node publishes at restarts, or the node moves to another,
the node sends them again, as `held`: the new ingress keeps them if it knows of nothing newer.
"""

from __future__ import annotations

from fabric.node.held_values import MAX_BYTES, MAX_TOPICS, HeldValues
from fabric.protocol.retained import held_part, read_value

PARTS_PER_TURN = 500
BYTES_PER_TURN = 1024 * 1024
"""So much at most is sent again between two ticks of 10 ms: 50,000 a second, a quarter of a core."""


class Reholding:
    """The values of one publisher. Not locked: use it under the lock that orders the sends.

    max_topics, max_bytes: bounds; what is over them is not sent again
    """

    def __init__(self, max_topics: int = MAX_TOPICS, max_bytes: int = MAX_BYTES) -> None:
        self._values: HeldValues[bytes, bytes] = HeldValues(max_topics, max_bytes)
        """Parts that were accepted, by topic with its NUL; tombstones of what this publisher cleared."""
        self._due: list[bytes] = []
        """Topics that are still to be sent to the present ingress; the last goes first."""
        self.sent = 0
        """Parts sent again since the start."""

    def __len__(self) -> int:
        return len(self._values)

    @property
    def refused(self) -> int:
        """Values that are over the bounds, and so not sent again."""
        return self._values.refused

    @property
    def is_due(self) -> bool:
        """Whether something is still to be sent again."""
        return bool(self._due)

    def stamp_ns(self, prefix: bytes, now_ns: int) -> int:
        """Return the time to put on a topic's next value, see `HeldValues.stamp_ns`."""
        return self._values.stamp_ns(prefix, now_ns)

    def accepted(self, prefix: bytes, part: bytes, now: float) -> None:
        """A part was accepted that `retained_part` made."""
        value = read_value(part, len(part))
        assert value is not None
        put = self._values.put
        if not put(prefix, value.stamp, part, len(part), now, expires_s=value.expires_s, is_clear=value.is_clear):
            self.superseded(prefix, value.stamp[0] - 1, now)  # what is older is not to come back

    def give(self, prefix: bytes, part: bytes, now: float) -> bool:
        """Take a value that another publisher set and nobody else holds, as a part with `held`: it is sent, and held
        from then on like this publisher's own. False: what is there is newer, or it is over the bounds.
        """
        value = read_value(part, len(part))
        assert value is not None
        put = self._values.put
        if not put(prefix, value.stamp, part, len(part), now, expires_s=value.expires_s, is_clear=value.is_clear):
            return False
        self._due.append(prefix)
        return True

    def superseded(self, prefix: bytes, sent_ns: int, now: float) -> None:
        """Another publisher has set, or cleared, the topic at `sent_ns`: an older value is not to come back."""
        held = self._values.get(prefix, now)
        if held is not None and held.stamp[0] <= sent_ns:
            self._values.forget(prefix)

    def clear(self) -> None:
        """Hold nothing, and send nothing again."""
        self._values.clear()
        self._due.clear()

    def ingress_changed(self) -> None:
        """There is another connection to an ingress, which may know nothing: all is to be sent again."""
        self._due = self._values.topics()

    def next(self, now: float) -> bytes | None:
        """Return the part to be sent next; None: nothing is due. It stays the next until `taken`."""
        while self._due:
            part = self._part(self._due[-1], now)
            if part is not None:
                return part
            self._due.pop()
        return None

    def taken(self) -> None:
        """What `next` returned was sent."""
        self._due.pop()
        self.sent += 1

    def tick(self, now: float) -> None:
        self._values.tick(now)

    def _part(self, prefix: bytes, now: float) -> bytes | None:
        held = self._values.get(prefix, now)
        if held is None:
            return None
        return held_part(held.value, 0 if held.is_clear else held.expires_in(now), is_clear=held.is_clear)

"""The interest of a node in two halves: in topics of applications, and in those that begin with `$` or `~`. Pure.

Each half is an `Interest`, with a budget for itself. The empty prefix, which a filter such as `#` needs, stands for the
first half only: a proxy with keys does not bring the other by it, and `#` matches nothing there.
"""

from __future__ import annotations

from collections.abc import Callable

from fabric.node.interest import Change, Interest

RESERVED = ("$", "~")


class Interests:
    """Held filters in, subscribe and cancel effects out; see `Interest`.

    may_hold: whether the rights of this node allow a prefix: coarser ones are held only where they do
    """

    def __init__(self, max_prefixes: int, may_hold: Callable[[bytes], bool] = lambda prefix: True) -> None:
        self._ordinary = Interest(max_prefixes, may_hold=may_hold)
        self._reserved = Interest(max_prefixes, may_hold=lambda prefix: prefix != b"" and may_hold(prefix))

    def hold(self, topic_filter: str) -> Change:
        """Hold `topic_filter` once more, see `Interest.hold`."""
        return self._half(topic_filter).hold(topic_filter)

    def release(self, topic_filter: str) -> Change:
        """Undo one `hold`, see `Interest.release`."""
        return self._half(topic_filter).release(topic_filter)

    def wire(self) -> frozenset[bytes]:
        """Return the prefixes held upstream, as a copy."""
        return self._ordinary.wire() | self._reserved.wire()

    def carries(self, prefix: bytes) -> bool:
        """Return whether exactly `prefix` is held upstream."""
        return self._ordinary.carries(prefix) or self._reserved.carries(prefix)

    def stats(self) -> dict[str, int]:
        """Return the counts of both together, see `Interest.stats`; the budget is of each."""
        ordinary, reserved = self._ordinary.stats(), self._reserved.stats()
        return {name: each if name.startswith("max") else each + reserved[name] for name, each in ordinary.items()}

    def _half(self, topic_filter: str) -> Interest:
        return self._reserved if topic_filter.startswith(RESERVED) else self._ordinary

"""What a recorder had no room for, told as losses once there is room again. Pure."""

from __future__ import annotations

from fabric.wire import Message
from nodes.recording.lines import Loss

NO_ROOM = "the recorder was too slow"


class Dropped:
    """Collects messages that were dropped. A subscriber gets its messages without holes between its gaps, so those of
    one publisher and topic between two looks are a range of numbers, but for the gaps in it."""

    def __init__(self) -> None:
        self._ranges: dict[tuple[str, int], tuple[int, int, int]] = {}
        """Topic and publisher to the first number, the last, how many were dropped; `losses` empties it."""

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def add(self, message: Message) -> None:
        key = message.topic, message.publisher
        first, _, count = self._ranges.get(key, (message.number, 0, 0))
        self._ranges[key] = first, message.number, count + 1

    def losses(self) -> list[Loss]:
        """Return what was dropped since the last call, and forget it."""
        ranges, self._ranges = self._ranges, {}
        return [Loss(*key, first, last, count, NO_ROOM) for key, (first, last, count) in ranges.items()]

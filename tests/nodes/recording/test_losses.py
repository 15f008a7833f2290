"""What a recorder had no room for."""

from __future__ import annotations

from fabric.wire import Message
from nodes.recording.lines import Loss
from nodes.recording.losses import NO_ROOM, Dropped


def test_a_range_for_each_topic_and_publisher_told_once() -> None:
    dropped = Dropped()
    assert not dropped and dropped.losses() == []
    for topic, publisher, number in (("a", 1, 5), ("b", 1, 9), ("a", 1, 6), ("a", 2, 1), ("a", 1, 8)):
        dropped.add(Message(topic, None, publisher, number, 0))
    assert dropped
    assert sorted(dropped.losses()) == [
        Loss("a", 1, 5, 8, 3, NO_ROOM),  # 7 was a gap, and is told as one
        Loss("a", 2, 1, 1, 1, NO_ROOM),
        Loss("b", 1, 9, 9, 1, NO_ROOM),
    ]
    assert not dropped and dropped.losses() == []

"""What a publisher sends again to the next proxy: its own values, as they stand, and nothing that is out of date."""

from __future__ import annotations

from fabric.node.reholding import Reholding
from fabric.protocol.retained import TOMBSTONE_S, Value, read_value, retained_part
from fabric.wire import Encoder, decode


def set_value(held: Reholding, topic: str, sent_ns: int, payload: object, now: float, expires_s: int = 0) -> None:
    prefix = topic.encode() + b"\0"
    part = retained_part(Encoder(7), prefix, sent_ns, sent_ns, payload, {"a": 1, "retain": expires_s})
    held.accepted(prefix, part, now)


def sent_again(held: Reholding, now: float) -> list[bytes]:
    held.ingress_changed()
    parts = []
    while (part := held.next(now)) is not None:
        assert held.next(now) == part, "it stays the next until it was sent"
        held.taken()
        parts.append(part)
    assert not held.is_due
    return parts


def test_the_last_value_of_each_topic_is_sent_again_with_its_stamp_and_number() -> None:
    held = Reholding()
    set_value(held, "t", 5, "old", 0.0)
    set_value(held, "t", 6, "new", 0.0)
    set_value(held, "u", 7, "other", 0.0)
    parts = sorted(sent_again(held, 1.0))
    assert [decode(part)[:5] for part in parts] == [("t", "new", 7, 6, 6), ("u", "other", 7, 7, 7)]
    assert dict(decode(parts[0]).headers) == {"a": 1, "held": True, "retain": 0}
    assert held.sent == 2 and len(held) == 2


def test_what_was_cleared_is_sent_as_cleared_until_that_is_forgotten() -> None:
    held = Reholding()
    set_value(held, "t", 5, "old", 0.0)
    set_value(held, "t", 6, None, 0.0)
    [part] = sent_again(held, 1.0)
    assert read_value(part) == Value(b"t", (6, 7), 0, is_clear=True, is_held=True)
    assert sent_again(held, TOMBSTONE_S) == []


def test_what_expires_is_sent_with_what_is_left_of_its_time_and_then_as_cleared() -> None:
    held = Reholding()
    set_value(held, "t", 5, "old", 0.0, expires_s=10)
    [part] = sent_again(held, 7.5)
    assert read_value(part) == Value(b"t", (5, 7), 3, is_clear=False, is_held=True)
    [part] = sent_again(held, 10.0)
    assert read_value(part) == Value(b"t", (5, 7), 0, is_clear=True, is_held=True)


def test_what_another_publisher_has_set_since_does_not_come_back() -> None:
    held = Reholding()
    set_value(held, "t", 5, "mine", 0.0)
    held.superseded(b"t\0", 4, 0.0)
    held.superseded(b"u\0", 9, 0.0)
    assert len(sent_again(held, 1.0)) == 1
    held.superseded(b"t\0", 5, 0.0)
    assert sent_again(held, 1.0) == []


def test_what_is_over_the_bounds_is_not_sent_again_and_neither_is_what_it_replaced() -> None:
    held = Reholding(max_topics=1, max_bytes=1000)
    set_value(held, "t", 5, "small", 0.0)
    set_value(held, "u", 5, "one too many", 0.0)
    assert [decode(part).topic for part in sent_again(held, 1.0)] == ["t"]
    set_value(held, "t", 6, "x" * 2000, 0.0)
    assert sent_again(held, 1.0) == [] and held.refused == 2


def test_another_connection_begins_from_the_start() -> None:
    held = Reholding()
    for number in range(1, 4):
        set_value(held, f"t/{number}", number, number, 0.0)
    held.ingress_changed()
    held.next(0.0)
    held.taken()
    assert held.is_due and len(sent_again(held, 0.0)) == 3


def test_the_next_stamp_of_a_topic_is_later_than_the_last() -> None:
    held = Reholding()
    set_value(held, "t", 1000, 1, 0.0)
    assert held.stamp_ns(b"t\0", 900) == 1001
    held.tick(0.0)
    assert held.stamp_ns(b"t\0", 2000) == 2000


def given(held: Reholding, topic: str, sent_ns: int, payload: object, now: float, expires_s: int = 0) -> bool:
    headers = {"held": True, "retain": expires_s}
    part = retained_part(Encoder(7), topic.encode() + b"\0", 1, sent_ns, payload, headers)
    return held.give(topic.encode() + b"\0", part, now)


def test_what_is_given_back_is_due_at_once_and_at_each_further_ingress() -> None:
    held = Reholding()
    assert given(held, "t", 5, "lost", 0.0, expires_s=10) and held.is_due
    part = held.next(7.5)
    assert part is not None and read_value(part) == Value(b"t", (5, 7), 3, is_clear=False, is_held=True)
    held.taken()
    assert held.next(7.5) is None and not held.is_due
    assert len(sent_again(held, 8.0)) == 1
    held.superseded(b"t\0", 6, 8.0)
    assert sent_again(held, 8.0) == []


def test_nothing_is_held_or_due_once_all_is_let_go() -> None:
    held = Reholding()
    set_value(held, "t", 5, "mine", 0.0)
    assert given(held, "u", 5, "lost", 0.0)
    held.clear()
    assert not held.is_due and len(held) == 0 and sent_again(held, 1.0) == []


def test_what_is_given_back_replaces_nothing_newer() -> None:
    held = Reholding(max_topics=1)
    set_value(held, "t", 5, "mine", 0.0)
    assert not given(held, "t", 4, "older", 0.0) and not given(held, "u", 9, "one too many", 0.0)
    assert [decode(part).payload for part in sent_again(held, 1.0)] == ["mine"]

"""A recording as the plan of a load test."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.wire import Message
from nodes.load import played
from nodes.load.played import Played, Share, gather
from nodes.load.schedule import STAMP_BYTES
from nodes.recording.lines import Damaged, End, Entry, Head

MS = 1_000_000
T = 1_700_000_000_000_000_000


def entries(messages: Iterable[tuple[str, Any, int]]) -> list[Entry]:
    return [Entry(k, Message(topic, payload, 7, 1, T + at), T + at) for k, (topic, payload, at) in enumerate(messages)]


def tuples(share: Share) -> list[tuple[str, int, int]]:
    found = zip(share.which, share.at_ns, share.sizes, strict=True)
    return [(share.topics[which], at_ns, size) for which, at_ns, size in found]


def test_topics_times_and_sizes_and_what_cannot_be_published_is_counted() -> None:
    given = entries([("a", 1, 0), ("b/+", 1, 1), ("b", "x" * 100, 5), ("c", 2**70, 6), ("a", None, 9)])
    found = gather([Head(1, ("#",)), *given, Damaged(9, "x"), End(5, 0)])
    assert tuples(found.whole) == [("load/a", 0, STAMP_BYTES), ("load/b", 5, 102), ("load/a", 9, STAMP_BYTES)]
    assert (found.skipped, found.span_ns, found.mean_bytes) == (2, 9, round((8 + 102 + 8) / 3))


def test_every_message_belongs_to_one_publisher_and_a_topic_too() -> None:
    whole = gather(entries((f"t/{k % 5}", k, k) for k in range(50)))
    shares = [whole.share(publisher, 3) for publisher in range(3)]
    assert sorted(each for share in shares for each in tuples(share)) == sorted(tuples(whole.whole))
    topics = [set(share.topics) for share in shares]
    assert sum(map(len, topics)) == 5 == len(set.union(*topics))
    assert tuples(whole.share(9, 10)) == []


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.floats(0.01, 100), st.integers(0, 10**9))
def test_what_is_due_is_what_was_intended_by_then(times: list[int], speed: float, now: int) -> None:
    plan = Played(gather(entries(("a", 1, at) for at in sorted(times))).whole, 1000, speed)
    count = plan.due(1000 + now)
    assert all(plan.due_ns(k) <= 1000 + now for k in range(count))
    if count < len(times):
        assert plan.due_ns(count) >= 1000 + now - 1  # rounding


def test_the_mean_rate() -> None:
    assert gather(entries(("a", 1, k * MS) for k in range(101))).rate(2.0) == 2000.0
    assert gather(entries([("a", 1, 0)])).rate(2.0) is None


def test_nothing_to_play_and_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="holds no message"):
        gather([Head(1, ())])
    monkeypatch.setattr(played, "MAX_MESSAGES", 2)
    with pytest.raises(ValueError, match="more than the 2 messages"):
        gather(entries([("a", 1, 0)] * 3))

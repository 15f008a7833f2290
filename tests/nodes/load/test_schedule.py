"""Topics, filters and times of a load test."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidFilter, InvalidTopic
from fabric.topics import matches
from nodes.load.schedule import (
    MAX_SLOTS,
    Schedule,
    Spec,
    Stretch,
    default_filter,
    let_through,
    matched,
    slot_s,
    topic_names,
)

S = 1_000_000_000
SPEC = Spec(1, 1, ("a/0000",), ("a/#",), 64, 100.0, 1.0, 1.0, ("tcp://h:1", "tcp://h:11", "tcp://h:21"))


@given(
    rate=st.floats(0.5, 1e6),
    publishers=st.integers(1, 9),
    seconds=st.floats(0.01, 3),
    share=st.floats(0, 2),
)
def test_what_is_due_is_what_was_intended_by_then(rate: float, publishers: int, seconds: float, share: float) -> None:
    """Also at odd rates: exactly the messages whose intended time has come, and none from the end on."""
    schedule = Schedule(5 * S, 5 * S + int(seconds * S), rate, publishers)
    now = 5 * S + int(share * seconds * S)
    for publisher in range(publishers):
        count = schedule.due(publisher, now)
        if count:
            last = schedule.due_ns(publisher, count - 1)
            assert last <= now and last < schedule.end_ns
        following = schedule.due_ns(publisher, count)
        assert following > now - 2 or following >= schedule.end_ns - 2  # two ns: the intended times are rounded down


def test_publishers_take_turns_and_keep_the_rate_together() -> None:
    schedule = Schedule(0, 4 * S, 1000.0, 3)
    times = sorted(
        schedule.due_ns(publisher, k) for publisher in range(3) for k in range(schedule.scheduled(publisher))
    )
    assert times == [number * S // 1000 for number in range(4000)]
    assert schedule.due(0, -1) == 0 and schedule.due(0, 0) == 1 and schedule.due(1, 0) == 0
    assert schedule.due(2, 100 * S) == schedule.scheduled(2)


@pytest.mark.parametrize(("seconds", "wanted"), [(0.1, 0.05), (3.0, 0.05), (10.0, 0.2), (30.0, 0.5), (1e6, 60.0)])
def test_slots_of_a_stretch(seconds: float, wanted: float) -> None:
    assert slot_s(seconds) == wanted and (seconds / wanted <= MAX_SLOTS or wanted == 60.0)
    assert Stretch(S, S + int(seconds * S), None).slot_ns == wanted * S


def test_topic_names() -> None:
    assert topic_names("load/{n}/value", 2) == ("load/0000/value", "load/0001/value")
    assert topic_names("a", 1) == ("a",)
    assert topic_names("{n}", 20_000)[-1] == "19999"
    with pytest.raises(ValueError, match="which makes 2 topics"):
        topic_names("a", 2)
    with pytest.raises(InvalidTopic):
        topic_names("a/+/{n}", 2)


@pytest.mark.parametrize("pattern", ["load/{n}/value", "{n}", "a/x{n}y/b{n}", "a"])
def test_the_default_filter_takes_every_topic(pattern: str) -> None:
    count = 5 if "{n}" in pattern else 1
    assert all(matches(default_filter(pattern), topic) for topic in topic_names(pattern, count))


def test_filters_are_dealt_so_that_all_are_held_and_everybody_has_one() -> None:
    for count in range(1, 6):
        for subscribers in range(1, 6):
            filters = tuple(f"f/{number}" for number in range(count))
            spec = dataclasses.replace(SPEC, subscribers=subscribers, filters=filters)
            held = [spec.filters_of(each) for each in range(subscribers)]
            assert all(held) and {each for own in held for each in own} == set(filters)
            assert sum(map(len, held)) == max(count, subscribers)


def test_nodes_are_dealt_to_proxies_and_know_the_others() -> None:
    assert [SPEC.bases_of(each)[0] for each in range(4)] == ["tcp://h:1", "tcp://h:11", "tcp://h:21", "tcp://h:1"]
    assert SPEC.bases_of(2) == ("tcp://h:21", "tcp://h:1", "tcp://h:11")


def test_matched() -> None:
    topics = topic_names("load/{n}/value", 3)
    assert matched(("load/0001/+",), topics) == ("load/0001/value",)
    assert matched(("load/0001/+", "#"), topics) == topics
    assert matched(("other/#",), topics) == ()
    with pytest.raises(InvalidFilter):
        matched(("a#",), topics)


def test_what_prefixes_let_through_is_put_down_to_one_filter() -> None:
    topics = ("a/0/x", "a/0/y", "a/1/x", "b/0/x")
    assert let_through(("a/+/x", "a/0/x"), topics) == {"a/+/x": ("a/0/y",), "a/0/x": ()}
    assert let_through(("+/1/x", "a/0/+"), topics) == {"+/1/x": ("b/0/x",), "a/0/+": ()}
    assert let_through(("a/0/x",), topics) == {"a/0/x": ()}

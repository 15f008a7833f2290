"""The newest value of each topic: against the table in the module's head, and against a list of all that was put."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.node.held_values import HeldValues
from fabric.protocol.retained import TOMBSTONE_S


def values_of(held: HeldValues[str, str], now: float) -> dict[str, str]:
    return {topic: each.value for topic, each in held.values(now)}


def state(held: HeldValues[str, str], now: float) -> str:
    known = held.get("t", now)
    return "nothing" if known is None else "tombstone" if known.is_clear else "value"


def brought_to(what: str) -> HeldValues[str, str]:
    """At time 10; a value expires at 20."""
    held: HeldValues[str, str] = HeldValues()
    if what != "nothing":
        held.put("t", (100, 1), "old", 3, 10.0, expires_s=10, is_clear=what == "tombstone")
    assert state(held, 10.0) == what
    return held


@pytest.mark.parametrize("before", ["nothing", "value", "tombstone"])
@pytest.mark.parametrize(("is_clear", "then"), [(False, "value"), (True, "tombstone")])
def test_what_is_newer_takes_the_place_of_what_is_there(before: str, is_clear: bool, then: str) -> None:
    held = brought_to(before)
    assert held.put("t", (101, 0), "new", 3, 11.0, is_clear=is_clear)
    assert state(held, 11.0) == then
    assert values_of(held, 11.0) == ({} if is_clear else {"t": "new"})


@pytest.mark.parametrize("before", ["value", "tombstone"])
@pytest.mark.parametrize("is_clear", [False, True])
@pytest.mark.parametrize("stamp", [(100, 1), (100, 0), (99, 7)])
def test_what_is_not_newer_changes_nothing(before: str, is_clear: bool, stamp: tuple[int, int]) -> None:
    held = brought_to(before)
    assert not held.put("t", stamp, "late", 3, 11.0, is_clear=is_clear)
    assert state(held, 11.0) == before and held.refused == 0


def test_a_value_whose_time_is_up_is_a_tombstone_and_then_nothing() -> None:
    held = brought_to("value")
    assert state(held, 19.9) == "value"
    assert state(held, 20.0) == "tombstone" and values_of(held, 20.0) == {}
    assert not held.put("t", (99, 1), "late", 4, 21.0)
    assert state(held, 20.0 + TOMBSTONE_S - 0.1) == "tombstone"
    assert state(held, 20.0 + TOMBSTONE_S) == "nothing"


def test_a_tombstone_is_forgotten_after_its_time() -> None:
    held = brought_to("tombstone")
    assert state(held, 10.0 + TOMBSTONE_S - 0.1) == "tombstone"
    assert state(held, 10.0 + TOMBSTONE_S) == "nothing"


def test_what_is_forgotten_takes_no_room_once_it_was_swept() -> None:
    held = brought_to("tombstone")
    held.tick(10.0 + TOMBSTONE_S - 1)
    assert len(held) == 1
    held.tick(10.0 + TOMBSTONE_S + 10)
    assert len(held) == 0


def test_what_is_left_of_a_value_is_told_in_whole_seconds() -> None:
    held = brought_to("value")
    known = held.get("t", 10.0)
    assert known is not None
    assert [known.expires_in(now) for now in (10.0, 10.5, 19.99, 20.0)] == [10, 10, 1, 1]
    held.put("t", (200, 1), "for good", 8, 10.0)
    known = held.get("t", 10.0)
    assert known is not None and known.until == math.inf and known.expires_in(10.0) == 0


def test_what_is_over_a_bound_is_not_taken_unless_something_can_be_forgotten() -> None:
    held: HeldValues[str, str] = HeldValues(max_topics=2, max_bytes=2000)
    assert held.put("a", (1, 1), "", 10, 0.0) and held.put("b", (1, 1), "", 10, 0.0, is_clear=True)
    assert not held.put("c", (1, 1), "", 10, 1.0) and held.refused == 1
    assert held.put("a", (2, 1), "", 1000, 1.0), "one that is there has its place"
    assert not held.put("a", (3, 1), "", 5000, 1.0) and held.refused == 2
    assert held.put("c", (1, 1), "", 10, TOMBSTONE_S + 1), "the tombstone gives way once its time is up"


def test_the_next_stamp_is_later_also_where_the_clock_went_back() -> None:
    held = brought_to("value")
    assert [held.stamp_ns("t", now) for now in (50, 100, 101, 200)] == [101, 101, 101, 200]
    assert held.stamp_ns("u", 50) == 50


def test_nothing_is_left_of_what_is_cleared_or_forgotten() -> None:
    held = brought_to("value")
    held.forget("t")
    held.forget("t")
    assert len(held) == 0 and held.put("t", (1, 1), "again", 5, 10.0)
    held.clear()
    assert held.topics() == []


PUTS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.tuples(st.integers(0, 5), st.integers(0, 2)), st.booleans(), st.sampled_from([0, 5])
    ),
    max_size=30,
)


@given(PUTS)
def test_at_any_time_the_largest_stamp_counts_in_whatever_order_they_came(
    puts: list[tuple[str, tuple[int, int], bool, int]],
) -> None:
    held: HeldValues[str, str] = HeldValues()
    for now, (topic, stamp, is_clear, expires_s) in enumerate(puts):
        held.put(topic, stamp, f"{stamp}", 1, float(now), expires_s=expires_s, is_clear=is_clear)
        for each in {topic for topic, *_ in puts[: now + 1]}:
            known = held.get(each, float(now))
            assert known is not None and known.stamp == max(
                stamp for topic, stamp, *_ in puts[: now + 1] if topic == each
            )
    assert len(held._held) <= 2 and held._bytes == sum(each.size for each in held._held.values())

"""Which lines there are: the first at once, sums later, bounded, and every count adds up."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.operate import audit_sums
from nodes.operate.audit_sums import (
    BURST_LINES,
    FIELDS,
    FORGET_S,
    KINDS_OF_EVENT,
    LINES_S,
    MAX_CHARS,
    MAX_EVENTS,
    MAX_KINDS,
    MAX_KINDS_OF_WHO,
    OTHERS,
    SUM_S,
    Line,
    Sums,
    cleaned,
)

DENIED = {"event": "publish_denied", "who": "sensor-7", "door": "in", "topic": "secret/x", "why": "no filter allows it"}


def denied(**other: Any) -> dict[str, Any]:
    return {**DENIED, **other}


def total(lines: list[Line]) -> int:
    return sum(line["count"] for line in lines)


def test_the_first_is_told_at_once_and_what_follows_as_a_sum() -> None:
    sums = Sums(0.0)
    assert sums.note(DENIED, 1.0) == [{**DENIED, "count": 1}]
    for number in range(500):
        assert sums.note(denied(topic=f"secret/{number}"), 2.0) == []
    assert sums.due(SUM_S - 0.1) == []
    assert sums.due(SUM_S) == [{**denied(topic="secret/#"), "count": 500}]
    assert sums.due(2 * SUM_S) == [], "nothing was heard since"
    assert sums.note(DENIED, 25.0) == [], "the kind is known"
    assert sums.due(3 * SUM_S) == [{**DENIED, "count": 1}], "all of one topic"


@pytest.mark.parametrize(
    ("other", "is_new"),
    [
        ({"topic": "secret/y/z"}, False),
        ({"why": "another"}, False),
        ({"from": "10.0.0.1"}, False),
        ({"who": "sensor-8"}, True),
        ({"door": "out"}, True),
        ({"event": "subscribe_denied"}, True),
        ({"topic": "public/x"}, True),
        ({"topic": ""}, True),
    ],
)
def test_what_makes_a_kind(other: dict[str, Any], is_new: bool) -> None:
    sums = Sums(0.0)
    sums.note(DENIED, 0.0)
    assert bool(sums.note(denied(**other), 0.0)) is is_new


def test_topics_of_the_fabric_and_of_pages_are_told_apart_by_two_levels() -> None:
    sums = Sums(0.0)
    for topic in ("$fabric/proxy/p1", "$fabric/drain/p1", "~pagesession/a/x", "~pagesession/b/x"):
        assert sums.note(denied(topic=topic), 0.0)
    assert not sums.note(denied(topic="$fabric/proxy/p2"), 0.0)


def test_a_filter_stands_for_a_topic() -> None:
    sums = Sums(0.0)
    asked = {"event": "subscribe_denied", "who": "a", "filter": "secret/+/x"}
    assert sums.note(asked, 0.0) == [{**asked, "count": 1}]
    sums.note({**asked, "filter": "secret/#"}, 0.0)
    sums.note({**asked, "filter": "secret/y"}, 0.0)
    assert sums.due(SUM_S) == [{**asked, "filter": "secret/#", "count": 2}]


def test_only_known_fields_as_short_texts_in_one_order() -> None:
    found = cleaned(
        {"secret": "x", "why": "w" * 1000, "event": "e", "who": b"a\xff", "door": 3, "topic": None, "from": ""}
    )
    assert list(found) == ["event", "who", "door", "why"] and set(found) <= set(FIELDS)
    assert found["who"] == "a\ufffd" and found["door"] == "3"
    assert len(found["why"]) == MAX_CHARS and found["why"].endswith("w…")
    assert cleaned({}) == {"event": "other"}


@pytest.mark.parametrize(("count", "taken"), [(7, 7), (0, 1), (-1, 1), ("9", 1), (None, 1)])
def test_what_happened_several_times_is_one_note(count: object, taken: int) -> None:
    (line,) = Sums(0.0).note({**DENIED, "count": count}, 0.0)
    assert line["count"] == taken


def test_lines_are_bounded_for_each_event_and_what_is_left_out_is_counted() -> None:
    sums = Sums(0.0)
    at_once = [line for number in range(1_000) for line in sums.note(denied(who=f"w{number}"), 0.0)]
    assert len(at_once) == BURST_LINES
    assert sums.note({"event": "keys_revoked", "who": "root"}, 0.0), "another event has its own lines"
    lines = sums.due(SUM_S)
    assert len(lines) == SUM_S * LINES_S + 1 and lines[-1]["who"] == OTHERS
    assert total(at_once) + total(lines) == 1_000


def test_the_largest_sums_are_told_by_name() -> None:
    sums = Sums(0.0)
    for number in range(300):
        for _ in range(1 + number):
            sums.note(denied(who=f"w{number}"), 0.0)
    lines = sums.due(SUM_S)
    assert [line["who"] for line in lines[:3]] == ["w299", "w298", "w297"] and lines[-1]["who"] == OTHERS


def test_one_who_tries_many_topics_pushes_out_nobody() -> None:
    sums = Sums(0.0)
    for number in range(5_000):
        sums.note(denied(topic=f"t{number}/x"), 0.0)
    assert sums.note(denied(who="quiet", event="subscribe_denied"), 1.0) != []
    assert kinds(sums) == MAX_KINDS_OF_WHO + 2, "the rest is counted whatever the topic"
    assert total(sums.due(SUM_S)) == 5_000 - BURST_LINES


def kinds(sums: Sums) -> int:
    return len(sums._heard)


def test_kinds_are_bounded_whoever_comes_and_a_rare_event_still_has_room() -> None:
    sums, at_once = Sums(0.0), 0
    for number in range(MAX_KINDS + 5_000):
        at_once += total(sums.note(denied(who=f"w{number}"), 0.0))
    assert kinds(sums) == MAX_KINDS
    assert sums.note({"event": "drain", "who": "root"}, 0.0) == [{"event": "drain", "who": "root", "count": 1}]
    for number in range(1_000):
        at_once += total(sums.note({"event": "connection_refused", "from": "x", "who": f"v{number}"}, 0.0))
    assert kinds(sums) == MAX_KINDS + 1 + KINDS_OF_EVENT
    lines = sums.due(SUM_S)
    assert at_once + total(lines) == MAX_KINDS + 6_000
    assert {line["event"] for line in lines if line["who"] == OTHERS} == {"publish_denied", "connection_refused"}
    sums.due(2 * SUM_S + 1)
    assert kinds(sums) == 0, "full: who was not heard for a round makes room"


def test_a_kind_that_was_silent_for_long_is_new_again() -> None:
    sums = Sums(0.0)
    assert sums.note(DENIED, 0.0)
    assert sums.due(FORGET_S - 1) == [] and not sums.note(DENIED, FORGET_S - 1)
    sums.due(2 * FORGET_S)
    sums.due(3 * FORGET_S)
    assert sums.note(DENIED, 3 * FORGET_S)


def test_what_nobody_looked_at_is_counted() -> None:
    sums = Sums(0.0)
    sums.crowd("publish_denied", 7, 0.0)
    assert sums.due(SUM_S) == [{"event": "publish_denied", "who": OTHERS, "count": 7}]


def test_names_of_events_are_bounded() -> None:
    sums = Sums(0.0)
    told = [line["event"] for number in range(MAX_EVENTS + 50) for line in sums.note({"event": f"e{number}"}, 0.0)]
    assert len(set(told)) == MAX_EVENTS + 1 and told[-1] == "other"


NOTES = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {"event": st.sampled_from("abc"), "who": st.sampled_from(["", "x", "y"])},
            optional={"topic": st.sampled_from(["s", "s/1", "s/2", "$f/a/1", ""]), "count": st.integers(1, 5)},
        ),
        st.floats(0, 20),
    ),
    max_size=60,
)


@given(NOTES)
def test_counts_add_up_whatever_finds_no_room(notes: list[tuple[dict[str, Any], float]]) -> None:
    before = {
        name: getattr(audit_sums, name) for name in ("MAX_KINDS", "MAX_KINDS_OF_WHO", "KINDS_OF_EVENT", "BURST_LINES")
    }
    try:
        for name, small in zip(before, (4, 2, 1, 3.0), strict=True):
            setattr(audit_sums, name, small)
        noted, told, now, sums = Counter[str](), Counter[str](), 0.0, Sums(0.0)
        for fields, pause_s in notes:
            now += pause_s
            noted[fields["event"]] += fields.get("count", 1)
            for line in [*sums.note(fields, now), *sums.due(now)]:
                told[line["event"]] += line["count"]
        for line in sums.sums(now):
            told[line["event"]] += line["count"]
        assert told == noted
    finally:
        for name, value in before.items():
            setattr(audit_sums, name, value)

"""The trie: every small world against the oracle, random filters added and removed, and nothing left behind."""

from __future__ import annotations

import random
from collections import Counter
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import InvalidFilter
from fabric.trie import SubscriptionTrie
from tests.support.small_world import filters, oracle, topics

SMALL = ("a", "", "$s")
OPERATIONS = st.lists(st.tuples(st.booleans(), st.sampled_from(filters(SMALL)), st.integers(0, 2)), max_size=40)
TOPICS = topics(SMALL)
ORACLES = {topic_filter: oracle(topic_filter) for topic_filter in filters(SMALL)}


def filled(*chosen: str) -> SubscriptionTrie[str]:
    """Return a trie that holds each filter as its own value."""
    trie: SubscriptionTrie[str] = SubscriptionTrie()
    for topic_filter in chosen:
        trie.add(topic_filter, topic_filter)
    return trie


def test_agrees_with_the_oracle_on_every_small_world_and_leaves_nothing_behind() -> None:
    world = [(topic_filter, oracle(topic_filter)) for topic_filter in filters()]
    trie = filled(*(topic_filter for topic_filter, _ in world))
    random.Random(5).shuffle(world)
    while world:
        for topic in topics():
            expected = sorted(topic_filter for topic_filter, pattern in world if pattern.fullmatch(topic))
            assert sorted(trie.match(topic)) == expected, topic
        gone, world = world[: len(world) // 3 + 1], world[len(world) // 3 + 1 :]
        for topic_filter, _ in gone:
            trie.remove(topic_filter, topic_filter)
    assert (len(trie), trie.levels(), list(trie)) == (0, 0, [])


def test_removing_one_of_any_two_filters_leaves_the_other_as_if_alone() -> None:
    for kept, gone in combinations(filters(SMALL, depth=2), 2):
        for first, second in ((kept, gone), (gone, kept)):
            trie = filled(first, second)
            trie.remove(gone, gone)
            assert trie.levels() == filled(kept).levels(), (kept, gone)
            assert list(trie) == [(kept, kept)]


@given(OPERATIONS)
def test_is_a_multiset_of_filters_and_values(operations: list[tuple[bool, str, int]]) -> None:
    trie: SubscriptionTrie[int] = SubscriptionTrie()
    held: Counter[tuple[str, int]] = Counter()
    for adding, topic_filter, value in operations:
        if adding:
            trie.add(topic_filter, value)
            held[topic_filter, value] += 1
        elif held[topic_filter, value]:
            trie.remove(topic_filter, value)
            held[topic_filter, value] -= 1
        else:
            with pytest.raises(KeyError):
                trie.remove(topic_filter, value)
    assert len(trie) == held.total()
    assert Counter(trie) == +held
    for topic in TOPICS:
        expected: Counter[int] = Counter()
        for (topic_filter, value), count in held.items():
            if ORACLES[topic_filter].fullmatch(topic):
                expected[value] += count
        assert Counter(trie.match(topic)) == +expected, topic
    for topic_filter, value in list(trie):
        trie.remove(topic_filter, value)
    assert (len(trie), trie.levels()) == (0, 0)


def test_the_same_pair_counts_as_often_as_it_was_added() -> None:
    trie: SubscriptionTrie[str] = SubscriptionTrie()
    for topic_filter in ("a/b", "a/+", "a/b", "a/+", "a/#"):
        trie.add(topic_filter, "x")
    assert trie.match("a/b") == ["x"] * 5
    trie.remove("a/b", "x")
    trie.remove("a/+", "x")
    assert trie.match("a/b") == ["x"] * 3
    assert len(trie) == 3


@pytest.mark.parametrize(
    ("topic_filter", "value"),
    [("a/+", "y"), ("a", "x"), ("a/+/c", "x"), ("a/#", "x"), ("b", "x"), ("+/+", "x"), ("a#", "x"), ("", "x")],
)
def test_removing_what_is_absent_raises_and_changes_nothing(topic_filter: str, value: str) -> None:
    trie: SubscriptionTrie[str] = SubscriptionTrie()
    trie.add("a/+", "x")
    trie.add("a/b/#", "x")
    before = (len(trie), trie.levels(), list(trie))
    with pytest.raises(KeyError):
        trie.remove(topic_filter, value)
    assert (len(trie), trie.levels(), list(trie)) == before
    assert trie.match("a/b") == ["x", "x"]


@pytest.mark.parametrize(
    ("topic_filter", "value", "error"),
    [("a/#/b", "x", InvalidFilter), ("", "x", InvalidFilter), (3, "x", InvalidFilter), ("a/+", [], TypeError)],
)
def test_a_refused_add_changes_nothing(topic_filter: Any, value: Any, error: type[Exception]) -> None:
    for trie in (filled(), filled("a/+", "a")):
        before = (len(trie), trie.levels(), list(trie))
        with pytest.raises(error):
            trie.add(topic_filter, value)
        assert (len(trie), trie.levels(), list(trie)) == before


def test_match_returns_a_list_of_its_own() -> None:
    trie = filled("a", "+")
    trie.match("a").clear()
    assert sorted(trie.match("a")) == ["+", "a"]


def test_the_deepest_filters_match_and_go() -> None:
    chosen = [
        "/".join(["+"] * 201),
        "/".join(["a"] * 201),
        "/".join(["+"] * 200 + ["#"]),
        "/".join(["a"] * 200 + ["+"]),
    ]
    trie = filled(*chosen)
    assert sorted(trie.match("/".join(["a"] * 201))) == sorted(chosen)
    assert trie.match("/".join(["a"] * 200)) == [chosen[2]]
    for topic_filter in chosen:
        trie.remove(topic_filter, topic_filter)
    assert trie.levels() == 0

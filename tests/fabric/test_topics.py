"""Topics: what is valid, what matches and covers, and which prefixes ZeroMQ gets; on every small world and on vectors.

`vectors.json` holds cases that the MQTT 5.0 standard gives and the test suites of Eclipse Paho, Mosquitto and HiveMQ
use. Left out are HiveMQ's shared subscriptions, and its permissions that ignore a final `/`: the fabric has neither.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import FabricError, InvalidFilter, InvalidTopic, ScopeError, TopicError
from fabric.topics import (
    MAX_LEVELS,
    MAX_TOPIC_BYTES,
    agreement,
    covers,
    explain,
    matches,
    meets,
    require_name,
    scope,
    subscription_prefixes,
    valid_name,
    validate_filter,
    validate_topic,
)
from tests.support.small_world import LEVELS, filters, oracle, topics

VECTORS: list[dict[str, Any]] = json.loads(Path(__file__).parents[1].joinpath("vectors.json").read_text())
TEXT = st.text(st.sampled_from("a/$~é\n.\\*"), min_size=1, max_size=12)
FILTER = st.lists(st.sampled_from(["+", "a", "", "$", "~x", ".*", "é\n"]), min_size=1, max_size=6).map("/".join)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: json.dumps(list(vector.values())))
def test_agrees_with_the_standard_and_other_projects(vector: dict[str, Any]) -> None:
    if "matches" in vector:
        assert matches(vector["filter"], vector["topic"]) is vector["matches"]
        return
    validate, value, error = (
        (validate_filter, vector["filter"], InvalidFilter)
        if "filter" in vector
        else (validate_topic, vector["topic"], InvalidTopic)
    )
    if vector["valid"]:
        validate(value)
    else:
        with pytest.raises(error):
            validate(value)


def test_matches_and_explain_agree_with_the_oracle_on_every_small_world() -> None:
    world = topics()
    for topic_filter in filters():
        pattern = oracle(topic_filter)
        for topic in world:
            expected = pattern.fullmatch(topic) is not None
            assert matches(topic_filter, topic) is expected, (topic_filter, topic)
            assert explain(topic_filter, topic).startswith("matches" if expected else "no match"), (topic_filter, topic)


@given(st.tuples(FILTER, st.sampled_from(["", "/#"])).map("".join).filter(bool), TEXT)
def test_matches_agrees_with_the_oracle_on_other_text(topic_filter: str, topic: str) -> None:
    assert matches(topic_filter, topic) is (oracle(topic_filter).fullmatch(topic) is not None)


def test_covers_and_meets_are_exact_on_every_small_world() -> None:
    """One level deeper than the filters, and with levels that none of them names: more could tell nothing further."""
    world = topics((*LEVELS, "z", "$z"), depth=4)
    taken = {}  # filter -> the topics it matches, a bit for each
    for topic_filter in filters():
        pattern = oracle(topic_filter)
        taken[topic_filter] = sum(1 << bit for bit, topic in enumerate(world) if pattern.fullmatch(topic))
    for topic_filter, wide in taken.items():
        for other, narrow in taken.items():
            assert covers(topic_filter, other) is (narrow & ~wide == 0), (topic_filter, other)
            assert meets(topic_filter, other) is (narrow & wide != 0), (topic_filter, other)


def test_prefixes_bring_all_that_matches_and_nothing_else_where_they_can_tell() -> None:
    world = {topic: topic.encode() + b"\0body" for topic in topics()}
    for topic_filter in filters():
        prefixes, pattern = subscription_prefixes(topic_filter), oracle(topic_filter)
        brought = {topic for topic, part in world.items() if part.startswith(prefixes)}
        matched = {topic for topic in world if pattern.fullmatch(topic)}
        if "+" in topic_filter or topic_filter == "#":
            assert brought >= matched, topic_filter
        else:
            assert brought == matched, topic_filter


@pytest.mark.parametrize(
    ("topic_filter", "prefixes"),
    [
        ("a/b", (b"a/b\0",)),
        ("a", (b"a\0",)),
        ("/", (b"/\0",)),
        ("a/+/c", (b"a/",)),
        ("a/+", (b"a/",)),
        ("a/#", (b"a\0", b"a/")),
        ("a/b/+/#", (b"a/b/",)),
        ("é/#", (b"\xc3\xa9\0", b"\xc3\xa9/")),
        ("/#", (b"/",)),
        ("/+", (b"/",)),
        ("#", (b"",)),
        ("+", (b"",)),
        ("+/x", (b"",)),
        ("$ack/x/#", (b"$ack/x\0", b"$ack/x/")),
    ],
)
def test_prefixes_of_a_filter(topic_filter: str, prefixes: tuple[bytes, ...]) -> None:
    assert subscription_prefixes(topic_filter) == prefixes


@pytest.mark.parametrize("validate", [validate_topic, validate_filter])
@pytest.mark.parametrize("longest", ["x" * MAX_TOPIC_BYTES, "é" * 32_767 + "x", "/" * (MAX_LEVELS - 1)])
def test_the_limits_are_allowed_and_one_more_is_not(validate: Any, longest: str) -> None:
    validate(longest)
    with pytest.raises(TopicError, match=r"expected at most (65535 bytes|201 levels), not") as refused:
        validate(longest + longest[-1])
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [None, 3, b"a/b", ["a"], ""])
def test_what_is_no_text_is_invalid_everywhere(value: Any) -> None:
    for raising in (
        lambda: validate_filter(value),
        lambda: matches(value, "a"),
        lambda: covers(value, "a"),
        lambda: covers("a", value),
        lambda: subscription_prefixes(value),
        lambda: explain(value, "a"),
    ):
        with pytest.raises(InvalidFilter):
            raising()
    for raising in (lambda: validate_topic(value), lambda: matches("a", value), lambda: explain("a", value)):
        with pytest.raises(InvalidTopic):
            raising()


@pytest.mark.parametrize(
    ("validate", "value", "words"),
    [
        (validate_topic, "a/+", ["'a/+'", "wildcard", "wildcards are for filters"]),
        (validate_topic, "a\ud800", [r"'a\ud800'", "surrogate", "UTF-8"]),
        (validate_topic, "a\0b", [r"'a\x00b'", "NUL"]),
        (validate_filter, "a/b#", ["'a/b#'", "level 2", "whole level"]),
        (validate_filter, "a/#/c", ["'a/#/c'", "level 2 of 3", "last"]),
        (validate_filter, b"a", ["b'a'", "bytes", "expected a str, not bytes"]),
    ],
)
def test_an_error_names_the_value_and_what_would_be_right(validate: Any, value: Any, words: list[str]) -> None:
    with pytest.raises(FabricError) as refused:
        validate(value)
    assert isinstance(refused.value, ValueError)
    assert [word for word in words if word not in str(refused.value)] == []


@pytest.mark.parametrize(
    ("value", "reach"),
    [
        ("a/b", ""),
        ("/~/a", ""),
        ("a/~", ""),
        ("+/a", ""),
        ("#", ""),
        ("~", "local"),
        ("~/site_connect/ready", "local"),
        ("~/#", "local"),
        ("~pagesession", "pagesession"),
        ("~pagesession/chat/#", "pagesession"),
        ("$", "system"),
        ("$fabric/x", "system"),
    ],
)
def test_scope_is_decided_on_the_whole_first_level(value: str, reach: str) -> None:
    assert scope(value) == reach


@pytest.mark.parametrize("value", ["~pagesessions/x", "~x", "~~/a", "~ /a"])
def test_an_unknown_scope_is_an_error_that_names_the_known_ones(value: str) -> None:
    with pytest.raises(ScopeError, match=r"'~'.*'~pagesession'"):
        scope(value)
    validate_topic(value)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "line"),
    [
        ("a/b", "a/b", "matches: the filter is the topic itself"),
        ("+/b/+", "a/b/", "matches: level 1 '+' takes 'a', level 3 '+' takes ''"),
        ("a/#", "a", "matches: '#' takes no further level"),
        ("a/+/#", "a/b/c/d", "matches: level 2 '+' takes 'b', '#' takes 'c/d'"),
        ("a/b", "a/c", "no match: level 2 is 'c', the filter wants 'b'"),
        ("a/+", "a/b/c", "no match: the filter ends at level 2, the topic goes on with 'c'"),
        ("a/+/c", "a", "no match: the topic ends at level 1, the filter goes on with '+'"),
        ("#", "$x/y", "no match: a leading '#' never takes '$x'; write a first level with $ or ~ out"),
        ("a", "b\nc", r"no match: level 1 is 'b\nc', the filter wants 'a'"),
    ],
)
def test_explain_says_at_which_level(topic_filter: str, topic: str, line: str) -> None:
    assert explain(topic_filter, topic) == line


@pytest.mark.parametrize(
    ("topic_filter", "count"),
    [("a/b/c", 3), ("a/#", 3), ("+/b/+", 3), ("a/b", 2), ("a/b/x", 2), ("a/b/c/d", 3), ("a/x/c", 1), ("x/b/c", 0)],
)
def test_how_many_levels_agree(topic_filter: str, count: int) -> None:
    assert agreement(topic_filter, "a/b/c") == count


@pytest.mark.parametrize("name", ["p1", "127.0.0.1:5570", "[::1]:5570", "a b", "ü ber", "é" * 100, "a$", "a~"])
def test_names(name: str) -> None:
    assert valid_name(name)
    require_name("name", name)


@pytest.mark.parametrize(
    "name",
    [*("", "a/b", "+", "#", "a#", "$a", "~", "~a", "a\0", "a\nb", "\udcff", "a" * 101), None, 5, b"x", ["x"]],
)
def test_no_names(name: object) -> None:
    assert not valid_name(name)
    with pytest.raises(ValueError, match=r"^invalid service .*: expected 1 to 100 characters without / "):
        require_name("service", name)


@given(st.text(max_size=5))
def test_a_name_is_one_level_that_no_wildcard_hides(name: str) -> None:
    if valid_name(name):
        validate_topic(name)
        assert matches("+", name) and "/" not in name

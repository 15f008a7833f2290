"""Rights: patterns against the rules for topics and against every topic of a small world, and who is granted what."""

from __future__ import annotations

import itertools
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabric import topics
from fabric.errors import InvalidFilter
from fabric.rights import (
    ANY,
    FIRST_BYTES,
    MAX_RIGHTS,
    REST,
    TAG_CHARS,
    Permissions,
    Rights,
    covers,
    matches,
    named,
    overlaps,
    pattern_of,
    permissions_from,
    readable,
    rights_from,
    tag_of,
)

LEVELS = ["", "a", "ab", "b", "$", "$a", "~", "é", "a b"]
TOPICS = st.lists(st.sampled_from(LEVELS), min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = st.builds(
    lambda levels, below: "/".join([*levels, *(["#"] if below else [])]),
    st.lists(st.sampled_from([*LEVELS, "+", "+"]), max_size=4),
    st.booleans(),
).filter(bool)

# Every topic of at most seven bytes over these letters: with them prefixes are judged by trying.
WORLD = [
    "".join(letters).encode()
    for size in range(1, 8)
    for letters in itertools.product("ab/$", repeat=size)
    if all(letter != "$" for letter in letters[1:])
]
SMALL_FILTERS = [
    "/".join(levels)
    for size in (1, 2, 3)
    for levels in itertools.product(["", "a", "b", "+", "#", "$a"], repeat=size)
    if "#" not in levels[:-1] and "$a" not in levels[1:] and levels != ("",)
]
PREFIXES = [b"", *(topic for topic in WORLD if len(topic) <= 3), *(topic + b"\0" for topic in WORLD if len(topic) <= 3)]
WITHIN_LEVELS = [b"a" + ANY, b"a" + ANY + REST, b"a/b" + ANY + REST, b"$a/" + ANY + b"/b", ANY + b"/a" + ANY]
"""Patterns that no filter gives: what belongs to a tag."""


def bob(**rights: Any) -> Permissions:
    return Permissions("bob", "00c0ffee", rights_from(rights))


# --- patterns


@given(FILTERS, TOPICS)
@example("#", "$a")
@example("/#", "/")
@example("a/#", "a")
def test_a_pattern_matches_what_its_filter_does(topic_filter: str, topic: str) -> None:
    assert matches(pattern_of(topic_filter), topic.encode()) == topics.matches(topic_filter, topic)


@pytest.mark.parametrize("topic_filter", ["a\x01", "a/\x02/#", "a\nb", "a/\x7f"])
def test_a_filter_with_what_cannot_be_printed_gives_no_right(topic_filter: str) -> None:
    with pytest.raises(InvalidFilter, match="printable characters only"):
        pattern_of(topic_filter)


@cache
def after(prefix: bytes) -> list[bytes]:
    """Every topic of the small world that begins so, or the one that a prefix with NUL is."""
    topic, ended, _ = prefix.partition(b"\0")
    return [topic] if ended else [each for each in WORLD if each.startswith(prefix)]


@pytest.mark.parametrize("pattern", [*map(pattern_of, SMALL_FILTERS), *WITHIN_LEVELS])
def test_covers_and_overlaps_are_what_trying_every_topic_says(pattern: bytes) -> None:
    matching = {topic for topic in WORLD if matches(pattern, topic)}
    for prefix in PREFIXES:
        found = [topic in matching for topic in after(prefix)]
        assert covers(pattern, prefix) == all(found), (pattern, prefix)
        assert overlaps(pattern, prefix) == any(found), (pattern, prefix)


@given(FILTERS, FILTERS)
def test_whoever_may_read_a_filter_may_hold_the_prefixes_of_what_it_covers(wide: str, narrow: str) -> None:
    """But for wildcards within, for which more is needed on the wire."""
    if topics.covers(wide, narrow) and "+" not in narrow and not narrow.startswith("#"):
        for prefix in topics.subscription_prefixes(narrow):
            assert covers(pattern_of(wide), prefix), (wide, narrow, prefix)


@given(FILTERS, TOPICS, st.binary(max_size=8))
def test_what_stands_behind_the_nul_opens_nothing(topic_filter: str, topic: str, rest: bytes) -> None:
    """On the wire a body follows: a prefix may reach into it, and what looks like levels there are none."""
    pattern, prefix = pattern_of(topic_filter), topic.encode() + b"\0" + rest
    assert covers(pattern, prefix) == overlaps(pattern, prefix) == topics.matches(topic_filter, topic)


# --- tags


def test_tags_are_made_of_keys_and_none_is_only_noughts() -> None:
    assert tag_of("k" * 40) == tag_of("k" * 40) != tag_of("l" * 40)
    found = {tag_of(f"{number:040}") for number in range(1_000)}
    assert len(found) == 1_000 and all(re.fullmatch(f"[0-9a-f]{{{TAG_CHARS}}}", tag) for tag in found)


# --- what is allowed


def test_rights_add_up_and_a_deny_of_one_role_is_a_deny() -> None:
    both = Rights(("a/#",), ("b",), deny_publish=("a/x",)) + Rights(("a/#", "c"), request=("s",), deny_serve=("t",))
    assert both == Rights(("a/#", "c"), ("b",), ("s",), (), ("a/x",), deny_serve=("t",))
    who = Permissions("bob", "00c0ffee", both)
    assert who.why_not_publish("a/y") is None
    assert who.why_not_publish("a/x") == "bob may not publish on 'a/x': it is denied"
    assert who.why_not_publish("d") == "bob may not publish on 'd': it needs the right, and has 'a/#', 'c'"
    assert Permissions("bob", "00c0ffee", Rights()).why_not_publish("d") == (
        "bob may not publish on 'd': it needs the right, and has none"
    )


def test_the_name_is_filled_in() -> None:
    assert named(Rights(("desk/{name}/#", "{name}"), deny_subscribe=("x/{name}",)), "bob") == Rights(
        ("desk/bob/#", "bob"), deny_subscribe=("x/bob",)
    )


@pytest.mark.parametrize(
    ("prefix", "given"),
    [
        (b"", ()),
        (b"orders/", (b"orders/",)),
        (b"orders\0", (b"orders\0",)),
        (b"orders", ()),
        (b"orders/1\0", (b"orders/1\0",)),
        (b"ordersx\0", ()),
        (b"price/", ()),
        (b"price/btc/", ()),
        (b"price/btc/eur\0", (b"price/btc/eur\0",)),
        (b"price/btc/usd\0", ()),
        (b"$ack/00c0ffee", (b"$ack/00c0ffee",)),
        (b"$ack/00c0ffee0123", (b"$ack/00c0ffee0123",)),
        (b"$ack/00c0ffe", ()),
        (b"$ack/", ()),
        (b"$inbox/00c0ffee01/", (b"$inbox/00c0ffee01/",)),
        (b"$inbox/deadbeef01/", ()),
        (b"~pagesession/00c0ffee01/s/", (b"~pagesession/00c0ffee01/s/",)),
        (b"~pagesession/deadbeef01/s/", ()),
        (b"$fabric/proxy/p1\0", (b"$fabric/proxy/p1\0",)),
        (b"$fabric/audit/", ()),
        (b"$fabric/service/stock/", (b"$fabric/service/stock/",)),
        (b"$fabric/service/other/", ()),
        (b"price/btc/eur\0\x95/", (b"price/btc/eur\0\x95/",)),
        (b"price/btc\0x/eur\0", ()),
        (b"price/x\0\x95/eur\0", ()),
    ],
)
def test_what_is_held_for_a_prefix(prefix: bytes, given: tuple[bytes, ...]) -> None:
    who = bob(subscribe=["orders/#", "price/+/eur"], request=["stock"])
    assert who.granted(prefix) == given


def test_a_deny_of_something_below_refuses_all_that_reaches_it() -> None:
    who = bob(subscribe=["orders/#"], deny_subscribe=["orders/internal/#"])
    assert who.granted(b"orders/") == who.granted(b"orders/internal/x\0") == ()
    assert who.granted(b"orders/1\0") and who.granted(b"orders/1/")
    assert who.granted(b"orders/i") == (), "it may go on to what is denied"
    assert who.why_not_subscribe("orders/#") == (
        "bob may not subscribe to 'orders/#': it needs the right to 'orders/#', and some of that is denied"
    )


def test_in_place_of_everything_come_all_first_bytes_of_topics_without_a_sign() -> None:
    assert bob(subscribe=["#"]).granted(b"") == bob(subscribe=["+/#"]).granted(b"") == FIRST_BYTES
    assert bob(subscribe=["#"], deny_subscribe=["a"]).granted(b"") == ()
    assert bob(subscribe=["#"], deny_subscribe=["$fabric/audit/#"]).granted(b"") == FIRST_BYTES
    assert bob(subscribe=["+"]).granted(b"") == ()
    starts = {chr(number).encode()[:1] for number in range(1, 0x110000) if not 0xD800 <= number < 0xE000}
    assert set(FIRST_BYTES) == starts - {b"$", b"~"}


@given(FILTERS, FILTERS, TOPICS)
def test_who_is_granted_a_prefix_gets_nothing_that_it_may_not_read(allowed: str, denied: str, topic: str) -> None:
    """The whole promise: whatever is held, what comes by it is allowed, and not denied."""
    who = bob(subscribe=[allowed], deny_subscribe=[denied])
    wire = topic.encode() + b"\0"
    for size in range(len(wire) + 1):
        comes = any(wire.startswith(each) for each in who.granted(wire[:size]))
        if comes and not topic.startswith("$fabric"):
            assert topics.matches(allowed, topic) and not topics.matches(denied, topic), wire[:size]


@pytest.mark.parametrize(
    ("topic", "allowed"),
    [
        ("orders/1", True),
        ("orders", True),
        ("orders/internal", False),
        ("price", False),
        ("$ack/00c0ffee0123/w", True),
        ("$ack/00c0ffee0123-1/m", False),
        ("$ack/deadbeef0123/w", False),
        ("$ack/deadbeef0123/q", False),
        ("$ack/deadbeef0123/p", True),
        ("$ack/dead/beef/p", False),
        ("$repair/deadbeef00000001/00c0ffee01/price/1", True),
        ("$repair/deadbeef00000001/00c0ffee01/price/internal", False),
        ("$repair/deadbeef00000001/00c0ffee01/orders/1", False),
        ("$repair/deadbeef00000001/deadbeef01/price/1", False),
        ("$repair/deadbeef00000001/00c0ffee01", False),
        ("$repair", False),
        ("$inbox/deadbeef0123/replies", True),
        ("$inbox/deadbeef0123/requests/stock", True),
        ("$inbox/deadbeef0123/requests/other", False),
        ("$inbox/deadbeef0123/requests", False),
        ("$fabric/service/stock/00c0ffee0123", False),
        ("$fabric/service/shop/00c0ffee0123", True),
        ("$fabric/service/shop/deadbeef0123", False),
        ("$fabric/proxy/p1", False),
        ("$fabric/proxy/p1/ask", False),
        ("$fabric/audit/p1/cut", False),
        ("$fabric/who", True),
        ("~pagesession/00c0ffee01/s/x", True),
        ("~pagesession/deadbeef01/s/frame/state", False),
    ],
)
def test_what_may_be_published(topic: str, allowed: bool) -> None:
    who = bob(
        publish=["orders/#"],
        request=["stock"],
        serve=["shop"],
        deny_publish=["orders/internal/#"],
        subscribe=["price/#"],
        deny_subscribe=["price/internal/#"],
    )
    assert (who.why_not_publish(topic) is None) == allowed


def test_who_may_hear_everything_may_not_ask_for_what_has_a_sign() -> None:
    who = bob(subscribe=["#"])
    assert who.may_publish(b"$repair/deadbeef00000001/00c0ffee01/a/b")
    assert not who.may_publish(b"$repair/deadbeef00000001/00c0ffee01/$inbox/x")
    assert who.granted(b"$repair/00c0ffee00000001/") and not who.granted(b"$repair/deadbeef00000001/")


def test_a_denied_service_is_denied_though_any_is_allowed() -> None:
    who = bob(serve=["+"], request=["+"], deny_serve=["frame"], deny_request=["admin"])
    assert who.why_not_publish("$fabric/service/x/00c0ffee1") is None
    assert who.why_not_publish("$fabric/service/frame/00c0ffee1") is not None
    assert who.why_not_publish("$inbox/t/requests/frame") is None
    assert who.why_not_publish("$inbox/t/requests/admin") is not None


def test_where_a_proxy_only_observes_nothing_is_refused() -> None:
    who = Permissions("bob", "00c0ffee", Rights(), observe=True)
    assert who.why_not_publish("a") is who.why_not_subscribe("#") is None


@pytest.mark.parametrize(
    ("prefix", "told"), [(b"", "'#'"), (b"a/", "'a/#'"), (b"a\0", "'a'"), (b"\xff\0", "'\ufffd'"), (b"a", "'a#'")]
)
def test_prefixes_in_words(prefix: bytes, told: str) -> None:
    assert readable(prefix) == told


# --- over the wire, and from a file


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"publsh": []}, "invalid right 'publsh': expected one of publish, subscribe, request, serve, deny_publish"),
        ({"publish": "a/#"}, "invalid publish 'a/#': expected an array of strings"),
        ({"subscribe": ["a", 1]}, "expected an array of strings"),
        ({"publish": ["a"] * (MAX_RIGHTS + 1)}, f"expected at most {MAX_RIGHTS} of them"),
        ({"deny_publish": ["a/#/b"]}, "'#' only as the last level"),
        ({"publish": ["a\x01"]}, "printable characters only"),
        ({"request": ["a/b"]}, "invalid service to request 'a/b': expected a name of one level, or +"),
        ({"deny_serve": ["#"]}, "invalid service to deny_serve '#'"),
        ({"serve": [""]}, "invalid service to serve ''"),
    ],
)
def test_what_are_no_rights(value: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=re.escape(error)):
        rights_from(value)


def test_what_a_proxy_tells_is_read_as_it_was() -> None:
    who = bob(publish=["a"], subscribe=["b/#"], request=["+"], deny_serve=["x"])
    assert permissions_from(who.to_map()) == who
    assert permissions_from({**who.to_map(), "observe": True}) == Permissions("bob", who.tag, who.rights, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
ACTS = st.sampled_from([*Rights.__dataclass_fields__, "other"])


@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "name": st.just("bob") | JSON,
            "tag": st.just("00c0ffee") | st.text(min_size=8, max_size=8) | JSON,
            "rights": st.dictionaries(ACTS, st.lists(st.text(max_size=5), max_size=3) | JSON, max_size=3) | JSON,
            "observe": JSON,
        },
    )
)
@example({"name": "bob", "tag": "\ud800" * 8, "rights": {}})
@example({"name": "bob", "tag": "00c0ffee", "rights": {"publish": ["\ud800"]}})
@example({"name": "bob", "tag": "00c0ffee", "rights": {"request": ["\ud800"]}})
def test_what_a_peer_tells_never_raises(value: object) -> None:
    found = permissions_from(value)
    if found is not None:
        assert permissions_from(found.to_map()) == found

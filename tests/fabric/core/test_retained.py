"""The table of retained values, compiled and in plain Python: the same tests, and arbitrary calls, for both."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.core import _retained, retained
from fabric.core.retained import AHEAD_NS, BATCH_BYTES, EACH_BYTES, TOMBSTONE_S, looks_retained
from fabric.protocol.markers import not_kept_topic
from fabric.wire import Encoder, decode
from tests.support.retained import retained_part

BUILDS: dict[str, Any] = {"plain": retained, "compiled": _retained}
SECOND = 1_000_000
WALL_NS = 2**63
"""What the wall clock of the proxy says, where that does not matter."""
Make = Callable[..., Any]


@pytest.fixture(params=BUILDS)
def build(request: pytest.FixtureRequest) -> Any:
    return BUILDS[request.param]


def asked(build: Any, table: Any, *prefixes: bytes, now_us: int = 0, everything: bool = False) -> list[tuple[str, Any]]:
    """Topics and payloads of all that a tour brings, in its order."""
    tour = build.Tour(b"$ack/x/t\0", b"nonce", prefixes, everything=everything)
    found: list[tuple[str, Any]] = []
    for index in range(10_000):
        part, last = table.next(tour, now_us)
        payload = decode(part, max_payload_bytes=1 << 24).payload
        assert (payload["nonce"], payload["index"], payload["last"]) == (b"nonce", index, last)
        assert len(payload["parts"]) == len(payload["ages"])
        messages = [decode(each, max_payload_bytes=1 << 24) for each in payload["parts"]]
        found += [(each.topic, each.payload) for each in messages]
        if last:
            return found
    raise AssertionError("a tour without an end")


# --- what is kept


def test_the_last_value_is_kept_and_what_is_older_changes_nothing(build: Any) -> None:
    table = build.Table()
    assert table.take(retained_part("a/b", 1, 10, "one"), 0, WALL_NS) == "kept"
    assert table.take(retained_part("a/b", 1, 12, "two"), 0, WALL_NS) == "kept"
    assert table.take(retained_part("a/b", 2, 11, "late"), 0, WALL_NS) == "older"
    assert table.take(retained_part("a/b", 1, 12, "two"), 0, WALL_NS) == "repeated"
    assert table.take(retained_part("a/b", 2, 12, "a larger publisher"), 0, WALL_NS) == "kept"
    assert asked(build, table, b"a/") == [("a/b", "a larger publisher")]


def test_what_is_cleared_leaves_a_tombstone_that_older_values_do_not_get_past(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "one"), 0, WALL_NS)
    assert table.take(retained_part("a", 1, 11, None), SECOND, WALL_NS) == "kept"
    assert asked(build, table, b"a\0") == [("a", None)]
    assert table.take(retained_part("a", 2, 9, "late"), 2 * SECOND, WALL_NS) == "older"
    assert table.figures()["values"] == 0 and table.figures()["tombstones"] == 1
    table.sweep((TOMBSTONE_S + 1) * SECOND, 10)
    assert table.figures()["tombstones"] == 0 and asked(build, table, b"") == []


def test_a_value_runs_out_by_elapsed_time_and_is_a_tombstone_then(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "one", expires_s=5), 0, WALL_NS)
    assert asked(build, table, b"", now_us=4_999_999) == [("a", "one")]
    assert asked(build, table, b"", now_us=5 * SECOND) == [("a", None)]
    assert table.take(retained_part("a", 2, 9, "late"), 6 * SECOND, WALL_NS) == "older"
    table.sweep((5 + TOMBSTONE_S) * SECOND - 1, 10)
    assert table.figures()["tombstones"] == 1
    table.sweep((5 + TOMBSTONE_S) * SECOND, 10)
    assert table.figures()["tombstones"] == 0
    part, _ = table.next(build.Tour(b"t\0", b"", [b""]), 0)
    assert decode(part).payload["ages"] == []


def test_the_age_of_a_value_is_told(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "one", expires_s=100), 7 * SECOND, WALL_NS, 30)
    tour = build.Tour(b"t\0", b"", [b""])
    assert decode(table.next(tour, 17 * SECOND)[0]).payload["ages"] == [40]
    assert asked(build, table, b"", now_us=77 * SECOND) == [("a", None)]


@pytest.mark.parametrize(
    "part",
    [
        b"a\0\x95\x01\x01\x01\x01" + b"\xbb" + b"x" * 15 + b"\xa6retain\xce\0\0\0\0",  # a string that ends so
        b"a\0\x96\x01\x01\x01\x01\xc0\x81\xa1k\xc4\x0c\xa6retain\xce\0\0\0\0",  # a header's value that ends so
        b"a\0\x96\x01\x01\x00\x01\xc0\x81\xa6retain\xce\0\0\0\0",  # number 0
        b"a\0\x96\x02\x01\x01\x01\xc0\x81\xa6retain\xce\0\0\0\0",  # another version
        b"a\0\x96\x01\x01\x01\x01\xc7\x00\x00\x81\xa6retain\xce\0\0\0\0",  # an extension
        b"a\0\x96\x01\x01\x01\xff\xc0\x81\xa6retain\xce\0\0\0\0",  # a negative stamp
        b"a\0\x96\x01\x01\x01\x01\xdd\xff\xff\xff\xff\x81\xa6retain\xce\0\0\0\0",
        b"\0\x96\x01\x01\x01\x01\xc0\x81\xa6retain\xce\0\0\0\0",
        b"a\x96\x01\x01\x01\x01\xc0\x81\xa6retain\xce\1\1\1\1",
    ],
)
def test_what_only_looks_retained_is_not(build: Any, part: bytes) -> None:
    table = build.Table()
    assert looks_retained(part)
    assert table.take(part, 0, WALL_NS) == "malformed" and table.figures()["values"] == 0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=70),
        lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
        max_leaves=40,
    ),
    st.dictionaries(st.text(min_size=1), st.integers() | st.text(), max_size=20),
)
def test_whatever_is_published_with_it_is_kept(payload: Any, headers: dict[str, Any]) -> None:
    headers = {key: value for key, value in headers.items() if not isinstance(value, int) or abs(value) < 2**63}
    part = retained_part("a", 2**64 - 1, 2**63, payload, headers=headers)
    assert looks_retained(part)
    for each in BUILDS.values():
        table = each.Table()
        assert table.take(part, 0, WALL_NS) == "kept"
        batch, _ = table.next(each.Tour(b"t\0", b"", [b""]), 0)
        kept = msgpack.unpackb(batch.partition(b"\0")[2])[4]["parts"]
        assert kept == [part] if payload is not None else decode(kept[0]).payload is None


def test_other_parts_do_not_look_retained() -> None:
    encoder = Encoder(7)
    assert not looks_retained(encoder.part(b"a\0", 1, 1, "x" * 100))
    assert not looks_retained(encoder.part(b"a\0", 1, 1, "x" * 100, {"retain": True}))
    assert not looks_retained(b"") and not looks_retained(b"\xa6retain\xce")


# --- clocks


@pytest.mark.parametrize("sent_ns", [1_000 + AHEAD_NS + 1, 3_600 * 10**9, 2**63, 2**64 - 1])
@pytest.mark.parametrize("payload", ["ahead", None])
@pytest.mark.parametrize("headers", [{}, {"held": True}])
def test_a_stamp_far_ahead_of_the_wall_clock_changes_nothing(
    build: Any, sent_ns: int, payload: Any, headers: dict[str, Any]
) -> None:
    table = build.Table()
    assert table.take(retained_part("a", 1, 900, "one"), 0, 1_000) == "kept"
    claimed(table)
    for topic in ("a", "b"):
        assert table.take(retained_part(topic, 2, sent_ns, payload, headers=headers), 0, 1_000) == "clock"
    assert [decode(each).topic for each in table.take_notices()] == [not_kept_topic(2)] * 2
    assert asked(build, table, b"") == [("a", "one")] and claimed(table) == []
    assert table.take(retained_part("a", 1, 901, "two"), 0, 1_000) == "kept", "it can be replaced, and cleared"
    assert table.take(retained_part("a", 1, 902, None), 0, 1_000) == "kept"
    assert table.figures()["clock"] == 2


def test_a_stamp_a_minute_ahead_is_kept_and_its_publisher_is_told_of_others(build: Any) -> None:
    table = build.Table()
    assert table.take(retained_part("a", 1, 1_000 + AHEAD_NS, "x"), 0, 1_000) == "kept"
    assert table.take(retained_part("a", 1, 1_001 + AHEAD_NS, "y"), 0, 1_000) == "clock"
    assert [decode(each).payload for each in table.take_notices()] == [
        {"topic": "a", "sent_ns": 1_001 + AHEAD_NS, "why": "clock"}
    ]
    assert table.take(retained_part("a", 1, 1_001 + AHEAD_NS, "y"), 0, 1_001) == "kept", "time has passed"


def test_no_claim_far_ahead_of_the_wall_clock_takes_a_value_away(build: Any) -> None:
    table = build.Table()
    for topic in ("a", "b", "c"):
        table.take(retained_part(topic, 1, 10, topic), 0, 1_000)
    claimed(table)
    body = claims(("a", 2**64 - 1, 2), ("b", 11, 2), ("c", 1_001 + AHEAD_NS, 2), ("d", 2**63, 2), wall_ns=2**64 - 1)
    assert table.hear(body, 0, 1_000)
    assert asked(build, table, b"") == [("a", "a"), ("c", "c")] and claimed(table) == []
    assert table.figures()["yielded"] == 1 and table.figures()["clock"] == 3


def test_what_is_handed_over_far_ahead_of_the_wall_clock_is_not_kept(build: Any) -> None:
    old, new = build.Table(), build.Table()
    new.take(retained_part("a", 1, 10, "one"), 0, 1_000)
    for topic, sent_ns in (("a", 2**63), ("b", 11)):
        old.take(retained_part(topic, 2, sent_ns, "handed over"), 0, 2**63)
    batch, _ = old.next(build.Tour(b"\0", b"back\0", [b""]), 0)
    assert new.hear(batch[1:], 0, 1_000)
    assert asked(build, new, b"") == [("a", "one"), ("b", "handed over")]
    assert new.figures()["clock"] == 1


# --- bounds


def test_beyond_the_bound_of_topics_nothing_old_passes_for_the_last_value(build: Any) -> None:
    table = build.Table(2, 1 << 20)
    for topic in ("a", "b"):
        table.take(retained_part(topic, 1, 10, topic), 0, WALL_NS)
    assert table.take(retained_part("c", 1, 11, "c"), 0, WALL_NS) == "topics"
    assert asked(build, table, b"") == [("a", "a"), ("b", "b"), ("c", None)]
    notices = [decode(each) for each in table.take_notices()]
    assert [(each.topic, each.payload) for each in notices] == [
        (not_kept_topic(1), {"topic": "c", "sent_ns": 11, "why": "topics"})
    ]
    table.take(retained_part("a", 1, 12, None), 0, WALL_NS)
    assert table.take(retained_part("c", 1, 13, "c"), 0, WALL_NS) == "kept"
    assert table.take_notices() == []


def test_beyond_the_bound_of_bytes_a_larger_value_takes_the_old_one_away(build: Any) -> None:
    small, large = retained_part("a", 1, 10, b"x"), retained_part("a", 1, 11, b"x" * 400)
    table = build.Table(100, len(small) + EACH_BYTES)
    assert table.take(small, 0, WALL_NS) == "kept"
    assert table.take(large, 0, WALL_NS) == "bytes"
    assert asked(build, table, b"a\0") == [("a", None)]
    assert table.figures()["value_bytes"] == 0
    assert decode(table.take_notices()[0]).payload["why"] == "bytes"


def test_the_oldest_tombstones_go_when_there_are_too_many(build: Any) -> None:
    table = build.Table(3, 1 << 20)
    for number in range(5):
        table.take(retained_part(f"t{number}", 1, 10, None), number, WALL_NS)
    assert [topic for topic, _ in asked(build, table, b"")] == ["t2", "t3", "t4"]
    assert table.figures()["forgotten"] == 2


# --- what is asked for


def test_a_prefix_brings_what_begins_with_it_each_once(build: Any) -> None:
    table = build.Table()
    for topic in ("a", "a/b", "a/b/c", "ab", "b", "$site_connect/x", "~pagesession/h/s", "ä", "/"):
        table.take(retained_part(topic, 1, 10, 0), 0, WALL_NS)

    def topics(*prefixes: bytes, everything: bool = False) -> list[str]:
        return [topic for topic, _ in asked(build, table, *prefixes, everything=everything)]

    assert topics(b"a\0", b"a/", b"a/b/") == ["a", "a/b", "a/b/c"]
    assert topics(b"a/b\0", b"a/b\0", b"x/") == ["a/b"]
    assert topics(b"") == ["/", "a", "a/b", "a/b/c", "ab", "b", "ä"]
    assert topics(b"", b"$site_connect/") == topics(b"")  # within it
    assert topics(b"$", b"~p") == ["$site_connect/x", "~pagesession/h/s"]
    assert sorted(topics(b"", everything=True)) == sorted(("$site_connect/x", "~pagesession/h/s", *topics(b"")))
    assert topics() == [] and topics(b"z") == []


def test_a_large_answer_comes_in_batches_and_one_large_value_alone(build: Any) -> None:
    table = build.Table()
    for number in range(3_000):
        table.take(retained_part(f"t/{number:04}", 1, 10, "x" * 100), 0, WALL_NS)
    table.take(retained_part("t/1000/large", 1, 10, "x" * 100_000), 0, WALL_NS)
    tour, sizes, last = build.Tour(b"t\0", b"", [b"t/"]), [], False
    while not last:
        part, last = table.next(tour, 0)
        sizes.append((len(part), len(decode(part).payload["parts"])))
    assert sum(count for _, count in sizes) == 3_001
    assert all(size < BATCH_BYTES + 200 or count == 1 for size, count in sizes)
    assert len(asked(build, table, b"t/")) == 3_001


def test_what_changes_while_a_tour_is_under_way(build: Any) -> None:
    table = build.Table()
    for number in range(2_000):
        table.take(retained_part(f"t/{number:04}", 1, 10, "x" * 100), 0, WALL_NS)
    tour = build.Tour(b"t\0", b"", [b"t/"])
    given_first = [decode(part).topic for part in decode(table.next(tour, 0)[0]).payload["parts"]]
    table.take(retained_part("t/0000", 1, 11, "again"), 0, WALL_NS)  # it is behind: this one comes live
    table.take(retained_part("t/1999", 1, 11, None), 0, WALL_NS)
    table.hear(claims(("t/1998", 12, 5)), 0, WALL_NS)
    rest: dict[str, Any] = {}
    last = False
    while not last:
        part, last = table.next(tour, 0)
        rest |= {each.topic: each.payload for each in map(decode, decode(part).payload["parts"])}
    assert len(given_first) + len(rest) == 1_999
    assert rest["t/1999"] is None and "t/1998" not in rest and "t/0000" not in rest


# --- other proxies


def claims(*each: tuple[str, int, int], wall_ns: int = WALL_NS) -> bytes:
    """A body as another proxy's table makes it. wall_ns: of its clock"""
    table = retained.Table()
    for topic, sent_ns, publisher in each:
        table.take(retained_part(topic, publisher, sent_ns, 0), 0, wall_ns)
    part = table.take_claims(b"c\0")
    assert part is not None
    return part.partition(b"\0")[2]


def claimed(table: Any) -> list[tuple[str, int, int]]:
    part = table.take_claims(b"c\0")
    if part is None:
        return []
    return [(topic.decode(), sent_ns, publisher) for topic, sent_ns, publisher in decode(part).payload]


def test_a_topic_is_claimed_when_it_is_taken_and_not_each_time(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
    table.take(retained_part("a", 1, 11, "y"), 0, WALL_NS)
    assert claimed(table) == [("a", 10, 1)]
    table.take(retained_part("a", 1, 12, None), 0, WALL_NS)
    assert claimed(table) == []
    table.take(retained_part("a", 1, 13, "z"), 0, WALL_NS)
    assert claimed(table) == [("a", 13, 1)]


def test_who_hears_of_a_newer_value_forgets_its_own_and_tells_its_publisher(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
    claimed(table)
    assert table.hear(claims(("a", 11, 2), ("b", 11, 2)), 0, WALL_NS)
    assert asked(build, table, b"") == [] and table.figures()["yielded"] == 1
    assert [decode(each).payload for each in table.take_notices()] == [{"topic": "a", "sent_ns": 10, "why": "newer"}]
    assert claimed(table) == []


def test_who_holds_a_newer_one_says_so(build: Any) -> None:
    table = build.Table()
    table.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
    claimed(table)
    table.hear(claims(("a", 9, 2)), 0, WALL_NS)
    assert claimed(table) == [("a", 10, 1)] and asked(build, table, b"") == [("a", "x")]


def test_a_value_that_two_hold_is_claimed_at_the_next_change(build: Any) -> None:
    """Otherwise the copy that stayed as it was would come back when the newer one is gone."""
    one, other = build.Table(), build.Table()
    one.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
    first = one.take_claims(b"\0")
    other.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
    other.take_claims(b"\0")
    other.hear(first[1:], 0, WALL_NS)
    back = other.take_claims(b"\0")
    one.hear(back[1:], 0, WALL_NS)
    again = one.take_claims(b"\0")
    other.hear(again[1:], 0, WALL_NS)
    assert other.take_claims(b"\0") is None
    one.take(retained_part("a", 1, 11, "y"), 0, WALL_NS)
    other.hear(one.take_claims(b"\0")[1:], 0, WALL_NS)
    assert asked(build, other, b"") == [] and asked(build, one, b"") == [("a", "y")]


def test_a_table_is_handed_over_with_its_ages_and_tombstones(build: Any) -> None:
    old, new = build.Table(), build.Table()
    old.take(retained_part("$site_connect/a", 1, 10, "x", expires_s=60), 0, WALL_NS)
    old.take(retained_part("b", 1, 10, "gone"), 0, WALL_NS)
    old.take(retained_part("b", 1, 11, None), 0, WALL_NS)
    batch, last = old.next(build.Tour(b"\0", b"back\0", [b""], everything=True), 50 * SECOND)
    assert last and new.hear(batch[1:], 1_000 * SECOND, WALL_NS)
    (confirmation,) = new.take_notices()
    assert confirmation.startswith(b"back\0") and old.figures()["confirmed"] == 0
    assert old.hear(confirmation[5:], 0, WALL_NS) and old.figures()["confirmed"] == 1
    assert asked(build, new, b"", everything=True, now_us=1_009 * SECOND) == [("$site_connect/a", "x"), ("b", None)]
    assert asked(build, new, b"", everything=True, now_us=1_010 * SECOND) == [("$site_connect/a", None), ("b", None)]
    assert {topic for topic, _, _ in claimed(new)} == {"$site_connect/a", "b"}


def test_all_claims_can_be_told_in_batches(build: Any) -> None:
    table = build.Table()
    for number in range(5_000):
        table.take(retained_part(f"{'$' if number % 2 else ''}t/{number:04}", number, 10, "x"), 0, WALL_NS)
    tour, found, last = build.Tour(b"c\0", b"", [b""], everything=True), list[Any](), False
    while not last:
        part, last = table.next_claims(tour)
        assert len(part) < BATCH_BYTES + 100
        found += decode(part).payload
    assert len(found) == 5_000 and len({bytes(each[0]) for each in found}) == 5_000


@given(st.binary(max_size=200))
def test_whatever_another_proxy_says_is_survived(noise: bytes) -> None:
    tables = [each.Table() for each in BUILDS.values()]
    good = claims(("a", 9, 2), ("b", 1, 1))
    for body in (noise, good[:20] + noise, good[: len(good) // 2], b"\x95\x01\x00\x01\x00\x85\xa5nonce\xc4" + noise):
        verdicts = []
        for table in tables:
            table.take(retained_part("a", 1, 10, "x"), 0, WALL_NS)
            verdicts.append((table.hear(body, 0, WALL_NS), table.figures(), table.take_claims(b"")))
        assert verdicts[0] == verdicts[1]


# --- differential


def play(build: Any, seed: int) -> list[Any]:
    """Arbitrary calls; all that came out, and all figures."""
    chance = random.Random(seed)
    table = build.Table(chance.choice([3, 8, 1000]), chance.choice([1_500, 5_000, 1 << 20]))
    topics = ["a", "a/b", "a/b/c", "b", "$x", "~pagesession/h/s", "ä" * 20]
    tours: list[Any] = []
    bodies: list[bytes] = []
    found: list[Any] = []
    now_us, wall_ns = 0, 20

    def stamp() -> int:
        """Mostly near the wall clock; sometimes so far ahead that it is not kept, or just within."""
        ahead = chance.choice([0, 0, 0, 0, 0, 0, AHEAD_NS - 20, 2**63, 2**64 - 41])
        return ahead + chance.randrange(40)

    for _ in range(400):
        now_us += chance.choice([0, 1, 1000, SECOND, 20 * SECOND])
        wall_ns = max(0, wall_ns + chance.choice([0, 0, 0, 1, 5, -5]))
        act = chance.randrange(9)
        if act < 4:
            payload = chance.choice([None, "x", b"y" * 300, {"a": [1, 2.5, -7, None]}, "z" * 40_000])
            part = retained_part(
                chance.choice(topics),
                chance.randrange(3),
                stamp(),
                payload,
                expires_s=chance.choice([0, 0, 1, 60]),
                headers={"held": True} if chance.random() < 0.3 else {},
            )
            if chance.random() < 0.1:
                spoiled = bytearray(part)
                spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
                part = bytes(spoiled)
            found.append(table.take(part, now_us, wall_ns, chance.choice([0, 0, 5])))
        elif act == 4:
            prefixes = chance.sample([b"", b"a", b"a/", b"a/b\0", b"$", b"~", "ä".encode()], chance.randrange(4))
            tours.append(build.Tour(b"t\0", b"n", prefixes, everything=chance.random() < 0.3))
        elif act == 5 and tours:
            tour = chance.choice(tours)
            part, last = table.next(tour, now_us) if chance.random() < 0.8 else table.next_claims(tour)
            if last:
                tours.remove(tour)
            bodies.append(part.partition(b"\0")[2])
            found.append((part, last))
        elif act == 6 and bodies:
            found.append(table.hear(chance.choice(bodies), now_us, wall_ns))
        elif act == 7:
            table.sweep(now_us, chance.randrange(4))
        else:
            found += [part := table.take_claims(b"c\0"), table.take_notices()]
            if part is not None:
                other = retained.Table()
                for topic in topics:
                    other.take(retained_part(topic, chance.randrange(3), stamp(), 0), 0, 2**64 - 1)
                bodies += [part[2:], (other.take_claims(b"") or b"")]
        found.append(table.figures())
    return found


@pytest.mark.parametrize("seed", range(60))
def test_both_do_the_same_whatever_is_called(seed: int) -> None:
    plain, compiled = (play(each, seed) for each in BUILDS.values())
    for i, happened in enumerate(plain):
        assert compiled[i] == happened, i

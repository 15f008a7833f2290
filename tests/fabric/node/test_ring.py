"""Ring: what was published lately, found again by topic and number, against a plain list."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.node.ring import CHUNK_PARTS, CHUNK_S, Ring
from fabric.wire import Encoder

P, Q = 2**63, 7
ALL = [(1, 10**9)]


def part(topic: str, number: int, payload: object = None, publisher: int = P, **headers: object) -> bytes:
    return Encoder(publisher).part(topic.encode() + b"\0", number, 10**18, payload, headers or None)


def put(ring: Ring, *parts: bytes) -> None:
    ring.add(list(parts), sum(map(len, parts)))


def found(ring: Ring, topic: str = "a", ranges: list[tuple[int, int]] = ALL, publisher: int = P) -> list[int]:
    return [number for number, _ in ring.find(topic.encode() + b"\0", publisher, ranges)]


def test_parts_are_found_by_topic_publisher_and_number() -> None:
    ring = Ring()
    put(ring, part("a", 1), part("a/b", 1), part("a", 2, b"x" * 10_000))
    put(ring, part("a", 3, None, P, moved=True), part("a", 4, None, Q))
    assert ring.find(b"a\0", P, [(2, 2)]) == [(2, part("a", 2, b"x" * 10_000))]
    assert found(ring) == [1, 2, 3] and found(ring, "a/b") == [1] and found(ring, publisher=Q) == [4]
    put(ring, part("a", 5))  # what comes after it was asked is found as well
    assert found(ring, ranges=[(1, 1), (3, 9)]) == [1, 3, 5]
    assert found(ring, "b") == []


def test_a_tail_is_no_message() -> None:
    ring = Ring()
    put(ring, part("a", 1), part("a", 1, None, P, tail=True))
    assert ring.find(b"a\0", P, ALL) == [(1, part("a", 1))]


@pytest.mark.parametrize("size", [1, 10_000])
def test_nor_is_a_value_that_is_sent_again_to_be_held(size: int) -> None:
    ring = Ring()
    put(ring, part("a", 1, b"x" * size, P, retain=0), part("a", 2), part("a", 1, b"x" * size, P, held=True, retain=0))
    assert found(ring) == [1, 2]


def test_what_is_too_old_goes() -> None:
    ring = Ring(max_age_s=10)
    ring.tick(0.0)
    put(ring, part("a", 1))
    ring.tick(CHUNK_S + 0.1)
    put(ring, part("a", 2))
    ring.tick(10.0)
    assert found(ring) == [1, 2]
    ring.tick(10.1)
    assert found(ring) == [2] and len(ring) == 1
    ring.tick(12.0)
    assert len(ring) == 0


def test_what_was_kept_before_the_first_tick_is_as_old_as_that() -> None:
    ring = Ring(max_age_s=10)
    put(ring, part("a", 1))
    ring.tick(50_000.0)
    ring.tick(50_010.0)
    assert found(ring) == [1]
    ring.tick(50_010.1)
    assert found(ring) == []


def test_what_is_too_much_goes_a_sixteenth_at_a_time() -> None:
    ring = Ring(max_bytes=16_000)
    for number in range(1, 1_001):
        put(ring, part("a", number, b"x" * 100))
    kept = found(ring)
    size = len(part("a", 1_000, b"x" * 100))
    assert kept == list(range(kept[0], 1_001)) and 14_000 < len(kept) * size <= 16_000
    assert ring.added_bytes > 16_000


def test_a_large_batch_does_not_push_out_itself() -> None:
    ring = Ring(max_bytes=100_000)
    put(ring, *(part("a", number, b"x" * 1_000) for number in range(1, 257)))
    assert found(ring)[-1] == 256 and len(ring) > 80


def test_a_part_that_is_larger_than_all_is_not_kept() -> None:
    ring = Ring(max_bytes=1_000)
    put(ring, part("a", 1, b"x" * 2_000))
    assert len(ring) == 0
    put(ring, part("a", 2))
    assert found(ring) == [2]


def test_with_no_bytes_nothing_is_kept() -> None:
    ring = Ring(max_bytes=0)
    put(ring, part("a", 1))
    assert len(ring) == 0 and not ring.is_kept


@pytest.mark.parametrize("count", [1, CHUNK_PARTS, 3 * CHUNK_PARTS])
def test_the_list_that_is_given_stays_the_callers(count: int) -> None:
    ring = Ring()
    batch = [part("a", number) for number in range(1, count + 1)]
    ring.add(batch, 1)
    del batch[:]
    assert len(ring) == count


@given(st.integers(0, 2**32), st.integers(500, 50_000))
def test_what_is_found_is_the_newest_of_what_was_sent(seed: int, max_bytes: int) -> None:
    rng, ring, sent, now = random.Random(seed), Ring(max_bytes=max_bytes, max_age_s=5), [], 0.0
    numbers = dict.fromkeys("abc", 0)
    for _ in range(rng.randrange(60)):
        batch = []
        for _ in range(rng.randrange(1, 30)):
            topic = rng.choice("abc")
            numbers[topic] += 1
            batch.append(part(topic, numbers[topic], b"x" * rng.randrange(200)))
            sent.append((topic, numbers[topic], batch[-1]))
        ring.add(batch, sum(map(len, batch)))
        if rng.random() < 0.3:
            now += rng.random() * 2
            ring.tick(now)
        if rng.random() < 0.3:
            topic = rng.choice("abc")
            first = rng.randrange(1, 200)
            came = ring.find(topic.encode() + b"\0", P, [(first, first + 20)])
            mine = {number: each for of, number, each in sent if of == topic}
            assert all(mine[number] == each and first <= number <= first + 20 for number, each in came)
    kept = {topic: ring.find(topic.encode() + b"\0", P, ALL) for topic in "abc"}
    whole = sorted(each for items in kept.values() for _, each in items)
    assert whole == sorted(each for _, _, each in sent[len(sent) - len(whole) :])
    assert sum(map(len, whole)) <= max_bytes

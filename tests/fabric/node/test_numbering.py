"""The publisher's half of numbers: counted from 1, and followed by tails, each once and in time."""

from __future__ import annotations

import random
import threading
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import StateError
from fabric.node.numbering import QUIET_S, Numbering

P, Q = 2**64 - 1, 7
A, B = b"a\0", b"b\0"
RANDOM = st.integers(0, 2**32).map(random.Random)


def test_numbers_start_at_1_for_each_topic() -> None:
    numbering = Numbering(P)
    assert [numbering.next(A), numbering.next(A), numbering.next(B), numbering.next(A)] == [1, 2, 1, 3]
    assert numbering.publisher == P


def test_a_number_taken_back_is_given_again() -> None:
    numbering = Numbering(P)
    numbering.next(A)
    numbering.take_back(A)
    assert numbering.all_tails() == []
    assert [numbering.next(A), numbering.next(A)] == [1, 2]
    numbering.take_back(A)
    assert numbering.all_tails() == [(A, 1)]
    assert numbering.next(A) == 2


def test_a_topic_taken_back_does_not_count_towards_the_limit() -> None:
    numbering = Numbering(P, max_topics=1)
    numbering.next(A)
    with pytest.raises(StateError, match="1 topics are counted"):
        numbering.next(B)
    numbering.take_back(A)
    assert numbering.next(B) == 1


def test_a_full_numbering_goes_on_with_its_topics_and_takes_no_other() -> None:
    numbering = Numbering(P, max_topics=2)
    numbering.next(A), numbering.next(B)
    assert numbering.next(A) == 2
    with pytest.raises(StateError, match="restart"):
        numbering.next(b"c\0")
    assert numbering.next(A) == 3
    assert sorted(numbering.restart(Q)) == [(A, 3), (B, 1)]
    assert numbering.publisher == Q
    assert numbering.next(b"c\0") == 1
    assert numbering.next(A) == 1  # under another id: no number is used twice
    assert sorted(numbering.all_tails()) == [(A, 1), (b"c\0", 1)]


def test_a_restart_needs_another_id() -> None:
    numbering = Numbering(P)
    numbering.next(A)
    with pytest.raises(StateError, match="take a new one"):
        numbering.restart(P)
    assert numbering.next(A) == 2


def test_a_quiet_topic_gets_one_tail() -> None:
    numbering = Numbering(P)
    numbering.due_tails(0.0, 10)
    numbering.next(A), numbering.next(A)
    tails = [(step / 100, tail) for step in range(1, 1000) for tail in numbering.due_tails(step / 100, 10)]
    ((at, tail),) = tails
    assert tail == (A, 2)
    assert QUIET_S <= at <= QUIET_S + 0.3
    numbering.next(A)
    assert [tail for step in range(1000, 2000) for tail in numbering.due_tails(step / 100, 10)] == [(A, 3)]


def test_a_busy_topic_gets_none() -> None:
    numbering = Numbering(P)
    for step in range(2000):
        numbering.next(A)
        assert numbering.due_tails(step / 100, 10) == []


def test_tails_are_bounded_per_call_and_none_is_left_out() -> None:
    numbering = Numbering(P)
    numbering.due_tails(0.0, 10)
    topics = {b"%d\0" % n for n in range(105)}
    for topic in topics:
        numbering.next(topic)
    assert numbering.due_tails(0.5, 10) == []
    calls = [numbering.due_tails(2.0, 10) for _ in range(20)]
    assert [len(tails) for tails in calls] == [10] * 10 + [5] + [0] * 9
    assert {topic for tails in calls for topic, _ in tails} == topics
    assert numbering.all_tails() == []


def test_the_work_of_a_call_is_bounded_too() -> None:
    numbering = Numbering(P)
    numbering.due_tails(0.0, 1)
    topics = [b"%d\0" % n for n in range(1000)]
    for now in (0.3, 0.6):  # two generations with the same topics: all of the first are stale
        for topic in topics:
            numbering.next(topic)
        numbering.due_tails(now, 1)
    empty = 0
    while not numbering.due_tails(1.7, 1):  # both are of age: the first tail comes after 1000 stale entries, 16 a call
        empty += 1
    assert empty == 1000 // 16


def test_tails_that_lag_behind_do_not_pile_up_generations() -> None:
    numbering = Numbering(P)
    for step in range(400):
        for n in range(10):
            numbering.next(b"%d/%d\0" % (step, n))
        numbering.due_tails(step / 4, 1)
    assert len(numbering._generations) <= 8
    assert len(numbering.all_tails()) > 3000


@settings(max_examples=60, deadline=None)
@given(RANDOM, st.sampled_from([1, 3, 100]))
def test_every_last_number_gets_its_tail_once_and_not_too_soon(rng: random.Random, limit: int) -> None:
    numbering = Numbering(P)
    counts: dict[bytes, int] = defaultdict(int)
    published_at: dict[tuple[bytes, int], float] = {}
    tails: list[tuple[bytes, int]] = []
    now = 0.0
    for _ in range(rng.randrange(300)):
        now += rng.choice((0.0, 0.01, 0.1, 0.4, 3.0))
        topic = b"%d\0" % rng.randrange(6)
        if rng.random() < 0.7:
            counts[topic] += 1
            assert numbering.next(topic) == counts[topic]
            published_at[topic, counts[topic]] = now
        due = numbering.due_tails(now, limit)
        assert len(due) <= limit
        for tail in due:
            assert now - published_at[tail] >= QUIET_S - 1e-9  # sums of floats
            assert counts[tail[0]] == tail[1]
        tails += due
    final = numbering.all_tails()
    assert set(final) <= set(counts.items())
    assert numbering.all_tails() == numbering.due_tails(now + 99.0, limit) == []
    tails += final
    assert len(tails) == len(set(tails))
    assert set(tails) >= set(counts.items())


def test_what_is_counted_is_told_in_the_order_of_the_first_messages() -> None:
    numbering = Numbering(1)
    for prefix in (b"a", b"b", b"a", b"c"):
        numbering.next(prefix)
    assert numbering.counted(0, 2) == [(b"a", 2), (b"b", 1)]
    assert numbering.counted(2, 2) == [(b"c", 1)] and numbering.counted(3, 2) == []


def test_how_long_ago_the_last_message_was_is_known_for_a_while() -> None:
    numbering = Numbering(1)
    numbering.due_tails(100.0, 9)
    numbering.next(b"a")
    assert numbering.ago_s(b"a", 100.1) == 0.0 and numbering.ago_s(b"b", 100.1) is None
    numbering.due_tails(100.25, 9)  # closes the generation
    numbering.next(b"b")
    assert numbering.ago_s(b"a", 100.5) == 0.5 and numbering.ago_s(b"b", 100.5) == 0.0
    numbering.due_tails(102.0, 9)  # the tail of a is sent, and it is forgotten when that was
    assert numbering.ago_s(b"a", 102.0) is None


def test_topics_are_read_while_others_come() -> None:
    """Without the lock: what is found is whole, or nothing."""
    numbering = Numbering(1)
    ended = threading.Event()

    def publish() -> None:
        for number in range(100_000):
            numbering.next(b"%d" % number)
        ended.set()

    thread = threading.Thread(target=publish)
    thread.start()
    while not ended.is_set():
        found = numbering.counted(0, 1_000)
        assert found == [(b"%d" % number, 1) for number in range(len(found))]
    thread.join()
    assert len(numbering.counted(0, 200_000)) == 100_000

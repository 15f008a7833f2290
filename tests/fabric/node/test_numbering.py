"""Numbers: counted, followed by tails, and put in order again after whatever a network does to them.

The random tests hold the two halves against a plain model: what was published, what arrived, and in which order.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import StateError
from fabric.node.numbering import QUIET_S, REORDER_WINDOW_S, Deliver, Gap, GapDetector, Numbering

P, Q = 2**64 - 1, 7
A, B = b"a\0", b"b\0"
RANDOM = st.integers(0, 2**32).map(random.Random)

# --- numbering


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
    assert numbering.full
    numbering.take_back(A)
    assert not numbering.full
    assert numbering.next(B) == 1


def test_a_full_numbering_goes_on_with_its_topics_and_takes_no_other() -> None:
    numbering = Numbering(P, max_topics=2)
    assert not numbering.full
    numbering.next(A), numbering.next(B)
    assert numbering.full
    assert numbering.next(A) == 2
    with pytest.raises(StateError, match="restart"):
        numbering.next(b"c\0")
    assert numbering.next(A) == 3
    assert sorted(numbering.restart(Q)) == [(A, 3), (B, 1)]
    assert numbering.publisher == Q
    assert not numbering.full
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


# --- gaps: one topic, one publisher


def take(detector: GapDetector[int], *numbers: int, now: float = 0.0, hold: bool = False) -> list[Any]:
    """Give these numbers, each its own item. Return what comes out: a number delivered, or the (first, last) lost."""
    effects = [e for n in numbers for e in detector.observe("a", P, n, now, item=n, hold=hold)]
    return shown(effects)


def shown(effects: list[Deliver[int] | Gap]) -> list[Any]:
    for effect in effects:
        assert effect.topic == "a"
        if isinstance(effect, Gap):
            assert effect.publisher == P
            assert effect.lost == effect.last - effect.first + 1 > 0
    return [(effect.first, effect.last) if isinstance(effect, Gap) else effect.item for effect in effects]


def counters(detector: GapDetector[int]) -> tuple[int, int, int, int, int]:
    return detector.duplicates, detector.gaps, detector.lost, detector.started_late, detector.evicted


@pytest.fixture
def detector() -> GapDetector[int]:
    return GapDetector()


@pytest.mark.parametrize("hold", [False, True])
def test_in_order_all_is_delivered(detector: GapDetector[int], hold: bool) -> None:
    assert take(detector, 1, 2, 3, hold=hold) == [1, 2, 3]
    assert counters(detector) == (0, 0, 0, 0, 0)
    assert detector.lasts("a") == {P: 3}


@pytest.mark.parametrize("hold", [False, True])
def test_what_is_not_above_the_last_is_a_duplicate(detector: GapDetector[int], hold: bool) -> None:
    assert take(detector, 1, 2, 2, 1, 3, 3, hold=hold) == [1, 2, 3]
    assert counters(detector) == (3, 0, 0, 0, 0)


def test_a_jump_is_a_gap_at_once(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 4, 5, 7, 3) == [1, (2, 3), 4, 5, (6, 6), 7]
    assert counters(detector) == (1, 2, 3, 0, 0)
    with pytest.raises(FrozenInstanceError):
        Gap("a", P, 2, 3, 2).lost = 5  # type: ignore[misc]


@pytest.mark.parametrize("hold", [False, True])
def test_a_late_start_is_no_gap(detector: GapDetector[int], hold: bool) -> None:
    assert take(detector, 5, 6, 4, hold=hold) == [5, 6]
    assert counters(detector) == (1, 0, 0, 1, 0)


def test_publishers_and_topics_are_counted_apart(detector: GapDetector[int]) -> None:
    for topic in ("a", "b"):
        for publisher in (P, Q):
            for number in (1, 2):
                effects = detector.observe(topic, publisher, number, 0.0, item=number, hold=False)
                assert effects == [Deliver(topic, number)]
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_filled_hole_is_no_gap(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, 5, 4, hold=True) == [1]
    assert take(detector, 2, hold=True) == [2, 3, 4, 5]
    assert take(detector, 6) == [6]
    assert shown(detector.expire(99.0)) == []
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_hole_is_reported_when_the_window_ends(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, hold=True) == [1]
    assert take(detector, 6, 4, now=0.3, hold=True) == []
    assert shown(detector.expire(REORDER_WINDOW_S - 0.01)) == []
    assert shown(detector.expire(REORDER_WINDOW_S)) == [(2, 2), 3, 4]
    assert take(detector, 5, 2, now=0.6) == [5, 6]
    assert counters(detector) == (1, 1, 1, 0, 0)
    assert shown(detector.expire(99.0)) == []
    assert take(detector, 7, 9) == [7, (8, 8), 9]


def test_what_is_held_is_held_on_when_holding_ends(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, hold=True) == [1]
    assert take(detector, 4, 7, now=0.1) == []
    assert shown(detector.expire(0.5)) == [(2, 2), 3, 4]
    assert shown(detector.expire(0.6)) == [(5, 6), 7]
    assert detector.lasts("a") == {P: 7}


def test_duplicates_of_what_is_held_are_dropped(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, 3, 1, hold=True) == [1]
    assert shown(detector.expire(1.0)) == [(2, 2), 3]
    assert take(detector, 3, 2) == []
    assert counters(detector) == (4, 1, 1, 0, 0)


def test_the_inline_test_fails_for_as_long_as_something_is_held(detector: GapDetector[int]) -> None:
    lasts = detector.lasts("a")
    take(detector, 1, 3, hold=True)
    assert all(lasts.get(P) != number - 1 for number in range(1, 10))
    take(detector, 2, hold=True)
    assert lasts is detector.lasts("a")
    assert lasts == {P: 3}


def test_what_is_held_is_bounded() -> None:
    detector: GapDetector[int] = GapDetector(max_held=3)
    assert take(detector, 1, 3, 5, 7, hold=True) == [1]
    assert take(detector, 9, hold=True) == [(2, 2), 3]
    assert shown(detector.expire(1.0)) == [(4, 4), 5, (6, 6), 7, (8, 8), 9]


# --- tails


def test_a_tail_shows_a_lost_last_message(detector: GapDetector[int]) -> None:
    take(detector, 1, 2)
    assert shown(detector.tail("a", P, 2, 0.0, False)) == []
    assert shown(detector.tail("a", P, 1, 0.0, True)) == []
    assert shown(detector.tail("a", P, 5, 0.0, False)) == [(3, 5)]
    assert shown(detector.tail("a", P, 5, 0.0, False)) == []
    assert take(detector, 4, 6) == [6]
    assert counters(detector) == (1, 1, 3, 0, 0)


@pytest.mark.parametrize("hold", [False, True])
def test_a_tail_of_what_was_never_seen_records_nothing(detector: GapDetector[int], hold: bool) -> None:
    assert detector.tail("a", P, 5, 0.0, hold) == []
    assert take(detector, 6, 7, hold=hold) == [6, 7]
    assert detector.tail("a", Q, 5, 0.0, hold) == []
    assert counters(detector) == (0, 0, 0, 1, 0)


def test_a_tail_waits_for_what_it_announces(detector: GapDetector[int]) -> None:
    assert take(detector, 1, hold=True) == [1]
    assert shown(detector.tail("a", P, 3, 0.0, True)) == []
    assert shown(detector.tail("a", P, 3, 0.0, True)) == []
    assert take(detector, 3, 2, now=0.1, hold=True) == [2, 3]
    assert detector.lasts("a") == {P: 3}
    assert shown(detector.expire(1.0)) == []
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_tail_that_waits_in_vain_reports_the_gap(detector: GapDetector[int]) -> None:
    take(detector, 1, hold=True)
    assert shown(detector.tail("a", P, 4, 0.0, True)) == []
    assert take(detector, 2, now=0.1, hold=True) == [2]
    assert take(detector, 5, now=0.1, hold=True) == []
    assert shown(detector.expire(0.5)) == [(3, 4), 5]
    assert take(detector, 6) == [6]
    assert counters(detector) == (0, 1, 2, 0, 0)


def test_a_tail_while_something_is_held_is_no_loss_yet(detector: GapDetector[int]) -> None:
    take(detector, 1, 3, hold=True)
    assert shown(detector.tail("a", P, 3, 0.0, False)) == []
    assert shown(detector.tail("a", P, 4, 0.0, False)) == []
    assert shown(detector.tail("a", P, 1, 0.0, False)) == []
    assert shown(detector.expire(1.0)) == [(2, 2), 3, (4, 4)]
    assert detector.duplicates == 0


def test_a_tail_below_what_is_held_joins_one_gap(detector: GapDetector[int]) -> None:
    take(detector, 1, 6, hold=True)
    assert shown(detector.tail("a", P, 3, 0.1, True)) == []
    assert shown(detector.expire(1.0)) == [(2, 5), 6]
    assert detector.gaps == 1


# --- forgetting


def test_forgotten_topics_start_anew(detector: GapDetector[int]) -> None:
    take(detector, 1, 3, hold=True)
    old = detector.lasts("a")
    detector.observe("b", P, 1, 0.0, item=1, hold=False)
    assert detector.forget(lambda topic: topic == "a") == 1
    assert old == {}
    assert detector.expire(1.0) == []
    assert take(detector, 9) == [9]
    assert detector.observe("b", P, 2, 0.0, item=2, hold=False) == [Deliver("b", 2)]
    assert counters(detector) == (0, 0, 0, 1, 0)


def test_the_oldest_quiet_entry_is_evicted_and_counted() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=3)
    for topic in ("a", "b", "c"):
        detector.observe(topic, P, 1, 0.0, item=1, hold=False)
    detector.lasts("a")[P] = 2  # in order, as the caller does it: `a` has moved
    old = detector.lasts("b")
    detector.observe("d", P, 1, 0.0, item=1, hold=False)
    assert detector.evicted == 1
    assert old == {}
    assert take(detector, 4) == [(3, 3), 4]
    assert detector.observe("b", P, 2, 0.0, item=2, hold=False) == [Deliver("b", 2)]
    assert detector.started_late == 1


def test_when_all_have_moved_one_is_evicted_all_the_same() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=2)
    for number in range(1, 200):
        topic = f"{number}"
        detector.observe(topic, P, 1, 0.0, item=1, hold=False)
        detector.lasts(topic)[P] = 2
    assert detector.evicted == 197
    assert [len(lasts) for lasts in detector._topics.values()] == [1, 1]


def test_an_evicted_entry_gives_up_what_it_holds() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=1)
    take(detector, 1, 3, hold=True)
    assert detector.observe("b", P, 1, 0.0, item=9, hold=True) == [
        Gap("a", P, 2, 2, 1),
        Deliver("a", 3),
        Deliver("b", 9),
    ]
    assert detector.expire(9.0) == []


def test_an_entry_that_comes_back_is_not_hurried_by_its_past() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=1)
    take(detector, 1, 50, hold=True)
    detector.observe("b", P, 1, 0.0, item=9, hold=True)
    assert take(detector, 1, 3, now=0.4, hold=True) == [1]
    assert detector.expire(0.5) == []
    assert shown(detector.expire(0.9)) == [(2, 2), 3]


def test_topics_asked_for_and_never_seen_are_bounded() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=10)
    take(detector, 1)
    for number in range(1000):
        detector.lasts(f"t/{number}")
        detector.tail(f"u/{number}", P, 5, 0.0, True)
    assert len(detector._topics) <= 20
    assert detector.lasts("a") == {P: 1}


def test_forgetting_and_coming_back_keeps_the_bound() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=4)
    for number in range(100):
        take(detector, 1)
        detector.observe(f"{number}", P, 1, 0.0, item=1, hold=False)
        detector.forget(lambda topic: topic == "a")
    assert len(detector._entries) == sum(len(lasts) for lasts in detector._topics.values()) <= 4


# --- against a model


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[dict[tuple[str, int], int], list[tuple[str, int, int]], bool]:
    """Draw (how many each publisher sent on each topic, what arrives in which order, whether any order was changed)."""
    streams = draw(
        st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([P, Q])), min_size=1, max_size=3, unique=True)
    )
    sent = {stream: draw(st.integers(1, 30)) for stream in streams}
    rng = draw(RANDOM)
    loss, double, late = (draw(st.sampled_from([0.0, 0.1, 0.5])) for _ in range(3))
    parts = [(rng.random() * 30, *stream, number) for stream, count in sent.items() for number in range(1, count + 1)]
    parts = [(number + (rng.random() * 20 if rng.random() < late else 0.0), t, p, number) for _, t, p, number in parts]
    parts += [(at + rng.random() * 20, t, p, number) for at, t, p, number in parts if rng.random() < double]
    changed = late > 0 or double > 0  # a copy that comes where the first one was lost is out of order too
    return sent, [(t, p, number) for _, t, p, number in sorted(parts) if rng.random() >= loss], changed


class Run:
    """One receiver on its hot path, as a node has it, and what came out."""

    def __init__(self) -> None:
        self.detector: GapDetector[tuple[str, int, int]] = GapDetector()
        self.delivered: dict[tuple[str, int], list[int]] = defaultdict(list)
        self.missing: dict[tuple[str, int], list[int]] = defaultdict(list)

    def take(self, topic: str, publisher: int, number: int, now: float, hold: bool) -> None:
        last = self.detector.lasts(topic)
        if last.get(publisher) == number - 1:
            last[publisher] = number
            self.delivered[topic, publisher].append(number)
            return
        item = (topic, publisher, number)
        self.carry_out(self.detector.observe(topic, publisher, number, now, item=item, hold=hold))

    def carry_out(self, effects: list[Deliver[tuple[str, int, int]] | Gap]) -> None:
        for effect in effects:
            if isinstance(effect, Gap):
                stream = effect.topic, effect.publisher
                assert effect.first > max([*self.delivered[stream], *self.missing[stream]])
                self.missing[stream] += range(effect.first, effect.last + 1)
            else:
                topic, publisher, number = effect.item
                assert topic == effect.topic
                self.delivered[topic, publisher].append(number)

    def check(self, sent: dict[tuple[str, int], int], arrived: list[tuple[str, int, int]]) -> None:
        """Once the tails are in: in order, none twice, and delivered + lost = published since the first one seen."""
        for stream, count in sent.items():
            delivered = self.delivered[stream]
            assert delivered == sorted(set(delivered))
            first = delivered[0] if delivered else count + 1
            assert sorted(delivered + self.missing[stream]) == list(range(first, count + 1))
        assert self.detector.lost == sum(map(len, self.missing.values()))
        assert self.detector.duplicates == len(arrived) - sum(map(len, self.delivered.values()))
        assert self.detector.started_late == sum(numbers[0] > 1 for numbers in self.delivered.values() if numbers)


def tails(run: Run, sent: dict[tuple[str, int], int], now: float, hold: bool) -> None:
    for (topic, publisher), count in sent.items():
        run.carry_out(run.detector.tail(topic, publisher, count, now, hold))


@settings(max_examples=300, deadline=None)
@given(arrivals())
def test_without_holding_nothing_is_unaccounted_for(drawn: Any) -> None:
    sent, arrived, reordered = drawn
    run = Run()
    for topic, publisher, number in arrived:
        run.take(topic, publisher, number, now=0.0, hold=False)
    tails(run, sent, 0.0, False)
    run.check(sent, arrived)
    if not reordered:
        assert {s: set(n) for s, n in run.delivered.items() if n} == by_stream(arrived)


@settings(max_examples=300, deadline=None)
@given(arrivals())
def test_holding_loses_nothing_that_arrives_within_the_window(drawn: Any) -> None:
    sent, arrived, _ = drawn
    run = Run()
    for topic, publisher, number in arrived:
        run.take(topic, publisher, number, now=0.0, hold=True)
    tails(run, sent, 0.1, True)
    run.carry_out(run.detector.expire(1.0))
    run.check(sent, arrived)
    for stream, numbers in by_stream(arrived).items():
        first = next(n for t, p, n in arrived if (t, p) == stream)
        assert set(run.delivered[stream]) == {number for number in numbers if number >= first}
    assert not run.detector._held


@settings(max_examples=300, deadline=None)
@given(arrivals(), RANDOM, st.sampled_from([2, 100]))
def test_holding_now_and_then_nothing_is_unaccounted_for(drawn: Any, rng: random.Random, max_held: int) -> None:
    sent, arrived, _ = drawn
    run, now, hold = Run(), 0.0, False
    run.detector.max_held = max_held
    for topic, publisher, number in arrived:
        now += rng.choice((0.0, 0.1, 0.3))
        if rng.random() < 0.1:
            hold = not hold
        run.take(topic, publisher, number, now=now, hold=hold)
        if rng.random() < 0.3:
            run.carry_out(run.detector.expire(now))
    tails(run, sent, now, hold)
    run.carry_out(run.detector.expire(now + 1.0))
    run.check(sent, arrived)
    assert not run.detector._held
    assert all(last > 0 for lasts in run.detector._topics.values() for last in lasts.values())


def by_stream(arrived: list[tuple[str, int, int]]) -> dict[tuple[str, int], set[int]]:
    streams: dict[tuple[str, int], set[int]] = defaultdict(set)
    for topic, publisher, number in arrived:
        streams[topic, publisher].add(number)
    return streams

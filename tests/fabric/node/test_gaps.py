"""The receiver's half of numbers: put in order again after whatever a network does to them.

The random tests hold it against a plain model: what was published, what arrived, and in which order.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.node.contested import TRUE_AFTER_S
from fabric.node.gaps import MAX_JUMP, MAX_NUMBER, REORDER_WINDOW_S, Deliver, Forged, Gap, GapDetector

P, Q = 2**64 - 1, 7
RANDOM = st.integers(0, 2**32).map(random.Random)

S = 1_000_000_000

# --- gaps: one topic, one publisher


def take(detector: GapDetector[int], *numbers: int, now: float = 0.0, awaits: bool = False) -> list[Any]:
    """Give these numbers, each its own item. Return what comes out: a number delivered, or the (first, last) lost."""
    effects = [e for n in numbers for e in detector.observe("a", P, n, now, item=n, awaits=awaits)]
    return shown(effects)


def shown(effects: list[Any]) -> list[Any]:
    for effect in effects:
        assert effect.topic == "a"
        assert not isinstance(effect, Forged)
        if isinstance(effect, Gap):
            assert effect.publisher == P
            assert effect.lost == effect.last - effect.first + 1 > 0
    return [(effect.first, effect.last) if isinstance(effect, Gap) else effect.item for effect in effects]


def counters(detector: GapDetector[int]) -> tuple[int, int, int, int, int]:
    return detector.duplicates, detector.gaps, detector.lost, detector.started_late, detector.evicted


@pytest.fixture
def detector() -> GapDetector[int]:
    return GapDetector()


@pytest.mark.parametrize("awaits", [False, True])
def test_in_order_all_is_delivered(detector: GapDetector[int], awaits: bool) -> None:
    assert take(detector, 1, 2, 3, awaits=awaits) == [1, 2, 3]
    assert counters(detector) == (0, 0, 0, 0, 0)
    assert detector.lasts("a") == {P: 3}


@pytest.mark.parametrize("awaits", [False, True])
def test_what_is_not_above_the_last_is_a_duplicate(detector: GapDetector[int], awaits: bool) -> None:
    assert take(detector, 1, 2, 2, 1, 3, 3, awaits=awaits) == [1, 2, 3]
    assert counters(detector) == (3, 0, 0, 0, 0)


def test_a_jump_is_a_gap_at_once(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 4, 5, 7, 3) == [1, (2, 3), 4, 5, (6, 6), 7]
    assert counters(detector) == (1, 2, 3, 0, 0)
    with pytest.raises(FrozenInstanceError):
        Gap("a", P, 2, 3, 2).lost = 5  # type: ignore[misc]


@pytest.mark.parametrize("awaits", [False, True])
def test_a_late_start_is_no_gap(detector: GapDetector[int], awaits: bool) -> None:
    assert take(detector, 5, 6, 4, awaits=awaits) == [5, 6]
    assert counters(detector) == (1, 0, 0, 1, 0)


def test_publishers_and_topics_are_counted_apart(detector: GapDetector[int]) -> None:
    for topic in ("a", "b"):
        for publisher in (P, Q):
            for number in (1, 2):
                effects = detector.observe(topic, publisher, number, 0.0, item=number, awaits=False)
                assert effects == [Deliver(topic, number)]
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_filled_hole_is_no_gap(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, 5, 4, awaits=True) == [1]
    assert take(detector, 2, awaits=True) == [2, 3, 4, 5]
    assert take(detector, 6) == [6]
    assert shown(detector.expire(99.0)) == []
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_hole_is_reported_when_the_window_ends(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, awaits=True) == [1]
    assert take(detector, 6, 4, now=0.3, awaits=True) == []
    assert shown(detector.expire(REORDER_WINDOW_S - 0.01)) == []
    assert shown(detector.expire(REORDER_WINDOW_S)) == [(2, 2), 3, 4]
    assert take(detector, 5, 2, now=0.6) == [5, 6]
    assert counters(detector) == (1, 1, 1, 0, 0)
    assert shown(detector.expire(99.0)) == []
    assert take(detector, 7, 9) == [7, (8, 8), 9]


def test_what_waits_waits_on_when_no_more_has_to(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, awaits=True) == [1]
    assert take(detector, 4, 7, now=0.1) == []
    assert shown(detector.expire(0.5)) == [(2, 2), 3, 4]
    assert shown(detector.expire(0.6)) == [(5, 6), 7]
    assert detector.lasts("a") == {P: 7}


def test_duplicates_of_what_waits_are_dropped(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 3, 3, 1, awaits=True) == [1]
    assert shown(detector.expire(1.0)) == [(2, 2), 3]
    assert take(detector, 3, 2) == []
    assert counters(detector) == (4, 1, 1, 0, 0)


def test_the_inline_test_fails_for_as_long_as_something_waits(detector: GapDetector[int]) -> None:
    lasts = detector.lasts("a")
    take(detector, 1, 3, awaits=True)
    assert all(lasts.get(P) != number - 1 for number in range(1, 10))
    take(detector, 2, awaits=True)
    assert lasts is detector.lasts("a")
    assert lasts == {P: 3}


def test_what_waits_is_bounded() -> None:
    detector: GapDetector[int] = GapDetector(max_awaiting=3)
    assert take(detector, 1, 3, 5, 7, awaits=True) == [1]
    assert take(detector, 9, awaits=True) == [(2, 2), 3]
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


@pytest.mark.parametrize("awaits", [False, True])
def test_a_tail_of_what_was_never_seen_records_nothing(detector: GapDetector[int], awaits: bool) -> None:
    assert detector.tail("a", P, 5, 0.0, awaits) == []
    assert take(detector, 6, 7, awaits=awaits) == [6, 7]
    assert detector.tail("a", Q, 5, 0.0, awaits) == []
    assert counters(detector) == (0, 0, 0, 1, 0)


def test_a_tail_waits_for_what_it_announces(detector: GapDetector[int]) -> None:
    assert take(detector, 1, awaits=True) == [1]
    assert shown(detector.tail("a", P, 3, 0.0, True)) == []
    assert shown(detector.tail("a", P, 3, 0.0, True)) == []
    assert take(detector, 3, 2, now=0.1, awaits=True) == [2, 3]
    assert detector.lasts("a") == {P: 3}
    assert shown(detector.expire(1.0)) == []
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_a_tail_that_waits_for_nothing_reports_the_gap(detector: GapDetector[int]) -> None:
    take(detector, 1, awaits=True)
    assert shown(detector.tail("a", P, 4, 0.0, True)) == []
    assert take(detector, 2, now=0.1, awaits=True) == [2]
    assert take(detector, 5, now=0.1, awaits=True) == []
    assert shown(detector.expire(0.5)) == [(3, 4), 5]
    assert take(detector, 6) == [6]
    assert counters(detector) == (0, 1, 2, 0, 0)


def test_a_tail_while_something_waits_is_no_loss_yet(detector: GapDetector[int]) -> None:
    take(detector, 1, 3, awaits=True)
    assert shown(detector.tail("a", P, 3, 0.0, False)) == []
    assert shown(detector.tail("a", P, 4, 0.0, False)) == []
    assert shown(detector.tail("a", P, 1, 0.0, False)) == []
    assert shown(detector.expire(1.0)) == [(2, 2), 3, (4, 4)]
    assert detector.duplicates == 0


def test_a_tail_below_what_waits_joins_one_gap(detector: GapDetector[int]) -> None:
    take(detector, 1, 6, awaits=True)
    assert shown(detector.tail("a", P, 3, 0.1, True)) == []
    assert shown(detector.expire(1.0)) == [(2, 5), 6]
    assert detector.gaps == 1


# --- what is repaired


@pytest.fixture
def repairing() -> GapDetector[int]:
    return GapDetector(repairs=True)


def told(effects: list[Any]) -> list[Any]:
    """As `shown`, with the reason."""
    return [
        (effect.first, effect.last, effect.reason) if isinstance(effect, Gap) else effect.item for effect in effects
    ]


def test_whatever_is_missing_is_waited_for_and_time_gives_nothing_up(repairing: GapDetector[int]) -> None:
    assert take(repairing, 1, 4, 6) == [1]
    assert repairing.missing_from("a", P) == 2 and repairing.holes("a", P, 100) == [(2, 3), (5, 5)]
    assert repairing.expire(10**9) == [] and repairing.is_awaiting
    assert take(repairing, 2, 3) == [2, 3, 4] and repairing.missing_from("a", P) == 5
    assert take(repairing, 5) == [5, 6] and repairing.missing_from("a", P) is None
    assert repairing.holes("a", P, 100) == [] and repairing.expire(10**9) == [] and not repairing.is_awaiting
    assert take(repairing, 7) == [7] and counters(repairing) == (0, 0, 0, 0, 0)


def test_holes_are_told_up_to_a_limit(repairing: GapDetector[int]) -> None:
    take(repairing, 1, 100, 200, 300)
    assert repairing.holes("a", P, 1) == [(2, 99)]
    assert repairing.holes("a", P, 99) == [(2, 99), (101, 199)]


def test_a_tail_ends_a_hole(repairing: GapDetector[int]) -> None:
    take(repairing, 1)
    assert repairing.tail("a", P, 4, 0.0, False) == []
    assert repairing.holes("a", P, 100) == [(2, 4)]
    assert take(repairing, 6) == [] and repairing.holes("a", P, 100) == [(2, 5)]
    assert told(repairing.give_up("a", P, 5, 9, "too old")) == []
    assert take(repairing, 2, 3, 4) == [2, 3, 4, (5, 5), 6]


def test_what_is_lacking_is_what_others_wait_for(repairing: GapDetector[int]) -> None:
    take(repairing, 1, 4, 8)
    repairing.give_up("a", P, 6, 6, "too old")
    assert [number for number in range(10) if repairing.lacks("a", P, number)] == [2, 3, 5, 7]
    assert not repairing.lacks("b", P, 1) and not repairing.lacks("a", Q, 1)
    assert [number for number in range(10) if repairing.has_passed("a", P, number)] == [0, 1]
    assert not repairing.has_passed("b", P, 1) and not repairing.has_passed("a", Q, 1)


def test_what_is_given_up_is_told_in_its_turn(repairing: GapDetector[int]) -> None:
    take(repairing, 1, 4, 8)
    assert repairing.give_up("a", P, 5, 6, "too old") == []
    assert told(repairing.give_up("a", P, 1, 2, "too old")) == [(2, 2, "too old")]
    assert take(repairing, 3) == [3, 4, (5, 6)]
    assert told(repairing.give_up_all("a", P, "timed out")) == [(7, 7, "timed out"), 8]
    assert repairing.give_up_all("a", P, "timed out") == repairing.give_up("a", P, 1, 99, "too old") == []
    assert repairing.lasts("a") == {P: 8} and repairing.lost == 4


def test_what_comes_when_it_was_given_up_is_a_duplicate(repairing: GapDetector[int]) -> None:
    take(repairing, 1, 8)
    repairing.give_up("a", P, 3, 7, "too old")
    assert take(repairing, 5) == []
    assert take(repairing, 2) == [2, (3, 7), 8] and repairing.duplicates == 1


def test_what_waits_for_repair_is_bounded_in_messages_and_in_bytes() -> None:
    detector: GapDetector[int] = GapDetector(max_awaiting=3, max_awaiting_bytes=100, repairs=True)
    take(detector, 1)
    for number in (3, 5, 7):
        assert detector.observe("a", P, number, 0.0, item=number, awaits=False, size=10) == []
    assert told(detector.observe("a", P, 9, 0.0, item=9, awaits=False, size=10)) == [(2, 2, "too slow"), 3]
    assert told(detector.observe("a", P, 10, 0.0, item=10, awaits=False, size=80)) == [(4, 4, "too slow"), 5]
    detector.give_up_all("a", P, "timed out")
    detector.expire(0.0)
    assert detector._awaiting_bytes == 0 and not detector.is_awaiting


def test_what_was_known_before_is_no_late_start(repairing: GapDetector[int]) -> None:
    assert repairing.expect("a", P, 4)
    assert take(repairing, 7) == [] and repairing.holes("a", P, 100) == [(5, 6)]
    assert not repairing.expect("a", P, 100), "more is known already"
    assert take(repairing, 5, 6) == [5, 6, 7] and repairing.started_late == 0
    assert repairing.expect("b", P, 0)
    assert repairing.observe("b", P, 1, 0.0, item=1, awaits=False) == [Deliver("b", 1)]


@given(RANDOM)
def test_with_repairs_all_is_delivered_or_told_in_order_whatever_is_given_up(rng: random.Random) -> None:
    detector: GapDetector[int] = GapDetector(repairs=True, max_awaiting=rng.choice([5, 1000]))
    out = take(detector, 1)
    for _ in range(100):
        number = rng.randrange(2, 50)
        if rng.random() < 0.8:
            out += told(detector.observe("a", P, number, 0.0, item=number, awaits=False, size=1))
        elif rng.random() < 0.5:
            out += told(detector.tail("a", P, number, 0.0, False))
        else:
            out += told(detector.give_up("a", P, number, number + 3, "too old"))
        holes = detector.holes("a", P, 1000)
        assert (detector.missing_from("a", P) is not None) == bool(holes)
        for first, last in holes:
            assert all(detector.lacks("a", P, each) for each in (first, last))
    out += told(detector.tail("a", P, 50, 0.0, False)) + told(detector.give_up_all("a", P, "timed out"))
    numbers: list[int] = []
    for each in out:
        numbers += [each] if isinstance(each, int) else list(range(each[0], each[1] + 1))
    assert numbers == list(range(1, 51))


# --- forgetting


def test_forgotten_topics_start_again(detector: GapDetector[int]) -> None:
    take(detector, 1, 3, awaits=True)
    old = detector.lasts("a")
    detector.observe("b", P, 1, 0.0, item=1, awaits=False)
    assert detector.forget(lambda topic: topic == "a") == 1
    assert old == {}
    assert detector.expire(1.0) == []
    assert take(detector, 9) == [9]
    assert detector.observe("b", P, 2, 0.0, item=2, awaits=False) == [Deliver("b", 2)]
    assert counters(detector) == (0, 0, 0, 1, 0)


def test_the_oldest_quiet_entry_is_evicted_and_counted() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=3)
    for topic in ("a", "b", "c"):
        detector.observe(topic, P, 1, 0.0, item=1, awaits=False)
    detector.lasts("a")[P] = 2  # in order, as the caller does it: `a` has moved
    old = detector.lasts("b")
    detector.observe("d", P, 1, 0.0, item=1, awaits=False)
    assert detector.evicted == 1
    assert old == {}
    assert take(detector, 4) == [(3, 3), 4]
    assert detector.observe("b", P, 2, 0.0, item=2, awaits=False) == [Deliver("b", 2)]
    assert detector.started_late == 1


def test_when_all_have_moved_one_is_evicted_all_the_same() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=2)
    for number in range(1, 200):
        topic = f"{number}"
        detector.observe(topic, P, 1, 0.0, item=1, awaits=False)
        detector.lasts(topic)[P] = 2
    assert detector.evicted == 197
    assert [len(lasts) for lasts in detector._topics.values()] == [1, 1]


def test_an_evicted_entry_gives_up_what_waits_there() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=1)
    take(detector, 1, 3, awaits=True)
    assert detector.observe("b", P, 1, 0.0, item=9, awaits=True) == [
        Gap("a", P, 2, 2, 1),
        Deliver("a", 3),
        Deliver("b", 9),
    ]
    assert detector.expire(9.0) == []


def test_an_entry_that_comes_back_is_not_hurried_by_its_past() -> None:
    detector: GapDetector[int] = GapDetector(max_entries=1)
    take(detector, 1, 50, awaits=True)
    detector.observe("b", P, 1, 0.0, item=9, awaits=True)
    assert take(detector, 1, 3, now=0.4, awaits=True) == [1]
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
        detector.observe(f"{number}", P, 1, 0.0, item=1, awaits=False)
        detector.forget(lambda topic: topic == "a")
    assert len(detector._entries) == sum(len(lasts) for lasts in detector._topics.values()) <= 4


# --- forged numbers


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("jump", [MAX_JUMP + 1, 2**62, 2**63 - 10])
def test_a_jump_that_no_publisher_makes_is_refused_and_changes_nothing(
    detector: GapDetector[int], awaits: bool, jump: int
) -> None:
    assert take(detector, 1, 2) == [1, 2]
    forged = [Forged("a", P, 2 + jump)]
    assert detector.observe("a", P, 2 + jump, 0.0, item=0, awaits=awaits) == forged
    assert detector.tail("a", P, 2 + jump, 0.0, awaits) == forged
    assert take(detector, 3, 4, awaits=awaits) == [3, 4] and not detector.is_awaiting
    assert counters(detector) == (0, 0, 0, 0, 0)


def test_nor_does_it_while_something_waits(detector: GapDetector[int]) -> None:
    assert take(detector, 1, 4, awaits=True) == [1]
    assert detector.observe("a", P, 2**62, 0.0, item=0, awaits=True) == [Forged("a", P, 2**62)]
    assert take(detector, 2, 3, awaits=True) == [2, 3, 4]


def test_a_first_number_that_nobody_reaches_is_refused(detector: GapDetector[int]) -> None:
    assert detector.observe("a", P, MAX_NUMBER + 1, 0.0, item=0, awaits=False) == [Forged("a", P, MAX_NUMBER + 1)]
    assert take(detector, 5, 6) == [5, 6]


def live(detector: GapDetector[int], first: int, count: int, awaits: bool = False) -> list[Any]:
    """A publisher that sends so many, one a second: what comes out."""
    return [
        effect
        for n in range(count)
        for effect in detector.observe("a", P, first + n, n, item=first + n, awaits=awaits, sent_ns=(900 + n) * S)
    ]


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize("forged", [list(range(3, 1_003)), [MAX_JUMP]])
def test_after_forged_numbers_the_true_stream_is_heard_again(
    detector: GapDetector[int], awaits: bool, forged: list[int]
) -> None:
    """A thousand in order, or one jump."""
    take(detector, 1, 2, *forged, awaits=awaits)
    detector.expire(1.0)
    silent = int(TRUE_AFTER_S)
    told = live(detector, 3, 30, awaits)
    number = 3 + silent
    assert told == [
        Forged("a", P, forged[-1]),
        Gap("a", P, 3, number - 1, silent),
        *(Deliver("a", n) for n in range(number, 33)),
    ]
    assert detector.lasts("a") == {P: 32} and detector.duplicates == silent


def test_what_waits_above_is_let_go_first(detector: GapDetector[int]) -> None:
    take(detector, 1, 2, 1_000)
    assert take(detector, 2_000, awaits=True) == []
    told = live(detector, 3, int(TRUE_AFTER_S) + 2)
    assert [type(each) for each in told] == [Gap, Deliver, Forged, Gap, Deliver, Deliver]
    assert not detector._awaiting and detector.lasts("a") == {P: 14}


@given(st.integers(1, 3_000), st.integers(0, 3_000), st.floats(0, 60), st.floats(0, 9))
def test_parts_that_are_sent_again_stay_duplicates(sent: int, again: int, gap_s: float, over_s: float) -> None:
    """All that was kept comes a second time, in order, in as long as it was made in or less, and the stream goes on."""
    detector: GapDetector[int] = GapDetector()
    heard: list[Any] = []

    def come(number: int, now: float) -> None:
        at = int(1e9 * over_s * min(number, sent) / sent)
        heard.extend(detector.observe("a", P, number, now, item=number, awaits=True, sent_ns=at))

    for number in range(1, sent + 1):
        come(number, over_s * number / sent)
    for number in range(max(1, sent - again), sent + 1):
        come(number, over_s + gap_s + over_s * number / sent)
    come(sent + 1, 2 * over_s + gap_s)
    assert [effect.item for effect in heard] == list(range(1, sent + 2))


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

    def take(self, topic: str, publisher: int, number: int, now: float, awaits: bool) -> None:
        last = self.detector.lasts(topic)
        if last.get(publisher) == number - 1:
            last[publisher] = number
            self.delivered[topic, publisher].append(number)
            return
        item = (topic, publisher, number)
        self.carry_out(self.detector.observe(topic, publisher, number, now, item=item, awaits=awaits))

    def carry_out(self, effects: list[Any]) -> None:
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


def tails(run: Run, sent: dict[tuple[str, int], int], now: float, awaits: bool) -> None:
    for (topic, publisher), count in sent.items():
        run.carry_out(run.detector.tail(topic, publisher, count, now, awaits))


@settings(max_examples=300, deadline=None)
@given(arrivals())
def test_without_waiting_nothing_is_unaccounted_for(drawn: Any) -> None:
    sent, arrived, reordered = drawn
    run = Run()
    for topic, publisher, number in arrived:
        run.take(topic, publisher, number, now=0.0, awaits=False)
    tails(run, sent, 0.0, False)
    run.check(sent, arrived)
    if not reordered:
        assert {s: set(n) for s, n in run.delivered.items() if n} == by_stream(arrived)


@settings(max_examples=300, deadline=None)
@given(arrivals())
def test_waiting_loses_nothing_that_arrives_within_the_window(drawn: Any) -> None:
    sent, arrived, _ = drawn
    run = Run()
    for topic, publisher, number in arrived:
        run.take(topic, publisher, number, now=0.0, awaits=True)
    tails(run, sent, 0.1, True)
    run.carry_out(run.detector.expire(1.0))
    run.check(sent, arrived)
    for stream, numbers in by_stream(arrived).items():
        first = next(n for t, p, n in arrived if (t, p) == stream)
        assert set(run.delivered[stream]) == {number for number in numbers if number >= first}
    assert not run.detector._awaiting


@settings(max_examples=300, deadline=None)
@given(arrivals(), RANDOM, st.sampled_from([2, 100]))
def test_waiting_now_and_then_nothing_is_unaccounted_for(drawn: Any, rng: random.Random, max_awaiting: int) -> None:
    sent, arrived, _ = drawn
    run, now, awaits = Run(), 0.0, False
    run.detector.max_awaiting = max_awaiting
    for topic, publisher, number in arrived:
        now += rng.choice((0.0, 0.1, 0.3))
        if rng.random() < 0.1:
            awaits = not awaits
        run.take(topic, publisher, number, now=now, awaits=awaits)
        if rng.random() < 0.3:
            run.carry_out(run.detector.expire(now))
    tails(run, sent, now, awaits)
    run.carry_out(run.detector.expire(now + 1.0))
    run.check(sent, arrived)
    assert not run.detector._awaiting
    assert all(last > 0 for lasts in run.detector._topics.values() for last in lasts.values())


def by_stream(arrived: list[tuple[str, int, int]]) -> dict[tuple[str, int], set[int]]:
    streams: dict[tuple[str, int], set[int]] = defaultdict(set)
    for topic, publisher, number in arrived:
        streams[topic, publisher].add(number)
    return streams

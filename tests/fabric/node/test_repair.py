"""Asker: what is asked when, and what is given up, over a GapDetector; time is what the test says."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.node.gaps import Deliver, Gap, GapDetector
from fabric.node.repair import BUDGET_MSGS, TRANSITIONS, TRIES, Ask, Asker, GiveUp
from fabric.protocol.repair import MAX_ASKED, MAX_RANGES

P, TIMEOUT_S = 7, 0.9


class Side:
    """A detector and its asker, as a receiver has them."""

    def __init__(self) -> None:
        self.detector: GapDetector[int] = GapDetector(repairs=True)
        self.asker = Asker(self.detector.holes, TIMEOUT_S)
        self.out: list[Any] = []
        """Numbers that were delivered; (first, last, reason) of what was told as lost."""
        self.asks: list[Ask] = []
        self.now = 0.0

    def take(self, *numbers: int, topic: str = "a", publisher: int = P, wait_s: float = 0.0) -> None:
        for number in numbers:
            self.do(self.detector.observe(topic, publisher, number, self.now, item=number, awaits=False))
            self.notice(topic, publisher, wait_s)

    def tail(self, number: int) -> None:
        self.do(self.detector.tail("a", P, number, self.now, False))
        self.notice("a", P, 0.0)

    def notice(self, topic: str, publisher: int, wait_s: float) -> None:
        head = self.detector.missing_from(topic, publisher)
        if head is not None:
            self.asker.noticed(topic, publisher, head, self.now, wait_s)

    def do(self, effects: list[Any]) -> None:
        for effect in effects:
            match effect:
                case Deliver(_, item):
                    self.out.append(item)
                case Gap(_, _, first, last, _, reason):
                    self.out.append((first, last, reason))

    def tick(self, by_s: float = 0.0, *, is_empty: bool = True, is_open: bool = True) -> list[Ask]:
        self.now += by_s
        asks = []
        for effect in self.asker.tick(self.now, is_empty=is_empty, is_open=is_open):
            if isinstance(effect, GiveUp):
                self.do(self.detector.give_up_all(effect.topic, effect.publisher, effect.reason))
            else:
                asks.append(effect)
        self.asks += asks
        return asks

    def wait(self, for_s: float, **how: bool) -> list[Ask]:
        """Let time pass, in ticks."""
        return [ask for _ in range(round(for_s / 0.01)) for ask in self.tick(0.01, **how)]

    def answer(self, ask: Ask, *numbers: int, done: bool = True) -> None:
        for number in numbers:
            self.do(self.detector.observe(ask.topic, ask.publisher, number, self.now, item=number, awaits=True))
        if self.asker.asked_for(ask.ident, ask.topic, ask.publisher):
            self.asker.answered(ask.ident, self.now, done=done)


@pytest.fixture
def side() -> Side:
    return Side()


def test_what_is_missing_is_asked_for_and_delivered_before_what_is_newer(side: Side) -> None:
    side.take(1, 4, 6)
    (ask,) = side.tick()
    assert ask == Ask("a", P, 1, ((2, 3), (5, 5))) and side.out == [1]
    side.answer(ask, 2, 3, 5)
    assert side.out == [1, 2, 3, 4, 5, 6] and not side.asker.wants
    side.take(7)
    assert side.out[-1] == 7 and side.wait(2.0) == [] and side.detector.lost == 0


def test_nothing_is_asked_before_the_queue_is_empty_and_a_way_is_open(side: Side) -> None:
    side.take(1, 3)
    assert side.tick(is_empty=False) == [] and side.tick(is_open=False) == []
    assert len(side.tick()) == 1


def test_who_never_gets_to_the_end_of_the_queue_is_told_too_slow(side: Side) -> None:
    side.take(1, 3)
    assert side.wait(TIMEOUT_S - 0.05, is_empty=False) == [] and side.out == [1]
    side.wait(0.1, is_empty=False)
    assert side.out == [1, (2, 2, "too slow"), 3] and not side.asker.wants and side.asker.asked == 0


def test_a_publisher_of_whom_nothing_is_heard_is_gone(side: Side) -> None:
    side.take(1, 3)
    asks = side.wait(TIMEOUT_S + 0.05)
    assert [ask.ident for ask in asks] == [1] * TRIES
    assert side.out == [1, (2, 2, "publisher gone"), 3]


def test_one_that_goes_on_and_does_not_answer_has_timed_out(side: Side) -> None:
    side.take(1, 3)
    side.tick()
    side.take(4)
    side.wait(TIMEOUT_S + 0.05)
    assert side.out == [1, (2, 2, "timed out"), 3, 4]


def test_while_there_is_no_way_to_publish_the_time_does_not_run(side: Side) -> None:
    side.take(1, 3)
    assert side.wait(5 * TIMEOUT_S, is_open=False) == [] and side.out == [1]
    (ask,) = side.tick(0.01)
    side.answer(ask, 2)
    assert side.out == [1, 2, 3]


def test_but_not_for_ever(side: Side) -> None:
    side.take(1, 3)
    side.wait(12 * TIMEOUT_S, is_open=False)
    assert side.out == [1, (2, 2, "too slow"), 3]


@pytest.mark.parametrize("asked", [False, True])
def test_while_the_node_stands_still_the_time_does_not_run(side: Side, asked: bool) -> None:
    """Its handler takes a minute."""
    side.tick(1.0)
    side.take(1, 3)
    if asked:
        side.tick(0.01)
    side.tick(60.0, is_empty=False)
    assert side.out == [1] and side.asker.wants
    side.tick(0.01)
    side.answer(side.asks[-1], 2)
    assert side.out == [1, 2, 3]


def test_what_may_still_come_by_itself_is_not_asked_for(side: Side) -> None:
    side.take(1, 3, wait_s=0.5)
    assert side.wait(0.45) == []
    side.take(2)
    assert side.wait(1.0) == [] and side.out == [1, 2, 3]
    side.take(5, wait_s=0.5)
    assert len(side.wait(0.55)) == 1


def test_a_lost_last_message_is_asked_for_when_its_tail_comes(side: Side) -> None:
    side.take(1)
    side.tail(3)
    (ask,) = side.tick()
    assert ask.ranges == ((2, 3),)
    side.answer(ask, 2, 3)
    assert side.out == [1, 2, 3] and side.detector.lasts("a") == {P: 3}


def test_a_long_hole_is_asked_for_in_pieces(side: Side) -> None:
    side.take(1, 2_502)
    pieces = []
    for _ in range(3):
        (ask,) = side.tick(0.01)
        pieces.append(ask.ranges)
        side.answer(ask, *range(ask.ranges[0][0], ask.ranges[0][1] + 1))
    assert pieces == [((2, 1_001),), ((1_002, 2_001),), ((2_002, 2_501),)]
    assert side.out == list(range(1, 2_503))


def test_a_piece_that_comes_without_an_answer_makes_way_for_the_next(side: Side) -> None:
    """The publisher sent it once more to all."""
    side.take(1, 1_502)
    (first,) = side.tick()
    side.take(*range(2, MAX_ASKED + 2))
    (second,) = side.tick(0.01)
    assert (first.ranges, second.ranges) == (((2, 1_001),), ((1_002, 1_501),))


def test_the_budget_is_for_all_together(side: Side) -> None:
    for topic in "abcdefgh":
        side.take(1, 1_002, topic=topic)
    asks = side.tick()
    assert len(asks) == BUDGET_MSGS // MAX_ASKED
    side.answer(asks[0], *range(2, 1_002))
    assert len(side.tick(0.01)) == 1


def test_many_holes_are_asked_for_so_many_at_once(side: Side) -> None:
    side.take(*range(1, 400, 2))
    (ask,) = side.tick()
    assert len(ask.ranges) == MAX_RANGES
    side.answer(ask, *range(2, 2 * MAX_RANGES + 1, 2))
    assert side.tick(0.01)[0].ranges[0] == (2 * MAX_RANGES + 2, 2 * MAX_RANGES + 2)


def test_an_answer_that_is_done_and_leaves_a_hole_is_believed_in_the_end(side: Side) -> None:
    side.take(1, 3)
    for _ in range(TRIES):
        (ask,) = side.tick(0.01)
        side.answer(ask)
    side.tick(0.01)
    assert side.out == [1, (2, 2, "timed out"), 3]


def test_while_answers_come_the_time_begins_again(side: Side) -> None:
    side.take(1, 6)
    (ask,) = side.tick()
    for number in (2, 3, 4):
        side.wait(TIMEOUT_S - 0.1)
        side.answer(ask, number, done=False)
    side.wait(TIMEOUT_S - 0.1)
    side.answer(ask, 5)
    assert side.out == [1, 2, 3, 4, 5, 6]


def test_what_is_asked_at_once_is_not_asked_again_with_the_tick(side: Side) -> None:
    side.take(1, 3)
    assert side.asker.ask_now("a", P, 0.0) == [Ask("a", P, 1, ((2, 2),))]
    assert side.asker.ask_now("a", P, 0.0) == [] and side.tick(0.01) == []


def test_a_topic_that_is_not_wanted_any_more_is_let_go(side: Side) -> None:
    side.take(1, 3)
    side.tick()
    side.detector.forget(lambda topic: True)
    assert side.wait(TIMEOUT_S) == [] and not side.asker.wants and side.out == [1]


def test_every_state_is_reached_and_left() -> None:
    befores = {before for before, _ in TRANSITIONS}
    assert befores == {"noticed", "asked"} and set(TRANSITIONS.values()) == befores | {"told", "filled"}


@given(st.integers(0, 2**32))
def test_whatever_is_lost_and_whenever_it_comes_all_is_delivered_or_told_once_and_in_order(seed: int) -> None:
    rng, side, count = random.Random(seed), Side(), 60
    loss, answers = rng.choice([0.05, 0.3, 0.8]), rng.choice([0.2, 0.9])
    side.take(1)
    pending: list[Ask] = []
    for number in range(2, count + 1):
        if rng.random() > loss:
            side.take(number)
        pending += side.tick(rng.random() * 0.3, is_empty=rng.random() < 0.7, is_open=rng.random() < 0.9)
        while pending and rng.random() < answers:
            ask = pending.pop(rng.randrange(len(pending)))
            numbers = [n for first, last in ask.ranges for n in range(first, last + 1) if rng.random() < answers]
            side.answer(ask, *numbers, done=rng.random() < 0.9)
        if rng.random() < 0.1 and side.asker.wants:
            first = rng.randrange(2, count)
            side.do(side.detector.give_up("a", P, first, first + 5, "too old"))
    side.tail(count)
    for _ in range(40):
        side.tick(TIMEOUT_S / 5)
    told = []
    for each in side.out:
        told += [each] if isinstance(each, int) else list(range(each[0], each[1] + 1))
    assert told == list(range(1, count + 1))
    assert side.detector.lasts("a") == {P: count} and not side.asker.wants
    assert side.asker._room == BUDGET_MSGS and not side.asker._asks

"""Answerer: what is sent to those who ask, how much at once, and when one repeat serves several."""

from __future__ import annotations

import pytest

from fabric.node.answering import (
    ANSWER_BYTES,
    FLOOR_BYTES_S,
    MAX_ASKS,
    REPEATED_S,
    SEVERAL,
    SHARE,
    TURN_S,
    Answerer,
    Repeat,
    Send,
)
from fabric.protocol.repair import Answer, Ask, Ranges

P, MOST_BYTES = 7, 200_000


class Kept:
    """What a publisher has: the numbers from `first` to `last` of each topic, of `size` bytes each."""

    def __init__(self, first: int = 1, last: int = 100, size: int = 100) -> None:
        self.first, self.last, self.size = first, last, size

    def part(self, number: int) -> bytes:
        return b"%0*d" % (self.size, number)

    def find(self, topic: str, publisher: int, ranges: Ranges) -> list[tuple[int, bytes]]:
        wanted = [n for first, last in ranges for n in range(first, last + 1)]
        return [(n, self.part(n)) for n in wanted if self.first <= n <= self.last]

    def answerer(self) -> Answerer:
        found = Answerer(self.find, lambda topic, publisher: self.last, MOST_BYTES)
        found.turn(0.0, 0)
        return found


def ask(*ranges: tuple[int, int], token: str = "t1", topic: str = "a", ident: int = 1) -> Ask:
    return Ask(P, token, topic, ident, ranges)


def repeats(effects: list[Send | Repeat]) -> list[int]:
    return [int(each.part[-9:]) for each in effects if isinstance(each, Repeat)]


def test_who_asks_gets_the_parts_in_order_and_is_told_what_is_too_old() -> None:
    kept = Kept(first=5)
    answerer = kept.answerer()
    answerer.asked(ask((2, 6), (9, 9)))
    (sent,) = answerer.turn(1.0, 0)
    parts = tuple(map(kept.part, (5, 6, 9)))
    assert sent == Send("t1", P, Answer(1, "a", parts, ((2, 4, "too old"),), True))
    assert not answerer.waits and answerer.turn(1.1, 0) == []


def test_what_was_never_sent_is_neither_there_nor_too_old() -> None:
    answerer = Kept(last=3).answerer()
    answerer.asked(ask((3, 9)))
    (sent,) = answerer.turn(1.0, 0)
    assert isinstance(sent, Send) and sent.answer.missing == () and len(sent.answer.parts) == 1 and sent.answer.done


def test_answers_are_of_a_bounded_size() -> None:
    answerer = Kept(size=30_000).answerer()
    answerer.asked(ask((1, 5)))
    sent = answerer.turn(1.0, 0)
    answers = [each.answer for each in sent if isinstance(each, Send)]
    assert [len(each.parts) for each in answers] == [2, 2, 1] and ANSWER_BYTES >= 60_000
    assert [each.done for each in answers] == [False, False, True]


def test_a_part_that_no_answer_can_hold_is_sent_as_it_is() -> None:
    answerer = Kept(size=MOST_BYTES + 1).answerer()
    answerer.asked(ask((1, 2)))
    assert repeats(answerer.turn(1.0, 0)) == [1, 2]


@pytest.mark.parametrize("published", [0, 400_000_000])
def test_no_more_is_sent_than_a_share_of_what_is_published_or_the_least(published: int) -> None:
    kept = Kept(last=10_000, size=10_000)
    answerer = kept.answerer()
    answerer.turn(10.0, published)  # so much in ten seconds
    for number in range(1, 9_000, 10):
        answerer.asked(ask((number, number + 9), ident=number))
    sent, now = 0, 10.0
    while now < 12.0 and answerer.waits:
        now += 0.01
        for each in answerer.turn(now, published):
            assert isinstance(each, Send)
            sent += sum(map(len, each.answer.parts))
    share = max(FLOOR_BYTES_S, SHARE * published / 10)
    assert 0.8 * share <= sent / (now - 10.0 + TURN_S) <= 1.2 * share


def test_several_who_ask_for_the_same_get_it_at_once_on_its_topic() -> None:
    answerer = Kept().answerer()
    for number in range(200):
        answerer.asked(ask((3, 5), token=f"t{number}"))
    effects = answerer.turn(1.0, 0)
    own = [each.token for each in effects if isinstance(each, Send)]
    assert own == ["t0", "t1", "t2"] and repeats(effects) == [3, 4, 5] and len(effects) == 6
    answerer.asked(ask((3, 6), token="late"))
    (sent,) = answerer.turn(1.0 + REPEATED_S / 2, 0)  # the first three are on their way
    assert isinstance(sent, Send) and len(sent.answer.parts) == 1 and not sent.answer.done
    answerer.asked(ask((3, 3), token="later"))
    (sent,) = answerer.turn(1.0 + REPEATED_S, 0)
    assert isinstance(sent, Send) and len(sent.answer.parts) == 1 and sent.answer.done


def test_they_need_not_ask_in_the_same_turn() -> None:
    answerer = Kept().answerer()
    sent = []
    for number in range(10):
        answerer.asked(ask((1, 1), token=f"t{number}"))
        sent.append([type(each) for each in answerer.turn(1.0 + number / 100, 0)])
    assert sent == [[Send]] * (SEVERAL - 1) + [[Repeat]] + [[]] * (10 - SEVERAL)


def test_what_only_some_of_them_ask_for_goes_to_those() -> None:
    kept = Kept()
    answerer = kept.answerer()
    for number in range(SEVERAL):
        answerer.asked(ask((3, 3), (10 + number, 10 + number), token=f"t{number}"))
    effects = answerer.turn(1.0, 0)
    assert repeats(effects) == [3]
    own = {each.token: each.answer.parts[-1] for each in effects if isinstance(each, Send)}
    assert own == {f"t{number}": kept.part(10 + number) for number in range(SEVERAL)}


def test_others_are_no_reason_to_repeat_another_topic() -> None:
    answerer = Kept().answerer()
    for number in range(SEVERAL):
        answerer.asked(ask((1, 1), token=f"t{number}", topic=f"a/{number}"))
    assert repeats(answerer.turn(1.0, 0)) == []


def test_what_waits_is_bounded() -> None:
    answerer = Kept().answerer()
    for number in range(2 * MAX_ASKS):
        answerer.asked(ask((1, 1), topic=f"a/{number}"))
    assert len(answerer._asks) == MAX_ASKS

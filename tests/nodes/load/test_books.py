"""The books of a load test: they balance exactly when every message is accounted for, once and in order."""

from __future__ import annotations

import random

import pytest

from nodes.load.books import Account, Books, Line, between, due_to, judge, words

P, Q = 111, 222


def books(*entries: tuple[str, int, int]) -> Books:
    """Of publisher P on topic t: ("m", number, _) is a message, ("g", first, last) a gap."""
    found = Books((P, Q))
    for kind, first, last in entries:
        assert found.take(P, "t", first) if kind == "m" else found.gap(P, "t", first, last)
    return found


def line(found: Books, published: int, still_busy: bool = False) -> Line:
    (own, _) = judge(0, {"t"}, {P: {"t": published}, Q: {}}, found.accounts(), still_busy)
    return own


def test_all_delivered() -> None:
    found = line(books(("m", 1, 0), ("m", 2, 0), ("m", 3, 0)), 3)
    assert found == Line(0, 0, due=3, delivered=3, lost=0, in_flight=0, missing=0, surplus=0, wrong=0)
    assert found.balances


def test_a_reported_loss_balances() -> None:
    found = books(("m", 1, 0), ("g", 2, 4), ("m", 5, 0), ("g", 6, 9))
    assert (found.delivered, found.lost, found.told) == (2, 7, 9)
    assert line(found, 9).balances and line(found, 9).lost == 7


@pytest.mark.parametrize(
    ("entries", "published", "what", "count"),
    [
        ((("m", 1, 0), ("m", 2, 0)), 3, "missing", 1),  # the last was lost without a word
        ((), 4, "missing", 4),  # nothing came at all
        ((("m", 2, 0), ("m", 3, 0)), 3, "missing", 1),  # the first was
        ((("m", 1, 0), ("m", 3, 0)), 3, "missing", 1),  # one between
        ((("m", 1, 0), ("m", 3, 0)), 3, "wrong", 1),
        ((("m", 1, 0), ("m", 1, 0), ("m", 2, 0)), 2, "surplus", 1),  # twice
        ((("m", 1, 0), ("m", 1, 0), ("m", 2, 0)), 2, "wrong", 1),
        ((("m", 2, 0), ("m", 1, 0)), 2, "wrong", 2),  # out of order
        ((("m", 1, 0), ("m", 2, 0), ("g", 2, 2)), 2, "surplus", 1),  # delivered, and reported lost as well
        ((("m", 1, 0), ("m", 2, 0)), 1, "surplus", 1),  # never published
    ],
)
def test_what_does_not_balance(
    entries: tuple[tuple[str, int, int], ...], published: int, what: str, count: int
) -> None:
    found = line(books(*entries), published)
    assert getattr(found, what) == count and not found.balances


def test_what_is_on_its_way_is_in_flight_only_where_something_was_still_arriving() -> None:
    found = books(("m", 1, 0))
    busy, idle = line(found, 5, still_busy=True), line(found, 5)
    assert (busy.in_flight, busy.missing, busy.balances) == (4, 0, True)
    assert (idle.in_flight, idle.missing, idle.balances) == (0, 4, False)


def test_being_busy_excuses_neither_order_nor_surplus() -> None:
    assert not line(books(("m", 2, 0)), 3, still_busy=True).balances
    assert not line(books(("m", 1, 0), ("m", 2, 0)), 1, still_busy=True).balances


def test_too_few_on_one_topic_and_too_many_on_another_do_not_make_up_for_each_other() -> None:
    found = Books((P,))
    for topic, number in (("a", 1), ("b", 1), ("b", 2)):
        found.take(P, topic, number)
    (own,) = judge(0, {"a", "b"}, {P: {"a": 2, "b": 1}}, found.accounts(), False)
    assert own.delivered == own.due and (own.missing, own.surplus) == (1, 1) and not own.balances


def test_only_what_the_filters_match_is_due_and_anything_else_that_came_is_surplus() -> None:
    found = Books((P,))
    found.take(P, "a", 1)
    published = {P: {"a": 1, "b": 7}}
    (own,) = judge(3, {"a"}, published, found.accounts(), False)
    assert own.due == 1 and own.balances and own.subscriber == 3 and due_to({"a"}, published) == 1
    found.take(P, "b", 1)
    (own,) = judge(3, {"a"}, published, found.accounts(), False)
    assert own.surplus == 1 and not own.balances


def test_strangers_are_not_entered() -> None:
    found = Books((P,))
    assert not found.take(Q, "t", 1) and not found.gap(Q, "t", 1, 2)
    assert found.told == 0 and found.accounts() == {P: {}}


def test_any_cut_of_a_true_history_is_seen() -> None:
    """Take one entry out of what a subscriber was told, whichever: the books no longer balance."""
    chance = random.Random(7)
    history: list[tuple[str, int, int]] = []
    number = 1
    while number < 40:
        last = number + chance.randrange(3)
        history.append(("g", number, last) if chance.random() < 0.3 else ("m", number, 0))
        number = (last if history[-1][0] == "g" else number) + 1
    assert line(books(*history), number - 1).balances
    for at in range(len(history)):
        assert not line(books(*history[:at], *history[at + 1 :]), number - 1).balances, history[at]
        assert not line(books(*history[: at + 1], *history[at:]), number - 1).balances, history[at]


def test_a_page_that_is_turned_counts_what_follows_and_still_knows_the_last_number() -> None:
    found = books(("m", 1, 0), ("g", 2, 3), ("m", 4, 0))
    found.turn()
    assert (found.told, found.accounts()[P]["t"]) == (0, Account(0, 0, 4, 0))
    found.take(P, "t", 5)
    found.gap(P, "t", 6, 8)
    own = line(found, 4)
    assert (own.due, own.delivered, own.lost, own.wrong, own.balances) == (4, 1, 3, 0, True)
    found.take(P, "t", 8)
    assert line(found, 4).wrong == 1


def test_what_was_published_between_two_counts() -> None:
    before = {P: {"a": 2, "b": 5}}
    after = {P: {"a": 7, "b": 5, "c": 1}, Q: {"a": 1}}
    assert between(before, after) == {P: {"a": 5, "c": 1}, Q: {"a": 1}}


def test_words_say_what_is_wrong() -> None:
    said = words(line(books(("m", 1, 0)), 3))
    assert said == (
        "subscriber 0, publisher 0: 3 due, 1 delivered, 0 reported lost, 0 in flight: "
        "2 neither delivered nor reported lost"
    )
    assert "1 twice or out of order" in words(line(books(("m", 2, 0)), 2))
    assert Account(1, 0, 1, 0).delivered == 1

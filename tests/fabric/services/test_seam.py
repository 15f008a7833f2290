"""The seam between history and live: no hole, no double, whatever comes when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fabric.services.seam import Seam
from fabric.wire import Message


def message(number: int, topic: str = "t", publisher: int = 1) -> Message:
    return Message(topic, number, publisher, number, 0)


def everything(topic: str) -> bool:
    return True


def numbers(messages: list[Message]) -> list[int]:
    return [each.number for each in messages]


def test_what_comes_live_waits_until_the_history_reaches_over_it() -> None:
    seam = Seam()
    seam.kept(message(1))
    assert not seam.arrived(message(4)) and not seam.arrived(message(5))
    assert not seam.read_to_end(everything), "2 and 3 are on their way to the keeper"
    for number in (2, 3, 4):
        seam.kept(message(number))
    assert seam.read_to_end(everything)
    assert numbers(seam.release(10)) == [5] and seam.doubles == 1 and seam.is_live
    assert seam.arrived(message(6))


def test_a_double_that_comes_late_is_dropped_when_it_is_live() -> None:
    seam = Seam()
    seam.kept(message(7))
    assert seam.read_to_end(everything) and seam.release(10) == [] and seam.is_live
    assert not seam.arrived(message(7)) and seam.arrived(message(8)) and seam.lasts == {}
    assert seam.arrived(message(1, publisher=2)), "another publisher counts for itself"


def test_what_no_keeper_keeps_is_not_waited_for() -> None:
    seam = Seam()
    seam.arrived(message(3, "other"))
    assert not seam.read_to_end(everything)
    assert seam.read_to_end(lambda topic: topic == "t")
    assert numbers(seam.release(10)) == [3]


def test_numbers_that_are_lost_for_good_count_as_reached() -> None:
    seam = Seam()
    seam.arrived(message(5))
    seam.lost(1, "t", 5)
    assert seam.read_to_end(everything)


def test_more_than_can_be_held_is_let_go_and_read_instead() -> None:
    seam = Seam(max_held=3)
    for number in range(1, 6):
        assert not seam.arrived(message(number))
    assert not seam.read_to_end(everything), "what was let go has to be in the history first"
    assert not seam.arrived(message(6))
    for number in range(1, 5):
        seam.kept(message(number))
    assert not seam.read_to_end(everything), "5 was let go, and is not reached"
    seam.kept(message(5))
    assert seam.read_to_end(everything) and numbers(seam.release(10)) == [6] and seam.is_live


def test_it_is_released_in_steps_and_what_comes_meanwhile_queues_behind() -> None:
    seam = Seam()
    for number in (1, 2, 3):
        seam.arrived(message(number))
    assert numbers(seam.release(2)) == [1, 2] and not seam.is_live
    assert not seam.arrived(message(4))
    assert numbers(seam.release(2)) == [3, 4] and seam.is_live


@given(st.data())
def test_every_message_comes_once_and_in_order(data: st.DataObject) -> None:
    """Three streams of one publisher; the keeper gets each message, and the subscriber those after a random one."""
    seam = Seam(max_held=data.draw(st.integers(1, 6)))
    topics = ("a", "b", "c")
    sent = {topic: data.draw(st.integers(0, 12)) for topic in topics}
    missed = {topic: data.draw(st.integers(0, sent[topic])) for topic in topics}
    read = dict.fromkeys(topics, 0)
    live = dict(missed)
    got: dict[str, list[int]] = {topic: [] for topic in topics}

    def take(each: Message) -> None:
        got[each.topic].append(each.number)

    def arrive(topic: str) -> None:
        if live[topic] < sent[topic]:
            live[topic] += 1
            each = message(live[topic], topic)
            if seam.arrived(each):
                take(each)

    for _ in range(100):
        for topic in data.draw(st.lists(st.sampled_from(topics), max_size=8)):
            arrive(topic)
        upto = {topic: data.draw(st.integers(max(read[topic], live[topic] - 1, 0), sent[topic])) for topic in topics}
        for topic in topics:
            while read[topic] < max(upto[topic], missed[topic]):
                read[topic] += 1
                each = message(read[topic], topic)
                seam.kept(each)
                take(each)
        if seam.read_to_end(everything):
            break
    while not seam.is_live:
        for each in seam.release(data.draw(st.integers(1, 3))):
            take(each)
    for topic in topics:
        while live[topic] < sent[topic]:
            arrive(topic)
    assert got == {topic: list(range(1, sent[topic] + 1)) for topic in topics}

"""A keeper's store, on both databases: what is written once, by whomever, and what is known of it."""

from __future__ import annotations

import threading

from fabric.protocol.histories import Hole, Question
from nodes.keep.store import KeepStore, Last, Totals, size_of
from tests.support.kept import kept, read_all

pytest_plugins = ("tests.support.keeping",)

BIG = 2**64 - 1


def test_what_is_written_twice_is_there_once(kept_store: KeepStore) -> None:
    batch = [kept("a/b", 1), kept("a/b", 2), kept("a/b", 2), kept("a/c", 1), kept("a/b", 2, publisher=BIG)]
    assert kept_store.write(batch, [], 1) == 4
    assert kept_store.write(batch[1:], [], 2) == 0
    assert kept_store.write([kept("a/b", 3)], [], 3) == 1
    found, _, _ = read_all(kept_store, Question("a/#"))
    assert found == [("a/b", 1), ("a/b", 2), ("a/c", 1), ("a/b", 2), ("a/b", 3)]
    assert kept_store.totals() == Totals(5, sum(map(size_of, [*batch[:2], *batch[3:], kept("a/b", 3)])))


def test_the_last_numbers_are_known_newest_first(kept_store: KeepStore) -> None:
    kept_store.write([kept("a", 1), kept("a", 3), kept("b", 9, publisher=BIG)], [], 10)
    kept_store.write([kept("a", 2)], [], 20)
    assert set(kept_store.lasts(0, 10)) == {Last("a", 1, 3), Last("b", BIG, 9)}
    kept_store.write([kept("a", 4)], [], 30)
    assert kept_store.lasts(0, 1) == kept_store.lasts(11, 10) == [Last("a", 1, 4)]


def test_topics_are_told_apart_however_long_they_are(kept_store: KeepStore) -> None:
    """An index holds less than the longest topic."""
    long = "x" * 30_000
    topics = [f"{long}/a", f"{long}/b", "x", "é/ü"]
    kept_store.write([kept(topic, 1) for topic in topics], [], 1)
    assert [topic for topic, _ in read_all(kept_store, Question("#"))[0]] == topics
    assert read_all(kept_store, Question(f"{long}/b"))[0] == [(topics[1], 1)]


def test_a_second_keeper_of_the_store_finds_what_the_first_one_wrote(kept_store: KeepStore, database: str) -> None:
    other = KeepStore(database)
    assert other.id == kept_store.id
    batches = [[kept(f"t/{number % 3}", number) for number in range(first, first + 50)] for first in range(0, 500, 50)]
    threads = [
        threading.Thread(target=lambda store=store: [store.write(batch, [], 1) for batch in batches])
        for store in (kept_store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept_store.totals().messages == 500 == len(set(read_all(other, Question("t/#"))[0]))
    other.close()


def test_holes_are_written_with_the_messages(kept_store: KeepStore) -> None:
    hole = Hole("a", BIG, 2, 4, "too old")
    kept_store.write([kept("a", 1, publisher=BIG), kept("a", 5, publisher=BIG)], [hole], 1)
    kept_store.write([], [Hole("never/seen", 1, 1, 1, "too slow")], 2)
    kept_store.write([kept("a", 6, publisher=BIG)], [], 3)
    assert read_all(kept_store, Question("a"))[1] == [hole]
    assert read_all(kept_store, Question("#"))[1] == [hole, Hole("never/seen", 1, 1, 1, "too slow")]

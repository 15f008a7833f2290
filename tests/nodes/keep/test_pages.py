"""Pages of a history, on both databases: what matches, in order, from where, and how much at once."""

from __future__ import annotations

import pytest

from fabric.errors import ServiceError
from fabric.protocol.histories import PAGE_BYTES, Hole, Question
from nodes.keep import pages
from nodes.keep.pages import FEW_TOPICS, Pages
from nodes.keep.store import KeepStore
from tests.support.kept import SECOND, kept, read_all

pytest_plugins = ("tests.support.keeping",)


def numbered(topic: str, first: int, last: int) -> list[tuple[str, int]]:
    return [(topic, number) for number in range(first, last + 1)]


def fill(store: KeepStore, topics: int, each: int) -> list[tuple[str, int]]:
    """Write `each` messages on `topics` topics, in turn; return them."""
    all_of_them = [(f"t/{topic}", number) for number in range(1, each + 1) for topic in range(topics)]
    store.write([kept(topic, number) for topic, number in all_of_them], [], 1)
    return all_of_them


@pytest.mark.parametrize("topics", [3, FEW_TOPICS + 10])
def test_all_that_matches_comes_once_in_the_order_it_was_written(kept_store: KeepStore, topics: int) -> None:
    written = fill(kept_store, topics, 20)
    kept_store.write([kept("other", 1), kept("t", 1), kept("tt/1", 1), kept("$t/0", 1)], [], 2)
    found, _, count = read_all(kept_store, Question("t/+", limit=50))
    assert found == written and count == -(-len(written) // 50)
    assert read_all(kept_store, Question("t/#"))[0] == [*written, ("t", 1)]
    assert [topic for topic, _ in read_all(kept_store, Question("#"))[0][-3:]] == ["other", "t", "tt/1"]
    assert read_all(kept_store, Question("$t/+"))[0] == [("$t/0", 1)]
    assert read_all(kept_store, Question("nothing/#"))[0] == []


def test_a_page_of_many_topics_goes_through_so_many_rows_at_most(
    kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "SCAN_ROWS", 100)
    monkeypatch.setattr(pages, "STEP_ROWS", 50)
    monkeypatch.setattr(pages, "FEW_TOPICS", 1)
    fill(kept_store, 50, 10)
    kept_store.write([kept("rare/1", 1), kept("rare/2", 1)], [], 2)
    found, _, count = read_all(kept_store, Question("rare/+"))
    assert found == [("rare/1", 1), ("rare/2", 1)] and count == 6


def test_a_page_of_few_topics_that_are_rare_is_read_by_their_indexes(
    kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "STEP_ROWS", 50)
    monkeypatch.setattr(pages, "TRIED_ROWS", 100)
    fill(kept_store, 50, 10)
    rare = [(f"rare/{number % 2}", number) for number in range(1, 8)]
    kept_store.write([kept(topic, number) for topic, number in rare], [], 2)
    fill(kept_store, 60, 10)
    found, _, count = read_all(kept_store, Question("rare/+", limit=3))
    assert found == rare and count <= 4


def test_a_page_has_a_bound_in_bytes_and_one_message_always_fits(kept_store: KeepStore) -> None:
    half, more = b"x" * (PAGE_BYTES // 2 - 200), b"x" * (PAGE_BYTES + 1)
    sizes = [half, half, half, more, b"", half]
    kept_store.write([kept("t", number, payload) for number, payload in enumerate(sizes, 1)], [], 1)
    found, _, count = read_all(kept_store, Question("t"))
    assert found == numbered("t", 1, 6) and count == 4


@pytest.mark.parametrize("topics", [2, FEW_TOPICS + 1])
def test_the_last_ones_of_each_topic(kept_store: KeepStore, topics: int) -> None:
    fill(kept_store, topics, 9)
    found, _, _ = read_all(kept_store, Question("t/#", last=3, limit=7))
    assert sorted(found) == sorted((f"t/{topic}", number) for topic in range(topics) for number in (7, 8, 9))


def test_the_last_ones_are_those_of_the_first_question(kept_store: KeepStore) -> None:
    """What is written while somebody reads comes, too, and takes nothing away."""
    fill(kept_store, 1, 10)
    reader = Pages(kept_store)
    first, _, after, done = reader.page(Question("t/0", last=6, limit=2), 0)
    assert [each.number for each in first] == [5, 6] and not done
    kept_store.write([kept("t/0", number) for number in range(11, 31)], [], 2)
    rest, _, _, done = Pages(kept_store).page(Question("t/0", last=6, limit=100, after=after), 0)
    assert [each.number for each in rest] == list(range(7, 31)) and done


def test_only_what_was_written_within_a_time(kept_store: KeepStore) -> None:
    for second in range(10):
        kept_store.write([kept("t", second + 1)], [], second * SECOND)
    now = 9 * SECOND
    assert read_all(kept_store, Question("t", age_ns=4 * SECOND), now)[0] == numbered("t", 6, 10)
    assert read_all(kept_store, Question("t", age_ns=100 * SECOND), now)[0] == numbered("t", 1, 10)
    assert read_all(kept_store, Question("t", age_ns=1), now + SECOND)[0] == []


def test_what_is_written_after_the_end_comes_with_the_next_question(kept_store: KeepStore) -> None:
    reader = Pages(kept_store)
    _, _, after, done = reader.page(Question("#"), 0)
    assert done
    kept_store.write([kept("new", 1)], [], 1)
    found, _, after, done = reader.page(Question("#", after=after), 0)
    assert [each.topic for each in found] == ["new"] and done
    assert reader.page(Question("#", after=after), 0)[0] == []


def test_a_cursor_of_another_store_is_refused(kept_store: KeepStore) -> None:
    with pytest.raises(ServiceError, match="this keeper has another store"):
        Pages(kept_store).page(Question("#", after=("f" * 32, 1, 1)), 0)


def test_holes_come_with_the_page_they_belong_to_less_what_another_keeper_has(kept_store: KeepStore) -> None:
    kept_store.write([kept("t", 1), kept("t", 9)], [Hole("t", 1, 2, 8, "too old")], 1)
    kept_store.write([kept("u", 1)], [], 2)
    reader = Pages(kept_store)
    messages, holes, after, _ = reader.page(Question("#", limit=1), 0)
    assert len(messages) == 1 and not holes
    _, holes, after, _ = reader.page(Question("#", limit=1, after=after), 0)
    assert holes == [Hole("t", 1, 2, 8, "too old")]
    assert reader.page(Question("#", limit=1, after=after), 0)[1] == []
    kept_store.write([kept("t", number) for number in (2, 5, 6)], [], 3)
    assert read_all(kept_store, Question("t"))[1] == [Hole("t", 1, 3, 4, "too old"), Hole("t", 1, 7, 8, "too old")]
    kept_store.write([kept("t", number) for number in (3, 4, 7, 8)], [], 3)
    assert read_all(kept_store, Question("t"))[1] == []


def test_a_page_has_so_many_holes_at_most(kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_HOLES", 5)
    holes = [Hole("t", 1, number, number, "lost") for number in range(2, 40, 2)]
    for hole in holes:
        kept_store.write([kept("t", hole.first - 1)], [hole], 1)
    more = [Hole("u", 1, number, number, "lost") for number in range(1, 12)]
    kept_store.write([kept("t", 41)], more, 1)
    found, told, count = read_all(kept_store, Question("#"))
    assert found == [("t", number) for number in range(1, 43, 2) if number != 39] and told == [*holes, *more]
    assert count > 3


def test_a_hole_that_is_nearly_filled_is_told_right(kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "THERE_ROWS", 3)
    there = [kept("t", number) for number in range(1, 21) if number not in (7, 13, 20)]
    kept_store.write(there, [Hole("t", 1, 1, 20, "lost")], 1)
    assert [hole.first for hole in read_all(kept_store, Question("t"))[1]] == [7, 13, 20]


def test_a_hole_at_the_end_comes_with_what_follows(kept_store: KeepStore) -> None:
    kept_store.write([kept("t", 1)], [], 1)
    reader = Pages(kept_store)
    _, _, after, _ = reader.page(Question("t"), 0)
    kept_store.write([], [Hole("t", 1, 2, 3, "too slow")], 2)
    kept_store.write([kept("t", 4)], [], 3)
    messages, holes, _, _ = reader.page(Question("t", after=after), 0)
    assert [each.number for each in messages] == [4] and holes == [Hole("t", 1, 2, 3, "too slow")]

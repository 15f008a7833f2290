"""What a keeper keeps no longer goes, oldest first, step by step; on both databases."""

from __future__ import annotations

import pytest

from fabric.protocol.histories import Hole, Question
from nodes.keep import retention
from nodes.keep.retention import LASTS_S, Retention, Sweeper
from nodes.keep.store import KeepStore, Totals, size_of
from tests.support.kept import SECOND, kept, read_all

pytest_plugins = ("tests.support.keeping",)


def swept(store: KeepStore, wanted: Retention, now_ns: int = 0) -> Sweeper:
    sweeper = Sweeper(store, wanted)
    while sweeper.sweep(now_ns):
        pass
    return sweeper


def left(store: KeepStore) -> list[tuple[str, int]]:
    return read_all(store, Question("#"))[0]


def test_all_is_kept_for_ever_by_default(kept_store: KeepStore) -> None:
    kept_store.write([kept("t", 1)], [], 0)
    assert swept(kept_store, Retention(), 10**18).deleted == 0 and left(kept_store) == [("t", 1)]


@pytest.mark.parametrize("step", [7, 5_000])
def test_the_last_ones_of_each_topic(kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", step)
    kept_store.write([kept(f"t/{number % 2}", number) for number in range(1, 41)], [], 0)
    kept_store.write([kept("few", 1)], [], 0)
    sweeper = swept(kept_store, Retention(last=3))
    assert left(kept_store) == [*((f"t/{number % 2}", number) for number in range(35, 41)), ("few", 1)]
    assert sweeper.deleted == 34
    kept_store.write([kept("few", number) for number in (2, 3, 4)], [], 0)
    while sweeper.sweep(0):
        pass
    assert sweeper.deleted == 35 and ("few", 1) not in left(kept_store)


@pytest.mark.parametrize("step", [3, 5_000])
def test_so_long(kept_store: KeepStore, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(retention, "STEP_ROWS", step)
    for second in range(20):
        kept_store.write([kept("t", second + 1)], [Hole("t", 2, second + 1, second + 1, "lost")], second * SECOND)
    swept(kept_store, Retention(for_s=5.0), 20 * SECOND)
    assert left(kept_store) == [("t", number) for number in range(16, 21)]
    assert [hole.first for hole in read_all(kept_store, Question("t"))[1]] == [16, 17, 18, 19, 20]
    swept(kept_store, Retention(for_s=5.0), 100 * SECOND)
    assert left(kept_store) == [] and kept_store.totals() == Totals(0, 0)


def test_so_many_bytes(kept_store: KeepStore) -> None:
    batch = [kept("t", number, b"x" * 100 * number) for number in range(1, 51)]
    kept_store.write(batch, [], 0)
    swept(kept_store, Retention(max_bytes=30_000))
    assert kept_store.totals().bytes <= 30_000
    numbers = [number for _, number in left(kept_store)]
    assert numbers == list(range(numbers[0], 51)), "the oldest went"
    assert kept_store.totals().bytes == sum(size_of(each) for each in batch[numbers[0] - 1 :])
    assert kept_store.totals().bytes + size_of(batch[numbers[0] - 2]) > 30_000, "not one more than had to"


def test_an_id_is_never_given_again(kept_store: KeepStore) -> None:
    """A reader goes on behind an id: one that came again would hide what has it now."""
    from nodes.keep.pages import Pages

    kept_store.write([kept("t", number) for number in range(1, 6)], [], 0)
    _, _, after, _ = Pages(kept_store).page(Question("t"), 0)
    swept(kept_store, Retention(for_s=1.0), 100 * SECOND)
    kept_store.write([kept("t", 6)], [], 100 * SECOND)
    found, _, _, _ = Pages(kept_store).page(Question("t", after=after), 0)
    assert [each.number for each in found] == [6]


def test_last_numbers_outlive_what_is_kept_but_not_for_ever(kept_store: KeepStore) -> None:
    kept_store.write([kept("t", 7)], [], 0)
    swept(kept_store, Retention(for_s=1.0), 100 * SECOND)
    assert [each.number for each in kept_store.lasts(0, 10)] == [7]
    swept(kept_store, Retention(for_s=1.0), int(LASTS_S + 1) * SECOND)
    assert kept_store.lasts(0, 10) == []

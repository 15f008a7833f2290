"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest

from nodes.load.search import MAX_ROUNDS, PRECISION, Search


def run(first: float, limit: float) -> tuple[Search, list[float]]:
    search, tried = Search(first), []
    while (rate := search.rate) is not None:
        tried.append(rate)
        search.tell(held=rate <= limit)
    return search, tried


@pytest.mark.parametrize("first", [10.0, 1_000.0, 64_000.0])
@pytest.mark.parametrize("limit", [17.0, 1_234.0, 100_000.0])
def test_it_finds_the_limit_from_below_and_from_above(first: float, limit: float) -> None:
    search, tried = run(first, limit)
    assert search.best is not None and limit / PRECISION < search.best <= limit
    assert len(tried) == len(set(tried)) <= MAX_ROUNDS


def test_it_doubles_first() -> None:
    assert run(100, 750)[1][:4] == [100, 200, 400, 800]


def test_nothing_holds() -> None:
    search, tried = run(8, 0.1)
    assert search.best is None and tried == [8, 4, 2, 1]


def test_it_ends_where_everything_holds() -> None:
    search, tried = run(1, float("inf"))
    assert len(tried) == MAX_ROUNDS and search.best == tried[-1]

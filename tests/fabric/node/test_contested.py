"""What looks like duplicates: a burst of old parts stays one, a stream that goes on is heard again."""

from __future__ import annotations

import pytest

from fabric.node.contested import MAX_RUNS, TRUE_AFTER_PARTS, TRUE_AFTER_S, Contested

P = 7
S = 1_000_000_000


def follow(contested: Contested, *came: tuple[int, float, float], top: int = 1_000) -> list[int | None]:
    """Give (number, when sent, when it came)."""
    return [contested.came_again("a", P, number, top, int(sent * S), now) for number, sent, now in came]


def test_a_stream_that_goes_on_below_a_last_number_that_stands_still_is_the_true_one() -> None:
    contested = Contested()
    seconds = range(int(TRUE_AFTER_S) + 1)
    assert follow(contested, *((11 + n, 500 + n, n) for n in seconds)) == [None] * int(TRUE_AFTER_S) + [11]
    assert len(contested) == 0


def test_it_may_lose_parts_and_be_slow() -> None:
    assert follow(Contested(), (11, 0, 0), (19, 60, 60), (20, 120, 120)) == [None, None, 11]


def test_it_takes_some_parts() -> None:
    came = [(11 + n, 100.0 * n, 100.0 * n) for n in range(TRUE_AFTER_PARTS)]
    assert follow(Contested(), *came[:-1]) == [None] * (TRUE_AFTER_PARTS - 1)


@pytest.mark.parametrize("pace", ["sent", "came"])
def test_a_burst_of_old_parts_is_a_burst_however_long_it_takes(pace: str) -> None:
    """Sent long ago within a second, and let through slowly; or sent over a minute, and let through at once."""
    contested = Contested()
    for n in range(1_000):
        slow, fast = n * 0.1, n * 0.001
        sent, came = (slow, fast) if pace == "sent" else (fast, slow)
        assert follow(contested, (n, sent, came)) == [None]


def test_the_same_burst_once_more_begins_at_its_beginning() -> None:
    contested = Contested()
    for again in range(10):
        assert set(follow(contested, *((n, n * 0.01, again * 5 + n * 0.001) for n in range(1, 500)))) == {None}


def test_what_comes_live_by_two_ways_raises_the_last_number_with_it() -> None:
    contested = Contested()
    for n in range(100):
        assert contested.came_again("a", P, n, n + 5, n * S, n) is None


def test_publishers_and_topics_are_followed_apart_and_bounded() -> None:
    contested = Contested()
    for n in range(MAX_RUNS + 10):
        assert contested.came_again(f"t{n}", P, 1, 9, 0, 0.0) is None
        assert contested.came_again("a", n, 1, 9, 0, 0.0) is None
    assert len(contested) == MAX_RUNS

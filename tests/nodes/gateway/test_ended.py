"""What has ended: kept until it would be over anyway, bounded, and told as names that open nothing."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.gateway.ended import MOST_CHARS, MOST_S, Ended, cookie_name, session_name, token_name


def test_a_name_is_kept_until_then_and_once() -> None:
    ended = Ended()
    assert ended.add("a", 10.0, 5.0) and not ended.add("a", 12.0, 5.0)
    assert "a" in ended and "b" not in ended and None not in ended and len(ended) == 1
    ended.forget(9.9)
    assert "a" in ended
    ended.forget(10.0)
    assert "a" not in ended


def test_of_too_many_the_oldest_goes_and_the_newest_are_told_first() -> None:
    ended = Ended(3)
    for name in "abcde":
        ended.add(name, 10.0, 0.0)
    assert [name for name in "abcde" if name in ended] == ["c", "d", "e"]
    assert list(ended.newest(2)) == [("e", 10.0), ("d", 10.0)]


@pytest.mark.parametrize(
    ("name", "until"),
    [(None, 10.0), (7, 10.0), (["a"], 10.0), ("a" * (MOST_CHARS + 1), 10.0), ("a", "10"), ("a", None), ("a", 5.0),
     ("a", 5.1 + MOST_S), ("a", float("nan")), ("a", float("inf"))],
)  # fmt: skip
def test_what_others_say_is_judged(name: Any, until: Any) -> None:
    ended = Ended()
    assert not ended.add(name, until, 5.0) and len(ended) == 0


def test_names_tell_no_session() -> None:
    assert cookie_name("n") == "cookie n" and session_name("s" * 22) != session_name("t" * 22)
    assert "s" * 22 not in session_name("s" * 22) and len(session_name("s" * 64)) <= MOST_CHARS
    assert token_name("s" * 22, 1) != token_name("s" * 22, 2) and len(token_name("s" * 64, 2**53)) <= MOST_CHARS

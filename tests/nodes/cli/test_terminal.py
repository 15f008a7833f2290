"""Keys in a terminal: a pseudo terminal in the place of stdin."""

from __future__ import annotations

import os
import pty
import sys
import termios
import time
from collections.abc import Iterator

import pytest

from nodes.cli.terminal import keys


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Our end, and the end that is stdin."""
    ours, theirs = pty.openpty()
    with os.fdopen(os.dup(theirs)) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_keys_come_one_at_a_time_in_their_order_and_others_are_passed_over(terminal: tuple[int, int]) -> None:
    with keys() as pressed:
        os.write(terminal[0], b"xsry\xff")
        assert [pressed("rs", 5.0), pressed("rs", 5.0), pressed("rs", 0.01)] == ["s", "r", ""]
        os.write(terminal[0], b"q")
        assert pressed("q", 5.0) == "q"


def test_the_terminal_is_as_it_was_also_after_an_error(terminal: tuple[int, int]) -> None:
    before = termios.tcgetattr(terminal[1])
    with pytest.raises(KeyError), keys():
        assert termios.tcgetattr(terminal[1]) != before
        raise KeyError
    assert termios.tcgetattr(terminal[1]) == before


def test_without_a_terminal_it_waits_and_nothing_is_pressed(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with keys() as pressed:
            start = time.monotonic()
            assert pressed("q", 0.05) == "" and pressed("q", -1.0) == ""
            assert 0.05 <= time.monotonic() - start < 5.0

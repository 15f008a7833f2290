"""What the switch and its control thread say to each other: failures are read back; kinds and places are distinct."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.core import steering
from fabric.core.steering import Place, read_failure


@given(st.sampled_from("BCD"), st.sampled_from(list(Place)), st.integers(0, 2**32 - 1), st.text(max_size=50))
def test_a_failure_is_read_as_it_was_written(letter: str, place: Place, number: int, endpoint: str) -> None:
    text = endpoint.encode(errors="replace")
    found = read_failure(steering.failure(letter.encode(), place, number, text))
    assert found == (letter, place, number, text.decode())


@pytest.mark.parametrize(("letter", "words"), [("B", "listen at"), ("C", "connect to"), ("D", "disconnect from")])
def test_a_failure_in_words(letter: str, words: str) -> None:
    found = steering.Failure(letter, Place.RELAY, errno.EADDRINUSE, "tcp://x:1")
    assert str(found) == f"cannot {words} tcp://x:1: Address already in use"


def test_every_command_begins_with_a_letter_of_its_own() -> None:
    said = [
        steering.send(Place.OUT, b"x"),
        steering.say(b"x"),
        steering.answer_with(Place.LINK, b"head", b"tail"),
        steering.bind(Place.PULL, "tcp://x:1"),
        steering.connect(Place.RELAY, "tcp://x:1"),
        steering.disconnect(Place.RELAY, "tcp://x:1"),
        steering.echo(b"x"),
        steering.END,
    ]
    assert len({each[:1] for each in said}) == len(said)

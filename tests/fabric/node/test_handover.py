"""Handover: the states of a move, with connections that only write down what they were given."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any, cast

import pytest

from fabric.node.handover import COVER_TIMEOUT_S, FLUSH_TIMEOUT_S, Handover
from fabric.protocol.markers import Answer
from fabric.protocol.views import Record, View

LEGS = ("out", "relay")
"""Where the own proxy answers."""


class Link:
    """In the place of a `Downlink`."""

    def __init__(self) -> None:
        self.nonces: list[bytes] = []
        self.prefixes: list[bytes] = []
        self.base = ""
        self.closed = False

    def change(self, subscribe: Iterable[bytes], cancel: Iterable[bytes]) -> None:
        self.prefixes += subscribe

    def attach(self, base: str) -> None:
        assert self.prefixes, "a new connection begins with all that is held"
        self.base = base

    def mark(self, nonce: bytes, claims: Iterable[bytes] = ()) -> None:
        self.nonces.append(nonce)

    def close(self) -> None:
        self.closed = True


class Move:
    def __init__(self) -> None:
        serial = count(1)
        self.old, self.new = Link(), Link()
        self.handover = Handover(
            "ipc://p2",
            cast("Any", self.old),
            cast("Any", self.new),
            [b"a/", b"b\0"],
            lambda size: next(serial).to_bytes(size, "big"),
            0.0,
        )

    def answer(self, nonce: bytes, name: str, *, by_new: bool, now: float, state: str = "member") -> None:
        view = View(Record(name, "run1", f"ipc://{name}"), state, ())
        for leg in LEGS:
            self.handover.answered(Answer(nonce, leg, view), by_new=by_new, now=now)


@pytest.fixture
def move() -> Move:
    return Move()


def test_it_begins_with_all_that_is_held_and_a_marker_at_the_new_proxy(move: Move) -> None:
    assert (move.new.prefixes, move.new.base, len(move.new.nonces)) == ([b"a/", b"b\0"], "ipc://p2", 1)
    assert move.handover.state == "covering" and not move.old.nonces


def test_covered_it_flushes_the_old_way_and_then_is_done(move: Move) -> None:
    move.answer(move.new.nonces[0], "p2", by_new=True, now=0.1)
    assert move.handover.state == "flushing" and len(move.old.nonces) == 1
    move.answer(move.old.nonces[0], "p1", by_new=False, now=0.2)
    assert move.handover.state == "flushed" and not move.new.closed


def test_a_flush_that_is_not_answered_ends_by_itself(move: Move) -> None:
    move.answer(move.new.nonces[0], "p2", by_new=True, now=0.1)
    move.handover.tick(0.2)
    assert move.handover.state == "flushing"
    move.handover.tick(0.2 + FLUSH_TIMEOUT_S)
    assert move.handover.state == "flushed"


def test_markers_are_repeated_until_the_new_proxy_covers_all(move: Move) -> None:
    move.handover.tick(2.0)
    assert len(move.new.nonces) == 2 and not move.old.nonces
    move.answer(move.new.nonces[1], "p2", by_new=True, now=2.1)
    assert move.handover.state == "flushing"


def test_what_does_not_belong_to_the_state_changes_nothing(move: Move) -> None:
    first = move.new.nonces[0]
    move.answer(first, "p1", by_new=False, now=0.1)
    move.answer(b"unknown!", "p2", by_new=True, now=0.1)
    move.answer(first, "p2", by_new=True, now=0.1, state="joining")
    assert move.handover.state == "covering" and not move.old.nonces
    move.answer(first, "p2", by_new=True, now=0.2)
    move.answer(first, "p2", by_new=True, now=0.3)
    assert move.handover.state == "flushing" and len(move.old.nonces) == 1


def test_a_new_proxy_that_never_covers_all_is_not_taken(move: Move) -> None:
    move.handover.tick(COVER_TIMEOUT_S + 1)
    assert move.handover.state == "covering"
    move.handover.abandon()
    assert move.new.closed and not move.old.closed

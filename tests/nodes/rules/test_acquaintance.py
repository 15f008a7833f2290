"""Whom a page host takes for its frame nodes: the first that answers, for as long as anything proven comes of them."""

from __future__ import annotations

from typing import Any

import pytest

from nodes.rules.acquaintance import KEEP_S, Acquaintance, meeting
from nodes.rules.agreement import agreed, public_of, sealed
from nodes.rules.proofs import key_of

TRUE, FORGED = b"t" * 32, b"f" * 32
KEY = key_of("page")


def answer(private: bytes, host: Acquaintance) -> dict[str, object]:
    key = agreed(private, host.public)
    assert key is not None
    return meeting(key, public_of(private), host.public)


def key_at(private: bytes, host: Acquaintance) -> str:
    """What a frame node of this private part takes for the page's key."""
    told = host.handed_over(KEY, "once")
    key = agreed(private, host.public)
    assert key is not None and told["host"] == host.public
    return sealed(key, str(told["sealed"]), "once")


def test_a_key_that_is_handed_over_reaches_whom_was_met_and_nobody_else() -> None:
    host = Acquaintance(b"h" * 32)
    assert not host.is_made and host.is_stale(0.0)
    assert host.met(answer(TRUE, host), 100.0) and host.is_made
    assert key_at(TRUE, host) == KEY != key_at(FORGED, host)


def test_nobody_takes_their_place_while_they_are_heard() -> None:
    host = Acquaintance(b"h" * 32)
    assert host.met(answer(TRUE, host), 100.0)
    assert not host.met(answer(FORGED, host), 100.0 + KEEP_S) and key_at(TRUE, host) == KEY
    for moment in (120.0, 110.0):
        host.heard(moment)
    assert not host.is_stale(120.0 + KEEP_S) and host.is_stale(121.0 + KEEP_S)
    assert host.met(answer(FORGED, host), 121.0 + KEEP_S) and key_at(FORGED, host) == KEY, "as when the store was lost"


@pytest.mark.parametrize(
    "changes",
    [{"proof": "0" * 32}, {"proof": None}, {"public": public_of(FORGED)}, {"public": bytes(256)}, {"public": "x"}],
)
def test_an_answer_that_does_not_hold_is_none(changes: dict[str, Any]) -> None:
    host = Acquaintance(b"h" * 32)
    assert not host.met({**answer(TRUE, host), **changes}, 0.0) and not host.is_made
    junks: list[object] = [None, 5, [], {}, "x"]
    for junk in junks:
        assert not host.met(junk, 0.0)

"""A peer: to whom it gives way, and when its address is tried."""

from __future__ import annotations

import pytest

from fabric.protocol.views import Record
from fabric.proxy.peer import HOLD_S, LONGEST_PAUSE_S, TRY_S, TRY_VOUCHED_S, Peer, Proof

OLD = Record("p2", "run2", "ipc://p2")
AGAIN = Record("p2", "run9", "ipc://p2")
RENAMED = Record("p9", "run9", "ipc://p2")
MOVED = Record("p2", "run9", "ipc://p9")


def peer(*, linked: bool = False, proven: bool = False, dead: bool = False) -> Peer:
    found = Peer.new(OLD, 0.0, vouched=False)
    found.linked, found.proven, found.dead = linked, proven or linked, dead
    return found


@pytest.mark.parametrize("proof", Proof)
@pytest.mark.parametrize("record", [AGAIN, RENAMED, MOVED])
def test_the_dead_give_way_to_all_and_the_living_keep_their_name(record: Record, proof: Proof) -> None:
    assert peer(dead=True).gives_way(record, 0.0, proof)
    if record is MOVED:
        assert not peer().gives_way(record, 1e9, proof)


@pytest.mark.parametrize("record", [AGAIN, RENAMED])
def test_what_others_say_ends_nobody_who_lives(record: Record) -> None:
    for proof in (Proof.RUMOUR, Proof.HEARSAY):
        assert not peer().gives_way(record, 1e9, proof) and not peer(proven=True).gives_way(record, 1e9, proof)


def test_an_answer_from_its_address_does() -> None:
    assert peer(linked=True).gives_way(AGAIN, 0.0, Proof.ANSWER)
    assert peer().gives_way(RENAMED, 0.0, Proof.ANSWER)
    assert not peer(linked=True).gives_way(RENAMED, 0.0, Proof.ANSWER), "the name as well stays with who answers"


@pytest.mark.parametrize("record", [AGAIN, RENAMED])
def test_a_word_does_where_the_link_broke_or_none_ever_was(record: Record) -> None:
    assert not peer(linked=True).gives_way(record, 1e9, Proof.WORD)
    assert peer(proven=True).gives_way(record, 0.0, Proof.WORD), "it starts again"
    assert not peer().gives_way(record, HOLD_S - 0.1, Proof.WORD), "it has time to answer"
    assert peer().gives_way(record, HOLD_S, Proof.WORD)


def test_a_stranger_is_who_nobody_else_speaks_for() -> None:
    assert peer().is_stranger and not peer(proven=True).is_stranger
    assert not Peer.new(OLD, 0.0, vouched=True).is_stranger


@pytest.mark.parametrize(("vouched", "first_s"), [(False, TRY_S), (True, TRY_VOUCHED_S)])
def test_its_address_is_tried_less_and_less(vouched: bool, first_s: float) -> None:
    found, now, turns = Peer.new(OLD, 0.0, vouched=vouched), 0.0, []
    for _ in range(8):
        assert found.take_turn(found.turn_at - 0.01) is None
        turns.append((found.turn_at - now, found.connected))
        now = found.turn_at
        assert found.take_turn(now) == found.connected
    assert [passed for passed, connected in turns if connected] == [first_s] * 4
    assert [passed for passed, connected in turns if not connected] == [3.0, 6.0, 12.0, LONGEST_PAUSE_S]

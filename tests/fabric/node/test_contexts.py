"""Contexts that nodes share: how many share one, when one ends, and none after a fork."""

from __future__ import annotations

import os

from fabric.node.contexts import NODES_A_CONTEXT, Contexts, of_this_process


def test_so_many_share_one_and_the_next_gets_another() -> None:
    contexts = Contexts()
    leased = [contexts.lease() for _ in range(NODES_A_CONTEXT + 1)]
    assert len(set(map(id, leased[:-1]))) == 1 and leased[-1] is not leased[0]
    contexts.give_back(leased[0])
    assert contexts.lease() is leased[0], "there is room again"
    for each in leased:
        assert not each.closed
        contexts.give_back(each)
    assert leased[0].closed and leased[-1].closed, "the last one ends it"
    again = contexts.lease()
    assert again is not leased[0] and not again.closed
    contexts.give_back(again)


def test_a_forked_child_has_its_own() -> None:
    contexts = of_this_process()
    held = contexts.lease()
    child = os.fork()
    if child == 0:
        fresh = of_this_process()
        new = fresh.lease()
        new.term()
        os._exit(0 if fresh is not contexts and new is not held else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    contexts.give_back(held)

"""Whom a change concerns: the newest version of each page, every agent that it concerned, and what to look at next."""

from __future__ import annotations

import itertools

from nodes.frame_node.touched import Touched
from nodes.store.records import Change, new_page

PAGE = new_page("s1", "home", 30.0, 0.0)


def noted(*changes: Change) -> Touched:
    touched = Touched()
    for change in changes:
        touched.change(change)
    return touched


def test_the_newest_version_is_told_to_all_it_concerned_in_whatever_order() -> None:
    versions = [PAGE._replace(version=1, agent="ann"), PAGE._replace(version=2, chat_agent="bob")]
    versions.append(PAGE._replace(version=3))
    for order in itertools.permutations(versions):
        touched = Touched()
        for page in order:
            touched.page(page)
        assert touched.pages == {"s1": versions[2]} and touched.agents == {"s1": {"ann", "bob"}}
        whole = Touched()
        for page in order:
            part = Touched()
            part.page(page, also=["eve"])
            whole.merge(part)
        assert whole.pages == {"s1": versions[2]} and whole.agents == {"s1": {"ann", "bob", "eve"}}


def test_an_agent_that_is_let_go_is_free_for_the_next_chat() -> None:
    assert noted(Change("page_gone", PAGE, ())) == Touched({"s1": PAGE}, {"s1": set()})
    assert noted(Change("page_gone", PAGE, ("ann",))) == Touched({"s1": PAGE}, {"s1": {"ann"}}, offers=True)
    assert noted(Change("agent_gone", None, ("ann",))) == Touched(offers=True, availability=True)


def test_what_to_look_at_next_is_added_up() -> None:
    whole = Touched()
    whole.merge(Touched(availability=True))
    assert (whole.offers, whole.availability) == (False, True)
    whole.merge(Touched(offers=True))
    whole.merge(Touched())
    assert (whole.offers, whole.availability) == (True, True)

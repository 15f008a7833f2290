"""What was prepared for grants: each part is taken once, and nothing that was not prepared."""

from __future__ import annotations

from nodes.store.expected import Expected


def test_nothing_is_there_when_nothing_was_prepared() -> None:
    nothing = Expected()
    assert not nothing.take_key("k1") and not nothing.take_absent("s1") and nothing.take_code() is None
    assert not nothing.more_pages


def test_each_part_is_taken_once() -> None:
    expected = Expected({"k1", "k2"}, {"s1"}, ["111111", "222222"])
    assert expected.take_key("k1") and not expected.take_key("k1") and not expected.take_key("k3")
    assert expected.take_absent("s1") and not expected.take_absent("s1")
    assert {expected.take_code(), expected.take_code()} == {"111111", "222222"} and expected.take_code() is None
    assert expected == Expected(keys={"k2"}), "what is left is what must be given back"


def test_more_pages_may_follow_while_a_session_or_a_code_is_left() -> None:
    assert Expected(absent={"s1"}).more_pages and Expected(codes=["111111"]).more_pages
    assert not Expected(keys={"k1"}).more_pages, "a key alone is for a page that is there"

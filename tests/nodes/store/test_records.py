"""Pages as values: each event changes what it should and clears what no longer holds."""

from __future__ import annotations

import pytest

from fabric.errors import StateError
from nodes.rules.cobrowse import Cobrowse
from nodes.rules.contact_codes import CodeFormat
from nodes.store.records import StoreOptions, new_page

PAGE = new_page("s1", "home", lease_s=30.0, now=100.0)


def test_a_new_page_is_live_until_its_lease_ends() -> None:
    assert PAGE.is_live(129.9)
    assert not PAGE.is_live(130.0)
    assert not PAGE._replace(gone_at=101.0).is_live(102.0)


def test_the_agent_leaves_with_the_session() -> None:
    joined = PAGE.with_cobrowsing(Cobrowse("joined", 1))._replace(agent="a")
    stopping = joined.with_cobrowsing(joined.cobrowsing().after("stop"))
    assert (stopping.agent, stopping.epoch) == ("a", 2)
    assert stopping.with_cobrowsing(stopping.cobrowsing().after("confirm")).agent is None


def test_a_chat_clears_what_no_longer_holds() -> None:
    waiting = PAGE.after_chat("trigger")._replace(button="help", queue_no=7)
    offered = waiting.after_chat("offer")._replace(chat_agent="a", offer_until=120.0)
    assert (offered.queue_no, offered.chat_agent, offered.offer_until, offered.button) == (7, "a", 120.0, "help")
    back = offered.after_chat("decline")
    assert (back.queue_no, back.chat_agent, back.offer_until, back.button) == (7, None, None, "help")
    opened = offered.after_chat("accept")
    assert (opened.queue_no, opened.chat_agent, opened.offer_until, opened.button) == (None, "a", None, "help")
    closed = opened.after_chat("stop")
    assert (closed.queue_no, closed.chat_agent, closed.offer_until, closed.button) == (None, None, None, None)


def test_what_does_not_belong_is_refused() -> None:
    with pytest.raises(StateError):
        PAGE.after_chat("accept")
    with pytest.raises(StateError):
        PAGE.after_visibility("minimise")


def test_limits_that_cannot_work_are_refused() -> None:
    assert StoreOptions().capacity == 10_000
    with pytest.raises(ValueError, match="expected codes of length 5"):
        StoreOptions(codes=CodeFormat(4))
    with pytest.raises(ValueError, match=r"invalid lockout_s -1\.0: expected a number above 0"):
        StoreOptions(lockout_s=-1.0)

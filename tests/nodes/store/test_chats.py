"""Chats in the store: first come first served, offers, proactive chats; on both databases."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from fabric.errors import NotAllowed, StateError
from nodes.rules.errors import LeaseExpired
from nodes.store import agents, chats, expiry, pages

if TYPE_CHECKING:
    from nodes.store.records import Page
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def offers(bench: Bench) -> list[tuple[str, str]]:
    pages: list[Page] = bench.do(chats.offer)
    return [(page.session, str(page.chat_agent)) for page in pages]


def trigger(bench: Bench, *sessions: str, button: str = "help") -> None:
    for session in sessions:
        bench.page(session)
        bench.do(chats.trigger, session, button)


def test_a_chat_from_trigger_to_stop(bench: Bench) -> None:
    bench.page("s1")
    waiting = bench.do(chats.trigger, "s1", "help")
    assert (waiting.chat, waiting.button, waiting.visibility, waiting.chat_agent) == ("waiting", "help", "shown", None)
    bench.agent("a", "help", available=True)
    assert offers(bench) == [("s1", "a")]
    assert offers(bench) == []
    opened = bench.do(chats.accept, "a", "s1")
    assert (opened.chat, opened.chat_agent, opened.offer_until, opened.queue_no) == ("open", "a", None, None)
    closed = bench.do(chats.stop, "s1")
    assert (closed.chat, closed.chat_agent, closed.button, closed.visibility) == ("closed", None, None, "shown")
    assert bench.do(chats.stop, "s1", "a") == closed, "both may stop at once"
    assert bench.do(chats.trigger, "s1", "help").chat == "waiting"


def test_first_come_first_served_also_within_one_transaction(bench: Bench) -> None:
    sessions = [f"s{n}" for n in (3, 1, 2)]
    for session in sessions:
        bench.page(session)
    bench.store.commit_together([partial(chats.trigger, session=session, button="help") for session in sessions])
    bench.agent("a", "help", available=True)
    served = []
    for _ in sessions:
        ((session, _),) = offers(bench)
        bench.do(chats.accept, "a", session)
        served.append(session)
    assert served == sessions


def test_each_button_has_its_own_queue(bench: Bench) -> None:
    trigger(bench, "s1", "s2", button="sales")
    trigger(bench, "s3", button="help")
    bench.agent("a", "help", available=True)
    assert offers(bench) == [("s3", "a")]


def test_one_offer_at_a_time_to_the_agent_with_the_fewest_chats(bench: Bench) -> None:
    bench.agent("a", "help", available=True), bench.agent("b", "help", available=True)
    trigger(bench, "s1")
    assert offers(bench) == [("s1", "a")]
    trigger(bench, "s2", "s3")
    assert offers(bench) == [("s2", "b")]
    bench.do(chats.accept, "a", "s1")
    bench.do(chats.decline, "b", "s2")
    bench.agent("b", "help", available=False)
    assert offers(bench) == [("s2", "a")]


def test_an_agent_has_no_more_than_its_number_of_chats(bench: Bench) -> None:
    bench.store = bench.open(chats_per_agent=1)
    bench.agent("a", "help", available=True)
    trigger(bench, "s1", "s2")
    assert offers(bench) == [("s1", "a")]
    bench.do(chats.accept, "a", "s1")
    assert offers(bench) == []
    bench.do(chats.stop, "s1", "a")
    assert offers(bench) == [("s2", "a")]


def test_nothing_is_offered_to_who_is_not_available_or_gone(bench: Bench) -> None:
    trigger(bench, "s1")
    bench.agent("a", "help")
    assert offers(bench) == []
    bench.agent("a", "help", available=True)
    bench.pass_time(20)
    bench.page("s1")
    bench.pass_time(10)
    assert offers(bench) == []


def test_a_declined_chat_keeps_its_place_and_rests_for_who_declined(bench: Bench) -> None:
    bench.agent("a", "help", available=True)
    trigger(bench, "s1", "s2")
    assert offers(bench) == [("s1", "a")]
    bench.do(chats.decline, "a", "s1")
    assert offers(bench) == [("s2", "a")]
    bench.agent("b", "help", available=True)
    assert offers(bench) == [("s1", "b")]
    bench.do(chats.decline, "b", "s1")
    bench.do(chats.decline, "a", "s2")
    assert offers(bench) == [("s2", "b")], "s1 rests for both, s2 for a"
    bench.pass_time(15)
    bench.page("s1"), bench.do(agents.renew, "a")
    bench.pass_time(16)
    assert offers(bench) == [("s1", "a")]


def test_a_proactive_chat_opens_when_the_visitor_takes_it_up(bench: Bench) -> None:
    bench.agent("a")
    bench.page("s1")
    invited = bench.do(chats.propose, "a", "s1")
    assert (invited.chat, invited.chat_agent, invited.visibility) == ("invited", "a", "shown")
    opened = bench.do(chats.trigger, "s1", "help")
    assert (opened.chat, opened.chat_agent, opened.queue_no) == ("open", "a", None)
    assert bench.do(chats.stop, "s1", "a").chat == "closed"


def test_an_invitation_is_stopped_by_either_side(bench: Bench) -> None:
    bench.agent("a")
    bench.page("s1")
    for by, after in ((None, "closed"), ("a", "idle")):
        bench.do(chats.propose, "a", "s1")
        stopped = bench.do(chats.stop, "s1", by)
        assert (stopped.chat, stopped.visibility) == (after, "hidden")


def test_an_invitation_that_nobody_answers_ends_and_leaves_the_frame_as_it_is(bench: Bench) -> None:
    bench.agent("a")
    bench.page("s1")
    invited = bench.do(chats.propose, "a", "s1")
    assert invited.offer_until is not None
    bench.pass_time(19)
    assert bench.do(expiry.expire) == []
    bench.pass_time(1)
    (change,) = bench.do(expiry.expire)
    assert (change.what, change.agents) == ("chat_lapsed", ("a",))
    assert (change.page.chat, change.page.chat_agent, change.page.visibility) == ("idle", None, "shown")
    assert bench.do(chats.trigger, "s1", "help").chat == "waiting", "it blocks no other chat"


def test_what_does_not_belong_is_refused(bench: Bench) -> None:
    bench.agent("a", "help", available=True), bench.agent("b", "help")
    bench.page("s1")
    bench.refused(StateError, lambda tx: chats.stop(tx, "s1"), "'stop' is not possible in state 'idle'")
    bench.refused(StateError, lambda tx: chats.accept(tx, "a", "s1"), "'accept' is not possible in state 'idle'")
    bench.refused(LeaseExpired, lambda tx: chats.trigger(tx, "never", "help"))
    bench.refused(LeaseExpired, lambda tx: chats.accept(tx, "nobody", "s1"))
    trigger(bench, "s1")
    bench.refused(
        StateError, lambda tx: chats.trigger(tx, "s1", "help"), "'trigger' is not possible in state 'waiting'"
    )
    bench.refused(StateError, lambda tx: chats.propose(tx, "a", "s1"))
    offers(bench)
    for operation in (lambda tx: chats.accept(tx, "b", "s1"), lambda tx: chats.decline(tx, "b", "s1")):
        bench.refused(NotAllowed, operation, "offered to another agent")
    bench.refused(NotAllowed, lambda tx: chats.stop(tx, "s1", "a"), "may be declined")
    bench.do(chats.accept, "a", "s1")
    bench.refused(NotAllowed, lambda tx: chats.stop(tx, "s1", "b"), "only the agent in a chat")


@pytest.mark.parametrize("state", ["waiting", "offered", "open"])
def test_a_page_that_closes_ends_its_chat(bench: Bench, state: str) -> None:
    bench.agent("a", "help", available=True)
    trigger(bench, "s1")
    if state != "waiting":
        offers(bench)
    if state == "open":
        bench.do(chats.accept, "a", "s1")
    change = bench.do(pages.release, "s1")
    assert change.page.chat == "closed"
    assert change.agents == (() if state == "waiting" else ("a",))
    assert offers(bench) == []

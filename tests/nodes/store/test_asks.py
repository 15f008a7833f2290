"""An agent's requests to a visitor, by code and from a chat: allowed, declined, over; on both databases."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from fabric.errors import NotAllowed, StateError
from nodes.rules.cobrowse import RESTING
from nodes.rules.errors import AskedTooSoon, LeaseExpired, UnknownContactCode
from nodes.store import agents, asks, chats, expiry, pages
from nodes.store.records import Page

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def begun(bench: Bench, session: str = "s1") -> str:
    """The code of a page whose visitor wants to be asked."""
    return str(bench.do(pages.grant_code, session, "home", 1_000.0, "ask").code)


def asked(bench: Bench, session: str = "s1", agent: str = "ann") -> Page:
    code = begun(bench, session)
    bench.do(agents.sign_in, agent, agent.title(), ["help"], 1_000.0)
    page: Page = bench.do(pages.join, agent, code, "node")
    return page


def in_chat(bench: Bench, session: str = "s1", agent: str = "ann", *, accepted: bool = True) -> Page:
    """A page whose chat is offered to an agent, or open with it."""
    begun(bench, session)
    bench.do(agents.sign_in, agent, agent.title(), ["help"], 1_000.0)
    bench.do(agents.set_available, agent, True)
    bench.do(chats.trigger, session, "help")
    (page,) = bench.do(chats.offer)
    chat: Page = bench.do(chats.accept, agent, session) if accepted else page
    return chat


def expired(bench: Bench) -> list[tuple[str, str | None, tuple[str, ...]]]:
    changes = bench.do(expiry.expire)
    return [(each.what, each.page.refusal if each.page else None, each.agents) for each in changes]


# --- by code


def test_a_code_asks_its_visitor_and_is_used_up_by_that(bench: Bench) -> None:
    code = begun(bench)
    page = asked(bench)
    assert (page.cobrowse, page.epoch, page.agent, page.agent_name) == ("asked", 1, "ann", "Ann")
    assert (page.capability, page.asked_by, page.code, page.refusal) == ("view", "code", None, None)
    assert page.visibility == "hidden", "the page shows its frame, or a dialog of its own"
    bench.agent("bob")
    bench.refused(UnknownContactCode, lambda tx: pages.join(tx, "bob", code, "node"), "another agent has used it")
    bench.refused(UnknownContactCode, lambda tx: pages.join(tx, "ann", code, "node"))
    assert bench.do(pages.engaged, "s1") == ("ann",)
    assert bench.do(agents.renew, "ann").pages == (page,), "an agent who comes back finds its request"


def test_who_has_the_code_joins_at_once_where_the_site_takes_that_for_consent(bench: Bench) -> None:
    page = bench.joined("s1", "ann")
    assert (page.consent, page.cobrowse, page.agent_name, page.capability) == ("code", "joined", "Ann", "view")
    assert page.asked_by is None and page.ask_until is None


def test_what_is_allowed_is_the_request_of_its_epoch(bench: Bench) -> None:
    asked(bench)
    bench.refused(NotAllowed, lambda tx: asks.allow(tx, "s1", 2), "epoch 2 has not begun")
    joined = bench.do(asks.allow, "s1", 1)
    assert (joined.cobrowse, joined.epoch, joined.agent, joined.visibility) == ("joined", 1, "ann", "shown")
    assert (joined.capability, joined.asked_by, joined.ask_until, joined.code) == ("view", None, None, None)
    assert bench.do(asks.allow, "s1", 1) == joined, "allowed once is allowed"
    assert bench.do(pages.stop, "s1", 1).cobrowse == "stopping"
    assert bench.do(asks.allow, "s1", 1).cobrowse == "stopping"


def test_an_answer_to_a_request_that_is_over_does_nothing(bench: Bench) -> None:
    asked(bench)
    bench.do(pages.stop, "s1", 1)
    idle = bench.page("s1")
    assert bench.do(asks.allow, "s1", 1) == idle
    bench.refused(StateError, lambda tx: asks.allow(tx, "s1", 2), "'allow' is not possible in state 'idle'")
    bench.refused(LeaseExpired, lambda tx: asks.allow(tx, "never", 1))
    second = asked(bench, agent="bob")
    assert (second.cobrowse, second.epoch) == ("asked", 2)
    assert bench.do(asks.allow, "s1", 1) == second, "Ann's answer does not let Bob in"
    assert bench.do(pages.stop, "s1", 1) == second, "nor does it keep him out"


@pytest.mark.parametrize(("who", "reason"), [(None, "declined"), ("ann", "withdrawn")])
def test_a_request_is_declined_or_taken_back_and_another_code_follows(
    bench: Bench, who: str | None, reason: str
) -> None:
    used = begun(bench)
    asked(bench)
    over = bench.do(pages.stop, "s1", 1, who)
    assert (over.cobrowse, over.epoch, over.agent, over.agent_name, over.capability) == ("idle", 2, None, None, None)
    assert over.refusal == reason and over.code not in (None, used)
    assert bench.do(pages.stop, "s1", 1, who) == over, "once"
    assert asked(bench, agent="bob").refusal is None


def test_no_other_agent_takes_a_request_back(bench: Bench) -> None:
    asked(bench)
    bench.agent("bob")
    bench.refused(NotAllowed, lambda tx: pages.stop(tx, "s1", 1, "bob"), "only the agent in session")


def test_a_visitor_who_does_not_answer_declines_by_the_stores_clock(bench: Bench) -> None:
    bench.store = bench.open(ask_s=40.0)
    asked(bench)
    bench.pass_time(39)
    assert expired(bench) == []
    bench.pass_time(1)
    assert expired(bench) == [("ask_over", "timeout", ("ann",))]
    assert expired(bench) == []
    page = bench.do(pages.renew, "s1")
    assert (page.cobrowse, page.epoch) == ("idle", 2) and page.code
    assert bench.do(asks.allow, "s1", 1) == page, "too late"


def test_an_answer_that_waited_for_a_frame_node_for_too_long_is_no_answer(bench: Bench) -> None:
    asked(bench)
    bench.pass_time(61)
    over = bench.do(asks.allow, "s1", 1)
    assert (over.cobrowse, over.epoch, over.refusal, over.agent) == ("idle", 2, "timeout", None) and over.code
    assert expired(bench) == []


def test_a_request_survives_a_reload_and_ends_with_its_page(bench: Bench) -> None:
    page = asked(bench)
    again = bench.do(pages.grant_code, "s1", "host2", 1_000.0, "ask")
    assert (again.cobrowse, again.epoch, again.agent, again.ask_until) == ("asked", 1, "ann", page.ask_until)
    change = bench.do(pages.release, "s1")
    assert (change.page.refusal, change.page.epoch, change.agents) == ("page_lost", 2, ("ann",))


def test_a_request_ends_with_its_agent(bench: Bench) -> None:
    asked(bench)
    (over, gone) = bench.do(agents.sign_out, "ann")
    assert (over.what, over.page.refusal, over.page.epoch, over.agents) == ("ask_over", "agent_lost", 2, ("ann",))
    assert over.page.code and gone.what == "agent_gone"


# --- what it costs the agent


ENDINGS: dict[str, Any] = {
    "declined": lambda bench, session: bench.do(pages.stop, session, 1),
    "withdrawn": lambda bench, session: bench.do(pages.stop, session, 1, "ann"),
    "agent_lost": lambda bench, session: bench.do(agents.sign_out, "ann"),
    "timeout": lambda bench, session: (bench.pass_time(8), bench.do(expiry.expire)),
}


@pytest.mark.parametrize("reason", ENDINGS)
def test_a_strangers_code_counts_as_a_wrong_one_however_the_request_ends(bench: Bench, reason: str) -> None:
    bench.store = bench.open(ask_s=8.0)
    for number in range(5):
        asked(bench, f"s{number}")
        ENDINGS[reason](bench, f"s{number}")
    code = begun(bench, "more")
    bench.do(agents.sign_in, "ann", "Ann", (), 1_000.0)
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "ann", code, "node"), "too many wrong contact codes")
    assert bench.wrong_codes_at("node") == 0, "the frame node has seen right ones"


@pytest.mark.parametrize("reason", sorted(ENDINGS.keys() - {"agent_lost"}))  # with that the chat goes, too
def test_in_a_chat_an_agent_that_was_declined_rests_before_it_asks_again(bench: Bench, reason: str) -> None:
    bench.store = bench.open(ask_s=8.0, ask_rest_s=20.0)
    in_chat(bench)
    bench.do(asks.ask, "ann", "s1")
    ENDINGS[reason](bench, "s1")
    if reason in RESTING:
        code = bench.page("s1").code
        bench.refused(AskedTooSoon, lambda tx: asks.ask(tx, "ann", "s1"), "again in (20|1[5-9]) s")
        bench.pass_time(10.0)  # a database's own clock goes on meanwhile
        bench.refused(AskedTooSoon, lambda tx: asks.ask(tx, "ann", "s1"), "again in (10|[1-9]) s")
        assert bench.page("s1").code == code, "nothing has changed"
        bench.pass_time(10.0)
    assert bench.do(asks.ask, "ann", "s1").cobrowse == "asked"


def test_the_rest_is_of_one_agent_at_one_page_and_a_code_ends_it(bench: Bench) -> None:
    for session in ("s1", "s2"):
        in_chat(bench, session)
    bench.do(asks.ask, "ann", "s1")
    code = bench.do(pages.stop, "s1", 1).code
    assert bench.do(asks.ask, "ann", "s2").cobrowse == "asked", "another visitor"
    bench.agent("bob")
    other = bench.do(pages.join, "bob", code, "node")
    assert (other.cobrowse, other.agent) == ("asked", "bob"), "another agent"
    again = bench.do(pages.stop, "s1", 2).code
    bench.refused(AskedTooSoon, lambda tx: asks.ask(tx, "ann", "s1"))
    assert bench.do(pages.join, "ann", again, "node").agent == "ann", "who is given another code is wanted"


def test_what_the_visitor_allows_and_what_ends_with_the_page_costs_nothing(bench: Bench) -> None:
    for number in range(8):
        asked(bench, f"s{number}")
        bench.do(asks.allow, f"s{number}", 1) if number % 2 else bench.do(pages.release, f"s{number}")
    assert asked(bench, "more").cobrowse == "asked"


def test_nobody_tries_many_codes_before_the_first_stranger_has_answered(bench: Bench) -> None:
    for number in range(5):
        asked(bench, f"s{number}")
    code = begun(bench, "more")
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "ann", code, "node"), "5 visitors .* have not answered yet")
    bench.do(asks.allow, "s0", 1)
    assert bench.do(pages.join, "ann", code, "node").cobrowse == "asked"


def test_wrong_codes_and_visitors_who_are_asked_add_up(bench: Bench) -> None:
    for number in range(2):
        asked(bench, f"s{number}")
    taken = {row[3] for row in bench.tables("pages")["pages"]}
    wrong = min({"1" * 6, "2" * 6, "3" * 6} - taken)
    for _ in range(2):
        bench.refused(UnknownContactCode, lambda tx: pages.join(tx, "ann", wrong, "node"))
    assert asked(bench, "s2").cobrowse == "asked"
    code = begun(bench, "more")
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "ann", code, "node"), "3 visitors")


# --- from a chat


@pytest.mark.parametrize("accepted", [True, False])
def test_the_agent_of_a_chat_asks_without_a_code(bench: Bench, accepted: bool) -> None:
    code = begun(bench)
    chat = in_chat(bench, accepted=accepted)
    page = bench.do(asks.ask, "ann", "s1")
    assert (page.cobrowse, page.agent, page.agent_name, page.asked_by) == ("asked", "ann", "Ann", "chat")
    assert (page.chat, page.chat_agent, page.button, page.code) == (chat.chat, "ann", "help", None)
    bench.agent("bob")
    bench.refused(UnknownContactCode, lambda tx: pages.join(tx, "bob", code, "node"), "another agent has used it")
    bench.refused(StateError, lambda tx: asks.ask(tx, "ann", "s1"), "'ask' is not possible in state 'asked'")
    joined = bench.do(asks.allow, "s1", 1)
    assert (joined.cobrowse, joined.chat, joined.chat_agent) == ("joined", chat.chat, "ann")
    over = bench.do(pages.stop, "s1", 1, "ann")
    assert (over.cobrowse, over.chat, over.chat_agent, over.visibility) == ("idle", chat.chat, "ann", "shown")


def test_an_offer_waits_as_long_as_its_visitor_thinks(bench: Bench) -> None:
    in_chat(bench, accepted=False)
    page = bench.do(asks.ask, "ann", "s1")
    assert page.offer_until == page.ask_until
    bench.pass_time(59)
    assert expired(bench) == []
    bench.pass_time(2)
    assert [what for what, _, _ in expired(bench)] == ["chat_requeued", "ask_over"]


def test_who_is_not_in_the_chat_needs_the_code(bench: Bench) -> None:
    begun(bench)
    bench.agent("bob")
    for agent in ("bob", "ann"):
        bench.do(agents.sign_in, agent, agent, ["help"], 1_000.0)
        bench.refused(NotAllowed, functools.partial(asks.ask, agent=agent, session="s1"), "others need the code")
    in_chat(bench)
    bench.refused(NotAllowed, lambda tx: asks.ask(tx, "bob", "s1"), "others need the code")
    bench.do(chats.stop, "s1")
    bench.refused(NotAllowed, lambda tx: asks.ask(tx, "ann", "s1"), "others need the code")
    bench.refused(LeaseExpired, lambda tx: asks.ask(tx, "nobody", "s1"), "sign in again")
    bench.refused(LeaseExpired, lambda tx: asks.ask(tx, "ann", "never"))


@pytest.mark.parametrize(("who", "reason"), [(None, "declined"), ("ann", "withdrawn")])
def test_a_request_from_a_chat_ends_with_the_chat_and_costs_no_attempt(
    bench: Bench, who: str | None, reason: str
) -> None:
    bench.store = bench.open(ask_rest_s=0.1)
    for _ in range(6):
        bench.pass_time(0.2)
        in_chat(bench)
        bench.do(asks.ask, "ann", "s1")
        over = bench.do(chats.stop, "s1", who)
        assert (over.cobrowse, over.refusal, over.chat, over.agent) == ("idle", reason, "closed", None)
        assert over.code is not None
    assert asked(bench, "s2").cobrowse == "asked"


def test_an_offer_that_is_declined_takes_its_request_back(bench: Bench) -> None:
    in_chat(bench, accepted=False)
    bench.do(asks.ask, "ann", "s1")
    over = bench.do(chats.decline, "ann", "s1")
    assert (over.cobrowse, over.refusal, over.chat, over.chat_agent) == ("idle", "withdrawn", "waiting", None)


def test_a_request_by_code_outlives_the_chat(bench: Bench) -> None:
    in_chat(bench)
    bench.do(agents.sign_in, "bob", "Bob", (), 1_000.0)
    code = bench.do(pages.renew, "s1").code
    bench.do(pages.join, "bob", code, "node")
    assert bench.do(chats.stop, "s1").cobrowse == "asked"


def test_an_agent_who_vanishes_leaves_request_and_chat_together(bench: Bench) -> None:
    in_chat(bench)
    bench.do(asks.ask, "ann", "s1")
    changes = bench.do(agents.sign_out, "ann")
    assert [each.what for each in changes] == ["ask_over", "chat_closed", "agent_gone"]
    assert (changes[1].page.cobrowse, changes[1].page.chat, changes[1].page.refusal) == ("idle", "closed", "agent_lost")

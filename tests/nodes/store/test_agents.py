"""Agents in the store: signing in, availability, leases, and what is left when they go; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.rules.errors import LeaseExpired
from nodes.store import agents, chats, pages

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def test_an_agent_signs_in_and_is_not_available_yet(bench: Bench) -> None:
    agent = bench.do(agents.sign_in, "a", "Ann", ["sales", "help", "sales"], 30.0)
    assert agent == ("a", "Ann", False, 30.0, ("help", "sales"), ())


def test_buttons_follow_availability(bench: Bench) -> None:
    bench.agent("a", "help", "sales")
    assert bench.do(agents.buttons_available) == {}
    bench.do(agents.set_available, "a", True)
    bench.agent("b", "help", available=True)
    assert bench.do(agents.buttons_available) == {"help": 2, "sales": 1}
    bench.do(agents.sign_out, "a")
    assert bench.do(agents.buttons_available) == {"help": 1}
    bench.pass_time(30)
    assert bench.do(agents.buttons_available) == {}, "at the end of the lease, swept or not"


def test_signing_in_again_changes_name_and_buttons_and_keeps_the_rest(bench: Bench) -> None:
    bench.agent("a", "help", available=True)
    joined = bench.joined("s1", "b")
    again = bench.do(agents.sign_in, "a", "Anna", ["sales"], 30.0)
    assert (again.name, again.available, again.buttons) == ("Anna", True, ("sales",))
    assert bench.do(agents.sign_in, "b", "Bob", [], 30.0).pages == (joined,)


def test_signing_in_after_the_lease_begins_anew(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.do(agents.set_available, "a", True)
    bench.pass_time(20)
    bench.page("s1")
    bench.pass_time(10)
    again = bench.do(agents.sign_in, "a", "Ann", [], 30.0)
    assert (again.available, again.pages) == (False, ())
    page = bench.do(pages.renew, "s1")
    assert (page.cobrowse, page.epoch, page.agent) == ("idle", 2, None) and page.code


def test_renewing_tells_an_agent_all_it_is_engaged_with(bench: Bench) -> None:
    joined = bench.joined("s1", "a")
    stopping = bench.do(pages.stop, "s1", 1)
    assert stopping.version > joined.version
    assert bench.do(agents.renew, "a").pages == (stopping,)
    bench.do(pages.release, "s1")
    assert bench.do(agents.renew, "a").pages == ()
    for _ in range(3):
        bench.pass_time(20)
        bench.do(agents.renew, "a")


def test_without_a_lease_an_agent_can_do_nothing(bench: Bench) -> None:
    bench.agent("a")
    bench.page("s1")
    bench.pass_time(30)
    bench.refused(LeaseExpired, lambda tx: agents.renew(tx, "a"), "sign in again")
    bench.refused(LeaseExpired, lambda tx: agents.set_available(tx, "a", True))
    bench.refused(LeaseExpired, lambda tx: chats.propose(tx, "a", "s1"))
    bench.refused(LeaseExpired, lambda tx: agents.renew(tx, "nobody"))
    assert bench.do(agents.sign_out, "nobody") == []


def test_signing_out_ends_sessions_offers_and_chats(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.page("s2"), bench.page("s3")
    bench.do(agents.sign_in, "a", "Ann", ["help"], 30.0)
    bench.do(agents.set_available, "a", True)
    for session in ("s2", "s3"):
        bench.do(chats.trigger, session, "help")
        bench.do(chats.offer)
        if session == "s2":
            bench.do(chats.accept, "a", "s2")
    changes = bench.do(agents.sign_out, "a")
    assert [(c.what, c.page.session if c.page else None) for c in changes] == [
        ("stopped", "s1"),
        ("chat_closed", "s2"),
        ("chat_requeued", "s3"),
        ("agent_gone", None),
    ]
    stopped, closed, requeued, _ = changes
    assert (stopped.page.cobrowse, stopped.page.epoch) == ("idle", 2) and stopped.page.code
    assert (closed.page.chat, closed.page.visibility, closed.page.chat_agent) == ("closed", "shown", None)
    assert (requeued.page.chat, requeued.page.button, requeued.page.chat_agent) == ("waiting", "help", None)
    assert bench.tables("agents", "agent_buttons") == {"agents": [], "agent_buttons": []}

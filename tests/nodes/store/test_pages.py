"""Pages in the store: codes, leases, co-browsing, visibility; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabric.errors import Busy, NotAllowed, StateError
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.store import agents, chats, pages

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

LEASE_S = 30.0


def test_a_page_gets_a_code_and_keeps_it_over_a_reload(bench: Bench) -> None:
    page = bench.page("s1", "host1")
    assert page.code is not None and len(page.code) == 6 and page.code.isdigit()
    assert (page.version, page.epoch, page.cobrowse, page.visibility, page.chat) == (1, 1, "idle", "hidden", "idle")
    again = bench.page("s1", "host2")
    assert (again.code, again.home, again.version) == (page.code, "host2", 2)
    assert len(bench.tables("pages")["pages"]) == 1


def test_two_pages_never_share_a_code(bench: Bench) -> None:
    store = bench.open(capacity=5, codes=CodeFormat(1, "0123456789"))
    codes = []
    for number in range(5):
        with store.transaction() as tx:
            codes.append(pages.grant_code(tx, f"s{number}", "home", LEASE_S).code)
    assert len(set(codes)) == 5


def test_without_a_place_a_page_is_told_when_to_come_again(bench: Bench) -> None:
    bench.store = bench.open(capacity=1, busy_retry_after_s=7.0)
    bench.page("s1")
    error = bench.refused(Busy, lambda tx: pages.grant_code(tx, "s2", "home", LEASE_S), "all 1 places are taken")
    assert isinstance(error, Busy) and error.retry_after_s == 7.0
    assert bench.page("s1").code is not None, "who has a place keeps it"
    bench.do(pages.release, "s1")
    assert bench.page("s2").code is not None


def test_a_page_in_session_keeps_its_place_for_the_next_code(bench: Bench) -> None:
    bench.store = bench.open(capacity=1)
    bench.joined("s1")
    bench.refused(Busy, lambda tx: pages.grant_code(tx, "s2", "home", LEASE_S))
    assert bench.do(pages.stop, "s1", 1, "agent").code is not None


def test_a_code_rests_after_release_and_after_use(bench: Bench) -> None:
    bench.store = bench.open(capacity=1, codes=CodeFormat(1, "01"), quarantine_s=100.0)
    released = bench.page("s1").code
    bench.do(pages.release, "s1")
    bench.do(lambda tx: agents.sign_in(tx, "agent", "Agent", (), 1000.0))
    used = bench.do(pages.grant_code, "s2", "home", 1000.0).code
    assert {released, used} == {"0", "1"}
    bench.pass_time(60)
    bench.do(pages.join, "agent", used, "node")
    assert bench.do(pages.stop, "s2", 1, "agent").code is None, "both rest; the page must ask again"
    bench.pass_time(39)
    bench.refused(Busy, lambda tx: pages.grant_code(tx, "s2", "home", 1000.0), "nearly all contact codes")
    bench.pass_time(2)
    assert bench.do(pages.grant_code, "s2", "home", 1000.0).code == released
    bench.do(pages.release, "s2")
    bench.refused(Busy, lambda tx: pages.grant_code(tx, "s3", "home", 1000.0))
    bench.pass_time(60)
    assert bench.do(pages.grant_code, "s3", "home", 1000.0).code == used


def test_renew_keeps_the_lease_and_expired_is_expired(bench: Bench) -> None:
    page = bench.page("s1")
    for _ in range(4):
        bench.pass_time(20)
        renewed = bench.do(pages.renew, "s1")
        assert (renewed.code, renewed.version) == (page.code, page.version)
    bench.pass_time(LEASE_S)
    bench.refused(LeaseExpired, lambda tx: pages.renew(tx, "s1"), "ask for a code again")
    bench.refused(LeaseExpired, lambda tx: pages.renew(tx, "never"))


def test_many_pages_are_renewed_at_once_and_who_is_over_is_told_apart(bench: Bench) -> None:
    granted = [bench.page(name) for name in ("s1", "s2", "s3")]
    bench.do(pages.release, "s3")
    bench.pass_time(20)
    renewed = bench.do(pages.renew_many, ["s1", "s2", "s3", "never", "s1"])
    assert list(renewed) == ["s1", "s2", "s3", "never"]
    assert renewed["s3"] is None and renewed["never"] is None
    assert [renewed[name].code for name in ("s1", "s2")] == [page.code for page in granted[:2]]
    bench.pass_time(20)
    assert bench.do(pages.renew, "s1").version == granted[0].version, "a renewal is no change"
    bench.pass_time(20)
    assert [name for name, page in bench.do(pages.renew_many, ["s1", "s2"]).items() if page] == ["s1"]
    assert bench.do(pages.renew_many, []) == {}


def test_who_is_engaged_with_a_page(bench: Bench) -> None:
    bench.joined("s1", "ann")
    assert bench.do(pages.engaged, "s1") == ("ann",)
    bench.agent("bob"), bench.do(chats.propose, "bob", "s1")
    assert bench.do(pages.engaged, "s1") == ("ann", "bob")
    bench.do(pages.release, "s1")
    assert bench.do(pages.engaged, "s1") == bench.do(pages.engaged, "never") == ()


def test_a_page_that_comes_back_continues_its_version_and_epoch(bench: Bench) -> None:
    joined = bench.joined("s1")
    bench.pass_time(LEASE_S)
    back = bench.page("s1")
    assert back.version > joined.version and back.epoch == joined.epoch + 1
    assert back.cobrowse == "idle" and back.agent is None and back.code is not None
    bench.do(pages.release, "s1")
    assert bench.page("s1").version > back.version


def test_release_is_done_once(bench: Bench) -> None:
    bench.joined("s1")
    change = bench.do(pages.release, "s1")
    assert (change.what, change.page.session, change.agents) == ("page_gone", "s1", ("agent",))
    assert change.page.epoch == 2 and change.page.code is None
    assert bench.do(pages.release, "s1") is None
    assert bench.do(pages.release, "never") is None


# --- joining


def test_a_code_is_used_up_by_the_join_and_the_second_agent_is_told_why(bench: Bench) -> None:
    code = bench.code("s1")
    bench.agent("first"), bench.agent("second")
    page = bench.do(pages.join, "first", code, "node")
    assert (page.agent, page.cobrowse, page.epoch, page.code, page.visibility) == ("first", "joined", 1, None, "shown")
    error = bench.refused(
        UnknownContactCode, lambda tx: pages.join(tx, "second", code, "node"), "another agent has used it"
    )
    assert code not in str(error)
    other = "111111" if code != "111111" else "222222"
    bench.refused(
        UnknownContactCode, lambda tx: pages.join(tx, "second", other, "node"), "mistyped, or its page is gone"
    )


def test_the_code_of_an_expired_page_is_unknown(bench: Bench) -> None:
    code = bench.code("s1")
    bench.pass_time(LEASE_S)
    bench.agent()
    bench.refused(UnknownContactCode, lambda tx: pages.join(tx, "agent", code, "node"), "its page is gone")


def test_only_a_signed_in_agent_joins(bench: Bench) -> None:
    code = bench.code("s1")
    bench.refused(LeaseExpired, lambda tx: pages.join(tx, "nobody", code, "node"), "sign in again")
    bench.agent()
    bench.pass_time(LEASE_S)
    bench.page("s1")
    bench.refused(LeaseExpired, lambda tx: pages.join(tx, "agent", code, "node"))


# --- stopping


def test_the_page_stops_the_agent_confirms_a_new_code_follows(bench: Bench) -> None:
    used = bench.page("s1").code
    bench.joined("s1")
    stopping = bench.do(pages.stop, "s1", 1)
    assert (stopping.cobrowse, stopping.epoch, stopping.agent, stopping.code) == ("stopping", 2, "agent", None)
    assert bench.do(pages.stop, "s1", 1) == stopping, "a stop counts once"
    idle = bench.do(pages.confirm_stop, "agent", "s1", 2)
    assert (idle.cobrowse, idle.epoch, idle.agent) == ("idle", 2, None)
    assert idle.code not in (None, used)
    assert bench.do(pages.confirm_stop, "agent", "s1", 2) == idle, "a confirmation counts once"
    assert bench.do(pages.stop, "s1", 1) == idle, "that epoch is over"


def test_an_agent_that_stops_has_confirmed_by_that(bench: Bench) -> None:
    bench.joined("s1")
    idle = bench.do(pages.stop, "s1", 1, "agent")
    assert (idle.cobrowse, idle.epoch, idle.agent) == ("idle", 2, None) and idle.code
    assert bench.do(pages.stop, "s1", 1, "agent") == idle


def test_both_stop_at_once(bench: Bench) -> None:
    bench.joined("s1")
    stopping = bench.do(pages.stop, "s1", 1)
    idle = bench.do(pages.stop, "s1", 1, "agent")
    assert stopping.epoch == idle.epoch == 2 and idle.cobrowse == "idle"
    bench.joined("s2")
    first = bench.do(pages.stop, "s2", 1, "agent")
    assert bench.do(pages.stop, "s2", 1) == first


def test_a_late_stop_of_an_old_epoch_does_not_end_the_next_session(bench: Bench) -> None:
    bench.joined("s1")
    bench.do(pages.stop, "s1", 1, "agent")
    second = bench.joined("s1")
    assert second.epoch == 2
    assert bench.do(pages.stop, "s1", 1) == second
    assert bench.do(pages.stop, "s1", 1, "agent") == second
    stopping = bench.do(pages.stop, "s1", 2)
    assert bench.do(pages.stop, "s1", 1, "agent") == stopping, "nor does it confirm the next one's stop"
    assert bench.do(pages.confirm_stop, "agent", "s1", 2) == stopping


def test_a_page_that_was_out_of_reach_is_caught_up_with(bench: Bench) -> None:
    bench.joined("s1")
    assert bench.do(pages.stop, "s1", 4).epoch == 5
    assert bench.do(pages.confirm_stop, "agent", "s1", 5).cobrowse == "idle"


def test_a_stop_at_idle_raises_the_epoch_and_keeps_the_code(bench: Bench) -> None:
    page = bench.page("s1")
    stopped = bench.do(pages.stop, "s1", 1)
    assert (stopped.cobrowse, stopped.epoch, stopped.code) == ("idle", 2, page.code)


def test_what_another_agent_or_a_wrong_epoch_may_not_do(bench: Bench) -> None:
    bench.joined("s1", "agent")
    bench.agent("other")
    bench.refused(NotAllowed, lambda tx: pages.stop(tx, "s1", 1, "other"), "only the agent in session")
    bench.refused(NotAllowed, lambda tx: pages.stop(tx, "s1", 2, "agent"), "present epoch")
    bench.refused(
        StateError, lambda tx: pages.confirm_stop(tx, "agent", "s1", 1), "'confirm' is not possible in state 'joined'"
    )
    bench.do(pages.stop, "s1", 1)
    bench.refused(NotAllowed, lambda tx: pages.confirm_stop(tx, "other", "s1", 2), "another agent")
    bench.refused(NotAllowed, lambda tx: pages.confirm_stop(tx, "agent", "s1", 3), "has not begun")
    bench.refused(LeaseExpired, lambda tx: pages.stop(tx, "never", 1))
    bench.refused(LeaseExpired, lambda tx: pages.confirm_stop(tx, "agent", "never", 1))


def test_the_frame_is_shown_minimised_and_hidden(bench: Bench) -> None:
    bench.page("s1")
    bench.refused(StateError, lambda tx: pages.set_visibility(tx, "s1", "minimise"), "possible here: show, hide")
    assert bench.do(pages.set_visibility, "s1", "show").visibility == "shown"
    minimised = bench.do(pages.set_visibility, "s1", "minimise")
    assert minimised.visibility == "minimised"
    assert bench.do(pages.set_visibility, "s1", "minimise") == minimised, "no change, no version"

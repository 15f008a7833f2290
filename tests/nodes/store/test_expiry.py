"""What ends by itself: leases, offers, forgotten rows; on both databases, and once by PostgreSQL's own clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nodes.rules.errors import LeaseExpired
from nodes.store import chats, expiry, pages, replies

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)
NOTHING = {"pages": 0, "codes": 0, "sessions": 0, "waiting": 0, "resting": 0, "agents": 0}


def expired(bench: Bench) -> list[tuple[str, str | None]]:
    changes = bench.do(expiry.expire)
    return [(change.what, change.page.session if change.page else None) for change in changes]


def test_pages_end_with_their_lease_and_not_before(bench: Bench) -> None:
    bench.page("s1")
    bench.pass_time(15)
    code = bench.code("s2")
    bench.pass_time(10)
    assert expired(bench) == []
    bench.pass_time(5)
    assert expired(bench) == [("page_gone", "s1")]
    assert expired(bench) == []
    assert bench.do(pages.renew, "s2").code == code
    assert bench.do(expiry.counts) == {**NOTHING, "pages": 1, "codes": 1, "resting": 1}


def test_an_agent_that_vanishes_acknowledges_a_stop_by_its_lease(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.pass_time(20)
    bench.page("s1")
    bench.do(pages.stop, "s1", 1)
    assert expired(bench) == []
    bench.pass_time(10)
    assert expired(bench) == [("stopped", "s1"), ("agent_gone", None)]
    page = bench.do(pages.renew, "s1")
    assert (page.cobrowse, page.epoch) == ("idle", 2) and page.code


def test_an_agent_that_vanishes_in_session_raises_the_epoch(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.pass_time(20)
    bench.page("s1")
    bench.pass_time(10)
    (stopped, gone) = bench.do(expiry.expire)
    assert (stopped.what, stopped.page.epoch, stopped.page.cobrowse, stopped.agents) == ("stopped", 2, "idle", ("a",))
    assert (gone.what, gone.page, gone.agents) == ("agent_gone", None, ("a",))


def test_page_and_agent_vanish_together(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.pass_time(30)
    assert expired(bench) == [("stopped", "s1"), ("agent_gone", None), ("page_gone", "s1")]
    assert bench.do(expiry.counts) == {**NOTHING, "resting": 2}


def test_a_forgotten_offer_goes_back_to_the_queue_and_to_another_agent(bench: Bench) -> None:
    bench.page("s1")
    bench.do(chats.trigger, "s1", "help")
    bench.agent("a", "help", available=True)
    bench.do(chats.offer)
    bench.agent("b", "help", available=True)
    bench.pass_time(10)
    assert expired(bench) == []
    bench.pass_time(10)
    (change,) = bench.do(expiry.expire)
    assert (change.what, change.page.chat, change.agents) == ("chat_requeued", "waiting", ("a",))
    assert [page.chat_agent for page in bench.do(chats.offer)] == ["b"]


def test_only_so_many_at_once(bench: Bench) -> None:
    for number in range(5):
        bench.page(f"s{number}")
    bench.pass_time(30)
    assert [len(bench.do(expiry.expire, limit=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_what_nobody_needs_is_deleted_and_nothing_else(bench: Bench) -> None:
    bench.joined("s1", "a")
    bench.do(pages.release, "s1")
    bench.do(replies.once, "key", {}, dict)
    kept = bench.tables("pages", "codes", "replies")
    bench.do(expiry.clean)
    assert bench.tables("pages", "codes", "replies") == kept
    bench.pass_time(3601)
    bench.page("s2")
    bench.do(expiry.expire)
    assert bench.do(expiry.clean) == 4, "the page, its code, the reply, and the agent's handle of it"
    assert bench.tables("handles") == {"handles": []}
    assert [row[0] for row in bench.tables("pages")["pages"]] == ["s2"]
    assert [row[1] for row in bench.tables("codes")["codes"]] == [None]
    assert bench.do(expiry.clean) == 0


def test_a_page_is_forgotten_after_a_while_and_may_begin_anew(bench: Bench) -> None:
    bench.page("s1")
    bench.do(pages.release, "s1")
    bench.pass_time(3601)
    bench.do(expiry.clean)
    assert bench.page("s1").version == 1


def test_the_clock_of_postgresql_rules_its_leases(postgres: PostgresServer) -> None:
    from tests.support.stores import Bench

    bench = Bench(postgres.create_database())
    try:
        bench.now = 0.0  # the host's own clock is decades wrong, and nobody asks it
        begun = time.monotonic()
        page = bench.do(pages.grant_code, "s1", "home", 1.0)
        assert abs(page.lease_until - 1.0 - time.time()) < 5
        renewals = 0
        while time.monotonic() - begun < 1.5:
            bench.do(pages.renew, "s1")
            renewals += 1
        assert renewals > 3
        while expired(bench) != [("page_gone", "s1")]:
            assert time.monotonic() - begun < 10
        assert time.monotonic() - begun > 2.4
        bench.refused(LeaseExpired, lambda tx: pages.renew(tx, "s1"))
    finally:
        bench.close()

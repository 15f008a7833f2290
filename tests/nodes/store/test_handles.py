"""By which handle an agent knows a page, from when and for how long; on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodes.rules.errors import LeaseExpired
from nodes.rules.proofs import handle_of, key_of, name_of
from nodes.store import agents, chats, expiry, handles, pages

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

KEY = key_of("page")
PAGE = name_of(KEY)
ANN, BOB = (handle_of(KEY, PAGE, agent) for agent in ("ann", "bob"))


def begun(bench: Bench) -> str:
    return str(bench.do(pages.grant_code, PAGE, "home", 600.0, "ask", KEY).code)


def test_who_is_engaged_with_a_page_knows_it_and_nobody_else_by_that(bench: Bench) -> None:
    code = begun(bench)
    for agent in ("ann", "bob"):
        bench.agent(agent)
        bench.refused(LeaseExpired, lambda tx, agent=agent: handles.session_of(tx, agent, ANN))  # type: ignore[misc]
    bench.do(pages.join, "ann", code, "node")
    assert bench.do(handles.session_of, "ann", ANN) == PAGE
    for agent, handle in (("bob", ANN), ("bob", BOB), ("ann", BOB), ("ann", PAGE)):
        bench.refused(LeaseExpired, lambda tx, who=agent, by=handle: handles.session_of(tx, who, by))  # type: ignore[misc]


def test_it_holds_while_they_are_engaged_and_a_while_longer(bench: Bench) -> None:
    code = begun(bench)
    bench.agent("ann")
    bench.do(pages.join, "ann", code, "node")
    for _ in range(15):
        bench.pass_time(25)
        bench.do(agents.renew, "ann")
        bench.do(pages.renew, PAGE)
        bench.do(expiry.clean)
        assert bench.do(handles.session_of, "ann", ANN) == PAGE
    bench.do(pages.stop, PAGE, 1)
    for _ in range(11):
        bench.pass_time(25)
        bench.do(agents.renew, "ann")
    assert bench.do(chats.propose, "ann", bench.do(handles.session_of, "ann", ANN)).chat == "invited"
    bench.do(chats.stop, PAGE)
    bench.pass_time(301)
    bench.refused(LeaseExpired, lambda tx: handles.session_of(tx, "ann", ANN))
    bench.do(expiry.clean)
    assert bench.tables("handles") == {"handles": []}

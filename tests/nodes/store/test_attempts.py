"""Wrong contact codes: counted, then locked out, for the agent and for the frame node; on both databases."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fabric.errors import Busy, NotAllowed
from nodes.rules.errors import UnknownContactCode
from nodes.store import agents, pages

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)


def wrong(bench: Bench, agent: str = "agent", node: str = "node") -> None:
    right = bench.code()
    code = "111111" if right != "111111" else "222222"
    bench.refused(UnknownContactCode, lambda tx: pages.join(tx, agent, code, node))


def sign_in(bench: Bench, *names: str) -> None:
    for agent in names:
        bench.do(agents.sign_in, agent, agent, (), 10_000.0)


def test_too_many_wrong_codes_lock_the_agent_out_for_a_while(bench: Bench) -> None:
    sign_in(bench, "agent", "other")
    for _ in range(5):
        wrong(bench)
    code = bench.code()
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "agent", code, "node"), r"may try again in (60|5\d) s")
    bench.pass_time(29)
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "agent", code, "node"), r"may try again in (31|2\d) s")
    wrong(bench, "other")
    bench.pass_time(32)
    again = bench.code()
    assert bench.do(pages.join, "agent", again, "node").agent == "agent"


def test_signing_in_again_does_not_help(bench: Bench) -> None:
    sign_in(bench, "agent")
    for _ in range(5):
        wrong(bench)
    bench.do(agents.sign_out, "agent")
    sign_in(bench, "agent")
    code = bench.code()
    bench.refused(NotAllowed, lambda tx: pages.join(tx, "agent", code, "node"))


def test_wrong_codes_far_apart_do_not_add_up(bench: Bench) -> None:
    sign_in(bench, "agent")
    for _ in range(3):
        for _ in range(4):
            wrong(bench)
        bench.pass_time(61)
    code = bench.code()
    assert bench.do(pages.join, "agent", code, "node").agent == "agent"


def test_the_frame_node_counts_them_all_and_is_busy_beyond_its_limit(bench: Bench) -> None:
    bench.store = bench.open(node_wrong_codes=6)
    sign_in(bench, "a1", "a2", "a3")
    for _ in range(3):
        wrong(bench, "a1")
    bench.pass_time(20)
    for _ in range(2):
        wrong(bench, "a2")
    assert bench.wrong_codes_at("node") == 5
    assert bench.wrong_codes_at("another") == 0
    wrong(bench, "a2")
    code = bench.code()
    error = bench.refused(Busy, lambda tx: pages.join(tx, "a3", code, "node"), "too many wrong contact codes")
    assert isinstance(error, Busy) and 20 < error.retry_after_s <= 40
    assert bench.do(pages.join, "a3", code, "another").agent == "a3", "other frame nodes go on"
    bench.pass_time(41)
    assert bench.wrong_codes_at("node") == 0
    again = bench.code("second")
    assert bench.do(pages.join, "a3", again, "node").agent == "a3"


def test_wrong_codes_of_invented_agents_close_nothing_to_one_who_was_there_and_has_used_none(bench: Bench) -> None:
    bench.store = bench.open(node_wrong_codes=6)
    sign_in(bench, "known", "erring")
    bench.pass_time(61)
    invented = [f"invented{number}" for number in range(3)]
    sign_in(bench, *invented)
    wrong(bench, "erring")
    for agent in invented * 2:
        with contextlib.suppress(Busy):
            wrong(bench, agent)
    code = bench.code("first")
    for agent in (*invented, "erring"):
        bench.refused(Busy, lambda tx, agent=agent: pages.join(tx, agent, code, "node"))  # type: ignore[misc]
    assert bench.do(pages.join, "known", code, "node").agent == "known"
    wrong(bench, "known")
    other = bench.code("other")
    bench.refused(Busy, lambda tx: pages.join(tx, "known", other, "node"), "too many wrong contact codes")

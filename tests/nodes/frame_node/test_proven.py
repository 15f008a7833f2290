"""Who may ask what: only the page or the agent that a request speaks for, and only now; on both databases."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import pytest

from fabric.errors import Busy, NotAllowed
from fabric.services.messages import Address, Request
from nodes.frame_node.operations import OPERATIONS
from nodes.frame_node.proven import Envelope, NotProven, check_fresh
from nodes.frame_node.work import Work
from nodes.rules.agreement import public_of
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.proofs import FRESH_S, key_of, proven_request
from nodes.rules.state_map import opened
from tests.support.proven import HOSTS, acquainted, agent_key, page_key, page_name, proven_body

if TYPE_CHECKING:
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

PAGE, OTHER = page_name("one"), page_name("two")
CODES = CodeFormat()
FIELDS: dict[str, Any] = {
    "session": PAGE,
    "home": "home",
    "lease_s": 30,
    "event": "show",
    "button": "help",
    "epoch": 1,
    "agent": "ann",
    "name": "Ann",
    "buttons": ["help"],
    "on": True,
    "code": "000000",
    "capability": "view",
    "consent": "ask",
}


def work(operation: str, body: Any) -> Work:
    return Work(Request(operation, body, "key", Address("$inbox/x/replies", 1), 1, 1e18), CODES, "node", HOSTS)


def moment(bench: Bench) -> float:
    with bench.store.transaction() as tx:
        return tx.now


def ask(bench: Bench, operation: str, **body: Any) -> Any:
    return bench.do(work(operation, proven_body(operation, body, moment(bench))))


def with_key(key: str, operation: str, body: dict[str, Any], at: float) -> dict[str, Any]:
    """A first request, by whoever has this key."""
    once = secrets.token_hex(8)
    return proven_request(key, operation, {**body, **acquainted(HOSTS).handed_over(key, once)}, at, once)


def begun(bench: Bench) -> None:
    ask(bench, "grant_code", session=PAGE, home="home", lease_s=30)
    ask(bench, "sign_in", agent="ann", name="Ann", buttons=["help"], lease_s=30)


ASKED = [name for name, each in OPERATIONS.items() if each.fields and name not in ("renew_many", "grant_code")]


@pytest.mark.parametrize("operation", ASKED)
def test_nobody_else_asks_for_a_page_or_an_agent_nor_the_same_later_or_with_more(bench: Bench, operation: str) -> None:
    begun(bench)
    at = moment(bench)
    body = {name: FIELDS[name] for name in OPERATIONS[operation].fields if name in FIELDS}
    true = proven_body(operation, body, at)
    forged = [
        {**body, "at": at, "once": "x"},
        {**true, "proof": "0" * 32},
        {**true, "more": 1},
        {**true, "once": "another"},
        {**true, "at": at + 1},
        proven_request(key_of("evil"), operation, body, at, "x"),
        proven_body("renew" if operation == "release_page" else "release_page", body, at),
        proven_body(operation, body, at - FRESH_S - 5),
        proven_body(operation, body, at + FRESH_S + 5),
    ]
    for each in forged:
        asked = work(operation, each)
        bench.refused(NotProven, asked)
        assert asked.unproven == 1
    if operation == "sign_in":
        error = bench.refused(Busy, work(operation, with_key(key_of("evil"), operation, body, at)))
        assert isinstance(error, Busy) and 20 < error.retry_after_s <= 30, "while the lease of another runs"


def test_a_name_is_its_keys_and_nobody_takes_it_before_or_after(bench: Bench) -> None:
    at, evil = moment(bench), key_of("evil")
    body = {"session": PAGE, "home": "home", "lease_s": 30}
    true = proven_body("grant_code", body, at)
    takes = [
        with_key(evil, "grant_code", body, at),
        proven_request(evil, "grant_code", {**body, "host": true["host"], "sealed": true["sealed"]}, at, true["once"]),
        proven_request(page_key(PAGE), "grant_code", body, at, "x"),
        {**true, "once": "another"},
        {**true, "host": public_of(b"x" * 32)},
        {**true, "host": bytes(256)},
        {**true, "sealed": page_key(PAGE)},
    ]
    for _ in range(2):
        for each in takes:
            bench.refused(NotProven, work("grant_code", each))
        assert ask(bench, "grant_code", **body)["code"]
        ask(bench, "release_page", session=PAGE)


def test_of_many_pages_only_those_are_renewed_whose_proofs_hold(bench: Bench) -> None:
    begun(bench)
    ask(bench, "grant_code", session=OTHER, home="home", lease_s=30)
    gone, at = page_name("never"), moment(bench)
    true = proven_body("renew_many", {"sessions": [PAGE, OTHER, gone]}, at)
    asked = work("renew_many", {**true, "proofs": [true["proofs"][1], *true["proofs"][1:]]})
    before = dict(bench.tables("pages"))
    pages = bench.do(asked)["pages"]
    assert set(pages) == {OTHER, gone} and pages[gone] is None and asked.unproven == 1
    assert opened(pages[OTHER], page_key(OTHER), at) and not opened(pages[OTHER], page_key(PAGE), at)
    assert [row for row in before["pages"] if row[0] == PAGE] == [
        row for row in bench.tables("pages")["pages"] if row[0] == PAGE
    ]
    for junk in (true["proofs"][:2], "x", None, [1, 2, 3]):
        bench.refused(NotAllowed, work("renew_many", {**true, "proofs": junk}))
    bench.refused(NotProven, work("renew_many", proven_body("renew_many", {"sessions": [PAGE]}, at - 1_000)))


def test_what_is_done_once_stays_done_and_its_answer_is_of_this_request(bench: Bench) -> None:
    begun(bench)
    at = moment(bench)
    show = {"session": PAGE, "event": "show"}
    first = bench.do(work("set_visibility", proven_body("set_visibility", show, at, "once")))
    ask(bench, "set_visibility", session=PAGE, event="hide")
    before = bench.tables()
    again = bench.do(work("set_visibility", proven_body("set_visibility", show, at + 1, "once")))
    assert bench.tables() == before and again["version"] == first["version"]
    assert opened(first, page_key(PAGE), at) == opened(again, page_key(PAGE), at + 1)
    assert opened(first, page_key(PAGE), at + 1) is None, "an answer that was heard before is none to the next request"


def test_who_has_an_agents_key_goes_on_and_who_has_not_waits_for_the_end_of_its_lease(bench: Bench) -> None:
    begun(bench)
    evil = key_of("evil")
    body = {"agent": "ann", "name": "Eve", "buttons": [], "lease_s": 30}
    bench.pass_time(20)
    assert ask(bench, "sign_in", agent="ann", name="Ann", buttons=[], lease_s=30)["name"] == "Ann"
    bench.pass_time(20)
    bench.refused(Busy, work("sign_in", with_key(evil, "sign_in", body, moment(bench))))
    bench.pass_time(11)
    bench.do(work("sign_in", with_key(evil, "sign_in", body, moment(bench))))
    with pytest.raises(NotProven):
        ask(bench, "renew_agent", agent="ann")
    assert agent_key("ann") not in str(bench.tables("agents"))


@pytest.mark.parametrize("at", [float("nan"), float("inf"), -1.0, 1e300])
def test_a_moment_that_is_none_is_not_now(at: float) -> None:
    with pytest.raises(NotProven, match="expected at most 60 s"):
        check_fresh(Envelope(at), 1_000.0)

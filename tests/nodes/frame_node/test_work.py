"""What requests and ticks do to the store, on both databases: replies, whom they concern, and what bad input leaves."""

from __future__ import annotations

import itertools
import math
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, func, select

from fabric.errors import Busy, FabricError, NotAllowed, StateError
from fabric.services.messages import Address, Request
from nodes.frame_node import proven
from nodes.frame_node import work as work_module
from nodes.frame_node.operations import OPERATIONS
from nodes.frame_node.touched import Touched
from nodes.frame_node.work import Offers, Preparation, Turn, Work, in_order
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.errors import LeaseExpired, UnknownContactCode
from nodes.store import chats, schema
from nodes.store.store import Store
from nodes.store.transaction import Transaction
from tests.support.frames import unproven
from tests.support.proven import HOSTS, handle, page_name, proven_body

if TYPE_CHECKING:
    from tests.support.postgres import PostgresServer
    from tests.support.stores import Bench

pytest_plugins = ("tests.support.stores",)

CODES = CodeFormat()
PAGE, OTHER, NEVER = page_name("one"), page_name("two"), page_name("three")
PAGE_BODY: dict[str, Any] = {"session": PAGE, "home": "home", "lease_s": 30}
BEGIN_S = 1_700_000_000.0
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of this file are asked at one moment, by whatever clock; `test_proven.py` has what is too old."""
    monkeypatch.setattr(proven, "FRESH_S", math.inf)


def request(operation: str, key: str | None = None, **body: Any) -> Request:
    return raw(operation, proven_body(operation, body, BEGIN_S, key or ""))


def raw(operation: str, body: Any, key: str | None = None) -> Request:
    return Request(operation, body, key or f"key {next(_numbers)}", Address("$inbox/x/replies", 1), 1, 1e18)


def work(operation: str, key: str | None = None, **body: Any) -> Work:
    return Work(request(operation, key, **body), CODES, "node", HOSTS)


def speaking(operation: str, body: dict[str, Any]) -> Work:
    """A request of any body, with a proof."""
    return Work(raw(operation, proven_body(operation, body, BEGIN_S)), CODES, "node", HOSTS)


def ask(bench: Bench, operation: str, key: str | None = None, **body: Any) -> tuple[dict[str, Any], Touched]:
    """Do one request; return its reply and whom it concerns."""
    asked = work(operation, key, **body)
    (reply,) = bench.store.commit_together([asked])
    if isinstance(reply, Exception):
        raise reply
    return unproven(reply), asked.touched


def granted(bench: Bench, session: str = PAGE) -> dict[str, Any]:
    return ask(bench, "grant_code", session=session, home="home", lease_s=30)[0]


def signed_in(bench: Bench, agent: str = "ann", *buttons: str) -> None:
    ask(bench, "sign_in", agent=agent, name=agent.title(), buttons=list(buttons), lease_s=30)
    ask(bench, "availability", agent=agent, on=bool(buttons))


def joined(bench: Bench, session: str = PAGE, agent: str = "ann") -> dict[str, Any]:
    signed_in(bench, agent)
    return ask(bench, "join", agent=agent, code=granted(bench, session)["code"])[0]


# --- replies, and whom they concern


def test_a_page_sees_its_code_and_its_agent_does_not(bench: Bench) -> None:
    page, touched = ask(bench, "grant_code", session=PAGE, home="home", lease_s=30)
    assert (page["session"], page["home"], page["version"], page["lease_s"]) == (PAGE, "home", 1, 30)
    assert len(page["code"]) == 6 and touched.pages[PAGE].code == page["code"] and touched.agents == {PAGE: set()}
    signed_in(bench)
    seen, touched = ask(bench, "join", agent="ann", code=page["code"])
    assert (seen["cobrowse"], seen["agent"], seen["epoch"]) == ("joined", "ann", 1) and "code" not in seen
    assert touched.agents == {PAGE: {"ann"}}
    stopped, touched = ask(bench, "stop", session=PAGE, epoch=1)
    assert (stopped["cobrowse"], stopped["epoch"], stopped["code"]) == ("stopping", 2, None)
    assert touched.agents == {PAGE: {"ann"}}
    idle, touched = ask(bench, "confirm_stop", agent="ann", session=PAGE, epoch=2)
    assert (idle["cobrowse"], idle["agent"]) == ("idle", None) and "code" not in idle
    assert touched.pages[PAGE].code not in (None, page["code"]), "a new code is drawn when the stop is acknowledged"
    assert touched.agents == {PAGE: {"ann"}}, "who has confirmed is told that it is over"


def test_renewals_touch_nobody_and_say_which_pages_are_gone(bench: Bench) -> None:
    code = granted(bench)["code"]
    one, touched = ask(bench, "renew", session=PAGE)
    assert one["code"] == code and not touched.pages
    many, touched = ask(bench, "renew_many", sessions=[PAGE, NEVER])
    assert many == {"pages": {PAGE: one, NEVER: None}} and not touched.pages
    signed_in(bench, "ann", "help")
    agent, touched = ask(bench, "renew_agent", agent="ann")
    assert (agent["name"], agent["available"], agent["buttons"], agent["pages"]) == ("Ann", True, ["help"], [])
    assert not touched.pages and not touched.offers and not touched.availability
    assert ask(bench, "buttons_available")[0] == {"help": 1}


@pytest.mark.parametrize("ending", ["stop", "late allow", "clock"])
def test_the_agent_who_asks_hears_that_it_is_over(bench: Bench, ending: str) -> None:
    signed_in(bench)
    code = ask(bench, "grant_code", session=PAGE, home="home", lease_s=600, consent="ask")[0]["code"]
    seen, touched = ask(bench, "join", agent="ann", code=code)
    assert (seen["cobrowse"], seen["agent_name"], seen["asked_by"]) == ("asked", "Ann", "code") and "code" not in seen
    assert touched.pages[PAGE].code is None and touched.agents == {PAGE: {"ann"}}
    if ending != "stop":
        for _ in range(4):
            bench.pass_time(16)
            ask(bench, "renew_agent", agent="ann")
    if ending == "clock":
        turn = Turn(offers=False, buttons=False, clean=False)
        bench.store.commit_together([turn])
        touched = turn.touched
    else:
        _, touched = ask(bench, ending.removeprefix("late "), session=PAGE, epoch=1)
    assert touched.agents == {PAGE: {"ann"}}
    assert touched.pages[PAGE].refusal == ("declined" if ending == "stop" else "timeout")
    assert touched.pages[PAGE].code not in (None, code)


@pytest.mark.parametrize("state", ["offered", "open", "invited"])
def test_the_agent_of_a_chat_hears_that_the_page_has_stopped_it(bench: Bench, state: str) -> None:
    joined(bench)
    ask(bench, "stop", agent="ann", session=PAGE, epoch=1)
    signed_in(bench, "ann", "help")
    if state == "invited":
        ask(bench, "proactive", agent="ann", session=PAGE)
    else:
        ask(bench, "trigger", session=PAGE, button="help")
        bench.do(lambda tx: chats.offer(tx))
        if state == "open":
            ask(bench, "accept", agent="ann", session=PAGE)
    closed, touched = ask(bench, "stop_chat", session=PAGE)
    assert (closed["chat"], closed["chat_agent"]) == ("closed", None)
    assert touched.agents == {PAGE: {"ann"}} and touched.offers


def test_a_page_that_closes_lets_its_agents_know(bench: Bench) -> None:
    joined(bench)
    reply, touched = ask(bench, "release_page", session=PAGE)
    assert reply == {} and touched.agents == {PAGE: {"ann"}} and touched.pages[PAGE].gone_at is not None
    assert ask(bench, "release_page", session=PAGE) == ({}, Touched())


def test_an_agent_that_signs_out_leaves_its_pages(bench: Bench) -> None:
    joined(bench)
    reply, touched = ask(bench, "sign_out", agent="ann")
    assert reply == {} and touched.availability and touched.offers
    assert touched.pages[PAGE].cobrowse == "idle" and touched.agents == {PAGE: {"ann"}}


def test_a_waiting_chat_is_offered_in_the_transaction_that_found_its_agent(bench: Bench) -> None:
    granted(bench)
    signed_in(bench, "ann", "help")
    trigger = work("trigger", session=PAGE, button="help")
    offers = Offers([trigger])
    batch: list[Any] = [trigger, offers]
    reply, _ = bench.store.commit_together(batch)
    assert isinstance(reply, dict) and reply["chat"] == "waiting"
    assert offers.touched.pages[PAGE].chat == "offered" and offers.touched.agents == {PAGE: {"ann"}}
    whole = Touched()
    for each in (offers.touched, trigger.touched):
        whole.merge(each)
    assert whole.pages[PAGE].chat == "offered", "the newer version is told, in whatever order"
    renew = work("renew", session=PAGE)
    offers = Offers([renew])
    batch = [renew, offers]
    bench.store.commit_together(batch)
    assert not offers.touched.pages


# --- time


def test_a_turn_ends_what_is_over_and_offers_what_waits(bench: Bench) -> None:
    granted(bench)
    signed_in(bench, "ann", "help")
    signed_in(bench, "bob", "help")
    ask(bench, "trigger", session=PAGE, button="help")
    turn = Turn(offers=True, buttons=True, clean=True)
    bench.do(turn)
    assert turn.touched.agents == {PAGE: {"ann"}} and turn.available == {"help": 2} and not turn.is_full
    bench.pass_time(25)
    ask(bench, "renew_agent", agent="bob"), ask(bench, "renew", session=PAGE)
    bench.pass_time(10)
    turn = Turn(offers=False, buttons=False, clean=False)
    bench.do(turn)  # ann's lease is over: her offer goes to bob, and her button has one agent less
    assert turn.touched.agents == {PAGE: {"ann", "bob"}} and turn.touched.pages[PAGE].chat_agent == "bob"
    assert turn.available == {"help": 1}
    bench.pass_time(25)
    bench.do(turn)
    assert turn.touched.pages[PAGE].gone_at is not None and turn.available == {}
    bench.do(turn)
    assert turn.touched == Touched() and turn.available is None, "nothing twice"


def test_a_turn_says_when_there_may_be_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "EXPIRE_LIMIT", 2)
    for session in (PAGE, OTHER, NEVER):
        granted(bench, session)
    bench.pass_time(31)
    turn, gone = Turn(offers=False, buttons=False, clean=False), list[str]()
    for is_full in (True, False):
        bench.do(turn)
        gone += turn.touched.pages
        assert turn.is_full == is_full
    assert sorted(gone) == sorted([PAGE, OTHER, NEVER])


# --- the order within a batch


def test_grants_come_last_and_what_their_pages_ask_after_them() -> None:
    stop, other = work("stop", session=OTHER, epoch=1), work("renew", session=OTHER)
    grant, renew = work("grant_code", session=PAGE, home="home", lease_s=30), work("renew", session=PAGE)
    junk = [
        Work(raw("grant_code", body), CODES, "node", HOSTS) for body in (None, {"session": [PAGE]}, {"session": PAGE})
    ]
    late = work("grant_code", session=OTHER, home="home", lease_s=30)
    again = work("stop", session=OTHER, epoch=1)
    order = in_order([stop, grant, renew, other, *junk, late, again])
    assert [each for each in order if isinstance(each, Work)] == [stop, other, *junk, grant, late, renew, again]
    beside = [type(each).__name__ for each in order if not isinstance(each, Work)]
    assert beside == ["Offers", "Preparation", "function", "Hearers"]


def test_a_batch_of_everything_is_as_if_each_had_been_alone(bench: Bench) -> None:
    """New pages, one that is there, one that comes back, one twice, a replayed key, and none left for the last."""
    bench.store = bench.open(capacity=6)
    there, gone = granted(bench, page_name("there")), granted(bench, page_name("gone"))
    ask(bench, "release_page", session=gone["session"])
    first, _ = ask(bench, "grant_code", "one", **PAGE_BODY)
    bodies = [{**PAGE_BODY, "session": page_name(f"new {n}")} for n in range(3)]
    works = [
        *(work("grant_code", **body) for body in bodies[:2]),
        work("grant_code", **{**PAGE_BODY, "session": there["session"], "home": "moved"}),
        work("renew_many", sessions=[there["session"], NEVER]),
        work("grant_code", **{**PAGE_BODY, "session": gone["session"]}),
        work("grant_code", **bodies[1]),
        work("grant_code", "one", **PAGE_BODY),
        work("grant_code", "two", **bodies[2]),
        work("grant_code", "two", **bodies[2]),
        work("grant_code", "two", **{**bodies[2], "home": "moved"}),
        work("grant_code", **{**PAGE_BODY, "session": NEVER}),
        work("renew", session=bodies[0]["session"]),
    ]
    runs = in_order(works)
    outcomes: dict[Any, Any] = dict(zip(runs, bench.store.commit_together(runs), strict=True))
    new, second, moved, renewed, back, twice, replayed, two, again, misused, full, after = (
        unproven(outcomes[w]) for w in works
    )
    assert isinstance(full, Busy) and isinstance(misused, NotAllowed)
    assert moved["code"] == there["code"] and moved["home"] == "moved"
    assert renewed["pages"][there["session"]]["home"] == "home" and renewed["pages"][NEVER] is None
    assert back["version"] > gone["version"] and back["code"] not in (None, gone["code"])
    assert (twice["code"], twice["version"]) == (second["code"], second["version"] + 1)
    assert replayed == first and two == again and after == new
    live = {row[0]: row[3] for row in bench.tables("pages")["pages"] if row[6] is None}
    assert live == {each["session"]: each["code"] for each in (new, second, moved, back, first, two)}
    rows = bench.tables("codes", "replies")
    assert {row[0] for row in rows["codes"] if row[1] is None} == set(live.values()), "what was drawn too many is free"
    assert all(row[2] for row in rows["replies"]), "no key is kept without its reply"


def test_many_grants_take_few_statements(bench: Bench) -> None:
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    works = [work("grant_code", **{**PAGE_BODY, "session": page_name(f"new {n}")}) for n in range(50)]
    event.listen(bench.store._engine, "before_cursor_execute", counted)
    outcomes = bench.store.commit_together(in_order(works))
    assert sum(isinstance(outcome, dict) for outcome in outcomes) == 50
    assert count < 25, "a code that was drawn twice, or is taken, costs more"


def test_two_frame_nodes_with_the_same_pages_at_once(postgres: PostgresServer) -> None:
    """Each finds the pages new; one writes them first, the other one runs again."""
    from tests.support.stores import Bench

    bench = Bench(postgres.create_database())
    sessions = [page_name(f"new {n}") for n in range(20)]
    both_have_looked = threading.Barrier(2)
    outcomes: dict[str, list[Any]] = {}

    def grant_all(name: str, store: Store) -> None:
        works = [work("grant_code", **{**PAGE_BODY, "session": session}) for session in sessions]
        runs = in_order(works)
        prepare = next(index for index, run in enumerate(runs) if isinstance(run, Preparation))
        prepared, waited = runs[prepare], threading.Event()

        def meet(tx: Transaction) -> None:
            if not waited.is_set():
                waited.set()
                bound = tx.sql.execute(select(func.count()).select_from(schema.pages)).scalar_one()
                assert bound == 0
                both_have_looked.wait(10)
            prepared(tx)

        runs[prepare] = meet
        outcomes[name] = [each for each in store.commit_together(runs) if isinstance(each, dict)]

    threads = [threading.Thread(target=grant_all, args=(name, bench.open())) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    known = [{page["session"]: page["code"] for page in outcomes[name]} for name in ("a", "b")]
    assert known[0] == known[1] and len(set(known[0].values())) == 20
    bench.close()


# --- the same request again


def test_a_request_that_comes_again_is_answered_as_before_by_any_frame_node(bench: Bench) -> None:
    joined(bench)
    stop = {"session": PAGE, "epoch": 1}
    first, _ = ask(bench, "stop", key="one", **stop)
    ask(bench, "confirm_stop", agent="ann", session=PAGE, epoch=2)
    before, again = bench.tables(), work("stop", "one", **stop)
    assert unproven(bench.open().commit_together([again])) == [first] and not again.touched.pages
    assert bench.tables() == before
    bench.refused(NotAllowed, work("stop", "one", session=PAGE, epoch=2), "has been used for another request")
    bench.refused(NotAllowed, work("release_page", "one", session=PAGE), "has been used for another request")


def test_a_wrong_code_costs_one_attempt_however_often_it_is_sent(bench: Bench) -> None:
    signed_in(bench)
    for _ in range(10):
        bench.refused(UnknownContactCode, work("join", "one", agent="ann", code="000000"), "no page holds")
    code = granted(bench)["code"]
    assert ask(bench, "join", agent="ann", code=code)[0]["agent"] == "ann", "she is not locked out"


@pytest.mark.parametrize("key", ["x" * 200, "a\0b", "ключ", " "])
def test_any_key_will_do(bench: Bench, key: str) -> None:
    first, _ = ask(bench, "grant_code", key, session=PAGE, home="home", lease_s=30)
    assert ask(bench, "grant_code", key, session=PAGE, home="home", lease_s=30)[0] == first


# --- bad input: a clear error, and nothing has changed

FIELDS: dict[str, Any] = {
    "session": PAGE,
    "sessions": [PAGE],
    "home": "home",
    "lease_s": 30,
    "event": "hide",
    "button": "help",
    "epoch": 1,
    "agent": "ann",
    "name": "Ann",
    "buttons": ["help"],
    "on": True,
    "code": "000000",
    "consent": "ask",
    "capability": "view",
}
WRONG: list[Any] = [
    None,
    True,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    "\0",
    "+",
    "x" * 100_000,
    b"\xff" * 100_000,
    [],
    [[]],
    {},
    {"a": {}},
]
"""Values, one of each kind and size. Whatever is right for a field is none of these, but for those in `FITTING`."""
FITTING = {("on", "True"), ("name", "'+'"), ("buttons", "[]"), ("sessions", "[]")}


def all_refused(bench: Bench, asked: list[Work], match: str) -> None:
    """Do these in one batch: each must be refused with words of a reasonable length, and nothing may have changed."""
    before = bench.tables()
    for number, outcome in enumerate(bench.store.commit_together(asked)):
        assert isinstance(outcome, FabricError), f"number {number}: {outcome!r:.300}"
        assert re.search(match, str(outcome)) and len(str(outcome)) < 500, f"number {number}: {outcome!r:.300}"
    assert bench.tables() == before


@pytest.mark.parametrize("operation", [name for name, each in OPERATIONS.items() if each.fields])
def test_fields_that_are_missing_wrong_or_huge(bench: Bench, operation: str) -> None:
    joined(bench)
    body = {name: FIELDS[name] for name in OPERATIONS[operation].fields}
    for name, field in OPERATIONS[operation].fields.items():
        without = {other: value for other, value in body.items() if other != name}
        if not field.optional:
            all_refused(bench, [speaking(operation, without)], f"{operation}: missing {name}: expected ")
        wrong = [value for value in WRONG if not ((value is None and field.optional) or (name, repr(value)) in FITTING)]
        asked = [speaking(operation, {**body, name: value}) for value in wrong]
        all_refused(bench, asked, f"{operation}: (invalid|missing) {name}.* expected |a contact code has 6 characters")
    asked = [Work(raw(operation, junk), CODES, "node", HOSTS) for junk in (None, 5, "x", [body], b"x" * 100_000)]
    all_refused(bench, asked, "expected a map of its fields")


def test_operations_that_are_not_offered(bench: Bench) -> None:
    names = ("", "commit", "_end_page", "once", "expire", "clean", "x" * 100_000)
    all_refused(bench, [work(operation, **FIELDS) for operation in names], "expected one of grant_code, renew")


def test_unknown_codes_agents_and_pages(bench: Bench) -> None:
    joined(bench)
    granted(bench, OTHER)
    for code in ("000000", "99999", "1234567", "abcdef", "0" * 200, "", "'; --", "٣٣٣٣٣٣"):
        bench.refused(UnknownContactCode, work("join", agent="ann", code=code))
    for operation, each in OPERATIONS.items():
        fields = each.fields
        body = {name: FIELDS[name] for name in fields}
        if operation in ("grant_code", "sign_in", "release_page", "sign_out", "renew_many", "buttons_available"):
            continue  # these begin something, or say themselves that there is nothing
        unknown = {"session": NEVER} if "session" in fields else {"agent": "nobody"}
        bench.refused(LeaseExpired, work(operation, **{**body, **unknown}), "no such page|has run out")
        if {"session", "agent"} <= set(fields):
            bench.refused((LeaseExpired, NotAllowed, StateError), work(operation, **{**body, "agent": "nobody"}))  # type: ignore[arg-type]
    before = bench.tables()
    assert ask(bench, "release_page", session=NEVER)[0] == ask(bench, "sign_out", agent="nobody")[0] == {}
    assert ask(bench, "renew_many", sessions=[NEVER])[0] == {"pages": {NEVER: None}}
    assert bench.tables() == before


def test_what_belongs_to_another(bench: Bench) -> None:
    """An agent that is engaged with one page, and names another's, or says that it is another."""
    joined(bench, PAGE, "ann"), joined(bench, OTHER, "bob")
    named: dict[str, Any] = {"session": PAGE, "epoch": 1, "capability": "view"}
    for agent in ("bob", "eve"):
        for operation in ("stop", "confirm_stop", "accept", "decline", "stop_chat", "proactive", "ask"):
            body = {name: named[name] for name in OPERATIONS[operation].fields if name in named}
            for session in (PAGE, handle(PAGE, "ann"), handle(PAGE, agent)):
                asked = {**body, "session": session, "agent": agent}
                bench.refused(LeaseExpired, work(operation, **asked), "was not engaged with it of late")
    bench.refused(NotAllowed, work("confirm_stop", agent="ann", session=PAGE, epoch=2), "epoch 2 has not begun")
    bench.refused(StateError, work("confirm_stop", agent="ann", session=PAGE, epoch=1), "'confirm' is not possible")
    bench.refused(StateError, work("accept", agent="bob", session=OTHER), "'accept' is not possible in state 'idle'")


def test_who_was_engaged_before_does_nothing_to_the_next_ones_chat(bench: Bench) -> None:
    joined(bench, PAGE, "bob")
    ask(bench, "stop", agent="bob", session=PAGE, epoch=1)
    signed_in(bench, "ann", "help")
    ask(bench, "trigger", session=PAGE, button="help")
    bench.do(lambda tx: chats.offer(tx))
    for operation in ("accept", "decline"):
        bench.refused(NotAllowed, work(operation, agent="bob", session=PAGE), "offered to another agent")
    bench.refused(NotAllowed, work("stop_chat", agent="bob", session=PAGE), "only the agent in a chat")
    ask(bench, "accept", agent="ann", session=PAGE)
    bench.refused(NotAllowed, work("stop", agent="bob", session=PAGE, epoch=2), "only the agent in session")

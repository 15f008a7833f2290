"""Requests from the wire: what is right passes, everything else is refused with the field and what would be right."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.errors import FabricError, NotAllowed
from nodes.frame_node.operations import OPERATIONS, for_agent, for_page, parse
from nodes.rules.agreement import sealed
from nodes.rules.contact_codes import CodeFormat
from nodes.rules.errors import UnknownContactCode
from nodes.rules.proofs import engagement_of, handle_of, key_of, name_of
from nodes.store.records import new_page

CODES = CodeFormat()
SESSION = "0123456789abcdef0123456789abcdef"
KEY, LEASE = key_of("a page"), key_of("an agent")
GOOD: dict[str, Any] = {
    "session": SESSION,
    "sessions": [SESSION, SESSION[::-1]],
    "home": "host-1",
    "lease_s": 30,
    "event": "minimise",
    "button": "help",
    "epoch": 1,
    "agent": "ann",
    "name": "Ann Noël",
    "buttons": ["help", "sales"],
    "on": True,
    "code": "012 345",
    "consent": "ask",
    "capability": "view",
}
BAD: dict[str, list[Any]] = {
    "session": ["", "short", "x" * 65, "a/b" * 10, 5, b"0123456789abcdef", ["x"], True],
    "sessions": [SESSION, [SESSION, "short"], [SESSION, 5], [[SESSION]], [SESSION] * 1_001, {SESSION: 1}, 7],
    "home": ["", "a/b", "a b", "+", "x" * 256, "a\0b", 1, {}],
    "lease_s": [0, -1, 601, 1e300, float("nan"), float("inf"), "30", True, 10**400],
    "event": ["open", "", 1, [], {}],
    "button": ["", "a/b", "#", "x" * 65, 7],
    "epoch": [-1, 1.0, "1", True, 2**53 + 1, 10**400],
    "agent": ["", "a/b", "x" * 65, 7, []],
    "name": ["", "a\nb", "x" * 256, "a\0", 3],
    "buttons": ["help", [""], [1], ["a"] * 101, {"help": 1}, [["help"]]],
    "on": [0, 1, "true", []],
    "code": [123456, [], "0" * 201, b"012345"],
    "consent": ["yes", "", True, 1, ["ask"], {}],
    "capability": ["look", "", 1, ["view"], True, {}],
}


def body_of(operation: str) -> dict[str, Any]:
    return {name: GOOD[name] for name in OPERATIONS[operation].fields}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_right_passes_and_unknown_fields_are_ignored(operation: str) -> None:
    expected = {**body_of(operation), **({"code": "012345"} if operation == "join" else {})}
    assert parse(operation, body_of(operation), CODES) == expected
    assert parse(operation, {**body_of(operation), "later": 1, "extra": None}, CODES) == expected


@pytest.mark.parametrize(("operation", "name"), [(op, name) for op, each in OPERATIONS.items() for name in each.fields])
def test_a_field_that_is_missing_or_wrong_is_named(operation: str, name: str) -> None:
    body = body_of(operation)
    for bad in BAD[name]:
        with pytest.raises(NotAllowed, match=f"{operation}: invalid {name} .*: expected ") as caught:
            parse(operation, {**body, name: bad}, CODES)
        assert len(str(caught.value)) < 300
    without = {key: value for key, value in body.items() if key != name}
    if OPERATIONS[operation].fields[name].optional:
        assert parse(operation, without, CODES) == without
    else:
        with pytest.raises(NotAllowed, match=f"{operation}: missing {name}: expected "):
            parse(operation, without, CODES)
        with pytest.raises(NotAllowed, match=f"missing {name}: "):
            parse(operation, {**body, name: None}, CODES)


@pytest.mark.parametrize("operation", [None, "", "drop_tables", "_end_page", 5, ["renew"], "x" * 10_000])
def test_an_operation_that_is_not_offered_is_refused(operation: object) -> None:
    with pytest.raises(NotAllowed, match=r"invalid operation .*: expected one of grant_code, renew") as caught:
        parse(operation, {}, CODES)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("body", [None, [], "renew", 5, b""])
def test_a_body_that_is_no_map_is_refused(body: object) -> None:
    with pytest.raises(NotAllowed, match=r"renew: invalid body .*: expected a map of its fields"):
        parse("renew", body, CODES)


def test_codes_and_session_ids_are_not_repeated_in_messages() -> None:
    with pytest.raises(NotAllowed) as wrong_session:
        parse("renew", {"session": SESSION + "/" + SESSION}, CODES)
    with pytest.raises(NotAllowed) as wrong_sessions:
        parse("renew_many", {"sessions": [SESSION, SESSION + "/"]}, CODES)
    with pytest.raises(UnknownContactCode) as wrong_code:
        parse("join", {"agent": "ann", "code": "01234x"}, CODES)
    assert SESSION not in str(wrong_session.value) and SESSION not in str(wrong_sessions.value)
    assert "01234" not in str(wrong_code.value).replace(CODES.alphabet, "")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_calls_a_function_with_these_arguments(name: str) -> None:
    operation = OPERATIONS[name]
    arguments = set(inspect.signature(operation.call).parameters)
    own = {"node": operation.takes_node, "key": operation.brings_key, "host": name == "grant_code"}
    assert arguments == {"tx", *operation.fields, *(each for each, is_taken in own.items() if is_taken)}
    needed = {field for field, each in operation.fields.items() if not each.optional}
    optional = {p.name for p in inspect.signature(operation.call).parameters.values() if p.default is not p.empty}
    assert set(operation.fields) - optional == needed
    if operation.former_agents:
        assert "session" in operation.fields and not operation.reads


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from([*OPERATIONS, "other"]), st.dictionaries(st.sampled_from([*GOOD, "x"]), JSON) | JSON)
def test_any_body_is_parsed_or_refused(operation: str, body: object) -> None:
    try:
        arguments = parse(operation, body, CODES)
    except FabricError as error:
        assert len(str(error)) < 600
    else:
        assert set(arguments) <= set(OPERATIONS[operation].fields)


def test_an_agent_never_sees_a_code_nor_the_pages_name_before_its_visitor_has_let_it_in() -> None:
    page = new_page(name_of(KEY), "host-1", 30.0, 0.0, key=KEY)._replace(code="012345", agent="ann", chat_agent="bob")
    assert for_page(page)["code"] == "012345" and for_page(page)["session"] == page.session
    handles = [for_agent(page, agent, LEASE)["session"] for agent in ("ann", "bob")]
    assert handles == [handle_of(KEY, page.session, agent) for agent in ("ann", "bob")]
    for cobrowse, chat, gone_at, let_in in (
        ("asked", "idle", None, ""),
        ("joined", "idle", None, "ann"),
        ("stopping", "offered", None, "ann"),
        ("idle", "invited", None, ""),
        ("asked", "open", None, "bob"),
        ("joined", "open", None, "ann bob"),
        ("joined", "open", 1.0, ""),
    ):
        after = page._replace(cobrowse=cobrowse, chat=chat, gone_at=gone_at)
        for agent in ("ann", "bob", "eve"):
            told = for_agent(after, agent, LEASE)
            assert told["gone"] is (gone_at is not None) and "012345" not in map(str, told.values())
            if agent in let_in.split():
                assert told["space"] == f"host-1/{page.session}"
                shared = sealed(LEASE, str(told["engagement"]), told["session"])
                assert shared == engagement_of(KEY, page.session, agent)
            else:
                assert told["space"] is told["engagement"] is None and page.session not in str(told)
            assert KEY not in str(told) and LEASE not in str(told)

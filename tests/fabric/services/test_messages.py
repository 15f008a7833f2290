"""Replies: requests, replies and errors there and back, and that nothing a peer sends raises what it should not."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fabric.errors import (
    Busy,
    FabricError,
    InvalidTopic,
    NotAllowed,
    RequestTimeout,
    ServiceError,
    StateError,
)
from fabric.services.messages import (
    MAX_BUDGET_S,
    Address,
    error_from_map,
    error_payload,
    error_to_map,
    ok_payload,
    read_address,
    read_reply,
    read_request,
    register_error,
    request_headers,
    request_payload,
)
from fabric.wire import Message, decode, encode
from tests.support.payload_strategies import PAYLOADS

SECOND = 1_000_000_000
SENT_NS = 1_700_000_000 * SECOND
HERE = Address("$inbox/me/replies", 7)


def message(payload: Any, headers: dict[str, Any], sent_ns: int = SENT_NS) -> Message:
    return Message("$inbox/x/y", payload, 99, 1, sent_ns, headers)


def asked(deadline_s: float = 5.0, **changes: Any) -> Message:
    payload = request_payload("grant", "key-1", {"page": 1}) | changes
    return message(payload, request_headers(HERE, SENT_NS + int(deadline_s * SECOND)))


def test_a_request_there_and_back() -> None:
    said = asked()
    assert read_address(said) == HERE
    request = read_request(said, HERE, 100.0, 0.0, 1.0)
    assert (request.op, request.key, request.body) == ("grant", "key-1", {"page": 1})
    assert (request.address, request.publisher, request.deadline) == (HERE, 99, 105.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"reply_to": "$inbox/me/replies"},
        {"id": 1},
        {"reply_to": "truck/1", "id": 1},
        {"reply_to": "$fabric/proxy/p1", "id": 1},
        {"reply_to": "$inbox/+/replies", "id": 1},
        {"reply_to": ["$inbox/me/replies"], "id": 1},
        {"reply_to": "$inbox/me/replies", "id": True},
        {"reply_to": "$inbox/me/replies", "id": -1},
        {"reply_to": "$inbox/me/replies", "id": "1"},
    ],
    ids=str,
)
def test_no_address_but_an_inbox(headers: dict[str, Any]) -> None:
    """A server must not be made to publish wherever a peer likes."""
    assert read_address(message(None, headers)) is None


@pytest.mark.parametrize(
    "change", [{"op": ""}, {"op": 5}, {"op": "x" * 101}, {"key": ""}, {"key": None}, {"key": "k" * 201}], ids=str
)
def test_what_is_no_request(change: dict[str, Any]) -> None:
    with pytest.raises(ServiceError, match="invalid request"):
        read_request(asked(**change), HERE, 0.0, 0.0, 1.0)


def test_deadlines_are_spans_of_the_clients_clock() -> None:
    for late_s in (0.0, 0.5, 2.9):
        assert read_request(asked(2.0), HERE, 50.0, late_s, 1.0).deadline == 52.0


def test_a_deadline_that_passed_is_refused() -> None:
    with pytest.raises(RequestTimeout, match="nothing was done"):
        read_request(asked(2.0), HERE, 0.0, 3.001, 1.0)
    with pytest.raises(RequestTimeout):
        read_request(asked(0.0), HERE, 0.0, 0.0, 1.0)
    with pytest.raises(RequestTimeout):
        read_request(asked(-5.0), HERE, 0.0, 0.0, 1.0)


def test_a_deadline_far_away_is_bounded() -> None:
    assert read_request(asked(1e9), HERE, 0.0, 0.0, 1.0).deadline == MAX_BUDGET_S


@settings(deadline=None)
@given(payload=PAYLOADS, deadline=PAYLOADS, part=st.sampled_from(["op", "key", "body", None]))
def test_whatever_comes_to_a_server_is_a_request_or_refused(payload: Any, deadline: Any, part: str | None) -> None:
    whole = payload if part is None else request_payload("grant", "key", None) | {part: payload}
    with contextlib.suppress(ServiceError, RequestTimeout):
        read_request(message(whole, {"deadline_ns": deadline}), HERE, 0.0, 0.0, 1.0)
    read_address(message(whole, {"reply_to": payload, "id": deadline}))


def test_a_reply_there_and_back() -> None:
    found = read_reply(message(ok_payload("run-1", {"code": "123"}), {"id": 7}))
    assert found is not None and (found.id, found.instance, found.body, found.error) == (
        7,
        "run-1",
        {"code": "123"},
        None,
    )
    nothing = read_reply(message(ok_payload("run-1", None), {"id": 7}))
    assert nothing is not None and nothing.body is None and nothing.error is None


@register_error
class OutOfStock(ServiceError):
    """An error of an application, as it would register one."""


ERRORS: list[FabricError] = [
    ServiceError("no"),
    OutOfStock("no 123456 left"),
    NotAllowed("not yours"),
    RequestTimeout("over"),
    Busy("full", 2.5),
    StateError("cobrowse", "idle", "stop", "start it first"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_there_and_back(error: FabricError) -> None:
    found = read_reply(message(error_payload("run-1", error), {"id": 1}))
    assert found is not None and type(found.error) is type(error) and str(found.error) == str(error)
    assert vars(found.error) == vars(error)


@pytest.mark.parametrize("error", [
    Busy("full", float("nan")), Busy("full", float("inf")), Busy("full", -1), Busy("full", 1e9),
    StateError("m", 5, None), StateError("m" * 9_999, "s", "e"),  # type: ignore[arg-type]
], ids=str)  # fmt: skip
def test_an_odd_error_arrives_all_the_same(error: FabricError) -> None:
    """Or the client would wait until its deadline."""
    part = encode("$inbox/me/replies", 1, 1, 0, error_payload("run-1", error))
    found = read_reply(decode(part)._replace(headers={"id": 1}))
    assert found is not None and type(found.error) is type(error)


def test_every_service_error_is_known() -> None:
    """A new subclass must be put into the table, or it would come out as its parent."""
    for kind in ServiceError.__subclasses__():
        if kind.__module__ == "fabric.errors":
            rebuilt = error_from_map(error_to_map(kind("x")))
            assert type(rebuilt) is kind


def test_an_error_is_registered_once_under_its_name() -> None:
    assert register_error(OutOfStock) is OutOfStock, "the same class again changes nothing"
    for name in ("OutOfStock", "NotAllowed", "ServiceError", "Busy", "StateError"):
        with pytest.raises(ValueError, match=f"invalid error class '{name}': expected a name that no other class"):
            register_error(type(name, (ServiceError,), {}))
    assert type(error_from_map(error_to_map(OutOfStock("x")))) is OutOfStock
    assert type(error_from_map(error_to_map(NotAllowed("x")))) is NotAllowed


def test_an_unknown_kind_becomes_a_service_error() -> None:
    found = error_from_map(error_to_map(InvalidTopic("bad")))
    assert type(found) is ServiceError and str(found) == "InvalidTopic: bad"


def test_a_subclass_comes_as_what_is_known_of_it() -> None:
    class TooManyAttempts(NotAllowed):
        pass

    found = error_from_map(error_to_map(TooManyAttempts("wait")))
    assert type(found) is NotAllowed and str(found) == "wait"


def test_messages_are_bounded() -> None:
    assert len(str(error_from_map({"kind": "Busy", "message": "m" * 9_999, "fields": {"retry_after_s": 1}}))) == 1_000
    assert len(str(error_to_map(ServiceError("m" * 9_999))["message"])) == 1_000


@pytest.mark.parametrize("retry_after_s", [None, -1, float("nan"), float("inf"), True, "1", 1e9])
def test_a_busy_that_is_none(retry_after_s: Any) -> None:
    assert error_from_map({"kind": "Busy", "message": "", "fields": {"retry_after_s": retry_after_s}}) is None


@settings(deadline=None)
@given(payload=PAYLOADS, ident=PAYLOADS, part=st.sampled_from(["from", "error", "kind", "message", "fields", None]))
def test_whatever_comes_to_a_client_is_a_reply_or_none(payload: Any, ident: Any, part: str | None) -> None:
    whole = error_payload("run-1", StateError("m", "s", "e"))
    if part is None:
        whole = payload
    elif part in whole:
        whole[part] = payload
    else:
        whole["error"][part] = payload
    for header in (ident, 1):
        found = read_reply(message(whole, {"id": header}))
        assert found is None or found.error is None or isinstance(found.error, FabricError)

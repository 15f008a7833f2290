"""The shapes of requests and replies, and errors as both sides know them. Pure.

request  to `$inbox/<instance>/requests`: payload {"op": str, "key": str, "body": payload},
         headers {"reply_to": topic, "id": int, "deadline_ns": wall clock, ns since 1970}
reply    to `reply_to`, which is `$inbox/<client>/replies`: headers {"id": int}, payload {"from": instance, "ok": body}
         or {"from": instance, "error": {"kind": str, "message": str, "fields": map}}

`kind` is the name of an error's class, or of its nearest base that is registered. A kind that the client has not
registered becomes a `ServiceError` there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from fabric.errors import Busy, FabricError, NotAllowed, RequestTimeout, ServiceError, StateError, expected
from fabric.protocol.inboxes import is_inbox
from fabric.wire import Message

MAX_KEY_CHARS = 200
MAX_OP_CHARS = 100
MAX_MESSAGE_CHARS = 1_000
MAX_BUDGET_S = 3600.0


@dataclass(frozen=True)
class Address:
    """Where an answer goes."""

    reply_to: str
    id: int


@dataclass(frozen=True)
class Request:
    """A request as a handler sees it.

    key:       equal in all retries of one request; given by the client, or random
    deadline:  by the server's monotonic clock
    publisher: who asked, for this run of that node
    """

    op: str
    body: Any
    key: str
    address: Address
    publisher: int
    deadline: float


@dataclass(frozen=True)
class Reply:
    """`error` is None when the request was done; then `body` is its answer."""

    id: int
    instance: str
    body: Any = None
    error: FabricError | None = None


def request_payload(op: str, key: str, body: Any) -> dict[str, Any]:
    return {"op": op, "key": key, "body": body}


def request_headers(address: Address, deadline_ns: int) -> dict[str, Any]:
    return {"reply_to": address.reply_to, "id": address.id, "deadline_ns": deadline_ns}


def flaw_of_request(op: object, key: object) -> str | None:
    """Return what is wrong with an operation or a key, in words, or None."""
    if not (isinstance(op, str) and 0 < len(op) <= MAX_OP_CHARS):
        return expected("op", op, f"a str of 1 to {MAX_OP_CHARS} characters")
    if not (isinstance(key, str) and 0 < len(key) <= MAX_KEY_CHARS):
        return expected("key", key, f"a str of 1 to {MAX_KEY_CHARS} characters")
    return None


def read_address(message: Message) -> Address | None:
    """Where to answer a message; None when it names no inbox: then nobody can be told anything."""
    reply_to, ident = message.headers.get("reply_to"), message.headers.get("id")
    if not is_inbox(reply_to) or type(ident) is not int or ident < 0:
        return None
    return Address(str(reply_to), ident)


def read_request(message: Message, address: Address, now: float, late_s: float, skew_s: float) -> Request:
    """Read a request.

    now:     monotonic
    late_s:  by how much it came later than others of its client, see `fabric.services.clocks`; known to `skew_s`. Its
             deadline is judged by this, and not by two clocks
    errors:  ServiceError for what is no request, RequestTimeout for one whose deadline has passed
    """
    payload, deadline_ns = message.payload, message.headers.get("deadline_ns")
    if not isinstance(payload, dict) or type(deadline_ns) is not int:
        raise ServiceError("invalid request: expected a map with op, key and body, and a header deadline_ns")
    op, key = payload.get("op"), payload.get("key")
    what = flaw_of_request(op, key)
    if what is not None:
        raise ServiceError(f"invalid request: {what}")
    budget_s = min((deadline_ns - message.sent_ns) / 1e9, MAX_BUDGET_S)
    if budget_s <= 0 or late_s - budget_s > skew_s:
        raise RequestTimeout(f"the deadline passed {late_s - budget_s:.3f} s before it came; nothing was done")
    return Request(str(op), payload.get("body"), str(key), address, message.publisher, now + budget_s)


def ok_payload(instance: str, body: Any) -> dict[str, Any]:
    return {"from": instance, "ok": body}


def error_payload(instance: str, error: FabricError) -> dict[str, Any]:
    return {"from": instance, "error": error_to_map(error)}


def read_reply(message: Message) -> Reply | None:
    """Read a reply; None for anything else. Input from a peer never raises."""
    ident, payload = message.headers.get("id"), message.payload
    if type(ident) is not int or not isinstance(payload, dict):
        return None
    instance = payload.get("from")
    if not isinstance(instance, str):
        return None
    if "ok" in payload:
        return Reply(ident, instance, payload["ok"])
    error = error_from_map(payload.get("error"))
    return None if error is None else Reply(ident, instance, None, error)


# --- errors -----------------------------------------------------------------------------------------------------------

_WITH_FIELDS = ("Busy", "StateError")
_STATE_FIELDS = ("machine", "state", "event", "hint")
_PLAIN: dict[str, Callable[[str], FabricError]] = {
    each.__name__: each for each in (ServiceError, NotAllowed, RequestTimeout)
}
"""Errors that are made from their message alone, by their names on the wire. Only `register_error` adds to it."""
_E = TypeVar("_E", bound=type[ServiceError])


def register_error(cls: _E) -> _E:
    """Have errors of this class reach the client as what they are. A decorator, for an application's own errors.

    cls:    made from its message alone. Its name is its name on the wire; both sides must have registered it
    errors: ValueError for a name that another class has
    """
    if cls.__name__ in _WITH_FIELDS or _PLAIN.setdefault(cls.__name__, cls) is not cls:
        raise ValueError(expected("error class", cls.__name__, "a name that no other class is registered under"))
    return cls


def error_to_map(error: FabricError) -> dict[str, Any]:
    """Return an error as it is sent. What is odd in it is mended, so that the client is told in any case."""
    names = [each.__name__ for each in type(error).__mro__]
    kind = next((name for name in names if name in _PLAIN or name in _WITH_FIELDS), names[0])
    fields: dict[str, Any] = {}
    if isinstance(error, Busy):
        wait_s = float(error.retry_after_s)
        fields["retry_after_s"] = min(max(wait_s, 0.0), MAX_BUDGET_S) if wait_s == wait_s else 1.0
    elif isinstance(error, StateError):
        fields = {name: str(getattr(error, name))[:MAX_MESSAGE_CHARS] for name in _STATE_FIELDS}
    return {"kind": kind, "message": str(error)[:MAX_MESSAGE_CHARS], "fields": fields}


def error_from_map(value: object) -> FabricError | None:
    """Rebuild an error; None for anything else. A kind that is not known here becomes a ServiceError."""
    if not isinstance(value, dict):
        return None
    kind, message, fields = value.get("kind"), value.get("message"), value.get("fields")
    if not (isinstance(kind, str) and isinstance(message, str) and isinstance(fields, dict)):
        return None
    message = message[:MAX_MESSAGE_CHARS]
    if kind == "Busy":
        retry_after_s: Any = fields.get("retry_after_s")
        if type(retry_after_s) not in (int, float) or not 0 <= retry_after_s <= MAX_BUDGET_S:  # NaN neither
            return None
        return Busy(message, float(retry_after_s))
    if kind == "StateError":
        parts = [fields.get(name) for name in _STATE_FIELDS]
        if not all(isinstance(part, str) for part in parts):
            return None
        return StateError(*(str(part)[:MAX_MESSAGE_CHARS] for part in parts))
    make = _PLAIN.get(kind)
    return ServiceError(f"{kind[:MAX_OP_CHARS]}: {message}") if make is None else make(message)

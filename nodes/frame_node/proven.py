"""Whose a request is: proven by the key of the page or the agent that it speaks for, and recently.

What may be asked is in `operations`; here is who may ask it. See `nodes.rules.proofs` for what a proof is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fabric.errors import NotAllowed
from nodes.frame_node.hosts import Hosts
from nodes.rules.agreement import PUBLIC_BYTES
from nodes.rules.fields import MAX_SESSIONS, Field, is_key, is_number, list_of, string
from nodes.rules.proofs import FRESH_S, name_of, proves_renewal, proves_request
from nodes.store import agents, pages
from nodes.store.transaction import Transaction

AT = Field(is_number, "when it is asked, in seconds since 1970")
ONCE = Field(lambda value: string(200)(value) and value != "", "1 to 200 characters, the same when it is asked again")
PROOF = Field(is_key, "a proof, 32 hexadecimal digits", secret=True)
HOST = Field(lambda value: isinstance(value, bytes) and len(value) == PUBLIC_BYTES, f"{PUBLIC_BYTES} bytes")
SEALED = Field(is_key, "a key, sealed, 32 hexadecimal digits", secret=True)
PROOFS = Field(list_of(is_key, MAX_SESSIONS), "a list of proofs, one for each session", secret=True)


class Envelope(NamedTuple):
    """What surrounds the fields of a request.

    at:      when it was asked, in seconds since 1970, by the clock of who asked
    once:    the same when it is asked again; "" for what renews many pages
    proofs:  of each page, for what renews many
    """

    at: float
    once: str = ""
    proofs: tuple[str, ...] = ()


class NotProven(NotAllowed):
    """It was not asked by whom it speaks for, or too long ago."""


def read_envelope(operation: str, body: Mapping[str, Any]) -> Envelope:
    """Return what surrounds a request. Errors: NotProven when something is missing or wrong."""
    at = _field(operation, body, "at", AT)
    if operation != "renew_many":
        _field(operation, body, "proof", PROOF)
        return Envelope(float(at), _field(operation, body, "once", ONCE))
    proofs = _field(operation, body, "proofs", PROOFS)
    if len(proofs) != len(body["sessions"]):
        raise NotProven(f"{operation}: invalid proofs: expected {PROOFS.expected}")
    return Envelope(float(at), "", tuple(proofs))


def check_fresh(envelope: Envelope, now: float) -> None:
    """Raise NotProven for what was asked long ago, or will be. `now`: by the store's clock."""
    if not abs(now - envelope.at) <= FRESH_S:
        since = f"asked {now - envelope.at:.0f} s ago by the store's clock"
        raise NotProven(f"{since}: expected at most {FRESH_S:g} s; compare the clocks")


def check_own_key(operation: str, arguments: Mapping[str, Any], body: Mapping[str, Any], hosts: Hosts) -> str:
    """Return the key that a page, or an agent, hands over with its first request.

    errors: NotProven; Busy when too many hosts are new
    """
    host, told = _field(operation, body, "host", HOST), _field(operation, body, "sealed", SEALED)
    key = hosts.key(host, told, body["once"])
    session = arguments.get("session")
    if key is None or (session is not None and name_of(key) != session) or not proves_request(key, operation, body):
        raise NotProven(f"{operation}: invalid key or proof: expected those of the page or agent that asks")
    return key


def meet(operation: str, body: object, hosts: Hosts) -> dict[str, Any]:
    """Answer who wants to agree on a key. Errors: NotProven for what is no public part; Busy."""
    host = _field(operation, body, "host", HOST) if isinstance(body, Mapping) else b""
    answer = hosts.meet(host)
    if answer is None:
        raise NotProven(f"{operation}: invalid host: expected the public part of a page host or an agent")
    return answer


def check_known_key(tx: Transaction, operation: str, arguments: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    """Return the key of whom a request speaks for; "" when that has none, as it is not there: the operation says so.

    errors: NotProven
    cost:   one statement
    """
    agent, session = arguments.get("agent"), arguments.get("session", "")
    found = pages.keys_of(tx, [session]) if agent is None else agents.keys_of(tx, [agent])
    key = found.get(session if agent is None else agent)
    if key is None:
        return ""
    if not key or not proves_request(key, operation, body):
        raise NotProven(f"{operation}: invalid proof: expected one by the page or agent that asks")
    return key


def proven_sessions(tx: Transaction, sessions: list[str], envelope: Envelope) -> dict[str, str]:
    """Return those of many sessions that are proven, or are not there, with their keys. Cost: one statement."""
    keys = pages.keys_of(tx, sessions)
    told = zip(sessions, envelope.proofs, strict=True)
    return {
        session: keys.get(session, "")
        for session, proof in told
        if session not in keys or (keys[session] and proves_renewal(keys[session], proof, envelope.at))
    }


def _field(operation: str, body: Mapping[str, Any], name: str, field: Field) -> Any:
    value = body.get(name)
    if value is None:
        raise NotProven(f"{operation}: missing {name}: expected {field.expected}")
    if not field.fits(value):
        raise NotProven(f"{operation}: invalid {name}: expected {field.expected}")
    return value

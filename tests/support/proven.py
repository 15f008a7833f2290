"""Keys of pages and agents in tests, and requests that are proven by them.

PAGE = page_name("one")                                   # always the same name
body = proven_body("set_visibility", {"session": PAGE, "event": "show"}, at=time.time())
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from nodes.frame_node.hosts import Hosts
from nodes.rules.acquaintance import Acquaintance
from nodes.rules.proofs import handle_of, key_of, name_of, proven_request, renewal_proof

_KEYS: dict[str, str] = {}
"""The key of each page session that was named here."""


def page_name(label: str = "") -> str:
    """Return the name of a page session: of this label, or a new one."""
    key = key_of(f"page {label}" if label else secrets.token_urlsafe(16))
    _KEYS[name_of(key)] = key
    return name_of(key)


def page_key(session: str) -> str:
    """Return the key of a session; of one that was not named here, a key that is not its own."""
    return _KEYS.get(session) or key_of(session)


def handle(session: str, agent: str) -> str:
    """Return by what `agent` knows the page of this session."""
    return handle_of(page_key(session), session, agent)


def agent_key(agent: str) -> str:
    """Return the key of the lease of `agent`, in these tests."""
    return key_of(f"agent {agent}")


def acquainted(hosts: Hosts) -> Acquaintance:
    """Return what a page host knows that has met frame nodes with these `hosts`."""
    found = Acquaintance(bytes(range(32)))
    assert found.met(hosts.meet(found.public), 0.0)
    return found


HOSTS = Hosts(bytes(range(32, 64)))
"""Of a frame node that no store stands behind."""
_ACQUAINTED = acquainted(HOSTS)


def proven_body(
    operation: str, body: Mapping[str, Any], at: float, once: str = "", acquaintance: Acquaintance = _ACQUAINTED
) -> dict[str, Any]:
    """Return a request as whom it speaks for would ask it; a page that was named here is an agent's by its handle.

    once:          default: a new one
    acquaintance:  with the frame nodes that are asked; default: with those of HOSTS
    """
    once = once or secrets.token_hex(8)
    if operation == "renew_many":
        named = body.get("sessions")
        sessions = named if isinstance(named, list) and all(isinstance(each, str) for each in named) else []
        return {**body, "at": at, "proofs": [renewal_proof(page_key(session), at) for session in sessions]}
    agent = body.get("agent")
    key = page_key(str(body.get("session"))) if agent is None else agent_key(str(agent))
    if agent is not None and str(body.get("session")) in _KEYS:
        body = {**body, "session": handle(str(body["session"]), str(agent))}
    brings = acquaintance.handed_over(key, once) if operation in ("grant_code", "sign_in") else {}
    return proven_request(key, operation, {**brings, **body}, at, once)

"""The map of an agent: what a frame node answers to its sign-in and its renewals, proven by the key of its lease. Pure.

`{agent, name, available, buttons, lease_s, pages}`, where `pages` are the state maps of all pages that it is engaged
with; each has a proof, and the whole has one over these. So nobody takes a page out of it, or puts one in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric.wire import PACKING_ERRORS
from nodes.rules.proofs import proof, proves
from nodes.rules.state_map import opened, proven

FIELDS = ("agent", "name", "available", "buttons", "lease_s")


def proven_agent(agent: Mapping[str, Any], key: str, at: float) -> dict[str, Any]:
    """Return an agent's map as it travels. `at`: of the request that it answers."""
    pages = [proven(page, key, at) for page in agent["pages"]]
    return {**agent, "pages": pages, "proof": proof(key, *_said(agent, [page["proof"] for page in pages], at))}


def opened_agent(reply: object, key: str, at: float) -> dict[str, Any] | None:
    """Return what came over the wire, without its proofs; None when one does not hold."""
    if not isinstance(reply, Mapping) or not isinstance(reply.get("pages"), list | tuple):
        return None
    pages = [opened(page, key, at) for page in reply["pages"]]
    if None in pages:
        return None
    try:
        holds = proves(key, reply.get("proof"), *_said(reply, [page["proof"] for page in reply["pages"]], at))
    except PACKING_ERRORS:
        return None
    return {**{name: reply.get(name) for name in FIELDS}, "pages": pages} if holds else None


def _said(agent: Mapping[str, Any], proofs: list[object], at: float) -> tuple[object, ...]:
    return "agent", at, *map(agent.get, FIELDS), proofs

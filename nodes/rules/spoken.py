"""What a page and the agent whom its visitor has let in say to each other: proven by the key that they share. Pure.

The key follows from the page's, and the frame node tells it the agent, sealed (`proofs.engagement_of`). Who only knows
the topics of a session says nothing in it. The proof is in the headers: `by` and `at` with it, when it was said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fabric.wire import PACKING_ERRORS
from nodes.rules.fields import is_number
from nodes.rules.proofs import FRESH_S, proof, proves
from nodes.rules.topics import BY, BY_PAGE

AT, PROOF, PROOFS = "at", "proof", "proofs"


def by_agent(key: str, agent: str, topic: str, payload: Any, at: float) -> dict[str, Any]:
    """Return the headers with which `agent` says something to a page.

    key:    that it shares with the page
    topic:  its name in the page
    at:     now, in seconds since 1970
    """
    return {BY: agent, AT: at, PROOF: proof(key, "by agent", agent, topic, at, payload)}


def by_page(keys: Mapping[str, str], topic: str, payload: Any, at: float) -> dict[str, Any]:
    """Return the headers with which a page says something to agents. `keys`: that it shares with each, by id."""
    return {
        BY: BY_PAGE,
        AT: at,
        PROOFS: {agent: proof(key, "by page", agent, topic, at, payload) for agent, key in keys.items()},
    }


def is_agents(key: str, agent: str, headers: Mapping[str, Any], topic: str, payload: Any, now: float) -> bool:
    """Say whether `agent` has said this to the page, of late."""
    return _holds(key, headers, headers.get(PROOF), ("by agent", agent, topic), payload, now)


def is_pages(key: str, agent: str, headers: Mapping[str, Any], topic: str, payload: Any, now: float) -> bool:
    """Say whether the page has said this to `agent`, of late."""
    proofs = headers.get(PROOFS)
    told = proofs.get(agent) if isinstance(proofs, Mapping) else None
    return _holds(key, headers, told, ("by page", agent, topic), payload, now)


def _holds(
    key: str, headers: Mapping[str, Any], told: object, what: tuple[str, str, str], payload: Any, now: float
) -> bool:
    at = headers.get(AT)
    if not is_number(at) or not abs(now - float(str(at))) <= FRESH_S:
        return False
    try:
        return proves(key, told, *what, at, payload)
    except PACKING_ERRORS:
        return False

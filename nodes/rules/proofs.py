"""Proofs by a shared key: that a request comes from its page or agent, and a state map from a frame node. Pure.

A page session has a *secret*, which only its host knows; a *key*, which is the secret's hash, and which frame nodes
keep; and a *name*, which is the key's hash, and which everybody may know. So a frame node can check by the name alone
that a key is the right one, and nobody takes a name who does not know its key. An agent's lease has a secret and a key.

A proof is a keyed hash (BLAKE2b) over what is said and what it is for, so that it proves nothing else. A request is
proven with the moment at which it was asked, and is refused when that is long ago; what is done once also carries a
random `once`, by which the store knows it if it comes again. The answer is proven with the moment of its request.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import msgpack  # type: ignore[import-untyped]

PROOF_BYTES = 16
FRESH_S = 60.0
"""How old a request may be, and how far the clocks of who asks and of the store may be apart. Shorter than replies are
kept in the store: within it, what comes again is known by its `once`."""
ENVELOPE = ("at", "once", "proof", "proofs", "host", "sealed")
"""Fields of a request beside those of its operation."""


def key_of(secret: str) -> str:
    """Return the key of a secret: 128 bits in 32 hexadecimal digits. `secret`: at least 128 random bits, as text."""
    return blake2b(secret.encode(), digest_size=PROOF_BYTES, person=b"key").hexdigest()


def name_of(key: str) -> str:
    """Return the name of the page session that has this key: 32 hexadecimal digits."""
    return blake2b(key.encode(), digest_size=PROOF_BYTES, person=b"page name").hexdigest()


def derived(key: str, *what: object) -> str:
    """Return a key, or a name, that follows from `key` and tells nothing of it. `what`: payloads."""
    return _hash(key, b"derived", what)


def handle_of(key: str, session: str, agent: str) -> str:
    """Return by what `agent` knows the page session of this key and name; nobody else knows it by that."""
    return derived(key, "handle", session, agent)


def engagement_of(key: str, session: str, agent: str) -> str:
    """Return the key that the page of this key shares with `agent`, whom its visitor has let in: what they say to each
    other is proven by it. A frame node tells it the agent, sealed."""
    return derived(key, "engagement", session, agent)


def proof(key: str, *what: object) -> str:
    """Return a proof of `what`, in 32 hexadecimal digits.

    what:    payloads, see `fabric.payloads`; the first one says what it is for
    cost:    2 us
    """
    return _hash(key, b"proof", what)


def proves(key: str, told: object, *what: object) -> bool:
    """Say whether `told`, which came over the wire, is the proof of `what`; in constant time."""
    return isinstance(told, str) and told.isascii() and hmac.compare_digest(told, proof(key, *what))


def proven_request(key: str, operation: str, body: Mapping[str, Any], at: float, once: str) -> dict[str, Any]:
    """Return the body of a request with its proof.

    at:    when it is asked, in seconds since 1970
    once:  random, the same when it is asked again
    """
    whole = {**body, "at": at, "once": once}
    return {**whole, "proof": proof(key, "request", operation, sorted(whole.items()))}


def proves_request(key: str, operation: str, body: Mapping[str, Any]) -> bool:
    """Say whether a request that came over the wire is proven by `key`, with all that its body says."""
    whole = sorted((name, value) for name, value in body.items() if name != "proof")
    return proves(key, body.get("proof"), "request", operation, whole)


def renewal_proof(key: str, at: float) -> str:
    """Return the proof of one page in a request that renews many."""
    return proof(key, "renewal", at)


def proves_renewal(key: str, told: object, at: float) -> bool:
    """Say whether `told` is the `renewal_proof` of a page."""
    return proves(key, told, "renewal", at)


def _hash(key: str, person: bytes, what: tuple[object, ...]) -> str:
    packed: bytes = msgpack.packb(what)
    return blake2b(packed, key=key.encode(), digest_size=PROOF_BYTES, person=person).hexdigest()

"""A key that two agree on while others listen (Diffie and Hellman), and what is sealed with it. Pure.

A page host or an agent agrees with the frame nodes of a store on a key, and hands the keys of its sessions over sealed
with it: who reads all that is said, and says what they like, does not learn them. Whom one has agreed with, nobody
proves: who stands in for the frame nodes at the first meeting is taken for them. That needs keys for nodes.

The group is RFC 3526, number 14: the numbers modulo a prime of 2,048 bits, as exact as its formula in the test.
"""

from __future__ import annotations

from hashlib import blake2b

from nodes.rules.proofs import derived

_PRIME = int(
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd"
    "ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a637ed6b0bff5cb6f406b7ed"
    "ee386bfb5a899fa5ae9f24117c4b1fe649286651ece45b3dc2007cb8a163bf0598da48361c55d39a69163fa8fd24cf5f"
    "83655d23dca3ad961c62f356208552bb9ed529077096966d670c354e4abc9804f1746c08ca18217c32905e462e36ce3b"
    "e39e772c180e86039b2783a2ec07a28fb5c55df06f4c52c9de2bcbf6955817183995497cea956ae515d2261898fa0510"
    "15728e5a8aacaa68ffffffffffffffff",
    16,
)
PUBLIC_BYTES = 256
PRIVATE_BYTES = 32


def public_of(private: bytes) -> bytes:
    """Return what the other side is told. `private`: PRIVATE_BYTES random ones. Cost: 2 ms."""
    return pow(2, _exponent(private), _PRIME).to_bytes(PUBLIC_BYTES, "big")


def agreed(private: bytes, public: bytes) -> str | None:
    """Return the key that both sides come to, by one's own `private` and the other's `public`; None for what is no
    public part. Cost: 3 ms."""
    other = int.from_bytes(public, "big")
    if len(public) != PUBLIC_BYTES or not 1 < other < _PRIME - 1:
        return None
    shared = pow(other, _exponent(private), _PRIME).to_bytes(PUBLIC_BYTES, "big")
    return blake2b(shared, digest_size=16, person=b"agreed").hexdigest()


def sealed(agreed_key: str, key: str, once: str) -> str:
    """Return a key as it travels, or, of one that has travelled, the key.

    once:  random, for this key only: a second key with the same would tell how the two differ
    """
    pad = int(derived(agreed_key, "seal", once), 16)
    return f"{int(key, 16) ^ pad:032x}"


def _exponent(private: bytes) -> int:
    """Even, so that a number from outside the group's large part tells nothing of it."""
    return 2 * int.from_bytes(private, "big")

"""A secret that other secrets follow from: in a file, and long enough that nobody guesses it."""

from __future__ import annotations

from nodes.cli.exits import Exit, Fail
from nodes.cli.options import read_secret

MIN_SECRET_BYTES = 16


def read_long_secret(path: str) -> bytes:
    """Return what a file holds, without white space around it. Errors: Fail for too little, and as `read_secret`."""
    secret = read_secret(path).strip()
    if len(secret) < MIN_SECRET_BYTES:
        raise Fail(f"{path} holds {len(secret)} bytes: expected {MIN_SECRET_BYTES} or more", Exit.MISSING)
    return secret

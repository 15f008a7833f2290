"""A secret that a command is given: by a file, never on its command line, which every user of the machine may read."""

from __future__ import annotations

from pathlib import Path

from nodes.cli.exits import Exit, Fail

MIN_SECRET_BYTES = 16


def read_secret(path: str) -> bytes:
    """Return what a file holds, without the white space around it. errors: Fail when that is nothing, or too little."""
    try:
        secret = Path(path).read_bytes().strip()
    except OSError as error:
        raise Fail(f"{path} cannot be read: {error}", Exit.MISSING) from None
    if len(secret) < MIN_SECRET_BYTES:
        raise Fail(f"{path} holds {len(secret)} bytes: expected {MIN_SECRET_BYTES} or more", Exit.MISSING)
    return secret

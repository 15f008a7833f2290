"""The agents that may sign in: a file of JSON lines, with hashes of their passwords. Pure.

    {"agent": "ada", "name": "Ada", "buttons": ["help"], "scrypt": "<salt>$<hash>"}

`fabric gateway-token` prints such a line. The hash is scrypt with N = 2**14, r = 8, p = 1: 16 MB and some 50 ms a try.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import scrypt, sha256

from fabric.errors import expected
from nodes.rules.fields import ID_WORDS, is_id, is_name

N, R, P = 2**14, 8, 1
SALT_BYTES = 16
MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 1_000
_HASH = re.compile(r"[0-9a-f]{32}\$[0-9a-f]{64}")


@dataclass(frozen=True)
class Credential:
    """One agent that may sign in. `hashed`: salt and hash of its password."""

    agent: str
    name: str
    buttons: tuple[str, ...]
    hashed: str

    def to_line(self) -> str:
        line = {"agent": self.agent, "name": self.name, "buttons": list(self.buttons), "scrypt": self.hashed}
        return json.dumps(line, ensure_ascii=False)


NOBODY = Credential("", "", (), f"{'0' * 32}${'0' * 64}")
"""Whose password is checked when there is no such agent, so that the answer takes as long."""


def make(agent: str, name: str, buttons: Iterable[str], password: str, salt: bytes) -> Credential:
    """Return a credential. Errors: ValueError, which never repeats the password."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise ValueError(f"invalid password: expected {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")
    return _checked(agent, name, list(buttons), f"{salt.hex()}${_hash(password, salt).hex()}")


def is_right(credential: Credential, password: str) -> bool:
    """Say whether this is the password. Cost: some 50 ms."""
    salt, _, wanted = credential.hashed.partition("$")
    found = _hash(password[:MAX_PASSWORD_CHARS], bytes.fromhex(salt)).hex()
    return hmac.compare_digest(found, wanted) and len(password) <= MAX_PASSWORD_CHARS


def read_agents(text: str) -> dict[str, Credential]:
    """Return the agents of a file, by id. Errors: ValueError, with the number of the line."""
    found: dict[str, Credential] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            fields = json.loads(line)
            one = _checked(fields["agent"], fields.get("name"), fields.get("buttons", []), fields["scrypt"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"line {number}: {why}; expected what `fabric gateway-token` prints") from None
        if one.agent in found:
            raise ValueError(f"line {number}: agent {one.agent!r} is there twice")
        found[one.agent] = one
    return found


def _checked(agent: object, name: object, buttons: object, hashed: object) -> Credential:
    if not isinstance(agent, str) or not is_id(agent):
        raise ValueError(expected("agent", agent, ID_WORDS))
    if name is None:
        name = agent
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(expected("name", name, "1 to 255 printable characters"))
    if not isinstance(buttons, list) or not all(map(is_id, buttons)):
        raise ValueError(expected("buttons", buttons, f"a list of ids, each {ID_WORDS}"))
    if not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
        raise ValueError("invalid scrypt: expected a salt of 32 and a hash of 64 hexadecimal digits, with $ between")
    return Credential(agent, name, tuple(buttons), hashed)


def _hash(password: str, salt: bytes) -> bytes:
    # Of its digest: scrypt alone takes a password for the same with NULs behind it.
    digest = sha256(password.encode("utf-8", "surrogatepass")).digest()
    return scrypt(digest, salt=salt, n=N, r=R, p=P, dklen=32)

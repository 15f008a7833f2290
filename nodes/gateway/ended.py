"""What has ended before its time: cookies that were signed out, page sessions that are over, their older tokens. Pure.

    ended = Ended()
    ended.add("cookie 5jX…", until, now)      # until: when it would have ended anyway; wall clock
    "cookie 5jX…" in ended

A name is kept until then; tokens and cookies are refused by their age from there on.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from itertools import islice

MOST = 100_000
"""Names of one kind that are kept; of more, the one that was added first goes."""
MOST_CHARS = 100
MOST_S = 24 * 3600.0
"""No name is kept for longer, whatever others say."""


def cookie_name(nonce: str) -> str:
    """Return the name of an agent's cookie."""
    return f"cookie {nonce}"


def session_name(session: str) -> str:
    """Return the name of a page session, which can be told: it is no session id."""
    return f"session {_hash(session)}"


def token_name(session: str, generation: int) -> str:
    """Return the name of one generation of a session's tokens."""
    return f"token {_hash(session)} {generation}"


def _hash(session: str) -> str:
    return sha256(session.encode()).hexdigest()[:32]


class Ended:
    """Names of one kind, and until when each is kept."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._until: dict[str, float] = {}
        """By name, in the order in which they were added."""

    def __contains__(self, name: object) -> bool:
        return name in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, name: object, until: object, now: float) -> bool:
        """Keep a name; False for one that is kept already, is over, or is none: others may say anything."""
        if not isinstance(name, str) or len(name) > MOST_CHARS or not isinstance(until, int | float):
            return False
        if name in self._until or not now < until <= now + MOST_S:
            return False
        self._until[name] = float(until)
        while len(self._until) > self._most:
            del self._until[next(iter(self._until))]
        return True

    def forget(self, now: float) -> None:
        """Drop what would be over now anyway."""
        self._until = {name: until for name, until in self._until.items() if until > now}

    def newest(self, most: int) -> Iterable[tuple[str, float]]:
        """Return the names that were added last, the newest first, each with its `until`."""
        return islice(reversed(self._until.items()), most)

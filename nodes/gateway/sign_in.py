"""Signing agents in: passwords, cookies, lock-out.

A cookie is signed, so that any gateway with the same secret takes it. Signing out ends it at all that run; at one that
does not hear of it, it is good until its 12 hours are over, or the agent's line in the file has changed.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from nodes.gateway.credentials import NOBODY, Credential, is_right
from nodes.gateway.lockout import LockOut
from nodes.gateway.tokens import agent_of, read_cookie, write_cookie

MAX_FAILURES = 5
"""For one agent from one address: a stranger who guesses does not lock the agent out elsewhere."""
MAX_FAILURES_OF_AGENT = 50
"""From all addresses together."""
MAX_FAILURES_OF_ADDRESS = 20
WINDOW_S = 300.0
AT_ONCE = 2
"""Passwords that are checked at the same time: each takes 16 MB and a core."""
MAX_WAITING = 50
MAX_ENDED = 10_000


@dataclass(frozen=True)
class Refused(Exception):
    """Not signed in. retry_after_s: above 0 when it is locked out, or too busy."""

    why: str
    retry_after_s: float = 0.0


class SignIn:
    """Who may sign in here, and who is. Used in the event loop."""

    def __init__(self, secret: bytes, agents: Mapping[str, Credential]) -> None:
        self._secret, self._agents = secret, agents
        self._by_both = LockOut(MAX_FAILURES, WINDOW_S)
        self._by_agent = LockOut(MAX_FAILURES_OF_AGENT, WINDOW_S)
        self._by_address = LockOut(MAX_FAILURES_OF_ADDRESS, WINDOW_S)
        self._checking = asyncio.Semaphore(AT_ONCE)
        """Held while a password is checked."""
        self._waiting = 0
        """Sign-ins under way, checked or waiting for it: from 0 to `MAX_WAITING`."""
        self._ended: dict[str, None] = {}
        """The nonces of cookies that ended before their time, in that order; at most `MAX_ENDED`."""

    async def sign_in(self, agent: str, password: str, address: str) -> tuple[Credential, str]:
        """Return the agent and its cookie. Errors: Refused."""
        self._check_lock(agent, address)
        if self._waiting >= MAX_WAITING:
            raise Refused("too many sign in at once", 1.0)
        self._waiting += 1
        try:
            async with self._checking:
                self._check_lock(agent, address)  # others may have failed meanwhile
                known = self._agents.get(agent, NOBODY)
                right = await asyncio.to_thread(is_right, known, password)
        finally:
            self._waiting -= 1
        now = time.monotonic()
        if not right or known is NOBODY:
            for lock_out, key in self._locks(agent, address):
                lock_out.failed(key, now)
            raise Refused("no agent has this id and password")
        self._by_both.succeeded(f"{agent} {address}")
        return known, write_cookie(self._secret, agent, known.hashed, time.time(), secrets.token_urlsafe(16))

    def agent(self, cookie: str | None) -> Credential | None:
        """Return whose cookie this is, if it holds."""
        if not cookie:
            return None
        known = self._agents.get(agent_of(cookie) or "")
        if known is None:
            return None
        nonce = read_cookie(self._secret, cookie, known.hashed, time.time())
        return known if nonce is not None and nonce not in self._ended else None

    def nonce(self, cookie: str) -> str | None:
        """Return what names this cookie, if it holds, and can be told to others."""
        known = self.agent(cookie)
        return None if known is None else read_cookie(self._secret, cookie, known.hashed, time.time())

    def end(self, nonce: str) -> None:
        """End the cookie of this name."""
        self._ended[nonce] = None
        while len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def _check_lock(self, agent: str, address: str) -> None:
        now = time.monotonic()
        locked_s = max(lock_out.locked_s(key, now) for lock_out, key in self._locks(agent, address))
        if locked_s > 0:
            raise Refused("too many wrong passwords; try again later", locked_s)

    def _locks(self, agent: str, address: str) -> tuple[tuple[LockOut, str], ...]:
        both = f"{agent} {address}"
        return (self._by_both, both), (self._by_agent, agent), (self._by_address, address)

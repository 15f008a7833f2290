"""Signing agents in: passwords, cookies, lock-out.

A cookie is signed, so that any gateway with the same secret takes it. It holds until it is signed out (`endings`), its
12 hours are over, or the agent's line in the file has changed.

Whoever knows an agent's id can send wrong passwords for it, and anyone can send very many. So that neither closes the
door to the right person, those who try stand in three queues, with failures that are counted apart:

    an agent in a browser that it has signed in with before    by that browser
    an agent in any other browser                              by host, by agent, by both
    an id that no agent has                                    alike; but what is checked is nobody's password

The second and the third are told apart by nothing that a stranger can see: both wait behind the second queue, take as
long as one check, and are refused in the same words.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from nodes.gateway.credentials import NOBODY, Credential, is_right
from nodes.gateway.ended import cookie_name
from nodes.gateway.lanes import Full, Lane, Places
from nodes.gateway.lockout import LockOut
from nodes.gateway.tokens import (
    MAX_DEVICE_AGENTS,
    Device,
    agent_of,
    read_cookie,
    read_device,
    write_cookie,
    write_device,
)

MAX_FAILURES = 5
"""For one agent from one host, or in one browser: a stranger who guesses does not lock the agent out elsewhere."""
MAX_FAILURES_OF_AGENT = 50
"""From all hosts together; browsers that the agent has signed in with before are not concerned."""
MAX_FAILURES_OF_HOST = 20
WINDOW_S = 300.0
MAX_WAITING = 50
"""In each queue. Passwords are checked one by one in each: a check takes 16 MB and a core."""
MAX_OF_ONE = 5
"""Sign-ins under way of one host, or in one browser."""
CHECK_S = 0.06
"""How long a check takes, before one was measured."""


@dataclass(frozen=True)
class Refused(Exception):
    """Not signed in. retry_after_s: above 0 when it is locked out, or too busy."""

    why: str
    retry_after_s: float = 0.0


Lock = tuple[LockOut, str]


class SignIn:
    """Who may sign in here, and who is. Used in the event loop.

    ended:  the names, `cookie_name`, of cookies that have ended before their time
    """

    def __init__(self, secret: bytes, agents: Mapping[str, Credential], ended: Container[str] = ()) -> None:
        self._secret, self._agents, self._ended = secret, agents, ended
        self._by_device = LockOut(MAX_FAILURES, WINDOW_S)
        self._by_both = LockOut(MAX_FAILURES, WINDOW_S)
        self._by_agent = LockOut(MAX_FAILURES_OF_AGENT, WINDOW_S)
        self._by_invented = LockOut(MAX_FAILURES_OF_AGENT, WINDOW_S)
        """Ids that no agent has; apart, so that any number of them makes no agent's failures forgotten."""
        self._by_host = LockOut(MAX_FAILURES_OF_HOST, WINDOW_S)
        self._devices, self._strangers = Lane(MAX_WAITING), Lane(MAX_WAITING)
        self._nobody = asyncio.Lock()
        """Held while nobody's password is checked."""
        self._of_one = Places(MAX_OF_ONE)
        """Of each host, or browser, whichever queue they are in."""
        self._took_s = CHECK_S
        """How long the last check of an agent's password took."""

    async def sign_in(
        self, agent: str, password: str, host: str, device: str | None = None
    ) -> tuple[Credential, str, str]:
        """Return the agent, its cookie, and the one of its browser. Errors: Refused.

        host:    where it comes from, as `addresses.host_of` has it
        device:  the cookie that says whether the browser is known
        """
        known, here = self._agents.get(agent, NOBODY), self._device(device)
        is_device = here is not None and known is not NOBODY and agent in here.agents
        owner = f"device {here.nonce}" if here is not None and is_device else f"host {host}"
        locks = self._locks(known, agent, host, owner if is_device else None)
        _check(locks)
        try:
            async with self._of_one.place(owner), self._queue(known, is_device):
                _check(locks)  # others may have failed meanwhile
                right = await self._is_right(known, password)
        except Full:
            raise Refused("too many sign in at once", 1.0) from None
        now = time.monotonic()
        if not right or known is NOBODY:
            for lock_out, key in locks:
                lock_out.failed(key, now)
            raise Refused("no agent has this id and password")
        locks[0][0].succeeded(locks[0][1])
        cookie = write_cookie(self._secret, agent, known.hashed, time.time(), secrets.token_urlsafe(16))
        return known, cookie, self._device_cookie(agent, here)

    def agent(self, cookie: str | None) -> Credential | None:
        """Return whose cookie this is, if it holds."""
        if not cookie:
            return None
        known = self._agents.get(agent_of(cookie) or "")
        if known is None:
            return None
        nonce = read_cookie(self._secret, cookie, known.hashed, time.time())
        return known if nonce is not None and cookie_name(nonce) not in self._ended else None

    def nonce(self, cookie: str) -> str | None:
        """Return what names this cookie, if it holds, and can be told to others."""
        known = self.agent(cookie)
        return None if known is None else read_cookie(self._secret, cookie, known.hashed, time.time())

    # ── queues ───────────────────────────────────────────────────────────────────────────────────────────────────

    @asynccontextmanager
    async def _queue(self, known: Credential, is_device: bool) -> AsyncIterator[None]:
        """Wait in the queue for this one. Errors: Full."""
        if known is not NOBODY:
            async with (self._devices if is_device else self._strangers).turn():
                yield
            return
        if self._strangers.is_full:
            raise Full
        await self._strangers.passed()
        yield

    async def _is_right(self, known: Credential, password: str) -> bool:
        """Say whether this is the password. Nobody's takes as long, and only one of many at once takes a core."""
        if known is NOBODY and self._nobody.locked():
            await asyncio.sleep(self._took_s)
            return False
        if known is NOBODY:
            async with self._nobody:
                return await asyncio.to_thread(is_right, known, password)
        began = time.monotonic()
        right = await asyncio.to_thread(is_right, known, password)
        self._took_s = time.monotonic() - began
        return right

    # ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _locks(self, known: Credential, agent: str, host: str, device: str | None) -> tuple[Lock, ...]:
        """Return where failures of this one count; a success makes those of the first forgotten."""
        if device is not None:
            return ((self._by_device, f"{agent} {device}"),)
        of_agent = self._by_invented if known is NOBODY else self._by_agent
        return (self._by_both, f"{agent} {host}"), (of_agent, agent), (self._by_host, host)

    # ── devices ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _device(self, cookie: str | None) -> Device | None:
        return read_device(self._secret, cookie, time.time()) if cookie else None

    def _device_cookie(self, agent: str, before: Device | None) -> str:
        """Return a cookie for a browser that this agent has signed in with now."""
        others = () if before is None else tuple(each for each in before.agents if each != agent)
        nonce = secrets.token_urlsafe(16) if before is None else before.nonce
        return write_device(self._secret, Device((agent, *others)[:MAX_DEVICE_AGENTS], nonce), time.time())


def _check(locks: tuple[Lock, ...]) -> None:
    """Errors: Refused, when one of these keys is locked out."""
    now = time.monotonic()
    locked_s = max(lock_out.locked_s(key, now) for lock_out, key in locks)
    if locked_s > 0:
        raise Refused("too many wrong passwords; try again later", locked_s)

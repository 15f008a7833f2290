"""A queue for what is heavy: so many are done at once, so many wait, and one crowd cannot take all places.

async with lane.turn("203.0.113.9"):
    ...
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Full(Exception):
    """There is no place in this lane at present."""


class Places:
    """How many things of each owner are under way. Used in the event loop.

    most_of_one:  of one owner at the same time
    """

    def __init__(self, most_of_one: int) -> None:
        self._most_of_one = most_of_one
        self._of: Counter[str] = Counter()
        """By owner, from 1 to `most_of_one`; none stays at 0."""

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Hold one of an owner's places. Errors: Full."""
        if self._of[owner] >= self._most_of_one:
            raise Full
        self._of[owner] += 1
        try:
            yield
        finally:
            self._of[owner] -= 1
            if not self._of[owner]:
                del self._of[owner]


class Lane:
    """One queue, first come, first served. Used in the event loop.

    most_waiting:  under way or waiting, at most; they are done one by one
    """

    def __init__(self, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self._turn = asyncio.Semaphore(1)
        """Held by the one whose turn it is."""
        self._here = 0
        """Under way or waiting, from 0 to `most_waiting`."""

    @property
    def is_full(self) -> bool:
        return self._here >= self._most_waiting

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn, and have it. Errors: Full."""
        if self.is_full:
            raise Full
        self._here += 1
        try:
            async with self._turn:
                yield
        finally:
            self._here -= 1

    async def passed(self) -> None:
        """Wait as long as one who comes now has to, and take no place."""
        async with self._turn:
            pass

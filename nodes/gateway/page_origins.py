"""Of which sites the pages of an agent are: asked of the gateways that have them, since a page may say anything.

origins = Origins(sessions.origin, tell)
origins.look_up(agent.pages())           # tells each origin once it is known, and again when a page is elsewhere
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

OriginFun = Callable[[str, str], Awaitable[str | None]]
"""Returns a page's origin, from its session and its home."""


class Origins:
    """Of the pages of one agent. Used in the event loop.

    origin:  asks for one
    tell:    called with a session and its origin
    """

    def __init__(self, origin: OriginFun, tell: Callable[[str, str], None]) -> None:
        self._origin, self._tell = origin, tell
        self.known: dict[str, str] = {}
        """By session: of those of `_homes` that were answered."""
        self._homes: dict[str, str] = {}
        """Where each session was when its origin was told last, or is asked for. Holds the agent's pages only."""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By session: the question that is under way."""

    def look_up(self, pages: Iterable[Mapping[str, Any]]) -> None:
        """Ask for those that are not known; forget those of other pages. What got no answer is asked for again."""
        homes = {page["session"]: page["home"] for page in pages if isinstance(page.get("home"), str)}
        for session in self._homes.keys() - homes.keys():
            del self._homes[session]
            self.known.pop(session, None)
        for session, home in homes.items():
            is_known = session in self.known and self._homes[session] == home
            if not is_known and session not in self._asking:
                self._homes[session] = home
                self._asking[session] = asyncio.create_task(self._ask(session, home))

    async def _ask(self, session: str, home: str) -> None:
        try:
            found = await self._origin(session, home)
        finally:
            del self._asking[session]
        if found is not None and self._homes.get(session) == home:
            self.known[session] = found
            self._tell(session, found)

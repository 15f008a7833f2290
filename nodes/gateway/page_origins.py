"""Of which sites the pages of an agent are: asked of the gateways that have them, since a page may say anything.

origins = Origins(sessions.origin, tell)
origins.look_up(agent.pages())           # tells each origin once it is known, and again when a page is elsewhere
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

OriginFun = Callable[[str, str], Awaitable[str | None]]
"""Returns a page's origin, from its name and its home."""


class Origins:
    """Of the pages of one agent. Used in the event loop.

    origin:  asks for one
    tell:    called with a session and its origin
    """

    def __init__(self, origin: OriginFun, tell: Callable[[str, str], None]) -> None:
        self._origin, self._tell = origin, tell
        self.known: dict[str, str] = {}
        """By session: of those of `_spaces` that were answered."""
        self._spaces: dict[str, str] = {}
        """Where each session was heard when its origin was told last, or is asked for. Holds only those of the agent's
        pages whose visitors have let it in."""
        self._asking: dict[str, asyncio.Task[None]] = {}
        """By session: the question that is under way."""

    def look_up(self, pages: Iterable[Mapping[str, Any]]) -> None:
        """Ask for those that are not known; forget those of other pages. What got no answer is asked for again."""
        spaces = {page["session"]: page["space"] for page in pages if isinstance(page.get("space"), str)}
        for session in self._spaces.keys() - spaces.keys():
            del self._spaces[session]
            self.known.pop(session, None)
        for session, space in spaces.items():
            is_known = session in self.known and self._spaces[session] == space
            if not is_known and session not in self._asking:
                self._spaces[session] = space
                self._asking[session] = asyncio.create_task(self._ask(session, space))

    async def _ask(self, session: str, space: str) -> None:
        home, _, name = space.partition("/")
        try:
            found = await self._origin(name, home)
        finally:
            del self._asking[session]
        if found is not None and self._spaces.get(session) == space:
            self.known[session] = found
            self._tell(session, found)

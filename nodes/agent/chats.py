"""The chats of one agent: what was said in each, whether the visitor is there, and what is left to be read. Pure.

A chat is kept from when it is open until the agent dismisses it, also when it has ended or its page is gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nodes.rules.transcript import ChatLine, Transcript

AWAY_S = 2.0
"""A page that is loaded again has no browser for less."""
SILENT_S = 5.0
"""So long nothing was heard of a visitor's browser, or of what hosts it: it may not be there."""
MAX_ENDED = 50
"""Chats that have ended and wait to be dismissed; of more, the one that ended first goes."""


class Chat:
    """What is known of one chat with the visitor of `session`."""

    def __init__(self, session: str) -> None:
        self.session = session
        """Does not change."""
        self.transcript = Transcript()
        """What was said, as far as it was heard; it only grows, up to its bounds."""
        self.is_open = True
        """Until it ends, for good: a later chat with the same page is another one."""
        self.is_away = False
        """Whether the agent was told that the visitor is not there; only while the chat is open."""
        self._heard_at: float | None = None
        """When something was last heard of the visitor's presence; None: never, as of a page without a browser."""

    def heard(self, line: ChatLine) -> tuple[bool, bool]:
        """Take a line of the visitor's. Return whether it is news, and whether lines before it are missing."""
        unnumbered = sum(not each.n for each in self.transcript.lines)
        is_gap = line.n > self.transcript.last + unnumbered + 1
        return self.transcript.add(line), is_gap

    def handed_over(self, lines: Iterable[ChatLine], dropped: int) -> bool:
        """Take what the page has of the chat. Return whether anything of it was not known."""
        before = self.transcript.lines, self.transcript.dropped
        self.transcript.merge(lines, dropped)
        return before != (self.transcript.lines, self.transcript.dropped)

    def saw(self, silent_s: float, is_open: bool, now: float) -> bool | None:
        """The visitor's browser was heard of. Return whether the visitor is away; None: that is no news."""
        self._heard_at = now - silent_s
        return self._now_away(silent_s >= SILENT_S or (not is_open and silent_s >= AWAY_S))

    def tick(self, now: float) -> bool | None:
        """Time goes by; returns as `saw`."""
        is_silent = self.is_open and self._heard_at is not None and now - self._heard_at >= SILENT_S
        return self._now_away(True) if is_silent else None

    def end(self) -> None:
        self.is_open = self.is_away = False
        self._heard_at = None

    def _now_away(self, is_away: bool) -> bool | None:
        if not self.is_open or is_away is self.is_away:
            return None
        self.is_away = is_away
        return is_away

    def as_map(self) -> dict[str, Any]:
        """Return it as the agent's program is told it."""
        return {
            "session": self.session,
            "open": self.is_open,
            "away": self.is_away,
            **self.transcript.as_map(),
        }


class Chats:
    """All chats of one agent, by session."""

    def __init__(self) -> None:
        self._chats: dict[str, Chat] = {}
        """The open ones, and at most MAX_ENDED that have ended and hold something to be read, in that order of time."""

    def all(self) -> list[Chat]:
        return list(self._chats.values())

    def get(self, session: str) -> Chat | None:
        return self._chats.get(session)

    def open(self, session: str) -> Chat | None:
        """Return the chat with a page while it is open."""
        found = self._chats.get(session)
        return found if found is not None and found.is_open else None

    def opened(self, session: str) -> None:
        """A chat begins, in the place of one that has ended."""
        if self.open(session) is None:
            self._chats.pop(session, None)
            self._chats[session] = Chat(session)

    def ended(self, session: str) -> None:
        """It is over; without a line there is nothing to be read."""
        chat = self._chats.pop(session, None)
        if chat is None:
            return
        chat.end()
        if len(chat.transcript):
            self._chats[session] = chat
        over = [each.session for each in self._chats.values() if not each.is_open]
        for first in over[:-MAX_ENDED]:
            del self._chats[first]

    def dismiss(self, session: str) -> bool:
        """The agent has read it. Return whether it is gone; one that is open stays."""
        if self.open(session) is not None:
            return False
        return self._chats.pop(session, None) is not None

    def said(self, session: str, line: ChatLine) -> None:
        """The agent has said something itself."""
        chat = self.open(session)
        if chat is not None:
            chat.transcript.add(line)

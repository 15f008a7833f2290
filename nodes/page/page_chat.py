"""The page's end of a chat: it numbers the lines, holds them, and hands them to the agent who has the chat. Pure.

Every line passes here, the visitor's on its way out and the agent's on its way in; so one place says in which order
they were said. An agent that comes, or comes back, says so by `topics.JOINED`, and is sent what was said so far: by a
topic of its own, which no other agent hears. What is said before both sides know that the chat is open waits for that.

A chat that has ended can be read until another one begins, the visitor dismisses it, or the session is over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fabric.wire import Message
from nodes.page.interface import Effect, Event, LineKept, Send
from nodes.rules import topics
from nodes.rules.topics import BY, BY_PAGE
from nodes.rules.transcript import MAX_NAME_CHARS, ChatLine, Transcript, said

MAX_EARLY = 20
"""Lines of each side that wait for the chat to be open."""


_WHY = "no chat is open: it has ended, or has not begun"
_REFUSED = Event(topics.REFUSED, {"what": "message", "why": _WHY, "error": "StateError"})


@dataclass(frozen=True, slots=True)
class Kept:
    """The lines of a chat with `agent`, as they were kept elsewhere while the page's process was not there."""

    agent: str
    lines: tuple[ChatLine, ...]
    dropped: int = 0


class PageChat:
    """The chat of one page.

    handle:  by which an agent, of this id, knows the page
    kept:  lines from before, which count again if the chat is open with the same agent still
    """

    def __init__(self, handle: Callable[[str], str], kept: Kept | None = None) -> None:
        self._handle = handle
        """Does not change."""
        self.transcript = Transcript()
        """Of the present chat, or the last one. Another takes its place when a chat begins, or when it is dismissed."""
        self.agent: str | None = None
        """Who has the chat; None while none is open. `opened` and `ended` set it."""
        self._last_agent: str | None = None
        """Whose the transcript is; None: of nobody."""
        self._kept = kept
        """What came from elsewhere, until the first chat is open."""
        self._n = kept.lines[-1].n if kept is not None and kept.lines else 0
        """The last number that was used; only grows."""
        self._joined = False
        """Whether the visitor was told the agent's name in this chat."""
        self._early: list[tuple[str, Mapping[str, Any]]] = []
        """Lines, by whom and what, that came before the chat was open; at most MAX_EARLY of each side."""

    # ── the state of the chat ────────────────────────────────────────────────────────────────────────────────────

    def opened(self, agent: str, at: float) -> list[Effect | Event]:
        """The chat with `agent` is open; what waited for that is said now."""
        if agent == self.agent:
            return []
        self.agent = self._last_agent = agent
        self._joined = False
        self.transcript = Transcript()
        kept, self._kept = self._kept, None
        if kept is not None and kept.agent == agent:
            self.transcript.merge(kept.lines, kept.dropped)
        early, self._early = self._early, []
        effects: list[Effect | Event] = []
        for by, payload in early:
            if by == BY_PAGE:
                effects += self.by_visitor(payload, at)
            elif by == agent:
                effects += self.by_agent(by, payload, at)
        return effects

    def ended(self) -> list[Effect | Event]:
        """It is over, or there is none; what was said can be read still. What waited for it is not said."""
        self.agent, self._kept = None, None
        effects = self.give_up()
        self._early.clear()
        return effects

    def give_up(self) -> list[Effect | Event]:
        """No chat is to be expected for what the visitor has said."""
        waited, self._early = self._early, [(by, payload) for by, payload in self._early if by != BY_PAGE]
        return [_REFUSED] if len(self._early) < len(waited) else []

    def dismissed(self) -> None:
        """The visitor has read it."""
        if self.agent is None:
            self.transcript, self._last_agent = Transcript(), None

    def kept(self) -> Kept | None:
        """What is there to be read; None when that is nothing."""
        if self._last_agent is None or not (len(self.transcript) or self.transcript.dropped):
            return None
        return Kept(self._last_agent, self.transcript.lines, self.transcript.dropped)

    @property
    def waits(self) -> bool:
        """Whether anything that was said waits for the chat to be open."""
        return bool(self._early)

    # ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────

    def by_visitor(self, payload: Any, at: float, *, soon: bool = False) -> list[Effect | Event]:
        """The visitor says something; to be published, with its number.

        soon:  a chat is about to be open: it waits for that
        """
        if self.agent is None:
            if soon and isinstance(payload, Mapping):
                self._wait(BY_PAGE, payload)
                return []
            return [_REFUSED]
        numbered, effects = self._keep(BY_PAGE, payload, at)
        return [Send(topics.MESSAGE, numbered), *effects]

    def by_agent(self, by: str, payload: Any, at: float) -> list[Effect | Event]:
        """An agent says something; told to the page if the chat is that agent's."""
        if by != self.agent:
            if self.agent is None and isinstance(payload, Mapping):
                self._wait(by, payload)
            return []
        numbered, effects = self._keep(by, payload, at)
        return [Event(topics.MESSAGE, numbered), *effects]

    def joined(self, message: Message, at: float) -> list[Effect | Event]:
        """An agent says that it is there. It is sent the lines, if the chat is its own."""
        by, payload = message.headers.get(BY), message.payload
        if by is None or by != self.agent or not isinstance(payload, Mapping):
            return []
        effects: list[Effect | Event] = []
        if not self._joined:
            self._joined = True
            name = payload.get("name")
            told = name[:MAX_NAME_CHARS] if isinstance(name, str) and name else by
            effects.append(Event(topics.JOINED, {"agent": by, "name": told, "at": at}))
        handed = {"session": self._handle(str(by)), **self.transcript.as_map()}
        return [*effects, Send(topics.agent_chat(str(by)), handed)]

    # ── inside ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _keep(self, by: str, payload: Any, at: float) -> tuple[Any, list[Effect | Event]]:
        """Number a line and keep it; one that is known keeps its number. Return how it travels, and what follows."""
        if not isinstance(payload, Mapping):
            return payload, []
        line = said(payload, self._n + 1, by, at)
        known = None if line is None else self.transcript.find(line.ident)
        if known is not None:
            return {**payload, **known.as_map()}, []
        self._n += 1
        if line is None or self._last_agent is None:
            self.transcript.skip()
            return {**payload, "n": self._n, "by": by, "at": at}, []
        self.transcript.add(line)
        return {**payload, **line.as_map()}, [LineKept(self._last_agent, line)]

    def _wait(self, by: str, payload: Mapping[str, Any]) -> None:
        if sum(each == by for each, _ in self._early) < MAX_EARLY and len(self._early) < 2 * MAX_EARLY:
            self._early.append((by, payload))

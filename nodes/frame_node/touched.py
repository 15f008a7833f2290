"""Whom a change concerns: noted in the transaction, told after its commit. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodes.store.records import Change, Page


@dataclass
class Touched:
    """What changed in a transaction. Each run of a request or a turn fills a new one; `merge` adds them up.

    pages:        the newest version of each page that changed, by session
    agents:       ids of the agents to be told of it, for exactly the sessions in `pages`
    keys:         of agents, by which what they are told is proven; of one without a key nobody could tell it anything
    offers:       whether a waiting chat may have found its agent, so that chats must be offered
    availability: whether an agent has come, gone or changed its availability, so that buttons must be counted
    """

    pages: dict[str, Page] = field(default_factory=dict)
    agents: dict[str, set[str]] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    offers: bool = False
    availability: bool = False

    def page(self, page: Page, also: Iterable[str] = ()) -> None:
        """Note a page as it is now. `also`: agents that it concerned until now."""
        known = self.pages.get(page.session)
        self.pages[page.session] = page if known is None or page.version >= known.version else known
        self.agents.setdefault(page.session, set()).update(also, page.engaged())

    def change(self, change: Change) -> None:
        """Note what became of a page or an agent."""
        if change.page is not None:
            self.page(change.page, change.agents)
        if change.key:
            self.keys.update(dict.fromkeys(change.agents, change.key))
        self.offers = self.offers or bool(change.agents)  # an agent that a page lets go is free for the next
        self.availability = self.availability or change.what == "agent_gone"

    def hearers(self) -> set[str]:
        """Return the agents that are to be told of anything."""
        return set().union(*self.agents.values())

    def merge(self, other: Touched) -> None:
        """Add what `other` has noted, in whatever order the two came."""
        for session, page in other.pages.items():
            self.page(page, other.agents[session])
        self.keys |= other.keys
        self.offers = self.offers or other.offers
        self.availability = self.availability or other.availability

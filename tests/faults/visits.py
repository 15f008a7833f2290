"""An agent who visits a page again and again, while everything around them breaks, and what must hold of it.

    visits = Visits(pages, agent, count)      # two `Driven` processes
    visits.step()                             # often: joins, looks at updates, has one of both stop
    visits.finish()                           # one visit more must work; then every page must be ready
    visits.check(url)                         # no code twice, no update after a stop, the store says the same

A visit's stop is acknowledged when the page is told its new code: it has none while it is in session.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from sqlalchemy import select

from nodes.store.records import StoreOptions
from nodes.store.schema import pages as page_table
from nodes.store.store import Store
from tests.support.site import Driven
from tests.support.waiting import until

VISITED = 1
"""The number of the page that is visited."""
CODES = ("ready", "new_code")
UPDATES = 5
"""So many are handled in a visit before somebody stops it."""
AGAIN_S = 1.0
"""When a join or a stop has shown nothing after this time, it is done again."""
LOOK_S = 0.05
END_S = 60.0


class Visits:
    """Commands go out by `step`; what happened is read from what both processes say."""

    def __init__(self, pages: Driven, agent: Driven, count: int, chance: random.Random | None = None) -> None:
        self.pages, self.agent, self._count = pages, agent, count
        self._chance = chance or random.Random(0)
        self._done: tuple[str, str | int] | None = None
        self._done_at = self._look_at = 0.0
        self._over = False

    def wait_ready(self) -> None:
        until(lambda: len(self.codes()) == self._count, "every page has a code", END_S)
        self.agent.event("signed_in", END_S)

    def codes(self) -> dict[int, str]:
        """The code of each page that has one, by what it told last."""
        held: dict[int, str] = {}
        for each in self.pages.events(*CODES, "cobrowsing/start"):
            if each["event"] == "cobrowsing/start":
                held.pop(each["page"], None)
            else:
                held[each["page"]] = each["payload"]["code"]
        return held

    def step(self) -> None:
        """Do what is next, if anything is. Looks no more often than each LOOK_S: it reads all that was said."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_S
        code, epoch = self.codes().get(VISITED), self._epoch()
        if code is not None and not self._over:
            self._act(("join", code), lambda: self.agent.do("join", code=code))
        elif code is None and (self._over or self._handled(epoch) >= UPDATES):
            if self._chance.random() < 0.5:
                self._act(("stop", epoch), lambda: self.pages.do("stop_session", page=VISITED))
            else:
                self._act(("stop", epoch), lambda: self.agent.do("stop"))

    def _act(self, what: tuple[str, str | int], act: Callable[[], None]) -> None:
        """Do it, unless it was done just now."""
        if what != self._done or time.monotonic() > self._done_at + AGAIN_S:
            act()
            self._done, self._done_at = what, time.monotonic()

    def _epoch(self) -> int:
        started = [each for each in self.pages.events("cobrowsing/start") if each["page"] == VISITED]
        return int(started[-1]["payload"]["epoch"]) if started else 0

    def _handled(self, epoch: int) -> int:
        return sum(each["epoch"] == epoch for each in self.agent.events("update"))

    # ── afterwards ───────────────────────────────────────────────────────────────────────────────────────────────

    def finish(self) -> None:
        """One visit more must work; then every page must hold a code."""
        before = self._epoch()

        def visited() -> bool:
            self.step()
            return self._epoch() > before and self._handled(self._epoch()) >= UPDATES

        until(visited, "an agent has joined once more, and seen updates", END_S)
        self._over = True

        def ready() -> bool:
            self.step()
            return len(self.codes()) == self._count

        until(ready, "every page is ready again", END_S)

    def check(self, url: str) -> int:
        """What must hold of all that was told; return how many visits there were."""
        owners: dict[str, int] = {}
        for each in self.pages.events(*CODES):
            owner = owners.setdefault(each["payload"]["code"], each["page"])
            assert owner == each["page"], (
                f"code {each['payload']['code']} was given to pages {owner} and {each['page']}"
            )
        over = self._over_at()
        for each in self.agent.events("update"):
            end = over.get(each["epoch"], float("inf"))
            assert each["at"] <= end, f"{each} was handled {each['at'] - end:.6f} s after the stop was acknowledged"
        sessions = {each["page"]: each["session"] for each in self.pages.events("page")}
        told = {sessions[number]: code for number, code in self.codes().items()}
        until(lambda: _stored(url) == told, f"the store holds what pages were told: {told}, {_stored(url)}")
        return len(over)

    def _over_at(self) -> dict[int, float]:
        """When the end of each epoch of the visited page was acknowledged."""
        over: dict[int, float] = {}
        epoch = 0
        for each in self.pages.events("cobrowsing/start", "new_code"):
            if each["page"] != VISITED or each.get("retained"):
                continue
            if each["event"] == "cobrowsing/start":
                epoch = int(each["payload"]["epoch"])
            elif epoch:
                over.setdefault(epoch, each["at"])
        return over


def _stored(url: str) -> dict[str, str]:
    store = Store(url, StoreOptions())
    try:
        with store.transaction() as tx:
            return {session: code for session, code in tx.sql.execute(select(page_table.c.session, page_table.c.code))}  # noqa: C416
    finally:
        store.close()

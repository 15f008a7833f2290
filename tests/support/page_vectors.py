"""Cases for the browser's co-browsing, made by the rules in Python: what a page hears, and what may leave it then.

`nodes/web/src/page/viewing.js` plays them. A case is one page of a visitor. The world around it is drawn from a seed:
a store whose co-browsing goes through every transition, gateways that learn of it late and tell the page, messages on
their way in both directions, sockets that are lost. Store, gateways and the page's model each hold a `Cobrowse`.

    python -m tests.support.page_vectors        # writes tests/page_vectors.json

A step is `[input, running, told]`: after this input updates of the epoch `running` may leave the page, or none (null);
and `told` is the epoch of the session that the page's subscribers know to run, or null.
"""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any

from nodes.rules.cobrowse import MACHINE, Cobrowse
from tests.support.processes import ROOT

PATH = ROOT / "tests" / "page_vectors.json"
CASES = 40
STEPS = 100
"""What may happen in a case; about a third of it reaches the page."""

Input = dict[str, Any]
Step = tuple[Input, int | None, int | None]


class Gateway:
    """What a gateway holds of the page."""

    def __init__(self) -> None:
        self.cobrowse = Cobrowse()
        """The gateway's copy; it means nothing until the store was heard."""
        self.has_heard = False
        """Whether the store was heard."""
        self.told: int | None = None
        """The epoch of the session that the page was told to have begun."""
        self.stops: dict[int, int | None] = {}
        """The page's stops: id -> the epoch that is over by it; None before the store was heard."""

    def stop(self, ident: int) -> list[Input]:
        if not self.has_heard:
            self.stops[ident] = None
            return []
        if self.cobrowse.state == "stopping":
            self.stops[ident] = self.cobrowse.epoch - 1
            return []
        self.stops[ident] = self.cobrowse.epoch
        self.cobrowse = self.cobrowse.stopped(self.cobrowse.epoch)
        return self._tell()

    def hear(self, store: Cobrowse) -> list[Input]:
        """Return what the page is told when the store's co-browsing becomes known."""
        self.cobrowse, self.has_heard = store.ended_below(self.cobrowse.epoch), True
        said: list[Input] = []
        for ident in [ident for ident, epoch in self.stops.items() if epoch is None]:
            said += self.stop(ident)
        said += self._tell()
        over = [ident for ident, epoch in self.stops.items() if epoch is not None and store.acknowledged(epoch)]
        for ident in over:
            del self.stops[ident]
        code = [Input(t="code")] if self.cobrowse.state == "idle" else []
        return [*said, *(Input(t="acknowledged", id=ident) for ident in over), *code]

    def _tell(self) -> list[Input]:
        said: list[Input] = []
        if self.told is not None and not self.cobrowse.accepts(self.told):
            said.append(Input(t="over", epoch=self.told))
            self.told = None
        if self.cobrowse.state == "joined" and self.told is None:
            self.told = self.cobrowse.epoch
            said.append(Input(t="start", payload={"epoch": self.told}))
        return said


class Model:
    """What the page in the browser should hold, by the rules."""

    def __init__(self) -> None:
        self.cobrowse = Cobrowse()
        """As the gateway said it; a stop of what was said to run counts at once."""
        self.is_unknown = False
        """Whether it runs, but the gateway of the last welcome did not know of it."""
        self.pending: set[int] = set()
        """Stops that are not acknowledged: until then the page is stopping, even if a session is said to run."""

    def take(self, said: Input) -> Step:
        before = self.cobrowse
        match said["t"]:
            case "start":
                if said["payload"]["epoch"] >= before.epoch:
                    self.cobrowse = Cobrowse("joined", said["payload"]["epoch"])
                self.is_unknown = self.is_unknown and said["payload"]["epoch"] < before.epoch
            case "over":
                self.cobrowse = before.stopped(said["epoch"])
            case "stop":
                self.cobrowse = before.stopped(before.epoch) if before.state == "joined" else before
                self.pending.add(said["id"])
            case "acknowledged":
                self.pending.discard(said["id"])
            case "welcome":
                self.is_unknown = said["epoch"] != before.epoch
                if self.is_unknown and self.pending and before.state == "joined":
                    self.cobrowse = Cobrowse("idle", before.epoch)  # it was never shown; a gateway may say it again
            case "code" if self.is_unknown:
                self.cobrowse = before.stopped(before.epoch)
            case "session":
                self.cobrowse, self.pending = Cobrowse(), set()
        self.is_unknown = self.is_unknown and self.cobrowse.state == "joined"
        told = self.cobrowse.epoch if self.cobrowse.state == "joined" and not self.pending else None
        return said, None if self.is_unknown else told, told


class World:
    """One page, and all that it depends on."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.steps: list[Step] = []
        self.transitions: set[tuple[str, str]] = set()
        """The store's, so far."""
        self.settled: list[tuple[int | None, int | None]] = []
        """The epoch in which an agent is in session, by the store and by the page, whenever nothing was under way."""
        self.last_stop = 0
        self._begin()

    def _begin(self) -> None:
        self.store, self.gateway, self.model = Cobrowse(), Gateway(), Model()
        self.down: deque[Input] = deque()
        """On its way to the page."""
        self.up: deque[int] = deque()
        """Stops on their way to the gateway."""

    def play(self) -> None:
        weights = {self.decide: 6, self.news: 5, self.hear: 8, self.reach: 3, self.stop: 2, self.lose: 2}
        self._take(Input(t="welcome", epoch=None))
        for _ in range(STEPS):
            self.random.choices(list(weights), list(weights.values()))[0]()
            if self.random.random() < 0.01:
                self._begin()
                self._take(Input(t="session"))
                self._take(Input(t="welcome", epoch=None))
            if self.random.random() < 0.05:
                self.settled.append((self.settle(), self.steps[-1][1]))

    def decide(self) -> None:
        """Something happens at the store: an agent joins, stops, confirms, is lost; the page is lost."""
        possible = [event for event in MACHINE.events if MACHINE.allows(self.store.state, event)]
        event = self.random.choice([*possible, *(event for event in possible if event in ("join", "confirm"))])
        self.transitions.add((self.store.state, event))
        self.store = self.store.after(event)

    def news(self) -> None:
        self.down += self.gateway.hear(self.store)

    def hear(self) -> None:
        """The page hears what is next; sometimes a gateway goes straight on from one session to the next."""
        if [said["t"] for said in list(self.down)[:2]] == ["over", "start"] and self.random.random() < 0.5:
            self.down.popleft()
        if self.down:
            self._take(self.down.popleft())

    def settle(self) -> int | None:
        """Everything on its way arrives; return the epoch in which an agent is in session, by the store."""
        while self.up:
            self.reach()
        self.news()
        if self.gateway.stops:  # a stop that ends what nobody had heard of until now, or that waits for its agent
            self.store = self.store.stopped(self.gateway.cobrowse.epoch - 1)
            self.store = self.store.after("confirm") if self.store.state == "stopping" else self.store
            self.news()
        while self.down:
            self.hear()
        return self.store.epoch if self.store.state == "joined" else None

    def stop(self) -> None:
        self.last_stop += 1
        self.up.append(self.last_stop)
        self._take(Input(t="stop", id=self.last_stop))

    def reach(self) -> None:
        """The page's next stop reaches the gateway, and through it the store."""
        if self.up:
            self.down += self.gateway.stop(self.up.popleft())
            if self.gateway.has_heard:
                self.store = self.store.stopped(self.gateway.cobrowse.epoch - 1)

    def lose(self) -> None:
        """The socket is lost: the next gateway is another one, or the same, which may have kept what it said."""
        kind = self.random.choice(["another", "forgot", "kept"])
        if kind == "another":
            self.gateway = Gateway()
        self.up = deque(sorted(self.model.pending))  # said again
        said = list(self.down) if kind == "kept" else []
        self._take(Input(t="welcome", epoch=self.gateway.told))
        self.down = deque(said)
        if kind != "kept" and self.gateway.told is not None:
            self._take(Input(t="start", payload={"epoch": self.gateway.told}, retained=True))
        if kind == "another" and self.random.random() < 0.3:
            self.news()
            self.lose()

    def _take(self, said: Input) -> None:
        self.steps.append(self.model.take(said))


def worlds() -> list[World]:
    """Return the worlds, played."""
    found = [World(Random(seed)) for seed in range(CASES)]
    for world in found:
        world.play()
    return found


def text(found: list[World]) -> str:
    """Return the cases as JSON, one a line."""
    lines = [json.dumps(world.steps, separators=(",", ":")) for world in found]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    PATH.write_text(text(worlds()))

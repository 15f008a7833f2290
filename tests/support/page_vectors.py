"""Cases for the browser's co-browsing, made by the rules in Python: what a page hears, and what may leave it then.

`nodes/web/src/page/viewing.js` plays them. A case is one page of a visitor. The world around it is drawn from a seed:
a store whose co-browsing goes through every transition, gateways that learn of it late and tell the page, messages on
their way in both directions, sockets that are lost. Store, gateways and the page's model each hold a `Cobrowse`.

    python -m tests.support.page_vectors        # writes tests/page_vectors.json

A step is `[input, running, told, asked]`: after this input updates of the epoch `running` may leave the page, or none
(null); `told` is the epoch of the session that the page's subscribers know to run, or null, and `asked` that of the
request that they know to wait for an answer.
"""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import Any

from nodes.rules.cobrowse import MACHINE, Cobrowse
from tests.support.processes import ROOT

PATH = ROOT / "tests" / "page_vectors.json"
SEEDS = sorted({*range(40), 49, 69, 71, 88, 170, 247, 293, 341, 344})
"""The later ones were looked for: they meet pairs of the page's table that are rare. Its test says which none meets."""
STEPS = 100
"""What may happen in a case; about a third of it reaches the page."""

Input = dict[str, Any]
Step = tuple[Input, int | None, int | None, int | None]


class Gateway:
    """What a gateway holds of the page."""

    def __init__(self) -> None:
        self.cobrowse = Cobrowse()
        """The gateway's copy; it means nothing until the store was heard."""
        self.has_heard = False
        """Whether the store was heard."""
        self.told: int | None = None
        """The epoch of the session that the page was told to have begun."""
        self.asked: int | None = None
        """The epoch of the request that the page was told of, and that is neither over nor allowed."""
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

    def decline(self, epoch: int) -> list[Input]:
        """The page's visitor has declined the request of this epoch."""
        if self.has_heard and (self.cobrowse.state not in ("asked", "joined") or self.cobrowse.epoch != epoch):
            return []
        self.cobrowse = self.cobrowse.stopped(epoch)
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
        state, epoch = self.cobrowse.state, self.cobrowse.epoch
        if self.asked is not None and not (epoch == self.asked and state in ("asked", "joined")):
            said.append(Input(t="over", epoch=self.asked))
            self.asked = None
        if state == "asked" and self.asked is None:
            self.asked = epoch
            said.append(Input(t="ask", payload={"epoch": epoch}))
        if state == "joined" and self.told is None:
            self.told, self.asked = epoch, None
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
            case "ask":
                if said["payload"]["epoch"] >= before.epoch + (before.state == "joined"):
                    self.cobrowse = Cobrowse("asked", said["payload"]["epoch"])
            case "decline":
                if before.state in ("asked", "joined") and before.epoch == said["epoch"]:
                    self.cobrowse = before.stopped(before.epoch)
            case "start":
                if said["payload"]["epoch"] >= before.epoch:
                    self.cobrowse = Cobrowse("joined", said["payload"]["epoch"])
                self.is_unknown = self.is_unknown and said["payload"]["epoch"] < before.epoch
            case "over":
                self.cobrowse = before.stopped(said["epoch"])
            case "stop":
                self.cobrowse = before.stopped(before.epoch) if before.state in ("asked", "joined") else before
                self.pending.add(said["id"])
            case "acknowledged":
                self.pending.discard(said["id"])
            case "welcome":
                self.is_unknown = before.epoch not in (
                    said["epoch"],
                    said["asked"] if before.state == "asked" else None,
                )
                if self.is_unknown and self.pending and before.state in ("asked", "joined"):
                    self.cobrowse = Cobrowse("idle", before.epoch)  # it was never shown; a gateway may say it again
            case "code" if self.is_unknown or (before.state == "asked" and not self.pending):
                self.cobrowse = before.stopped(before.epoch)
            case "session":
                self.cobrowse, self.pending = Cobrowse(), set()
        self.is_unknown = self.is_unknown and self.cobrowse.state == "joined"
        told = self.cobrowse.epoch if self.cobrowse.state == "joined" and not self.pending else None
        asked = self.cobrowse.epoch if self.cobrowse.state == "asked" and not self.pending else None
        return said, None if self.is_unknown else told, told, asked


class World:
    """One page, and all that it depends on."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.steps: list[Step] = []
        self.transitions: set[tuple[str, str]] = set()
        """The store's, so far."""
        self.settled: list[tuple[tuple[int | None, int | None], tuple[int | None, int | None]]] = []
        """The epochs in which an agent is in session, and asks, by the store and by the page, each time when there was
        nothing under way."""
        self.last_stop = 0
        self._begin()

    def _begin(self) -> None:
        self.store, self.gateway, self.model = Cobrowse(), Gateway(), Model()
        self.down: deque[Input] = deque()
        """On its way to the page."""
        self.up: deque[Input] = deque()
        """Stops and declines on their way to the gateway."""

    def play(self) -> None:
        weights = {
            self.decide: 6, self.news: 5, self.hear: 8, self.reach: 3, self.stop: 3, self.decline: 1, self.lose: 3,
        }  # fmt: skip
        self._take(Input(t="welcome", epoch=None, asked=None))
        for _ in range(STEPS):
            self.random.choices(list(weights), list(weights.values()))[0]()
            if self.random.random() < 0.02:
                self._begin()
                self._take(Input(t="session"))
                self._take(Input(t="welcome", epoch=None, asked=None))
            if self.random.random() < 0.05:
                self.settled.append((self.settle(), (self.steps[-1][1], self.steps[-1][3])))

    def decide(self) -> None:
        """Something happens at the store: an agent asks, joins, stops, confirms, is lost; the page is lost."""
        possible = [event for event in MACHINE.events if MACHINE.allows(self.store.state, event)]
        likely = ("ask", "join", "allow", "confirm")
        event = self.random.choice([*possible, *(event for event in possible if event in likely)])
        self.transitions.add((self.store.state, event))
        self.store = self.store.after(event)

    def news(self) -> None:
        self.down += self.gateway.hear(self.store)

    def hear(self) -> None:
        """The page hears what is next; sometimes a gateway goes straight on to the next session or request."""
        first, second = ([*(said["t"] for said in self.down), "", ""])[:2]
        if first == "over" and second in ("start", "ask") and self.random.random() < 0.5:
            self.down.popleft()
        if self.down:
            self._take(self.down.popleft())

    def settle(self) -> tuple[int | None, int | None]:
        """Everything on its way arrives; return the epochs in which an agent is in session, and asks, by the store."""
        while self.up:
            self.reach()
        self.news()
        # A stop or a decline that ends what nobody had heard of until now, or a stop that waits for its agent.
        if self.gateway.stops or self.gateway.cobrowse.epoch > self.store.epoch:
            self.store = self.store.stopped(self.gateway.cobrowse.epoch - 1)
            self.store = self.store.after("confirm") if self.store.state == "stopping" else self.store
            self.news()
        while self.down:
            self.hear()
        joined = self.store.epoch if self.store.state == "joined" else None
        return joined, self.store.epoch if self.store.state == "asked" else None

    def stop(self) -> None:
        self.last_stop += 1
        self.up.append(Input(t="stop", id=self.last_stop))
        self._take(self.up[-1])

    def decline(self) -> None:
        """The visitor declines what the page shows; now and then a click comes late: it was allowed, or is over."""
        shown = self.steps[-1][3]
        epoch = shown if shown is not None else self.model.cobrowse.epoch - self.random.choice([0, 1])
        if shown is not None or self.random.random() < 0.2:
            self.up.append(Input(t="decline", epoch=epoch))
            self._take(self.up[-1])

    def reach(self) -> None:
        """What the page has said next reaches the gateway, and through it the store."""
        if self.up:
            said = self.up.popleft()
            told = self.gateway.stop(said["id"]) if said["t"] == "stop" else self.gateway.decline(said["epoch"])
            self.down += told
            if self.gateway.has_heard:
                self.store = self.store.stopped(self.gateway.cobrowse.epoch - 1)

    def lose(self) -> None:
        """The socket is lost: the next gateway is another one, or the same, which may have kept what it said."""
        kind = self.random.choice(["another", "forgot", "kept"])
        if kind == "another":
            self.gateway = Gateway()
        declines = [each for each in self.up if each["t"] == "decline"]
        self.up = deque([*(Input(t="stop", id=each) for each in sorted(self.model.pending)), *declines])  # said again
        said = list(self.down) if kind == "kept" else []
        self._take(Input(t="welcome", epoch=self.gateway.told, asked=self.gateway.asked))
        self.down = deque(said)
        if kind != "kept" and self.gateway.asked is not None:
            self._take(Input(t="ask", payload={"epoch": self.gateway.asked}, retained=True))
        if kind != "kept" and self.gateway.told is not None:
            self._take(Input(t="start", payload={"epoch": self.gateway.told}, retained=True))
        if kind == "another" and self.random.random() < 0.3:
            self.news()
            self.lose()

    def _take(self, said: Input) -> None:
        self.steps.append(self.model.take(said))


def worlds() -> list[World]:
    """Return the worlds, played."""
    found = [World(Random(seed)) for seed in SEEDS]
    for world in found:
        world.play()
    return found


def text(found: list[World]) -> str:
    """Return the cases as JSON, one a line."""
    lines = [json.dumps(world.steps, separators=(",", ":")) for world in found]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    PATH.write_text(text(worlds()))

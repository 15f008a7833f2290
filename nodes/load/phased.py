"""Runs the phases of a test from a file, see `phases`, on a load test that is connected.

phased = Phased(run, phases, kill)
found = [phased.run(each) for each in phases.phases]
together([each.round for each in found])       # all of it as one round, for a report
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nodes.load.beside import Asker, Done, Joiner, Responder
from nodes.load.books import Line
from nodes.load.crew import LoadError, Worker
from nodes.load.latency import Counts, curve_ms, merged, quantiles_ms
from nodes.load.phases import Phase, Phases
from nodes.load.report import Over, Round, total
from nodes.load.run import LoadRun
from nodes.load.schedule import slot_s

LONGEST_S = 60.0
"""How long what is done beside a phase may take after its end."""


@dataclass(frozen=True)
class PhaseFound:
    """What a phase found. joins, requests: None where it had none; killed: the process that was, or empty"""

    phase: Phase
    round: Round
    joins: Done | None
    requests: Done | None
    killed: str = ""


class Phased:
    """kill: ends a process of the plan by its name; ValueError where it cannot"""

    def __init__(self, run: LoadRun, phases: Phases, kill: Callable[[str], None]) -> None:
        self._run, self._kill = run, kill
        self._slot_ns = int(slot_s(phases.seconds) * 1e9)
        self._service = f"load-{os.getpid()}"
        """The name of the service that the requests go to: no other test has it."""
        crew = run.crew
        self._joiner = crew.add(Joiner) if any(each.joins_s for each in phases.phases) else None
        self._asker: Worker | None = None
        if any(each.requests for each in phases.phases):
            crew.order([crew.add(Responder)], "serve", self._service)
            self._asker = crew.add(Asker)
            crew.order([self._asker], "find", self._service)
            crew.wait_for("done", [self._asker], LONGEST_S)
            if why := self._asker.said["done"][0].why:
                raise LoadError(f"the service of the test is not answered: {why}")

    def run(self, phase: Phase) -> PhaseFound:
        """Run one phase. Errors: LoadError, also where its process cannot be killed"""
        crew = self._run.crew
        faults: list[str] = []
        threads: list[threading.Thread] = []

        def beside(start_ns: int, end_ns: int) -> None:
            if phase.joins_s and self._joiner:
                crew.order([self._joiner], "join", start_ns, phase.joins_s, phase.stay_s, end_ns)
            if phase.requests and self._asker:
                crew.order([self._asker], "ask", self._service, start_ns, phase.requests, phase.shape.seconds)
            if phase.kill:
                at_ns = (start_ns + end_ns) // 2
                threads.append(threading.Thread(target=self._kill_at, args=(at_ns, phase.kill, faults), daemon=True))
                threads[-1].start()

        one = self._run.shaped(phase.name, phase.shape, self._slot_ns, beside)
        for each in threads:
            each.join()
        if faults:
            raise LoadError(f"{phase.name}: {faults[0]}")
        joins, requests = self._done(phase.joins_s, self._joiner), self._done(phase.requests, self._asker)
        return PhaseFound(phase, one, joins, requests, phase.kill)

    def _done(self, wanted: object, worker: Worker | None) -> Done | None:
        if not wanted or worker is None:
            return None
        self._run.crew.wait_for("done", [worker], LONGEST_S)
        found: Done = worker.said["done"][0]
        return found

    def _kill_at(self, at_ns: int, name: str, faults: list[str]) -> None:
        time.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))
        try:
            self._kill(name)
        except (ValueError, OSError) as error:
            faults.append(str(error))


def together(rounds: Sequence[Round]) -> Round:
    """Return all rounds as one, without the time between them: what arrived after a phase is in its last slot."""
    slots = [slot for each in rounds for slot in in_time(each)]
    whole = merged(slots)
    lines: dict[tuple[int, int], list[Line]] = {}
    for each in rounds:
        for line in each.lines:
            lines.setdefault((line.subscriber, line.publisher), []).append(line)
    sending_s = sum(each.sending_s for each in rounds)
    return replace(
        rounds[0],
        rate=None if not sending_s else sum((each.rate or 0.0) * each.sending_s for each in rounds) / sending_s,
        sent=sum(each.sent for each in rounds),
        unsent=sum(each.unsent for each in rounds),
        refused=sum(each.refused for each in rounds),
        elapsed_s=sum(each.elapsed_s for each in rounds),
        quantiles_ms=quantiles_ms(whole),
        curve_ms=tuple(curve_ms(whole)),
        lines=tuple(total(own) for own in lines.values()),
        over=tuple(_over([each.over[at] for each in rounds]) for at in range(len(rounds[0].over))),
        repaired=tuple(map(sum, zip(*(each.repaired for each in rounds), strict=True))),
        slots=tuple(slots),
        sending_s=sending_s,
    )


def in_time(one: Round) -> list[Counts]:
    """Return the slots of a round within its time of sending; the last holds what came later."""
    count = max(1, round(one.sending_s / one.slot_s))
    slots: list[Counts] = [*one.slots, *({} for _ in range(count - len(one.slots)))]
    return [*slots[: count - 1], merged(slots[count - 1 :])]


def _over(found: Sequence[Over]) -> Over:
    keys = {key: sum(each.by_filter.get(key, 0) for each in found) for key in found[0].by_filter}
    return Over(found[0].subscriber, sum(each.arrived for each in found), keys)

"""Finds the highest rate at which a running load test holds, see `search`: short repetitions, then one for longer.

    finding = Finding(run, max_p99_ms=50.0, max_loss=0.0, said=print)
    found, best = finding.find()                   # best: the round that confirmed it, None when no rate held

The first repetitions go as fast as they can. What they did is where the search begins.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Protocol

from nodes.load.latency import merged, values_ms
from nodes.load.report import Round
from nodes.load.search import CONFIDENCE, Found, Step, find_max
from nodes.load.units import duration, share

TOP_REPETITIONS = 3
SHORTEST_S = 0.2
"""Of a repetition, which takes a tenth of the time of the confirmation else."""
STEP_COLUMNS = ("rate", "held", "p99", "from", "to", "delivered/s", "lost")


class Measuring(Protocol):
    """What is needed of a `LoadRun`."""

    def measure(self, rate: float | None, duration_s: float | None = None, warm_up_s: float | None = None) -> Round: ...


class Unbalanced(Exception):
    """The books of a round do not balance: no figure of it can be trusted, and the search ends."""


class Finding:
    """duration_s: of the confirmation; warm_up_s: before it; said: takes a line of words after each step"""

    def __init__(
        self,
        run: Measuring,
        *,
        duration_s: float,
        warm_up_s: float,
        max_p99_ms: float,
        max_loss: float,
        said: Callable[[str], None],
    ) -> None:
        self.rounds: list[Round] = []
        """All repetitions, in their order."""
        self.repetition_s = min(duration_s, max(SHORTEST_S, duration_s / 10))
        self._run, self._duration_s, self._warm_up_s = run, duration_s, warm_up_s
        self._max_p99_ms, self._max_loss, self._said = max_p99_ms, max_loss, said

    def find(self) -> tuple[Found, Round | None]:
        """Search. Errors: LoadError; Unbalanced, after which the last of `rounds` is the one."""
        top = max(self._measure(None, self.repetition_s).sent_per_s for _ in range(TOP_REPETITIONS))
        self._said(f"as fast as it goes: {top:,.0f}/s, the best of {TOP_REPETITIONS} times {self.repetition_s:g} s")
        found = find_max(top, self._holds, self._confirm, lambda step: self._said(step_words(step, self.of(step.rate))))
        return found, None if found.best is None else self.of(found.best.rate)[-1]

    def of(self, rate: float | None) -> list[Round]:
        """The rounds at a rate so far."""
        return [each for each in self.rounds if each.rate == rate]

    def _holds(self, rate: float) -> bool:
        return not self._measure(rate, self.repetition_s).fell(self._max_p99_ms, self._max_loss)

    def _confirm(self, rate: float) -> tuple[bool, int, int]:
        one = self._measure(rate, self._duration_s)
        held = [each <= self._max_p99_ms for each in p99_of_parts(one, self.repetition_s, self._duration_s)]
        return not one.fell(self._max_p99_ms, self._max_loss), sum(held), len(held)

    def _measure(self, rate: float | None, seconds: float) -> Round:
        warm_up_s = 0.0 if self.of(rate) and seconds == self.repetition_s else min(self._warm_up_s, seconds)
        one = self._run.measure(rate, seconds, warm_up_s)
        self.rounds.append(one)
        if not one.balances:
            raise Unbalanced
        return one


def p99_of_parts(one: Round, part_s: float, whole_s: float) -> list[float]:
    """Return the p99 of each part of a round in ms, by time of arrival; one in which nothing arrived has none.

    whole_s: of the round; what arrived later is in the last part
    """
    size, count = max(1, round(part_s / one.slot_s)), max(1, round(whole_s / part_s))
    starts = [at * size for at in range(count)]
    parts = [merged(one.slots[start:end]) for start, end in zip(starts, [*starts[1:], len(one.slots)], strict=True)]
    return [values_ms(each, [99.0])[0] for each in parts if each]


def p99s(rounds: list[Round]) -> list[float]:
    """The p99 of each round at which something arrived, in ms."""
    return [each.quantiles_ms["p99"] for each in rounds if each.quantiles_ms]


def step_words(step: Step, rounds: list[Round]) -> str:
    """Return one line on a step: `12,345/s held in 3 of 3: p99 4.10 ms (3.90 ms to 5.20 ms)`."""
    found = p99s(rounds)
    spread = f"p99 {duration(median(found))} ({duration(min(found))} to {duration(max(found))})" if found else "no p99"
    judged = "held" if step.holds else "did not hold"
    return f"{step.rate:,.0f}/s {judged}: in {step.held} of {step.tried}; {spread}"


def step_rows(found: Found, finding: Finding) -> list[tuple[str, ...]]:
    """A row for each rate, from the lowest, in the order of STEP_COLUMNS: medians of its rounds."""
    rows = []
    for step in sorted(found.steps, key=lambda each: each.rate):
        rounds = finding.of(step.rate)
        p99 = p99s(rounds)
        spread = [duration(each) for each in (median(p99), min(p99), max(p99))] if p99 else ["-"] * 3
        delivered = median(each.delivered_per_s for each in rounds)
        lost = share(max(each.loss for each in rounds))
        rows.append((f"{step.rate:,.0f}/s", f"{step.held} of {step.tried}", *spread, f"{delivered:,.0f}", lost))
    return rows


def found_words(found: Found, repetition_s: float, limit: str) -> str:
    """Return in words what was found, and how far it can be trusted. limit: what has to hold"""
    best = found.best
    if best is None:
        tried = "" if found.fell is None else f", down to {found.fell:,.0f}/s"
        return f"no rate held {limit}{tried}; as fast as it goes were {found.top:,.0f}/s"
    fell = "" if found.fell is None else f"; {found.fell:,.0f}/s did not hold"
    sure, often = share(CONFIDENCE), share(found.confidence)
    return (
        f"the highest rate that held {limit}: {best.rate:,.0f}/s, {share(best.rate / found.top)} of the "
        f"{found.top:,.0f}/s as fast as it goes{fell}. It held in {best.held} of {best.tried} stretches of "
        f"{repetition_s:g} s: with {sure} confidence it holds in at least {often} of them"
    )


def as_json(found: Found, repetition_s: float) -> dict[str, object]:
    """What a search found, for the JSON of the whole result."""
    return {
        "top": found.top,
        "best": None if found.best is None else found.best.rate,
        "fell": found.fell,
        "repetition_s": repetition_s,
        "confidence": CONFIDENCE,
        "holds_at_least": found.confidence,
        "steps": [
            {"rate": each.rate, "holds": each.holds, "held": each.held, "fell": each.fell} for each in found.steps
        ],
    }

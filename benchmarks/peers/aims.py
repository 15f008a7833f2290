"""What the fabric is to reach, as data, and whether a run shows it. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks.peers.clients import RIVALS
from benchmarks.peers.figures import Work
from benchmarks.peers.words import NAMES, number, times


@dataclass(frozen=True)
class Aim:
    """One line of the table of aims. Either `times` beside others, or `bounds` alone.

    work:     its name
    times:    at least so many times as good as each of `against`; below 1: it may be behind by as much
    settings: where; empty: at all of the work
    bounds:   setting -> at most so much, in the work's unit
    figure:   which: the median, or one of those by name that a row has besides
    who:      the row that is to reach it
    limit:    what a profile shows to be in the way, when it is missed
    """

    work: str
    times: float = 0.0
    against: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    bounds: dict[str, float] = field(default_factory=dict)
    figure: str = ""
    who: str = "fabric"
    limit: str = ""


BEFORE_US = 11.6
"""CPU time of a message to one subscriber before the data plane was compiled: 5.1 + 2.7 + 3.8, at the least."""
AIMS = (
    Aim("fan_out", 3.0, RIVALS, ("1 subscriber", "4 subscribers", "8 subscribers")),
    Aim("fan_out", 1.0, ("raw",), ("1 subscriber", "4 subscribers", "8 subscribers")),
    Aim("payloads", 1.0, RIVALS),
    Aim("payloads", 0.9, ("raw",)),
    Aim("wildcard", 2.5, ("nats",)),
    Aim("wildcard", 0.7, ("zenoh",)),
    Aim("pair", 3.0, RIVALS),
    Aim("round_trip", 1.5, RIVALS),
    Aim("round_trip", 1.0, RIVALS, figure="p99"),
    Aim("round_trip", 1.0, ("libzmq",)),
    Aim("acks", 1.0, ("nats",)),
    Aim("acks", 1 / 1.5, ("fabric",), who="three"),
    Aim("ack_proxies", bounds={"1 proxy": 500, "2 proxies": 600, "4 proxies": 800, "8 proxies": 1200}),
    Aim("storm", 1.0, ("nats",)),
    Aim("connection_memory", bounds={"500 clients": 40}),
    Aim("subscription_memory", bounds={"1,000 filters": 1500}),
    Aim("cpu", 0.5, ("fabric",), ("publisher", "subscriber"), who="async"),
    Aim("cpu_delivered", bounds={"1 subscriber": BEFORE_US / 3}),
    Aim("matcher", 1.0, ("mosquitto",)),
)


@dataclass(frozen=True)
class Found:
    """One measured figure of an aim. value, best: median and best repetition, as times or in the work's unit"""

    setting: str
    peer: str
    value: float
    best: float
    reached: bool


def judge(aim: Aim, work: Work) -> list[Found]:
    """Return what the run shows at each setting, beside each of the others; what was not measured is left out."""
    found = []
    for setting in aim.settings or tuple(aim.bounds) or work.settings:
        if setting not in work.settings:
            continue
        if aim.bounds:
            figures = work.of(setting, aim.who)
            if (median := figures.median) is not None:
                best = min(value for value in figures.values if value > 0)
                found.append(Found(setting, "", median, best, median <= aim.bounds[setting]))
        for peer in aim.against:
            if ratios := work.ratios(setting, peer, aim.who, aim.figure):
                value = statistics.median(ratios)
                found.append(Found(setting, peer, value, max(ratios), value >= aim.times))
    return found


def report(works: Sequence[Work]) -> Iterator[str]:
    """Yield a table of all aims that were measured, and a line with the figures of each that is missed."""
    judged = [(aim, work, judge(aim, work)) for aim in AIMS for work in works if work.name == aim.work]
    if not any(found for _, _, found in judged):
        return
    yield "## What was aimed at\n"
    yield "The figure that is furthest from its aim, and whether all of them reach it.\n"
    yield "| work | aim | this run | |\n|---|---|---|---|"
    for aim, work, found in judged:
        if found:
            worst = max(found, key=lambda each: each.value / aim.bounds[each.setting] if aim.bounds else -each.value)
            verdict = "reached" if all(each.reached for each in found) else "**missed**"
            yield f"| {work.title} | {_words(aim, work)} | {_figure(worst, work)} | {verdict} |"
    yield ""
    missed = False
    for aim, work, found in judged:
        if short := [each for each in found if not each.reached]:
            figures = "; ".join(f"{_figure(each, work)} ({_best(each)} at best)" for each in short)
            yield f"- Missed: {work.title}, {_words(aim, work)}: {figures}. {aim.limit}".rstrip()
            missed = True
    if missed:
        yield ""


def _words(aim: Aim, work: Work) -> str:
    """What is aimed at."""
    if aim.bounds:
        several = len(aim.bounds) > 1
        bounds = (f"{number(bound)}{f' at {setting}' if several else ''}" for setting, bound in aim.bounds.items())
        return f"at most {', '.join(bounds)}, in {work.unit.split(',')[0]}"
    others = "every peer" if aim.against == RIVALS else " and ".join(NAMES[peer] for peer in aim.against)
    words = f"as good as {others}" if aim.times == 1 else f"at least {times(aim.times)} times as good as {others}"
    who = "" if aim.who == "fabric" else f"{NAMES[aim.who]}: "
    figure = f"{aim.figure} " if aim.figure else ""
    return f"{who}{figure}{words}" + (f", at {', '.join(aim.settings)}" if aim.settings else "")


def _figure(found: Found, work: Work) -> str:
    at = f" at {found.setting}" if len(work.settings) > 1 else ""
    return f"{times(found.value)} times {NAMES[found.peer]}{at}" if found.peer else f"{number(found.value)}{at}"


def _best(found: Found) -> str:
    return times(found.best) if found.peer else number(found.best)

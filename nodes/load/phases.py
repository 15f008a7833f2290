"""A load test from a file: its phases, one after the other. Pure.

publishers = 2                  # as the options of `fabric load`; every key may be left out
subscribers = 4
topics = 100
size = 64
plan = "var"                    # the state folder of scripts/up, for `kill`; nothing else is ended

[[phases]]
name = "ramp"
seconds = 10
rate = [1000, 10000]            # from … to; one number: steady

[[phases]]
name = "everything at once"
seconds = 10
rate = 5000
burst = { rate = 20000, every = 2, for = 0.2 }
churn = 5                       # so many subscribers a second join, stay for a second, and leave
storm = 20                      # so many connect and subscribe at the same moment, at the beginning
requests = 200                  # a second, to a service of the test
kill = "p2"                     # a process of the plan, by SIGKILL, halfway
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fabric.errors import expected
from nodes.load.schedule import STAMP_BYTES
from nodes.load.shape import Piece, Shape, bursts

STAY_S = 1.0
"""How long a subscriber of a churn stays."""
MAX_JOINS = 2000
DEFAULTS = {"publishers": 1, "subscribers": 1, "topics": 100, "size": 64}
RANGES = {"publishers": (1, 200), "subscribers": (1, 200), "topics": (1, 100_000), "size": (STAMP_BYTES, 1 << 23)}
PHASE_KEYS = {"name", "seconds", "rate", "burst", "churn", "storm", "requests", "kill"}
BURST_KEYS = {"rate", "every", "for"}


@dataclass(frozen=True)
class Phase:
    """One phase.

    shape:      what the publishers send
    joins_s:    when nodes join, in seconds from the beginning, in order
    stay_s:     how long each of them stays; 0: until the end
    requests:   a second; 0: none
    kill:       a process of the plan; empty: none
    """

    name: str
    shape: Shape
    joins_s: tuple[float, ...] = ()
    stay_s: float = 0.0
    requests: float = 0.0
    kill: str = ""


@dataclass(frozen=True)
class Phases:
    """A test from a file. plan: the state folder of the processes that may be killed; empty: none"""

    publishers: int
    subscribers: int
    topics: int
    size_bytes: int
    phases: tuple[Phase, ...]
    plan: str = ""

    @property
    def seconds(self) -> float:
        return sum(each.shape.seconds for each in self.phases)


def read(text: str) -> Phases:
    """Return the test that a TOML file describes; ValueError says what is wrong with it."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not TOML: {error}") from None
    _known(told, {*DEFAULTS, "plan", "phases"}, "")
    values = {key: _count(told.get(key, default), key, *RANGES[key]) for key, default in DEFAULTS.items()}
    plan = told.get("plan", "")
    if not isinstance(plan, str):
        raise ValueError(expected("plan", plan, "a folder in quotes"))
    tables = told.get("phases")
    if not isinstance(tables, list) or not tables or not all(isinstance(each, dict) for each in tables):
        raise ValueError(expected("phases", tables, "one [[phases]] or more"))
    phases = tuple(_phase(each, at) for at, each in enumerate(tables, 1))
    if not plan and any(each.kill for each in phases):
        raise ValueError('kill needs a plan: expected plan = "var", the state folder of scripts/up')
    return Phases(values["publishers"], values["subscribers"], values["topics"], values["size"], phases, plan)


def _phase(told: Mapping[str, Any], at: int) -> Phase:
    where = f"phase {at}: "
    _known(told, PHASE_KEYS, where)
    name = told.get("name", f"phase {at}")
    kill = told.get("kill", "")
    for key, value in (("name", name), ("kill", kill)):
        if not isinstance(value, str) or not value.isprintable():
            raise ValueError(where + expected(key, value, "a text in quotes"))
    seconds = _above(told.get("seconds"), f"{where}seconds")
    storm, churn = (_least(told.get(key, 0), f"{where}{key}") for key in ("storm", "churn"))
    if storm and churn:
        raise ValueError(f"{where}storm and churn: expected one of them, the other in a phase after it")
    if max(storm, churn * seconds) > MAX_JOINS:
        raise ValueError(
            where + expected("number of nodes", int(max(storm, churn * seconds)), f"{MAX_JOINS:,} at most")
        )
    joins = (0.0,) * int(storm) or tuple(k / churn for k in range(int(seconds * churn)))
    requests = _least(told.get("requests", 0), f"{where}requests")
    shape = _shape(told, seconds, where)
    return Phase(name, shape, joins, STAY_S if churn else 0.0, requests, kill)


def _shape(told: Mapping[str, Any], seconds: float, where: str) -> Shape:
    rate, burst = told.get("rate", 1000), told.get("burst")
    if isinstance(rate, list):
        if len(rate) != 2 or burst is not None:
            raise ValueError(where + expected("rate", rate, "a number, or [from, to] without a burst"))
        first, last = (_least(each, f"{where}rate") for each in rate)
        if not first + last:
            raise ValueError(where + expected("rate", rate, "one of both above 0"))
        return Shape((Piece(seconds, first, last),))
    steady = _above(rate, f"{where}rate")
    if burst is None:
        return Shape((Piece(seconds, steady, steady),))
    if not isinstance(burst, dict) or burst.keys() != BURST_KEYS:
        raise ValueError(where + expected("burst", burst, "{ rate = 20000, every = 2, for = 0.2 }"))
    found = {key: _above(value, f"{where}burst.{key}") for key, value in burst.items()}
    if found["for"] >= found["every"] or found["every"] < 0.01:
        raise ValueError(where + expected("burst", burst, "`for` shorter than `every`, and that 0.01 s at least"))
    return bursts(seconds, steady, found["rate"], found["every"], found["for"])


def _known(told: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in told:
        if key not in known:
            raise ValueError(f"{where}{key!r} is not known; there are {', '.join(sorted(known))}")


def _count(value: Any, name: str, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(expected(name, value, f"a whole number from {low:,} to {high:,}"))
    return value


def _least(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e9:
        raise ValueError(expected(name, value, "a number of 0 or more"))
    return float(value)


def _above(value: Any, name: str) -> float:
    if value is None or not _least(value, name):
        raise ValueError(expected(name, value, "a number above 0"))
    return float(value)

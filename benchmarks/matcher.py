"""How fast is the matcher, beside `MQTTMatcher` of paho-mqtt?

    python -m benchmarks.matcher [--filters N] [--topics N] [--rounds N]

    paho    list(MQTTMatcher.iter_match(topic))
    trie    SubscriptionTrie.match(topic): what the first message of a topic costs
    known   a look-up in Broker.routes by the topic's raw bytes: what every further message costs

Different filters, by default 100,000: 80 % exact, 15 % with `+`, 5 % with `#`. Half of the topics are exact filters
among them, half are any of the same shape. Each round gives all topics to all three, one after the other, and compares
within the round. Before the rounds the three must agree on every topic. Exits with 1 when a median misses its aim.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import click

from fabric.broker import Broker
from fabric.trie import SubscriptionTrie

OUT = Path(__file__).with_name("out") / "matcher.json"
AIMS = {"trie": 1.0, "known": 10.0}  # at least so many times as fast as paho
SEED = 2013
REGIONS, SENSORS = 20, ("temp", "speed", "fuel", "door")


class Contender(NamedTuple):
    name: str
    match: Callable[[Any], Iterable[Any]]
    topics: Sequence[Any]
    adding_us: float  # for one filter, mean


def make_filters(rng: random.Random, count: int) -> list[str]:
    """Return `count` different filters in random order."""
    chosen: dict[str, None] = {}
    while len(chosen) < count:
        levels = some_topic(rng, count).split("/")
        if len(chosen) >= 0.95 * count:
            levels[rng.choice((2, 3, 4, 4)) :] = ["#"]
        elif len(chosen) >= 0.8 * count:
            for place in rng.sample(range(len(levels)), rng.choice((1, 2))):
                levels[place] = "+"
        chosen["/".join(levels)] = None
    filters = list(chosen)
    rng.shuffle(filters)
    return filters


def make_topics(rng: random.Random, filters: Sequence[str], count: int) -> list[str]:
    exact = [chosen for chosen in filters if "+" not in chosen and "#" not in chosen]
    return [rng.choice(exact) if number % 2 else some_topic(rng, len(filters)) for number in range(count)]


def some_topic(rng: random.Random, filter_count: int) -> str:
    """Return one of 1.6 topics a filter: half of them have an exact filter."""
    trucks = max(filter_count // 50, 10)
    return f"site/{rng.randrange(REGIONS)}/truck/{rng.randrange(trucks):05}/{rng.choice(SENSORS)}"


def build(filters: Sequence[str], topics: Sequence[str]) -> list[Contender]:
    from paho.mqtt.matcher import MQTTMatcher

    paho: Any = MQTTMatcher()  # type: ignore[no-untyped-call]
    broker = Broker[int]()
    trie: SubscriptionTrie[int] = SubscriptionTrie()
    routes = broker.routes
    adding_us = []
    for add in (paho.__setitem__, trie.add, broker.subscribe):
        began = time.perf_counter()
        for number, topic_filter in enumerate(filters):
            add(topic_filter, number)
        adding_us.append((time.perf_counter() - began) / len(filters) * 1e6)
    return [
        Contender("paho", lambda topic: list(paho.iter_match(topic)), topics, adding_us[0]),
        Contender("trie", trie.match, topics, adding_us[1]),
        Contender(
            "known",
            lambda raw: (routes.get(raw) or broker.route(raw)).subscriptions,
            [topic.encode() for topic in topics],
            adding_us[2],
        ),
    ]


def check_agreement(contenders: Sequence[Contender]) -> float:
    """Raise unless all find the same filters for every topic; return how many they find, mean over the topics."""
    paho, trie, known = contenders
    found = 0
    for topic, raw in zip(paho.topics, known.topics, strict=True):
        expected = sorted(paho.match(topic))
        if sorted(trie.match(topic)) != expected or sorted(one.handler for one in known.match(raw)) != expected:
            raise SystemExit(f"the matchers disagree on {topic!r}: no figures are worth anything")
        found += len(expected)
    return found / len(paho.topics)


def time_pass(contender: Contender) -> float:
    """Return the mean microseconds a topic takes, in one pass over all topics."""
    match = contender.match
    began = time.perf_counter()
    for topic in contender.topics:
        match(topic)
    return (time.perf_counter() - began) / len(contender.topics) * 1e6


def time_singly(contender: Contender) -> dict[str, float]:
    """Return percentiles over the single topics, in microseconds; reading the clock adds some 0.1 to each."""
    clock, match = time.perf_counter_ns, contender.match
    taken_ns = []
    for topic in contender.topics:
        began = clock()
        match(topic)
        taken_ns.append(clock() - began)
    taken_ns.sort()
    at = {"p50_us": 0.5, "p99_us": 0.99, "p99_9_us": 0.999}
    return {name: taken_ns[int(part * (len(taken_ns) - 1))] / 1e3 for name, part in at.items()}


def measure(contenders: Sequence[Contender], rounds: int) -> list[dict[str, Any]]:
    """Return one row a contender. Garbage collection is off meanwhile, as in `timeit`."""
    gc.collect()
    gc.disable()
    passes = [[time_pass(contender) for contender in contenders] for _ in range(rounds)]
    rows = []
    for place, contender in enumerate(contenders):
        ratios = sorted(times[0] / times[place] for times in passes)
        rows.append(
            {
                "matcher": contender.name,
                "us_per_topic": statistics.median(times[place] for times in passes),
                "ratio_to_paho": statistics.median(ratios),
                "ratio_lowest": ratios[0],
                "ratio_highest": ratios[-1],
                "aim": AIMS.get(contender.name),
                **time_singly(contender),
                "us_per_add": contender.adding_us,
            }
        )
    gc.enable()
    return rows


def environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "paho-mqtt": version("paho-mqtt"),
    }


def show(rows: Sequence[dict[str, Any]]) -> None:
    print("matcher  us/topic  times paho (low-high)    aim   p50 us   p99 us  p99.9 us  us/add")
    for row in rows:
        spread = f"({row['ratio_lowest']:.2f}-{row['ratio_highest']:.2f})"
        aim = "" if row["aim"] is None else f">={row['aim']:g}"
        print(
            f"{row['matcher']:<7} {row['us_per_topic']:>9.2f} {row['ratio_to_paho']:>7.2f} {spread:<15} {aim:>6}",
            f"{row['p50_us']:>8.2f} {row['p99_us']:>8.2f} {row['p99_9_us']:>9.2f} {row['us_per_add']:>7.2f}",
        )


@click.command(help="How fast is the matcher, beside MQTTMatcher of paho-mqtt?")
@click.option("--filters", "filter_count", type=click.IntRange(1_000), default=100_000, show_default=True)
@click.option("--topics", "topic_count", type=click.IntRange(100), default=20_000, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=15, show_default=True)
def main(filter_count: int, topic_count: int, rounds: int) -> None:
    rng = random.Random(SEED)
    filters = make_filters(rng, filter_count)
    contenders = build(filters, make_topics(rng, filters, topic_count))
    found = check_agreement(contenders)
    rows = measure(contenders, rounds)
    about = {
        **environment(),
        "filters": filter_count,
        "topics": topic_count,
        "rounds": rounds,
        "filters_found_per_topic": round(found, 2),
    }
    print(*(f"{name}={value}" for name, value in about.items()), sep="  ")
    show(rows)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"about": about, "rows": rows}, indent=2) + "\n")
    missed = [row["matcher"] for row in rows if row["ratio_to_paho"] < (row["aim"] or 0)]
    if missed:
        sys.exit(f"below its aim: {', '.join(missed)}")


if __name__ == "__main__":
    main()

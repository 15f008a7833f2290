"""benchmarks/RESULTS.md and its plots, from the figures of a run.

python -m benchmarks.peers.report          # again, from benchmarks/out/peers.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import lab
from benchmarks.peers import aims
from benchmarks.peers.clients import KEEPING_RIVALS, RIVALS, ROWS, client_class
from benchmarks.peers.figures import Results, Work
from benchmarks.peers.plots import draw
from benchmarks.peers.summary import summary
from benchmarks.peers.words import NAMES, number, times

FOLDER = lab.ROOT / "benchmarks"
MARGIN = 1.05
"""Ahead by less than this is even: medians of a few repetitions say no more."""


def write(results: Results, folder: Path) -> list[Path]:
    """Write RESULTS.md and, in `plots`, one plot for each work; return their paths."""
    page, plots = folder / "RESULTS.md", folder / "plots"
    plots.mkdir(exist_ok=True)
    drawn = [draw(work, plots / f"{work.name}.svg") for work in results.works if _has_figures(work)]
    page.write_text("\n".join(_page(results)) + "\n")
    return [page, *drawn]


HEAD = """# The fabric beside its peers

Written by `scripts/bench`; do not edit. The same work on the same machine in the same run, peers in turns, each with
its usual Python client and settings for speed, which stand at the top of the files in [peers/clients](peers/clients),
and in [peers/servers.py](peers/servers.py).
"""
QUICK = "**A quick run with small settings: it shows that everything works, and is not to be quoted.**\n"
READING = """
A cell is the median of the repetitions and, after it, how many times as good the fabric is: the median of the ratios
within each repetition. **Below 1 the peer is ahead.** Raw ZeroMQ is the fabric's bound: a Python `send` of ready parts
and a Python `recv` that calls a function, through the fabric's own proxy, with nothing numbered, decoded or matched.
Subscribers, publishers and servers are processes of their own; all share the CPUs. Every topic was sent once before the
clock starts.
"""
DECLARED = "Its publishers, once declared, know that nobody matches, and do not even send."
WHY = {
    "wildcard of zenoh": f"{DECLARED} A leading wildcard has no prefix, so the fabric's node is sent everything, and "
    "sorts it out.",
    "wildcard": "It matches in its server, and sends one message in a hundred; a leading wildcard has no prefix, so "
    "each of the fabric's nodes is sent all of them, and sorts them out.",
    "nobody of zenoh": f"{DECLARED} The fabric's proxy is sent all of it, and drops it.",
    "cpu of zenoh": f"{DECLARED} The fabric's proxy is sent what nobody wants, and drops it.",
    "acks": "Its ack is the word of one server behind the subscription; the fabric's is a marker that every proxy "
    "has answered, back through the mesh.",
    "subscription_memory": "A prefix stands in the tries of a proxy's out and relay, in libzmq both; of more than "
    "1,000 filters the fabric's node makes coarser prefixes.",
    "repair": "A node that has connected again waits for 50 ms for what another way may still bring before it asks, "
    "and libzmq connects again after 100 ms; the peer asks at once.",
    "keeping": "A history comes in pages, each of which is asked for when the one before was read; a consumer of the "
    "peer is sent its stream.",
    "storm": "A fabric node opens two connections, proves both ways by a probe and its subscription by a marker, and "
    "has its threads; a client of the peer opens one connection.",
    "connection_memory": "A fabric node is two ZeroMQ connections with queues of their own at its proxy; a client of "
    "the peer is one socket.",
}


def _page(results: Results) -> Iterator[str]:
    about = results.environment
    yield HEAD
    if about.get("quick"):
        yield QUICK
    yield f"{about['date']}, {about['cpus']} CPUs, {about['system']}, Python {about['python']}, load {about['load']} at"
    yield f"the start; took {about['took_s']} s.\n"
    yield "| | measured here |\n|---|---|"
    for peer, words in results.versions.items():
        yield f"| {NAMES[peer]} | {words} |"
    for peer, words in results.skipped.items():
        yield f"| {NAMES[peer]} | left out: {words} lacked |"
    yield READING
    yield from summary(results.works, {peer: NAMES[peer] for peer in RIVALS})
    yield from aims.report(results.works)
    for work in results.works:
        if _has_figures(work):
            yield from _section(work)
    yield from _acks_words()


def _has_figures(work: Work) -> bool:
    return any(figures.median for peers in work.figures.values() for figures in peers.values())


def _section(work: Work) -> Iterator[str]:
    yield f"## {work.title}\n"
    yield f"In {work.unit}; {work.better} is better.\n"
    yield f"![{work.title}](plots/{work.name}.svg)\n"
    yield f"| | {' | '.join(work.settings)} |\n|---|{'---:|' * len(work.settings)}"
    for peer in ROWS:
        there = [work.of(setting, peer) for setting in work.settings]
        if any(figures.values or figures.note for figures in there):
            yield f"| {NAMES[peer]} | {' | '.join(_cell(work, setting, peer) for setting in work.settings)} |"
    notes = list(_notes(work)) + list(_ahead(work))
    yield ""
    for each in notes:
        yield f"- {each}"
    if notes:
        yield ""


def _cell(work: Work, setting: str, peer: str) -> str:
    figures = work.of(setting, peer)
    if figures.median is None:
        return "-"
    ratio = work.ratio(setting, peer) if peer != "fabric" else None
    words = (
        ""
        if ratio is None
        else f" (x {times(ratio)})"
        if ratio >= 1 or peer not in (*RIVALS, *KEEPING_RIVALS)
        else f" (**x {times(ratio)}**)"
    )
    loss = f" †{figures.loss:.2%}" if figures.loss else ""
    more = "".join(f", {name} {number(value)}" for name, value in figures.more.items())
    return f"{number(figures.median)}{more}{loss}{words}"


def _notes(work: Work) -> Iterator[str]:
    """What is said of single peers; the same words at several settings once."""
    said: dict[tuple[str, str], list[str]] = {}
    for setting in work.settings:
        for peer, figures in work.figures.get(setting, {}).items():
            if figures.note:
                said.setdefault((peer, figures.note), []).append(setting)
    for (peer, note), settings in said.items():
        where = "" if len(settings) == len(work.settings) else f" ({', '.join(settings)})"
        yield f"{NAMES[peer]} {note}{where}."
    if any(figures.loss for peers in work.figures.values() for figures in peers.values()):
        yield "† so much was lost in the worst repetition; the figure counts what arrived."


def _ahead(work: Work) -> Iterator[str]:
    """Which peers are ahead somewhere, by how much, and why; a reason that several share once."""
    found: dict[str, list[str]] = {}
    for peer in (*RIVALS, *KEEPING_RIVALS):
        ratios = {setting: work.ratio(setting, peer) for setting in work.settings}
        ahead = {setting: 1 / ratio for setting, ratio in ratios.items() if ratio is not None and ratio < 1 / MARGIN}
        if ahead:
            where = (f" at {setting}" if len(work.settings) > 1 else "" for setting in ahead)
            by = ", ".join(f"{times(factor)} times{at}" for factor, at in zip(ahead.values(), where, strict=True))
            why = _why(work, peer, max(ahead, key=lambda each: ahead[each]))
            found.setdefault(why, []).append(f"**{NAMES[peer]} is ahead: {by}.**")
    for why, sentences in found.items():
        yield f"{' '.join(sentences)} {why}"


def _why(work: Work, peer: str, setting: str) -> str:
    """Why, from the figures where they tell, else from what is done for it."""
    ours, theirs, raw = (work.of(setting, each).median for each in ("fabric", peer, "raw"))
    if why := WHY.get(f"{work.name} of {peer}") or WHY.get(work.name):
        return why
    if ours is None or theirs is None or raw is None:
        return "Without the raw bound in the same run, the figures do not tell why."
    higher = work.better == "higher"
    part = ours / raw if higher else raw / ours
    at = f"{number(raw)} at {setting}" if len(work.settings) > 1 else number(raw)
    if theirs > raw if higher else theirs < raw:
        return (
            f"That is ahead of raw ZeroMQ under Python, too ({at}), of which the fabric reaches {part:.0%}: the bound "
            "there is ZeroMQ and one Python call for each part, not the fabric's own work."
        )
    return (
        f"Raw ZeroMQ ({at}) is ahead of that, and the fabric reaches {part:.0%} of it: the rest is what numbers, "
        "decodes and matches each message."
    )


def _acks_words() -> Iterator[str]:
    yield "## What an ack says\n"
    for peer in ("fabric", *RIVALS):
        try:
            ack = client_class(peer).ack
        except ImportError:
            continue
        yield f"- {NAMES[peer]}: {ack or 'none; that a subscription is in force shows when a message arrives'}"


if __name__ == "__main__":
    for written in write(Results.from_map(json.loads((lab.OUT / "peers.json").read_text())), FOLDER):
        print(written)

"""The results at a glance: how many times as good the fabric is, and whether its aims are reached. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.figures import Work

AIMS = {"fan_out": 3.0, "round_trip": 1.5}
"""By how much the fabric is to be ahead of every peer, at every setting."""


def summary(works: list[Work], names: dict[str, str]) -> Iterator[str]:
    """Yield a table with a row for each work and setting and a column for each peer, and a sentence for each aim.

    names: peer -> what it is called, in the order of the columns; without the fabric and its bound
    """
    peers = [peer for peer in names if any(work.ratio(setting, peer) for work in works for setting in work.settings)]
    if not peers:
        return
    yield "## At a glance\n"
    yield "How many times as good the fabric is; bold where the peer is ahead.\n"
    yield f"| | {' | '.join(names[peer] for peer in peers)} |\n|---|{'---:|' * len(peers)}"
    for work in works:
        for setting in work.settings:
            ratios = [work.ratio(setting, peer) for peer in peers]
            if any(ratios):
                where = f", {setting}" if len(work.settings) > 1 else ""
                yield f"| {work.title}{where} | {' | '.join(_cell(ratio) for ratio in ratios)} |"
    yield ""
    for work in works:
        if work.name in AIMS:
            yield _aim(work, AIMS[work.name], names)
    yield ""


def _cell(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return f"{ratio:.2g}" if ratio >= 1 else f"**{ratio:.2g}**"


def _aim(work: Work, aim: float, names: dict[str, str]) -> str:
    lowest = {
        peer: min(ratios)
        for peer in names
        if (ratios := [ratio for setting in work.settings if (ratio := work.ratio(setting, peer)) is not None])
    }
    short = {names[peer]: ratio for peer, ratio in lowest.items() if ratio < aim}
    words = f"- The aim of '{work.title}', {aim:g} times every peer at every setting, is "
    if not lowest:
        return f"{words}not decided: it was not measured beside any."
    if not short:
        return f"{words}reached."
    return f"{words}missed against {', '.join(f'{name} (at worst {ratio:.2g})' for name, ratio in short.items())}."

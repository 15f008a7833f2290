"""The results at a glance: how many times as good the fabric is. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.figures import Work
from benchmarks.peers.words import times


def summary(works: list[Work], names: dict[str, str]) -> Iterator[str]:
    """Yield a table with a row for each work and setting and a column for each peer.

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


def _cell(ratio: float | None) -> str:
    if ratio is None:
        return "-"
    return times(ratio) if ratio >= 1 else f"**{times(ratio)}**"

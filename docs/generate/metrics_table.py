"""The tables of metrics, from `nodes.operate.metrics.METRICS`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from nodes.operate.metrics import METRICS, Metric

TITLES = {
    "proxy": "Proxy",
    "node": "Node",
    "frame": "Frame node",
    "store": "Store of a frame node",
    "keep": "Keeper",
    "kept": "Store of a keeper",
    "page": "Page host",
    "agent": "Agent",
    "gateway": "Gateway",
    "http": "Status page",
    "audit": "Audit stream",
    "sub": "`fabric sub`",
}
"""Part of a process -> heading."""


def metrics() -> str:
    """Return one table for each part, in the order of METRICS."""
    return "\n\n".join(_table(part, rows) for part, rows in groupby(METRICS, key=lambda each: each.part))


def _table(part: str, rows: Iterable[Metric]) -> str:
    lines = [f"## {TITLES[part]}", "", "| metric | meaning |", "|---|---|"]
    for row in rows:
        label = f"{{{row.label}}}" if row.label else ""
        lines.append(f"| `{row.name}{label}` | {row.meaning} |")
    return "\n".join(lines)

"""The nodes of a mesh as they answer, question after question: what `fabric top` shows of them. Pure.

A question to a node waits in the same queue as its messages. So the time to its answer says how far the node is behind,
by one clock: the operator's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.observe.tables import milliseconds

COLUMNS = ("NODE", "PROXY", "LAG ms", "IN/s", "OUT/s", "SUBS", "LOST", "OVER", "REFUSED")
FORGET_S = 60.0
"""A node that has not answered for so long has gone."""
MOST = 10
"""Rows of one table at most."""


@dataclass
class _Node:
    """What one node said in its last answer.

    heard_at:          when, monotonic, in seconds
    lag_s:             from the question to the answer
    figures:           whole numbers of the answer, by name, since the node began
    in_rate, out_rate: messages a second between its last two answers; None before the second
    """

    name: str
    proxy: str
    heard_at: float
    lag_s: float
    figures: dict[str, float]
    in_rate: float | None = None
    out_rate: float | None = None


class Top:
    """What was answered so far. Times are monotonic, in seconds.

    every_s: how often the nodes are asked
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._nodes: dict[int, _Node] = {}
        """By publisher id, which is new with each run of a node. `hear` adds, `forget` drops."""

    def hear(self, now: float, elapsed_s: float, answer: Mapping[str, Any]) -> None:
        """Take an answer, and how long after the question it came. Anything else is passed over."""
        name, proxy = answer.get("node"), answer.get("proxy")
        if answer.get("answer") != "stats" or not (isinstance(name, str) and isinstance(proxy, str)):
            return
        figures = {key: float(value) for key, value in answer.items() if type(value) is int and key != "publisher"}
        new = _Node(name, proxy, now, elapsed_s, figures)
        old = self._nodes.get(answer["publisher"])
        if old is not None and now > old.heard_at:
            passed_s = now - old.heard_at
            new.in_rate = (figures.get("received", 0.0) - old.figures.get("received", 0.0)) / passed_s
            new.out_rate = (figures.get("published", 0.0) - old.figures.get("published", 0.0)) / passed_s
        self._nodes[answer["publisher"]] = new

    def forget(self, now: float) -> None:
        """Drop the nodes that have gone."""
        self._nodes = {key: node for key, node in self._nodes.items() if now - node.heard_at < FORGET_S}

    def slowest(self, now: float) -> list[tuple[str, ...]]:
        """Those furthest behind, in the order of COLUMNS."""
        return self._rows(sorted(self._nodes.values(), key=lambda node: -self._lag(node, now)), now)

    def losers(self, now: float) -> list[tuple[str, ...]]:
        """Those that lost most, in the order of COLUMNS; without those that lost nothing."""
        lost = [node for node in self._nodes.values() if node.figures.get("lost")]
        return self._rows(sorted(lost, key=lambda node: -node.figures["lost"]), now)

    def as_json(self, now: float) -> list[dict[str, Any]]:
        """Every node that has answered, those furthest behind first."""
        return [
            {
                "node": node.name,
                "proxy": node.proxy,
                "lag_s": round(self._lag(node, now), 6),
                "in_rate": node.in_rate,
                "out_rate": node.out_rate,
                **{key: int(value) for key, value in node.figures.items()},
            }
            for node in sorted(self._nodes.values(), key=lambda node: -self._lag(node, now))
        ]

    def _lag(self, node: _Node, now: float) -> float:
        """Seconds. A node that has not answered the last questions is behind by at least that time."""
        silent_s = now - node.heard_at - 2 * self._every_s
        return max(node.lag_s, silent_s)

    def _rows(self, nodes: Iterable[_Node], now: float) -> list[tuple[str, ...]]:
        return [
            (
                node.name,
                node.proxy,
                milliseconds(self._lag(node, now)),
                _rate(node.in_rate),
                _rate(node.out_rate),
                *(f"{node.figures.get(key, 0):,.0f}" for key in ("subscriptions", "lost", "over_delivered", "refused")),
            )
            for node in list(nodes)[:MOST]
        ]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{max(0.0, rate):,.0f}"

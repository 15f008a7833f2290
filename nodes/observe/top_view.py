"""The nodes of a mesh as they answer, question after question: what `fabric top` shows of them. Pure.

A question to a node waits in the same queue as its messages. So the time to its answer says how far the node is behind,
by one clock: the operator's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nodes.observe.tables import milliseconds

COLUMNS = ("NODE", "PROXY", "LAG ms", "IN/s", "OUT/s", "SUBS", "LOST", "OVER", "REFUSED")
FORGET_S = 60.0
"""A node that has not answered for so long has gone."""
MOST = 10
"""Rows of one table at most, where it is printed once."""
REMEMBERED = 60
"""Rates of a node that are kept for its curve."""
RECEIVED = "received"
"""Name of the curve of what nodes receive, beside the streams of proxies."""
SORTS = {
    "lag": "LAG ms", "in": "IN/s", "out": "OUT/s", "subs": "SUBS", "lost": "LOST", "over": "OVER",
    "refused": "REFUSED", "name": "NODE",
}  # fmt: skip
"""What nodes can be sorted by, in the order of the columns, and the column that it is."""


class Order(NamedTuple):
    """How nodes are sorted: the largest first; names from a to z. `reverse` turns that round."""

    by: str = "lag"
    reverse: bool = False

    def next(self, step: int = 1) -> Order:
        """Return the same by the next column of SORTS, or by the one before it (step -1)."""
        names = list(SORTS)
        return Order(names[(names.index(self.by) + step) % len(names)], self.reverse)


class NodeRow(NamedTuple):
    """A node as it is shown.

    cells: in the order of COLUMNS
    lag_s: how far it is behind, in seconds
    lost:  messages that it lost since it began; losing: more of them at its last answer than at the one before
    trend: messages a second that it received and published, together, at its last answers
    """

    cells: tuple[str, ...]
    lag_s: float
    lost: int
    losing: bool
    refused: int
    trend: tuple[float, ...]


@dataclass
class _Node:
    """What one node said in its last answer.

    heard_at:          when, monotonic, in seconds
    lag_s:             from the question to the answer
    figures:           whole numbers of the answer, by name, since the node began
    in_rate, out_rate: messages a second between two answers; None before the second
    rated:             when these rates were taken, with what was received and published by then
    losing:            it lost something between these two
    trend:             the last REMEMBERED sums of both rates
    """

    name: str
    proxy: str
    heard_at: float
    lag_s: float
    figures: dict[str, float]
    in_rate: float | None = None
    out_rate: float | None = None
    rated: tuple[float, float, float] = (0.0, 0.0, 0.0)
    losing: bool = False
    trend: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def figure(self, name: str) -> float:
        """A figure of its answer; 0 where it did not tell it."""
        return self.figures.get(name, 0.0)


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
        if old is None:
            new.rated = (now, new.figure("received"), new.figure("published"))
        elif now > old.heard_at:
            self._rate(new, old)
        self._nodes[answer["publisher"]] = new

    def _rate(self, new: _Node, old: _Node) -> None:
        """Set what follows from an answer and the ones before it.

        One that stood still answers many questions at once when it goes on: rates over so short a time say nothing.
        """
        since, received, published = new.rated = old.rated
        new.in_rate, new.out_rate, new.trend = old.in_rate, old.out_rate, old.trend
        new.losing = new.figure("lost") > old.figure("lost")
        passed_s = new.heard_at - since
        if passed_s >= self._every_s / 2:
            new.in_rate = (new.figure("received") - received) / passed_s
            new.out_rate = (new.figure("published") - published) / passed_s
            new.rated = (new.heard_at, new.figure("received"), new.figure("published"))
            new.trend.append(max(0.0, new.in_rate) + max(0.0, new.out_rate))

    def forget(self, now: float, connected: Mapping[str, int] | None = None) -> None:
        """Drop the nodes that have gone: they would look like nodes that are far behind.

        connected: nodes at each proxy, as it says itself, where all of them are asked. One that does not answer has
                   gone when no more are connected than answer, or its proxy is not there. None: it is not known
        """
        recent = Counter(node.proxy for node in self._nodes.values() if self._is_recent(node, now))

        def is_here(node: _Node) -> bool:
            if now - node.heard_at >= FORGET_S:
                return False
            return connected is None or self._is_recent(node, now) or connected.get(node.proxy, 0) > recent[node.proxy]

        self._nodes = {key: node for key, node in self._nodes.items() if is_here(node)}

    def _is_recent(self, node: _Node, now: float) -> bool:
        """Whether it answered one of the last questions."""
        return now - node.heard_at < 2 * self._every_s + 1.0

    def rows(self, now: float, order: Order = Order()) -> list[NodeRow]:  # noqa: B008  # it cannot be changed
        """Every node that has answered, sorted."""
        named = order.by == "name"
        nodes = sorted(self._nodes.values(), key=lambda node: node.name)  # the same order each time
        if not named:
            nodes.sort(key=lambda node: self._rank(order.by, node, now), reverse=not order.reverse)
        elif order.reverse:
            nodes.reverse()
        return [
            NodeRow(
                self._cells(node, now),
                self._lag(node, now),
                int(node.figure("lost")),
                node.losing,
                int(node.figure("refused")),
                tuple(node.trend),
            )
            for node in nodes
        ]

    def received_rate(self) -> float:
        """Messages a second that all nodes that answered received together: a copy each."""
        return sum(max(0.0, node.in_rate or 0.0) for node in self._nodes.values())

    def losers(self, now: float) -> list[NodeRow]:
        """Those that lost something, the most first."""
        return [row for row in self.rows(now, Order("lost")) if row.lost]

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

    def _rank(self, by: str, node: _Node, now: float) -> float:
        if by == "lag":
            return self._lag(node, now)
        if by in ("in", "out"):
            return (node.in_rate if by == "in" else node.out_rate) or 0.0
        return node.figure({"subs": "subscriptions", "over": "over_delivered"}.get(by, by))

    def _cells(self, node: _Node, now: float) -> tuple[str, ...]:
        return (
            node.name,
            node.proxy,
            milliseconds(self._lag(node, now)),
            _rate(node.in_rate),
            _rate(node.out_rate),
            *(f"{node.figure(key):,.0f}" for key in ("subscriptions", "lost", "over_delivered", "refused")),
        )


def cells(rows: Iterable[NodeRow], most: int = MOST) -> list[tuple[str, ...]]:
    """Return the first rows as they are printed, in the order of COLUMNS."""
    return [row.cells for row in rows][:most]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{max(0.0, rate):,.0f}"

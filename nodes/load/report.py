"""What a load test found: figures of each stretch, as tables and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodes.load.books import Line
from nodes.load.schedule import Spec

UNSENT_SHARE = 0.005
"""A rate did not hold when a larger share was not sent in time: the latency of what was not sent is unknown."""

LATENCIES = ("p50 ms", "p90", "p99", "p99.9", "max")
ROUND_COLUMNS = ("rate/s", "sent", "delivered", "delivered/s", "repaired", "lost", *LATENCIES, "unsent")
BOOKS_COLUMNS = (
    "subscriber",
    "due",
    "delivered",
    "of it repaired",
    "lost",
    "over the end",
    "missing",
    "surplus",
    "wrong",
)
"""What does not balance comes last."""
OVER_COLUMNS = ("subscriber", "over-delivered by filter", "messages")


@dataclass(frozen=True)
class Over:
    """What arrived at one subscriber and matched nothing; `by_filter`: by the filter whose prefix let it through."""

    subscriber: int
    arrived: int
    by_filter: dict[str, int]


@dataclass(frozen=True)
class Round:
    """One stretch at one rate. `sent` and the books cover the whole stretch; figures a second its measured part.

    rate:            asked for, in messages a second; None: as fast as possible
    unsent:          scheduled but not sent, as the publishers were too slow; their latency is in no quantile
    refused:         not accepted by the proxy
    elapsed_s:       of the measured part
    delivered:       in the measured part, to all subscribers together; so is delivered_per_s
    lost:            reported lost since the round before: for good
    repaired:        lost on the way since the round before, and delivered all the same; by subscriber
    quantiles_ms:    p50 … p99.9 and max, from the intended send time; empty when nothing arrived
    lines:           the books of the whole run so far
    curve_ms:        points (percentile, latency), see `latency.curve_ms`
    """

    rate: float | None
    sent: int
    unsent: int
    refused: int
    elapsed_s: float
    delivered: int
    delivered_per_s: float
    lost: int
    quantiles_ms: dict[str, float]
    lines: tuple[Line, ...]
    over: tuple[Over, ...]
    curve_ms: tuple[tuple[float, float], ...]
    repaired: tuple[int, ...] = ()

    @property
    def loss(self) -> float:
        """The share of the messages due that was lost."""
        due = self.delivered + self.lost
        return self.lost / due if due else 0.0

    @property
    def balances(self) -> bool:
        return all(line.balances for line in self.lines)

    def fell(self, max_p99_ms: float, max_loss: float) -> str:
        """Return why this rate did not hold; empty when it did."""
        p99 = self.quantiles_ms.get("p99")
        if self.unsent > UNSENT_SHARE * (self.sent + self.unsent):
            return f"the publishers could not send {self.unsent:,} of {self.sent + self.unsent:,} in time"
        if self.refused:
            return f"the proxies did not accept {self.refused:,}"
        if p99 is None:
            return "nothing arrived"
        if self.loss > max_loss:
            return f"{100 * self.loss:.3g} % lost"
        return f"p99 was {p99:.3g} ms" if p99 > max_p99_ms else ""


def as_json(spec: Spec, rounds: Sequence[Round], best: Round | None, unconfirmed: int) -> dict[str, Any]:
    """Return the whole result; `result` is the best round, null when no rate held."""
    return {
        "publishers": spec.publishers,
        "subscribers": spec.subscribers,
        "topics": len(spec.topics),
        "filters": list(spec.filters),
        "size_bytes": spec.size_bytes,
        "connect": list(spec.connect),
        "unconfirmed": unconfirmed,
        "balances": all(each.balances for each in rounds),
        "result": None if best is None else _round(best),
        "rounds": [_round(each) for each in rounds],
    }


def _round(each: Round) -> dict[str, Any]:
    counts = ("sent", "unsent", "refused", "delivered", "lost")
    return {
        "rate": each.rate,
        **{key: getattr(each, key) for key in counts},
        "repaired": sum(each.repaired),
        "repaired_by_subscriber": list(each.repaired),
        "delivered_per_s": round(each.delivered_per_s, 1),
        "loss": each.loss,
        "latency_ms": each.quantiles_ms,
        "balances": each.balances,
        "books": [line.__dict__ | {"balances": line.balances} for line in each.lines],
        "over_delivery": [over.__dict__ for over in each.over],
    }


def round_rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """A row for each round, in the order of ROUND_COLUMNS."""
    rows = []
    for each in rounds:
        latencies = [f"{value:.3g}" for value in each.quantiles_ms.values()] or ["-"] * 5
        rate = "max" if each.rate is None else f"{each.rate:,.0f}"
        amounts = (each.sent, each.delivered, round(each.delivered_per_s), sum(each.repaired), each.lost)
        counts = tuple(f"{amount:,}" for amount in amounts)
        rows.append((rate, *counts, *latencies, f"{each.unsent:,}"))
    return rows


def books_rows(lines: Sequence[Line], repaired: Sequence[int]) -> list[tuple[str, ...]]:
    """A row for each subscriber over all publishers, in the order of BOOKS_COLUMNS.

    repaired: by subscriber, of the whole run
    """
    rows: dict[int, list[int]] = {}
    for line in lines:
        values = (line.due, line.delivered, line.lost, line.over_end, line.missing, line.surplus, line.wrong)
        before = rows.get(line.subscriber, [0] * len(values))
        rows[line.subscriber] = [a + b for a, b in zip(before, values, strict=True)]
    return [
        (str(name), *(f"{value:,}" for value in (*values[:2], repaired[name], *values[2:])))
        for name, values in rows.items()
    ]


def over_rows(over: Sequence[Over]) -> list[tuple[str, ...]]:
    """A row for each subscriber and filter at which something arrived that matched nothing, see OVER_COLUMNS."""
    rows: list[tuple[str, ...]] = []
    for each in over:
        by_filter = dict(each.by_filter)
        rest = each.arrived - sum(by_filter.values())
        if rest > 0:
            by_filter["(topics of others)"] = rest
        rows += [(str(each.subscriber), key, f"{count:,}") for key, count in by_filter.items() if count]
    return rows

"""What a load test found: figures of each stretch, as tables and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nodes.load.books import Line
from nodes.load.latency import Counts, quantiles_ms
from nodes.load.schedule import Spec
from nodes.load.units import duration, share

UNSENT_SHARE = 0.005
"""A rate did not hold when a larger share was not sent in time: the latency of what was not sent is unknown."""
LATENCIES = ("p50", "p90", "p99", "p99.9", "max")
ROUND_COLUMNS = ("rate", "sent/s", "delivered/s", *LATENCIES)
BOOKS_COLUMNS = ("subscriber", "sent", "due", "= delivered", "+ lost", "+ in flight", "repaired", "over-delivered")
WRONG_COLUMNS = ("missing", "surplus", "wrong")
"""Shown only where one of them is not 0."""
OVER_COLUMNS = ("subscriber", "over-delivered by filter", "messages")


@dataclass(frozen=True)
class Over:
    """What arrived at one subscriber and matched nothing; `by_filter`: by the filter whose prefix let it through."""

    subscriber: int
    arrived: int
    by_filter: dict[str, int]


@dataclass(frozen=True)
class Round:
    """One stretch at one rate; everything is of this stretch only.

    rate:            asked for, in messages a second; None: as fast as possible
    sent:            by all publishers together, accepted by their proxies
    unsent:          scheduled but not sent, as the publishers were too slow; their latency is in no quantile
    refused:         not accepted by the proxy
    elapsed_s:       from its beginning to its end, or to the last arrival if that was later
    quantiles_ms:    p50 … p99.9 and max, from the intended send time; empty when nothing arrived
    lines:           the books, by subscriber and publisher
    over:            by subscriber
    curve_ms:        points (percentile, latency), see `latency.curve_ms`
    repaired:        lost on the way, and delivered all the same; by subscriber
    slot_s, slots:   latencies of all subscribers by time of arrival, in slots of so many seconds
    sending_s:       how long the publishers were to send
    """

    rate: float | None
    sent: int
    unsent: int
    refused: int
    elapsed_s: float
    quantiles_ms: dict[str, float]
    lines: tuple[Line, ...]
    over: tuple[Over, ...]
    curve_ms: tuple[tuple[float, float], ...]
    repaired: tuple[int, ...] = ()
    slot_s: float = 1.0
    slots: tuple[Counts, ...] = ()
    sending_s: float = 1.0

    @property
    def total(self) -> Line:
        """The books of all subscribers and publishers together."""
        return total(self.lines)

    @property
    def delivered_per_s(self) -> float:
        return self.total.delivered / self.elapsed_s

    @property
    def sent_per_s(self) -> float:
        return self.sent / self.elapsed_s

    @property
    def loss(self) -> float:
        """The share of the messages due that was lost."""
        whole = self.total
        return whole.lost / whole.due if whole.due else 0.0

    @property
    def balances(self) -> bool:
        return all(line.balances for line in self.lines)

    def fell(self, max_p99_ms: float | None, max_loss: float) -> str:
        """Return why this rate did not hold; empty when it did. max_p99_ms: None where latency does not matter"""
        p99 = self.quantiles_ms.get("p99")
        if self.loss > max_loss:
            return f"{share(self.loss)} of what was due was lost"
        if p99 is None:
            return "nothing arrived"
        if max_p99_ms is None:
            return ""
        scheduled = self.sent + self.unsent + self.refused
        if self.unsent > UNSENT_SHARE * scheduled:
            return f"the publishers could not send {self.unsent:,} of {scheduled:,} in time"
        if self.refused:
            return f"the proxies did not accept {self.refused:,}"
        return f"p99 was {duration(p99)}" if p99 > max_p99_ms else ""


def total(lines: Sequence[Line]) -> Line:
    """Return the sum of lines of the books, at least one; its subscriber and publisher are those of the first."""
    values = [(each.due, each.delivered, each.lost, each.in_flight, each.missing, each.surplus, each.wrong)
              for each in lines]  # fmt: skip
    return Line(lines[0].subscriber, lines[0].publisher, *map(sum, zip(*values, strict=True)))


def by_subscriber(lines: Sequence[Line]) -> list[Line]:
    """Return a line for each subscriber, over all publishers."""
    own: dict[int, list[Line]] = {}
    for each in lines:
        own.setdefault(each.subscriber, []).append(each)
    return [total(each) for each in own.values()]


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
    whole = each.total
    return {
        "rate": each.rate,
        "elapsed_s": round(each.elapsed_s, 3),
        "sending_s": each.sending_s,
        "sent": each.sent,
        "unsent": each.unsent,
        "refused": each.refused,
        "due": whole.due,
        "delivered": whole.delivered,
        "lost": whole.lost,
        "in_flight": whole.in_flight,
        "repaired": sum(each.repaired),
        "repaired_by_subscriber": list(each.repaired),
        "over_delivered": sum(over.arrived for over in each.over),
        "sent_per_s": round(each.sent_per_s, 1),
        "delivered_per_s": round(each.delivered_per_s, 1),
        "loss": each.loss,
        "latency_ms": each.quantiles_ms,
        "balances": each.balances,
        "books": [line.__dict__ | {"balances": line.balances} for line in each.lines],
        "over_delivery": [over.__dict__ for over in each.over],
        "slot_s": each.slot_s,
        "slots": [{"delivered": sum(slot.values()), "latency_ms": quantiles_ms(slot)} for slot in each.slots],
    }


def round_rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """A row for each round, in the order of ROUND_COLUMNS."""
    rows = []
    for each in rounds:
        latencies = [duration(value) for value in each.quantiles_ms.values()] or ["-"] * len(LATENCIES)
        rate = "max" if each.rate is None else f"{each.rate:,.0f}/s"
        rows.append((rate, f"{each.sent_per_s:,.0f}", f"{each.delivered_per_s:,.0f}", *latencies))
    return rows


def books_table(found: Round) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the columns and a row for each subscriber over all publishers, and one for all of them."""
    lines = [*by_subscriber(found.lines)]
    whole = found.total
    is_wrong = not found.balances
    rows = []
    for name, line, repaired, over in [
        *((str(each.subscriber), each, found.repaired[each.subscriber], found.over[each.subscriber].arrived)
          for each in lines),
        ("all", whole, sum(found.repaired), sum(each.arrived for each in found.over)),
    ]:  # fmt: skip
        counts = [found.sent, line.due, line.delivered, line.lost, line.in_flight, repaired, over]
        counts += [line.missing, line.surplus, line.wrong] if is_wrong else []
        rows.append((name, *(f"{count:,}" for count in counts)))
    return BOOKS_COLUMNS + (WRONG_COLUMNS if is_wrong else ()), rows


def sum_words(found: Round) -> str:
    """Return the sum of the books in words, as one line: it holds, or says what it lacks."""
    whole = found.total
    said = f"due {whole.due:,} = delivered {whole.delivered:,} + lost {whole.lost:,} + in flight {whole.in_flight:,}"
    said += f" + missing {whole.missing:,}" if whole.missing else ""
    return said + (f" - surplus {whole.surplus:,}" if whole.surplus else "")


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

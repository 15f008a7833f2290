"""What is said of a load test."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nodes.load.books import Line
from nodes.load.report import BOOKS_COLUMNS, ROUND_COLUMNS, Over, Round, as_json, books_rows, over_rows, round_rows
from nodes.load.schedule import Spec

LATENCY = {"p50": 0.5, "p90": 0.9, "p99": 9.9, "p99.9": 20.0, "max": 31.0}
GOOD = Line(0, 0, 10, 9, 1, 0, 0, 0, 0)
BAD = Line(0, 1, 10, 9, 0, 0, 1, 0, 0)
ROUND = Round(1000.0, 1000, 0, 0, 1.0, 990, 990.0, 0, LATENCY, (GOOD,), (), ((0.0, 0.5),), (3, 4))
SPEC = Spec(2, 1, ("a",), ("a",), 64, 1000.0, 1.0, 1.0, ("tcp://h:1",))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"quantiles_ms": {**LATENCY, "p99": 10.1}}, "p99 was 10.1 ms"),
        ({"lost": 10}, "1 % lost"),
        ({"unsent": 6}, "could not send 6 of 1,006 in time"),
        ({"unsent": 5}, ""),
        ({"refused": 1}, "the proxies did not accept 1"),
        ({"quantiles_ms": {}, "delivered": 0}, "nothing arrived"),
    ],
)
def test_why_a_rate_did_not_hold(changes: dict[str, object], why: str) -> None:
    found = dataclasses.replace(ROUND, **changes).fell(max_p99_ms=10.0, max_loss=0.0)  # type: ignore[arg-type]
    assert why in found and bool(why) == bool(found)


def test_some_loss_may_be_allowed() -> None:
    lossy = dataclasses.replace(ROUND, lost=10)
    assert lossy.loss == pytest.approx(0.01) and lossy.fell(10.0, 0.01) == "" and lossy.fell(10.0, 0.009)


def test_a_round_balances_when_every_line_does() -> None:
    assert ROUND.balances and not dataclasses.replace(ROUND, lines=(GOOD, BAD)).balances


def test_json_holds_everything_and_is_strict() -> None:
    bad = dataclasses.replace(ROUND, lines=(GOOD, BAD), over=(Over(0, 5, {"a": 5}),), rate=None)
    found = json.loads(json.dumps(as_json(SPEC, [ROUND, bad], ROUND, 3), allow_nan=False))
    assert found["balances"] is False and found["unconfirmed"] == 3 and found["topics"] == 1
    assert found["result"]["latency_ms"] == LATENCY and found["rounds"][1]["rate"] is None
    assert found["rounds"][1]["books"][1]["missing"] == 1 and found["rounds"][1]["books"][1]["balances"] is False
    assert found["result"]["repaired"] == 7 and found["result"]["repaired_by_subscriber"] == [3, 4]
    assert found["rounds"][1]["over_delivery"] == [{"subscriber": 0, "arrived": 5, "by_filter": {"a": 5}}]
    assert as_json(SPEC, [ROUND], None, 0)["result"] is None


def test_tables() -> None:
    (row,) = round_rows([ROUND])
    assert dict(zip(ROUND_COLUMNS, row, strict=True))["p99"] == "9.9" and row[0] == "1,000"
    empty = dataclasses.replace(ROUND, rate=None, quantiles_ms={})
    assert round_rows([empty])[0][0] == "max" and round_rows([empty])[0].count("-") == 5
    assert dict(zip(ROUND_COLUMNS, row, strict=True))["repaired"] == "7"
    (books,) = books_rows([GOOD, BAD], [3])
    assert dict(zip(BOOKS_COLUMNS, books, strict=True))["missing"] == "1" and books[:4] == ("0", "20", "18", "3")
    over = over_rows([Over(0, 7, {"a/+": 5, "b": 0}), Over(1, 0, {"a": 0})])
    assert over == [("0", "a/+", "5"), ("0", "(topics of others)", "2")]

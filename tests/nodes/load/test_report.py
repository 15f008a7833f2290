"""What is said of a load test."""

from __future__ import annotations

import dataclasses
import json

import pytest

from nodes.load.books import Line
from nodes.load.report import (
    BOOKS_COLUMNS,
    ROUND_COLUMNS,
    WRONG_COLUMNS,
    Over,
    Round,
    as_json,
    books_table,
    by_subscriber,
    over_rows,
    round_rows,
    sum_words,
)
from nodes.load.schedule import Spec

LATENCY = {"p50": 0.5, "p90": 0.9, "p99": 9.9, "p99.9": 20.0, "max": 1680.0}
GOOD = Line(0, 0, 1000, 990, 7, 3, 0, 0, 0)
BAD = Line(0, 1, 10, 9, 0, 0, 1, 0, 0)
ROUND = Round(
    1000.0, 1000, 0, 0, 1.0, LATENCY, (GOOD,), (Over(0, 5, {"a": 5}),), ((0.0, 0.5),), (3,), 0.5, ({500: 990},)
)
SPEC = Spec(2, 1, ("a",), ("a",), 64, 1000.0, 1.0, 1.0, ("tcp://h:1",))
LOSSLESS = dataclasses.replace(ROUND, lines=(dataclasses.replace(GOOD, delivered=997, lost=0),))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"quantiles_ms": {**LATENCY, "p99": 10.1}}, "p99 was 10.1 ms"),
        ({"lines": (GOOD,)}, "0.7 % of what was due was lost"),
        ({"unsent": 6}, "could not send 6 of 1,006 in time"),
        ({"unsent": 5}, ""),
        ({"refused": 1}, "the proxies did not accept 1"),
        ({"quantiles_ms": {}}, "nothing arrived"),
    ],
)
def test_why_a_rate_did_not_hold(changes: dict[str, object], why: str) -> None:
    found = dataclasses.replace(LOSSLESS, **changes).fell(max_p99_ms=10.0, max_loss=0.0)  # type: ignore[arg-type]
    assert why in found and bool(why) == bool(found)


def test_without_a_limit_of_p99_only_loss_counts() -> None:
    slow = dataclasses.replace(LOSSLESS, unsent=900, refused=9)
    assert slow.fell(None, 0.0) == "" and ROUND.fell(None, 0.0) and ROUND.fell(None, 0.007) == ""
    assert dataclasses.replace(LOSSLESS, quantiles_ms={}).fell(None, 0.0) == "nothing arrived"


def test_some_loss_may_be_allowed() -> None:
    assert ROUND.loss == pytest.approx(0.007) and ROUND.fell(10.0, 0.007) == "" and ROUND.fell(10.0, 0.0069)


def test_a_round_balances_when_every_line_does() -> None:
    assert ROUND.balances and not dataclasses.replace(ROUND, lines=(GOOD, BAD)).balances


def test_json_holds_everything_and_is_strict() -> None:
    bad = dataclasses.replace(ROUND, lines=(GOOD, BAD), rate=None)
    found = json.loads(json.dumps(as_json(SPEC, [ROUND, bad], ROUND, 3), allow_nan=False))
    assert found["balances"] is False and found["unconfirmed"] == 3 and found["topics"] == 1
    result = found["result"]
    assert result["latency_ms"] == LATENCY and found["rounds"][1]["rate"] is None
    assert found["rounds"][1]["books"][1]["missing"] == 1 and found["rounds"][1]["books"][1]["balances"] is False
    assert result["repaired"] == 3 and result["repaired_by_subscriber"] == [3] and result["over_delivered"] == 5
    assert result["over_delivery"] == [{"subscriber": 0, "arrived": 5, "by_filter": {"a": 5}}]
    assert result["due"] == result["delivered"] + result["lost"] + result["in_flight"] == 1000
    assert result["slot_s"] == 0.5 and result["slots"][0]["delivered"] == 990
    assert result["slots"][0]["latency_ms"]["p99"] == 0.5
    assert as_json(SPEC, [ROUND], None, 0)["result"] is None


def test_a_row_of_figures_has_units() -> None:
    (row,) = round_rows([ROUND])
    assert dict(zip(ROUND_COLUMNS, row, strict=True)) == {
        "rate": "1,000/s", "sent/s": "1,000", "delivered/s": "990",
        "p50": "500 us", "p90": "900 us", "p99": "9.90 ms", "p99.9": "20.0 ms", "max": "1.68 s",
    }  # fmt: skip
    empty = dataclasses.replace(ROUND, rate=None, quantiles_ms={})
    assert round_rows([empty])[0][0] == "max" and round_rows([empty])[0].count("-") == 5


def test_the_books_add_up_by_subscriber_and_in_all() -> None:
    lines = (GOOD, dataclasses.replace(GOOD, publisher=1), Line(1, 0, 50, 50, 0, 0, 0, 0, 0))
    found = dataclasses.replace(ROUND, sent=2000, lines=lines, repaired=(3, 4), over=(Over(0, 5, {}), Over(1, 0, {})))
    columns, rows = books_table(found)
    assert columns == BOOKS_COLUMNS
    assert rows == [
        ("0", "2,000", "2,000", "1,980", "14", "6", "3", "5"),
        ("1", "2,000", "50", "50", "0", "0", "4", "0"),
        ("all", "2,000", "2,050", "2,030", "14", "6", "7", "5"),
    ]
    assert sum_words(found) == "due 2,050 = delivered 2,030 + lost 14 + in flight 6"
    assert [each.due for each in by_subscriber(lines)] == [2000, 50] and found.total.due == 2050
    assert (found.delivered_per_s, found.sent_per_s) == (2030, 2000)


def test_books_that_do_not_balance_say_by_how_much() -> None:
    found = dataclasses.replace(ROUND, lines=(GOOD, BAD, Line(0, 2, 1, 2, 0, 0, 0, 1, 0)))
    columns, rows = books_table(found)
    assert columns == (*BOOKS_COLUMNS, *WRONG_COLUMNS) and rows[0][-3:] == rows[1][-3:] == ("1", "1", "0")
    assert sum_words(found).endswith(" + missing 1 - surplus 1")


def test_what_matched_nothing() -> None:
    over = over_rows([Over(0, 7, {"a/+": 5, "b": 0}), Over(1, 0, {"a": 0})])
    assert over == [("0", "a/+", "5"), ("0", "(topics of others)", "2")]

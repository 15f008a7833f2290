"""The search on a load test: its repetitions, its confirmation, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nodes.load.finding import (
    STEP_COLUMNS,
    Finding,
    Unbalanced,
    as_json,
    found_words,
    p99_of_parts,
    step_rows,
)
from nodes.load.report import Round
from tests.nodes.load.test_report import BAD, ROUND


class Simulated:
    """A system that does 10,000/s as fast as it goes, and whose p99 is 1 ms up to a limit and 100 ms above."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.asked: list[tuple[float | None, float, float]] = []
        self.balances = True

    def measure(self, rate: float | None, duration_s: float | None = None, warm_up_s: float | None = None) -> Round:
        assert duration_s is not None and warm_up_s is not None
        self.asked.append((rate, duration_s, warm_up_s))
        ms = 100.0 if (rate or 1e9) > self.limit else 1.0
        sent = int((rate or 10_000) * duration_s)
        slots = tuple({int(ms * 1000): 5} for _ in range(round(duration_s / 0.05)))
        return replace(
            ROUND, rate=rate, sent=sent, elapsed_s=duration_s, quantiles_ms={"p50": ms, "p99": ms}, slots=slots,
            slot_s=0.05, lines=ROUND.lines if self.balances else (BAD,),
        )  # fmt: skip


def finding(system: Simulated) -> tuple[Finding, list[str]]:
    said: list[str] = []
    made = Finding(system, duration_s=10.0, warm_up_s=2.0, max_p99_ms=50.0, max_loss=0.1, said=said.append)
    return made, said


def test_repetitions_are_short_and_the_result_is_confirmed() -> None:
    system = Simulated(8_000.0)
    made, said = finding(system)
    found, best = made.find()
    assert found.best is not None and best is not None and 8_000 / 1.1 < found.best.rate <= 8_000
    assert [each[0] for each in system.asked[:6]] == [None] * 3 + [10_000.0] * 3
    assert system.asked[3:5] == [(10_000.0, 1.0, 1.0), (10_000.0, 1.0, 0.0)], "it warms up once a step"
    assert system.asked[-1] == (found.best.rate, 10.0, 2.0) and best is made.rounds[-1]
    assert (found.best.held, found.best.tried) == (13, 13)
    assert said[0] == "as fast as it goes: 10,000/s, the best of 3 times 1 s"
    assert said[1] == "10,000/s did not hold: in 0 of 3; p99 100 ms (100 ms to 100 ms)"
    assert said[2] == "7,000/s held: in 3 of 3; p99 1.00 ms (1.00 ms to 1.00 ms)"


def test_what_is_said_at_the_end() -> None:
    made, _ = finding(Simulated(8_000.0))
    found, _best = made.find()
    assert found_words(found, made.repetition_s, "no loss") == (
        "the highest rate that held no loss: 7,653/s, 76.5 % of the 10,000/s as fast as it goes; 8,367/s did not hold. "
        "It held in 13 of 13 stretches of 1 s: with 95 % confidence it holds in at least 79.4 % of them"
    )
    rows = [dict(zip(STEP_COLUMNS, row, strict=True)) for row in step_rows(found, made)]
    assert [row["rate"] for row in rows] == ["7,000/s", "7,653/s", "8,367/s", "10,000/s"]
    assert rows[1]["held"] == "13 of 13" and rows[2]["p99"] == "100 ms" and rows[1]["to"] == "1.00 ms"
    told = as_json(found, made.repetition_s)
    assert told["best"] == found.best.rate if found.best else False
    assert told["top"] == 10_000.0 and told["holds_at_least"] == found.confidence


def test_nothing_holds() -> None:
    made, _ = finding(Simulated(1.0))
    found, best = made.find()
    assert best is None
    assert found_words(found, 1.0, "no loss") == (
        "no rate held no loss, down to 576/s; as fast as it goes were 10,000/s"
    )


def test_books_that_do_not_balance_end_it() -> None:
    system = Simulated(8_000.0)
    system.balances = False
    made, _ = finding(system)
    with pytest.raises(Unbalanced):
        made.find()
    assert len(made.rounds) == 1


def test_parts_of_a_confirmation_and_what_arrived_late_is_in_the_last() -> None:
    slots: tuple[dict[int, int], ...] = ({1000: 1}, {2000: 1}, {}, {}, {3000: 1}, {4000: 1}, {9000: 1})
    one = replace(ROUND, slot_s=0.5, slots=slots)
    assert p99_of_parts(one, 1.0, 3.0) == [2.0, 9.0], "in the second nothing arrived"
    assert p99_of_parts(one, 3.0, 3.0) == [9.0]

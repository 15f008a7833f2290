"""The soak of many nodes: what it calls flat, leaked and missing, and a very short run of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import soak_nodes
from benchmarks.soak_nodes import MIB, Sample, grown, problems, report

BOOKS = {"total": 10, "delivered": 10, "lost": 0, "open": 0}


def samples(*proxy_mib: float, files: int = 10, files_at_the_end: int = 10) -> list[Sample]:
    found = [Sample(at * 10.0, int(mib * MIB), files, 100 * MIB, 50) for at, mib in enumerate(proxy_mib)]
    return [*found[:-1], Sample(found[-1].at_s, found[-1].proxy_bytes, files_at_the_end, 100 * MIB, 50)]


def test_what_grows_at_first_is_flat_and_what_goes_on_growing_is_not() -> None:
    at_first = samples(50, 80, 99, *[100.0] * 27)
    for_ever = samples(*(100 + 0.2 * at for at in range(30)))
    assert grown(at_first, "proxy_bytes") == 0 and problems(at_first, BOOKS, 20, 20) == []
    assert grown(for_ever, "proxy_bytes") == pytest.approx(0.035, abs=0.005)
    (said,) = problems(for_ever, BOOKS, 20, 20)
    assert said == f"the proxy's memory grew by {grown(for_ever, 'proxy_bytes'):.1%}; at most 1% is flat"


def test_files_that_stay_open_messages_that_are_missing_and_filters_without_an_ack() -> None:
    leaked = samples(*[100.0] * 30, files_at_the_end=12)
    assert problems(leaked, BOOKS, 20, 20) == ["the proxy had 10 open files, and has 12"]
    flat = samples(*[100.0] * 30)
    assert problems(flat, {**BOOKS, "open": 3}, 19, 20) == [
        "on 3 topics not all that was published is delivered or reported lost",
        "19 of 20 subscriptions were acked",
    ]


def test_the_report_is_a_table_and_says_the_verdict() -> None:
    text = report(samples(*[100.0] * 30), {"published": 1234, "minutes": "0.5"}, 10, [])
    assert "| published | 1,234 |" in text and "| verdict | flat |" in text
    assert text.count("| 100.0 | 10 | 10.00 | 5.00 |") == 11
    assert "| verdict | it grew; it leaked |" in report(samples(1.0, 1.0), {}, 2, ["it grew", "it leaked"])


def test_a_short_run_balances_its_books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_nodes, "FLAT", 0.5)  # seconds after the start nothing is settled
    path = tmp_path / "report.md"
    words = ["--nodes", "3", "--filters", "6", "--minutes", "0.1", "--rate", "30", "--report", str(path)]
    done = CliRunner().invoke(soak_nodes.main, words)
    assert done.exit_code == 0, done.output
    told = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", path.read_text(), re.MULTILINE))
    assert told["filters, acked"] == "6" and told["verdict"] == "flat"
    assert told["published"] == told["delivered"] and int(told["published"].replace(",", "")) > 3 * 600
    wrong = CliRunner().invoke(soak_nodes.main, ["--nodes", "5", "--filters", "3"])
    assert wrong.exit_code == 2 and "expected one for each of 5 nodes" in wrong.output

"""`fabric load FILE.toml`: what it prints, how it ends, and what it may kill."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.cli import main
from nodes.cli.exits import Exit
from nodes.cli.load_phases import beside_rows, fault, marks, phase_rows, told
from nodes.cli.load_shared import Limits
from nodes.load.beside import Done
from nodes.load.kill import started
from nodes.load.phased import PhaseFound
from nodes.load.phases import Phase
from nodes.load.shape import Piece, Shape
from tests.nodes.load.test_report import BAD, LOSSLESS, ROUND
from tests.support.processes import ProxyProcess

Run = Callable[..., "subprocess.CompletedProcess[str]"]
TEST = """
subscribers = 2
topics = 3
{plan}
[[phases]]
name = "ramp"
seconds = 0.3
rate = [100, 500]
[[phases]]
name = "storm"
seconds = 0.4
rate = 200
storm = 3
requests = 20
{kill}
"""
FOUND = PhaseFound(Phase("one", Shape((Piece(1.0, 9.0, 9.0),))), LOSSLESS, None, None)


def test_phases_one_after_the_other(mesh: list[ProxyProcess], run_fabric: Run, tmp_path: Path) -> None:
    file = tmp_path / "my.toml"
    file.write_text(TEST.format(plan="", kill=""))
    done = run_fabric("load", str(file), "--connect", mesh[0].base, "--report", str(tmp_path / "a.html"), timeout_s=100)
    assert done.returncode == Exit.DONE, done.stderr
    phases, beside, books = (block.splitlines() for block in done.stdout.split("\n\n"))
    assert [line.split()[0] for line in phases] == ["phase", "ramp", "storm", "all"]
    assert [line.split()[:4] for line in beside[1:]] == [["storm", "joined", "3", "0"], ["storm", "requests", "8", "0"]]
    assert books[-1].startswith("due ") and "lost 0" in books[-1]
    assert "ramp: due " in done.stderr
    report = (tmp_path / "a.html").read_text()
    assert "fabric load: my" in report and "Every phase kept its limits: no loss." in report and ">storm<" in report


def test_a_process_of_a_plan_is_killed_and_json_says_so(
    proxies: Callable[[int], Sequence[ProxyProcess]], run_fabric: Run, tmp_path: Path
) -> None:
    first, second = proxies(2)
    (tmp_path / "plan" / "run").mkdir(parents=True)
    (tmp_path / "plan" / "run" / "p2.pid").write_text(f"{second.pid} {started(second.pid)} 1\n")
    file = tmp_path / "my.toml"
    file.write_text(TEST.format(plan=f'plan = "{tmp_path}/plan"', kill='kill = "p2"'))
    arguments = ("--connect", first.base, "--connect", second.base, "--max-loss", "1", "--json")
    done = run_fabric("load", str(file), *arguments, timeout_s=150)
    assert second.wait() == -9 and first.popen.poll() is None, "the other one goes on"
    found = json.loads(done.stdout)
    assert [each["killed"] for each in found["phases"]] == ["", "p2"] and found["balances"], done.stderr
    again = run_fabric("load", str(file), *arguments)
    assert again.returncode == Exit.MISSING and "p2 does not run" in again.stderr


@pytest.mark.parametrize(
    ("text", "words"), [("x =", "not TOML"), (TEST.format(plan="", kill='kill = "p2"'), "kill needs a plan")]
)
def test_files_that_are_wrong(text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.toml"
    file.write_text(text)
    assert main.run(["load", str(file)]) == Exit.MISSING
    assert words in capsys.readouterr().err
    assert main.run(["load", str(tmp_path / "none.toml")]) == Exit.MISSING
    assert "No such file" in capsys.readouterr().err


def test_why_a_phase_did_not_keep_its_limits() -> None:
    strict, lenient = Limits(10.0, 0.0), Limits(None, 1.0)
    assert fault(FOUND, strict) == ""
    assert "lost" in fault(replace(FOUND, round=ROUND), strict) and fault(replace(FOUND, round=ROUND), lenient) == ""
    assert "books do not balance" in fault(replace(FOUND, round=replace(ROUND, lines=(BAD,))), lenient)
    failed = replace(FOUND, joins=Done({5: 3}, 2, "no proxy answered"))
    assert fault(failed, lenient) == "2 of 5 joins failed: no proxy answered"


def test_rows_and_marks() -> None:
    other = replace(FOUND, requests=Done({2000: 4}, 1, "late"), joins=Done({}, 1, "no"), killed="p2")
    one, _other, whole = phase_rows([FOUND, other])
    assert one[:6] == ("one", "1,000/s", "1,000", "997", "0", "3") and whole[2] == "2,000"
    assert beside_rows([FOUND, other]) == [
        ("one", "joined", "0", "1", "-", "-", "-"),
        ("one", "requests", "4", "1", "2.00 ms", "2.00 ms", "2.00 ms"),
        ("one", "killed p2", "1", "0", "-", "-", "-"),
    ]
    assert marks([FOUND, other]) == [(0.0, "one"), (1.0, "one")]
    requests = told([other])[0]["requests"]
    assert (requests["done"], requests["failed"], requests["why"]) == (4, 1, "late")
    assert requests["latency_ms"]["p99"] == 2.0 and told([FOUND])[0]["joins"] is None

"""`fabric load compare`: what it says of two results, and how it ends."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from nodes.cli import main
from nodes.cli.exits import Exit
from tests.nodes.load.test_compare import result


def written(folder: Path, name: str, factor: float, **changes: Any) -> str:
    chance = random.Random(name)
    values = [chance.uniform(4, 6) * factor for _ in range(40)]
    (folder / name).write_text(json.dumps(result(values, **changes)))
    return str(folder / name)


def test_worse_is_exit_code_1_and_better_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path, "a", 1.0), written(tmp_path, "b", 1.5)
    assert main.run(["load", "compare", a, b]) == Exit.NOT_REACHED
    said = capsys.readouterr()
    head, delivered, p50, p99, _ = said.out.splitlines()
    assert head.split()[:3] == ["figure", "A", "B"] and "compared 40 and 40 slots" in said.err
    assert delivered.endswith("no difference shown") and "1,000/s" in delivered
    assert p99.endswith("worse") and "<0.001" in p99 and " ms" in p99 and p50.endswith("no difference shown")
    assert main.run(["load", "compare", b, a]) == Exit.DONE
    assert "better" in capsys.readouterr().out
    assert main.run(["load", "compare", a, a]) == Exit.DONE


def test_json_and_what_was_not_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = written(tmp_path, "a", 1.0), written(tmp_path, "b", 1.5, size_bytes=9, rate=7.0)
    assert main.run(["load", "compare", a, b, "--json"]) == Exit.NOT_REACHED
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["not_the_same"] == ["size_bytes: 64 in A, 9 in B", "rate: 1000.0 in A, 7.0 in B"]
    assert "not the same test: size_bytes: 64 in A, 9 in B" in said.err
    (p99,) = [each for each in told["differences"] if each["figure"] == "p99"]
    assert p99["is_worse"] and p99["low"] < p99["ratio"] < p99["high"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"result": null, "rounds": []}', "no json"])
def test_files_that_are_no_results(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").write_text(text)
    assert main.run(["load", "compare", str(tmp_path / "a"), str(tmp_path / "a")]) == Exit.MISSING
    assert "expected what `fabric load --json` printed" in capsys.readouterr().err


def test_a_file_that_is_not_there_and_too_little_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["load", "compare", str(tmp_path / "a"), str(tmp_path / "b")]) == Exit.MISSING
    assert "No such file" in capsys.readouterr().err
    (tmp_path / "few").write_text(json.dumps(result([1.0])))
    assert main.run(["load", "compare", str(tmp_path / "few"), str(tmp_path / "few")]) == Exit.MISSING
    assert "expected at least 5 repetitions or slots" in capsys.readouterr().err

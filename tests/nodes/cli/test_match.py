"""`fabric match`: which topics match, and why the others do not."""

from __future__ import annotations

import json

import pytest

from nodes.cli import main
from nodes.cli.exits import Exit


def test_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["match", "a/+", "a/b", "a", "b/b"]) == Exit.DONE
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[0] for line in lines] == ["a/b", "a", "b/b"]
    assert [line.split("\t")[1].startswith("matches") for line in lines] == [True, False, False]
    assert main.run(["match", "a/+", "a"]) == Exit.NOT_REACHED


def test_match_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["match", "--json", "a/#", "a", "b"]) == Exit.DONE
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(each["filter"], each["topic"], each["matches"]) for each in found] == [
        ("a/#", "a", True),
        ("a/#", "b", False),
    ]


def test_a_topic_cannot_break_the_line_or_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["match", "#", "a\tb\n\x1b[2Jc\x9b"])
    assert capsys.readouterr().out.startswith("a\\u0009b\\u000a\\u001b[2Jc\\u009b\tmatches")

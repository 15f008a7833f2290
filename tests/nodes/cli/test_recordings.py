"""What commands share that read a recording."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from nodes.cli.recordings import Speed, opened


@pytest.mark.parametrize(("text", "speed"), [("2", 2.0), ("0.5", 0.5), ("max", None), ("0", None)])
def test_speeds(text: str, speed: float | None) -> None:
    assert Speed().convert(text, None, None) == speed


@pytest.mark.parametrize("text", ["-1", "fast", "nan", "inf"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a number above 0"):
        Speed().convert(text, None, None)


def test_a_file_is_closed_and_standard_input_stays_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    with opened(str(tmp_path / "a")) as file:
        assert file.read() == b"x"
    assert file.closed
    with opened("-") as standard:
        assert standard is sys.stdin.buffer
    assert not standard.closed
    with pytest.raises(FileNotFoundError):
        opened(str(tmp_path / "none"))

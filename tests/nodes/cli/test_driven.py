"""Lines of JSON in and out: what is a command, what is not, and ends of all kinds."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from typing import Any

import pytest

from nodes.cli import driven
from nodes.cli.driven import Lines, field, parse, words


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"x",
        b"[]",
        b"1",
        b"{}",
        b'{"do": 1}',
        b'{"do": null}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"do": "x", "a": NaN',
    ],
)
def test_what_is_no_command_is_a_value_error_that_says_what_would_be(line: bytes) -> None:
    with pytest.raises(ValueError, match="do"):
        parse(line)


def test_a_command_is_a_map_with_bytes_as_the_fabric_writes_them() -> None:
    assert parse(b'{"do": "publish", "payload": {"$bin": "AAE="}}') == {"do": "publish", "payload": b"\x00\x01"}


def test_fields_are_checked() -> None:
    command = {"do": "x", "n": 3, "on": True, "text": "t"}
    assert field(command, "n", int) == 3 and field(command, "missing", int, 7) == 7 and field(command, "on", bool)
    for name, kind in (("on", int), ("n", str), ("text", bool), ("missing", str)):
        with pytest.raises(ValueError, match=name):
            field(command, name, kind)


def test_an_errors_words() -> None:
    assert words(KeyError("no subscription 3")) == "no subscription 3" and words(ValueError("x")) == "x"


def run(monkeypatch: pytest.MonkeyPatch, given: bytes, do: Any) -> tuple[list[str], Lines]:
    """Run with this on stdin, up to its `quit`; return the lines that came out."""
    read, write = os.pipe()
    out = io.BytesIO()

    class Stdin:
        def fileno(self) -> int:
            return read

    class Stdout:
        buffer = out

    monkeypatch.setattr(sys, "stdin", Stdin())
    monkeypatch.setattr(sys, "stdout", Stdout())
    lines = Lines()

    def feed() -> None:
        os.write(write, given)
        os.close(write)

    feeder = threading.Thread(target=feed)
    feeder.start()
    lines.run(do)
    feeder.join()
    os.close(read)
    return out.getvalue().decode().splitlines(), lines


def test_commands_are_done_in_order_and_wrong_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def do(command: dict[str, Any]) -> None:
        done.append(command["do"])
        if command["do"] == "bad":
            raise ValueError("not like this")

    given = b'{"do": "a"}\n\nnonsense\n{"do": "bad"}\n{"do": "b"}\n{"do": "quit"}\n{"do": "never"}\n'
    out, _ = run(monkeypatch, given, do)
    assert done == ["a", "bad", "b"]
    assert [json.loads(line)["what"] for line in out] == ["nonsense", "bad"]
    assert json.loads(out[1])["why"] == "not like this"


def test_a_line_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driven, "MAX_LINE_BYTES", 1_000)
    out, _ = run(monkeypatch, b"x" * 5_000 + b'\n{"do": "quit"}\n', lambda command: None)
    assert len(out) == 1 and len(out[0]) < 400


def test_what_a_slow_reader_cannot_take_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driven, "MAX_WAITING", 3)
    lines = Lines()
    for number in range(5):
        lines.tell("x", number=number)
    assert lines.dropped == 2

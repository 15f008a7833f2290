"""Logs: words, or one strict JSON object a line, whatever is logged."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from nodes.operate import logs
from tests.support.processes import environment


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The root logger of pytest back again."""
    root, command = logging.getLogger(), logging.getLogger(logs.COMMAND)
    before = root.level, root.handlers[:], command.level
    yield
    root.handlers[:] = before[1]
    root.setLevel(before[0])
    command.setLevel(before[2])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_time_level_logger_event_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("fabric proxy", as_json=True)
    logging.getLogger("fabric.node").warning("refused %d\nparts", 3, extra={"fields": {"kind": "no_topic"}})
    (line,) = lines(capsys)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "fabric.node",
        "event": "refused 3\nparts",
        "fields": {"kind": "no_topic"},
    }


def test_a_record_that_has_a_name_is_told_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("nodes.frame_node")
    logs.begin("fabric frame", as_json=True)
    log.warning("the store answers again, after %.1f s", 2.5, extra=logs.named("store_back", away_s=2.5))
    (line,) = lines(capsys)
    assert (line["event"], line["fields"]) == ("store_back", {"away_s": 2.5})
    logs.begin("fabric frame", as_json=False)
    log.warning("the store answers again, after %.1f s", 2.5, extra=logs.named("store_back", away_s=2.5))
    assert capsys.readouterr().err == "fabric frame: the store answers again, after 2.5 s\n"


def test_what_a_command_says_is_told_by_its_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("fabric proxy", as_json=True)
    assert logs.tell("link_up", {"id": "p2"})
    (line,) = lines(capsys)
    assert (line["level"], line["logger"]) == ("info", "fabric.command")
    assert (line["event"], line["fields"]) == ("link_up", {"id": "p2"})


def test_words_are_left_to_the_command_that_says_them(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("fabric proxy", as_json=False)
    assert not logs.tell("link_up")
    logging.getLogger("fabric.node").warning("slow")
    assert capsys.readouterr().err == "fabric proxy: slow\n"


@pytest.mark.parametrize(("verbose", "count"), [(False, 0), (True, 1)])
def test_quiet_unless_asked(capsys: pytest.CaptureFixture[str], verbose: bool, count: int) -> None:
    logs.begin("fabric frame", as_json=True, verbose=verbose)
    logging.getLogger("nodes.frame_node").info("page changed")
    assert len(lines(capsys)) == count


def test_an_exception_is_one_line_with_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    logs.begin("fabric frame", as_json=True)
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logging.getLogger("nodes.frame_node").exception("a tick failed")
    (line,) = lines(capsys)
    assert line["event"] == "a tick failed" and "RuntimeError: broken" in line["fields"]["traceback"]


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize("value", [float("nan"), CIRCLE, object(), b"\xff", {1: "é\x1b"}, sys.maxsize**3])
def test_whatever_is_logged_is_strict_json(capsys: pytest.CaptureFixture[str], value: Any) -> None:
    logs.begin("fabric frame", as_json=True)
    logging.getLogger("nodes").error("x", extra={"fields": {"value": value}})
    (line,) = lines(capsys)
    assert line["event"] == "x" and len(line["fields"]) == 1


TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"
SAYS = """
import logging
from nodes.cli.exits import say
from nodes.operate import logs
logs.begin("fabric proxy", as_json=False)
logging.getLogger("x").warning("a word")
say("another")
"""


def test_words_in_a_file_begin_with_the_time(tmp_path: Path) -> None:
    """As RFC 3339 has it, with milliseconds and zone; not where somebody else notes the time, or a person looks."""
    log = tmp_path / "log"
    with log.open("w") as file:
        subprocess.run([sys.executable, "-c", SAYS], env=environment(TZ="Europe/Berlin"), stderr=file, check=True)
    first, second = log.read_text().splitlines()
    assert re.fullmatch(f"{TIME} fabric proxy: a word", first) and re.fullmatch(f"{TIME} fabric: another", second)
    at = datetime.fromisoformat(first.split()[0])
    assert abs(at.timestamp() - time.time()) < 60 and at.utcoffset()
    done = subprocess.run(
        [sys.executable, "-c", SAYS], env=environment(), stderr=subprocess.PIPE, text=True, check=True
    )
    assert done.stderr == "fabric proxy: a word\nfabric: another\n"

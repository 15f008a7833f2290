"""The demo in browsers: it starts, says what to open, serves that, and ends cleanly. Wrong words are refused."""

from __future__ import annotations

import re
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.processes import Process

COMMAND = [sys.executable, "-m", "nodes.demo.browsers"]


def test_it_says_what_to_open_and_serves_it_until_it_is_told_to_end(tmp_path: Path, started: list[Process]) -> None:
    pytest.importorskip("aiohttp", reason="aiohttp is not installed")
    demo = Process([*COMMAND, "0"], tmp_path, name="demo")
    started.append(demo)
    demo.wait_stdout("Ctrl-C")
    said = "\n".join(demo.stdout)
    shop, console = (re.findall(rf"http://\S+/{name}/", said)[0] for name in ("shop", "agent"))
    assert b"Alder" in urllib.request.urlopen(shop, timeout=10).read()
    assert b"Agent console" in urllib.request.urlopen(console, timeout=10).read()
    assert re.search(r"agent ada, password \S{8}\)", said)
    assert demo.stop() == 0


@pytest.mark.parametrize("words", [["http"], ["99999"], ["1", "2"]])
def test_wrong_words_are_refused(words: list[str], tmp_path: Path, started: list[Process]) -> None:
    demo = Process([*COMMAND, *words], tmp_path, name="demo")
    started.append(demo)
    assert demo.wait() == 2 and "expected 0 to 65535, or nothing" in demo.stderr[0]

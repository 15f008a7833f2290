"""`fabric load`: what it prints, how it ends."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fabric import Message
from nodes.cli import main
from nodes.cli.exits import Exit
from nodes.load.run import LoadRun
from nodes.recording.lines import end_line, head_line, message_line
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment, free_base
from tests.support.waiting import until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--warm-up", "0.1", "--duration", "0.3", "--topics", "5", "--topic", "cli/{n}/x")


def test_tables_and_a_plot(mesh: list[ProxyProcess], run_fabric: Run, tmp_path: Path) -> None:
    plot = tmp_path / "a.svg"
    filters = ("--filter", "cli/+/x", "--filter", "+/0001/x")
    arguments = ("--connect", mesh[0].base, "--rate", "500", "--subscribers", "2", *filters, "--plot", str(plot))
    done = run_fabric("load", *SHORT, *arguments, timeout_s=60)
    assert done.returncode == Exit.DONE, done.stderr
    figures, books, over = (block.splitlines() for block in done.stdout.split("\n\n"))
    assert figures[0].split()[:3] == ["rate/s", "sent", "delivered"] and figures[1].split()[0] == "500"
    assert books[0].startswith("subscriber") and len(books) == 3
    assert "over-delivered by filter" in over[0] and over[1].split()[:2] == ["1", "+/0001/x"]
    assert "covered: p1, p2" in done.stderr and "<svg" in plot.read_text()


def test_a_person_who_watches_sees_it_live_and_stdout_stays_data(mesh: list[ProxyProcess]) -> None:
    master, terminal = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            while piece := os.read(master, 10_000):
                shown.append(piece)

    reader = threading.Thread(target=read)
    reader.start()
    command = [*FABRIC, "load", *SHORT, "--rate", "200", "--json", "--connect", mesh[0].base]
    env = environment(TERM="xterm", COLUMNS="100")
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=terminal, env=env, cwd=ROOT, timeout=60)
    finally:
        os.close(terminal)
        reader.join()
        os.close(master)
    assert done.returncode == Exit.DONE and json.loads(done.stdout)["balances"]
    seen = b"".join(shown).decode()
    assert all(words in seen for words in ("fabric load: connecting", "delivered", "lag", "arrived unmatched"))


def test_the_highest_rate_that_holds(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    """Whatever this machine can: the latency may be any, so the publisher is too slow at some rate."""
    arguments = ("--connect", mesh[0].base, "--rate", "20000", "--find-max", "--max-p99-ms", "1e9", "--json")
    done = run_fabric("load", *SHORT, *arguments, timeout_s=120)
    found = json.loads(done.stdout)
    assert done.returncode == Exit.DONE and found["balances"], done.stderr
    rates = [each["rate"] for each in found["rounds"]]
    said = [line for line in done.stderr.splitlines() if "/s held" in line or "/s did not hold: " in line]
    assert len(said) == len(rates) and rates[0] == 20_000 and any("did not hold: " in line for line in said)
    held = [rate for rate, line in zip(rates, said, strict=True) if line.endswith("/s held")]
    assert found["result"]["rate"] == max(held)
    assert f"the last rate that held: {found['result']['rate']:,.0f}/s" in done.stderr


def test_nothing_holds(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    arguments = ("--connect", mesh[0].base, "--rate", "1.9", "--find-max", "--max-p99-ms", "1e-9")
    done = run_fabric("load", *SHORT, *arguments, timeout_s=60)
    assert done.returncode == Exit.NOT_REACHED and "no rate held" in done.stderr


def test_books_that_do_not_balance_ends_with_1(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cooked: the last message of one topic is claimed to have been published twice."""
    honest = LoadRun._finished

    def claim(run: LoadRun, seconds: float) -> None:
        honest(run, seconds)
        if run.crew._doing != "first messages":
            next(iter(run._published.values()))["cli/0001/x"] += 1

    monkeypatch.setattr(LoadRun, "_finished", claim)
    monkeypatch.setattr("nodes.load.run.QUIET_S", 1.5)
    assert main.run(["load", *SHORT, "--connect", mesh[0].base, "--json"]) == Exit.NOT_REACHED
    said = capsys.readouterr()
    assert "the books do not balance: subscriber 0, publisher 0: " in said.err
    assert "1 neither delivered nor reported lost" in said.err
    found = json.loads(said.out)
    assert not found["balances"] and found["result"]["books"][0]["missing"] == 1


def recorded(path: Path, count: int) -> str:
    """A recording of `count` messages on three topics within half a second, and a loss."""
    lines = [head_line(1, ("#",))]
    for k in range(count):
        at_ns = 1_700_000_000_000_000_000 + k * 500_000_000 // count
        lines.append(message_line(Message(f"truck/{k % 3}", "x" * (k % 100), 7, k + 1, at_ns), at_ns))
    path.write_text("".join(f"{line}\n" for line in [*lines, end_line(count, 0, 1)]))
    return str(path)


@pytest.mark.parametrize(("speed", "rate"), [("2", 2400.0), ("max", None)])
def test_a_recording_as_the_load(
    mesh: list[ProxyProcess], run_fabric: Run, tmp_path: Path, speed: str, rate: float | None
) -> None:
    name = recorded(tmp_path / "a.jsonl", 600)
    arguments = ("--publishers", "2", "--subscribers", "2", "--filter", "load/#", "--filter", "load/truck/1")
    done = run_fabric("load", "--play", name, "--speed", speed, *arguments, "--json", "--connect", mesh[0].base)
    assert done.returncode == Exit.DONE, done.stderr
    found = json.loads(done.stdout)
    (only,) = found["rounds"]
    assert found["balances"] and found["topics"] == 3 and only["refused"] == 0
    assert only["rate"] is None if rate is None else abs(only["rate"] - rate) < 10
    assert only["sent"] + only["unsent"] == 600
    if not only["unsent"]:  # on a busy machine publishers may be too slow for the schedule, and it says so
        first = 2 * (3 + 1)  # each topic once from each publisher, to each subscriber that wants it
        assert sum(book["due"] for book in only["books"]) == 600 + 200 + first
        assert only["delivered"] == 800


def test_a_recording_that_cannot_be_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").write_text("")
    assert main.run(["load", "--play", str(tmp_path / "empty")]) == Exit.MISSING
    assert main.run(["load", "--play", str(tmp_path / "none")]) == Exit.MISSING
    name = recorded(tmp_path / "a", 5)
    assert main.run(["load", "--play", name, "--rate", "5"]) == Exit.USAGE
    assert main.run(["load", "--play", name, "--filter", "truck/#"]) == Exit.USAGE
    said = capsys.readouterr().err
    for words in (
        "the recording holds no message", "No such file", "--rate does not go with --play", "matches none of the topics"
    ):  # fmt: skip
        assert words in said

    def missing(file: object) -> None:
        raise ModuleNotFoundError("No module named 'mcap'", name="mcap")

    monkeypatch.setattr("nodes.cli.load.read", missing)
    assert main.run(["load", "--play", name]) == Exit.MISSING
    assert "pip install 'site-connect-fabric[mcap]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--rate", "0"], "invalid number '0'"),
        (["--rate", "fast"], "invalid number 'fast'"),
        (["--find-max", "--rate", "max"], "--find-max needs a rate to begin with"),
        (["--topic", "a"], "invalid pattern 'a': expected one with {n} in it"),
        (["--topic", "~/{n}"], "expected one for everybody"),
        (["--filter", "nothing/#"], "matches none of the topics load/0000/value … load/0099/value"),
        (["--filter", "a#"], "filter 'a#'"),
        (["--filter", "$fabric/#"], "expected one for everybody"),
        (["--plot", "a.gif"], "invalid file 'a.gif': expected a name that ends in .svg or .png"),
        (["--plot", "/nowhere/a.svg"], "invalid folder '/nowhere'"),
        (["--size", "7"], "7 is not in the range"),
        (["--topics", "100000", "--publishers", "20"], "more than the 1,000,000 pairs"),
        (["--max-loss", "2"], "2.0 is not in the range"),
    ],
)
def test_wrong_usage(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["load", *args]) == Exit.USAGE
    said = capsys.readouterr()
    assert words in said.err and said.out == "" and len(said.err.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_its_processes_end_with_it(mesh: list[ProxyProcess], fabric: Callable[..., FabricProcess], number: int) -> None:
    """Whatever ends it: publishers and subscribers that hear nothing any more end by themselves."""
    process = fabric("load", "--connect", mesh[0].base, "--duration", "600", "--subscribers", "2")
    children = psutil.Process(process.pid).children

    def publishing() -> list[psutil.Process]:
        found = children()
        return found if len([each for each in found if each.cpu_times().user > 0.1]) >= 3 else []

    started = until(publishing, "a publisher and two subscribers run", 30.0)
    process.signal(number)
    assert process.wait() == {signal.SIGINT: Exit.INTERRUPTED}.get(signal.Signals(number), -number)
    until(lambda: not any(each.is_running() for each in started), "they have ended", 30.0)


def test_nobody_there(run_fabric: Run) -> None:
    done = run_fabric("load", *SHORT, "--connect", free_base(), "--connect-timeout", "0.2")
    assert done.returncode == Exit.NOBODY and "no proxy answered" in done.stderr and done.stdout == ""


def test_what_lacks_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_spec(name: str) -> Any:
        return None if name == "hdrh" else object()

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert main.run(["load"]) == Exit.MISSING
    assert "hdrh is not installed; install it with: pip install 'site-connect-fabric[bench]'" in capsys.readouterr().err

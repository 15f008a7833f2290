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
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from fabric import Message
from nodes.cli import main
from nodes.cli.exits import Exit
from nodes.load.books import Line
from nodes.load.run import LoadRun
from nodes.recording.lines import end_line, head_line, message_line
from tests.nodes.load.test_report import ROUND
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment, free_base
from tests.support.waiting import until

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SHORT = ("--warm-up", "0.1", "--duration", "0.3", "--topics", "5", "--topic", "cli/{n}/x")


def test_tables_and_a_plot(mesh: list[ProxyProcess], run_fabric: Run, tmp_path: Path) -> None:
    plot = tmp_path / "a.svg"
    filters = ("--filter", "cli/+/x", "--filter", "+/0001/x")
    arguments = ("--connect", mesh[0].base, "--rate", "500", "--subscribers", "2", *filters, "--plot", str(plot))
    drawn = ("--plots", str(tmp_path / "each"), "--report", str(tmp_path / "a.html"), "--dark")
    done = run_fabric("load", *SHORT, *arguments, *drawn, timeout_s=60)
    assert done.returncode == Exit.DONE, done.stderr
    figures, books, over = (block.splitlines() for block in done.stdout.split("\n\n"))
    assert figures[0].split()[:3] == ["rate", "sent/s", "delivered/s"] and figures[1].split()[0] == "500/s"
    assert books[0].startswith("subscriber") and books[3].split()[0] == "all" and len(books) == 5
    assert "over-delivered by filter" in over[0] and over[1].split()[:2] == ["1", "+/0001/x"]
    assert "covered: p1, p2" in done.stderr and "<svg" in plot.read_text()
    assert len(list((tmp_path / "each").iterdir())) == 12
    report = (tmp_path / "a.html").read_text()
    assert "fabric load: 500 messages a second" in report and "It kept its limits: no loss." in report


def figures_of(line: str) -> list[int]:
    return [int(each.replace(",", "")) for each in line.split()[1:]]


def test_one_table_adds_up_for_a_reader(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    """Sent, due and delivered are of the same span: without the warm-up, without the first messages of the topics."""
    arguments = ("--connect", mesh[0].base, "--publishers", "2", "--subscribers", "3", "--rate", "1000")
    done = run_fabric("load", *SHORT, *arguments, timeout_s=60)
    assert done.returncode == Exit.DONE, done.stderr
    lines = done.stdout.split("\n\n")[1].splitlines()
    assert lines[0].split("  ")[0] == "subscriber" and "= delivered" in lines[0]
    rows = [figures_of(line) for line in lines[1:5]]
    assert lines[4].split()[0] == "all"
    for sent, due, delivered, lost, in_flight, *_ in rows[:3]:
        assert due == sent == delivered + lost + in_flight and sent <= 300
    sent, *summed = rows[3]
    assert sent == rows[0][0] and summed == [sum(each) for each in zip(*(row[1:] for row in rows[:3]), strict=True)]
    assert lines[5] == f"due {3 * sent:,} = delivered {3 * sent:,} + lost 0 + in flight 0"


@pytest.mark.parametrize(
    ("limits", "code", "words"),
    [
        ((), Exit.NOT_REACHED, "the limits were not kept: 10 % of what was due was lost; expected no loss"),
        (("--max-loss", "0.09"), Exit.NOT_REACHED, "expected at most 9 % lost"),
        (("--max-loss", "0.1"), Exit.DONE, ""),
        (
            ("--max-loss", "1", "--max-p99-ms", "9"),
            Exit.NOT_REACHED,
            "p99 was 9.90 ms; expected p99 of at most 9.00 ms",
        ),
        (("--max-loss", "1", "--max-p99-ms", "10"), Exit.DONE, ""),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--rate", "max"), ("--play",)])
def test_the_limits_decide_how_it_ends_in_every_mode(
    mode: tuple[str, ...], limits: tuple[str, ...], code: Exit, words: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    line = Line(0, 0, 1000, 900, 100, 0, 0, 0, 0)
    found = replace(ROUND, lines=(line,))
    for name in ("measure", "play"):
        monkeypatch.setattr(LoadRun, name, lambda *_: found)
    monkeypatch.setattr(LoadRun, "prime", lambda run: None)
    monkeypatch.setattr(LoadRun, "__enter__", lambda run: run)
    monkeypatch.setattr(LoadRun, "__exit__", lambda *_: None)
    arguments = (*mode, recorded(tmp_path / "a", 9)) if mode == ("--play",) else mode
    assert main.run(["load", *arguments, *limits]) == code
    said = capsys.readouterr().err
    assert words in said and ("the limits were not kept" in said) == (code != Exit.DONE)


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
    assert all(words in seen for words in ("fabric load: connecting", "delivered", "in flight", "over-delivered"))


def test_the_highest_rate_that_holds(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    """Whatever this machine can: the latency may be any, so the publisher is too slow at some rate."""
    limits = ("--max-p99-ms", "1e9", "--max-loss", "1")
    arguments = ("--connect", mesh[0].base, "--find-max", *limits, "--json")
    done = run_fabric("load", *SHORT, *arguments, timeout_s=120)
    found = json.loads(done.stdout)
    assert done.returncode == Exit.DONE and found["balances"], done.stderr
    search, rates = found["search"], [each["rate"] for each in found["rounds"]]
    assert rates[:3] == [None] * 3 and rates[3] == search["top"], "it begins with what it did as fast as it could"
    assert found["result"]["rate"] == search["best"] == rates[-1] > search["top"] / 20
    assert 0 < search["holds_at_least"] < 1
    assert f"the highest rate that held p99 of at most 1,000,000 s and at most 100 % lost: {search['best']:,.0f}/s" in (
        done.stderr
    )


def test_nothing_holds(mesh: list[ProxyProcess], run_fabric: Run) -> None:
    arguments = ("--connect", mesh[0].base, "--find-max", "--max-p99-ms", "1e-9", "--max-loss", "1")
    done = run_fabric("load", *SHORT, *arguments, timeout_s=120)
    assert done.returncode == Exit.NOT_REACHED and "no rate held" in done.stderr
    assert "as fast as it goes were" in done.stderr


def test_books_that_do_not_balance_ends_with_1(
    mesh: list[ProxyProcess], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cooked: the last message of one topic is claimed to have been published twice."""
    honest = LoadRun._finished

    def claim(run: LoadRun, seconds: float) -> None:
        honest(run, seconds)
        if run.crew._doing.startswith("measuring"):
            publisher, counts = next(iter(run._span.items()))
            run._span = {**run._span, publisher: {**counts, "cli/0001/x": counts["cli/0001/x"] + 1}}

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
        assert only["due"] == only["delivered"] == 600 + 200, "first messages of the topics are not in it"


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
        (["--find-max", "--rate", "5"], "--rate does not go with --find-max: it begins with what --rate max does"),
        (["--topic", "a"], "invalid pattern 'a': expected one with {n} in it"),
        (["--topic", "~/{n}"], "expected one for everybody"),
        (["--filter", "nothing/#"], "matches none of the topics load/0000/value … load/0099/value"),
        (["--filter", "a#"], "filter 'a#'"),
        (["--filter", "$fabric/#"], "expected one for everybody"),
        (["--plot", "a.gif"], "invalid file 'a.gif': expected a name that ends in .svg or .png"),
        (["--plot", "/nowhere/a.svg"], "invalid folder '/nowhere'"),
        (["--report", "a.pdf"], "invalid file 'a.pdf': expected a name that ends in .html"),
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
        return None if name == "matplotlib" else object()

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert main.run(["load", "--plot", "a.svg"]) == Exit.MISSING
    assert (
        "matplotlib is not installed; install it with: pip install 'site-connect-fabric[bench]'"
        in capsys.readouterr().err
    )

"""`fabric play`: what it publishes, when, what it says, how it ends."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fabric import Message, Node
from nodes.cli import main, play
from nodes.cli.exits import Exit
from nodes.cli.pub import SHOWN_REFUSALS
from nodes.recording.files import LinesFile, Sink
from nodes.recording.lines import Loss, end_line, gap_line, head_line, message_line
from nodes.recording.mcap_file import McapFile
from tests.support.keys import KeyFolder
from tests.support.processes import FABRIC, ProxyProcess, free_base
from tests.support.waiting import Box

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Mesh = list[ProxyProcess]
T = 1_700_000_000_000_000_000
MS = 1_000_000


def made(path: Path, topic: str, kind: Callable[[Any], Sink] = LinesFile, count: int = 5, step_ms: int = 20) -> Path:
    """A whole recording of `count` messages, one each `step_ms`, and a loss."""
    with open(path, "wb") as file:
        sink = kind(file)
        sink.write(head_line(T, (f"{topic}/#",)), T)
        for k in range(count):
            at = T + k * step_ms * MS
            message = Message(f"{topic}/{k % 2}", {"k": k}, 7, k + 1, at, {"h": k, "moved": True, "retained": True})
            sink.write(message_line(message, at), at, message)
        sink.write(gap_line(Loss("x", 7, 1, 3, 3), T), T)
        sink.write(end_line(count, 3, T), T)
        sink.finish()
    return path


def played(mesh: Mesh, topic_filter: str, count: int, run: Callable[[], int]) -> list[Message]:
    box = Box()
    with Node(mesh[1].base) as node:
        assert node.wait_ack(node.subscribe(topic_filter, box), 10).ok
        assert run() == Exit.DONE
        found: list[Message] = box.wait(count)
    return found


@pytest.mark.parametrize("kind", [LinesFile, McapFile])
def test_order_payloads_headers_and_times(
    mesh: Mesh, tmp_path: Path, kind: Callable[[Any], Sink], capsys: pytest.CaptureFixture[str]
) -> None:
    """A message leaves after it is due, and later at most by what is said; the first one, too."""
    path = made(tmp_path / "a", f"y1/{kind.__name__}", kind)
    run = ["play", str(path), "--connect", mesh[0].base, "--speed", "2", "--prefix", "copy/of", "--json"]
    found = played(mesh, f"copy/of/y1/{kind.__name__}/#", 5, lambda: main.run(run))
    assert [each[:2] for each in found] == [(f"copy/of/y1/{kind.__name__}/{k % 2}", {"k": k}) for k in range(5)]
    assert [each.headers for each in found] == [{"h": k} for k in range(5)]
    said = json.loads(capsys.readouterr().out)
    assert (said["sent"], said["refused"], said["lost"], said["complete"]) == (5, 0, 3, True)
    for k, each in enumerate(found):
        after_due = each.sent_ns - found[0].sent_ns - k * 10 * MS
        assert abs(after_due) <= (said["worst_late_ms"] + 5) * MS  # 5: wall clock and steady clock


def test_in_a_loop_each_pass_begins_where_the_one_before_ended(mesh: Mesh, tmp_path: Path) -> None:
    path = made(tmp_path / "a", "y2", count=3)
    run = ["play", str(path), "--connect", mesh[0].base, "--loop", "3"]
    found = played(mesh, "y2/#", 9, lambda: main.run(run))
    assert [each.payload["k"] for each in found] == [0, 1, 2] * 3
    assert found[-1].sent_ns - found[0].sent_ns >= 3 * 40 * MS - 40 * MS  # how late the first one was is not known


def test_a_part_of_it_as_fast_as_it_goes_from_a_pipe_in_gzip(mesh: Mesh, tmp_path: Path) -> None:
    path = made(tmp_path / "a", "y3", count=1000, step_ms=1000)
    box = Box()
    run = ["play", "-", "--speed", "max", "--from", "10s", "--until", "1m", "--connect", mesh[0].base]
    with Node(mesh[1].base) as node:
        assert node.wait_ack(node.subscribe("y3/#", box), 10).ok
        done = subprocess.run([*FABRIC, *run], input=gzip.compress(path.read_bytes()), capture_output=True, timeout=60)
        assert done.returncode == Exit.DONE, done.stderr
        found = box.wait(50)
    assert [each.payload["k"] for each in found] == list(range(10, 60))
    assert b"late" not in done.stderr


def test_damaged_lines_are_told_with_their_number_and_counted(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    good = message_line(Message("y4/a", 1, 7, 1, T), T)
    local, bad_topic, fabrics = (message_line(Message(each, 1, 7, 1, T), T) for each in ("~/a", "a/+", "$fabric/x"))
    path.write_text("\n".join([good, "garbage", local, bad_topic, fabrics, good, good[:40]]))
    assert main.run(["play", str(path), "--connect", mesh[0].base, "--json"]) == Exit.NOT_REACHED
    said = capsys.readouterr()
    assert [line.split(":")[1] for line in said.err.splitlines()[:5]] == [
        " line 2", " line 3", " line 4", " line 5", " line 7 is cut off",
    ]  # fmt: skip
    result = json.loads(said.out)
    assert (result["sent"], result["refused"], result["cut_off"], result["complete"]) == (2, 4, True, False)


def test_more_damaged_lines_than_anybody_reads_are_only_counted(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a"
    path.write_text("garbage\n" * 50)
    assert main.run(["play", str(path), "--connect", mesh[0].base, "--loop", "2"]) == Exit.NOT_REACHED
    said = capsys.readouterr().err.splitlines()
    assert len(said) == SHOWN_REFUSALS + 3 and "refused 50" in said[-1]
    assert "the last line of a recording is missing" in said[-2]


def test_what_may_not_be_published_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = KeyFolder(tmp_path / "keys", {"p1": "proxy", "shop": "shop"}, {"shop": {"publish": ["y5/0"]}})
    path = made(tmp_path / "a", "y5")
    with folder.proxy("p1") as proxy:
        words = ["play", str(path), "--json", "--keys", str(folder.path), "--identity", "shop"]
        assert main.run([*words, "--connect", proxy.endpoints.base]) == Exit.DENIED
    said = capsys.readouterr()
    assert (json.loads(said.out)["sent"], json.loads(said.out)["denied"]) == (3, 2)
    assert "line 3: " in said.err and "line 5: " in said.err and "refused 2 (denied 2)" in said.err


def test_what_cannot_be_played_at_all(
    mesh: Mesh, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = ["--connect", mesh[0].base]
    later = tmp_path / "later"
    later.write_text('{"format": "fabric recording", "version": 2}\n')
    assert main.run(["play", str(later), *connect]) == Exit.MISSING
    assert main.run(["play", str(tmp_path / "none"), *connect]) == Exit.MISSING
    assert main.run(["play", str(later), "--connect", free_base(), "--connect-timeout", "0.2"]) == Exit.NOBODY
    said = capsys.readouterr().err
    assert "invalid version of the recording 2: expected 1" in said and "No such file" in said

    def missing(file: object) -> None:
        raise ModuleNotFoundError("No module named 'mcap'", name="mcap")

    monkeypatch.setattr(play, "read", missing)
    assert main.run(["play", str(later), *connect]) == Exit.MISSING
    assert "pip install 'site-connect-fabric[mcap]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--speed", "-1"], "invalid number '-1'"),
        (["--speed", "fast"], "invalid number 'fast'"),
        (["--from", "x"], "invalid time 'x'"),
        (["--from", "2m", "--until", "90"], "--until has to be later than --from"),
        (["--prefix", "a/+"], "a/+"),
        (["--prefix", "$a"], "expected one without ~ or $ in front"),
        (["--loop", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage(args: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["play", "-", *args]) == Exit.USAGE
    said = capsys.readouterr()
    assert words in said.err and said.out == "" and len(said.err.splitlines()) == 1


def test_a_pipe_cannot_be_played_twice(run_fabric: Run) -> None:
    done = run_fabric("play", "-", "--loop", "2")
    assert done.returncode == Exit.USAGE and "a FILE that can be read again" in done.stderr


@pytest.mark.parametrize(
    ("text", "ns"), [("90", 90_000_000_000), ("1.5s", 1_500_000_000), ("250ms", 250_000_000), ("10m", 600_000_000_000)]
)
def test_times_in_a_recording(text: str, ns: int) -> None:
    assert play.TimeIn().convert(text, None, None) == ns

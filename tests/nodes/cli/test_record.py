"""`fabric record` on a real mesh: what is in the file, how it ends."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from fabric import Node
from fabric.endpoints import Endpoints
from fabric.node.coverage import Ack, CoverageEvent
from fabric.node.gaps import Gap
from fabric.wire import Message, encode
from nodes.cli import main, record
from nodes.cli.exits import Exit
from nodes.cli.record import Recorder
from nodes.recording import lines
from nodes.recording.files import LinesFile
from nodes.recording.lines import End, Entry, Head, Item, Loss
from nodes.recording.losses import NO_ROOM
from tests.support.keys import KeyFolder
from tests.support.processes import FABRIC, ROOT, FabricProcess, ProxyProcess, environment, free_base

Fabric = Callable[..., FabricProcess]
Run = Callable[..., "subprocess.CompletedProcess[str]"]
Mesh = list[ProxyProcess]


def items(text: str) -> list[Item]:
    return list(lines.read(io.BytesIO(text.encode()).readline))


def recording(fabric: Fabric, mesh: Mesh, *args: str) -> FabricProcess:
    process = fabric("record", *args, "--connect", mesh[0].base)
    process.wait_stderr(" acknowledged in ")
    return process


def test_to_standard_output_until_ctrl_c(mesh: Mesh, fabric: Fabric) -> None:
    before = time.time_ns()
    process = recording(fabric, mesh, "r1/#", "r1/+")
    with Node(mesh[1].base) as node:
        for number in range(3):
            node.publish("r1/a", {"n": number}, {"h": b"\0"})
    process.wait_lines(4)
    process.signal(signal.SIGINT)
    assert process.wait() == Exit.DONE
    head, *entries, end = items("".join(f"{line}\n" for line in process.stdout))
    assert isinstance(head, Head) and head.filters == ("r1/#", "r1/+") and before <= head.recorded_ns
    assert [each.message[:2] for each in entries if isinstance(each, Entry)] == [("r1/a", {"n": n}) for n in range(3)]
    received = [each.received_ns for each in entries if isinstance(each, Entry)]
    assert head.recorded_ns <= received[0] and received == sorted(received)
    assert entries[0].message.headers == {"h": b"\0"} if isinstance(entries[0], Entry) else False
    assert end == End(3, 0)
    assert any("recorded 3 messages, lost 0" in line for line in process.stderr)


@pytest.mark.plain_sockets
def test_a_loss_is_a_line_in_its_place_and_counted_at_the_end(mesh: Mesh, fabric: Fabric, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    process = recording(fabric, mesh, "r2/#", "--count", "2", "--json", "--output", str(path))
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.connect(Endpoints.parse(mesh[0].base).ingress)
        for number in (1, 5):
            push.send(encode("r2/a", 7, number, 1, number))
        assert process.wait() == Exit.DONE
    _, first, loss, second, end = items(path.read_text())
    assert isinstance(first, Entry) and isinstance(second, Entry)
    assert isinstance(loss, Loss) and (loss.topic, loss.publisher, loss.first, loss.last, loss.lost) == (
        "r2/a", 7, 2, 4, 3,
    )  # fmt: skip
    assert end == End(2, 3)
    assert json.loads(process.stdout[-1]) == {"recorded": 2, "lost": 3, "dropped": 0}


@pytest.mark.parametrize(
    ("args", "code"), [((), Exit.NOT_REACHED), (("--count", "1"), Exit.NOT_REACHED)]
)  # fmt: skip
def test_when_the_time_is_over_and_nothing_came(mesh: Mesh, run_fabric: Run, args: tuple[str, ...], code: Exit) -> None:
    done = run_fabric("record", "r3", "--timeout", "0.5", "--quiet", *args, "--connect", mesh[0].base)
    assert done.returncode == code and "recorded 0 messages" in done.stderr
    assert [type(each) for each in items(done.stdout)] == [Head, End]


def test_a_recorder_that_is_asked_to_end_with_nothing_recorded_leaves_a_whole_file(mesh: Mesh, fabric: Fabric) -> None:
    process = recording(fabric, mesh, "r4")
    process.wait_lines(1)
    process.signal(signal.SIGHUP)
    assert process.wait() == Exit.DONE and [type(each) for each in items("\n".join(process.stdout))] == [Head, End]


def test_a_reader_that_has_gone_had_what_it_wanted(mesh: Mesh) -> None:
    command = [*FABRIC, "record", "r5", "--quiet", "--connect", mesh[0].base]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=ROOT)
    assert child.stdout
    try:
        assert json.loads(child.stdout.readline())["filters"] == ["r5"]
        child.stdout.close()
        with Node(mesh[1].base) as node:
            while child.poll() is None:  # until it writes again; the test's own time is its bound
                node.publish("r5", 1)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.05)
        assert child.returncode == Exit.DONE
    finally:
        child.kill()
        child.wait()


def test_nobody_there_and_wrong_usage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.run(["record", "a", "--connect", free_base(), "--connect-timeout", "0.2"]) == Exit.NOBODY
    assert main.run(["record", "a#"]) == Exit.USAGE
    assert main.run(["record", "a", "--json"]) == Exit.USAGE
    assert main.run(["record", "a", "-o", str(tmp_path / "none" / "a")]) == Exit.MISSING
    said = capsys.readouterr()
    assert said.out == "" and "expected --output FILE" in said.err and "No such file" in said.err


def test_what_may_not_be_subscribed_to_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = KeyFolder(tmp_path / "keys", {"p1": "proxy", "shop": "shop"}, {"shop": {"subscribe": ["orders/#"]}})
    shown = ["--keys", str(folder.path), "--identity", "shop"]
    with folder.proxy("p1") as proxy:
        file = str(tmp_path / "a")
        words = [
            "record",
            "secret/#",
            "--json",
            "-o",
            file,
            "--timeout",
            "30",
            *shown,
            "--connect",
            proxy.endpoints.base,
        ]
        assert main.run(words) == Exit.DENIED
    said = capsys.readouterr()
    assert "may not subscribe to 'secret/#'" in said.err and json.loads(said.out)["recorded"] == 0
    assert [type(each) for each in items(Path(file).read_text())] == [Head, End]


def test_without_the_package_mcap(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing(file: object) -> None:
        raise ModuleNotFoundError("No module named 'mcap'", name="mcap")

    monkeypatch.setattr(record, "McapFile", missing)
    assert main.run(["record", "a", "--mcap"]) == Exit.MISSING
    assert "mcap is not installed; install it with: pip install 'site-connect-fabric[mcap]'" in capsys.readouterr().err


# ── the recorder alone ───────────────────────────────────────────────────────────────────────────────────────────────


def made(file: io.BytesIO, quiet: bool = True) -> Recorder:
    clock = iter(range(100, 10_000))
    return Recorder(LinesFile(file), lambda: next(clock), quiet)


def message(number: int, topic: str = "a") -> Message:
    return Message(topic, None, 7, number, 1)


def test_what_the_file_does_not_take_is_in_it_as_a_loss_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_WAITING_MSGS", 3)
    file = io.BytesIO()
    recorder = made(file)
    for number in range(1, 8):
        recorder.message(message(number))
    recorder.gap(Gap("a", 7, 8, 8, 1))  # always finds room
    assert recorder.dropped == 4
    recorder.flush()
    recorder.message(message(9))
    recorder.end(rest=True)
    found = items(file.getvalue().decode())
    numbers = [each.message.number if isinstance(each, Entry) else each for each in found]
    assert numbers[:3] == [1, 2, 3] and numbers[5] == 9
    assert numbers[3:5] == [Loss("a", 7, 8, 8, 1, "", 4), Loss("a", 7, 4, 7, 4, NO_ROOM, 5)]
    assert numbers[6] == End(4, 5) and recorder.stats() == {"recorded": 4, "lost": 5, "dropped": 4}


def test_what_was_dropped_last_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_WAITING_MSGS", 1)
    file = io.BytesIO()
    recorder = made(file)
    for number in (1, 2):
        recorder.message(message(number))
    recorder.end(rest=True)
    assert items(file.getvalue().decode())[1:] == [Loss("a", 7, 2, 2, 1, NO_ROOM, 2), End(1, 1)]


def test_a_message_that_came_by_two_filters_is_there_once_and_no_more_than_were_asked_for() -> None:
    file = io.BytesIO()
    recorder = made(file)
    for each in (message(1), message(2), message(3)):
        recorder.message(each)
        recorder.message(each)
    recorder.flush(most=2)
    recorder.end(rest=False)
    assert [each.message.number for each in items(file.getvalue().decode()) if isinstance(each, Entry)] == [1, 2]


def test_words(capsys: pytest.CaptureFixture[str]) -> None:
    recorder = made(io.BytesIO(), quiet=False)
    recorder.coverage(CoverageEvent(("p1",), (), (), ("p1",)))  # before the first ack, the ack tells
    recorder.ack("a", Ack(True, ("p1",), (), 0.001))
    recorder.coverage(CoverageEvent((), ("p1",), ("p1",), ()))
    recorder.gap(Gap("a", 7, 2, 3, 2))
    recorder.flush()
    assert capsys.readouterr().err.splitlines() == [
        "fabric: a acknowledged in 1.0 ms by p1",
        "fabric: coverage: lost p1; now none; not covered: p1",
        "fabric: lost 2 of a: 2 to 3 of publisher 7",
    ]
    recorder.ack("b", Ack(False, (), (), 0.001, "not allowed", denied=True))
    assert recorder.denied == "not allowed"


def test_the_clock_does_not_step(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = record.steady_clock()
    first = clock()
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    assert first <= clock() < first + 60 * 10**9

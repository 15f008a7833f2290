"""The stream: whole lines of JSON, files that are rotated, and nobody who waits for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.operate import audit
from nodes.operate.audit import Audit, FileSink, StdoutSink, SyslogSink, as_line, open_sink
from nodes.operate.audit_sums import OTHERS
from tests.support.waiting import until

DENIED = {"event": "publish_denied", "who": "sensor-7", "from": "10.0.0.7", "door": "in", "topic": "secret/x"}


class Held:
    """A sink that keeps what it gets, or refuses it."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.error: OSError | None = None
        self.is_closed = False
        self.gate = threading.Event()
        self.gate.set()

    def write(self, lines: bytes) -> None:
        self.gate.wait(20)
        if self.error is not None:
            raise self.error
        self.lines += map(json.loads, lines.splitlines())

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def running(path: Path) -> Iterator[Audit]:
    with Audit(open_sink(str(path))) as found:
        yield found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def noted(audit: Audit, path: Path, who: str) -> None:
    """Note something of its own kind, and wait until it stands in the file."""
    audit.note({**DENIED, "who": who})
    until(lambda: any(line["who"] == who for line in lines_of(path)), f"{who} is in the file")


def test_a_line_has_the_time_and_the_fields() -> None:
    line = as_line(1769860800.1234, {**DENIED, "count": 1})
    assert line.endswith(b"}\n") and json.loads(line) == {"at": "2026-01-31T12:00:00.123Z", **DENIED, "count": 1}


@given(st.dictionaries(st.sampled_from(["who", "topic", "why"]), st.text(max_size=50)))
def test_a_line_is_one_line_of_plain_characters_whatever_it_holds(fields: dict[str, str]) -> None:
    line = as_line(0.0, fields)
    assert line.count(b"\n") == 1 and line.endswith(b"\n") and line[:-1].decode("ascii").isprintable()
    assert {key: value for key, value in json.loads(line).items() if key != "at"} == fields


def test_notes_of_any_thread_become_lines_and_the_rest_comes_at_the_end(path: Path) -> None:
    with Audit(open_sink(str(path))) as running:

        def note() -> None:
            for _ in range(1_000):
                running.note(DENIED)

        threads = [threading.Thread(target=note) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    first, last = lines_of(path)
    assert first["count"] == 1 and last["count"] == 3_999
    assert {key: first[key] for key in DENIED} == DENIED
    assert running.figures() == {"noted": 4_000, "written": 2, "lost": {"queue": 0, "write": 0}}


def test_a_file_is_for_its_owner_only_and_one_that_is_there_is_gone_on_with(path: Path) -> None:
    before = os.umask(0)
    try:
        with Audit(open_sink(str(path))) as running:
            running.note(DENIED)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)  # as logrotate may make it, for a group that reads logs
    with Audit(open_sink(str(path))) as running:
        running.note(DENIED)
    assert path.stat().st_mode & 0o777 == 0o640 and len(lines_of(path)) == 2


def test_a_file_that_was_moved_away_is_opened_again(running: Audit, path: Path) -> None:
    """As logrotate does it, with `nocreate` and with `create`."""
    noted(running, path, "one")
    path.rename(path.with_suffix(".1"))
    noted(running, path, "two")
    assert path.stat().st_mode & 0o777 == 0o600
    path.rename(path.with_suffix(".2"))
    path.touch(0o600)
    noted(running, path, "three")
    assert [[line["who"] for line in lines_of(path.with_suffix(end))] for end in (".1", ".2", ".jsonl")] == [
        ["one"], ["two"], ["three"],
    ]  # fmt: skip


def test_a_file_that_was_copied_and_cut_goes_on_from_its_beginning(running: Audit, path: Path) -> None:
    """As logrotate's copytruncate does it: no hole of NULs is left in front."""
    noted(running, path, "one")
    shutil.copy(path, path.with_suffix(".1"))
    os.truncate(path, 0)
    noted(running, path, "two")
    assert [line["who"] for line in lines_of(path)] == ["two"] and b"\0" not in path.read_bytes()
    assert [line["who"] for line in lines_of(path.with_suffix(".1"))] == ["one"]


def test_a_folder_that_is_away_for_a_while_costs_what_is_noted_meanwhile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    path = folder / "audit"
    with Audit(open_sink(str(path))) as running:
        noted(running, path, "one")
        folder.rename(tmp_path / "old")
        running.note({**DENIED, "who": "two"})
        until(lambda: running.figures()["lost"]["write"] == 1, "it is lost")
        folder.mkdir()
        noted(running, path, "three")
    assert [(line["event"], line["count"]) for line in lines_of(path)] == [("publish_denied", 1), ("audit_lost", 1)]
    assert [record.getMessage() for record in caplog.records] == [
        "the audit stream cannot be written: No such file or directory; what is lost is counted",
        "the audit stream can be written again",
    ]


def test_a_disk_that_is_full_is_said_once_and_what_comes_next_begins_a_line(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, room = os.write, [10, 0]
    sink = open_sink(str(path))

    def full(descriptor: int, data: bytes) -> int:
        if not room:
            return write(descriptor, data)
        left = room.pop(0)
        if not left:
            raise OSError(28, "No space left on device")
        return write(descriptor, data[:left])

    with Audit(sink) as running:
        monkeypatch.setattr(os, "write", full)
        for count in (1, 2):
            running.note({**DENIED, "who": f"w{count}"})
            until(lambda count=count: running.figures()["lost"]["write"] == count, "it is lost")  # type: ignore[misc]
        monkeypatch.undo()
        running.note({**DENIED, "who": "three"})
    half, *whole = path.read_text().splitlines()
    assert half == '{"at": "20' and [json.loads(line)["event"] for line in whole] == ["publish_denied", "audit_lost"]
    assert json.loads(whole[1])["count"] == 2
    assert len([record for record in caplog.records if "cannot be written" in record.getMessage()]) == 1


def test_who_notes_never_waits_and_what_finds_no_room_is_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_WAITING", 200)
    sink = Held()
    sink.gate.clear()  # a reader that reads nothing
    with Audit(sink) as running:
        running.note(DENIED)
        until(lambda: running._waiting.qsize() == 0, "the thread is stuck in writing")
        begun = time.monotonic()
        for number in range(5_000):
            running.note({**DENIED, "who": f"w{number}"})
        assert time.monotonic() - begun < 2
        running.note({"event": "drain", "who": "root"})  # what is rare has its own room
        assert running.figures()["lost"] == {"queue": 4_800, "write": 0}
        sink.gate.set()
    assert [line["who"] for line in sink.lines if line["event"] == "drain"] == ["root"] and sink.is_closed
    assert sum(line["count"] for line in sink.lines) == running.figures()["noted"] == 5_002
    assert sink.lines[-1]["who"] == OTHERS and sink.lines[-1]["count"] >= 4_800


def test_a_stream_that_nobody_reads_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "CLOSE_S", 0.2)
    sink = Held()
    sink.gate.clear()
    running = Audit(sink)
    running.note(DENIED)
    begun = time.monotonic()
    running.close()
    assert time.monotonic() - begun < 5 and not sink.is_closed
    sink.gate.set()
    until(lambda: sink.is_closed, "its thread ends when it can")


def test_a_pipe_that_is_full_costs_lines_and_no_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with Audit(open_sink(str(tmp_path / "pipe"))) as running:
        for number in range(3_000):
            running.note({"event": f"e{number % 40}", "who": f"w{number}", "why": "x" * 200})
        until(lambda: running.figures()["lost"]["write"] > 0, "the pipe is full")
    assert "the audit stream cannot be written: " in caplog.text
    os.close(reader)


def test_sums_come_while_nothing_more_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodes.operate.audit_sums.SUM_S", 0.1)
    sink = Held()
    with Audit(sink) as running:
        for _ in range(3):
            running.note(DENIED)
        until(lambda: sum(line["count"] for line in sink.lines) == 3, "all are told")


def test_no_secret_gets_in_under_another_name() -> None:
    sink = Held()
    with Audit(sink) as running:
        running.note({**DENIED, "key": "sesam", "token": "sesam"}, password="sesam")
    assert set(sink.lines[0]) == {"at", *DENIED, "count"}


def test_syslog_gets_each_line_as_a_message_also_after_it_was_started_again(tmp_path: Path) -> None:
    def listen() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(str(tmp_path / "log"))
        made.settimeout(20)
        return made

    with listen() as syslog:
        running = Audit(SyslogSink(str(tmp_path / "log")))
        running.note({**DENIED, "who": "one"})
        head, _, line = syslog.recv(8_192).partition(b": ")
        assert head == f"<86>fabric-audit[{os.getpid()}]".encode() and json.loads(line)["who"] == "one"
    (tmp_path / "log").unlink()
    with listen() as syslog, running:
        running.note({**DENIED, "who": "two"})
        assert json.loads(syslog.recv(8_192).partition(b": ")[2])["who"] == "two"


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    with Audit(open_sink("-")) as running:
        running.note(DENIED)
    assert json.loads(capfd.readouterr().out)["who"] == "sensor-7"


def test_where_a_stream_goes(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert isinstance(open_sink("-"), StdoutSink)
    sink = open_sink(str(path))
    assert isinstance(sink, FileSink)
    sink.close()
    wrong: list[Callable[[], object]] = [
        lambda: open_sink(str(tmp_path)),
        lambda: open_sink("/nowhere/audit"),
        lambda: SyslogSink(str(tmp_path / "nobody")),
    ]
    for each in wrong:
        with pytest.raises(OSError):
            each()
